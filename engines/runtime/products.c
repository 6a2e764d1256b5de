/* Product of a few int8 rows with int8 weights, a quicker kernel for the runtime's `QGemm` node (docs/decisions/0014).
 *
 * A strip of 64 columns is one stream of memory; six rows go over it at once with their sums in registers, and the next
 * six find it in the cache. Graphs of one process that have the same weights share one packed copy of them. Sums are of
 * integers, so they are exact, and results have the bits of the runtime's. */
#include "operator.h"
#include "products.h"

#ifdef OFFERED
#include <immintrin.h>
#include <stdlib.h>
#include <string.h>

#define VNNI __attribute__((target("avx512f,avx512bw,avx512vnni")))
#define INLINE VNNI static inline __attribute__((always_inline))

/* Columns of a strip, and of a vector of sums; rows at once; bytes read ahead, since the processor's own reading ahead
 * leaves several rows waiting for memory; multiply-adds from which a second thread pays. */
enum { STRIP = 64, LANES = 16, GROUP = 6, AHEAD = 16384, PARALLEL_FROM = 1 << 20 };

/* ---- Weights, as the dot-product instruction wants them ---- */

static Weights *all_weights;
static atomic_flag taken = ATOMIC_FLAG_INIT; /* sessions come and go on any thread, seldom */

static void discard(Weights *weights)
{
    free(weights->sums);
    free(weights->packed);
    free(weights);
}

void parlando_release(Weights *weights)
{
    lock(&taken);
    int unused = --weights->users == 0;
    if (unused) {
        Weights **at = &all_weights;
        while (*at != weights)
            at = &(*at)->next;
        *at = weights->next;
    }
    unlock(&taken);
    if (unused)
        discard(weights);
}

Weights *parlando_pack(const int8_t *given, int depth, int columns)
{
    int strips = (columns + STRIP - 1) / STRIP;
    size_t size = (size_t)depth * strips * STRIP;
    Weights *made = malloc(sizeof *made);
    if (!made)
        return NULL;
    *made = (Weights){.users = 1, .depth = depth, .columns = columns, .strips = strips,
                      .sums = calloc((size_t)strips * STRIP, sizeof(int32_t)), .packed = aligned_alloc(64, size)};
    if (!made->sums || !made->packed) {
        discard(made);
        return NULL;
    }
    memset(made->packed, 0, size);
    for (int k = 0; k < depth; k++)
        for (int column = 0; column < columns; column++) {
            int8_t value = given[(size_t)k * columns + column];
            size_t strip = column / STRIP, place = column % STRIP;
            made->packed[strip * STRIP * depth + (size_t)(k / 4) * 4 * STRIP + place * 4 + k % 4] = value;
            made->sums[column] += value;
        }
    lock(&taken);
    for (Weights *other = all_weights; other; other = other->next)
        if (other->depth == depth && other->columns == columns && !memcmp(other->packed, made->packed, size)) {
            other->users++;
            unlock(&taken);
            discard(made);
            return other;
        }
    made->next = all_weights;
    all_weights = made;
    unlock(&taken);
    return made;
}

/* ---- Rows by a strip ---- */

typedef struct {
    const OrtApi *api;
    Weights *weights;
} Kernel;

typedef struct {
    __m512i a, b, c, d; /* 64 columns of one row; no array, so that compilers keep it in registers */
} Sums;

/* In assembly, since GCC 12 copies and spills the sums of the intrinsic, which halves the speed. */
#define DOT(sum, values, weights) __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(values), "v"(weights))

INLINE void add(Sums *sums, const uint8_t *row, __m512i a, __m512i b, __m512i c, __m512i d)
{
    int32_t four;
    memcpy(&four, row, 4);
    __m512i values = _mm512_set1_epi32(four);
    DOT(sums->a, values, a);
    DOT(sums->b, values, b);
    DOT(sums->c, values, c);
    DOT(sums->d, values, d);
}

/* Sixteen columns, or as many as there are: what the zero point added is taken off again, and scaled. */
INLINE void store(const Product *call, __m512i sums, size_t row, size_t column)
{
    const Weights *weights = call->weights;
    if (column >= (size_t)weights->columns)
        return;
    size_t left = weights->columns - column;
    __mmask16 there = left < LANES ? (__mmask16)((1u << left) - 1) : 0xFFFF;
    __m512i shift = _mm512_mullo_epi32(_mm512_set1_epi32(call->zero), _mm512_loadu_si512(weights->sums + column));
    __m512 scale = _mm512_set1_ps(*call->column_scales);
    if (!call->shared_scale)
        scale = _mm512_maskz_loadu_ps(there, call->column_scales + column);
    scale = _mm512_mul_ps(_mm512_set1_ps(call->row_scale), scale);
    _mm512_mask_storeu_ps(call->out + row * weights->columns + column, there,
                          _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_sub_epi32(sums, shift)), scale));
}

INLINE void store_all(const Product *call, Sums sums, size_t row, size_t column)
{
    store(call, sums.a, row, column);
    store(call, sums.b, row, column + LANES);
    store(call, sums.c, row, column + 2 * LANES);
    store(call, sums.d, row, column + 3 * LANES);
}

/* `count` rows from `first` on, a number known when compiled. */
INLINE void rows_by_strip(const Product *call, size_t index, size_t first, int count)
{
    size_t depth = call->weights->depth, column = index * STRIP;
    const uint8_t *rows = call->rows + first * depth;
    const __m512i *strip = (const __m512i *)(call->weights->packed + column * depth);
    Sums none = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};
    Sums s0 = none, s1 = none, s2 = none, s3 = none, s4 = none, s5 = none;
    for (size_t k = 0; k < depth; k += 4, strip += 4) {
        for (int line = 0; line < 4; line++)
            _mm_prefetch((const char *)(strip + line) + AHEAD, _MM_HINT_T0);
        __m512i a = strip[0], b = strip[1], c = strip[2], d = strip[3];
        add(&s0, rows + k, a, b, c, d);
        if (count > 1)
            add(&s1, rows + depth + k, a, b, c, d);
        if (count > 2)
            add(&s2, rows + 2 * depth + k, a, b, c, d);
        if (count > 3)
            add(&s3, rows + 3 * depth + k, a, b, c, d);
        if (count > 4)
            add(&s4, rows + 4 * depth + k, a, b, c, d);
        if (count > 5)
            add(&s5, rows + 5 * depth + k, a, b, c, d);
    }
    store_all(call, s0, first, column);
    if (count > 1)
        store_all(call, s1, first + 1, column);
    if (count > 2)
        store_all(call, s2, first + 2, column);
    if (count > 3)
        store_all(call, s3, first + 3, column);
    if (count > 4)
        store_all(call, s4, first + 4, column);
    if (count > 5)
        store_all(call, s5, first + 5, column);
}

VNNI void parlando_strip(void *data, size_t index)
{
    const Product *call = data;
    size_t first = 0, count = call->count;
    for (; count - first >= GROUP; first += GROUP)
        rows_by_strip(call, index, first, GROUP);
    switch (count - first) {
    case 1:
        rows_by_strip(call, index, first, 1);
        break;
    case 2:
        rows_by_strip(call, index, first, 2);
        break;
    case 3:
        rows_by_strip(call, index, first, 3);
        break;
    case 4:
        rows_by_strip(call, index, first, 4);
        break;
    case 5:
        rows_by_strip(call, index, first, 5);
        break;
    }
}

/* ---- The node ---- */

enum { ROWS, ROW_SCALE, ROW_ZERO, WEIGHTS, COLUMN_SCALES, COLUMN_ZEROS, BIAS, OUT_SCALE, OUT_ZERO, INPUTS };

static OrtStatus *compute(void *state, OrtKernelContext *context)
{
    const Kernel *kernel = state;
    const OrtApi *api = kernel->api;
    Product call = {.weights = kernel->weights};
    int64_t rows[2];
    size_t scales;
    const float *row_scale;
    const uint8_t *zero;
    TRY(absent(api, context, BIAS));
    TRY(absent(api, context, OUT_SCALE));
    TRY(absent(api, context, OUT_ZERO));
    TRY(input(api, context, ROWS, (const void **)&call.rows, rows, 2));
    TRY(input(api, context, ROW_SCALE, (const void **)&row_scale, NULL, 0));
    TRY(input(api, context, ROW_ZERO, (const void **)&zero, NULL, 0));
    TRY(elements(api, context, COLUMN_SCALES, (const void **)&call.column_scales, NULL, 0, &scales));
    if (rows[1] != call.weights->depth || (scales != 1 && scales != (size_t)call.weights->columns))
        return refused(api, "the inputs of a product do not fit each other");
    call.row_scale = *row_scale, call.zero = *zero;
    call.shared_scale = scales == 1, call.count = (int)rows[0];
    int64_t out[2] = {rows[0], call.weights->columns};
    TRY(output(api, context, 0, out, 2, &call.out));
    size_t strips = call.weights->strips;
    if ((size_t)call.count * call.weights->depth * call.weights->columns > PARALLEL_FROM)
        return api->KernelContext_ParallelFor(context, parlando_strip, strips, 0, &call);
    for (size_t strip = 0; strip < strips; strip++)
        parlando_strip(&call, strip);
    return NULL;
}

static OrtStatus *create(const OrtCustomOp *op, const OrtApi *api, const OrtKernelInfo *info, void **out)
{
    (void)op;
    const int8_t *given, *zeros;
    int64_t shape[2];
    size_t count;
    float alpha = 1;
    OrtStatus *status = api->KernelInfoGetAttribute_float(info, "alpha", &alpha);
    if (status)
        api->ReleaseStatus(status);
    if (alpha != 1 || attribute(api, info, "transA", 0) || attribute(api, info, "transB", 0))
        return refused(api, "alpha, transA and transB are not offered");
    TRY(constant_input(api, info, WEIGHTS, (const void **)&given, shape, 2, &count));
    if (shape[0] % 4 || !shape[0] || !shape[1])
        return refused(api, "weights must have a multiple of 4 rows");
    TRY(constant_input(api, info, COLUMN_ZEROS, (const void **)&zeros, NULL, 0, &count));
    for (size_t i = 0; i < count; i++)
        if (zeros[i])
            return refused(api, "weights must have the zero point 0");
    Kernel *kernel = malloc(sizeof *kernel);
    Weights *weights = kernel ? parlando_pack(given, (int)shape[0], (int)shape[1]) : NULL;
    if (!weights) {
        free(kernel);
        return refused(api, "no memory");
    }
    *kernel = (Kernel){.api = api, .weights = weights};
    *out = kernel;
    return NULL;
}

/* For tests: how many packed weights there are. */
int parlando_packed_weights(void)
{
    int count = 0;
    lock(&taken);
    for (Weights *one = all_weights; one; one = one->next)
        count++;
    unlock(&taken);
    return count;
}

static void destroy(void *state)
{
    Kernel *kernel = state;
    parlando_release(kernel->weights);
    free(kernel);
}

static const char *name(const OrtCustomOp *op)
{
    (void)op;
    return "QGemm";
}
static size_t input_count(const OrtCustomOp *op) { (void)op; return INPUTS; }
static size_t output_count(const OrtCustomOp *op) { (void)op; return 1; }
static int input_type(const OrtCustomOp *op, size_t at)
{
    static const int types[INPUTS] = {ORT_UINT8, ORT_FLOAT, ORT_UINT8, ORT_INT8, ORT_FLOAT,
                                      ORT_INT8,  ORT_INT32, ORT_FLOAT, ORT_UINT8};
    (void)op;
    return types[at];
}
static int output_type(const OrtCustomOp *op, size_t at) { (void)op, (void)at; return ORT_FLOAT; }
static int input_kind(const OrtCustomOp *op, size_t at)
{
    (void)op;
    return at >= BIAS ? ORT_OPTIONAL : ORT_REQUIRED;
}

const OrtCustomOp PRODUCT = {
    OPERATOR_PARTS,
    .GetName = name,
    .GetInputType = input_type,
    .GetInputTypeCount = input_count,
    .GetOutputType = output_type,
    .GetOutputTypeCount = output_count,
    .GetInputCharacteristic = input_kind,
    .KernelDestroy = destroy,
    .CreateKernelV2 = create,
    .KernelComputeV2 = compute,
};
#endif
