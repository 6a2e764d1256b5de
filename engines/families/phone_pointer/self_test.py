"""Whether a device speaks as the shipped voice's goldens do. It compares what depends on every layer and position: the
last layer's cache, two rows of different lengths, and the vocoder's samples.
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
    steps, rows = goldens["lm_last"].shape
    (graph,) = backend.graphs(form.graph("decode"))
    buffers = LmBuffers(bundle, form, backend, rows)
    call = graph.bind(buffers.decode(rows))
    backend.prepare(call)
    buffers.fill_tables()
    buffers.values["temperature"].write(np.ones(rows, np.float32))
    buffers.values["noise_at"].write(np.full(rows, buffers.silent_at))
    buffers.values["is_active"].write(np.ones(rows, np.bool_))
    for step in range(steps):
        buffers.values["context"].write(goldens["lm_context"][step])
        buffers.values["last"].write(goldens["lm_last"][step])
        buffers.values["lengths"].write(np.array([step, max(step - 1, 0)], np.int32))
        call.launch()
        call.wait()
    deepest = bundle.lm.layers - 1
    for name, slab in (("keys", f"k{deepest}"), ("values", f"v{deepest}")):
        found = buffers.slabs[slab].read()[:, 0, : steps - 1]
        if problem := form.differs(f"the LM's {name}", found, goldens[f"lm_{name}"]):
            return problem
    return None


def _test_vocoder(form: DeviceForm, bundle: Bundle, backend: DeviceBackend, goldens: Goldens) -> str | None:
    rows, codes = goldens["vocoder_codes"].shape
    (graph,) = backend.graphs(form.graph("vocoder"))
    buffers = VocoderBuffers(bundle, form, backend, slots=rows, rows=rows, sizes=(codes,))
    call = graph.bind(buffers.job(rows, codes))
    backend.prepare(call)
    buffers.fill_tables(silent=True)
    buffers.codes[codes].write(goldens["vocoder_codes"])
    buffers.values["voices"].write(np.eye(rows, len(bundle.voices), dtype=np.float32))
    buffers.values["pitch"].write(np.ones(rows, np.float32))
    buffers.values["slots"].write(np.arange(rows))
    buffers.values["begins"].write(np.ones(rows, np.bool_))
    buffers.values["noise_at"].write(np.zeros(rows, np.int64))
    call.launch()
    call.wait()
    found = buffers.samples[codes].read(0, rows)
    return form.differs("the vocoder's samples", found, goldens["vocoder_samples"])
