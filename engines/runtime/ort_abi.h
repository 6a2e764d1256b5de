/* What our operators need of ONNX Runtime's C interface, which its Python package brings no header for.
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
    void *gap_1[25];
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
    void *gap_66[19];
    OrtStatus *(*KernelInfoGetAttribute_float)(const OrtKernelInfo *info, const char *name, float *out);
    OrtStatus *(*KernelInfoGetAttribute_int64)(const OrtKernelInfo *info, const char *name, int64_t *out);
    void *gap_87[3];
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
ORT_PLACE(CreateCustomOpDomain, 26);
ORT_PLACE(GetTensorMutableData, 51);
ORT_PLACE(GetDimensionsCount, 61);
ORT_PLACE(GetTensorTypeAndShape, 65);
ORT_PLACE(KernelInfoGetAttribute_float, 85);
ORT_PLACE(KernelContext_GetInput, 90);
ORT_PLACE(ReleaseStatus, 93);
ORT_PLACE(ReleaseTensorTypeAndShapeInfo, 99);
ORT_PLACE(KernelInfoGetConstantInput_tensor, 249);
ORT_PLACE(KernelContext_ParallelFor, 274);

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
