/* Rows by a strip of packed weights, and the quantised rows that this form wants.
 *
 * AVX-512 has an instruction for four products of uint8 and int8, so its rows are moved up by 128 and what that added
 * is taken off the sums. AVX2 has one that saturates; there weights and rows are widened to int16, whose products and
 * sums are exact in int32. Integer sums are the same in both, so are results. */

/* Cut in float: beyond int32 the conversion gives the least number for all. NaN becomes -128, as in the runtime. */
INLINE V in_range(V x) { return OP(min_ps)(OP(max_ps)(x, all(-128)), all(127)); }

#if LANES == 16
typedef uint8_t Row;
enum { STRIP = 64, STEP = 4 };
typedef struct {
    I a, b, c, d; /* 64 columns of one row; no array, so that compilers keep it in registers */
} Sums;

INLINE Sums none(void) { return (Sums){OP(setzero_si512)(), OP(setzero_si512)(), OP(setzero_si512)(), OP(setzero_si512)()}; }

INLINE Sums weights_at(const int8_t *at)
{
    const I *lines = (const I *)at;
    return (Sums){lines[0], lines[1], lines[2], lines[3]};
}

/* In assembly, since GCC 12 copies and spills the sums of the intrinsic, which halves the speed. */
#define DOT(sum, values, weights) __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(values), "v"(weights))

INLINE void add(Sums *sums, const Row *row, Sums weights)
{
    int32_t four;
    memcpy(&four, row, 4);
    I values = OP(set1_epi32)(four);
    DOT(sums->a, values, weights.a);
    DOT(sums->b, values, weights.b);
    DOT(sums->c, values, weights.c);
    DOT(sums->d, values, weights.d);
}

/* Cut to [-128, 127] and rounded, half to even. */
INLINE void quantise(Row *out, V x, V scale)
{
    __m128i bytes = _mm512_cvtepi32_epi8(OP(cvtps_epi32)(in_range(OP(div_ps)(x, scale))));
    _mm_storeu_si128((__m128i *)out, _mm_xor_si128(bytes, _mm_set1_epi8((char)0x80)));
}

INLINE I unshifted(I sums, const int32_t *of_weights)
{
    return OP(sub_epi32)(sums, OP(slli_epi32)(load_ints(of_weights), 7)); /* 128 times */
}
#else
typedef int16_t Row;
enum { STRIP = 16, STEP = 2 };
typedef struct {
    I a, b;
} Sums;

INLINE Sums none(void) { return (Sums){OP(setzero_si256)(), OP(setzero_si256)()}; }

INLINE Sums weights_at(const int8_t *at)
{
    return (Sums){OP(cvtepi8_epi16)(_mm_loadu_si128((const __m128i *)at)),
                  OP(cvtepi8_epi16)(_mm_loadu_si128((const __m128i *)at + 1))};
}

INLINE void add(Sums *sums, const Row *row, Sums weights)
{
    int32_t two;
    memcpy(&two, row, 4);
    I values = OP(set1_epi32)(two);
    sums->a = OP(add_epi32)(sums->a, OP(madd_epi16)(values, weights.a));
    sums->b = OP(add_epi32)(sums->b, OP(madd_epi16)(values, weights.b));
}

INLINE void quantise(Row *out, V x, V scale)
{
    I whole = OP(cvtps_epi32)(in_range(OP(div_ps)(x, scale)));
    __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
    _mm_storeu_si128((__m128i *)out, words);
}

INLINE I unshifted(I sums, const int32_t *of_weights) { (void)of_weights; return sums; }
#endif

/* Rows at once; bytes read ahead, since the processor's own reading ahead leaves several rows waiting for memory. */
enum { ROWS_AT_ONCE = 6, AHEAD = 16384 };

static void quantise_rows(const float *x, size_t count, float step, void *rows)
{
    Row *out = rows;
    size_t at = 0;
    for (; at + LANES <= count; at += LANES)
        quantise(out + at, OP(loadu_ps)(x + at), all(step));
    if (at < count) {
        Row last[LANES];
        quantise(last, load_some(x + at, count - at), all(step));
        memcpy(out + at, last, (count - at) * sizeof(Row));
    }
}

/* LANES columns, or as many as there are, scaled. */
INLINE void store(const Product *call, I sums, size_t row, size_t column)
{
    const Weights *weights = call->weights;
    if (column >= (size_t)weights->columns)
        return;
    size_t left = (size_t)weights->columns - column;
    V made = OP(cvtepi32_ps)(unshifted(sums, weights->sums + column)), of_row = all(call->row_scale);
    float *out = call->out + row * (size_t)weights->columns + column;
    const float *scales = call->column_scales + column;
    if (left >= LANES)
        OP(storeu_ps)(out, OP(mul_ps)(made, OP(mul_ps)(of_row, OP(loadu_ps)(scales))));
    else
        store_some(out, OP(mul_ps)(made, OP(mul_ps)(of_row, load_some(scales, left))), left);
}

INLINE void store_all(const Product *call, Sums sums, size_t row, size_t column)
{
    store(call, sums.a, row, column);
    store(call, sums.b, row, column + LANES);
#if LANES == 16
    store(call, sums.c, row, column + 2 * LANES);
    store(call, sums.d, row, column + 3 * LANES);
#endif
}

/* `count` rows from `first` on, a number known when compiled. */
INLINE void rows_by_strip(const Product *call, size_t index, size_t first, int count)
{
    size_t depth = (size_t)call->weights->depth, column = index * STRIP;
    const Row *rows = (const Row *)call->rows + first * depth;
    const int8_t *strip = call->weights->packed + column * depth;
    Sums s0 = none(), s1 = none(), s2 = none(), s3 = none(), s4 = none(), s5 = none();
    for (size_t k = 0; k < depth; k += STEP, strip += STEP * STRIP) {
        for (int line = 0; line < STEP * STRIP; line += 64)
            _mm_prefetch((const char *)strip + line + AHEAD, _MM_HINT_T0);
        Sums weights = weights_at(strip);
        add(&s0, rows + k, weights);
        if (count > 1)
            add(&s1, rows + depth + k, weights);
        if (count > 2)
            add(&s2, rows + 2 * depth + k, weights);
        if (count > 3)
            add(&s3, rows + 3 * depth + k, weights);
        if (count > 4)
            add(&s4, rows + 4 * depth + k, weights);
        if (count > 5)
            add(&s5, rows + 5 * depth + k, weights);
    }
    store_all(call, s0, first, column);
    if (count > 1)
        store_all(call, s1, first + 1, column);
    if (count > 2)
        store_all(call, s2, first + 2, column);
    if (count > 3)
        store_all(call, s3, first + 3, column);
    if (count > 4)
        store_all(call, s4, first + 4, column);
    if (count > 5)
        store_all(call, s5, first + 5, column);
}

static void one_strip(void *data, size_t index)
{
    const Product *call = data;
    size_t first = 0, count = (size_t)call->count;
    for (; count - first >= ROWS_AT_ONCE; first += ROWS_AT_ONCE)
        rows_by_strip(call, index, first, ROWS_AT_ONCE);
    switch (count - first) {
    case 1:
        rows_by_strip(call, index, first, 1);
        break;
    case 2:
        rows_by_strip(call, index, first, 2);
        break;
    case 3:
        rows_by_strip(call, index, first, 3);
        break;
    case 4:
        rows_by_strip(call, index, first, 4);
        break;
    case 5:
        rows_by_strip(call, index, first, 5);
        break;
    }
}
