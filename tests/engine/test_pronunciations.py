"""A request's pronunciations reach the voice, and its word times stay in the caller's text."""

from __future__ import annotations

from engines.assemble import load_engine
from engines.config import EngineConfig
from engines.families.phone_pointer.bundle import Bundle
from engines.synth import speak
from engines.text import FrontEnd, parse_dictionary

WRITTEN = "Please ask Nguyen about the new plan."
RESPELLED = "Please ask win about the new plan."


def test_a_respelled_word_sounds_as_spelled_and_keeps_its_characters(bundle: Bundle, front_end: FrontEnd) -> None:
    engine = load_engine(bundle, EngineConfig(slots=2, workers=False), front_end=front_end)
    own = (parse_dictionary({"entries": [{"word": "nguyen", "arpabet": "W IH1 N"}]}, "names"),)
    asked = speak(engine, WRITTEN, pronunciations=own)
    spelled = speak(engine, RESPELLED)
    assert asked.pcm == spelled.pcm
    assert asked.pcm != speak(engine, WRITTEN).pcm
    assert [WRITTEN[word.start_char : word.end_char] for word in asked.words] == WRITTEN.split()
    assert [word.end_s for word in asked.words] == [word.end_s for word in spelled.words]
    engine.close()
