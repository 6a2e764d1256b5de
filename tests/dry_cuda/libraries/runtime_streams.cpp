// Streams, events, capture, graphs, and the door for tests.
#include "device.h"

using namespace dry;

namespace {

struct Graph {
    std::vector<Operation> nodes;
};
struct Executable {
    int id;
    std::vector<Operation> nodes;
};

int last_executable = 0;
int (*on_replay)(int) = nullptr;  // what stands in for the nodes of a replay, by executable; 0: nothing does

cudaError_t forbid_in_capture(Stream& stream, const char* call) {
    stream.capture->broken = true;
    return fail(cudaErrorStreamCaptureUnsupported, std::string(call) + " on a stream that captures");
}

cudaError_t not_ready() { return fail(cudaErrorNotReady, "a query"); }

}  // namespace

API cudaError_t cudaStreamCreateWithFlags(cudaStream_t* handle, unsigned flags) {
    Lock held = lock();
    Stream& made = create_stream(!(flags & cudaStreamNonBlocking));
    log("stream", made.id, made.blocking ? "blocking" : "non-blocking");
    *handle = reinterpret_cast<cudaStream_t>(&made);
    return cudaSuccess;
}
API cudaError_t cudaStreamCreate(cudaStream_t* handle) { return cudaStreamCreateWithFlags(handle, 0); }

API cudaError_t cudaStreamDestroy(cudaStream_t handle) {
    Lock held = lock();
    drain(stream_of(handle), held);
    return cudaSuccess;
}

API cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
    Lock held = lock();
    Stream& stream = stream_of(handle);
    if (stream.capture) return forbid_in_capture(stream, "cudaStreamSynchronize");
    log("wait", stream.id, "stream");
    drain(stream, held);
    return cudaSuccess;
}

API cudaError_t cudaStreamQuery(cudaStream_t handle) {
    Lock held = lock();
    Stream& stream = stream_of(handle);
    if (stream.capture) return forbid_in_capture(stream, "cudaStreamQuery");
    return advance(stream, held) ? not_ready() : cudaSuccess;
}

API cudaError_t cudaDeviceSynchronize() {
    Lock held = lock();
    if (cudaError_t error = check_capture("cudaDeviceSynchronize")) return error;
    log("wait", -1, "device");
    drain_everything(held);
    return cudaSuccess;
}

// -- events

API cudaError_t cudaEventCreateWithFlags(cudaEvent_t* handle, unsigned) {
    *handle = reinterpret_cast<cudaEvent_t>(new Event);
    return cudaSuccess;
}
API cudaError_t cudaEventCreate(cudaEvent_t* handle) { return cudaEventCreateWithFlags(handle, 0); }

// Events are not freed: a queued mark may still name one.
API cudaError_t cudaEventDestroy(cudaEvent_t) { return cudaSuccess; }

API cudaError_t cudaEventRecord(cudaEvent_t handle, cudaStream_t on) {
    Lock held = lock();
    Stream& stream = stream_of(on);
    if (!stream.capture) record(*reinterpret_cast<Event*>(handle), stream);
    log("record", stream.id, stream.capture ? "captured" : "eager");
    return cudaSuccess;
}
API cudaError_t cudaEventRecordWithFlags(cudaEvent_t handle, cudaStream_t on, unsigned) {
    return cudaEventRecord(handle, on);
}

API cudaError_t cudaEventQuery(cudaEvent_t handle) {
    Lock held = lock();
    Event& event = *reinterpret_cast<Event*>(handle);
    if (event.reached == event.recorded) return cudaSuccess;
    advance(*event.stream, held);
    return event.reached == event.recorded ? cudaSuccess : not_ready();
}

API cudaError_t cudaEventSynchronize(cudaEvent_t handle) {
    Lock held = lock();
    Event& event = *reinterpret_cast<Event*>(handle);
    log("wait", event.stream ? event.stream->id : 0, "event");
    reach(event, event.recorded, held);
    return cudaSuccess;
}

API cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t awaited, unsigned) {
    Lock held = lock();
    Stream& stream = stream_of(handle);
    Event& event = *reinterpret_cast<Event*>(awaited);
    if (stream.capture || event.stream == nullptr || event.stream == &stream) return cudaSuccess;
    queue_silently(stream, [&event, target = event.recorded] {
        Lock inner = lock();
        reach(event, target, inner);
    });
    return cudaSuccess;
}

API cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t, cudaEvent_t) {
    *milliseconds = 0.01f;
    return cudaSuccess;
}

API cudaError_t cudaLaunchHostFunc(cudaStream_t handle, cudaHostFn_t function, void* argument) {
    Lock held = lock();
    return enqueue(stream_of(handle), {Kind::host, "function", 0, {0, 0, 0}, {0, 0, 0}, [=] { function(argument); }});
}

// -- capture and graphs

API cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode) {
    Lock held = lock();
    Stream& stream = stream_of(handle);
    if (&stream == &default_stream()) return fail(cudaErrorStreamCaptureUnsupported, "capture of the default stream");
    if (stream.capture) return fail(cudaErrorIllegalState, "a second capture of one stream");
    stream.capture = Capture{mode, std::this_thread::get_id()};
    log("capture-begin", stream.id, mode == cudaStreamCaptureModeGlobal ? "global" : "other");
    return cudaSuccess;
}

API cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* graph) {
    Lock held = lock();
    Stream& stream = stream_of(handle);
    *graph = nullptr;
    if (!stream.capture) return fail(cudaErrorIllegalState, "the end of no capture");
    Capture capture = std::move(*stream.capture);
    stream.capture.reset();
    if (capture.mode != cudaStreamCaptureModeRelaxed && capture.owner != std::this_thread::get_id())
        return fail(cudaErrorStreamCaptureWrongThread, "a capture ends in another thread");
    if (capture.broken) return fail(cudaErrorStreamCaptureInvalidated, "the capture was broken");
    log("capture-end", stream.id, std::to_string(capture.nodes.size()));
    *graph = reinterpret_cast<cudaGraph_t>(new Graph{std::move(capture.nodes)});
    return cudaSuccess;
}

API cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
    Lock held = lock();
    auto& capture = stream_of(handle).capture;
    *status = !capture          ? cudaStreamCaptureStatusNone
              : capture->broken ? cudaStreamCaptureStatusInvalidated
                                : cudaStreamCaptureStatusActive;
    return cudaSuccess;
}

API cudaError_t cudaGraphInstantiate(cudaGraphExec_t* made, cudaGraph_t graph, unsigned long long) {
    Lock held = lock();
    auto* executable = new Executable{++last_executable, reinterpret_cast<Graph*>(graph)->nodes};
    log("instantiate", executable->id, std::to_string(executable->nodes.size()));
    *made = reinterpret_cast<cudaGraphExec_t>(executable);
    return cudaSuccess;
}
API cudaError_t cudaGraphDestroy(cudaGraph_t) { return cudaSuccess; }
API cudaError_t cudaGraphExecDestroy(cudaGraphExec_t) {
    Lock held = lock();
    return check_capture("cudaGraphExecDestroy");
}

API cudaError_t cudaGraphLaunch(cudaGraphExec_t handle, cudaStream_t on) {
    Lock held = lock();
    Stream& stream = stream_of(on);
    if (stream.capture) return forbid_in_capture(stream, "cudaGraphLaunch");
    auto* executable = reinterpret_cast<Executable*>(handle);
    log("replay", stream.id, std::to_string(executable->id));
    queue_silently(stream, [executable] {
        if (on_replay != nullptr && on_replay(executable->id)) return;
        for (auto& node : executable->nodes)
            if (node.work) node.work();
    });
    return cudaSuccess;
}

// -- the door for tests

API void drycuda_on_replay(int (*body)(int)) { on_replay = body; }
API int drycuda_last_executable() { return last_executable; }
API size_t drycuda_graph_nodes(cudaGraph_t graph, void** nodes) {
    auto& all = reinterpret_cast<Graph*>(graph)->nodes;
    for (size_t at = 0; nodes != nullptr && at < all.size(); at++) nodes[at] = &all[at];
    return all.size();
}
API const char* drycuda_kernel_name(void* node) {
    auto* operation = static_cast<Operation*>(node);
    return operation->kind == Kind::kernel ? operation->name.c_str() : nullptr;
}
API void drycuda_mark(const char* text) {
    Lock held = lock();
    log("mark", -1, text);
}
API int drycuda_damaged() {
    Lock held = lock();
    return damaged_allocations();
}
API void drycuda_kernel(const char* name, cudaStream_t stream) {  // for the pretended libraries beside this one
    Lock held = lock();
    enqueue(stream_of(stream), {Kind::kernel, name});
}
