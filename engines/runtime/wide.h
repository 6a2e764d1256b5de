/* Functions of sixteen floats at once. Each lane is computed by itself, so a value does not depend on its neighbours. */
#ifndef PARLANDO_WIDE_H
#define PARLANDO_WIDE_H

#include <immintrin.h>

#define WIDE __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma")))
#define INLINE WIDE static inline __attribute__((always_inline))

enum { LANES = 16 };

INLINE __m512 all(float value) { return _mm512_set1_ps(value); }

/* e^x to a few units in the last place, for x from -87 to 88; what is no number stays so. The power of two is taken
 * out, and of the rest, at most half of log 2, a polynomial (Cephes, expf). */
INLINE __m512 exp_of(__m512 x)
{
    __m512 power = _mm512_roundscale_ps(_mm512_mul_ps(x, all(1.44269504f)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 rest = _mm512_fnmadd_ps(power, all(0.693359375f), x);
    rest = _mm512_fnmadd_ps(power, all(-2.12194440e-4f), rest);
    __m512 sum = all(1.9875691500e-4f);
    sum = _mm512_fmadd_ps(sum, rest, all(1.3981999507e-3f));
    sum = _mm512_fmadd_ps(sum, rest, all(8.3334519073e-3f));
    sum = _mm512_fmadd_ps(sum, rest, all(4.1665795894e-2f));
    sum = _mm512_fmadd_ps(sum, rest, all(1.6666665459e-1f));
    sum = _mm512_fmadd_ps(sum, rest, all(5.0000001201e-1f));
    sum = _mm512_fmadd_ps(sum, _mm512_mul_ps(rest, rest), rest);
    return _mm512_scalef_ps(_mm512_add_ps(sum, all(1)), power);
}

/* x times the normal distribution's share below x, to 2e-7 of x (Abramowitz and Stegun, 7.1.26). */
INLINE __m512 gelu_of(__m512 x)
{
    __m512 far = _mm512_min_ps(_mm512_abs_ps(_mm512_mul_ps(x, all(0.70710678f))), all(9));
    __m512 t = _mm512_div_ps(all(1), _mm512_fmadd_ps(all(0.3275911f), far, all(1)));
    __m512 sum = all(1.061405429f);
    sum = _mm512_fmadd_ps(sum, t, all(-1.453152027f));
    sum = _mm512_fmadd_ps(sum, t, all(1.421413741f));
    sum = _mm512_fmadd_ps(sum, t, all(-0.284496736f));
    sum = _mm512_fmadd_ps(sum, t, all(0.254829592f));
    __m512 beyond = _mm512_mul_ps(_mm512_mul_ps(sum, t), exp_of(_mm512_sub_ps(_mm512_setzero_ps(), _mm512_mul_ps(far, far))));
    __mmask16 negative = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ);
    __m512 share = _mm512_mask_sub_ps(beyond, (__mmask16)~negative, all(2), beyond);
    return _mm512_mul_ps(_mm512_mul_ps(x, all(0.5f)), share);
}

/* Rounded, half to even, cut to [-128, 127], and moved up by 128: how the products want int8 with the zero point 0. */
INLINE void quantise(uint8_t *out, __m512 x, __m512 scale)
{
    __m512i whole = _mm512_cvtps_epi32(_mm512_div_ps(x, scale));
    __m128i bytes = _mm512_cvtsepi32_epi8(whole);
    _mm_storeu_si128((__m128i *)out, _mm_xor_si128(bytes, _mm_set1_epi8((char)0x80)));
}

#endif
