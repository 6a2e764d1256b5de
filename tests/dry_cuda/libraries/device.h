// The pretended device: memory, streams, events, capture and the log. The API files beside this one translate CUDA's
// calls into these. Memory is ordinary memory, filled with 0xFF when fresh (NaN in every float type). Kernels are named
// and never run. A stream is a queue that runs as late as a program may rely on: at a wait, a query, or a free.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#define API extern "C" __attribute__((visibility("default")))

namespace dry {

using Lock = std::unique_lock<std::mutex>;
using Work = std::function<void()>;

// -- the log: one line an event, fields separated by tabs, to the file that DRYCUDA_LOG names -------------------------

void log(const char* event, int stream, const std::string& text);
cudaError_t fail(cudaError_t error, const std::string& why);  // logged, and what cudaGetLastError returns
cudaError_t take_last_error(bool clear);
Lock lock();  // over everything below; never held while queued work runs

// -- memory ------------------------------------------------------------------------------------------------------------

enum class Space { device, pinned, pageable };

cudaError_t allocate(Space space, void** address, size_t bytes);
cudaError_t release(Space space, void* address, Lock& held);
Space space_of(const void* address);
const char* letter(Space space);                    // D, P or H
bool fits(const void* address, size_t bytes);       // false where a range leaves its allocation
size_t total_bytes();
size_t used_bytes();
int damaged_allocations();                          // those written behind their end

// -- streams -----------------------------------------------------------------------------------------------------------

enum class Kind { kernel, copy, fill, host };

struct Operation {  // one entry of a queue, and one node of a graph
    Kind kind;
    std::string name;
    size_t bytes = 0;
    dim3 grid{0, 0, 0}, block{0, 0, 0};
    Work work;  // empty for a kernel
};

struct Capture {
    cudaStreamCaptureMode mode;
    std::thread::id owner;
    bool broken = false;
    std::vector<Operation> nodes;
};

struct Stream {
    int id;
    bool blocking;  // waits for the default stream, and the default stream for it
    bool running = false;
    std::deque<Work> queue;
    std::optional<Capture> capture;
};

Stream& stream_of(cudaStream_t handle);
Stream& default_stream();
Stream& create_stream(bool blocking);
cudaError_t enqueue(Stream& stream, Operation operation);
void queue_silently(Stream& stream, Work work);              // bookkeeping that is no operation of the program
bool advance(Stream& stream, Lock& held);                    // runs one entry; false where the queue is empty
void drain(Stream& stream, Lock& held);
void drain_default(Lock& held);                              // what a call on the default stream waits for
void drain_everything(Lock& held);

// A call that CUDA forbids during a capture: fails and breaks that capture. `implicit`: it uses the default stream.
cudaError_t check_capture(const char* call, bool implicit = false);

struct Event {
    Stream* stream = nullptr;
    uint64_t recorded = 0, reached = 0;
};
void record(Event& event, Stream& stream);
void reach(Event& event, uint64_t target, Lock& held);  // advances the event's stream until it has

}  // namespace dry
