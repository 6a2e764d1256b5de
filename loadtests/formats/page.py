"""Makes docs/measurements/formats.md from the figures. Pure text in, text out."""

from __future__ import annotations

from typing import Any

from loadtests.peers.page import middle, table


def text(figures: dict[str, Any]) -> str:
    parts = ["# Formats", "Everything was asked of a running server, over its public protocols."]
    if "seams" in figures:
        parts += _seams(figures["seams"])
    if "cost" in figures:
        parts += _cost(figures["cost"])
    return "\n\n".join(parts) + "\n"


def _origin(found: dict[str, Any]) -> str:
    return f"{found['date']}, {found['machine']}, commit {found['commit']}, `{found['command']}`."


def _seams(found: dict[str, Any]) -> list[str]:
    count, raw = found["utterances"], found["native_pcm"]
    rows = [
        (
            name,
            f"{one['same']} of {one['utterances']}",
            one["borders"],
            one["clicks"],
            one["of_the_codec"],
            f"{one['damage_heard']} of {one['utterances']}",
        )
        for name, one in found["formats"].items()
    ]
    return [
        "## Chunk borders",
        _origin(found),
        f"{count} utterances, {found['seconds_of_speech']} s of speech. 24 kHz PCM of each, asked for in every way and "
        "compared byte for byte with the first way's:",
        table(("way", "equal"), [(way, f"{equal} of {count}") for way, equal in found["ways_equal"].items()]),
        "Native PCM alone, without a reference: bends at least three times sharper than any in the 5 ms around. At the "
        f"{raw['borders']} borders that chunks really had: {raw['bends_at_borders']}; at as many places 20 ms behind "
        f"them: {raw['bends_between']}.",
        "Each format and rate, decoded by FFmpeg, against the native PCM at that rate. A click is a step in what "
        "differs, four times steeper than the steepest 0.1 % of it, at a place where a chunk may end (every 40 ms). "
        "`as in one piece`: the stream decodes to the very samples of the native PCM, or, for lossy codecs, of that "
        "PCM encoded in one piece by FFmpeg. `the codec's own` are steps that one piece has too. As a check of the "
        "detector, a millisecond is silenced at the loudest border of each utterance; `damage heard` counts how often "
        "it says so. G.711 has no memory that a border could break.",
        table(("format and rate", "as in one piece", "borders", "clicks", "the codec's own", "damage heard"), rows),
    ]


def _cost(found: dict[str, Any]) -> list[str]:
    rows = [
        (
            name,
            middle(one["cpu_s_per_audio_s"], 4),
            middle(one["beside_pcm_24000"]),
            one["more_ms_per_audio_s"],
        )
        for name, one in found["formats"].items()
    ]
    return [
        "## What encoding costs",
        _origin(found),
        f"CPU seconds of the server and its engine for a second of audio, generating included: {found['listeners']} "
        f"listeners over OpenAI's HTTP, closed loop, {found['utterances_a_round']} utterances "
        f"({found['audio_s_a_round']} s of speech) of each format in each of {found['rounds']} rounds, formats in "
        "turn, first one way, then the other. Medians with least and greatest; ratios and differences are of the same "
        "round.",
        table(("format and rate", "CPU s / audio s", "beside pcm 24000", "more than it, ms / audio s"), rows),
    ]
