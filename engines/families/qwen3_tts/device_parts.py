"""Qwen3-TTS on a device: whether it speaks there as its goldens do, and its parts."""

from __future__ import annotations

import numpy as np

from engines.families.base import Sampling
from engines.families.common.device_form import DeviceForm, Goldens
from engines.families.common.device_vocoder import DeviceVocoder
from engines.families.qwen3_tts.bundle import Bundle
from engines.families.qwen3_tts.device_talker import DeviceTalker
from engines.families.qwen3_tts.prompt import VoicePrefix
from engines.families.qwen3_tts.vocoder import Rates
from engines.runtime.device_backend import DeviceBackend

ROWS, STEPS = 2, 4
_LEAST_EQUAL = 0.5  # of the likeliest codes: half precision may turn near ties, another model agrees on none


def talker(bundle: Bundle, form: DeviceForm, backend: DeviceBackend, slots: int) -> DeviceTalker:
    return DeviceTalker(bundle, form, backend, slots)


def vocoder(bundle: Bundle, form: DeviceForm, backend: DeviceBackend, slots: int) -> DeviceVocoder:
    part = bundle.qwen3_tts.vocoder
    return DeviceVocoder(
        form.graph("vocoder"),
        backend,
        slots,
        states={one.name: one.shape for one in part.states},
        frames="codes",
        place="made",
        place_step=1,
        samples="samples",
        finish=Rates(part.rate_hz),
    )


def spoken(form: DeviceForm, bundle: Bundle, backend: DeviceBackend) -> Goldens:
    """Prompts of two rows that differ in length, the likeliest frames behind them, and samples. The last layer's keys
    depend on all layers and positions before them."""
    section, rng, slots = bundle.qwen3_tts, np.random.default_rng(20), np.arange(ROWS)
    part, made = section.talker, talker(bundle, form, backend, ROWS)
    made.warm_up()
    lengths = np.array([9, 5])

    def rows(count: int) -> np.ndarray:
        text = rng.integers(0, section.text.pad, (count, 1))
        return np.concatenate([text, rng.integers(0, part.codes, (count, part.codebooks)) + part.starts], axis=1)

    for slot in range(ROWS):
        made.begin(slot, VoicePrefix(key=None, rows=rows(0)))
    prompts = rows(int(lengths.sum()))
    made.prefill(slots, prompts, np.concatenate([[0], np.cumsum(lengths)]), slots * 0).wait()
    keys, codes = np.zeros((ROWS, 2), np.int64), []
    for step in range(STEPS):
        given = rows(ROWS)[:, None]
        steps = made.step(slots, given, slots * 0 + 1, lengths + step, [Sampling()] * ROWS, keys, None).wait()
        codes.append(steps.frames[:, 0])
    held = made.deepest_keys()[:ROWS, :, : int(lengths.min()) + STEPS].astype(np.float32)
    decoder, frames = vocoder(bundle, form, backend, ROWS), rng.integers(0, part.codes, (ROWS, STEPS, part.codebooks))
    decoder.warm_up()
    sound = decoder.run(slots, frames, slots * 0, slots, [section.vocoder.rate_hz] * ROWS, slots < 0).wait()
    return {"codes": np.stack(codes, axis=1), "keys": held, "samples": np.stack(sound.samples)}


def self_test(form: DeviceForm, bundle: Bundle, backend: DeviceBackend) -> str | None:
    """-> why this device must not serve, or None."""

    def test(goldens: Goldens) -> str | None:
        found = spoken(form, bundle, backend)
        for name in ("keys", "samples"):
            if problem := form.differs(f"the model's {name}", found[name], goldens[name]):
                return problem
        equal = float((found["codes"] == goldens["codes"]).mean())
        if equal < _LEAST_EQUAL:
            return f"{equal:.0%} of the codes are those of the goldens, at least {_LEAST_EQUAL:.0%} is right"
        return None

    return form.tested(test)
