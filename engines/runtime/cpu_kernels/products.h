/* Products of a few int8 rows with packed int8 weights, for every operator that has one in it: products.c. */
#ifndef PARLANDO_PRODUCTS_H
#define PARLANDO_PRODUCTS_H

#include "form.h"

typedef struct Weights {
    struct Weights *next;
    const Form *form;
    int users, depth, columns, strips;
    int32_t *sums;  /* [strips * form columns]: of each column */
    int8_t *packed; /* [strips][depth / step][form columns][step], 0 beyond the last column */
} Weights;

typedef struct Product {
    const Weights *weights;
    const void *rows; /* [count, depth], as the form quantises them */
    const float *column_scales;
    float row_scale, *out; /* [count, columns] */
    int count;
} Product;

enum { DEPTH_STEP = 4 }; /* the depth is a multiple of it: the largest step of a form */

/* given [depth, columns]; NULL without memory. Equal weights in one form are one packed copy. */
HIDDEN Weights *weights_pack(const Form *form, const int8_t *given, int depth, int columns);
HIDDEN void weights_release(Weights *weights);

#endif
