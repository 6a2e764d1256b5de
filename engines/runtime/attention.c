/* Grouped-query attention over a float cache, a quicker kernel for the runtime's `GroupQueryAttention` node.
 *
 * The runtime goes over the cache once for each query head. This kernel goes over it once for the four query heads that
 * share keys and values, and keeps every sum in registers (docs/decisions/0014). It is registered under the node's own
 * name and domain, so that graphs stay as they are and run without it, in last bits that differ.
 *
 * Softmax goes tile by tile with a running maximum (Milakov and Gimelshein, arXiv:1805.02867; FlashAttention,
 * arXiv:2205.14135), so scratch memory does not depend on the context. A row's result depends on that row alone: the
 * order of its sums is given by its own length.
 *
 * Attributes that the runtime adds to this node later are not seen here: look them over at each of its releases. */
#include "ort_abi.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define OFFERED

/* Positions of one tile; query heads at once; cached floats to read from which a second thread pays. */
enum { TILE = 256, GROUP = 4, MAX_HEAD_DIM = 256, PARALLEL_FROM = 1 << 17 };

/* What a node is, and one call of it. */
typedef struct {
    const OrtApi *api;
    int heads, kv_heads;
    int rotate;
    float scale; /* 0: one over the root of head_dim */
    void (*one_cached_head)(void *call, size_t index);
} Kernel;

typedef struct {
    const Kernel *kernel;
    const float *packed; /* [rows, steps, (heads + 2 * kv_heads) * dim] */
    const float *past[2];
    float *present[2]; /* keys, values [rows, kv_heads, positions, dim]; may be the past itself */
    const float *cosine, *sine;
    const int32_t *last; /* [rows]: the place of a row's last step */
    float *mixed;        /* [rows, steps, heads * dim] */
    int steps, dim, past_positions, positions;
} Call;

#define LANES 16
#include "attend.h"
#define LANES 8
#include "attend.h"

/* ---- The node ---- */

#define TRY(call)                      \
    do {                               \
        OrtStatus *status_ = (call);   \
        if (status_)                   \
            return status_;            \
    } while (0)

static OrtStatus *refused(const OrtApi *api, const char *why) { return api->CreateStatus(ORT_INVALID_ARGUMENT, why); }

/* An input's data, and its shape, which must have `rank` dimensions; with rank 0 it must be one number. */
static OrtStatus *input(const OrtApi *api, OrtKernelContext *context, size_t index, const void **data, int64_t *shape,
                        size_t rank)
{
    const OrtValue *value;
    OrtShape *info;
    size_t count = 0;
    TRY(api->KernelContext_GetInput(context, index, &value));
    if (!value)
        return refused(api, "an input of attention is missing");
    TRY(api->GetTensorMutableData((OrtValue *)value, (void **)data));
    TRY(api->GetTensorTypeAndShape(value, &info));
    OrtStatus *status = rank ? api->GetDimensionsCount(info, &count) : api->GetTensorShapeElementCount(info, &count);
    if (!status && rank && count == rank)
        status = api->GetDimensions(info, shape, rank);
    api->ReleaseTensorTypeAndShapeInfo(info);
    if (!status && count != (rank ? rank : 1))
        return refused(api, "an input of attention has another number of dimensions");
    return status;
}

static OrtStatus *absent(const OrtApi *api, OrtKernelContext *context, size_t index)
{
    const OrtValue *value;
    TRY(api->KernelContext_GetInput(context, index, &value));
    return value ? refused(api, "queries, keys and values must come packed") : NULL;
}

static OrtStatus *output(const OrtApi *api, OrtKernelContext *context, size_t index, const int64_t *shape, size_t count,
                         float **data)
{
    OrtValue *value;
    TRY(api->KernelContext_GetOutput(context, index, shape, count, &value));
    return api->GetTensorMutableData(value, (void **)data);
}

enum { PACKED, KEY, VALUE, PAST_KEY, PAST_VALUE, LAST, TOTAL, COSINE, SINE, INPUTS };

static OrtStatus *compute(void *state, OrtKernelContext *context)
{
    const Kernel *kernel = state;
    const OrtApi *api = kernel->api;
    Call call = {.kernel = kernel};
    int64_t packed[3], past[4], past_values[4], cosine[2], sine[2], last[1];
    const int32_t *total;
    TRY(absent(api, context, KEY));
    TRY(absent(api, context, VALUE));
    TRY(input(api, context, PACKED, (const void **)&call.packed, packed, 3));
    TRY(input(api, context, PAST_KEY, (const void **)&call.past[0], past, 4));
    TRY(input(api, context, PAST_VALUE, (const void **)&call.past[1], past_values, 4));
    TRY(input(api, context, LAST, (const void **)&call.last, last, 1));
    TRY(input(api, context, TOTAL, (const void **)&total, NULL, 0));
    int64_t rows = packed[0], positions = past[2] > *total ? past[2] : *total, furthest = positions;
    call.steps = (int)packed[1], call.dim = (int)past[3];
    call.past_positions = (int)past[2], call.positions = (int)positions;
    if (memcmp(past, past_values, sizeof past) || past[0] != rows || last[0] != rows || past[1] != kernel->kv_heads ||
        packed[2] != (int64_t)(kernel->heads + 2 * kernel->kv_heads) * call.dim)
        return refused(api, "the inputs of attention do not fit each other");
    if (call.dim % 16 || call.dim > MAX_HEAD_DIM)
        return refused(api, "the width of a head must be a multiple of 16, at most 256");
    if (kernel->rotate) {
        TRY(input(api, context, COSINE, (const void **)&call.cosine, cosine, 2));
        TRY(input(api, context, SINE, (const void **)&call.sine, sine, 2));
        if (memcmp(cosine, sine, sizeof cosine) || cosine[1] != call.dim / 2)
            return refused(api, "the rotary tables do not fit the heads");
        furthest = cosine[0] < positions ? cosine[0] : positions;
    }
    for (int64_t row = 0; row < rows; row++)
        if (call.last[row] < 0 || call.last[row] >= furthest || call.steps > furthest)
            return refused(api, "a row is longer than the cache or the rotary tables");
        else if (call.last[row] + 1 - call.steps > past[2])
            return refused(api, "a row is longer than its past");
    int64_t mixed[3] = {rows, call.steps, (int64_t)kernel->heads * call.dim};
    int64_t present[4] = {rows, kernel->kv_heads, positions, call.dim};
    TRY(output(api, context, 0, mixed, 3, &call.mixed));
    TRY(output(api, context, 1, present, 4, &call.present[0]));
    TRY(output(api, context, 2, present, 4, &call.present[1]));
    size_t tasks = (size_t)rows * kernel->kv_heads;
    if (tasks > 1 && tasks * *total * call.dim * call.steps > PARALLEL_FROM)
        return api->KernelContext_ParallelFor(context, kernel->one_cached_head, tasks, 0, &call);
    for (size_t task = 0; task < tasks; task++)
        kernel->one_cached_head(&call, task);
    return NULL;
}

/* The widest vectors of this processor; ATTENTION_LANES in the environment lowers them, for tests. */
static int lanes(void)
{
    const char *asked = getenv("ATTENTION_LANES");
    int most = asked ? atoi(asked) : 16;
    if (most >= 16 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq"))
        return 16;
    return most >= 8 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? 8 : 0;
}

static int64_t attribute(const OrtApi *api, const OrtKernelInfo *info, const char *name, int64_t otherwise)
{
    int64_t value = otherwise;
    OrtStatus *status = api->KernelInfoGetAttribute_int64(info, name, &value);
    if (!status)
        return value;
    api->ReleaseStatus(status);
    return otherwise;
}

static OrtStatus *create(const OrtCustomOp *op, const OrtApi *api, const OrtKernelInfo *info, void **out)
{
    (void)op;
    float scale = 0, softcap = 0;
    OrtStatus *status = api->KernelInfoGetAttribute_float(info, "scale", &scale);
    if (status)
        api->ReleaseStatus(status);
    status = api->KernelInfoGetAttribute_float(info, "softcap", &softcap);
    if (status)
        api->ReleaseStatus(status);
    int64_t heads = attribute(api, info, "num_heads", 0), kv_heads = attribute(api, info, "kv_num_heads", 0);
    if (heads < 1 || kv_heads < 1 || heads % kv_heads)
        return refused(api, "num_heads is no multiple of kv_num_heads");
    if (softcap || attribute(api, info, "local_window_size", -1) != -1 ||
        attribute(api, info, "smooth_softmax", 0) == 1 || attribute(api, info, "rotary_interleaved", 0) == 1)
        return refused(api, "softcap, local_window_size, smooth_softmax and rotary_interleaved are not offered");
    Kernel *kernel = malloc(sizeof *kernel);
    if (!kernel)
        return refused(api, "no memory");
    *kernel = (Kernel){.api = api, .heads = (int)heads, .kv_heads = (int)kv_heads, .scale = scale,
                       .one_cached_head = lanes() == 16 ? one_cached_head_16 : one_cached_head_8,
                       .rotate = attribute(api, info, "do_rotary", 0) == 1};
    *out = kernel;
    return NULL;
}

static void destroy(void *kernel) { free(kernel); }
static const char *name(const OrtCustomOp *op) { (void)op; return "GroupQueryAttention"; }
static const char *provider(const OrtCustomOp *op) { (void)op; return "CPUExecutionProvider"; }
static size_t input_count(const OrtCustomOp *op) { (void)op; return INPUTS; }
static size_t output_count(const OrtCustomOp *op) { (void)op; return 3; }
static int input_type(const OrtCustomOp *op, size_t at) { (void)op; return at == LAST || at == TOTAL ? ORT_INT32 : ORT_FLOAT; }
static int output_type(const OrtCustomOp *op, size_t at) { (void)op, (void)at; return ORT_FLOAT; }
static int input_kind(const OrtCustomOp *op, size_t at)
{
    (void)op;
    return at == KEY || at == VALUE || at == COSINE || at == SINE ? ORT_OPTIONAL : ORT_REQUIRED;
}
static int output_kind(const OrtCustomOp *op, size_t at) { (void)op, (void)at; return ORT_REQUIRED; }
static int memory(const OrtCustomOp *op, size_t at) { (void)op, (void)at; return ORT_MEMORY_DEFAULT; }
static int zero(const OrtCustomOp *op) { (void)op; return 0; }

static const OrtCustomOp ATTENTION = {
    .version = ORT_API_VERSION,
    .GetName = name,
    .GetExecutionProviderType = provider,
    .GetInputType = input_type,
    .GetInputTypeCount = input_count,
    .GetOutputType = output_type,
    .GetOutputTypeCount = output_count,
    .KernelDestroy = destroy,
    .GetInputCharacteristic = input_kind,
    .GetOutputCharacteristic = output_kind,
    .GetInputMemoryType = memory,
    .GetVariadicInputMinArity = zero,
    .GetVariadicInputHomogeneity = zero,
    .GetVariadicOutputMinArity = zero,
    .GetVariadicOutputHomogeneity = zero,
    .CreateKernelV2 = create,
    .KernelComputeV2 = compute,
};
#endif

/* What the runtime calls by this name. A processor that is too old is refused, and keeps the runtime's kernel.
 * Sessions point into the domain, so it lives as long as this library. One thread makes sessions. */
OrtStatus *RegisterCustomOps(OrtSessionOptions *options, const OrtApiBase *base)
{
    const OrtApi *api = base->GetApi(ORT_API_VERSION);
#ifdef OFFERED
    static OrtCustomOpDomain *domain;
    if (lanes()) {
        if (!domain) {
            OrtCustomOpDomain *made;
            TRY(api->CreateCustomOpDomain("com.microsoft", &made));
            TRY(api->CustomOpDomain_Add(made, &ATTENTION));
            domain = made;
        }
        return api->AddCustomOpDomain(options, domain);
    }
#else
    (void)options;
#endif
    return api->CreateStatus(ORT_INVALID_ARGUMENT, "the attention kernel wants AVX2 or AVX-512");
}
