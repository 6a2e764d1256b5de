/* Grouped-query attention over a cache in float or half precision, a quicker kernel for the runtime's
 * `GroupQueryAttention` node.
 *
 * The runtime goes over the cache once for each query head. This kernel goes over it once for the four query heads that
 * share keys and values, and keeps every sum in registers (docs/decisions/0014). Last bits differ from the runtime's.
 *
 * Softmax goes tile by tile with a running maximum (Milakov and Gimelshein, arXiv:1805.02867; FlashAttention,
 * arXiv:2205.14135), so scratch memory does not depend on the context. A row's result depends on that row alone: the
 * order of its sums is given by its own length. */
#include "operator.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#ifdef OFFERED
#include <immintrin.h>

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
    const void *past[2];
    void *present[2]; /* keys, values [rows, kv_heads, positions, dim]; may be the past itself */
    const float *cosine, *sine;
    const int32_t *last; /* [rows]: the place of a row's last step */
    float *mixed;        /* [rows, steps, heads * dim] */
    int steps, dim, past_positions, positions;
} Call;

#define LANES 16
#include "attend.h"
#define LANES 8
#include "attend.h"
#define HALF
#define LANES 16
#include "attend.h"
#define LANES 8
#include "attend.h"
#undef HALF

/* ---- The node ---- */

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
    TRY(output(api, context, 1, present, 4, (float **)&call.present[0]));
    TRY(output(api, context, 2, present, 4, (float **)&call.present[1]));
    size_t tasks = (size_t)rows * kernel->kv_heads;
    if (tasks > 1 && tasks * *total * call.dim * call.steps > PARALLEL_FROM)
        return api->KernelContext_ParallelFor(context, kernel->one_cached_head, tasks, 0, &call);
    for (size_t task = 0; task < tasks; task++)
        kernel->one_cached_head(&call, task);
    return NULL;
}

static OrtStatus *create(const OrtCustomOp *op, const OrtApi *api, const OrtKernelInfo *info, void **out)
{
    void (*kernels[2][2])(void *, size_t) = {{one_cached_head_8, one_cached_head_16},
                                             {one_cached_head_half_8, one_cached_head_half_16}};
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
                       .one_cached_head = kernels[op == &ATTENTION_HALF][parlando_lanes() == 16],
                       .rotate = attribute(api, info, "do_rotary", 0) == 1};
    *out = kernel;
    return NULL;
}

static void destroy(void *kernel) { free(kernel); }
static const char *name(const OrtCustomOp *op) { (void)op; return "GroupQueryAttention"; }
static size_t input_count(const OrtCustomOp *op) { (void)op; return INPUTS; }
static size_t output_count(const OrtCustomOp *op) { (void)op; return 3; }
static int cache_type(const OrtCustomOp *op) { return op == &ATTENTION_HALF ? ORT_HALF : ORT_FLOAT; }
static int input_type(const OrtCustomOp *op, size_t at)
{
    return at == LAST || at == TOTAL ? ORT_INT32 : at == PAST_KEY || at == PAST_VALUE ? cache_type(op) : ORT_FLOAT;
}
static int output_type(const OrtCustomOp *op, size_t at) { return at ? cache_type(op) : ORT_FLOAT; }
static int input_kind(const OrtCustomOp *op, size_t at)
{
    (void)op;
    return at == KEY || at == VALUE || at == COSINE || at == SINE ? ORT_OPTIONAL : ORT_REQUIRED;
}

#define PARTS                                                                                                   \
    OPERATOR_PARTS, .GetName = name, .GetInputType = input_type, .GetOutputType = output_type,                  \
    .GetInputTypeCount = input_count, .GetOutputTypeCount = output_count, .GetInputCharacteristic = input_kind, \
    .KernelDestroy = destroy, .CreateKernelV2 = create, .KernelComputeV2 = compute

const OrtCustomOp ATTENTION = {PARTS}, ATTENTION_HALF = {PARTS};
#endif
