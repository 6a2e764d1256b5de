/* What our operators share: a description that says everything but the arithmetic, and reading a node's inputs. */
#ifndef PARLANDO_OPERATOR_H
#define PARLANDO_OPERATOR_H

#include "form.h"
#include "ort_abi.h"

#define TRY(call)                      \
    do {                               \
        OrtStatus *status_ = (call);   \
        if (status_)                   \
            return status_;            \
    } while (0)

/* One operator, whatever form computes it. Types are ONNXTensorElementDataType. */
typedef struct {
    const char *name;
    const unsigned char *inputs, *outputs;
    size_t input_count, output_count;
    OrtStatus *(*create)(const Form *form, const OrtApi *api, const OrtKernelInfo *info, void **kernel);
    OrtStatus *(*compute)(void *kernel, OrtKernelContext *context);
    void (*destroy)(void *kernel);
} Kind;

/* What the runtime is given for a kind: it hands `op` back to every function, so the rest can be found behind it. */
typedef struct {
    OrtCustomOp op;
    const Kind *kind;
    const Form *form;
} Operator;

HIDDEN extern const Kind ATTENTION, ATTENTION_HALF, PRODUCT, BLOCK, STAGE, CLOSING, DECODER_ATTENTION, FRAMES;
HIDDEN void operator_init(Operator *made, const Kind *kind, const Form *form);

HIDDEN OrtStatus *refused(const OrtApi *api, const char *why);
/* An input's data, its shape, which must have `rank` dimensions, and its number of elements; any shape with rank 0. */
HIDDEN OrtStatus *elements(const OrtApi *api, OrtKernelContext *context, size_t index, const void **data, int64_t *shape,
                           size_t rank, size_t *count);
/* The same; with rank 0 it must be one number. */
HIDDEN OrtStatus *input(const OrtApi *api, OrtKernelContext *context, size_t index, const void **data, int64_t *shape,
                        size_t rank);
/* As `elements`, of an input that must be a constant of the graph. */
HIDDEN OrtStatus *constant_input(const OrtApi *api, const OrtKernelInfo *info, size_t index, const void **data,
                                 int64_t *shape, size_t rank, size_t *count);
/* A constant's data, which must have `wanted` elements. */
HIDDEN OrtStatus *constant(const OrtApi *api, const OrtKernelInfo *info, size_t index, size_t wanted, const void **data);
/* The same, copied, since a constant may go once the graph is loaded. */
HIDDEN OrtStatus *copied_floats(const OrtApi *api, const OrtKernelInfo *info, size_t index, size_t wanted, float **out);
/* `wanted` zero points, which must all be 0. */
HIDDEN OrtStatus *zero_points(const OrtApi *api, const OrtKernelInfo *info, size_t index, size_t wanted);
HIDDEN OrtStatus *output(const OrtApi *api, OrtKernelContext *context, size_t index, const int64_t *shape, size_t rank,
                         void **data);

#endif
