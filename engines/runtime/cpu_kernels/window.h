/* One call of attention over a window of the last steps: window.c reads the node, window_rows.h computes. */
#ifndef PARLANDO_WINDOW_H
#define PARLANDO_WINDOW_H

#include "form.h"

enum { MAX_WINDOW = 512 }; /* steps that a query sees, itself included */

/* Of the node, in the order that models/exporting/pocket/folding.py makes of the exporter's graph. */
enum { WINDOW_PACKED, PAST_KEYS, PAST_VALUES, POSITIONS, NEAR, FAR, COSINES, SINES, WINDOW_INPUTS };

typedef struct {
    const float *packed;                /* [rows, steps, 3 * heads, dim]: queries, keys, values */
    const float *past[2];               /* keys rotated, and values: [rows, heads, kept, dim] */
    const int64_t *positions;           /* [rows]: of the first step */
    const float *cosines, *sines;       /* [places, dim / 2] */
    float *mixed, *later[2];            /* [rows, steps, heads, dim]; as `past` */
    size_t steps, heads, dim, kept;
    int out_of_memory;
} WindowCall;

#endif
