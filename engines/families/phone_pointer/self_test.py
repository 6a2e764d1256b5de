"""Whether a device speaks as the shipped voice's goldens do. It compares what depends on every layer and position: the
last layer's cache after each graph of the LM, two rows of different lengths, and the vocoder's samples.
"""

from __future__ import annotations

import numpy as np

from engines.families.common.device_form import DeviceForm, Goldens
from engines.families.phone_pointer.bundle import Bundle
from engines.families.phone_pointer.device_buffers import LmBuffers, VocoderBuffers
from engines.runtime.device_backend import DeviceBackend


def self_test(form: DeviceForm, bundle: Bundle, backend: DeviceBackend) -> str | None:
    """-> why this device must not serve, or None."""
    return form.tested(
        lambda goldens: _test_lm(form, bundle, backend, goldens),
        lambda goldens: _test_vocoder(form, bundle, backend, goldens),
    )


def _test_lm(form: DeviceForm, bundle: Bundle, backend: DeviceBackend, goldens: Goldens) -> str | None:
    """Each graph that serves, over the same positions: decode one by one, a verification as many as it takes."""
    total, rows = goldens["lm_last"].shape
    buffers = LmBuffers(bundle, form, backend, rows)
    buffers.fill_tables()
    buffers.values["temperature"].write(np.ones(rows, np.float32))
    buffers.values["is_active"].write(np.ones(rows, np.bool_))
    graphs = {1: "decode", **{steps: f"verify-{steps}" for steps in form.verify_steps if steps < total}}
    deepest = bundle.lm.layers - 1
    for steps, name in graphs.items():
        (graph,) = backend.graphs(form.graph(name))
        call = graph.bind(buffers.decode(rows) if steps == 1 else buffers.verify(rows, steps))
        backend.prepare(call)
        for start in (0, *range(1, total - steps, steps), total - steps):
            _write(buffers, goldens, start, steps)
            call.launch()
            call.wait()
        for what, slab in (("keys", f"k{deepest}"), ("values", f"v{deepest}")):
            found = buffers.slabs[slab].read()[:, 0, : total - 1]
            whose = "the LM's" if steps == 1 else f"{name}'s"
            if problem := form.differs(f"{whose} {what}", found, goldens[f"lm_{what}"]):
                return problem
    return None


def _write(buffers: LmBuffers, goldens: Goldens, start: int, steps: int) -> None:
    """The second row is a step behind: its first one is made twice."""
    rows, end = goldens["lm_last"].shape[1], start + steps
    context, frames = goldens["lm_context"][start:end].swapaxes(0, 1), goldens["lm_last"][start:end].T
    buffers.values["lengths"].write(np.array([start, max(start - 1, 0)], np.int32))
    buffers.values["last"].write(frames[:, 0])
    silent = np.full((rows, steps), buffers.silent_at)
    if steps == 1:
        buffers.values["context"].write(context[:, 0])
        buffers.values["noise_at"].write(silent[:, 0])
    else:
        for name, values in (("context", context), ("drafted", frames[:, 1:]), ("noise_at", silent)):
            buffers.ahead[steps][name].write(values)


def _test_vocoder(form: DeviceForm, bundle: Bundle, backend: DeviceBackend, goldens: Goldens) -> str | None:
    rows, codes = goldens["vocoder_codes"].shape
    seen = [goldens["vocoder_seen"]] if bundle.vocoder.sees_text else []
    (graph,) = backend.graphs(form.graph("vocoder"))
    buffers = VocoderBuffers(bundle, form, backend, slots=rows, rows=rows, sizes=(codes,))
    call = graph.bind(buffers.job(rows, codes))
    backend.prepare(call)
    buffers.fill_tables(silent=True)
    buffers.write_frames(np.concatenate([goldens["vocoder_codes"][..., None], *seen], axis=2))
    buffers.values["voices"].write(np.eye(rows, len(bundle.voices), dtype=np.float32))
    buffers.values["pitch"].write(np.ones(rows, np.float32))
    buffers.values["slots"].write(np.arange(rows))
    buffers.values["begins"].write(np.ones(rows, np.bool_))
    buffers.values["noise_at"].write(np.zeros(rows, np.int64))
    call.launch()
    call.wait()
    found = buffers.samples[codes].read(0, rows)
    return form.differs("the vocoder's samples", found, goldens["vocoder_samples"])
