/* One call of a decoder's last convolution: closing.c reads the node, closing_steps.h computes. */
#ifndef PARLANDO_CLOSING_H
#define PARLANDO_CLOSING_H

#include "form.h"

enum { CLOSING_TAPS = 3, CLOSING_STEPS = 64, MAX_CLOSING_WIDTH = 128 };

/* Of the node, in the order that models/exporting/pocket/folding.py makes of the exporter's graph. */
enum { CLOSING_X, CLOSING_PAST, CLOSING_WEIGHT, CLOSING_BIAS, CLOSING_INPUTS };

typedef struct {
    const void *api;
    const Form *form;
    size_t width;
    float *weight, bias; /* [taps * width] */
} Closing;

typedef struct {
    const Closing *closing;
    const float *x, *past; /* [rows, steps, width], [rows, taps - 1, width] */
    float *out, *later;    /* [rows, steps, 1] */
    size_t steps;
} ClosingCall;

#endif
