// A pretended cuBLAS: each product is one kernel of that name on the handle's stream.
#include <cstdlib>

#define API extern "C" __attribute__((visibility("default")))

extern "C" void drycuda_kernel(const char* name, void* stream);

namespace {

struct Handle {
    void* stream;
    int math_mode;
};

}  // namespace

API int cublasCreate_v2(Handle** made) {
    *made = new Handle{};
    return 0;
}
API int cublasDestroy_v2(Handle* handle) {
    delete handle;
    return 0;
}
API int cublasSetStream_v2(Handle* handle, void* stream) {
    handle->stream = stream;
    return 0;
}
API int cublasGetMathMode(Handle* handle, int* mode) {
    *mode = handle->math_mode;
    return 0;
}
API int cublasSetMathMode(Handle* handle, int mode) {
    handle->math_mode = mode;
    return 0;
}
API const char* cublasGetStatusName(int) { return "pretended"; }
API const char* cublasGetStatusString(int) { return "pretended"; }

#define KERNEL(name)                          \
    API int name(Handle* handle, ...) {       \
        drycuda_kernel(#name, handle->stream); \
        return 0;                             \
    }
KERNEL(cublasDgeam)
KERNEL(cublasDgemmBatched)
KERNEL(cublasDgemmStridedBatched)
KERNEL(cublasDgemm_v2)
KERNEL(cublasDgetrfBatched)
KERNEL(cublasDgetriBatched)
KERNEL(cublasGemmBatchedEx)
KERNEL(cublasGemmEx)
KERNEL(cublasGemmStridedBatchedEx)
KERNEL(cublasScopy_v2)
KERNEL(cublasSgeam)
KERNEL(cublasSgemmBatched)
KERNEL(cublasSgemmStridedBatched)
KERNEL(cublasSgemm_v2)
KERNEL(cublasSgetrfBatched)
KERNEL(cublasSgetriBatched)
KERNEL(cublasSscal_v2)
