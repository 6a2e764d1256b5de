/* The library's entry: our kernels, under the names and in the domain of the runtime's own nodes, and for nodes of our
 * own, which bring along what they stand for in the runtime's.
 *
 * A session asks the operators it was given before the built-in ones and before such a function, so graphs stay as they
 * are and run without this library too. Attributes that the runtime adds to these nodes later are not seen by our kernels: look the nodes over
 * at each of its releases. */
#include "operator.h"

#include <stdlib.h>

#ifdef OFFERED
#include <cpuid.h>

static int has_f16c(void)
{
    unsigned a, b, c = 0, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

/* The widest vectors of this processor; KERNEL_LANES in the environment lowers them, for tests. */
int parlando_lanes(void)
{
    const char *asked = getenv("KERNEL_LANES");
    int most = asked ? atoi(asked) : 16;
    if (most < 8 || !__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !has_f16c())
        return 0;
    return most >= 16 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") ? 16 : 8;
}

static int has_dot_products(void)
{
    return parlando_lanes() == 16 && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni");
}

/* Where there is AMX, the runtime multiplies with that; which is quicker for a few rows was not measured. */
static int has_products(void)
{
    enum { AMX_INT8 = 1 << 25 }; /* in edx of leaf 7; compilers do not agree on its name */
    unsigned a, b, c, d = 0;
    return has_dot_products() && __get_cpuid_count(7, 0, &a, &b, &c, &d) && !(d & AMX_INT8);
}

typedef struct {
    OrtCustomOpDomain *microsoft, *own;
} Domains;

static OrtStatus *make_domains(const OrtApi *api, Domains *domains)
{
    Domains made;
    TRY(api->CreateCustomOpDomain("com.microsoft", &made.microsoft));
    TRY(api->CustomOpDomain_Add(made.microsoft, &ATTENTION));
    TRY(api->CustomOpDomain_Add(made.microsoft, &ATTENTION_HALF));
    if (has_products())
        TRY(api->CustomOpDomain_Add(made.microsoft, &PRODUCT));
    TRY(api->CreateCustomOpDomain("parlando", &made.own));
    if (has_dot_products()) {
        TRY(api->CustomOpDomain_Add(made.own, &BLOCK));
        TRY(api->CustomOpDomain_Add(made.own, &FRAMES));
    }
    *domains = made;
    return NULL;
}

/* The operators for so many lanes. Sessions point into it, so it is never taken down. */
static OrtStatus *domains_of(const OrtApi *api, int lanes, Domains *domains)
{
    static Domains known[2];
    static atomic_flag taken = ATOMIC_FLAG_INIT;
    Domains *one = &known[lanes == 16];
    lock(&taken);
    OrtStatus *status = one->own ? NULL : make_domains(api, one);
    *domains = *one;
    unlock(&taken);
    return status;
}
#endif

/* What runs here, added up: 1 attention, 2 products, 4 the vocoder's blocks and frames. */
int parlando_offers(void)
{
#ifdef OFFERED
    return parlando_lanes() ? 1 + 2 * has_products() + 4 * has_dot_products() : 0;
#else
    return 0;
#endif
}

/* What the runtime calls by this name. A processor that is too old is refused, and keeps the runtime's kernels. */
OrtStatus *RegisterCustomOps(OrtSessionOptions *options, const OrtApiBase *base)
{
    const OrtApi *api = base->GetApi(ORT_API_VERSION);
#ifdef OFFERED
    int lanes = parlando_lanes();
    if (lanes) {
        Domains domains;
        TRY(domains_of(api, lanes, &domains));
        TRY(api->AddCustomOpDomain(options, domains.own));
        return api->AddCustomOpDomain(options, domains.microsoft);
    }
#else
    (void)options;
#endif
    return api->CreateStatus(ORT_INVALID_ARGUMENT, "our kernels want AVX2 or AVX-512");
}
