/* The kernels for AVX-512 with VNNI: sixteen floats a vector, four int8 products in one instruction. */
#include "form.h"

#ifdef OFFERED
#include <immintrin.h>
#include <math.h>
#include <string.h>

#define LANES 16
#define FORM FORM_AVX512
#define FORM_NAME "avx512"
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma,f16c"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma,f16c")
#endif
#include "form_body.h"
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
