/* `parlando.Attention`: grouped-query attention over a cache in float or half precision, with rotated queries and keys.
 *
 * The runtime's `GroupQueryAttention` goes over the cache once for each query head. This kernel goes over it once for
 * the four query heads that share keys and values, and keeps every sum in registers (docs/decisions/0014). Last bits
 * differ from the runtime's, and from form to form.
 *
 * Softmax goes tile by tile with a running maximum (Milakov and Gimelshein, arXiv:1805.02867; FlashAttention,
 * arXiv:2205.14135), so scratch memory does not depend on the context. A row's result depends on that row alone: the
 * order of its sums is given by its own length. The node has no attributes: shapes say how many heads there are, scores
 * are not scaled, halves rotate against each other. */
#include "attention.h"
#include "operator.h"

#include <stdlib.h>
#include <string.h>

enum { PACKED, PAST_KEY, PAST_VALUE, LAST, TOTAL, COSINE, SINE, INPUTS };
enum { PARALLEL_FROM = 1 << 17, HEAD_STEP = 16 }; /* cached floats to read from which a second thread pays */

typedef struct {
    const OrtApi *api;
    void (*one_cached_head)(void *call, size_t index);
} Kernel;

/* Everything that a row could read or write lies inside the cache and the rotary tables. */
static OrtStatus *check_rows(const OrtApi *api, const AttentionCall *call, int64_t rows, int64_t furthest)
{
    for (int64_t row = 0; row < rows; row++)
        if (call->last[row] < 0 || call->last[row] >= furthest || call->steps > furthest)
            return refused(api, "a row is longer than the cache or the rotary tables");
        else if (call->last[row] + 1 - call->steps > call->past_positions)
            return refused(api, "a row is longer than its past");
    return NULL;
}

static OrtStatus *compute(void *state, OrtKernelContext *context)
{
    const Kernel *kernel = state;
    const OrtApi *api = kernel->api;
    AttentionCall call = {0};
    int64_t packed[3], past[4], past_values[4], cosine[2], sine[2], last[1];
    const int32_t *total;
    TRY(input(api, context, PACKED, (const void **)&call.packed, packed, 3));
    TRY(input(api, context, PAST_KEY, (const void **)&call.past[0], past, 4));
    TRY(input(api, context, PAST_VALUE, (const void **)&call.past[1], past_values, 4));
    TRY(input(api, context, LAST, (const void **)&call.last, last, 1));
    TRY(input(api, context, TOTAL, (const void **)&total, NULL, 0));
    TRY(input(api, context, COSINE, (const void **)&call.cosine, cosine, 2));
    TRY(input(api, context, SINE, (const void **)&call.sine, sine, 2));
    int64_t rows = packed[0], kv_heads = past[1], dim = past[3], positions = past[2] > *total ? past[2] : *total;
    if (dim % HEAD_STEP || dim < 1 || dim > MAX_HEAD_DIM)
        return refused(api, "the width of a head must be a multiple of 16, at most 256");
    int64_t heads = packed[2] / dim - 2 * kv_heads;
    if (memcmp(past, past_values, sizeof past) || past[0] != rows || last[0] != rows || packed[2] % dim || kv_heads < 1 ||
        heads < 1 || heads % kv_heads)
        return refused(api, "the inputs of attention do not fit each other");
    if (memcmp(cosine, sine, sizeof cosine) || cosine[1] != dim / 2)
        return refused(api, "the rotary tables do not fit the heads");
    call.heads = (int)heads, call.kv_heads = (int)kv_heads, call.steps = (int)packed[1], call.dim = (int)dim;
    call.past_positions = (int)past[2], call.positions = (int)positions;
    TRY(check_rows(api, &call, rows, cosine[0] < positions ? cosine[0] : positions));
    int64_t mixed[3] = {rows, packed[1], heads * dim}, present[4] = {rows, kv_heads, positions, dim};
    TRY(output(api, context, 0, mixed, 3, (void **)&call.mixed));
    TRY(output(api, context, 1, present, 4, &call.present[0]));
    TRY(output(api, context, 2, present, 4, &call.present[1]));
    size_t tasks = (size_t)(rows * kv_heads);
    if (tasks > 1 && (int64_t)tasks * *total * dim * call.steps > PARALLEL_FROM)
        return api->KernelContext_ParallelFor(context, kernel->one_cached_head, tasks, 0, &call);
    for (size_t task = 0; task < tasks; task++)
        kernel->one_cached_head(&call, task);
    return NULL;
}

static OrtStatus *create(const OrtApi *api, void (*one_cached_head)(void *, size_t), void **out)
{
    Kernel *kernel = malloc(sizeof *kernel);
    if (!kernel)
        return refused(api, "no memory");
    *kernel = (Kernel){.api = api, .one_cached_head = one_cached_head};
    *out = kernel;
    return NULL;
}
static OrtStatus *create_float(const Form *form, const OrtApi *api, const OrtKernelInfo *info, void **out)
{
    (void)info;
    return create(api, form->attend, out);
}
static OrtStatus *create_half(const Form *form, const OrtApi *api, const OrtKernelInfo *info, void **out)
{
    (void)info;
    return create(api, form->attend_half, out);
}
static void destroy(void *kernel) { free(kernel); }

#define TYPES(cache) {ORT_FLOAT, cache, cache, ORT_INT32, ORT_INT32, ORT_FLOAT, ORT_FLOAT}
static const unsigned char inputs[INPUTS] = TYPES(ORT_FLOAT), inputs_half[INPUTS] = TYPES(ORT_HALF);
static const unsigned char outputs[] = {ORT_FLOAT, ORT_FLOAT, ORT_FLOAT}, outputs_half[] = {ORT_FLOAT, ORT_HALF, ORT_HALF};
const Kind ATTENTION = {"Attention", inputs, outputs, INPUTS, 3, create_float, compute, destroy};
const Kind ATTENTION_HALF = {"Attention", inputs_half, outputs_half, INPUTS, 3, create_half, compute, destroy};
