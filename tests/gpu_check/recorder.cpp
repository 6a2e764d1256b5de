// Stands before the CUDA runtime and writes down what ONNX Runtime asks of it, in the format of the pretended device's
// log: kernels, copies, fills, waits, allocations, captures and replays. Loaded before the runtime, for all to see, so
// that the provider's calls come here first; each is passed on unchanged. CUDA's types are declared here, as far as they
// are looked at: a machine with the driver and a compiler needs no headers.
#include <cxxabi.h>
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
#include <unordered_map>

#define API extern "C" __attribute__((visibility("default")))

struct Size3 {  // dim3, uint3
    unsigned x, y, z;
};
struct PointerAttributes {
    int type, device;  // 0 unknown to CUDA, 1 host, 2 device, 3 managed
    void *on_device, *on_host;
    long reserved[8];
};
struct LaunchConfig {
    Size3 grid, block;
    size_t shared_bytes;
    void* stream;
};
constexpr int kSuccess = 0, kCaptures = 1, kHost = 1;

extern "C" {  // what is called here and not written down
int cudaStreamIsCapturing(void* stream, int* status);
int cudaPointerGetAttributes(PointerAttributes* found, const void* address);
int cudaGetLastError();
}

namespace {

std::mutex mutex;
FILE* file = nullptr;
std::unordered_map<const void*, std::string> names;    // of the provider's kernels, by host function or handle
std::unordered_map<const void*, int> numbers;          // of streams, executables

template <typename Function>
Function* real(const char* name) {
    static void* runtime = dlopen("libcudart.so.13", RTLD_NOW | RTLD_NOLOAD);
    void* found = runtime ? dlsym(runtime, name) : nullptr;
    if (found == nullptr) {
        std::fprintf(stderr, "recorder: libcudart.so.13 has no %s\n", name);
        std::abort();
    }
    return reinterpret_cast<Function*>(found);
}
#define REAL(name) real<decltype(name)>(#name)

int number(const void* handle) {
    return handle == nullptr ? 0 : numbers.emplace(handle, static_cast<int>(numbers.size()) + 1).first->second;
}

void write(const char* event, int of, const std::string& text) {
    if (file == nullptr) return;
    std::fprintf(file, "%s\t%d\t%s\n", event, of, text.c_str());
    std::fflush(file);
}

void tell(const char* event, const void* of, const std::string& text) {
    std::lock_guard<std::mutex> held(mutex);
    write(event, number(of), text);
}

std::string readable(const char* mangled) {
    int status = 0;
    char* text = abi::__cxa_demangle(mangled, nullptr, nullptr, &status);
    std::string name = status == 0 ? text : mangled;
    std::free(text);
    return name;
}

const char* mode(void* stream) {
    int status = 0;
    REAL(cudaStreamIsCapturing)(stream, &status);
    return status == kCaptures ? "captured\t" : "eager\t";
}

void kernel(const void* function, void* stream) {
    std::string how = mode(stream);
    std::lock_guard<std::mutex> held(mutex);
    auto at = names.find(function);
    write("kernel", number(stream), how + (at == names.end() ? "?" : at->second) + "\t0");
}

char space(const void* address) {
    PointerAttributes found{};
    if (REAL(cudaPointerGetAttributes)(&found, address) != kSuccess) {
        REAL(cudaGetLastError)();
        return 'H';
    }
    return found.type == 0 ? 'H' : found.type == kHost ? 'P' : 'D';
}

// Kernels of a finished capture by the driver's own names: those of the libraries too, which launch past the runtime.
// The driver's functions are looked up, since a pretended driver may lack them.
void walk(void* graph, void* stream) {
    struct Parameters {  // CUDA_KERNEL_NODE_PARAMS_v2
        void* function;
        unsigned sizes[7];
        void *arguments, *extra, *kernel, *context;
    };
    using List = int(void*, void**, size_t*);
    using Type = int(void*, int*);
    using Get = int(void*, Parameters*);
    using Name = int(const char**, void*);
    static void* driver = dlopen("libcuda.so.1", RTLD_NOW);
    auto find = [](const char* name) { return driver ? dlsym(driver, name) : nullptr; };
    auto* list = reinterpret_cast<List*>(find("cuGraphGetNodes"));
    auto* type = reinterpret_cast<Type*>(find("cuGraphNodeGetType"));
    auto* get = reinterpret_cast<Get*>(find("cuGraphKernelNodeGetParams_v2"));
    auto* of_function = reinterpret_cast<Name*>(find("cuFuncGetName"));
    auto* of_kernel = reinterpret_cast<Name*>(find("cuKernelGetName"));
    size_t count = 0;
    if (!list || !type || !get || list(graph, nullptr, &count) != 0) return;
    void** nodes = static_cast<void**>(std::calloc(count, sizeof(void*)));
    list(graph, nodes, &count);
    for (size_t at = 0; at < count; at++) {
        int kind = -1;
        Parameters found{};
        const char* name = nullptr;
        if (type(nodes[at], &kind) != 0 || kind != 0) continue;  // 0: a kernel
        if (get(nodes[at], &found) == 0) {
            if (found.function && of_function) of_function(&name, found.function);
            if (!name && found.kernel && of_kernel) of_kernel(&name, found.kernel);
        }
        tell("node", stream, name ? readable(name) : "?");
    }
    std::free(nodes);
}

}  // namespace

API void recorder_open(const char* path) {
    std::lock_guard<std::mutex> held(mutex);
    if (file == nullptr) file = std::fopen(path, "a");
}

API void __cudaRegisterFunction(void** handle, const char* function, char* device, const char* name, int limit,
                                Size3* a, Size3* b, Size3* c, Size3* d, int* e) {
    {
        std::lock_guard<std::mutex> held(mutex);
        names[function] = readable(name);
    }
    using Register = void(void**, const char*, char*, const char*, int, Size3*, Size3*, Size3*, Size3*, int*);
    real<Register>("__cudaRegisterFunction")(handle, function, device, name, limit, a, b, c, d, e);
}
API int __cudaGetKernel(void** kernel, const void* function) {
    int error = real<int(void**, const void*)>("__cudaGetKernel")(kernel, function);
    std::lock_guard<std::mutex> held(mutex);
    auto at = names.find(function);
    if (error == kSuccess && at != names.end()) {
        std::string name = at->second;
        names[*kernel] = name;
    }
    return error;
}
API int cudaLibraryGetKernel(void** kernel, void* library, const char* name) {
    int error = REAL(cudaLibraryGetKernel)(kernel, library, name);
    std::lock_guard<std::mutex> held(mutex);
    if (error == kSuccess) names[*kernel] = readable(name);
    return error;
}
API int __cudaLaunchKernel(void* function, Size3 grid, Size3 block, void** arguments, size_t shared,
                                   void* stream) {
    kernel(function, stream);
    using Launch = int(void*, Size3, Size3, void**, size_t, void*);
    return real<Launch>("__cudaLaunchKernel")(function, grid, block, arguments, shared, stream);
}
API int cudaLaunchKernel(const void* function, Size3 grid, Size3 block, void** arguments, size_t shared,
                                 void* stream) {
    kernel(function, stream);
    using Launch = int(const void*, Size3, Size3, void**, size_t, void*);
    return real<Launch>("cudaLaunchKernel")(function, grid, block, arguments, shared, stream);
}
API int cudaLaunchCooperativeKernel(const void* function, Size3 grid, Size3 block, void** arguments,
                                            size_t shared, void* stream) {
    kernel(function, stream);
    using Launch = int(const void*, Size3, Size3, void**, size_t, void*);
    return real<Launch>("cudaLaunchCooperativeKernel")(function, grid, block, arguments, shared, stream);
}
API int cudaLaunchKernelExC(const LaunchConfig* config, const void* function, void** arguments) {
    kernel(function, config->stream);
    using Launch = int(const LaunchConfig*, const void*, void**);
    return real<Launch>("cudaLaunchKernelExC")(config, function, arguments);
}

API int cudaMemcpyAsync(void* to, const void* from, size_t bytes, int kind, void* stream) {
    std::string where = {space(from), '2', space(to)};
    tell("copy", stream, mode(stream) + where + "\t" + std::to_string(bytes));
    return REAL(cudaMemcpyAsync)(to, from, bytes, kind, stream);
}
API int cudaMemsetAsync(void* to, int value, size_t bytes, void* stream) {
    tell("fill", stream, mode(stream) + std::string("fill\t") + std::to_string(bytes));
    return REAL(cudaMemsetAsync)(to, value, bytes, stream);
}
API int cudaMalloc(void** address, size_t bytes) {
    tell("allocate", nullptr, "D\t" + std::to_string(bytes));
    return real<int(void**, size_t)>("cudaMalloc")(address, bytes);
}

API int cudaStreamSynchronize(void* stream) {
    tell("wait", stream, "stream");
    return REAL(cudaStreamSynchronize)(stream);
}
API int cudaDeviceSynchronize() {
    tell("wait", nullptr, "device");
    return REAL(cudaDeviceSynchronize)();
}
API int cudaEventSynchronize(void* event) {
    tell("wait", nullptr, "event");
    return REAL(cudaEventSynchronize)(event);
}

API int cudaStreamBeginCapture(void* stream, int how) {
    tell("capture-begin", stream, how == 0 ? "global" : "other");
    return REAL(cudaStreamBeginCapture)(stream, how);
}
API int cudaStreamEndCapture(void* stream, void** graph) {
    int error = REAL(cudaStreamEndCapture)(stream, graph);
    tell("capture-end", stream, std::to_string(static_cast<int>(error)));
    if (error == kSuccess) walk(*graph, stream);
    return error;
}
API int cudaGraphInstantiate(void** made, void* graph, unsigned long long flags) {
    tell("instantiate", nullptr, "");
    return real<int(void**, void*, unsigned long long)>("cudaGraphInstantiate")(made, graph,
                                                                                                        flags);
}
API int cudaGraphLaunch(void* executable, void* stream) {
    tell("replay", stream, "");
    return REAL(cudaGraphLaunch)(executable, stream);
}
