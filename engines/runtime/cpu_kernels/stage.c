/* `parlando.DecoderStage`: ELU, upsampling and a residual block of a SEANet decoder in one kernel (docs/decisions/0018).
 *
 * Written out, four fifths of a stage's time go to ELU, quantisation and the laying of windows side by side, each a walk
 * over activations that do not fit the cache. Here some steps of one stream go through all of it at once. A stream is
 * computed by itself and step by step in one order, so its bits depend neither on its neighbours nor on how it was cut.
 * Sums of products are of integers and exact. */
#include "stage.h"
#include "operator.h"

#include <stdlib.h>
#include <string.h>

enum { STAGE_PARALLEL_FROM = 2 };

static OrtStatus *compute(void *state, OrtKernelContext *context)
{
    const Stage *stage = state;
    const OrtApi *api = stage->api;
    StageCall call = {.stage = stage};
    int64_t x[3], up_past[3], narrow_past[3];
    TRY(input(api, context, STAGE_X, (const void **)&call.x, x, 3));
    TRY(input(api, context, UP_PAST, (const void **)&call.up_past, up_past, 3));
    TRY(input(api, context, NARROW_PAST, (const void **)&call.narrow_past, narrow_past, 3));
    if (x[2] != (int64_t)stage->inputs || x[1] < 1 || up_past[0] != x[0] || up_past[1] != UP_TAPS - 1 || up_past[2] != x[2] ||
        narrow_past[0] != x[0] || narrow_past[1] != NARROW_TAPS - 1 || narrow_past[2] != (int64_t)stage->width)
        return refused(api, "the inputs of a stage do not fit each other");
    call.steps = (size_t)x[1];
    int64_t out[3] = {x[0], x[1] * (int64_t)stage->ratio, (int64_t)stage->width};
    if (out[1] < NARROW_TAPS - 1)
        return refused(api, "a stage makes at least two steps of each");
    TRY(output(api, context, 0, out, 3, (void **)&call.out));
    TRY(output(api, context, 1, up_past, 3, (void **)&call.up_later));
    TRY(output(api, context, 2, narrow_past, 3, (void **)&call.narrow_later));
    size_t rows = (size_t)x[0];
    if (rows >= STAGE_PARALLEL_FROM)
        TRY(api->KernelContext_ParallelFor(context, stage->form->stage, rows, 0, &call));
    else if (rows)
        stage->form->stage(&call, 0);
    return call.out_of_memory ? refused(api, "no memory") : NULL;
}

static OrtStatus *learn_product(Stage *stage, const OrtApi *api, const OrtKernelInfo *info, size_t index, int64_t *shape,
                                Weights **out)
{
    const int8_t *given;
    size_t count;
    TRY(constant_input(api, info, index, (const void **)&given, shape, 2, &count));
    if (shape[0] < 1 || shape[1] < 1 || shape[0] % DEPTH_STEP || shape[0] > MAX_STAGE_WIDTH ||
        shape[1] > MAX_STAGE_WIDTH * MAX_RATIO)
        return refused(api, "a stage's products are at most 2048 deep, multiples of 4");
    *out = weights_pack(stage->form, given, (int)shape[0], (int)shape[1]);
    return *out ? NULL : refused(api, "no memory");
}

static OrtStatus *learn(Stage *stage, const OrtApi *api, const OrtKernelInfo *info)
{
    int64_t up[2], narrow[2], back[2];
    TRY(learn_product(stage, api, info, UP, up, &stage->up));
    TRY(learn_product(stage, api, info, NARROW, narrow, &stage->narrow));
    TRY(learn_product(stage, api, info, BACK, back, &stage->back));
    if (up[0] % UP_TAPS || narrow[0] != NARROW_TAPS * back[1] || narrow[1] != back[0] || up[1] % back[1] ||
        up[1] / back[1] < 2 || up[1] / back[1] > MAX_RATIO)
        return refused(api, "the products of a stage do not fit each other");
    stage->inputs = (size_t)up[0] / UP_TAPS, stage->width = (size_t)back[1], stage->hidden = (size_t)back[0];
    stage->ratio = (size_t)(up[1] / back[1]);
    const size_t counts[STAGE_INPUTS] = {
        [UP_STEP] = 1, [UP_SCALES] = (size_t)up[1], [UP_BIAS] = (size_t)up[1], [BACK_BIAS] = stage->width,
        [NARROW_STEP] = 1, [NARROW_SCALES] = stage->hidden, [NARROW_BIAS] = stage->hidden,
        [BACK_STEP] = 1, [BACK_SCALES] = stage->width,
    };
    for (size_t at = UP_STEP; at < STAGE_INPUTS; at++)
        if (counts[at])
            TRY(copied_floats(api, info, at, counts[at], &stage->floats[at]));
    TRY(zero_points(api, info, UP_ZERO, 1));
    TRY(zero_points(api, info, UP_ZEROS, (size_t)up[1]));
    TRY(zero_points(api, info, NARROW_ZERO, 1));
    TRY(zero_points(api, info, NARROW_ZEROS, stage->hidden));
    TRY(zero_points(api, info, BACK_ZERO, 1));
    return zero_points(api, info, BACK_ZEROS, stage->width);
}

static void destroy(void *state)
{
    Stage *stage = state;
    Weights *products[] = {stage->up, stage->narrow, stage->back};
    for (size_t at = 0; at < sizeof products / sizeof *products; at++)
        if (products[at])
            weights_release(products[at]);
    for (int at = 0; at < STAGE_INPUTS; at++)
        free(stage->floats[at]);
    free(stage);
}

static OrtStatus *create(const Form *form, const OrtApi *api, const OrtKernelInfo *info, void **out)
{
    Stage *stage = calloc(1, sizeof *stage);
    if (!stage)
        return refused(api, "no memory");
    stage->api = api, stage->form = form;
    OrtStatus *status = learn(stage, api, info);
    if (status)
        destroy(stage);
    else
        *out = stage;
    return status;
}

static const unsigned char inputs[STAGE_INPUTS] = {
    ORT_FLOAT, ORT_FLOAT, ORT_FLOAT, [UP_STEP] = ORT_FLOAT, [UP_ZERO] = ORT_INT8, [UP] = ORT_INT8, [UP_SCALES] = ORT_FLOAT,
    [UP_ZEROS] = ORT_INT8, [UP_BIAS] = ORT_FLOAT, [BACK_BIAS] = ORT_FLOAT, [NARROW_STEP] = ORT_FLOAT,
    [NARROW_ZERO] = ORT_INT8, [NARROW] = ORT_INT8, [NARROW_SCALES] = ORT_FLOAT, [NARROW_ZEROS] = ORT_INT8,
    [NARROW_BIAS] = ORT_FLOAT, [BACK_STEP] = ORT_FLOAT, [BACK_ZERO] = ORT_INT8, [BACK] = ORT_INT8,
    [BACK_SCALES] = ORT_FLOAT, [BACK_ZEROS] = ORT_INT8,
};
static const unsigned char outputs[] = {ORT_FLOAT, ORT_FLOAT, ORT_FLOAT};
const Kind STAGE = {"DecoderStage", inputs, outputs, STAGE_INPUTS, 3, create, compute, destroy};
