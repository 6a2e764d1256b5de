/* One call of a decoder's stage: stage.c reads the node, stage_rows.h computes. */
#ifndef PARLANDO_STAGE_H
#define PARLANDO_STAGE_H

#include "products.h"

/* Steps of the two convolutions that look back, steps that go through a stage at once, and the widest that is offered. */
enum { UP_TAPS = 2, NARROW_TAPS = 3, STAGE_ROWS = 96, MAX_STAGE_WIDTH = 2048, MAX_RATIO = 16 };

/* Of the node, in the order that models/exporting/pocket/folding.py makes of the exporter's graph. */
enum {
    STAGE_X, UP_PAST, NARROW_PAST, UP_STEP, UP_ZERO, UP, UP_SCALES, UP_ZEROS, UP_BIAS, BACK_BIAS,
    NARROW_STEP, NARROW_ZERO, NARROW, NARROW_SCALES, NARROW_ZEROS, NARROW_BIAS,
    BACK_STEP, BACK_ZERO, BACK, BACK_SCALES, BACK_ZEROS, STAGE_INPUTS
};

typedef struct {
    const void *api;
    const Form *form;
    size_t inputs, width, hidden, ratio; /* channels in, out, between; steps out of each step in */
    float *floats[STAGE_INPUTS];         /* by input */
    Weights *up, *narrow, *back;
} Stage;

typedef struct {
    const Stage *stage;
    const float *x, *up_past, *narrow_past; /* [rows, steps, inputs], [rows, 1, inputs], [rows, 2, width] */
    float *out, *up_later, *narrow_later;   /* [rows, steps * ratio, width], and what the next call looks back on */
    size_t steps;
    int out_of_memory;
} StageCall;

#endif
