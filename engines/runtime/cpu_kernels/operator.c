/* Descriptions made into what the runtime wants, and reading of inputs, for every operator. */
#include "operator.h"

#include <stdlib.h>
#include <string.h>

static const Operator *operator_of(const OrtCustomOp *op) { return (const Operator *)op; }

static OrtStatus *create(const OrtCustomOp *op, const OrtApi *api, const OrtKernelInfo *info, void **kernel)
{
    return operator_of(op)->kind->create(operator_of(op)->form, api, info, kernel);
}
static const char *name(const OrtCustomOp *op) { return operator_of(op)->kind->name; }
static const char *provider(const OrtCustomOp *op) { (void)op; return "CPUExecutionProvider"; }
static size_t input_count(const OrtCustomOp *op) { return operator_of(op)->kind->input_count; }
static size_t output_count(const OrtCustomOp *op) { return operator_of(op)->kind->output_count; }
static int input_type(const OrtCustomOp *op, size_t at) { return operator_of(op)->kind->inputs[at]; }
static int output_type(const OrtCustomOp *op, size_t at) { return operator_of(op)->kind->outputs[at]; }
static int required(const OrtCustomOp *op, size_t at) { (void)op, (void)at; return ORT_REQUIRED; }
static int memory(const OrtCustomOp *op, size_t at) { (void)op, (void)at; return ORT_MEMORY_DEFAULT; }
static int zero(const OrtCustomOp *op) { (void)op; return 0; }

void operator_init(Operator *made, const Kind *kind, const Form *form)
{
    *made = (Operator){
        .op = {
            .version = ORT_API_VERSION,
            .GetName = name,
            .GetExecutionProviderType = provider,
            .GetInputType = input_type,
            .GetInputTypeCount = input_count,
            .GetOutputType = output_type,
            .GetOutputTypeCount = output_count,
            .KernelDestroy = kind->destroy,
            .GetInputCharacteristic = required,
            .GetOutputCharacteristic = required,
            .GetInputMemoryType = memory,
            .GetVariadicInputMinArity = zero,
            .GetVariadicInputHomogeneity = zero,
            .GetVariadicOutputMinArity = zero,
            .GetVariadicOutputHomogeneity = zero,
            .CreateKernelV2 = create,
            .KernelComputeV2 = kind->compute,
        },
        .kind = kind,
        .form = form,
    };
}

OrtStatus *refused(const OrtApi *api, const char *why) { return api->CreateStatus(ORT_INVALID_ARGUMENT, why); }

static OrtStatus *shape_of(const OrtApi *api, const OrtValue *value, int64_t *shape, size_t rank, size_t *count)
{
    OrtShape *info;
    size_t found = rank;
    TRY(api->GetTensorTypeAndShape(value, &info));
    OrtStatus *status = rank ? api->GetDimensionsCount(info, &found) : NULL;
    if (!status && rank && found == rank)
        status = api->GetDimensions(info, shape, rank);
    if (!status)
        status = api->GetTensorShapeElementCount(info, count);
    api->ReleaseTensorTypeAndShapeInfo(info);
    return !status && found != rank ? refused(api, "an input has another number of dimensions") : status;
}

OrtStatus *elements(const OrtApi *api, OrtKernelContext *context, size_t index, const void **data, int64_t *shape,
                    size_t rank, size_t *count)
{
    const OrtValue *value;
    TRY(api->KernelContext_GetInput(context, index, &value));
    if (!value)
        return refused(api, "an input is missing");
    TRY(api->GetTensorMutableData((OrtValue *)value, (void **)data));
    return shape_of(api, value, shape, rank, count);
}

OrtStatus *input(const OrtApi *api, OrtKernelContext *context, size_t index, const void **data, int64_t *shape,
                 size_t rank)
{
    size_t count;
    TRY(elements(api, context, index, data, shape, rank, &count));
    return rank || count == 1 ? NULL : refused(api, "an input that must be one number is none");
}

OrtStatus *constant_input(const OrtApi *api, const OrtKernelInfo *info, size_t index, const void **data, int64_t *shape,
                          size_t rank, size_t *count)
{
    const OrtValue *value;
    int is_constant = 0;
    TRY(api->KernelInfoGetConstantInput_tensor(info, index, &is_constant, &value));
    if (!is_constant)
        return refused(api, "the weights of this node must be constant");
    TRY(api->GetTensorMutableData((OrtValue *)value, (void **)data));
    return shape_of(api, value, shape, rank, count);
}

OrtStatus *constant(const OrtApi *api, const OrtKernelInfo *info, size_t index, size_t wanted, const void **data)
{
    size_t count;
    TRY(constant_input(api, info, index, data, NULL, 0, &count));
    return count == wanted ? NULL : refused(api, "the constants of a node do not fit each other");
}

OrtStatus *copied_floats(const OrtApi *api, const OrtKernelInfo *info, size_t index, size_t wanted, float **out)
{
    const float *given;
    TRY(constant(api, info, index, wanted, (const void **)&given));
    *out = malloc(wanted * sizeof **out);
    if (!*out)
        return refused(api, "no memory");
    memcpy(*out, given, wanted * sizeof **out);
    return NULL;
}

OrtStatus *zero_points(const OrtApi *api, const OrtKernelInfo *info, size_t index, size_t wanted)
{
    const int8_t *zeros;
    TRY(constant(api, info, index, wanted, (const void **)&zeros));
    for (size_t at = 0; at < wanted; at++)
        if (zeros[at])
            return refused(api, "zero points must be 0");
    return NULL;
}

OrtStatus *output(const OrtApi *api, OrtKernelContext *context, size_t index, const int64_t *shape, size_t rank,
                  void **data)
{
    OrtValue *value;
    TRY(api->KernelContext_GetOutput(context, index, shape, rank, &value));
    return api->GetTensorMutableData(value, data);
}
