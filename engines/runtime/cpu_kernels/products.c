/* `parlando.Product`: float rows, quantised here, by constant int8 weights (docs/decisions/0014, 0016).
 *
 * A strip of columns is one stream of memory; six rows go over it at once with their sums in registers, and the next six
 * find it in the cache. Graphs of one process that have the same weights share one packed copy of them. Sums are of
 * integers, so they are exact: results have the bits of the runtime's nodes, in every form. */
#include "operator.h"
#include "products.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 1 << 16, PARALLEL_FROM = 1 << 20 }; /* multiply-adds from which a second thread pays */

/* ---- Weights, as the form reads them ---- */

static Weights *all_weights;
static pthread_mutex_t sharing = PTHREAD_MUTEX_INITIALIZER; /* sessions come and go on any thread */

static void discard(Weights *weights)
{
    free(weights->sums);
    free(weights->packed);
    free(weights);
}

void weights_release(Weights *weights)
{
    pthread_mutex_lock(&sharing);
    int unused = --weights->users == 0;
    if (unused) {
        Weights **at = &all_weights;
        while (*at != weights)
            at = &(*at)->next;
        *at = weights->next;
    }
    pthread_mutex_unlock(&sharing);
    if (unused)
        discard(weights);
}

static size_t packed_size(const Weights *weights)
{
    return (size_t)weights->depth * (size_t)weights->strips * (size_t)weights->form->columns;
}

static Weights *packed(const Form *form, const int8_t *given, int depth, int columns)
{
    size_t width = (size_t)form->columns, step = (size_t)form->step, strips = ((size_t)columns + width - 1) / width;
    Weights *made = malloc(sizeof *made);
    if (!made)
        return NULL;
    *made = (Weights){.form = form, .users = 1, .depth = depth, .columns = columns, .strips = (int)strips};
    size_t size = packed_size(made);
    made->sums = calloc(strips * width, sizeof(int32_t));
    made->packed = aligned_alloc(64, (size + 63) / 64 * 64);
    if (!made->sums || !made->packed) {
        discard(made);
        return NULL;
    }
    memset(made->packed, 0, size);
    for (size_t k = 0; k < (size_t)depth; k++)
        for (size_t column = 0; column < (size_t)columns; column++) {
            int8_t value = given[k * (size_t)columns + column];
            size_t start = column / width * width * (size_t)depth + k / step * step * width;
            made->packed[start + column % width * step + k % step] = (int8_t)(value ^ form->flip);
            made->sums[column] += value;
        }
    return made;
}

Weights *weights_pack(const Form *form, const int8_t *given, int depth, int columns)
{
    Weights *made = packed(form, given, depth, columns);
    if (!made)
        return NULL;
    pthread_mutex_lock(&sharing);
    Weights *found = all_weights;
    while (found && (found->form != form || found->depth != depth || found->columns != columns ||
                     memcmp(found->packed, made->packed, packed_size(made))))
        found = found->next;
    if (found) {
        found->users++;
    } else {
        made->next = all_weights;
        all_weights = made;
    }
    pthread_mutex_unlock(&sharing);
    if (!found)
        return made;
    discard(made);
    return found;
}

/* For tests: how many packed weights there are. */
int parlando_packed_weights(void)
{
    int count = 0;
    pthread_mutex_lock(&sharing);
    for (Weights *one = all_weights; one; one = one->next)
        count++;
    pthread_mutex_unlock(&sharing);
    return count;
}

/* ---- The node ---- */

/* As models/fold_lm.py writes them; scales and zero points are one for the rows, and one a column for the weights. */
enum { ROWS, ROW_SCALE, ROW_ZERO, WEIGHTS, COLUMN_SCALES, COLUMN_ZEROS, INPUTS };

typedef struct {
    const OrtApi *api;
    Weights *weights;
    float row_scale, *column_scales;
} Kernel;

static OrtStatus *compute(void *state, OrtKernelContext *context)
{
    const Kernel *kernel = state;
    const OrtApi *api = kernel->api;
    const Weights *weights = kernel->weights;
    Product call = {.weights = weights, .row_scale = kernel->row_scale, .column_scales = kernel->column_scales};
    const float *given;
    int64_t rows[2];
    TRY(input(api, context, ROWS, (const void **)&given, rows, 2));
    if (rows[1] != weights->depth || rows[0] > INT32_MAX)
        return refused(api, "the inputs of a product do not fit each other");
    call.count = (int)rows[0];
    int64_t out[2] = {rows[0], weights->columns};
    TRY(output(api, context, 0, out, 2, (void **)&call.out));
    size_t count = (size_t)call.count, depth = (size_t)weights->depth;
    void *quantised = malloc(weights->form->rows_size(count, depth) + 1);
    if (!quantised)
        return refused(api, "no memory");
    weights->form->quantise(given, count, depth, kernel->row_scale, quantised);
    call.rows = quantised;
    OrtStatus *status = NULL;
    if (count * depth * (size_t)weights->columns > PARALLEL_FROM)
        status = api->KernelContext_ParallelFor(context, weights->form->strip, (size_t)weights->strips, 0, &call);
    else
        for (size_t strip = 0; strip < (size_t)weights->strips; strip++)
            weights->form->strip(&call, strip);
    free(quantised);
    return status;
}

static void destroy(void *state)
{
    Kernel *kernel = state;
    if (kernel->weights)
        weights_release(kernel->weights);
    free(kernel->column_scales);
    free(kernel);
}

static OrtStatus *learn(Kernel *kernel, const Form *form, const OrtKernelInfo *info)
{
    const OrtApi *api = kernel->api;
    const int8_t *given;
    const float *scales, *row_scale;
    int64_t shape[2];
    size_t count;
    TRY(constant_input(api, info, WEIGHTS, (const void **)&given, shape, 2, &count));
    if (shape[0] % DEPTH_STEP || shape[0] < 1 || shape[1] < 1 || shape[0] > MAX_DEPTH || shape[1] > INT32_MAX)
        return refused(api, "weights must have a multiple of 4 rows, at most 65536");
    size_t columns = (size_t)shape[1];
    TRY(constant(api, info, ROW_SCALE, 1, (const void **)&row_scale));
    TRY(zero_points(api, info, ROW_ZERO, 1));
    TRY(constant(api, info, COLUMN_SCALES, columns, (const void **)&scales));
    TRY(zero_points(api, info, COLUMN_ZEROS, columns));
    kernel->row_scale = *row_scale;
    kernel->column_scales = malloc(columns * sizeof *scales);
    kernel->weights = weights_pack(form, given, (int)shape[0], (int)shape[1]);
    if (!kernel->weights || !kernel->column_scales)
        return refused(api, "no memory");
    memcpy(kernel->column_scales, scales, columns * sizeof *scales);
    return NULL;
}

static OrtStatus *create(const Form *form, const OrtApi *api, const OrtKernelInfo *info, void **out)
{
    Kernel *kernel = calloc(1, sizeof *kernel);
    if (!kernel)
        return refused(api, "no memory");
    kernel->api = api;
    OrtStatus *status = learn(kernel, form, info);
    if (status)
        destroy(kernel);
    else
        *out = kernel;
    return status;
}

static const unsigned char inputs[INPUTS] = {ORT_FLOAT, ORT_FLOAT, ORT_INT8, ORT_INT8, ORT_FLOAT, ORT_INT8};
static const unsigned char outputs[] = {ORT_FLOAT};
const Kind PRODUCT = {"Product", inputs, outputs, INPUTS, 1, create, compute, destroy};
