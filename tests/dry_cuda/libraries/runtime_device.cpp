// What the device says of itself: one H200, compute capability 9.0.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "device.h"

#undef cudaGetDeviceProperties

using namespace dry;

namespace {

constexpr int kMajor = 9, kMinor = 0, kMultiprocessors = 132;
constexpr int kSharedBytes = 49152, kSharedBytesOptIn = 232448, kSharedBytesWhole = 233472;
constexpr int kVersion = 13000;

int count() {
    const char* set = std::getenv("DRYCUDA_DEVICES");
    return set ? std::atoi(set) : 1;
}

}  // namespace

API cudaError_t cudaGetDeviceCount(int* found) {
    *found = count();
    return *found > 0 ? cudaSuccess : fail(cudaErrorNoDevice, "DRYCUDA_DEVICES is 0");
}
API cudaError_t cudaGetDevice(int* device) {
    *device = 0;
    return cudaSuccess;
}
API cudaError_t cudaSetDevice(int device) {
    return device < count() ? cudaSuccess : fail(cudaErrorInvalidDevice, "cudaSetDevice");
}

API cudaError_t cudaGetDeviceProperties(cudaDeviceProp* device, int) {
    std::memset(device, 0, sizeof *device);
    std::strcpy(device->name, "Pretended H200");
    device->totalGlobalMem = total_bytes();
    device->major = kMajor;
    device->minor = kMinor;
    device->multiProcessorCount = kMultiprocessors;
    device->sharedMemPerBlock = kSharedBytes;
    device->sharedMemPerBlockOptin = kSharedBytesOptIn;
    device->sharedMemPerMultiprocessor = kSharedBytesWhole;
    device->reservedSharedMemPerBlock = 1024;
    device->regsPerBlock = device->regsPerMultiprocessor = 65536;
    device->warpSize = 32;
    device->maxThreadsPerBlock = 1024;
    device->maxThreadsPerMultiProcessor = 2048;
    device->maxBlocksPerMultiProcessor = 32;
    const int threads[] = {1024, 1024, 64}, grid[] = {2147483647, 65535, 65535};
    std::memcpy(device->maxThreadsDim, threads, sizeof threads);
    std::memcpy(device->maxGridSize, grid, sizeof grid);
    device->totalConstMem = 65536;
    device->textureAlignment = 512;
    device->l2CacheSize = 50 << 20;
    device->asyncEngineCount = 3;
    device->canMapHostMemory = device->concurrentKernels = device->unifiedAddressing = 1;
    device->memoryPoolsSupported = device->cooperativeLaunch = 1;
    return cudaSuccess;
}

API cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
    switch (attribute) {
        case cudaDevAttrComputeCapabilityMajor: *value = kMajor; break;
        case cudaDevAttrComputeCapabilityMinor: *value = kMinor; break;
        case cudaDevAttrMultiProcessorCount: *value = kMultiprocessors; break;
        case cudaDevAttrMaxSharedMemoryPerBlock: *value = kSharedBytes; break;
        case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = kSharedBytesOptIn; break;
        case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *value = kSharedBytesWhole; break;
        case cudaDevAttrMaxThreadsPerBlock: *value = 1024; break;
        case cudaDevAttrMaxThreadsPerMultiProcessor: *value = 2048; break;
        case cudaDevAttrWarpSize: *value = 32; break;
        case cudaDevAttrL2CacheSize: *value = 50 << 20; break;
        default: *value = 1;
    }
    return cudaSuccess;
}

API cudaError_t cudaDriverGetVersion(int* version) {
    *version = kVersion;
    return cudaSuccess;
}
API cudaError_t cudaRuntimeGetVersion(int* version) { return cudaDriverGetVersion(version); }

API cudaError_t cudaGetLastError() { return take_last_error(true); }
API cudaError_t cudaPeekAtLastError() { return take_last_error(false); }

API const char* cudaGetErrorName(cudaError_t error) {
    static thread_local char text[32];
    std::snprintf(text, sizeof text, "cudaError%d", static_cast<int>(error));
    return text;
}
API const char* cudaGetErrorString(cudaError_t error) {
    switch (error) {
        case cudaSuccess: return "no error";
        case cudaErrorInvalidValue: return "invalid argument";
        case cudaErrorMemoryAllocation: return "out of memory";
        case cudaErrorNoDevice: return "no CUDA-capable device is detected";
        default: return cudaGetErrorName(error);
    }
}

namespace {
int no_operation(...) { return 0; }
}  // namespace

API cudaError_t cudaGetDriverEntryPointByVersion(const char*, void** function, unsigned, unsigned long long,
                                                 cudaDriverEntryPointQueryResult* result) {
    *function = reinterpret_cast<void*>(no_operation);
    if (result) *result = cudaDriverEntryPointSuccess;
    return cudaSuccess;
}
