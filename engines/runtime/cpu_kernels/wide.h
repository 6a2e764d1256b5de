/* A vector of LANES floats, V, and of as many int32, I. The intrinsics of both widths have the same names but for a
 * few, which are made alike here.
 *
 * Each lane is computed by itself, so a value does not depend on its neighbours, nor on the width. Where lanes are added
 * up it is over sixteen of them, PARTS vectors, in one order: the forms give the same bits. */
#if LANES == 16
#define V __m512
#define I __m512i
#define OP(name) _mm512_##name
#define AS_FLOATS _mm512_castsi512_ps
#else
#define V __m256
#define I __m256i
#define OP(name) _mm256_##name
#define AS_FLOATS _mm256_castsi256_ps
#endif
#define PARTS (16 / LANES)

INLINE V all(float value) { return OP(set1_ps)(value); }

#if LANES == 16
INLINE I load_ints(const int32_t *from) { return _mm512_loadu_si512(from); }
INLINE V gather(const float *from, I at) { return _mm512_i32gather_ps(at, from, 4); }
INLINE V nearest(V x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
INLINE V down(V x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
INLINE V size_of(V x) { return _mm512_abs_ps(x); }
INLINE V where_negative(V x, V negative, V other)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ), other, negative);
}
INLINE V load_some(const float *from, size_t count) { return _mm512_maskz_loadu_ps((__mmask16)((1u << count) - 1), from); }
INLINE void store_some(float *to, V x, size_t count) { _mm512_mask_storeu_ps(to, (__mmask16)((1u << count) - 1), x); }
/* Lane by lane to `to + at`, the first `count` lanes. */
INLINE void scatter(float *to, const int32_t *at, V x, size_t count)
{
    __mmask16 there = count < LANES ? (__mmask16)((1u << count) - 1) : 0xFFFF;
    _mm512_mask_i32scatter_ps(to, there, load_ints(at), x, 4);
}
INLINE __m256 halves_added(const V *parts)
{
    return _mm256_add_ps(_mm512_castps512_ps256(*parts), _mm512_extractf32x8_ps(*parts, 1));
}
#else
INLINE I load_ints(const int32_t *from) { return _mm256_loadu_si256((const I *)from); }
INLINE V gather(const float *from, I at) { return _mm256_i32gather_ps(from, at, 4); }
INLINE V nearest(V x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
INLINE V down(V x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
INLINE V size_of(V x) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x); }
INLINE V where_negative(V x, V negative, V other)
{
    return _mm256_blendv_ps(other, negative, _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_LT_OQ));
}
INLINE I first_lanes(size_t count)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
INLINE V load_some(const float *from, size_t count) { return _mm256_maskload_ps(from, first_lanes(count)); }
INLINE void store_some(float *to, V x, size_t count) { _mm256_maskstore_ps(to, first_lanes(count), x); }
INLINE void scatter(float *to, const int32_t *at, V x, size_t count)
{
    float lanes[LANES];
    _mm256_storeu_ps(lanes, x);
    for (size_t lane = 0; lane < LANES && lane < count; lane++)
        to[at[lane]] = lanes[lane];
}
INLINE __m256 halves_added(const V *parts) { return _mm256_add_ps(parts[0], parts[1]); }
#endif

/* Sixteen lanes -> their sum: the upper half onto the lower one, until one is left. */
INLINE float sum_of(const V *parts)
{
    __m256 eight = halves_added(parts);
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

/* e^x to a few units in the last place, for x from -87 to 88; NaN propagates. The power of two is taken out, and of the
 * rest, at most half of log 2, a polynomial (Cephes, expf). */
INLINE V exp_of(V x)
{
    V power = nearest(OP(mul_ps)(x, all(1.44269504f)));
    V rest = OP(fnmadd_ps)(power, all(0.693359375f), x);
    rest = OP(fnmadd_ps)(power, all(-2.12194440e-4f), rest);
    V sum = all(1.9875691500e-4f);
    sum = OP(fmadd_ps)(sum, rest, all(1.3981999507e-3f));
    sum = OP(fmadd_ps)(sum, rest, all(8.3334519073e-3f));
    sum = OP(fmadd_ps)(sum, rest, all(4.1665795894e-2f));
    sum = OP(fmadd_ps)(sum, rest, all(1.6666665459e-1f));
    sum = OP(fmadd_ps)(sum, rest, all(5.0000001201e-1f));
    sum = OP(fmadd_ps)(sum, OP(mul_ps)(rest, rest), rest);
    I exponent = OP(slli_epi32)(OP(add_epi32)(OP(cvtps_epi32)(power), OP(set1_epi32)(127)), 23);
    return OP(mul_ps)(OP(add_ps)(sum, all(1)), AS_FLOATS(exponent));
}

/* x times the normal distribution's share below x, to 2e-7 of x (Abramowitz and Stegun, 7.1.26). */
INLINE V gelu_of(V x)
{
    V far = OP(min_ps)(size_of(OP(mul_ps)(x, all(0.70710678f))), all(9));
    V t = OP(div_ps)(all(1), OP(fmadd_ps)(all(0.3275911f), far, all(1)));
    V sum = all(1.061405429f);
    sum = OP(fmadd_ps)(sum, t, all(-1.453152027f));
    sum = OP(fmadd_ps)(sum, t, all(1.421413741f));
    sum = OP(fmadd_ps)(sum, t, all(-0.284496736f));
    sum = OP(fmadd_ps)(sum, t, all(0.254829592f));
    V beyond = OP(mul_ps)(OP(mul_ps)(sum, t), exp_of(OP(sub_ps)(OP(setzero_ps)(), OP(mul_ps)(far, far))));
    V share = where_negative(x, beyond, OP(sub_ps)(all(2), beyond));
    return OP(mul_ps)(OP(mul_ps)(x, all(0.5f)), share);
}
