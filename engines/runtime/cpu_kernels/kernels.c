/* The library's entry: which forms this processor runs, and our operators in a domain of our own.
 *
 * A graph has nodes of that domain with functions that say the same in nodes of the runtime. A session asks the
 * operators it was given before such a function, so the same file runs with this library and without it. */
#include "operator.h"

#include <pthread.h>
#include <string.h>

static const char DOMAIN[] = "parlando";

#ifdef OFFERED
#include <cpuid.h>

enum { FORMS = 2, KINDS = 8 };
static const Form *const FORM_OF[FORMS] = {&FORM_AVX512, &FORM_AVX2}; /* the quickest first */
static const Kind *const KIND_OF[KINDS] = {&PRODUCT, &ATTENTION, &ATTENTION_HALF, &BLOCK, &STAGE, &CLOSING, &DECODER_ATTENTION, &FRAMES};

static int has_f16c(void)
{
    unsigned a, b, c = 0, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

static int runs(const Form *form)
{
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !has_f16c())
        return 0;
    return form == &FORM_AVX2 ||
           (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
            __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni"));
}

/* Where there is AMX, the runtime multiplies with that; which is quicker for a few rows was not measured. */
static int has_amx(void)
{
    enum { AMX_INT8 = 1 << 25 }; /* in edx of leaf 7; compilers do not agree on its name */
    unsigned a, b, c, d = 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & AMX_INT8);
}

static pthread_mutex_t choosing = PTHREAD_MUTEX_INITIALIZER;
static int chosen; /* index of the form that sessions to come are given */

/* Sessions point into these, so they are never taken down. */
static Operator operators[FORMS][KINDS];
static OrtCustomOpDomain *domains[FORMS];

static int is_left_out(const Form *form, const Kind *kind) { return kind == &PRODUCT && form == &FORM_AVX512 && has_amx(); }

static OrtStatus *make_domain(const OrtApi *api, int index)
{
    const Form *form = FORM_OF[index];
    OrtCustomOpDomain *made;
    TRY(api->CreateCustomOpDomain(DOMAIN, &made));
    for (int kind = 0; kind < KINDS; kind++) {
        operator_init(&operators[index][kind], KIND_OF[kind], form);
        if (!is_left_out(form, KIND_OF[kind]))
            TRY(api->CustomOpDomain_Add(made, &operators[index][kind].op));
    }
    domains[index] = made;
    return NULL;
}

static OrtStatus *register_chosen(const OrtApi *api, OrtSessionOptions *options)
{
    pthread_mutex_lock(&choosing);
    OrtStatus *status = NULL;
    if (!runs(FORM_OF[chosen]))
        status = refused(api, "this processor runs no form of the kernels: they want AVX2 with FMA and F16C");
    else if (!domains[chosen])
        status = make_domain(api, chosen);
    if (!status)
        status = api->AddCustomOpDomain(options, domains[chosen]);
    pthread_mutex_unlock(&choosing);
    return status;
}

static int form_at(const char *name)
{
    for (int index = 0; index < FORMS; index++)
        if (!strcmp(FORM_OF[index]->name, name))
            return index;
    return -1;
}
#endif

/* Every form that was compiled, the quickest first; NULL behind the last. */
const char *parlando_form(int index)
{
#ifdef OFFERED
    return index >= 0 && index < FORMS ? FORM_OF[index]->name : NULL;
#else
    (void)index;
    return NULL;
#endif
}

/* Whether this processor runs the form of that name. */
int parlando_runs(const char *name)
{
#ifdef OFFERED
    return form_at(name) >= 0 && runs(FORM_OF[form_at(name)]);
#else
    (void)name;
    return 0;
#endif
}

/* Whether that form has int8 products here. */
int parlando_has_products(const char *name)
{
#ifdef OFFERED
    return parlando_runs(name) && !is_left_out(FORM_OF[form_at(name)], &PRODUCT);
#else
    (void)name;
    return 0;
#endif
}

/* Sessions registered from now on get this form; 0 where the processor does not run it. */
int parlando_choose(const char *name)
{
#ifdef OFFERED
    if (!parlando_runs(name))
        return 0;
    pthread_mutex_lock(&choosing);
    chosen = form_at(name);
    pthread_mutex_unlock(&choosing);
    return 1;
#else
    (void)name;
    return 0;
#endif
}

/* The table of functions for our version of it is complete, and what it says of an error is what was put in. */
static int is_sound(const OrtApi *api)
{
    static const char TEXT[] = "parlando";
#define IS_MISSING(function, place) || !api->function
    if (0 ORT_FUNCTIONS(IS_MISSING))
        return 0;
    OrtStatus *status = api->CreateStatus(ORT_INVALID_ARGUMENT, TEXT);
    int same = status && api->GetErrorCode(status) == ORT_INVALID_ARGUMENT && !strcmp(api->GetErrorMessage(status), TEXT);
    if (status)
        api->ReleaseStatus(status);
    return same;
}

/* What the runtime calls by this name. Graphs keep the runtime's nodes where this is an error. */
OrtStatus *RegisterCustomOps(OrtSessionOptions *options, const OrtApiBase *base)
{
    const OrtApi *api = base->GetApi(ORT_API_VERSION);
    if (!api) { /* a runtime that no longer offers our version: the first one has what says so */
        api = base->GetApi(1);
        return api ? refused(api, "this ONNX Runtime does not offer version 17 of its interface") : NULL;
    }
    if (!is_sound(api))
        return refused(api, "this ONNX Runtime's interface is not the one that the kernels were written for");
#ifdef OFFERED
    return register_chosen(api, options);
#else
    (void)options;
    return refused(api, "there are no kernels for this kind of processor");
#endif
}
