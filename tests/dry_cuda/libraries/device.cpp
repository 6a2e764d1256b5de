#include "device.h"

#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

namespace dry {

namespace {

constexpr size_t kAlignment = 256, kGuard = 256;  // the guard lies behind each allocation
constexpr unsigned char kFresh = 0xFF, kGuardFill = 0xFD;

struct Allocation {
    size_t bytes;
    Space space;
};

// Never destroyed: the provider still calls while the process ends.
struct State {
    std::mutex mutex;
    std::condition_variable ran;
    std::map<uintptr_t, Allocation> allocations;
    std::vector<Stream*> streams;
    FILE* log = nullptr;
    size_t used = 0;
};

State& state() {
    static State* only = [] {
        auto* made = new State;
        if (const char* path = std::getenv("DRYCUDA_LOG")) made->log = std::fopen(path, "a");
        made->streams.push_back(new Stream{0, true});
        return made;
    }();
    return *only;
}

thread_local cudaError_t last_error = cudaSuccess;

// The allocation that holds the address, or the end.
auto find(const void* address) {
    auto& known = state().allocations;
    auto at = known.upper_bound(reinterpret_cast<uintptr_t>(address));
    if (at == known.begin()) return known.end();
    --at;
    return reinterpret_cast<uintptr_t>(address) < at->first + at->second.bytes ? at : known.end();
}

bool is_damaged(uintptr_t address, const Allocation& allocation) {
    auto* guard = reinterpret_cast<unsigned char*>(address) + allocation.bytes;
    for (size_t at = 0; at < kGuard; at++)
        if (guard[at] != kGuardFill) return true;
    return false;
}

}  // namespace

Lock lock() { return Lock(state().mutex); }

void log(const char* event, int stream, const std::string& text) {
    if (FILE* file = state().log) {
        std::fprintf(file, "%s\t%d\t%s\n", event, stream, text.c_str());
        std::fflush(file);
    }
}

cudaError_t fail(cudaError_t error, const std::string& why) {
    last_error = error;
    log("error", -1, std::to_string(static_cast<int>(error)) + "\t" + why);
    return error;
}

cudaError_t take_last_error(bool clear) {
    cudaError_t error = last_error;
    if (clear) last_error = cudaSuccess;
    return error;
}

// -- memory

cudaError_t allocate(Space space, void** address, size_t bytes) {
    if (space == Space::device && bytes > total_bytes() - used_bytes())
        return fail(cudaErrorMemoryAllocation, "allocation of " + std::to_string(bytes) + " bytes");
    size_t whole = (bytes + kGuard + kAlignment - 1) / kAlignment * kAlignment;
    auto* memory = static_cast<unsigned char*>(std::aligned_alloc(kAlignment, whole));
    if (memory == nullptr) return fail(cudaErrorMemoryAllocation, "this machine's own memory");
    std::memset(memory, kFresh, bytes);
    std::memset(memory + bytes, kGuardFill, kGuard);
    state().allocations[reinterpret_cast<uintptr_t>(memory)] = {bytes, space};
    if (space == Space::device) state().used += bytes;
    log("allocate", -1, std::string(letter(space)) + "\t" + std::to_string(bytes));
    *address = memory;
    return cudaSuccess;
}

cudaError_t release(Space space, void* address, Lock& held) {
    if (address == nullptr) return cudaSuccess;
    drain_everything(held);
    auto at = state().allocations.find(reinterpret_cast<uintptr_t>(address));
    if (at == state().allocations.end() || at->second.space != space)
        return fail(cudaErrorInvalidValue, "release of what is no allocation of this kind");
    bool damaged = is_damaged(at->first, at->second);
    if (space == Space::device) state().used -= at->second.bytes;
    state().allocations.erase(at);
    std::free(address);
    return damaged ? fail(cudaErrorIllegalAddress, "written behind the end of an allocation") : cudaSuccess;
}

Space space_of(const void* address) {
    auto at = find(address);
    return at == state().allocations.end() ? Space::pageable : at->second.space;
}

const char* letter(Space space) { return space == Space::device ? "D" : space == Space::pinned ? "P" : "H"; }

bool fits(const void* address, size_t bytes) {
    auto at = find(address);
    return at == state().allocations.end() ||
           reinterpret_cast<uintptr_t>(address) + bytes <= at->first + at->second.bytes;
}

size_t total_bytes() {
    const char* set = std::getenv("DRYCUDA_MEMORY");
    return set ? std::strtoull(set, nullptr, 10) : size_t{16} << 30;
}

size_t used_bytes() { return state().used; }

int damaged_allocations() {
    int count = 0;
    for (auto& [address, allocation] : state().allocations) count += is_damaged(address, allocation);
    return count;
}

// -- streams

Stream& default_stream() { return *state().streams.front(); }

Stream& create_stream(bool blocking) {
    auto* made = new Stream{static_cast<int>(state().streams.size()), blocking};
    state().streams.push_back(made);
    return *made;
}

Stream& stream_of(cudaStream_t handle) {
    if (handle == nullptr || handle == cudaStreamLegacy || handle == cudaStreamPerThread) return default_stream();
    return *reinterpret_cast<Stream*>(handle);
}

cudaError_t enqueue(Stream& stream, Operation operation) {
    static const char* const names[] = {"kernel", "copy", "fill", "host"};
    if (&stream == &default_stream())
        if (cudaError_t error = check_capture(operation.name.c_str(), true)) return error;
    char sizes[128];
    std::snprintf(sizes, sizeof sizes, "\t%zu\t%u,%u,%u\t%u,%u,%u", operation.bytes, operation.grid.x, operation.grid.y,
                  operation.grid.z, operation.block.x, operation.block.y, operation.block.z);
    log(names[static_cast<int>(operation.kind)], stream.id,
        (stream.capture ? "captured\t" : "eager\t") + operation.name + sizes);
    if (stream.capture)
        stream.capture->nodes.push_back(std::move(operation));
    else if (operation.work)
        stream.queue.push_back(std::move(operation.work));
    return cudaSuccess;
}

void queue_silently(Stream& stream, Work work) { stream.queue.push_back(std::move(work)); }

bool advance(Stream& stream, Lock& held) {
    while (stream.running) state().ran.wait(held);
    if (stream.queue.empty()) return false;
    Work work = std::move(stream.queue.front());
    stream.queue.pop_front();
    stream.running = true;
    held.unlock();
    work();
    held.lock();
    stream.running = false;
    state().ran.notify_all();
    return true;
}

void drain(Stream& stream, Lock& held) {
    while (advance(stream, held)) {
    }
}

void drain_default(Lock& held) {
    for (size_t at = 0; at < state().streams.size(); at++)
        if (state().streams[at]->blocking) drain(*state().streams[at], held);
}

void drain_everything(Lock& held) {
    for (size_t at = 0; at < state().streams.size(); at++) drain(*state().streams[at], held);
}

cudaError_t check_capture(const char* call, bool implicit) {
    for (Stream* stream : state().streams) {
        if (!stream->capture) continue;
        Capture& capture = *stream->capture;
        bool mine = capture.mode == cudaStreamCaptureModeThreadLocal && capture.owner == std::this_thread::get_id();
        if (capture.mode != cudaStreamCaptureModeGlobal && !mine) continue;
        capture.broken = true;
        return fail(implicit ? cudaErrorStreamCaptureImplicit : cudaErrorStreamCaptureUnsupported,
                    std::string(call) + " while a stream captures");
    }
    return cudaSuccess;
}

void record(Event& event, Stream& stream) {
    event.stream = &stream;
    uint64_t number = ++event.recorded;
    queue_silently(stream, [&event, number] {
        Lock held = lock();
        event.reached = number;
    });
}

void reach(Event& event, uint64_t target, Lock& held) {
    while (event.reached < target && advance(*event.stream, held)) {
    }
}

}  // namespace dry
