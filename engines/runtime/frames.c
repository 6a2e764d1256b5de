/* `parlando.Frames`: pulses and noise, their windows' spectra, and the filters over them (models/excitation.py and
 * `Decoder.frames`, docs/decisions/0015).
 *
 *     z[n] = window[n] (pulses[n] + i noise[n]), one transform of 512 for both, sixteen frames in the lanes of a vector
 *
 * Written out, the graph multiplies each window twice by a matrix of 512 x 514, fifty times the arithmetic. The transform
 * is Stockham's (radix 4, one pass of radix 2), whose passes leave everything in order. A lane is one frame, computed by
 * itself: its bits do not depend on the others. The phase is whole numbers modulo 2^32, exact in any chunk. */
#include "operator.h"

#ifdef OFFERED
#include "wide.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { HOP = 160, WINDOW = 512, LOOK_BACK = WINDOW - HOP, BINS = WINDOW / 2 + 1, ENTRIES = 1025 };

/* Of the node, in the order that models/fold_vocoder.py writes. */
enum {
    F0_HZ, VOICED, FILTERS, PHASE, TAIL, NOISE, ALL_FRAMES, ROWS, FRAMES_OF_ROW, TURNS_PER_HZ, HALF_WIDTH, RESOLUTION, ZERO,
    LAST_PLACE, LAST_ENTRY, PULSE, SAME_PULSE, SAMPLE_RATE_HZ, LEAST_FILTER, MOST_FILTER, ANALYSIS, INPUTS
};

typedef struct {
    const OrtApi *api;
    float window[WINDOW], pulse[ENTRIES];
    float turns_per_hz, half_width, resolution, last_place, last_entry, sample_rate_hz, least_filter, most_filter;
    float turn_re[WINDOW], turn_im[WINDOW]; /* e^(-2 pi i k / WINDOW) */
} Kernel;

typedef struct {
    __m512 re, im;
} Complex;

typedef struct {
    const Kernel *kernel;
    const float *f0_hz, *voiced, *filters, *tail, *noise;
    const int64_t *phase;
    float *samples, *spectrum; /* [rows, LOOK_BACK + frames * HOP]; [rows, frames, 2, BINS] */
    int64_t *later_phase;
    Complex *passes[2]; /* [WINDOW] each */
    size_t rows, frames;
} Call;

/* One pulse for each turn of the phase, read from a table along straight lines. */
WIDE static void make_pulses(const Call *call, size_t row)
{
    const Kernel *kernel = call->kernel;
    float *out = call->samples + row * (LOOK_BACK + call->frames * HOP);
    memcpy(out, call->tail + row * LOOK_BACK, LOOK_BACK * sizeof(float));
    out += LOOK_BACK;
    uint32_t phase = (uint32_t)call->phase[row];
    const __m512i counting = _mm512_setr_epi32(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16);
    for (size_t frame = 0; frame < call->frames; frame++, out += HOP) {
        float f0_hz = call->f0_hz[row * call->frames + frame], voiced = call->voiced[row * call->frames + frame];
        uint32_t increment = (uint32_t)llrintf(f0_hz * kernel->turns_per_hz);
        __m512 gain = all(sqrtf(1.0f / f0_hz * kernel->sample_rate_hz) * voiced), per_sample = all((float)increment);
        __m512i turns = _mm512_add_epi32(_mm512_set1_epi32((int)phase), _mm512_mullo_epi32(counting, _mm512_set1_epi32((int)increment)));
        const __m512i sixteen = _mm512_set1_epi32((int)(16 * increment));
        for (int at = 0; at < HOP; at += LANES, turns = _mm512_add_epi32(turns, sixteen)) {
            /* As a signed number the phase is the distance to the nearest whole turn. */
            __m512 distance = _mm512_div_ps(_mm512_cvtepi32_ps(turns), per_sample);
            __m512 place = _mm512_mul_ps(_mm512_add_ps(distance, all(kernel->half_width)), all(kernel->resolution));
            place = _mm512_min_ps(all(kernel->last_place), _mm512_max_ps(_mm512_setzero_ps(), place));
            __m512 entry = _mm512_min_ps(_mm512_roundscale_ps(place, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC), all(kernel->last_entry));
            __m512i index = _mm512_cvtps_epi32(entry);
            __m512 below = _mm512_i32gather_ps(index, kernel->pulse, 4), above = _mm512_i32gather_ps(index, kernel->pulse + 1, 4);
            __m512 shape = _mm512_fmadd_ps(_mm512_sub_ps(place, entry), _mm512_sub_ps(above, below), below);
            _mm512_storeu_ps(out + at, _mm512_mul_ps(shape, gain));
        }
        phase += HOP * increment;
    }
    call->later_phase[row] = phase;
}

INLINE Complex plus(Complex a, Complex b) { return (Complex){_mm512_add_ps(a.re, b.re), _mm512_add_ps(a.im, b.im)}; }
INLINE Complex minus(Complex a, Complex b) { return (Complex){_mm512_sub_ps(a.re, b.re), _mm512_sub_ps(a.im, b.im)}; }
INLINE Complex turned(Complex a, float re, float im)
{
    return (Complex){_mm512_fmsub_ps(a.re, all(re), _mm512_mul_ps(a.im, all(im))),
                     _mm512_fmadd_ps(a.re, all(im), _mm512_mul_ps(a.im, all(re)))};
}

/* passes[0] -> where the result is */
WIDE static const Complex *transform(const Call *call)
{
    const Kernel *kernel = call->kernel;
    Complex *from = call->passes[0], *to = call->passes[1];
    size_t length = WINDOW, stride = 1;
    for (; length >= 4; length /= 4, stride *= 4) {
        size_t quarter = length / 4;
        for (size_t at = 0; at < quarter; at++) {
            size_t k = at * stride; /* the angle in parts of WINDOW */
            const float *re = kernel->turn_re, *im = kernel->turn_im;
            for (size_t s = 0; s < stride; s++) {
                const Complex *x = from + s + stride * at;
                Complex a = x[0], b = x[stride * quarter], c = x[2 * stride * quarter], d = x[3 * stride * quarter];
                Complex ac = plus(a, c), a_c = minus(a, c), bd = plus(b, d), b_d = minus(b, d);
                Complex *y = to + s + stride * 4 * at;
                /* i (b - d), taken off and added */
                Complex lower = {_mm512_add_ps(a_c.re, b_d.im), _mm512_sub_ps(a_c.im, b_d.re)};
                Complex upper = {_mm512_sub_ps(a_c.re, b_d.im), _mm512_add_ps(a_c.im, b_d.re)};
                y[0] = plus(ac, bd);
                y[stride] = turned(lower, re[k], im[k]);
                y[2 * stride] = turned(minus(ac, bd), re[2 * k], im[2 * k]);
                y[3 * stride] = turned(upper, re[3 * k], im[3 * k]);
            }
        }
        Complex *other = from;
        from = to, to = other;
    }
    for (size_t s = 0; s < stride; s++) { /* a length of 2 is left */
        Complex a = from[s], b = from[s + stride];
        to[s] = plus(a, b), to[s + stride] = minus(a, b);
    }
    return to;
}

INLINE __m512 loud(const Kernel *kernel, __m512 filter)
{
    filter = _mm512_max_ps(all(kernel->least_filter), filter); /* in this order what is no number stays so */
    return exp_of(_mm512_min_ps(all(kernel->most_filter), filter));
}

/* Sixteen frames from `first` on, counted over all rows, or as many as there are. */
WIDE static void make_frames(const Call *call, size_t first)
{
    const Kernel *kernel = call->kernel;
    size_t row_samples = LOOK_BACK + call->frames * HOP, left = call->rows * call->frames - first;
    __mmask16 there = left < LANES ? (__mmask16)((1u << left) - 1) : 0xFFFF;
    _Alignas(64) int32_t starts[LANES], filters[LANES], bins[LANES];
    for (size_t lane = 0; lane < LANES; lane++) {
        size_t frame = lane < left ? first + lane : first;
        starts[lane] = (int32_t)(frame / call->frames * row_samples + frame % call->frames * HOP);
        filters[lane] = bins[lane] = (int32_t)(frame * 2 * BINS);
    }
    __m512i start = _mm512_load_si512(starts), filter = _mm512_load_si512(filters), bin = _mm512_load_si512(bins);
    for (size_t n = 0; n < WINDOW; n++) {
        __m512 window = all(kernel->window[n]);
        call->passes[0][n].re = _mm512_mul_ps(window, _mm512_i32gather_ps(start, call->samples + n, 4));
        call->passes[0][n].im = _mm512_mul_ps(window, _mm512_i32gather_ps(start, call->noise + n, 4));
    }
    const Complex *both = transform(call);
    for (size_t k = 0; k < BINS; k++) {
        Complex z = both[k], mirrored = both[(WINDOW - k) % WINDOW];
        __m512 harmonic = loud(kernel, _mm512_i32gather_ps(filter, call->filters + k, 4));
        __m512 breath = loud(kernel, _mm512_i32gather_ps(filter, call->filters + BINS + k, 4));
        harmonic = _mm512_mul_ps(harmonic, all(0.5f)), breath = _mm512_mul_ps(breath, all(0.5f));
        __m512 re = _mm512_mul_ps(_mm512_add_ps(z.re, mirrored.re), harmonic);
        __m512 im = _mm512_mul_ps(_mm512_sub_ps(z.im, mirrored.im), harmonic);
        re = _mm512_fmadd_ps(_mm512_add_ps(z.im, mirrored.im), breath, re);
        im = _mm512_fmadd_ps(_mm512_sub_ps(mirrored.re, z.re), breath, im);
        _mm512_mask_i32scatter_ps(call->spectrum + k, there, bin, re, 4);
        _mm512_mask_i32scatter_ps(call->spectrum + BINS + k, there, bin, im, 4);
    }
}

/* ---- The node ---- */

static OrtStatus *outputs(const OrtApi *api, OrtKernelContext *context, Call *call, float **tail)
{
    int64_t rows = (int64_t)call->rows;
    OrtValue *value;
    TRY(output(api, context, 0, (int64_t[]){rows, (int64_t)call->frames, 2, BINS}, 4, &call->spectrum));
    TRY(api->KernelContext_GetOutput(context, 1, &rows, 1, &value));
    TRY(api->GetTensorMutableData(value, (void **)&call->later_phase));
    return output(api, context, 2, (int64_t[]){rows, LOOK_BACK}, 2, tail);
}

static OrtStatus *compute(void *state, OrtKernelContext *context)
{
    const Kernel *kernel = state;
    const OrtApi *api = kernel->api;
    Call call = {.kernel = kernel};
    int64_t f0_hz[2], voiced[2], filters[3], phase[1], tail[2], noise[2];
    TRY(input(api, context, F0_HZ, (const void **)&call.f0_hz, f0_hz, 2));
    TRY(input(api, context, VOICED, (const void **)&call.voiced, voiced, 2));
    TRY(input(api, context, FILTERS, (const void **)&call.filters, filters, 3));
    TRY(input(api, context, PHASE, (const void **)&call.phase, phase, 1));
    TRY(input(api, context, TAIL, (const void **)&call.tail, tail, 2));
    TRY(input(api, context, NOISE, (const void **)&call.noise, noise, 2));
    int64_t rows = f0_hz[0], frames = f0_hz[1];
    if (voiced[0] != rows || voiced[1] != frames || filters[0] != rows || filters[1] != frames || filters[2] != 2 * BINS ||
        phase[0] != rows || tail[0] != rows || tail[1] != LOOK_BACK || noise[0] != rows ||
        noise[1] != LOOK_BACK + frames * HOP || !rows || !frames || rows * frames > INT32_MAX / (4 * WINDOW))
        return refused(api, "the inputs of frames do not fit each other");
    call.rows = (size_t)rows, call.frames = (size_t)frames;
    float *later;
    TRY(outputs(api, context, &call, &later));
    size_t row_samples = LOOK_BACK + call.frames * HOP, passes = WINDOW * sizeof(Complex);
    char *scratch = aligned_alloc(64, (2 * passes + call.rows * row_samples * sizeof(float) + 63) / 64 * 64);
    if (!scratch)
        return refused(api, "no memory");
    call.passes[0] = (Complex *)scratch, call.passes[1] = (Complex *)(scratch + passes);
    call.samples = (float *)(scratch + 2 * passes);
    for (size_t row = 0; row < call.rows; row++) {
        make_pulses(&call, row);
        memcpy(later + row * LOOK_BACK, call.samples + row * row_samples + call.frames * HOP, LOOK_BACK * sizeof(float));
    }
    for (size_t first = 0; first < call.rows * call.frames; first += LANES)
        make_frames(&call, first);
    free(scratch);
    return NULL;
}

static OrtStatus *constant(const OrtApi *api, const OrtKernelInfo *info, size_t index, size_t wanted, const float **data)
{
    size_t count;
    TRY(constant_input(api, info, index, (const void **)data, NULL, 0, &count));
    return count == wanted ? NULL : refused(api, "the constants of frames have another size");
}

static OrtStatus *number(const OrtApi *api, const OrtKernelInfo *info, size_t index, float *out)
{
    const float *value;
    TRY(constant(api, info, index, 1, &value));
    *out = *value;
    return NULL;
}

/* The window is the matrix's first column; the rest of it must be the transform that is computed here. */
static OrtStatus *learn_window(Kernel *kernel, const OrtApi *api, const OrtKernelInfo *info)
{
    const float *matrix;
    TRY(constant(api, info, ANALYSIS, (size_t)WINDOW * 2 * BINS, &matrix));
    const double turn = 2 * 3.14159265358979323846 / WINDOW;
    for (int k = 0; k < WINDOW; k++)
        kernel->turn_re[k] = (float)cos(turn * k), kernel->turn_im[k] = (float)-sin(turn * k);
    for (int n = 0; n < WINDOW; n++) {
        const float *row = matrix + (size_t)n * 2 * BINS;
        float window = kernel->window[n] = row[0];
        for (int k = 0; k < BINS; k++) {
            int angle = n * k % WINDOW;
            if (!(fabsf(row[k] - window * kernel->turn_re[angle]) < 1e-5f) ||
                !(fabsf(row[BINS + k] - window * kernel->turn_im[angle]) < 1e-5f))
                return refused(api, "frames want the Fourier transform of a window");
        }
    }
    return NULL;
}

static OrtStatus *learn(Kernel *kernel, const OrtApi *api, const OrtKernelInfo *info)
{
    const float *pulse, *same;
    TRY(number(api, info, TURNS_PER_HZ, &kernel->turns_per_hz));
    TRY(number(api, info, HALF_WIDTH, &kernel->half_width));
    TRY(number(api, info, RESOLUTION, &kernel->resolution));
    TRY(number(api, info, LAST_PLACE, &kernel->last_place));
    TRY(number(api, info, LAST_ENTRY, &kernel->last_entry));
    TRY(number(api, info, SAMPLE_RATE_HZ, &kernel->sample_rate_hz));
    TRY(number(api, info, LEAST_FILTER, &kernel->least_filter));
    TRY(number(api, info, MOST_FILTER, &kernel->most_filter));
    TRY(constant(api, info, PULSE, ENTRIES, &pulse));
    TRY(constant(api, info, SAME_PULSE, ENTRIES, &same));
    if (kernel->last_entry != ENTRIES - 2 || memcmp(pulse, same, sizeof kernel->pulse))
        return refused(api, "frames want one pulse of 1025 entries");
    memcpy(kernel->pulse, pulse, sizeof kernel->pulse);
    return learn_window(kernel, api, info);
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
        free(kernel);
    else
        *out = kernel;
    return status;
}

static void destroy(void *state) { free(state); }
static const char *name(const OrtCustomOp *op)
{
    (void)op;
    return "Frames";
}
static size_t input_count(const OrtCustomOp *op) { (void)op; return INPUTS; }
static size_t output_count(const OrtCustomOp *op) { (void)op; return 3; }
static int input_type(const OrtCustomOp *op, size_t at)
{
    (void)op;
    return at == PHASE || (at >= ALL_FRAMES && at <= FRAMES_OF_ROW) ? ORT_INT64 : ORT_FLOAT;
}
static int output_type(const OrtCustomOp *op, size_t at) { (void)op; return at == 1 ? ORT_INT64 : ORT_FLOAT; }

const OrtCustomOp FRAMES = {
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
