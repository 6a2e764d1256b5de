/* The library's entry: our kernels, under the names and in the domain of the runtime's own nodes.
 *
 * A session asks the operators it was given before the built-in ones, so graphs stay as they are and run without this
 * library too. Attributes that the runtime adds to these nodes later are not seen by our kernels: look the nodes over
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

/* Where there is AMX, the runtime multiplies with that; which is quicker for a few rows was not measured. */
static int has_products(void)
{
    enum { AMX_INT8 = 1 << 25 }; /* in edx of leaf 7; compilers do not agree on its name */
    unsigned a, b, c, d = 0;
    return parlando_lanes() == 16 && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vnni") &&
           __get_cpuid_count(7, 0, &a, &b, &c, &d) && !(d & AMX_INT8);
}

static OrtStatus *make_domain(const OrtApi *api, OrtCustomOpDomain **domain)
{
    OrtCustomOpDomain *made;
    TRY(api->CreateCustomOpDomain("com.microsoft", &made));
    TRY(api->CustomOpDomain_Add(made, &ATTENTION));
    TRY(api->CustomOpDomain_Add(made, &ATTENTION_HALF));
    if (has_products())
        TRY(api->CustomOpDomain_Add(made, &PRODUCT));
    *domain = made;
    return NULL;
}

/* The operators for so many lanes. Sessions point into it, so it is never taken down. */
static OrtStatus *domain_of(const OrtApi *api, int lanes, OrtCustomOpDomain **domain)
{
    static OrtCustomOpDomain *domains[2];
    static atomic_flag taken = ATOMIC_FLAG_INIT;
    OrtCustomOpDomain **one = &domains[lanes == 16];
    lock(&taken);
    OrtStatus *status = *one ? NULL : make_domain(api, one);
    *domain = *one;
    unlock(&taken);
    return status;
}
#endif

/* What runs here: 1 attention, 2 products, or both. */
int parlando_offers(void)
{
#ifdef OFFERED
    return parlando_lanes() ? 1 + 2 * has_products() : 0;
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
        OrtCustomOpDomain *domain;
        TRY(domain_of(api, lanes, &domain));
        return api->AddCustomOpDomain(options, domain);
    }
#else
    (void)options;
#endif
    return api->CreateStatus(ORT_INVALID_ARGUMENT, "our kernels want AVX2 or AVX-512");
}
