/* All kernels of one form; its file has set LANES and the instructions that the compiler may use. */
#define INLINE static inline __attribute__((always_inline))

#include "attention.h"
#include "block.h"
#include "closing.h"
#include "frames.h"
#include "products.h"
#include "stage.h"
#include "window.h"

#include "wide.h"

#include "strips.h"
#include "tile.h"
#include "stage_rows.h"
#include "closing_steps.h"
#include "spectra.h"

#define CACHED float
#define NAMED(name) name
#include "attend.h"
#undef CACHED
#undef NAMED
#include "window_rows.h"
#define HALF
#define CACHED uint16_t
#define NAMED(name) name##_half
#include "attend.h"

const Form FORM = {
    .name = FORM_NAME,
    .lanes = LANES,
    .columns = STRIP,
    .step = STEP,
    .flip = LANES == 8 ? 0x80 : 0,
    .attend = one_cached_head,
    .attend_half = one_cached_head_half,
    .rows_size = rows_size,
    .quantise = quantise_rows,
    .strip = one_strip,
    .tile = one_tile,
    .stage = one_stage,
    .closing = one_closing,
    .window = one_window,
    .pulses = make_pulses,
    .spectra = make_frames,
};
