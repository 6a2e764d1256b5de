/* Products of a few int8 rows with packed int8 weights, for every operator that has one in it: products.c. */
#ifndef PARLANDO_PRODUCTS_H
#define PARLANDO_PRODUCTS_H

#include <stddef.h>
#include <stdint.h>

typedef struct Weights {
    struct Weights *next;
    int users, depth, columns, strips;
    int32_t *sums;  /* [strips * 64] */
    int8_t *packed; /* [strips][depth / 4][64 columns][4], 0 beyond the last column */
} Weights;

typedef struct {
    const Weights *weights;
    const uint8_t *rows; /* [count, depth] */
    const float *column_scales;
    float row_scale, *out; /* [count, columns] */
    int32_t zero;
    int count, shared_scale; /* one scale for all columns */
} Product;

/* given [depth, columns], the depth a multiple of 4; NULL without memory. Equal weights are one packed copy. */
HIDDEN Weights *parlando_pack(const int8_t *given, int depth, int columns);
HIDDEN void parlando_release(Weights *weights);
/* One strip of a `Product`. */
HIDDEN void parlando_strip(void *product, size_t index);

#endif
