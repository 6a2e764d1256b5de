"""From the vocoder's last layer to samples, in a graph: both excitations, the filters, the inverse transform.

The same arithmetic as models/excitation.py and the engine's overlap-add, in fewer operators. Indices that depend on the
number of frames are inputs: no shape is computed, and no slice has a bound that is known only at run time.

    N frames of one hop each        window_at [N, 512]: the samples that each frame sees, among look-back and new ones
    frames before, new, and zeros   hop_at [4, N + 3]: the four parts of windows that meet in each hop of the output
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from models.creak import LEAST_HZ, LOW_BINS, SILENT, UNVOICED_HZ
from models.framing import BINS, HOP, LOOK_BACK, SAMPLE_RATE_HZ, TURN, WINDOW
from models.gpu_graphs.building import DeviceGraph
from models.gpu_graphs.weights import Array, VocoderWeights

HOPS = -(-WINDOW // HOP)  # that a window reaches over
_TAPS, _RESOLUTION = 8, 64  # of the pulse: half its width in samples, entries a sample
_HZ, _MOVED_HZ = (50.0, 400.0), (31.25, 800.0)  # what the network may choose, and what pitch may make of it
_LOG_FILTER = (-14.0, 4.0)


def window_at(frames: int) -> Array:
    return np.arange(frames)[:, None] * HOP + np.arange(WINDOW)


def hop_at(frames: int) -> Array:
    """Into [3 + N + 3 frames, 4 parts], flattened."""
    hops, parts = np.arange(frames + HOPS - 1), np.arange(HOPS - 1, -1, -1)[:, None]
    return (hops - parts + HOPS - 1) * HOPS + parts


class Synthesis:
    def __init__(self, graph: DeviceGraph, weights: VocoderWeights) -> None:
        self._graph, self._weights = graph, weights

    def _scalar(self, value: float | int, name: str) -> str:
        kind = np.int64 if isinstance(value, int) else np.float32
        return self._graph.constant(name, np.array(value, kind))

    def _clip(self, value: str, limits: tuple[float, float], name: str) -> str:
        ends = [self._scalar(limit, f"limit.{limit}") for limit in limits]
        return self._graph.node("Clip", [value, *ends], name)

    def run(self, x: str, phase: str, tail: str, before: str) -> dict[str, str]:
        """x [R, N, channels] float32, phase [R], tail [R, look back], before [R, 3, window hops] -> the three states.

        Makes `spectrum` [R, N, 2, BINS] and `samples` [R, N + 3, HOP].
        """
        graph, weights = self._graph, self._weights
        heads = graph.node("MatMul", [x, graph.constant("heads", weights.heads)], "heads_product")
        heads = graph.node("Add", [heads, graph.constant("heads_bias", weights.heads_bias)], "heads_rows")
        sizes = graph.constant("heads_sizes", np.array([1, 1, 2 * BINS]))
        graph.node("Split", [heads, sizes], ["log_f0", "voicing", "filters"], axis=-1)
        f0, gain, filters = self._source()
        pulses, phase_out = self._pulses(f0, gain, phase)
        harmonic = graph.node("Concat", [tail, pulses], "harmonic", axis=1)
        spectrum = self._filtered(harmonic, filters)
        frames_out = self._overlap_added(spectrum, before)
        return {
            "phase": phase_out,
            "tail": self._last(harmonic, LOOK_BACK, "tail_out"),
            "before": frames_out,
        }

    def _last(self, value: str, count: int, name: str) -> str:
        ends = [self._graph.constant(f"at.{at}", np.array([at])) for at in (-count, 2**62, 1)]
        return self._graph.node("Slice", [value, *ends], name)

    def _source(self) -> tuple[str, str, str]:
        """-> f0 [R, N, 1] Hz, gain [R, N, 1] (0 where unvoiced; less where a lowered pitch brings fewer pulses), log
        filters [R, N, 2 * BINS]."""
        graph = self._graph
        pitch = graph.reshape(graph.input("pitch", TensorProto.FLOAT, ["R"]), [-1, 1, 1], "pitches")
        chosen = self._clip(graph.node("Exp", ["log_f0"], "f0_exp"), _HZ, "f0_chosen")
        is_voiced = graph.node("Greater", ["voicing", self._scalar(0.0, "zero")], "is_voiced")
        lowered = graph.node("Clip", [pitch, "", self._scalar(1.0, "limit.1.0")], "lowered")
        share, filters = graph.node("Sqrt", [lowered], "pulse_share"), "filters"
        if self._weights.creak_hz is None:
            gain = graph.node("Mul", [graph.cast(is_voiced, TensorProto.FLOAT, "voiced"), share], "gain")
        else:  # pulses everywhere; what is heard of them is the filters' business
            chosen, filters = self._creaking(chosen, is_voiced)
            gain = graph.node("Mul", [graph.node("Sign", [chosen], "voiced"), share], "gain")
        return self._clip(graph.node("Mul", [chosen, pitch], "f0_moved"), _MOVED_HZ, "f0"), gain, filters

    def _creaking(self, chosen: str, is_voiced: str) -> tuple[str, str]:
        """F0 [R, N, 1] Hz and log filters [R, N, 2 * BINS] by the rule of `models.creak`."""
        graph, high = self._graph, BINS - LOW_BINS
        below = graph.node("MatMul", ["voices", graph.constant("creak_hz", self._weights.creak_hz)], "creak_below")
        creaks = graph.node("Less", [chosen, graph.reshape(below, [-1, 1, 1], "creak_rows")], "creaks")
        halved = graph.node("Mul", [chosen, self._scalar(0.5, "half")], "f0_halved")
        halved = graph.node("Max", [halved, self._scalar(LEAST_HZ, "creak_least")], "f0_creaking")
        hz = graph.node("Where", [creaks, halved, chosen], "f0_voiced")
        hz = graph.node("Where", [is_voiced, hz, self._scalar(UNVOICED_HZ, "unvoiced_hz")], "f0_everywhere")
        parts = ["pulses_low", "pulses_high", "breath_low", "breath_high"]
        sizes = graph.constant("creak_bins", np.array([LOW_BINS, high, LOW_BINS, high]))
        graph.node("Split", ["filters", sizes], parts, axis=-1)
        silent = self._scalar(SILENT, "silent")
        low = graph.node("Where", [is_voiced, parts[0], parts[2]], "pulses_below")
        above = graph.node("Where", [is_voiced, parts[1], silent], "pulses_above")
        none = graph.node("Min", [parts[2], silent], "no_breath")
        return hz, graph.node("Concat", [low, above, none, parts[3]], "filters_creaking", axis=-1)

    def _pulses(self, f0: str, gain: str, phase: str) -> tuple[str, str]:
        """f0, gain [R, N, 1], phase [R] -> samples [R, N * HOP], phase [R]; see models/excitation.py."""
        graph = self._graph
        turns_hz = graph.node("Mul", [f0, self._scalar(TURN / SAMPLE_RATE_HZ, "turns_per_hz")], "turns_per_sample")
        step = graph.cast(graph.node("Round", [turns_hz], "step_rounded"), TensorProto.INT64, "step")
        hop = graph.node("Mul", [step, self._scalar(HOP, "hop")], "step_per_hop")
        after = graph.node("CumSum", [hop, self._scalar(1, "axis.1")], "after")
        start = graph.node("Sub", [after, hop], "start")
        start = graph.node("Add", [start, graph.reshape(phase, [-1, 1, 1], "phases")], "start_phase")
        steps = graph.constant("hop_ramp", np.arange(1, HOP + 1))
        turns = graph.node("Add", [start, graph.node("Mul", [step, steps], "step_ramp")], "turns")
        half, whole = self._scalar(TURN // 2, "half_turn"), self._scalar(TURN, "turn")
        centred = graph.node("Mod", [graph.node("Add", [turns, half], "turns_moved"), whole], "turns_rest")
        centred = graph.cast(graph.node("Sub", [centred, half], "turns_centred"), TensorProto.FLOAT, "turns_float")
        distance = graph.node("Div", [centred, graph.cast(step, TensorProto.FLOAT, "step_float")], "distance")
        shape = self._pulse_shape(distance)
        power = graph.node("Div", [self._scalar(float(SAMPLE_RATE_HZ), "rate"), f0], "samples_per_turn")
        loud = graph.node("Mul", [graph.node("Sqrt", [power], "pulse_power"), gain], "pulse_gain")
        samples = graph.reshape(graph.node("Mul", [shape, loud], "pulse_samples"), [0, -1], "pulses")
        last = graph.node("Gather", [after, self._scalar(-1, "index.-1")], "after_last", axis=1)
        moved = graph.node("Add", [graph.reshape(last, [-1], "after_rows"), phase], "phase_moved")
        return samples, graph.node("Mod", [moved, whole], "phase_out")

    def _pulse_shape(self, distance: str) -> str:
        """The pulse table along a straight line between entries. The table holds value and slope side by side."""
        graph, entries = self._graph, 2 * _TAPS * _RESOLUTION
        place = graph.node("Add", [distance, self._scalar(float(_TAPS), "taps")], "taps_moved")
        place = graph.node("Mul", [place, self._scalar(float(_RESOLUTION), "resolution")], "place_scaled")
        place = self._clip(place, (0.0, float(entries)), "place")
        floor = graph.node(
            "Min", [graph.node("Floor", [place], "place_floor"), self._scalar(entries - 1.0, "top")], "at"
        )
        entry = graph.cast(floor, TensorProto.INT64, "entry")
        pulse = self._weights.pulse
        value = graph.node("Gather", [graph.constant("pulse", pulse[:-1]), entry], "pulse_value")
        slope = graph.node("Gather", [graph.constant("pulse_slope", np.diff(pulse)), entry], "pulse_slope_at")
        rest = graph.node("Sub", [place, floor], "place_rest")
        return graph.node("Add", [value, graph.node("Mul", [rest, slope], "pulse_rise")], "pulse_shape")

    def _filtered(self, harmonic: str, log_filters: str) -> str:
        """harmonic [R, look back + N * HOP], log filters [R, N, 2 * BINS] -> [R, N, 2 * BINS]: both excitations through
        their filters, summed."""
        graph = self._graph
        at = graph.input("window_at", TensorProto.INT64, ["N", WINDOW])
        noise_at = graph.reshape(graph.input("noise_at", TensorProto.INT64, ["R"]), [-1, 1, 1], "noise_rows")
        table = graph.input("noise_table", TensorProto.FLOAT, ["T"])
        voiced = graph.node("Gather", [harmonic, at], "voiced_windows", axis=1)
        breath = graph.node("Gather", [table, graph.node("Add", [noise_at, at], "noise_places")], "breath_windows")
        filters = graph.node("Exp", [self._clip(log_filters, _LOG_FILTER, "filters_clipped")], "filters_exp")
        graph.node("Split", [filters], ["voiced_filter", "breath_filter"], axis=-1, num_outputs=2)
        analysis = graph.constant("analysis", self._weights.analysis)
        parts = []
        for name, windows in (("voiced", voiced), ("breath", breath)):
            spectrum = graph.node("MatMul", [windows, analysis], f"{name}_spectrum")
            spectrum = graph.reshape(spectrum, [0, 0, 2, BINS], f"{name}_parts")
            by_part = graph.reshape(f"{name}_filter", [0, 0, 1, BINS], f"{name}_filter_parts")
            parts.append(graph.node("Mul", [spectrum, by_part], f"{name}_filtered"))
        return graph.reshape(graph.node("Add", parts, "spectrum"), [0, 0, 2 * BINS], "spectrum_rows")

    def _overlap_added(self, spectrum: str, before: str) -> str:
        """spectrum [R, N, 2 * BINS], before [R, 3, 4 * HOP] -> the last three frames. Makes `samples` [R, N + 3, HOP].

        What follows the first N hops is what would sound if no frame came any more. A hop sums its four parts in the
        order of time, in any chunking.
        """
        graph, parts = self._graph, [f"part.{at}" for at in range(HOPS)]
        new = graph.node("MatMul", [spectrum, graph.constant("inverse", inverse())], "frames_new")
        known = graph.node("Concat", [before, new], "frames_known", axis=1)
        pads = graph.constant("zeros_behind", np.array([0, 0, 0, 0, HOPS - 1, 0]))
        padded = graph.reshape(graph.node("Pad", [known, pads], "frames_padded"), [0, -1, HOP], "frame_hops")
        at = graph.input("hop_at", TensorProto.INT64, [HOPS, "M"])
        graph.node("Split", [graph.node("Gather", [padded, at], "hops", axis=1)], parts, axis=1, num_outputs=HOPS)
        parts = [graph.reshape(part, [0, -1, HOP], f"{part}_hops") for part in parts]
        total = parts[0]
        for index, part in enumerate(parts[1:], 1):
            total = graph.node("Add", [total, part], "samples" if index == HOPS - 1 else f"summed.{index}")
        return self._last(known, HOPS - 1, "before_out")


def inverse() -> Array:
    """[2 * BINS, HOPS * HOP]: the inverse transform with its window, so that overlapped frames give back the input."""
    unit = np.eye(2 * BINS)
    frames = np.fft.irfft(unit[:, :BINS] + 1j * unit[:, BINS:], WINDOW)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    overlapped = np.zeros(HOP)
    for start in range(0, WINDOW, HOP):
        part = hann[start : start + HOP] ** 2
        overlapped[: len(part)] += part
    windowed = frames * (hann / np.resize(overlapped, WINDOW))
    return np.pad(windowed, ((0, 0), (0, HOPS * HOP - WINDOW))).astype(np.float32)
