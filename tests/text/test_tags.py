"""Reasoning and tags are not read, SSML is followed, and what cannot be done is told; in any pieces."""

from __future__ import annotations

import pytest

from engines.text import FrontEnd, TextSettings

FRONT_END = FrontEnd.load()
CASES = [
    ("<think>secret plan</think> Hello", "hello"),
    ("<thinking>one\n\ntwo</thinking>\n\nHello there.", "hello there."),
    ("Well <reasoning>a <b>c</b></reasoning>yes.", "well yes."),
    ("<THINK>loud</THINK> ok", "okay"),
    ("<think>```python\nx = 1\n```</think>Then.", "then."),
    ("Yes. <think>never closed and on", "yes."),
    ("Use `<think>` tags", "use think tags"),
    ("<foo>bar</foo>", "bar"),
    ('<foo bar="x y z">bar</foo> end', "bar end"),
    ("<my-tag a='1'/>text", "text"),
    ("List<int> x", "list int x"),
    ("a < b and c > d", "_a is less than b and c is greater than d"),
    ("<https://example.com>", "example dot com"),
    ("<spell>ABC123</spell>, ok", "_a b c one two three, okay"),
    ("<spell>a b</spell> ok", "_a b okay"),
    ('<say-as interpret-as="characters">NASA</say-as> now', "n _a s _a now"),
    ('<say-as interpret-as="digits">1984</say-as> now', "one nine eight four now"),
    ('<say-as interpret-as="ordinal">3</say-as> of 4', "third of four"),
    ('the <say-as interpret-as="ordinal">21</say-as>, ok', "the twenty first, okay"),
    ('<say-as interpret-as="ordinal">blue</say-as> 3', "blue three"),
    ('<say-as interpret-as="cardinal">12</say-as> apples', "twelve apples"),
    ('<sub alias="World Wide Web Consortium">W3C</sub>, you', "world wide web consortium, you"),
    ('<sub alias="north">N N</sub> wind', "north wind"),
    ('Hi <break time="200ms"/> there', "hi, there"),
    ('Hi <break time="1s"/> there', "hi. there"),
    ('Hi <break strength="none"/> there', "hi there"),
    ("one [pause:300ms] two", "one, two"),
    ("one [pause:2s] two", "one. two"),
    ("[laughs] hello", "hello"),
    ("Well *sighs* hello", "well hello"),
    ("*clears throat* hello", "hello"),
    ("[laughs softly] hi", "hi"),
    ("*very* good", "very good"),
    ("[note] this", "note, this"),
    ("[laughs](http://x.com) now", "laughs now"),
]


@pytest.mark.parametrize(("written", "script"), CASES, ids=[written for written, _ in CASES])
def test_tags(written: str, script: str) -> None:
    whole = FRONT_END.open()
    phones = whole.append(written) + whole.end()
    assert " ".join(whole.script) == script
    for size in (1, 3, 7):
        stream = FRONT_END.open()
        pieces = [written[at : at + size] for at in range(0, len(written), size)]
        assert [phone for piece in pieces for phone in stream.append(piece)] + stream.end() == phones
        assert stream.warnings == whole.warnings


def test_a_phoneme_is_said_as_written() -> None:
    found = FRONT_END.phones('<phoneme alphabet="ipa" ph="təˈmɑːtoʊ">tomato</phoneme>')
    assert [phone.symbol for phone in found][1:-1] == "t ax m aa t ow".split()


def test_cartesias_phones_are_said_as_written() -> None:
    tagged = FRONT_END.phones('Take <phoneme ph="mɛtfˈɔɹmɪn">x</phoneme>, now.')
    for size in (1, 4, 40):
        stream, written = FRONT_END.open(), "Take <<m|ɛ|t|f|ˈ|ɔ|ɹ|m|ɪ|n>>, now."
        found = [phone for at in range(0, len(written), size) for phone in stream.append(written[at : at + size])]
        assert [one.symbol for one in found + stream.end()] == [one.symbol for one in tagged]
    glued, twice = FRONT_END.open(), "Say <<s|ʌ|n>><break time='1s'/> so."
    glued.append(twice)
    glued.end()
    assert "break" not in " ".join(glued.script)
    code = FRONT_END.open()
    code.append("cout<<a|b>>c; `<<x|y>>` ok")
    code.end()
    assert "phoneme" not in " ".join(code.script)
    shifted = [phone.symbol for phone in FRONT_END.phones("a << b and c>>d")]
    assert "g" in shifted, "no phones: its signs are read"


@pytest.mark.parametrize(
    ("given", "rest"),
    [
        (r'\{"word": "gif", "pronounce": "dʒɪf"\}', ", please."),
        (r'\{"word":"gif","pronounce":"dʒɪf"\}', ", please."),
        (r'{"word": "gif", "pronounce": "dʒɪf"}', ", please."),
        (r'\{"pronounce": "/dʒɪf/", "word": "gif"\}', "."),
        (r'(\{"word": "a gif", "pronounce": "dʒɪf"\})', "."),
    ],
)
def test_deepgrams_words_with_sounds_are_spoken_so(given: str, rest: str) -> None:
    tagged = FRONT_END.phones('Take <phoneme ph="dʒɪf">x</phoneme>' + rest)
    written = f"Take {given}{rest}"
    for size in (1, 5, 80):
        stream = FRONT_END.open()
        found = [phone for at in range(0, len(written), size) for phone in stream.append(written[at : at + size])]
        assert [one.symbol for one in found + stream.end()] == [one.symbol for one in tagged]
        assert not stream.warnings


@pytest.mark.parametrize(
    ("written", "script"),
    [
        ('It has {"word": "one", "count": 3} in it', "it has word, one, count, three, in it"),
        ('`{"word": "a", "pronounce": "a"}` it is', "word, ay, pronounce, ay, it is"),
        ('{"word": {"a": 1}, "pronounce": 3} it is', "word, a, one, pronounce, three, it is"),
        ('{"word" ' + "now " * 80 + "yes", "word, " + "now, " * 73 + "now " * 7 + "yes"),
    ],
)
def test_other_brackets_are_read_on(written: str, script: str) -> None:
    stream = FRONT_END.open()
    stream.append(written)
    stream.end()
    assert " ".join(stream.script) == script


@pytest.mark.parametrize(
    ("written", "warning"),
    [
        ("Yes. <think>no end", "<think> is not closed: 5 characters"),
        ("a <b", "a tag '<b' is not closed"),
        ("what </think> Done", "</think> closes nothing"),
        ('<prosody pitch="high">x</prosody>', "<prosody pitch> has no effect"),
        ('<prosody rate="300%">x</prosody>', "a rate of 3 was kept within 0.75 and 1.33"),
        ('<prosody rate="brisk">x</prosody>', '<prosody rate="brisk"> is no rate'),
        ('x <break time="60s"/> y', "a break of 60 s was cut to 5 s"),
        ('x <break time="long"/> y', "a break of 'long' has no length"),
        ('x <break strength="huge"/> y', '<break strength="huge"> is none of SSML'),
        ("<emphasis>x</emphasis>", "<emphasis> has no effect"),
        ('<say-as interpret-as="date">1</say-as>', "is read like other text"),
        ('<phoneme ph="ǃ">x</phoneme>', "<phoneme>:"),
        ("a <<x|7>> b", "<<x7>>:"),
        (r'a \{"word": "gif", "pronounce": "ǃ"\} b', "'gif' is read as it is written: IPA"),
        (r'a \{"word": "gif", "pro', "is not closed: it was not spoken"),
        ('<speak><break time="800ms"/>one</speak>', "breaks of 0.8 s before the first word have no effect"),
        ("[pause:300ms] [pause:1s]\n\none [pause:2s] two", "breaks of 1.3 s before the first word"),
        ("tower of 東京", "left out: 2 characters of the Han script"),
    ],
)
def test_what_is_not_done_is_told(written: str, warning: str) -> None:
    stream = FRONT_END.open()
    stream.append(written)
    stream.end()
    assert len(stream.warnings) == 1
    assert warning in stream.warnings[0]


@pytest.mark.parametrize(
    ("written", "holds"),
    [
        ('one <break time="200ms"/> two', [0.2]),
        ('one<break time="1.5s"/>two', [1.5]),
        ("one [pause:300ms] two [pause:2s] three", [0.3, 2.0]),
        ("one. [pause] two", [0.3]),
        ('one <break strength="strong"/> two <break/> three', [0.75, 0.35]),
        ('one <break time="0s"/> two', []),
        ("one \ue064 two", []),  # a private character of the text's own
    ],
)
def test_breaks_have_their_length(written: str, holds: list[float]) -> None:
    found = [phone.hold_s for phone in FRONT_END.phones(written) if phone.hold_s is not None]
    assert found == pytest.approx(holds)


def test_a_rate_holds_for_what_is_inside() -> None:
    text = 'a <prosody rate="slow">b <prosody rate="120%">c</prosody> <sub alias="d">x</sub></prosody> e'
    rates = {phone.word_index: phone.rate for phone in FRONT_END.phones(text) if phone.pause is None}
    assert list(rates.values()) == [1.0, 0.85, 1.2, 0.85, 1.0]


def test_what_is_skipped_is_a_setting() -> None:
    stream = FRONT_END.open(settings=TextSettings(skip_reasoning=False, skip_directions=False))
    stream.append("<think>a plan</think> [laughs] hi")
    stream.end()
    assert stream.words == ["a", "plan", "laughs", "hi"]


def test_words_before_reasoning_wait_for_nothing() -> None:
    stream = FRONT_END.open()
    assert stream.append("Hello, ")
    stream.append("<think>one two three ")
    assert stream.append("four</think> dogs ") != []


def test_spans_point_at_the_text_between_tags() -> None:
    text = '<think>no</think> <sub alias="one two">W3C</sub> is'
    spans = [text[phone.start : phone.end] for phone in FRONT_END.phones(text) if phone.pause is None]
    assert any("W3C" in span for span in spans)
    assert spans[-1] == "is"
