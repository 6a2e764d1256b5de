/* One call of attention: attention.c reads the node, attend.h computes. */
#ifndef PARLANDO_ATTENTION_H
#define PARLANDO_ATTENTION_H

#include "form.h"

/* Positions of one tile of the softmax; query heads at once; and the widest head that is offered. */
enum { POSITIONS_AT_ONCE = 256, GROUP = 4, MAX_HEAD_DIM = 256 };

typedef struct {
    const float *packed; /* [rows, steps, (heads + 2 * kv_heads) * dim] */
    const void *past[2];
    void *present[2]; /* keys, values [rows, kv_heads, positions, dim]; may be the past itself */
    const float *cosine, *sine;
    const int32_t *last; /* [rows]: the place of a row's last step */
    float *mixed;        /* [rows, steps, heads * dim] */
    int heads, kv_heads, steps, dim, past_positions, positions;
} AttentionCall;

#endif
