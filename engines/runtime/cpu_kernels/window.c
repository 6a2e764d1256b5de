/* `parlando.DecoderAttention`: the attention of a codec's decoder, whose queries see a fixed number of steps back.
 *
 * The runtime's nodes rotate, join, transpose, mask and cut in fifteen walks over small tensors. Here a head of one
 * stream goes through all of it in the first-level cache. A query's sums go from its oldest key on, so its bits depend
 * on its place alone, not on the call that it came with, nor on other streams. */
#include "window.h"
#include "operator.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    const OrtApi *api;
    const Form *form;
} Kernel;

static OrtStatus *compute(void *state, OrtKernelContext *context)
{
    const Kernel *kernel = state;
    const OrtApi *api = kernel->api;
    WindowCall call = {0};
    int64_t packed[4], keys[4], values[4], positions[1], cosines[2], sines[2];
    TRY(input(api, context, WINDOW_PACKED, (const void **)&call.packed, packed, 4));
    TRY(input(api, context, PAST_KEYS, (const void **)&call.past[0], keys, 4));
    TRY(input(api, context, PAST_VALUES, (const void **)&call.past[1], values, 4));
    TRY(input(api, context, POSITIONS, (const void **)&call.positions, positions, 1));
    TRY(input(api, context, COSINES, (const void **)&call.cosines, cosines, 2));
    TRY(input(api, context, SINES, (const void **)&call.sines, sines, 2));
    int64_t rows = packed[0], steps = packed[1], heads = keys[1], kept = keys[2], dim = keys[3];
    if (memcmp(keys, values, sizeof keys) || keys[0] != rows || positions[0] != rows || packed[2] != 3 * heads ||
        packed[3] != dim || memcmp(cosines, sines, sizeof cosines) || cosines[1] * 2 != dim)
        return refused(api, "the inputs of a decoder's attention do not fit each other");
    if ((dim != 32 && dim != 64) || kept < 1 || kept >= MAX_WINDOW)
        return refused(api, "a decoder's heads are 32 or 64 wide and see at most 512 steps");
    for (int64_t row = 0; row < rows; row++)
        if (call.positions[row] < 0 || call.positions[row] + steps > cosines[0])
            return refused(api, "a step lies behind the rotary tables");
    call.steps = (size_t)steps, call.heads = (size_t)heads, call.dim = (size_t)dim, call.kept = (size_t)kept;
    int64_t mixed[4] = {rows, steps, heads, dim};
    TRY(output(api, context, 0, mixed, 4, (void **)&call.mixed));
    TRY(output(api, context, 1, keys, 4, (void **)&call.later[0]));
    TRY(output(api, context, 2, keys, 4, (void **)&call.later[1]));
    if (rows > 1)
        TRY(api->KernelContext_ParallelFor(context, kernel->form->window, (size_t)rows, 0, &call));
    else if (rows)
        kernel->form->window(&call, 0);
    return call.out_of_memory ? refused(api, "no memory") : NULL;
}

static OrtStatus *create(const Form *form, const OrtApi *api, const OrtKernelInfo *info, void **out)
{
    (void)info;
    Kernel *kernel = malloc(sizeof *kernel);
    if (!kernel)
        return refused(api, "no memory");
    *kernel = (Kernel){.api = api, .form = form};
    *out = kernel;
    return NULL;
}

static void destroy(void *kernel) { free(kernel); }

static const unsigned char inputs[WINDOW_INPUTS] = {ORT_FLOAT, ORT_FLOAT, ORT_FLOAT, ORT_INT64,
                                                    ORT_FLOAT, ORT_FLOAT, ORT_FLOAT, ORT_FLOAT};
static const unsigned char outputs[] = {ORT_FLOAT, ORT_FLOAT, ORT_FLOAT};
const Kind DECODER_ATTENTION = {"DecoderAttention", inputs, outputs, WINDOW_INPUTS, 3, create, compute, destroy};
