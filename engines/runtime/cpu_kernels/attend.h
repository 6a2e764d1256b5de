/* One row and the query heads of one cached head, for a cache in float or, with HALF, in half precision: form_body.h
 * includes this for each.
 *
 * Four query heads go at once, by LANES / 4 keys: as many sums as a vector has lanes, each a vector, folded into one
 * vector of results. Sums, queries and a key fit the registers of either width. */

#ifndef HALF
#if LANES == 16
#define HALVES __m256i
#define LOAD_HALVES _mm256_loadu_si256
#define STORE_HALVES _mm256_storeu_si256
#define CHUNKS 4
#else
#define HALVES __m128i
#define LOAD_HALVES _mm_loadu_si128
#define STORE_HALVES _mm_storeu_si128
#define CHUNKS 2
#endif
#define KEYS (LANES / GROUP)

#if LANES == 16
/* Sixteen vectors -> the sum of each, in order: each fold halves the lanes that belong to one vector. */
INLINE V sum_each(const V *v)
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

INLINE float lanes_most(V x) { return _mm512_reduce_max_ps(x); }
INLINE float lanes_sum(V x) { return _mm512_reduce_add_ps(x); }
INLINE float lane_0(V x) { return _mm512_cvtss_f32(x); }

/* One quarter of the results for each head. */
INLINE void store_by_head(float *weights, V scores)
{
    _mm_storeu_ps(weights, _mm512_castps512_ps128(scores));
    _mm_storeu_ps(weights + POSITIONS_AT_ONCE, _mm512_extractf32x4_ps(scores, 1));
    _mm_storeu_ps(weights + 2 * POSITIONS_AT_ONCE, _mm512_extractf32x4_ps(scores, 2));
    _mm_storeu_ps(weights + 3 * POSITIONS_AT_ONCE, _mm512_extractf32x4_ps(scores, 3));
}
#else
INLINE V sum_each(const V *v)
{
    V low = OP(hadd_ps)(OP(hadd_ps)(v[0], v[1]), OP(hadd_ps)(v[2], v[3]));
    V high = OP(hadd_ps)(OP(hadd_ps)(v[4], v[5]), OP(hadd_ps)(v[6], v[7]));
    return OP(add_ps)(OP(permute2f128_ps)(low, high, 0x20), OP(permute2f128_ps)(low, high, 0x31));
}

INLINE float lane_0(V x) { return _mm256_cvtss_f32(x); }

INLINE float lanes_most(V x)
{
    __m128 half = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    half = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
}

INLINE float lanes_sum(V x)
{
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}

INLINE void store_by_head(float *weights, V scores)
{
    __m128 low = _mm256_castps256_ps128(scores), high = _mm256_extractf128_ps(scores, 1);
    _mm_storel_pi((__m64 *)weights, low);
    _mm_storeh_pi((__m64 *)(weights + POSITIONS_AT_ONCE), low);
    _mm_storel_pi((__m64 *)(weights + 2 * POSITIONS_AT_ONCE), high);
    _mm_storeh_pi((__m64 *)(weights + 3 * POSITIONS_AT_ONCE), high);
}
#endif

/* e^x for x <= 0, to about 1e-7 of it: 2^n times a polynomial of the rest (Taylor, within half of ln 2). Below -87 it
 * stays at e^-87: nothing beside the weight 1 that the highest score has. `max` gives its second operand where one is
 * no number, here and below: what is no number stays so up to the logits, where the engine looks for it. */
INLINE V exponential(V x)
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

/* Scores of one head -> weights against its highest score so far, which is returned; `total` becomes their sum. */
INLINE float weigh(float *scores, int count, float highest, float *total)
{
    V most = OP(loadu_ps)(scores), sum = OP(setzero_ps)();
    for (int t = LANES; t < count; t += LANES)
        most = OP(max_ps)(OP(loadu_ps)(scores + t), most);
    float here = lanes_most(most);
    highest = here > highest ? here : highest;
    for (int t = 0; t < count; t += LANES) {
        V weight = exponential(OP(sub_ps)(OP(loadu_ps)(scores + t), OP(set1_ps)(highest)));
        OP(storeu_ps)(scores + t, weight);
        sum = OP(add_ps)(sum, weight);
    }
    *total = lanes_sum(sum);
    return highest;
}

/* Rotates halves against each other (RoPE, not interleaved); `out` may not be `x`. */
INLINE void rotate(const AttentionCall *call, const float *x, int position, float *out)
{
    int half = call->dim / 2;
    const float *cosine = call->cosine + (size_t)position * half, *sine = call->sine + (size_t)position * half;
    for (int i = 0; i < half; i++) {
        out[i] = x[i] * cosine[i] - x[half + i] * sine[i];
        out[half + i] = x[i] * sine[i] + x[half + i] * cosine[i];
    }
}

#endif

#ifdef HALF
INLINE V NAMED(cached)(const CACHED *from) { return OP(cvtph_ps)(LOAD_HALVES((const HALVES *)from)); }
INLINE void NAMED(keep)(CACHED *to, V x) { STORE_HALVES((HALVES *)to, OP(cvtps_ph)(x, _MM_FROUND_TO_NEAREST_INT)); }
#else
INLINE V NAMED(cached)(const CACHED *from) { return OP(loadu_ps)(from); }
INLINE void NAMED(keep)(CACHED *to, V x) { OP(storeu_ps)(to, x); }
#endif

/* queries [GROUP, dim] by KEYS keys, of which those from `count` on are the last one again -> scores by head and key */
INLINE V NAMED(scores)(const float *queries, const CACHED *keys, int count, int dim)
{
    const CACHED *key[KEYS];
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
    return sum_each(sums);
}

/* mixed [GROUP, dim] += weights [GROUP, POSITIONS_AT_ONCE] times values [count, dim], for `chunks` vectors of columns */
INLINE void NAMED(add_values)(const float *weights, const CACHED *values, int count, int dim, int chunks, float *mixed)
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
            V weight = OP(set1_ps)(weights[head * POSITIONS_AT_ONCE + t]);
            for (int c = 0; c < chunks; c++)
                sums[head][c] = OP(fmadd_ps)(weight, value[c], sums[head][c]);
        }
    }
    for (int head = 0; head < GROUP; head++)
        for (int c = 0; c < chunks; c++)
            OP(storeu_ps)(mixed + head * dim + c * LANES, sums[head][c]);
}

/* queries [GROUP, dim], keys and values [length, dim] -> mixed [GROUP, dim] */
INLINE void NAMED(attend)(const float *queries, const CACHED *keys, const CACHED *values, int length, int dim,
                          float *mixed)
{
    _Alignas(64) float weights[GROUP * POSITIONS_AT_ONCE];
    float highest[GROUP] = {-INFINITY, -INFINITY, -INFINITY, -INFINITY}, total[GROUP] = {0};
    memset(mixed, 0, sizeof(float) * GROUP * dim);
    for (int first = 0; first < length; first += POSITIONS_AT_ONCE, keys += POSITIONS_AT_ONCE * dim, values += POSITIONS_AT_ONCE * dim) {
        int count = length - first < POSITIONS_AT_ONCE ? length - first : POSITIONS_AT_ONCE;
        for (int t = 0; t < count; t += KEYS)
            store_by_head(weights + t, NAMED(scores)(queries, keys + (size_t)t * dim, count - t, dim));
        for (int head = 0; head < GROUP; head++) {
            float *own = weights + head * POSITIONS_AT_ONCE, before = highest[head], sum;
            for (int t = count; t % LANES; t++)
                own[t] = -INFINITY;
            highest[head] = weigh(own, count, before, &sum);
            float kept = first ? lane_0(exponential(OP(set1_ps)(before - highest[head]))) : 0;
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

static void NAMED(one_cached_head)(void *data, size_t index)
{
    const AttentionCall *call = data;
    int dim = call->dim, each = call->heads / call->kv_heads, steps = call->steps;
    size_t row = index / call->kv_heads, cached = index % call->kv_heads;
    size_t width = (size_t)(call->heads + 2 * call->kv_heads) * dim;
    CACHED *keys = (CACHED *)call->present[0] + index * call->positions * dim;
    CACHED *values = (CACHED *)call->present[1] + index * call->positions * dim;
    int begin = call->last[row] + 1 - steps;
    if (begin < 0)
        begin = 0; /* a first run, with padding behind a shorter row */
    for (int kind = 0; kind < 2; kind++) {
        const CACHED *past = (const CACHED *)call->past[kind] + index * call->past_positions * dim;
        CACHED *present = kind ? values : keys;
        if (past != present) {
            size_t kept = (size_t)call->past_positions * dim, all = (size_t)call->positions * dim;
            memcpy(present, past, sizeof(CACHED) * kept);
            memset(present + kept, 0, sizeof(CACHED) * (all - kept));
        }
    }
    for (int step = 0; step < steps; step++) {
        _Alignas(64) float queries[GROUP * MAX_HEAD_DIM], mixed[GROUP * MAX_HEAD_DIM];
        const float *packed = call->packed + (row * steps + step) * width;
        int position = begin + step;
        float *out = call->mixed + (row * steps + step) * call->heads * dim + cached * each * dim;
        rotate(call, packed + (call->heads + cached) * dim, position, queries);
        const float *value = packed + (call->heads + call->kv_heads + cached) * dim;
        for (int at = 0; at < dim; at += LANES) {
            NAMED(keep)(keys + (size_t)position * dim + at, OP(loadu_ps)(queries + at));
            NAMED(keep)(values + (size_t)position * dim + at, OP(loadu_ps)(value + at));
        }
        for (int first = 0; first < each; first += GROUP) {
            int here = each - first < GROUP ? each - first : GROUP;
            for (int head = 0; head < GROUP; head++)
                rotate(call, packed + (cached * each + first + (head < here ? head : 0)) * dim, position,
                     queries + head * dim);
            NAMED(attend)(queries, keys, values, position + 1, dim, mixed);
            memcpy(out + first * dim, mixed, sizeof(float) * here * dim);
        }
    }
}
