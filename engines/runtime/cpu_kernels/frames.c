/* `parlando.Frames`: pulses and noise, their windows' spectra, and the filters over them (models/excitation.py and
 * `Decoder.frames`, docs/decisions/0015).
 *
 *     z[n] = window[n] (pulses[n] + i noise[n]), one transform of 512 for both, as many frames as a vector has lanes
 *
 * Written out, the graph multiplies each window twice by a matrix of 512 x 514, fifty times the arithmetic. The transform
 * is Stockham's (radix 4, one pass of radix 2), whose passes leave everything in order. A lane is one frame, computed by
 * itself: its bits do not depend on the others. The phase is whole numbers modulo 2^32, exact in any chunk. */
#include "frames.h"
#include "operator.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static OrtStatus *outputs(const OrtApi *api, OrtKernelContext *context, FramesCall *call, float **tail)
{
    int64_t rows = (int64_t)call->rows;
    TRY(output(api, context, 0, (int64_t[]){rows, (int64_t)call->frames, 2, BINS}, 4, (void **)&call->spectrum));
    TRY(output(api, context, 1, &rows, 1, (void **)&call->later_phase));
    return output(api, context, 2, (int64_t[]){rows, LOOK_BACK}, 2, (void **)tail);
}

static OrtStatus *compute(void *state, OrtKernelContext *context)
{
    const Frames *kernel = state;
    const OrtApi *api = kernel->api;
    FramesCall call = {.kernel = kernel};
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
    size_t lanes = (size_t)kernel->form->lanes, row_samples = LOOK_BACK + call.frames * HOP;
    size_t passes = WINDOW * 2 * sizeof(float) * lanes;
    char *scratch = aligned_alloc(64, (2 * passes + call.rows * row_samples * sizeof(float) + 63) / 64 * 64);
    if (!scratch)
        return refused(api, "no memory");
    call.passes[0] = scratch, call.passes[1] = (scratch + passes);
    call.samples = (float *)(scratch + 2 * passes);
    for (size_t row = 0; row < call.rows; row++) {
        kernel->form->pulses(&call, row);
        memcpy(later + row * LOOK_BACK, call.samples + row * row_samples + call.frames * HOP, LOOK_BACK * sizeof(float));
    }
    for (size_t first = 0; first < call.rows * call.frames; first += lanes)
        kernel->form->spectra(&call, first);
    free(scratch);
    return NULL;
}

static OrtStatus *number(const OrtApi *api, const OrtKernelInfo *info, size_t index, float *out)
{
    const float *value;
    TRY(constant(api, info, index, 1, (const void **)&value));
    *out = *value;
    return NULL;
}

/* The window is the matrix's first column; the rest of it must be the transform that is computed here. */
static OrtStatus *learn_window(Frames *kernel, const OrtApi *api, const OrtKernelInfo *info)
{
    const float *matrix;
    TRY(constant(api, info, ANALYSIS, (size_t)WINDOW * 2 * BINS, (const void **)&matrix));
    const double step = 2 * 3.14159265358979323846 / WINDOW;
    for (int k = 0; k < WINDOW; k++)
        kernel->root_re[k] = (float)cos(step * k), kernel->root_im[k] = (float)-sin(step * k);
    for (int n = 0; n < WINDOW; n++) {
        const float *row = matrix + (size_t)n * 2 * BINS;
        float window = kernel->window[n] = row[0];
        for (int k = 0; k < BINS; k++) {
            int angle = n * k % WINDOW;
            if (!(fabsf(row[k] - window * kernel->root_re[angle]) < 1e-5f) ||
                !(fabsf(row[BINS + k] - window * kernel->root_im[angle]) < 1e-5f))
                return refused(api, "frames want the Fourier transform of a window");
        }
    }
    return NULL;
}

static OrtStatus *learn(Frames *kernel, const OrtApi *api, const OrtKernelInfo *info)
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
    TRY(constant(api, info, PULSE, ENTRIES, (const void **)&pulse));
    TRY(constant(api, info, SAME_PULSE, ENTRIES, (const void **)&same));
    if (!(kernel->least_filter >= -87) || !(kernel->most_filter <= 88))
        return refused(api, "filters must lie between e^-87 and e^88");
    if (kernel->last_entry != ENTRIES - 2 || memcmp(pulse, same, sizeof kernel->pulse))
        return refused(api, "frames want one pulse of 1025 entries");
    memcpy(kernel->pulse, pulse, sizeof kernel->pulse);
    return learn_window(kernel, api, info);
}

static OrtStatus *create(const Form *form, const OrtApi *api, const OrtKernelInfo *info, void **out)
{
    Frames *kernel = calloc(1, sizeof *kernel);
    if (!kernel)
        return refused(api, "no memory");
    kernel->api = api, kernel->form = form;
    OrtStatus *status = learn(kernel, api, info);
    if (status)
        free(kernel);
    else
        *out = kernel;
    return status;
}

static void destroy(void *state) { free(state); }

static const unsigned char inputs[FRAMES_INPUTS] = {
    [F0_HZ] = ORT_FLOAT, [VOICED] = ORT_FLOAT, [FILTERS] = ORT_FLOAT, [PHASE] = ORT_INT64, [TAIL] = ORT_FLOAT,
    [NOISE] = ORT_FLOAT, [ALL_FRAMES] = ORT_INT64, [ROWS] = ORT_INT64, [FRAMES_OF_ROW] = ORT_INT64,
    [TURNS_PER_HZ] = ORT_FLOAT, [HALF_WIDTH] = ORT_FLOAT, [RESOLUTION] = ORT_FLOAT, [ZERO] = ORT_FLOAT,
    [LAST_PLACE] = ORT_FLOAT, [LAST_ENTRY] = ORT_FLOAT, [PULSE] = ORT_FLOAT, [SAME_PULSE] = ORT_FLOAT,
    [SAMPLE_RATE_HZ] = ORT_FLOAT, [LEAST_FILTER] = ORT_FLOAT, [MOST_FILTER] = ORT_FLOAT, [ANALYSIS] = ORT_FLOAT,
};
static const unsigned char outputs_of[] = {ORT_FLOAT, ORT_INT64, ORT_FLOAT};
const Kind FRAMES = {"Frames", inputs, outputs_of, FRAMES_INPUTS, 3, create, compute, destroy};
