/* `parlando.CausalBlock`: a causal ConvNeXt block of the vocoder in one kernel (models/streaming.py, docs/decisions/0015).
 *
 * Written out, the graph goes over its activations some fifty times a block, a few microseconds each whatever they hold.
 * Every row is computed by itself: its bits do not depend on its neighbours, nor on how a stream was cut into chunks.
 * Sums of products are of integers and exact; the rest is float in an order of its own, so last bits differ from those of
 * the runtime's nodes, but not from form to form. */
#include "block.h"
#include "operator.h"

#include <stdlib.h>
#include <string.h>

enum { PARALLEL_FROM = 64, FLOATS = OUT_SCALE + 1 };

static OrtStatus *compute(void *state, OrtKernelContext *context)
{
    const Block *block = state;
    const OrtApi *api = block->api;
    BlockCall call = {.block = block};
    int64_t x[3], past[3];
    TRY(input(api, context, X, (const void **)&call.x, x, 3));
    TRY(input(api, context, STATE, (const void **)&call.state, past, 3));
    if (x[2] != (int64_t)block->width || past[2] != x[2] || past[1] != CONTEXT || past[0] != x[0])
        return refused(api, "the inputs of a block do not fit each other");
    float *later;
    TRY(output(api, context, 0, x, 3, (void **)&call.out));
    TRY(output(api, context, 1, past, 3, (void **)&later));
    call.steps = (size_t)x[1];
    call.tiles = (call.steps + TILE - 1) / TILE;
    for (size_t row = 0; row < (size_t)x[0]; row++)
        for (size_t at = 0; at < CONTEXT; at++, later += block->width)
            memcpy(later, step_of(&call, row, (ptrdiff_t)(call.steps + at) - CONTEXT), block->width * sizeof(float));
    size_t tiles = call.tiles * (size_t)x[0];
    if (call.steps * (size_t)x[0] >= PARALLEL_FROM)
        return api->KernelContext_ParallelFor(context, block->form->tile, tiles, 0, &call);
    for (size_t tile = 0; tile < tiles; tile++)
        block->form->tile(&call, tile);
    return NULL;
}

/* Both matrices by their shapes: one that lies transposed has as many elements. */
static OrtStatus *learn_products(Block *block, const OrtApi *api, const OrtKernelInfo *info)
{
    const int8_t *first, *second;
    int64_t shape[2], other[2];
    size_t count;
    TRY(constant_input(api, info, FIRST, (const void **)&first, shape, 2, &count));
    TRY(constant_input(api, info, SECOND, (const void **)&second, other, 2, &count));
    if (shape[0] % WIDTH_STEP || shape[1] % WIDTH_STEP || shape[0] < 1 || shape[1] < 1 || shape[0] > MAX_WIDTH ||
        shape[1] > MAX_HIDDEN)
        return refused(api, "a block is at most 256 wide and 768 inside, multiples of 16");
    if (other[0] != shape[1] || other[1] != shape[0])
        return refused(api, "the second product of a block must lead back to its width");
    block->width = (size_t)shape[0], block->hidden = (size_t)shape[1];
    block->first = weights_pack(block->form, first, (int)shape[0], (int)shape[1]);
    block->second = weights_pack(block->form, second, (int)shape[1], (int)shape[0]);
    return block->first && block->second ? NULL : refused(api, "no memory");
}

static OrtStatus *learn(Block *block, const OrtApi *api, const OrtKernelInfo *info)
{
    TRY(learn_products(block, api, info));
    size_t width = block->width, hidden = block->hidden;
    for (size_t at = TAP_0; at < FLOATS; at++) {
        size_t wanted = at == FIRST_STEP || at == SECOND_STEP ? 1 : at == FIRST_SCALES || at == FIRST_BIAS ? hidden : width;
        if (at == FIRST_ZERO || at == SECOND_ZERO)
            TRY(zero_points(api, info, at, 1));
        else if (at == FIRST_ZEROS || at == SECOND_ZEROS)
            TRY(zero_points(api, info, at, at == FIRST_ZEROS ? hidden : width));
        else if (at != FIRST && at != SECOND)
            TRY(copied_floats(api, info, at, wanted, &block->floats[at]));
    }
    return NULL;
}

static void destroy(void *state)
{
    Block *block = state;
    if (block->first)
        weights_release(block->first);
    if (block->second)
        weights_release(block->second);
    for (int at = 0; at < FLOATS; at++)
        free(block->floats[at]);
    free(block);
}

static OrtStatus *create(const Form *form, const OrtApi *api, const OrtKernelInfo *info, void **out)
{
    Block *block = calloc(1, sizeof *block);
    if (!block)
        return refused(api, "no memory");
    block->api = api, block->form = form;
    OrtStatus *status = learn(block, api, info);
    if (status)
        destroy(block);
    else
        *out = block;
    return status;
}

static const unsigned char inputs[BLOCK_INPUTS] = {
    /* X to TAP_1 */ ORT_FLOAT, ORT_FLOAT, ORT_FLOAT, ORT_FLOAT, ORT_FLOAT,
    /* to NORM_SCALE */ ORT_FLOAT, ORT_FLOAT, ORT_FLOAT, ORT_FLOAT, ORT_FLOAT, ORT_FLOAT,
    [NORM_BIAS] = ORT_FLOAT, [FIRST_STEP] = ORT_FLOAT, [FIRST_ZERO] = ORT_INT8, [FIRST] = ORT_INT8,
    [FIRST_SCALES] = ORT_FLOAT, [FIRST_ZEROS] = ORT_INT8, [FIRST_BIAS] = ORT_FLOAT, [SECOND_STEP] = ORT_FLOAT,
    [SECOND_ZERO] = ORT_INT8, [SECOND] = ORT_INT8, [SECOND_SCALES] = ORT_FLOAT, [SECOND_ZEROS] = ORT_INT8,
    [SECOND_BIAS] = ORT_FLOAT, [OUT_SCALE] = ORT_FLOAT,
};
static const unsigned char outputs[] = {ORT_FLOAT, ORT_FLOAT};
const Kind BLOCK = {"CausalBlock", inputs, outputs, BLOCK_INPUTS, 2, create, compute, destroy};
