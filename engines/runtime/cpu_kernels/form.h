/* A form of the kernels: the same arithmetic for one class of processors. Every form is compiled, one runs.
 *
 * form_avx2.c and form_avx512.c compile the same sources (attend.h, strips.h, tile.h, stage_rows.h, closing_steps.h,
 * window_rows.h, spectra.h) over a vector of LANES floats (wide.h). */
#ifndef PARLANDO_FORM_H
#define PARLANDO_FORM_H

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__) && defined(__GNUC__)
#define OFFERED
#endif
#ifdef __GNUC__
#define HIDDEN __attribute__((visibility("hidden"))) /* from all that load the library */
#else
#define HIDDEN
#endif

struct Product;
struct FramesCall;

typedef struct Form {
    const char *name;
    int lanes;     /* floats of a vector */
    int columns;   /* of a strip of packed weights */
    int step;      /* consecutive weights of a column that lie together */
    int flip;      /* bits of every packed weight that are turned over */
    void (*attend)(void *attention_call, size_t cached_head);
    void (*attend_half)(void *attention_call, size_t cached_head);
    size_t (*rows_size)(size_t count, size_t depth); /* bytes of quantised rows */
    void (*quantise)(const float *x, size_t count, size_t depth, float step, void *rows);
    void (*strip)(void *product, size_t index);
    void (*tile)(void *block_call, size_t index);
    void (*stage)(void *stage_call, size_t row);
    void (*closing)(void *closing_call, size_t row);
    void (*window)(void *window_call, size_t row);
    void (*pulses)(const struct FramesCall *call, size_t row);
    void (*spectra)(const struct FramesCall *call, size_t first);
} Form;

HIDDEN extern const Form FORM_AVX512, FORM_AVX2;

#endif
