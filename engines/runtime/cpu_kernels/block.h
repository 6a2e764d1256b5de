/* One call of a causal block: block.c reads the node, tile.h computes. */
#ifndef PARLANDO_BLOCK_H
#define PARLANDO_BLOCK_H

#include "products.h"

/* Steps that a block looks back and its own; rows that go through it at once; and the widest that is offered. */
enum { TAPS = 7, CONTEXT = TAPS - 1, TILE = 12, MAX_WIDTH = 256, MAX_HIDDEN = 768, WIDTH_STEP = 16 };

/* Of the node, in the order that models/fold_vocoder.py writes. */
enum {
    X, STATE, TAP_0, CONV_BIAS, TAP_1, /* to TAP_6 */
    NORM_SCALE = TAP_1 + 6, NORM_BIAS, FIRST_STEP, FIRST_ZERO, FIRST, FIRST_SCALES, FIRST_ZEROS, FIRST_BIAS,
    SECOND_STEP, SECOND_ZERO, SECOND, SECOND_SCALES, SECOND_ZEROS, SECOND_BIAS, OUT_SCALE, BLOCK_INPUTS
};

typedef struct {
    const void *api;
    const Form *form;
    size_t width, hidden;
    float *floats[BLOCK_INPUTS]; /* by input */
    Weights *first, *second;
} Block;

typedef struct {
    const Block *block;
    const float *x, *state; /* [rows, steps, width], [rows, CONTEXT, width] */
    float *out;
    size_t steps, tiles; /* tiles of one row */
} BlockCall;

/* Step `at` of a row, which may lie in the context. */
static inline const float *step_of(const BlockCall *call, size_t row, ptrdiff_t at)
{
    size_t width = call->block->width;
    if (at < 0)
        return call->state + (row * CONTEXT + (size_t)(CONTEXT + at)) * width;
    return call->x + (row * call->steps + (size_t)at) * width;
}

#endif
