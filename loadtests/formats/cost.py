"""What encoding costs: CPU seconds of the whole server for a second of audio, in each format beside PCM.

Listeners ask as fast as they are answered, the same texts for every format, and the formats take turns in rounds, so
that a busier minute of the machine falls on all of them. Generating the speech is in every figure.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any

from loadtests.formats.asking import Form, Utterance, spoken
from loadtests.peers.record import spread
from loadtests.server_process import Server, ServerTrouble

LISTENERS = 8
ROUNDS = 7
FORMS = (
    Form(codec="pcm", rate_hz=24_000),
    Form(codec="wav", rate_hz=24_000),
    Form(codec="ulaw", rate_hz=8_000),
    Form(codec="flac", rate_hz=24_000),
    Form(codec="mp3", rate_hz=24_000),
    Form(codec="aac", rate_hz=24_000),
    Form(codec="opus", rate_hz=24_000),
    Form(codec="webm", rate_hz=24_000),
    Form(codec="pcm", rate_hz=44_100),
    Form(codec="mp3", rate_hz=44_100),
)


def run(
    server: Server, utterances: list[Utterance], tell: Callable[[str], None], rounds: int = ROUNDS
) -> dict[str, Any]:
    """Raises ServerTrouble where its CPU seconds cannot be read."""
    plain = FORMS[0]
    lengths_s = [len(spoken(server.url, one, plain)) / 2 / plain.rate_hz for one in utterances]
    found: dict[Form, list[float]] = {form: [] for form in FORMS}
    for number in range(rounds):
        tell(f"round {number + 1} of {rounds}")
        for form in FORMS if number % 2 == 0 else reversed(FORMS):
            found[form].append(_cpu_s(server, utterances, form) / sum(lengths_s))
    beside = [found[plain][number] for number in range(rounds)]
    rows = {
        f"{form.codec} {form.rate_hz}": {
            "cpu_s_per_audio_s": spread(costs),
            "beside_pcm_24000": spread([cost / pcm for cost, pcm in zip(costs, beside, strict=True)]),
            "more_ms_per_audio_s": round(1000 * median(cost - pcm for cost, pcm in zip(costs, beside, strict=True)), 2),
        }
        for form, costs in found.items()
    }
    return {
        "listeners": LISTENERS,
        "rounds": rounds,
        "utterances_a_round": len(utterances),
        "audio_s_a_round": round(sum(lengths_s), 1),
        "formats": rows,
    }


def _cpu_s(server: Server, utterances: list[Utterance], form: Form) -> float:
    before_s = server.cpu_s()
    with ThreadPoolExecutor(LISTENERS) as pool:
        for audio in pool.map(lambda one: spoken(server.url, one, form), utterances):
            assert audio, "an answer without audio"
    after_s = server.cpu_s()
    if before_s is None or after_s is None:
        raise ServerTrouble("the server's CPU seconds can only be read on its own machine")
    return after_s - before_s
