/* `parlando.DecoderClosing`: ELU and the last convolution of a SEANet decoder, to one channel, in float.
 *
 * Each sample is a sum over one window in one order, so it depends on nothing else of the call. */
#include "closing.h"
#include "operator.h"

#include <stdlib.h>

static OrtStatus *compute(void *state, OrtKernelContext *context)
{
    const Closing *closing = state;
    const OrtApi *api = closing->api;
    ClosingCall call = {.closing = closing};
    int64_t x[3], past[3];
    TRY(input(api, context, CLOSING_X, (const void **)&call.x, x, 3));
    TRY(input(api, context, CLOSING_PAST, (const void **)&call.past, past, 3));
    if (x[2] != (int64_t)closing->width || past[2] != x[2] || past[1] != CLOSING_TAPS - 1 || past[0] != x[0])
        return refused(api, "the inputs of the last convolution do not fit each other");
    int64_t out[3] = {x[0], x[1], 1};
    TRY(output(api, context, 0, out, 3, (void **)&call.out));
    TRY(output(api, context, 1, past, 3, (void **)&call.later));
    call.steps = (size_t)x[1];
    if (x[0] > 1)
        return api->KernelContext_ParallelFor(context, closing->form->closing, (size_t)x[0], 0, &call);
    if (x[0])
        closing->form->closing(&call, 0);
    return NULL;
}

static void destroy(void *state)
{
    Closing *closing = state;
    free(closing->weight);
    free(closing);
}

static OrtStatus *learn(Closing *closing, const OrtApi *api, const OrtKernelInfo *info)
{
    const float *given;
    int64_t shape[2];
    size_t count;
    TRY(constant_input(api, info, CLOSING_WEIGHT, (const void **)&given, shape, 2, &count));
    if (shape[1] != 1 || shape[0] < 1 || shape[0] % CLOSING_TAPS || shape[0] / CLOSING_TAPS > MAX_CLOSING_WIDTH)
        return refused(api, "the last convolution is of three steps, at most 128 wide, and makes one channel");
    closing->width = (size_t)shape[0] / CLOSING_TAPS;
    TRY(copied_floats(api, info, CLOSING_WEIGHT, count, &closing->weight));
    TRY(constant(api, info, CLOSING_BIAS, 1, (const void **)&given));
    closing->bias = *given;
    return NULL;
}

static OrtStatus *create(const Form *form, const OrtApi *api, const OrtKernelInfo *info, void **out)
{
    Closing *closing = calloc(1, sizeof *closing);
    if (!closing)
        return refused(api, "no memory");
    closing->api = api, closing->form = form;
    OrtStatus *status = learn(closing, api, info);
    if (status)
        destroy(closing);
    else
        *out = closing;
    return status;
}

static const unsigned char inputs[CLOSING_INPUTS] = {ORT_FLOAT, ORT_FLOAT, ORT_FLOAT, ORT_FLOAT};
static const unsigned char outputs[] = {ORT_FLOAT, ORT_FLOAT};
const Kind CLOSING = {"DecoderClosing", inputs, outputs, CLOSING_INPUTS, 2, create, compute, destroy};
