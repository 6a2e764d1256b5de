"""Guards against traps of captured graphs, each with a change that takes it away and the test that must notice."""

from __future__ import annotations

from dataclasses import dataclass

CUDA, DEVICE = "engines/runtime/onnx_cuda.py", "engines/runtime/device.py"
SESSION = "engines/runtime/cuda_session.py"
WEIGHTS = "engines/runtime/device_weights.py"
TALKER, FORM = "engines/families/phone_pointer/device_talker.py", "engines/families/common/device_form.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    trap: str
    file: str
    guard: str  # text of the file
    without: str
    test: str  # fails then; of this folder, or of the one of tests/ that is named
    hangs: bool = False  # which counts as failing


MUTATIONS = (
    Mutation(
        trap="a first run advances what it updates three times",
        file=CUDA,
        guard="        for buffer in memories.values():\n            buffer.clear()\n",
        without="",
        test="test_onnx_cuda.py::test_state_is_clean_after_its_capture_and_advances_once_a_launch",
    ),
    Mutation(
        trap="another thread captures again",
        file=CUDA,
        guard="        if self._thread != threading.get_ident():",
        without="        if self._thread is None:",
        test="test_onnx_cuda.py::test_a_call_is_launched_by_the_thread_that_prepared_it",
    ),
    Mutation(
        trap="what was not captured at warm-up is captured while streams run",
        file=CUDA,
        guard="        if self._thread != threading.get_ident():",
        without="        if self._thread not in (None, threading.get_ident()):",
        test="test_onnx_cuda.py::test_nothing_is_captured_after_warm_up",
    ),
    Mutation(
        trap="another shape under a captured id replays the old graph",
        file=CUDA,
        guard="next(self._numbers), wanted)",
        without="1, wanted)",
        test="test_onnx_cuda.py::test_each_bucket_has_a_graph_of_its_own",
    ),
    Mutation(
        trap="another backend allocates while one captures",
        file=CUDA,
        guard="        with _capturing:\n",
        without="        if True:\n",
        test="test_onnx_cuda.py::test_one_backend_captures_at_a_time",
    ),
    Mutation(
        trap="waiting for outputs waits for the whole device",
        file=CUDA,
        guard="        self._queue.device.wait(self._event)\n",
        without="        self._binding.synchronize_outputs()\n",
        test="test_onnx_cuda.py::test_a_wait_is_for_an_event_and_never_for_the_device",
    ),
    Mutation(
        trap="a replay waits for its end unless it is told not to",
        file=SESSION,
        guard="    if not waits:\n",
        without="    if False:\n",
        test="test_onnx_cuda.py::test_a_wait_is_for_an_event_and_never_for_the_device",
    ),
    Mutation(
        trap="the default stream does not wait for ours",
        file=DEVICE,
        guard='"cudaMemcpyAsync", to, source, size_bytes, _TO_DEVICE_OR_BACK, stream)',
        without='"cudaMemcpyAsync", to, source, size_bytes, _TO_DEVICE_OR_BACK, 0)',
        test="test_onnx_cuda.py::test_what_is_written_is_read",
    ),
    Mutation(
        trap="a blocking stream waits for the default one",
        file=DEVICE,
        guard='"cudaStreamCreateWithFlags", _NON_BLOCKING)',
        without='"cudaStreamCreateWithFlags", 0)',
        test="test_provider.py::test_our_stream_is_the_one_that_captures_and_replays",
    ),
    Mutation(
        trap="fresh memory is not a number, and that spreads",
        file=CUDA,
        guard="        self._buffers[-1].clear()\n",
        without="",
        test="test_onnx_cuda.py::test_a_buffer_begins_as_zeros",
    ),
    Mutation(
        trap="a session has the addresses of weights that it is given, and does not keep them",
        file=WEIGHTS,
        guard="self._values[file, one] for name",
        without="self._values.pop((file, one)) for name",
        test="test_device_weights.py::test_a_graph_that_shares_its_weights_allocates_none",
    ),
    Mutation(
        trap="the provider's arena takes up to twice the weights' size",
        file=SESSION,
        guard='    options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")\n',
        without="",
        test="test_device_weights.py::test_a_form_without_a_list_has_its_own_weights",
    ),
    Mutation(
        trap="a replay reads shared memory when it runs",
        file=CUDA,
        guard="            if self.memory.calls_in_flight:",
        without="            if False:",
        test="test_onnx_cuda.py::test_shared_memory_is_not_written_under_a_call_in_flight",
    ),
    Mutation(
        trap="an error of ours is reported by the provider's next launch",
        file=DEVICE,
        guard="        self._cudart.cudaGetLastError()  # else",
        without="        pass  # else",
        test="test_device.py::test_a_failure_is_not_left_for_the_provider_to_find",
    ),
    Mutation(
        trap="a wait holds the interpreter lock",
        file=DEVICE,
        guard="_bound(ctypes.CDLL(LIBRARIES[0]))",
        without="_bound(ctypes.PyDLL(LIBRARIES[0]))",
        test="test_device.py::test_a_waiting_thread_leaves_the_interpreter_to_others",
        hangs=True,
    ),
    Mutation(
        trap="kernels for many parts copy a table of them from the host's memory",
        file="models/gpu_graphs/vocoder.py",
        guard="np.array(grouped))], names, axis=1)\n    for name, group in zip(names, groups, strict=False):\n"
        '        graph.node("Split", [name], [parts[at] for at in group], axis=1, num_outputs=len(group))\n',
        without="np.array(sizes))], parts, axis=1)\n",
        test="test_gpu_graphs.py::test_a_capture_is_whole_and_within_its_budget[vocoder-2]",
    ),
    Mutation(
        trap="one left side for every row is multiplied by pointers",
        file="models/gpu_graphs/synthesis.py",
        guard='            spectrum = graph.node("MatMul", [windows, analysis], f"{name}_spectrum")\n',
        without='            turned = graph.node("Transpose", [windows], f"{name}_turned", perm=[0, 2, 1])\n'
        '            turned = graph.reshape(turned, [-1, 1, WINDOW, 32], f"{name}_columns")\n'
        '            left = graph.constant("analysis_left", self._weights.analysis.T[None].repeat(2, 0))\n'
        '            turned = graph.node("Concat", [turned, turned], f"{name}_twice", axis=1)\n'
        '            spectrum = graph.node("MatMul", [left, turned], f"{name}_left")\n'
        '            axis = graph.constant("left_axis", np.array([1]))\n'
        '            spectrum = graph.node("ReduceSum", [spectrum, axis], f"{name}_one", keepdims=0)\n'
        '            spectrum = graph.node("Transpose", [spectrum], f"{name}_spectrum", perm=[0, 2, 1])\n',
        test="test_gpu_graphs.py::test_a_capture_is_whole_and_within_its_budget[vocoder-2]",
    ),
    Mutation(
        trap="float32 grouped attention has no kernel on the device",
        file="models/gpu_graphs/__main__.py",
        guard='Attend.GROUPED if dtype != "float32" else Attend.CAUSAL',
        without="Attend.GROUPED",
        test="test_device_voice.py::test_the_device_passes_its_self_test",
    ),
    Mutation(
        trap="grouped attention takes several steps of one row only",
        file="models/gpu_graphs/lm.py",
        guard="Attend.CAUSAL, steps).run(",
        without="Attend.GROUPED, steps).run(",
        test="test_gpu_graphs.py::test_a_capture_is_whole_and_within_its_budget[verify-2]",
    ),
    Mutation(
        trap="TensorRT drops the lengths of an attention, and begins a causal mask at the first column",
        file="models/gpu_graphs/standard.py",
        guard='    if any(node.input[4:]) or _attributes(node).get("is_causal"):\n',
        without="    if False:\n",
        test="gpu_graphs/test_standard.py::test_what_tensorrt_would_take_otherwise_is_refused",
    ),
    Mutation(
        trap="TensorRT builds a plan that leaves an input unread, with a warning",
        file="engines/runtime/tensorrt_build.py",
        guard="    _check(log)\n    if content is None:\n",
        without="    if content is None:\n",
        test="plans/test_plans.py::test_a_graph_whose_lengths_tensorrt_drops_is_not_built",
    ),
    Mutation(
        trap="a plan of another device or another TensorRT computes something else",
        file="engines/runtime/tensorrt.py",
        guard="        if self.plans.capability != here:\n",
        without="        if False:\n",
        test="plans/test_plans.py::test_plans_of_elsewhere_are_refused_by_name",
    ),
    Mutation(
        trap="a wrong index into the cache is clamped silently",
        file=TALKER,
        guard="> self._positions:",
        without="> 1 << 40:",
        test="test_device_voice.py::test_a_step_beyond_the_slot_is_refused",
    ),
    *(
        Mutation(
            trap=f"a wrong index into the cache is clamped silently: {what} of {family}",
            file=f"engines/families/{family}/device_talker.py",
            guard=guard,
            without=guard.replace("self._positions", "1 << 40"),
            test=f"test_engine.py::test_a_step_beyond_the_slot_is_refused[{family}]",
        )
        for family in ("qwen3_tts", "pocket")
        for what, guard in (("a step", "> self._positions:"), ("a prompt", ">= self._positions:"))
    ),
    Mutation(
        trap="a slice with a computed bound returns its input whole",
        file="models/gpu_graphs/synthesis.py",
        guard='        return self._graph.node("Slice", [value, *ends], name)\n',
        without='        ends[0] = self._graph.node("Identity", [ends[0]], f"{name}_from")\n'
        '        return self._graph.node("Slice", [value, *ends], name)\n',
        test="test_gpu_graphs.py::test_slices_have_constant_bounds[vocoder]",
    ),
    Mutation(
        trap="a device whose verification computes otherwise serves",
        file="engines/families/phone_pointer/self_test.py",
        guard='**{steps: f"verify-{steps}" for steps in form.verify_steps if steps < total}',
        without="",
        test="test_device_voice.py::test_each_graph_that_serves_is_tested",
    ),
    Mutation(
        trap="a device's bits depend on the shape of a call",
        file="engines/families/phone_pointer/device_vocoder.py",
        guard="self._sizes, self._buckets = _SIZES[-1:] if one else _SIZES, buckets(slots, one=one)",
        without="self._sizes, self._buckets = _SIZES, buckets(slots)",
        test="test_engine.py::TestKernelsThatDependOnTheShape::test_deterministic_calls_have_one_shape[natural]",
    ),
    Mutation(
        trap="an idle row writes where a neighbour's next step reads",
        file=TALKER,
        guard='        values["lengths"].write(self._lengths[:covered])\n',
        without='        values["lengths"].write(np.zeros(covered, np.int32))\n'
        '        values["lengths"].write(lengths.astype(np.int32)[-1:], last - 1)\n',
        test="test_device_voice.py::test_neighbours_change_nothing",
    ),
    Mutation(
        trap="two steps in flight share their inputs and results",
        file="engines/families/phone_pointer/device_buffers.py",
        guard='{"last": last} | self._small(backend, slots) for _ in range(in_flight)]',
        without='{"last": last} | self._small(backend, slots)] * in_flight',
        test="test_device_voice.py::test_a_step_is_launched_before_the_last_is_read",
    ),
    Mutation(
        trap="a slot begins before the step in flight has written there",
        file=TALKER,
        guard='        self._backend.copy(self._buffers.first, self._buffers.values["last"].rows(slot, slot + 1))\n',
        without='        self._buffers.values["last"]._array[slot] = self._bundle.codes.begin\n',
        test="test_device_voice.py::test_a_slot_begins_anew_under_a_step_in_flight",
    ),
    Mutation(
        trap="a step in flight is committed to a sequence that has ended",
        file="engines/steps.py",
        guard="            if sequence.phase is Phase.RUNNING and sequence.length == length:",
        without="            if sequence.length == length:",
        test="test_engine.py::test_a_cancelled_streams_slot_is_used_again_under_its_step[natural]",
    ),
    Mutation(
        trap="rows that fill up a bucket write to slots in use",
        file="engines/families/phone_pointer/device_vocoder.py",
        guard="spare = self._buffers.spare_slot + np.arange(covered - rows)",
        without="spare = np.arange(covered - rows)",
        test="test_device_voice.py::test_filled_up_rows_write_to_spare_slots",
    ),
    Mutation(
        trap="a device that computes otherwise serves",
        file=FORM,
        guard="        if error <= within:",
        without="        if True:",
        test="test_device_voice.py::test_a_device_that_computes_otherwise_is_refused",
    ),
)
