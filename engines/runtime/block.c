/* `parlando.CausalBlock`: a causal ConvNeXt block of the vocoder in one kernel (models/streaming.py, docs/decisions/0015).
 *
 * Written out, the graph goes over its activations some fifty times a block, a few microseconds each whatever they hold.
 * Here a dozen rows go through the whole block while they are in the first-level cache. Every row is computed by itself:
 * its bits do not depend on its neighbours, nor on how a stream was cut into chunks. Sums of products are of integers and
 * exact; the rest is float in an order of its own, so last bits differ from those of the runtime's nodes. */
#include "operator.h"

#ifdef OFFERED
#include "products.h"
#include "wide.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Steps that a block looks back and its own; rows that go through it at once; and the widest that is offered. */
enum { TAPS = 7, CONTEXT = TAPS - 1, TILE = 12, MAX_WIDTH = 256, MAX_HIDDEN = 768, PARALLEL_FROM = 64 };

/* Of the node, in the order that models/fold_vocoder.py writes. */
enum {
    X, STATE, TAP_0, CONV_BIAS, TAP_1, /* to TAP_6 */
    NORM_SCALE = TAP_1 + 6, NORM_BIAS, FIRST_STEP, FIRST_ZERO, FIRST, FIRST_SCALES, FIRST_ZEROS, FIRST_BIAS,
    SECOND_STEP, SECOND_ZERO, SECOND, SECOND_SCALES, SECOND_ZEROS, SECOND_BIAS, OUT_SCALE, INPUTS
};
enum { FLOATS = OUT_SCALE + 1 };

typedef struct {
    const OrtApi *api;
    int width, hidden;
    float *floats[FLOATS]; /* by input */
    Weights *first, *second;
} Kernel;

typedef struct {
    const Kernel *kernel;
    const float *x, *state; /* [rows, steps, width], [rows, CONTEXT, width] */
    float *out;
    size_t steps, tiles; /* tiles of one row */
} Call;

INLINE float sum_of(__m512 x) { return _mm512_reduce_add_ps(x); }

/* Step `at` of a row, which may lie in the context. */
static inline const float *step_of(const Call *call, size_t row, ptrdiff_t at)
{
    size_t width = call->kernel->width;
    if (at < 0)
        return call->state + (row * CONTEXT + CONTEXT + at) * width;
    return call->x + (row * call->steps + at) * width;
}

/* What the first product takes in of one step: mixed over time, normed, in int8. */
INLINE void mix(const Call *call, size_t row, size_t step, uint8_t *out)
{
    const Kernel *kernel = call->kernel;
    float *const *floats = kernel->floats;
    const float *steps[TAPS];
    float mixed[MAX_WIDTH];
    __m512 total = _mm512_setzero_ps(), squares = _mm512_setzero_ps();
    for (int tap = 0; tap < TAPS; tap++)
        steps[tap] = step_of(call, row, (ptrdiff_t)step + tap - CONTEXT);
    for (int at = 0; at < kernel->width; at += LANES) {
        __m512 sum = _mm512_loadu_ps(floats[CONV_BIAS] + at);
        for (int tap = 0; tap < TAPS; tap++) {
            const float *weight = floats[tap ? TAP_1 + tap - 1 : TAP_0];
            sum = _mm512_fmadd_ps(_mm512_loadu_ps(steps[tap] + at), _mm512_loadu_ps(weight + at), sum);
        }
        _mm512_storeu_ps(mixed + at, sum);
        total = _mm512_add_ps(total, sum);
    }
    __m512 mean = all(sum_of(total) / (float)kernel->width), step_size = all(*floats[FIRST_STEP]);
    for (int at = 0; at < kernel->width; at += LANES) {
        __m512 away = _mm512_sub_ps(_mm512_loadu_ps(mixed + at), mean);
        squares = _mm512_fmadd_ps(away, away, squares);
    }
    __m512 scale = all(1.0f / sqrtf(sum_of(squares) / (float)kernel->width + 1e-5f));
    for (int at = 0; at < kernel->width; at += LANES) {
        __m512 away = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(mixed + at), mean), scale);
        __m512 normed = _mm512_fmadd_ps(away, _mm512_loadu_ps(floats[NORM_SCALE] + at), _mm512_loadu_ps(floats[NORM_BIAS] + at));
        quantise(out + at, normed, step_size);
    }
}

static void multiply(const Weights *weights, const uint8_t *rows, int count, float step, const float *scales, float *out)
{
    Product product = {.weights = weights, .rows = rows, .column_scales = scales, .row_scale = step, .out = out,
                       .zero = 128, .count = count};
    for (int strip = 0; strip < weights->strips; strip++)
        parlando_strip(&product, strip);
}

WIDE static void one_tile(void *data, size_t index)
{
    const Call *call = data;
    const Kernel *kernel = call->kernel;
    float *const *floats = kernel->floats;
    size_t row = index / call->tiles, first = index % call->tiles * TILE;
    size_t count = call->steps - first < TILE ? call->steps - first : TILE;
    int width = kernel->width, hidden = kernel->hidden;
    _Alignas(64) uint8_t narrow[TILE * MAX_WIDTH], wide[TILE * MAX_HIDDEN];
    _Alignas(64) float made[TILE * MAX_HIDDEN];
    for (size_t at = 0; at < count; at++)
        mix(call, row, first + at, narrow + at * width);
    multiply(kernel->first, narrow, (int)count, *floats[FIRST_STEP], floats[FIRST_SCALES], made);
    __m512 step = all(*floats[SECOND_STEP]);
    for (size_t at = 0; at < count; at++)
        for (int column = 0; column < hidden; column += LANES) {
            const float *from = made + at * hidden + column;
            __m512 sum = _mm512_add_ps(_mm512_loadu_ps(from), _mm512_loadu_ps(floats[FIRST_BIAS] + column));
            quantise(wide + at * hidden + column, gelu_of(sum), step);
        }
    multiply(kernel->second, wide, (int)count, *floats[SECOND_STEP], floats[SECOND_SCALES], made);
    for (size_t at = 0; at < count; at++) {
        const float *x = step_of(call, row, (ptrdiff_t)(first + at));
        float *out = call->out + (row * call->steps + first + at) * width;
        for (int column = 0; column < width; column += LANES) {
            __m512 sum = _mm512_add_ps(_mm512_loadu_ps(made + at * width + column), _mm512_loadu_ps(floats[SECOND_BIAS] + column));
            __m512 scale = _mm512_loadu_ps(floats[OUT_SCALE] + column);
            _mm512_storeu_ps(out + column, _mm512_fmadd_ps(scale, sum, _mm512_loadu_ps(x + column)));
        }
    }
}

/* ---- The node ---- */

static OrtStatus *compute(void *state, OrtKernelContext *context)
{
    const Kernel *kernel = state;
    const OrtApi *api = kernel->api;
    Call call = {.kernel = kernel};
    int64_t x[3], past[3];
    TRY(input(api, context, X, (const void **)&call.x, x, 3));
    TRY(input(api, context, STATE, (const void **)&call.state, past, 3));
    if (x[2] != kernel->width || past[2] != kernel->width || past[1] != CONTEXT || past[0] != x[0])
        return refused(api, "the inputs of a block do not fit each other");
    float *later;
    TRY(output(api, context, 0, x, 3, &call.out));
    TRY(output(api, context, 1, past, 3, &later));
    call.steps = (size_t)x[1];
    call.tiles = (call.steps + TILE - 1) / TILE;
    for (size_t row = 0; row < (size_t)x[0]; row++)
        for (size_t at = 0; at < CONTEXT; at++, later += kernel->width)
            memcpy(later, step_of(&call, row, (ptrdiff_t)(call.steps + at) - CONTEXT), kernel->width * sizeof(float));
    size_t tiles = call.tiles * (size_t)x[0];
    if (call.steps * (size_t)x[0] >= PARALLEL_FROM)
        return api->KernelContext_ParallelFor(context, one_tile, tiles, 0, &call);
    for (size_t tile = 0; tile < tiles; tile++)
        one_tile(&call, tile);
    return NULL;
}

/* A constant's data, which must have so many elements. */
static OrtStatus *constant(const OrtApi *api, const OrtKernelInfo *info, size_t index, size_t wanted, const void **data)
{
    size_t count;
    TRY(constant_input(api, info, index, data, NULL, 0, &count));
    return count == wanted ? NULL : refused(api, "the weights of a block do not fit each other");
}

static OrtStatus *floats(const OrtApi *api, const OrtKernelInfo *info, size_t index, size_t wanted, float **out)
{
    const float *given;
    TRY(constant(api, info, index, wanted, (const void **)&given));
    *out = malloc(wanted * sizeof **out);
    if (!*out)
        return refused(api, "no memory");
    memcpy(*out, given, wanted * sizeof **out);
    return NULL;
}

static OrtStatus *zero(const OrtApi *api, const OrtKernelInfo *info, size_t index, size_t count)
{
    const int8_t *zeros;
    TRY(constant(api, info, index, count, (const void **)&zeros));
    for (size_t at = 0; at < count; at++)
        if (zeros[at])
            return refused(api, "a block's zero points must be 0");
    return NULL;
}

static OrtStatus *learn(Kernel *kernel, const OrtApi *api, const OrtKernelInfo *info)
{
    const int8_t *first, *second;
    int64_t shape[2];
    size_t count;
    TRY(constant_input(api, info, FIRST, (const void **)&first, shape, 2, &count));
    if (shape[0] % LANES || shape[1] % LANES || !shape[0] || !shape[1] || shape[0] > MAX_WIDTH || shape[1] > MAX_HIDDEN)
        return refused(api, "a block is at most 256 wide and 768 inside, multiples of 16");
    size_t width = kernel->width = (int)shape[0], hidden = kernel->hidden = (int)shape[1];
    for (int at = TAP_0; at < FLOATS; at++) {
        size_t wanted = at == FIRST_STEP || at == SECOND_STEP ? 1 : at == FIRST_SCALES || at == FIRST_BIAS ? hidden : width;
        if (at == FIRST_ZERO || at == SECOND_ZERO)
            TRY(zero(api, info, at, 1));
        else if (at == FIRST_ZEROS || at == SECOND_ZEROS)
            TRY(zero(api, info, at, at == FIRST_ZEROS ? hidden : width));
        else if (at != FIRST && at != SECOND)
            TRY(floats(api, info, at, wanted, &kernel->floats[at]));
    }
    TRY(constant(api, info, FIRST, width * hidden, (const void **)&first));
    TRY(constant(api, info, SECOND, width * hidden, (const void **)&second));
    kernel->first = parlando_pack(first, (int)width, (int)hidden);
    kernel->second = parlando_pack(second, (int)hidden, (int)width);
    return kernel->first && kernel->second ? NULL : refused(api, "no memory");
}

static void destroy(void *state)
{
    Kernel *kernel = state;
    if (kernel->first)
        parlando_release(kernel->first);
    if (kernel->second)
        parlando_release(kernel->second);
    for (int at = 0; at < FLOATS; at++)
        free(kernel->floats[at]);
    free(kernel);
}

static OrtStatus *create(const OrtCustomOp *op, const OrtApi *api, const OrtKernelInfo *info, void **out)
{
    (void)op;
    Kernel *kernel = calloc(1, sizeof *kernel);
    if (!kernel)
        return refused(api, "no memory");
    kernel->api = api;
    OrtStatus *status = learn(kernel, api, info);
    if (status)
        destroy(kernel);
    else
        *out = kernel;
    return status;
}

static const char *name(const OrtCustomOp *op)
{
    (void)op;
    return "CausalBlock";
}
static size_t input_count(const OrtCustomOp *op) { (void)op; return INPUTS; }
static size_t output_count(const OrtCustomOp *op) { (void)op; return 2; }
static int input_type(const OrtCustomOp *op, size_t at)
{
    (void)op;
    switch (at) {
    case FIRST_ZERO: case FIRST: case FIRST_ZEROS: case SECOND_ZERO: case SECOND: case SECOND_ZEROS:
        return ORT_INT8;
    }
    return ORT_FLOAT;
}
static int output_type(const OrtCustomOp *op, size_t at) { (void)op, (void)at; return ORT_FLOAT; }

const OrtCustomOp BLOCK = {
    OPERATOR_PARTS,
    .GetName = name,
    .GetInputType = input_type,
    .GetInputTypeCount = input_count,
    .GetOutputType = output_type,
    .GetOutputTypeCount = output_count,
    .GetInputCharacteristic = operator_required,
    .KernelDestroy = destroy,
    .CreateKernelV2 = create,
    .KernelComputeV2 = compute,
};
#endif
