/* One row and the query heads of one cached head, for vectors of LANES floats and a cache in float or, with HALF, in
 * half precision: attention.c includes this for each.
 *
 * Four query heads go at once, by LANES / 4 keys: as many sums as a vector has lanes, each a vector, folded into one
 * vector of results. Sums, queries and a key fit the registers of either width. */

#if LANES == 16
#define INLINE __attribute__((target("avx512f,avx512dq,fma"), always_inline)) static inline
#define ENTRY __attribute__((target("avx512f,avx512dq,fma"))) static
#define V __m512
#define HALVES __m256i
#define LOAD_HALVES _mm256_loadu_si256
#define STORE_HALVES _mm256_storeu_si256
#define OP(name) _mm512_##name
#define AS_FLOATS _mm512_castsi512_ps
#define CHUNKS 4
#else
#define INLINE __attribute__((target("avx2,fma,f16c"), always_inline)) static inline
#define ENTRY __attribute__((target("avx2,fma,f16c"))) static
#define V __m256
#define HALVES __m128i
#define LOAD_HALVES _mm_loadu_si128
#define STORE_HALVES _mm_storeu_si128
#define OP(name) _mm256_##name
#define AS_FLOATS _mm256_castsi256_ps
#define CHUNKS 2
#endif
#define KEYS (LANES / GROUP)

#ifdef HALF
#define NAMED2(name, lanes) name##_half_##lanes
#define Cached uint16_t
#else
#define NAMED2(name, lanes) name##_##lanes
#define Cached float
#endif
#define NAMED1(name, lanes) NAMED2(name, lanes)
#define NAMED(name) NAMED1(name, LANES)

#ifdef HALF
INLINE V NAMED(cached)(const Cached *from) { return OP(cvtph_ps)(LOAD_HALVES((const HALVES *)from)); }
INLINE void NAMED(keep)(Cached *to, V x) { STORE_HALVES((HALVES *)to, OP(cvtps_ph)(x, _MM_FROUND_TO_NEAREST_INT)); }
#else
INLINE V NAMED(cached)(const Cached *from) { return OP(loadu_ps)(from); }
INLINE void NAMED(keep)(Cached *to, V x) { OP(storeu_ps)(to, x); }
#endif

#if LANES == 16
/* Sixteen vectors -> the sum of each, in order: each fold halves the lanes that belong to one vector. */
INLINE V NAMED(sum_each)(const V *v)
{
    V quarter[4];
    for (int m = 0; m < 4; m++) {
        V a = v[m], b = v[m + 4], c = v[m + 8], d = v[m + 12];
        V ab = OP(add_ps)(OP(shuffle_f32x4)(a, b, 0x44), OP(shuffle_f32x4)(a, b, 0xEE));
        V cd = OP(add_ps)(OP(shuffle_f32x4)(c, d, 0x44), OP(shuffle_f32x4)(c, d, 0xEE));
        quarter[m] = OP(add_ps)(OP(shuffle_f32x4)(ab, cd, 0x88), OP(shuffle_f32x4)(ab, cd, 0xDD));
    }
    V low = OP(add_ps)(OP(shuffle_ps)(quarter[0], quarter[1], 0x44), OP(shuffle_ps)(quarter[0], quarter[1], 0xEE));
    V high = OP(add_ps)(OP(shuffle_ps)(quarter[2], quarter[3], 0x44), OP(shuffle_ps)(quarter[2], quarter[3], 0xEE));
    return OP(add_ps)(OP(shuffle_ps)(low, high, 0x88), OP(shuffle_ps)(low, high, 0xDD));
}

INLINE float NAMED(most)(V x) { return _mm512_reduce_max_ps(x); }
INLINE float NAMED(sum)(V x) { return _mm512_reduce_add_ps(x); }
INLINE float NAMED(first)(V x) { return _mm512_cvtss_f32(x); }

/* One quarter of the results for each head. */
INLINE void NAMED(store_by_head)(float *weights, V scores)
{
    _mm_storeu_ps(weights, _mm512_castps512_ps128(scores));
    _mm_storeu_ps(weights + TILE, _mm512_extractf32x4_ps(scores, 1));
    _mm_storeu_ps(weights + 2 * TILE, _mm512_extractf32x4_ps(scores, 2));
    _mm_storeu_ps(weights + 3 * TILE, _mm512_extractf32x4_ps(scores, 3));
}
#else
INLINE V NAMED(sum_each)(const V *v)
{
    V low = OP(hadd_ps)(OP(hadd_ps)(v[0], v[1]), OP(hadd_ps)(v[2], v[3]));
    V high = OP(hadd_ps)(OP(hadd_ps)(v[4], v[5]), OP(hadd_ps)(v[6], v[7]));
    return OP(add_ps)(OP(permute2f128_ps)(low, high, 0x20), OP(permute2f128_ps)(low, high, 0x31));
}

INLINE float NAMED(first)(V x) { return _mm256_cvtss_f32(x); }

INLINE float NAMED(most)(V x)
{
    __m128 half = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    half = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
}

INLINE float NAMED(sum)(V x)
{
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}

INLINE void NAMED(store_by_head)(float *weights, V scores)
{
    __m128 low = _mm256_castps256_ps128(scores), high = _mm256_extractf128_ps(scores, 1);
    _mm_storel_pi((__m64 *)weights, low);
    _mm_storeh_pi((__m64 *)(weights + TILE), low);
    _mm_storel_pi((__m64 *)(weights + 2 * TILE), high);
    _mm_storeh_pi((__m64 *)(weights + 3 * TILE), high);
}
#endif

/* e^x for x <= 0, to about 1e-7 of it: 2^n times a polynomial of the rest (Taylor, within half of ln 2). Below -87 it
 * stays at e^-87: nothing beside the weight 1 that the highest score has. `max` gives its second operand where one is
 * no number, here and below: what is no number stays so up to the logits, where the engine looks for it. */
INLINE V NAMED(exponential)(V x)
{
    static const float term[] = {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1, 1};
    x = OP(max_ps)(OP(set1_ps)(-87), x);
    V p = OP(set1_ps)(1.0f / 5040), n = OP(mul_ps)(x, OP(set1_ps)(1.44269504f));
    n = OP(cvtepi32_ps)(OP(cvtps_epi32)(n));
    V rest = OP(fnmadd_ps)(n, OP(set1_ps)(0.693359375f), x); /* ln 2 in two parts, the first exact in its products */
    rest = OP(fnmadd_ps)(n, OP(set1_ps)(-2.12194440e-4f), rest);
    for (int i = 0; i < 7; i++)
        p = OP(fmadd_ps)(p, rest, OP(set1_ps)(term[i]));
    return OP(mul_ps)(p, AS_FLOATS(OP(slli_epi32)(OP(add_epi32)(OP(cvtps_epi32)(n), OP(set1_epi32)(127)), 23)));
}

/* queries [GROUP, dim] by KEYS keys, of which those from `count` on are the last one again -> scores by head and key */
INLINE V NAMED(scores)(const float *queries, const Cached *keys, int count, int dim)
{
    const Cached *key[KEYS];
    V sums[LANES];
    for (int t = 0; t < KEYS; t++)
        key[t] = keys + (size_t)(t < count ? t : count - 1) * dim;
    for (int i = 0; i < LANES; i++)
        sums[i] = OP(setzero_ps)();
    for (int at = 0; at < dim; at += LANES) {
        V query[GROUP];
        for (int head = 0; head < GROUP; head++)
            query[head] = OP(loadu_ps)(queries + head * dim + at);
        for (int t = 0; t < KEYS; t++) {
            V part = NAMED(cached)(key[t] + at);
            for (int head = 0; head < GROUP; head++)
                sums[head * KEYS + t] = OP(fmadd_ps)(query[head], part, sums[head * KEYS + t]);
        }
    }
    return NAMED(sum_each)(sums);
}

/* mixed [GROUP, dim] += weights [GROUP, TILE] times values [count, dim], for `chunks` vectors of columns */
INLINE void NAMED(add_values)(const float *weights, const Cached *values, int count, int dim, int chunks, float *mixed)
{
    V sums[GROUP][CHUNKS];
    for (int head = 0; head < GROUP; head++)
        for (int c = 0; c < chunks; c++)
            sums[head][c] = OP(loadu_ps)(mixed + head * dim + c * LANES);
    for (int t = 0; t < count; t++) {
        V value[CHUNKS];
        for (int c = 0; c < chunks; c++)
            value[c] = NAMED(cached)(values + (size_t)t * dim + c * LANES);
        for (int head = 0; head < GROUP; head++) {
            V weight = OP(set1_ps)(weights[head * TILE + t]);
            for (int c = 0; c < chunks; c++)
                sums[head][c] = OP(fmadd_ps)(weight, value[c], sums[head][c]);
        }
    }
    for (int head = 0; head < GROUP; head++)
        for (int c = 0; c < chunks; c++)
            OP(storeu_ps)(mixed + head * dim + c * LANES, sums[head][c]);
}

/* Scores of one head -> weights against its highest score so far, which is returned; `total` becomes their sum. */
INLINE float NAMED(weigh)(float *scores, int count, float highest, float *total)
{
    V most = OP(loadu_ps)(scores), sum = OP(setzero_ps)();
    for (int t = LANES; t < count; t += LANES)
        most = OP(max_ps)(OP(loadu_ps)(scores + t), most);
    float here = NAMED(most)(most);
    highest = here > highest ? here : highest;
    for (int t = 0; t < count; t += LANES) {
        V weight = NAMED(exponential)(OP(sub_ps)(OP(loadu_ps)(scores + t), OP(set1_ps)(highest)));
        OP(storeu_ps)(scores + t, weight);
        sum = OP(add_ps)(sum, weight);
    }
    *total = NAMED(sum)(sum);
    return highest;
}

/* queries [GROUP, dim], keys and values [length, dim] -> mixed [GROUP, dim] */
INLINE void NAMED(attend)(const float *queries, const Cached *keys, const Cached *values, int length, int dim,
                          float *mixed)
{
    _Alignas(64) float weights[GROUP * TILE];
    float highest[GROUP] = {-INFINITY, -INFINITY, -INFINITY, -INFINITY}, total[GROUP] = {0};
    memset(mixed, 0, sizeof(float) * GROUP * dim);
    for (int first = 0; first < length; first += TILE, keys += TILE * dim, values += TILE * dim) {
        int count = length - first < TILE ? length - first : TILE;
        for (int t = 0; t < count; t += KEYS)
            NAMED(store_by_head)(weights + t, NAMED(scores)(queries, keys + (size_t)t * dim, count - t, dim));
        for (int head = 0; head < GROUP; head++) {
            float *own = weights + head * TILE, before = highest[head], sum;
            for (int t = count; t % LANES; t++)
                own[t] = -INFINITY;
            highest[head] = NAMED(weigh)(own, count, before, &sum);
            float kept = first ? NAMED(first)(NAMED(exponential)(OP(set1_ps)(before - highest[head]))) : 0;
            total[head] = total[head] * kept + sum;
            for (int at = 0; first && at < dim; at++)
                mixed[head * dim + at] *= kept;
        }
        int at = 0;
        for (; at + CHUNKS * LANES <= dim; at += CHUNKS * LANES)
            NAMED(add_values)(weights, values + at, count, dim, CHUNKS, mixed + at);
        for (; at < dim; at += LANES)
            NAMED(add_values)(weights, values + at, count, dim, 1, mixed + at);
    }
    for (int head = 0; head < GROUP; head++)
        for (int at = 0; at < dim; at++)
            mixed[head * dim + at] /= total[head];
}

/* Turns halves against each other (RoPE, not interleaved); `out` may not be `x`. */
INLINE void NAMED(turn)(const Call *call, const float *x, int position, float scale, float *out)
{
    int half = call->dim / 2;
    const float *cosine = call->cosine + (size_t)position * half, *sine = call->sine + (size_t)position * half;
    if (!call->kernel->rotate) {
        for (int i = 0; i < call->dim; i++)
            out[i] = x[i] * scale;
        return;
    }
    for (int i = 0; i < half; i++) {
        out[i] = (x[i] * cosine[i] - x[half + i] * sine[i]) * scale;
        out[half + i] = (x[i] * sine[i] + x[half + i] * cosine[i]) * scale;
    }
}

ENTRY void NAMED(one_cached_head)(void *data, size_t index)
{
    const Call *call = data;
    const Kernel *kernel = call->kernel;
    int dim = call->dim, each = kernel->heads / kernel->kv_heads, steps = call->steps;
    size_t row = index / kernel->kv_heads, cached = index % kernel->kv_heads;
    size_t width = (size_t)(kernel->heads + 2 * kernel->kv_heads) * dim;
    Cached *keys = (Cached *)call->present[0] + index * call->positions * dim;
    Cached *values = (Cached *)call->present[1] + index * call->positions * dim;
    float scale = kernel->scale ? kernel->scale : 1 / sqrtf((float)dim);
    int begin = call->last[row] + 1 - steps;
    if (begin < 0)
        begin = 0; /* a first run, with padding behind a shorter row */
    for (int kind = 0; kind < 2; kind++) {
        const Cached *past = (const Cached *)call->past[kind] + index * call->past_positions * dim;
        Cached *present = kind ? values : keys;
        if (past != present) {
            size_t kept = (size_t)call->past_positions * dim, all = (size_t)call->positions * dim;
            memcpy(present, past, sizeof(Cached) * kept);
            memset(present + kept, 0, sizeof(Cached) * (all - kept));
        }
    }
    for (int step = 0; step < steps; step++) {
        _Alignas(64) float queries[GROUP * MAX_HEAD_DIM], mixed[GROUP * MAX_HEAD_DIM];
        const float *packed = call->packed + (row * steps + step) * width;
        int position = begin + step;
        float *out = call->mixed + (row * steps + step) * kernel->heads * dim + cached * each * dim;
        NAMED(turn)(call, packed + (kernel->heads + cached) * dim, position, 1, queries);
        const float *value = packed + (kernel->heads + kernel->kv_heads + cached) * dim;
        for (int at = 0; at < dim; at += LANES) {
            NAMED(keep)(keys + (size_t)position * dim + at, OP(loadu_ps)(queries + at));
            NAMED(keep)(values + (size_t)position * dim + at, OP(loadu_ps)(value + at));
        }
        for (int first = 0; first < each; first += GROUP) {
            int here = each - first < GROUP ? each - first : GROUP;
            for (int head = 0; head < GROUP; head++)
                NAMED(turn)(call, packed + (cached * each + first + (head < here ? head : 0)) * dim, position, scale,
                     queries + head * dim);
            NAMED(attend)(queries, keys, values, position + 1, dim, mixed);
            memcpy(out + first * dim, mixed, sizeof(float) * here * dim);
        }
    }
}

#undef LANES
#undef INLINE
#undef ENTRY
#undef NAMED
#undef NAMED1
#undef NAMED2
#undef HALVES
#undef LOAD_HALVES
#undef STORE_HALVES
#undef Cached
#undef V
#undef OP
#undef AS_FLOATS
#undef CHUNKS
#undef KEYS
