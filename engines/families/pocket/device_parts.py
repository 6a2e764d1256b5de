"""pocket-tts on a device: whether it speaks there as its goldens do, and its parts."""

from __future__ import annotations

import numpy as np

from engines.families.base import Sampling
from engines.families.common.device_form import DeviceForm, Goldens
from engines.families.common.device_vocoder import DeviceVocoder
from engines.families.pocket.bundle import Bundle
from engines.families.pocket.device_talker import DeviceTalker
from engines.families.pocket.vocoder import FadeIn
from engines.runtime.device_backend import DeviceBackend

ROWS, STEPS = 2, 4


def talker(bundle: Bundle, form: DeviceForm, backend: DeviceBackend, slots: int) -> DeviceTalker:
    return DeviceTalker(bundle, form, backend, slots)


def vocoder(bundle: Bundle, form: DeviceForm, backend: DeviceBackend, slots: int) -> DeviceVocoder:
    return DeviceVocoder(
        form.graph("decoder"),
        backend,
        slots,
        states={one.name: one.shape for one in bundle.decoder.states},
        frames="latents",
        place="position",
        place_step=bundle.decoder.steps_per_frame,
        samples="pcm",
        finish=FadeIn(bundle.sample_rate_hz),
    )


def spoken(form: DeviceForm, bundle: Bundle, backend: DeviceBackend) -> Goldens:
    """Text of two rows that differ in length, frames without noise behind it, and their samples: what comes last
    depends on all layers and positions before it."""
    made, rng, slots = talker(bundle, form, backend, ROWS), np.random.default_rng(20), np.arange(ROWS)
    made.warm_up()
    lengths = np.array([5, 3])
    ids = rng.integers(0, bundle.text.vocabulary, int(lengths.sum()))
    for slot in range(ROWS):
        made.begin(slot, None)
    made.prefill(slots, ids[:, None], np.concatenate([[0], np.cumsum(lengths)]), slots * 0).wait()
    nothing, keys, frames = np.zeros((ROWS, 1, 0), np.int64), np.zeros((ROWS, 2), np.int64), []
    for step in range(STEPS):
        steps = made.step(slots, nothing, slots * 0 + 1, lengths + step, [Sampling()] * ROWS, keys, None).wait()
        frames.append(steps.frames[:, 0])
    decoder, given = vocoder(bundle, form, backend, ROWS), rng.standard_normal((ROWS, STEPS, bundle.frame_width))
    decoder.warm_up()
    sound = decoder.run(slots, given.astype(np.float32), slots * 0, slots, [None] * ROWS, slots < 0).wait()
    return {"frames": np.stack(frames, axis=1), "samples": np.stack(sound.samples)}


def self_test(form: DeviceForm, bundle: Bundle, backend: DeviceBackend) -> str | None:
    """-> why this device must not serve, or None."""

    def test(goldens: Goldens) -> str | None:
        found = spoken(form, bundle, backend)
        problems = (form.differs(f"the model's {name}", found[name], goldens[name]) for name in goldens)
        return next(filter(None, problems), None)

    return form.tested(test)
