// A pretended cuBLASLt: descriptors are blank, the heuristic always finds one algorithm, a product is one kernel.
#include <cstdint>
#include <cstdlib>
#include <cstring>

#define API extern "C" __attribute__((visibility("default")))

extern "C" void drycuda_kernel(const char* name, void* stream);

namespace {

struct Heuristic {  // cublasLtMatmulHeuristicResult_t
    uint64_t algorithm[8];
    size_t workspace_bytes;
    int state;
    float waves;
    int reserved[4];
};

int make_blank(void** made) {
    *made = std::calloc(1, 256);
    return 0;
}

}  // namespace

API int cublasLtMatmul(void*, void*, void*, void*, void*, void*, void*, void*, void*, void*, void*, void*, void*, void*,
                       size_t, void* stream) {
    drycuda_kernel("cublasLtMatmul", stream);
    return 0;
}
API int cublasLtMatrixTransform(void*, void*, void*, void*, void*, void*, void*, void*, void*, void*, void* stream) {
    drycuda_kernel("cublasLtMatrixTransform", stream);
    return 0;
}
API int cublasLtMatmulAlgoGetHeuristic(void*, void*, void*, void*, void*, void*, void*, int wanted, Heuristic* results,
                                       int* found) {
    *found = wanted > 0;
    if (wanted > 0) std::memset(results, 0, sizeof *results);
    return 0;
}

#define MAKES_BLANK(name) \
    API int name(void** made, ...) { return make_blank(made); }
#define DOES_NOTHING(name) \
    API int name(...) { return 0; }
MAKES_BLANK(cublasLtCreate)
MAKES_BLANK(cublasLtMatmulDescCreate)
MAKES_BLANK(cublasLtMatmulPreferenceCreate)
MAKES_BLANK(cublasLtMatrixLayoutCreate)
MAKES_BLANK(cublasLtMatrixTransformDescCreate)
DOES_NOTHING(cublasLtDestroy)
DOES_NOTHING(cublasLtMatmulAlgoConfigSetAttribute)
DOES_NOTHING(cublasLtMatmulAlgoInit)
DOES_NOTHING(cublasLtMatmulDescDestroy)
DOES_NOTHING(cublasLtMatmulDescSetAttribute)
DOES_NOTHING(cublasLtMatmulPreferenceDestroy)
DOES_NOTHING(cublasLtMatmulPreferenceSetAttribute)
DOES_NOTHING(cublasLtMatrixLayoutDestroy)
DOES_NOTHING(cublasLtMatrixLayoutSetAttribute)
DOES_NOTHING(cublasLtMatrixTransformDescDestroy)
