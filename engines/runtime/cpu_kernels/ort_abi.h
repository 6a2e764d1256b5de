/* The part of ONNX Runtime's C interface that our operators call. No package of the index brings the official header.
 *
 * The interface is a table of functions that only ever grows at its end: a function keeps its place for good
 * (https://onnxruntime.ai/docs/api/c/struct_ort_api.html; the runtime asserts the places at its own build). The gaps
 * are functions that are not called here. */
#ifndef PARLANDO_ORT_ABI_H
#define PARLANDO_ORT_ABI_H

#include <stddef.h>
#include <stdint.h>

#define ORT_API_VERSION 17 /* the oldest that has all of this */

typedef struct OrtStatus OrtStatus;
typedef struct OrtValue OrtValue;
typedef struct OrtKernelInfo OrtKernelInfo;
typedef struct OrtKernelContext OrtKernelContext;
typedef struct OrtSessionOptions OrtSessionOptions;
typedef struct OrtCustomOpDomain OrtCustomOpDomain;
typedef struct OrtShape OrtShape; /* OrtTensorTypeAndShapeInfo */
typedef struct OrtCustomOp OrtCustomOp;

enum { ORT_INVALID_ARGUMENT = 2 };
enum { ORT_FLOAT = 1, ORT_UINT8 = 2, ORT_INT8 = 3, ORT_INT32 = 6, ORT_INT64 = 7, ORT_HALF = 10 }; /* ONNXTensorElementDataType */
enum { ORT_REQUIRED = 0, ORT_OPTIONAL = 1 };                        /* OrtCustomOpInputOutputCharacteristic */
enum { ORT_MEMORY_DEFAULT = 0 };                                    /* OrtMemType */

typedef struct OrtApi {
    OrtStatus *(*CreateStatus)(int code, const char *message);
    int (*GetErrorCode)(const OrtStatus *status);
    const char *(*GetErrorMessage)(const OrtStatus *status);
    void *gap_3[23];
    OrtStatus *(*CreateCustomOpDomain)(const char *domain, OrtCustomOpDomain **out);
    OrtStatus *(*CustomOpDomain_Add)(OrtCustomOpDomain *domain, const OrtCustomOp *op);
    OrtStatus *(*AddCustomOpDomain)(OrtSessionOptions *options, OrtCustomOpDomain *domain);
    void *gap_29[22];
    OrtStatus *(*GetTensorMutableData)(OrtValue *value, void **out);
    void *gap_52[9];
    OrtStatus *(*GetDimensionsCount)(const OrtShape *shape, size_t *out);
    OrtStatus *(*GetDimensions)(const OrtShape *shape, int64_t *out, size_t count);
    void *gap_63;
    OrtStatus *(*GetTensorShapeElementCount)(const OrtShape *shape, size_t *out);
    OrtStatus *(*GetTensorTypeAndShape)(const OrtValue *value, OrtShape **out);
    void *gap_66[24];
    OrtStatus *(*KernelContext_GetInput)(const OrtKernelContext *context, size_t index, const OrtValue **out);
    OrtStatus *(*KernelContext_GetOutput)(OrtKernelContext *context, size_t index, const int64_t *dimensions,
                                          size_t count, OrtValue **out);
    void *gap_92;
    void (*ReleaseStatus)(OrtStatus *status);
    void *gap_94[5];
    void (*ReleaseTensorTypeAndShapeInfo)(OrtShape *shape);
    void *gap_100[149];
    OrtStatus *(*KernelInfoGetConstantInput_tensor)(const OrtKernelInfo *info, size_t index, int *is_constant,
                                                    const OrtValue **out);
    void *gap_250[24];
    OrtStatus *(*KernelContext_ParallelFor)(const OrtKernelContext *context, void (*work)(void *data, size_t index),
                                            size_t total, size_t batches, void *data);
} OrtApi;

#define ORT_PLACE(function, place) \
    _Static_assert(offsetof(OrtApi, function) == (place) * sizeof(void *), #function " is not at its place")
/* Every function that is called; kernels.c looks at load that each is there, and tests/kernels/test_abi.py compares all
 * of this with the official header where Debian's libonnxruntime-dev brings it. */
#define ORT_FUNCTIONS(do) \
    do(CreateStatus, 0) \
    do(GetErrorCode, 1) \
    do(GetErrorMessage, 2) \
    do(CreateCustomOpDomain, 26) \
    do(CustomOpDomain_Add, 27) \
    do(AddCustomOpDomain, 28) \
    do(GetTensorMutableData, 51) \
    do(GetDimensionsCount, 61) \
    do(GetDimensions, 62) \
    do(GetTensorShapeElementCount, 64) \
    do(GetTensorTypeAndShape, 65) \
    do(KernelContext_GetInput, 90) \
    do(KernelContext_GetOutput, 91) \
    do(ReleaseStatus, 93) \
    do(ReleaseTensorTypeAndShapeInfo, 99) \
    do(KernelInfoGetConstantInput_tensor, 249) \
    do(KernelContext_ParallelFor, 274)
#define ORT_PLACED(function, place) ORT_PLACE(function, place);
ORT_FUNCTIONS(ORT_PLACED)

typedef struct OrtApiBase {
    const OrtApi *(*GetApi)(uint32_t version);
    const char *(*GetVersionString)(void);
} OrtApiBase;

struct OrtCustomOp {
    uint32_t version;
    void *(*CreateKernel)(const OrtCustomOp *op, const OrtApi *api, const OrtKernelInfo *info);
    const char *(*GetName)(const OrtCustomOp *op);
    const char *(*GetExecutionProviderType)(const OrtCustomOp *op);
    int (*GetInputType)(const OrtCustomOp *op, size_t index);
    size_t (*GetInputTypeCount)(const OrtCustomOp *op);
    int (*GetOutputType)(const OrtCustomOp *op, size_t index);
    size_t (*GetOutputTypeCount)(const OrtCustomOp *op);
    void (*KernelCompute)(void *kernel, OrtKernelContext *context);
    void (*KernelDestroy)(void *kernel);
    int (*GetInputCharacteristic)(const OrtCustomOp *op, size_t index);
    int (*GetOutputCharacteristic)(const OrtCustomOp *op, size_t index);
    int (*GetInputMemoryType)(const OrtCustomOp *op, size_t index);
    int (*GetVariadicInputMinArity)(const OrtCustomOp *op);
    int (*GetVariadicInputHomogeneity)(const OrtCustomOp *op);
    int (*GetVariadicOutputMinArity)(const OrtCustomOp *op);
    int (*GetVariadicOutputHomogeneity)(const OrtCustomOp *op);
    OrtStatus *(*CreateKernelV2)(const OrtCustomOp *op, const OrtApi *api, const OrtKernelInfo *info, void **kernel);
    OrtStatus *(*KernelComputeV2)(void *kernel, OrtKernelContext *context);
    void *later[8]; /* shape inference, versions, aliases: not offered */
};

#endif
