// Allocation, copies and fills. A copy from pageable memory takes its bytes at the call, one to pageable memory waits.
#include <cstring>

#include "device.h"

using namespace dry;

namespace {

cudaError_t allocate_outside_captures(Space space, void** address, size_t bytes, const char* call) {
    Lock held = lock();
    if (cudaError_t error = check_capture(call)) return error;
    return allocate(space, address, bytes);
}

cudaError_t release_outside_captures(Space space, void* address, const char* call) {
    Lock held = lock();
    if (address != nullptr)
        if (cudaError_t error = check_capture(call)) return error;
    return release(space, address, held);
}

cudaError_t check_range(const void* address, size_t bytes, const char* call) {
    if (address == nullptr && bytes > 0) return fail(cudaErrorInvalidValue, std::string(call) + ": a null address");
    if (!fits(address, bytes)) return fail(cudaErrorInvalidValue, std::string(call) + ": beyond the end of an allocation");
    return cudaSuccess;
}

cudaError_t check_copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
    if (cudaError_t error = check_range(to, bytes, "copy to")) return error;
    if (cudaError_t error = check_range(from, bytes, "copy from")) return error;
    bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    if ((to_device && space_of(to) == Space::pageable) || (from_device && space_of(from) == Space::pageable))
        return fail(cudaErrorInvalidValue, "copy: the address is not the device's");
    return cudaSuccess;
}

Operation copy_operation(void* to, const void* from, size_t bytes) {
    Operation copy{Kind::copy, std::string(letter(space_of(from))) + "2" + letter(space_of(to)), bytes};
    copy.work = [=] { std::memmove(to, from, bytes); };
    return copy;
}

cudaError_t copy_on(Stream& stream, void* to, const void* from, size_t bytes, cudaMemcpyKind kind, Lock& held) {
    if (cudaError_t error = check_copy(to, from, bytes, kind)) return error;
    Operation copy = copy_operation(to, from, bytes);
    if (stream.capture) return enqueue(stream, std::move(copy));
    if (space_of(from) == Space::pageable) {
        auto* bytes_now = static_cast<const char*>(from);
        copy.work = [to, taken = std::vector<char>(bytes_now, bytes_now + bytes)] {
            std::memcpy(to, taken.data(), taken.size());
        };
    }
    cudaError_t error = enqueue(stream, std::move(copy));
    if (error == cudaSuccess && space_of(to) == Space::pageable) drain(stream, held);
    return error;
}

cudaError_t fill_on(Stream& stream, void* at, int value, size_t bytes) {
    if (cudaError_t error = check_range(at, bytes, "fill")) return error;
    return enqueue(stream, {Kind::fill, "fill", bytes, {0, 0, 0}, {0, 0, 0}, [=] { std::memset(at, value, bytes); }});
}

}  // namespace

API cudaError_t cudaMalloc(void** address, size_t bytes) {
    return allocate_outside_captures(Space::device, address, bytes, "cudaMalloc");
}
API cudaError_t cudaMallocFromPoolAsync(void** address, size_t bytes, cudaMemPool_t, cudaStream_t) {
    return allocate_outside_captures(Space::device, address, bytes, "cudaMallocFromPoolAsync");
}
API cudaError_t cudaHostAlloc(void** address, size_t bytes, unsigned) {
    return allocate_outside_captures(Space::pinned, address, bytes, "cudaHostAlloc");
}
API cudaError_t cudaMallocHost(void** address, size_t bytes) { return cudaHostAlloc(address, bytes, 0); }
API cudaError_t cudaFree(void* address) { return release_outside_captures(Space::device, address, "cudaFree"); }
API cudaError_t cudaFreeAsync(void* address, cudaStream_t) { return cudaFree(address); }
API cudaError_t cudaFreeHost(void* address) {
    return release_outside_captures(Space::pinned, address, "cudaFreeHost");
}

API cudaError_t cudaMemGetInfo(size_t* available, size_t* total) {
    Lock held = lock();
    *total = total_bytes();
    *available = *total - used_bytes();
    return cudaSuccess;
}

API cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* address) {
    Lock held = lock();
    std::memset(attributes, 0, sizeof *attributes);
    Space space = space_of(address);
    attributes->type = space == Space::device   ? cudaMemoryTypeDevice
                       : space == Space::pinned ? cudaMemoryTypeHost
                                                : cudaMemoryTypeUnregistered;
    if (space != Space::pageable) attributes->devicePointer = const_cast<void*>(address);
    if (space != Space::device) attributes->hostPointer = const_cast<void*>(address);
    return cudaSuccess;
}

API cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
    Lock held = lock();
    return copy_on(stream_of(stream), to, from, bytes, kind, held);
}

API cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,
                                  size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
    Lock held = lock();
    for (size_t row = 0; row < height; row++) {
        char* row_to = static_cast<char*>(to) + row * to_pitch;
        const char* row_from = static_cast<const char*>(from) + row * from_pitch;
        if (cudaError_t error = copy_on(stream_of(stream), row_to, row_from, width, kind, held)) return error;
    }
    return cudaSuccess;
}

// On the default stream, which does not wait for non-blocking streams.
API cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
    Lock held = lock();
    if (cudaError_t error = check_capture("cudaMemcpy", true)) return error;
    if (cudaError_t error = check_copy(to, from, bytes, kind)) return error;
    log("copy", 0, std::string("waits\t") + letter(space_of(from)) + "2" + letter(space_of(to)) + "\t" +
                       std::to_string(bytes));
    drain_default(held);
    std::memmove(to, from, bytes);
    return cudaSuccess;
}

API cudaError_t cudaMemcpyFromSymbol(void* to, const void*, size_t bytes, size_t, cudaMemcpyKind) {
    std::memset(to, 0, bytes);
    return cudaSuccess;
}

API cudaError_t cudaMemset(void* at, int value, size_t bytes) {
    Lock held = lock();
    drain_default(held);
    return fill_on(default_stream(), at, value, bytes);
}

API cudaError_t cudaMemsetAsync(void* at, int value, size_t bytes, cudaStream_t stream) {
    Lock held = lock();
    return fill_on(stream_of(stream), at, value, bytes);
}

API cudaError_t cudaMemPoolCreate(cudaMemPool_t* pool, const cudaMemPoolProps*) {
    *pool = reinterpret_cast<cudaMemPool_t>(new char);
    return cudaSuccess;
}
API cudaError_t cudaMemPoolDestroy(cudaMemPool_t) { return cudaSuccess; }
API cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t, cudaMemPoolAttr, void* value) {
    *static_cast<uint64_t*>(value) = 0;
    return cudaSuccess;
}
API cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) { return cudaSuccess; }
API cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, size_t) { return cudaSuccess; }
