/* What our operators share: reading a node's attributes and inputs, and the parts of OrtCustomOp that never differ. */
#ifndef PARLANDO_OPERATOR_H
#define PARLANDO_OPERATOR_H

#include "ort_abi.h"

#include <stdatomic.h>

#if defined(__x86_64__) && defined(__GNUC__)
#define OFFERED
#define HIDDEN __attribute__((visibility("hidden"))) /* from everybody who loads the library */
#else
#define HIDDEN
#endif

#define TRY(call)                      \
    do {                               \
        OrtStatus *status_ = (call);   \
        if (status_)                   \
            return status_;            \
    } while (0)

/* For what several threads seldom do, and shortly. */
static inline void lock(atomic_flag *taken)
{
    while (atomic_flag_test_and_set_explicit(taken, memory_order_acquire))
        ;
}
static inline void unlock(atomic_flag *taken) { atomic_flag_clear_explicit(taken, memory_order_release); }

static inline OrtStatus *refused(const OrtApi *api, const char *why)
{
    return api->CreateStatus(ORT_INVALID_ARGUMENT, why);
}

/* A tensor's shape, which must have `rank` dimensions, and its number of elements; with rank 0 any shape will do. */
static inline OrtStatus *shape_of(const OrtApi *api, const OrtValue *value, int64_t *shape, size_t rank, size_t *count)
{
    OrtShape *info;
    size_t found = rank;
    TRY(api->GetTensorTypeAndShape(value, &info));
    OrtStatus *status = rank ? api->GetDimensionsCount(info, &found) : NULL;
    if (!status && rank && found == rank)
        status = api->GetDimensions(info, shape, rank);
    if (!status)
        status = api->GetTensorShapeElementCount(info, count);
    api->ReleaseTensorTypeAndShapeInfo(info);
    return !status && found != rank ? refused(api, "an input has another number of dimensions") : status;
}

static inline OrtStatus *elements(const OrtApi *api, OrtKernelContext *context, size_t index, const void **data,
                                  int64_t *shape, size_t rank, size_t *count)
{
    const OrtValue *value;
    TRY(api->KernelContext_GetInput(context, index, &value));
    if (!value)
        return refused(api, "an input is missing");
    TRY(api->GetTensorMutableData((OrtValue *)value, (void **)data));
    return shape_of(api, value, shape, rank, count);
}

/* An input's data, and its shape, which must have `rank` dimensions; with rank 0 it must be one number. */
static inline OrtStatus *input(const OrtApi *api, OrtKernelContext *context, size_t index, const void **data,
                               int64_t *shape, size_t rank)
{
    size_t count;
    TRY(elements(api, context, index, data, shape, rank, &count));
    return rank || count == 1 ? NULL : refused(api, "an input that must be one number is none");
}

static inline OrtStatus *absent(const OrtApi *api, OrtKernelContext *context, size_t index)
{
    const OrtValue *value;
    TRY(api->KernelContext_GetInput(context, index, &value));
    return value ? refused(api, "an input is given that is not offered") : NULL;
}

/* As `elements`, of an input that must be a constant of the graph. */
static inline OrtStatus *constant_input(const OrtApi *api, const OrtKernelInfo *info, size_t index, const void **data,
                                        int64_t *shape, size_t rank, size_t *count)
{
    const OrtValue *value;
    int is_constant = 0;
    TRY(api->KernelInfoGetConstantInput_tensor(info, index, &is_constant, &value));
    if (!is_constant)
        return refused(api, "the weights of this node must be constant");
    TRY(api->GetTensorMutableData((OrtValue *)value, (void **)data));
    return shape_of(api, value, shape, rank, count);
}

static inline OrtStatus *output(const OrtApi *api, OrtKernelContext *context, size_t index, const int64_t *shape,
                                size_t count, float **data)
{
    OrtValue *value;
    TRY(api->KernelContext_GetOutput(context, index, shape, count, &value));
    return api->GetTensorMutableData(value, (void **)data);
}

static inline int64_t attribute(const OrtApi *api, const OrtKernelInfo *info, const char *name, int64_t otherwise)
{
    int64_t value = otherwise;
    OrtStatus *status = api->KernelInfoGetAttribute_int64(info, name, &value);
    if (!status)
        return value;
    api->ReleaseStatus(status);
    return otherwise;
}

static inline const char *operator_provider(const OrtCustomOp *op) { (void)op; return "CPUExecutionProvider"; }
static inline int operator_required(const OrtCustomOp *op, size_t at) { (void)op, (void)at; return ORT_REQUIRED; }
static inline int operator_memory(const OrtCustomOp *op, size_t at) { (void)op, (void)at; return ORT_MEMORY_DEFAULT; }
static inline int operator_zero(const OrtCustomOp *op) { (void)op; return 0; }

#define OPERATOR_PARTS                                                                                    \
    .version = ORT_API_VERSION, .GetExecutionProviderType = operator_provider,                            \
    .GetOutputCharacteristic = operator_required, .GetInputMemoryType = operator_memory,                  \
    .GetVariadicInputMinArity = operator_zero,                                                            \
    .GetVariadicInputHomogeneity = operator_zero, .GetVariadicOutputMinArity = operator_zero,             \
    .GetVariadicOutputHomogeneity = operator_zero

/* How many floats the widest vector has that we may use here: 16, 8, or 0 for none. */
HIDDEN int parlando_lanes(void);

HIDDEN extern const OrtCustomOp ATTENTION, ATTENTION_HALF, PRODUCT, BLOCK, FRAMES;

#endif
