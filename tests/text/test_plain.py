"""Raw text without markup: what goes, what stays as it came, and that pieces of any size give the same."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.text import TextSettings
from engines.text.link_texts import MAX_CHARS
from engines.text.plain import PlainText

KEPT = [
    "Hello  world,\n\n it's 3.14 & 5*3 = 15; a < b, e.g. Dr. Smith paid $5.00 (US$) on 3/4, ~5 % off…",
    "snake_case *67 f*** 5 * 3 C# #tag {x} x^2 2**3 [sic] I <3 you, if a <b and c> d; a == b",
    "今天天气很好。【重要】「你好」，去公园吧！ مرحبا بالعالم 😀👍🏽 สวัสดีครับ 안녕하세요",
    "a note [that is in brackets] and (music box), not 【a citation】",
    "5 - 3 is 2 — or not – as **** **** 4321",
    "Use x * y and\ny * z.",
    "US$ 5, R$ 30, $5 or 6$; $HOME, C:\\Users\\left, \\n",
]
CASES = [
    (
        "<think>A secret.</think> Sure! [laughs] **Here** it is: https://example.com",
        "Sure! Here it is: https://example.com",
    ),
    ("Yes. <reasoning>a <b>c</b>\n\n</reasoning>Then.", "Yes. Then."),
    ("*sighs* Well (clears throat) now", "Well now"),
    ("*sighs at the thing* and (cries in\nthe rain)", "sighs at the thing and (cries in\nthe rain)"),
    ("one <break time='1s'/> two<break/>three [pause:300ms] four", "one two three four"),
    ('<span class="a b">one</span> <i>two</i><br>three</p><p>four', "one two\nthree\nfour"),
    ("a <!-- one two --> b &amp; c &lt; d", "a b & c < d"),
    ('See [the docs](https://x.y/z "a title"), ![a map](m.png), [this][1].', "See the docs, a map, this."),
    ("True[1] and[^2] so【4:0†source】 <https://x.y>", "True and so https://x.y"),
    ("[a [b] c](u) and [note](", "a [b] c and note"),
    ("[a note](see below for more) end", "a note(see below for more) end"),
    ("[1]: https://x.y one", "one"),
    ("[1]: https://x.y 'T'\n[note]: hello", "[note]: hello"),
    ("# Title\n\n- one\n* two\n- [x] three\n- [ ] four\n> five\n1. six\n---\nseven", None),
    ("| a | b |\n|---|---|\n| 1 | 2 |", "a b \n1 2"),
    ("```python\nx = a*b # c\n```\nafter", "x = a*b # c\nafter"),
    ("***both*** **bold *it* more** **Note**s un**believ**able ~~no~~ ==so== _x_ __y__", None),
    ("`code`, `a*b*c` and \\*escaped\\*", "code, a*b*c and *escaped*"),
    (r"so $E = mc^2$, \(x \le \frac{1}{2}\), the $n$-th", "so E = mc^2, (x ≤ 1/2), the n-th"),
    ("今天**天气**很好。[文档](https://x.y/文)看<think>秘密 计划</think>我们", "今天天气很好。文档看我们"),
    ("**重点**：*注意*；“**引**”。 مرحبا **بالعالم**", "重点：注意；“引”。 مرحبا بالعالم"),
]
EXPECTED = {
    "# Title": "Title\n\none\ntwo\nthree\nfour\nfive\n1. six\nseven",
    "***both": "both bold it more Notes unbelievable no so x y",
}
MARKUP = [
    "<think>", "</think>", "](http://x", "[laughs]", "*sighs", "<b", "**", "```", "- ", "&amp;", "<!--", "-->", "[1]:",
    *"ab 1.-*_`<>[]()#|~=+&\\$^{}\n!/\"'今。ا😀",
]  # fmt: skip


def plain(*pieces: str, settings: TextSettings | None = None) -> str:
    stream = PlainText() if settings is None else PlainText(settings)
    return "".join(stream.feed(piece) for piece in pieces) + stream.close()


@pytest.mark.parametrize("text", KEPT)
def test_what_is_no_markup_stays_as_it_came(text: str) -> None:
    assert plain(text) == plain(*text) == text


@pytest.mark.parametrize(("written", "expected"), CASES, ids=[written[:20] for written, _ in CASES])
def test_markup_goes(written: str, expected: str | None) -> None:
    assert plain(written).strip() == (expected or EXPECTED[written[:7]])


@settings(max_examples=1_000)
@given(text=st.lists(st.sampled_from(MARKUP), max_size=40).map("".join), cuts=st.lists(st.integers(0, 80), max_size=8))
def test_pieces_are_the_whole(text: str, cuts: list[int]) -> None:
    whole = plain(text)
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    assert plain(*(text[first:last] for first, last in pairwise(places))) == plain(*text) == whole
    assert len(whole) <= len(text) + 2


@given(text=st.text(st.sampled_from("ab 1.,;:!?\"'—–%€@/今。，「」ا😀ก็é\n\t{}^()"), max_size=40))
def test_signs_of_no_markup_stay(text: str) -> None:
    assert plain(*text) == text


def test_words_come_at_once() -> None:
    stream = PlainText()
    assert stream.feed("Hello ") == "Hello "
    assert stream.feed("今天**天") == "今天天"
    assert stream.feed("气 ") == "气 "
    assert stream.feed("[a ") == ""
    assert stream.feed("link](x") == ""
    assert stream.feed(") and") == "a link "
    assert stream.holds_text
    assert stream.close() == "and"
    assert not stream.holds_text


def test_what_is_never_closed_is_held_no_longer_than_a_line() -> None:
    for opened in ("[a note ", "(music ", "*sighs ", "[note]: "):
        assert plain(opened, "\n", settings=None).strip("*\n ") == opened.strip("* ")
        stream = PlainText()
        assert not stream.feed(opened).strip()
        assert stream.close(), "a flush speaks what is there"
    stream = PlainText()
    assert not stream.feed("[a ")
    assert stream.feed("word " * (MAX_CHARS // 5))
    address = "x" * 5_000
    assert plain(f"[a](http://{address} 今") == "a今"
    assert len(plain("[a](http://" + "今" * 5_000)) > 4_000, "an address that never ends"


def test_what_is_dropped_is_a_setting_and_told() -> None:
    text = "<think>a plan</think> [laughs] one <break time='1s'/> <emphasis>two</emphasis> <<a|b>> [pause:1s] <open"
    dropped = PlainText()
    dropped.feed(text)
    dropped.close()
    assert [told.partition(" ")[0] for told in dropped.warnings] == ["<break>", "<emphasis>", "<<ab>>", "[pause]", "a"]
    kept = TextSettings(skip_reasoning=False, skip_directions=False, follow_tags=False)
    assert plain(text, settings=kept) == "a plan [laughs] one two <<a|b>> "
    sounds = PlainText()
    assert sounds.feed(r'A \{"word": "gif", "pronounce": "dʒɪf"\}. ') == "A gif. "
    assert sounds.warnings == ["'gif' is read as it is written: this model takes no phones"]
    silent = PlainText(kept)
    silent.feed("one <break time='1s'/> two [pause]")
    assert not silent.warnings
    endless = PlainText()
    endless.feed("Yes. <think>and on")
    endless.close()
    assert endless.warnings == ["<think> is not closed: 5 characters behind it were not spoken"]
