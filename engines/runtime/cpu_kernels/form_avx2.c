/* The kernels for AVX2 with FMA and F16C: eight floats a vector, int8 products by way of int16. */
#include "form.h"

#ifdef OFFERED
#include <immintrin.h>
#include <math.h>
#include <string.h>

#define LANES 8
#define FORM FORM_AVX2
#define FORM_NAME "avx2"
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,f16c")
#endif
#include "form_body.h"
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
