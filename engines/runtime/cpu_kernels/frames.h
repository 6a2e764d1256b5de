/* One call for frames: frames.c reads the node, spectra.h computes. */
#ifndef PARLANDO_FRAMES_H
#define PARLANDO_FRAMES_H

#include "form.h"

enum { HOP = 160, WINDOW = 512, LOOK_BACK = WINDOW - HOP, BINS = WINDOW / 2 + 1, ENTRIES = 1025 };

/* Of the node, in the order that models/fold_vocoder.py writes. */
enum {
    F0_HZ, VOICED, FILTERS, PHASE, TAIL, NOISE, ALL_FRAMES, ROWS, FRAMES_OF_ROW, TURNS_PER_HZ, HALF_WIDTH, RESOLUTION, ZERO,
    LAST_PLACE, LAST_ENTRY, PULSE, SAME_PULSE, SAMPLE_RATE_HZ, LEAST_FILTER, MOST_FILTER, ANALYSIS, FRAMES_INPUTS
};

typedef struct {
    const void *api;
    const Form *form;
    float window[WINDOW], pulse[ENTRIES];
    float turns_per_hz, half_width, resolution, last_place, last_entry, sample_rate_hz, least_filter, most_filter;
    float root_re[WINDOW], root_im[WINDOW]; /* e^(-2 pi i k / WINDOW) */
} Frames;

typedef struct FramesCall {
    const Frames *kernel;
    const float *f0_hz, *voiced, *filters, *tail, *noise;
    const int64_t *phase;
    float *samples, *spectrum; /* [rows, LOOK_BACK + frames * HOP]; [rows, frames, 2, BINS] */
    int64_t *later_phase;
    void *passes[2]; /* [WINDOW] each, of a complex number by lane */
    size_t rows, frames;
} FramesCall;

#endif
