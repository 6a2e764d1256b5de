/* Rows by a strip of packed weights, and the quantised rows that this form wants.
 *
 * AVX-512 has an instruction for four products of uint8 and int8, so its rows are moved up by 128 and what that added
 * is taken off the sums. AVX2 has one for pairs whose sum must fit int16. There the weights are moved up, to at most 255,
 * so two values that add up to at most 128 fit. Of the few pairs that do not, each value is cut to 64, and what was cut
 * is multiplied in a second pass over those steps alone. Integer sums are exact in both, so results are the same. */

/* Cut in float: beyond int32 the conversion gives the least number for all. NaN becomes -128, as in the runtime. */
INLINE V in_range(V x) { return OP(min_ps)(OP(max_ps)(x, all(-128)), all(127)); }

/* Rows at once; bytes read ahead, since the processor's own reading ahead leaves several rows waiting for memory. */
enum { ROWS_AT_ONCE = 6, AHEAD = 16384 };

#if LANES == 16
typedef uint8_t Row;
enum { STRIP = 64, STEP = 4 };
typedef struct {
    I a, b, c, d; /* 64 columns of one row; no array, so that compilers keep it in registers */
} Sums;

INLINE Sums none(void) { return (Sums){OP(setzero_si512)(), OP(setzero_si512)(), OP(setzero_si512)(), OP(setzero_si512)()}; }

/* Of the four vectors of columns the first `lines`, a number known when compiled, are wanted. */
INLINE Sums weights_at(const int8_t *at, int lines)
{
    const I *line = (const I *)at;
    I zero = OP(setzero_si512)();
    return (Sums){line[0], lines > 1 ? line[1] : zero, lines > 2 ? line[2] : zero, lines > 2 ? line[3] : zero};
}

/* In assembly, since GCC 12 copies and spills the sums of the intrinsic, which halves the speed. */
#define DOT(sum, values, weights) __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(values), "v"(weights))

INLINE void add(Sums *sums, const Row *row, Sums weights, int lines)
{
    int32_t four;
    memcpy(&four, row, 4);
    I values = OP(set1_epi32)(four);
    DOT(sums->a, values, weights.a);
    if (lines > 1)
        DOT(sums->b, values, weights.b);
    if (lines > 2) {
        DOT(sums->c, values, weights.c);
        DOT(sums->d, values, weights.d);
    }
}

/* Cut to [-128, 127] and rounded, half to even. */
INLINE void quantise(Row *out, V x, V scale)
{
    __m128i bytes = _mm512_cvtepi32_epi8(OP(cvtps_epi32)(in_range(OP(div_ps)(x, scale))));
    _mm_storeu_si128((__m128i *)out, _mm_xor_si128(bytes, _mm_set1_epi8((char)0x80)));
}

INLINE I unshifted(I sums, const int32_t *of_weights, int32_t of_row)
{
    (void)of_row;
    return OP(sub_epi32)(sums, OP(slli_epi32)(load_ints(of_weights), 7)); /* 128 times */
}

#define ROWS_SIZE(count, depth) ((count) * (depth))
INLINE void settle(void *rows, size_t count, size_t depth) { (void)rows, (void)count, (void)depth; }
#else
typedef int8_t Row;
enum { STRIP = 16, STEP = 4, LARGEST_PAIR = 128 };
typedef struct {
    I a, b;
} Sums;

INLINE Sums none(void) { return (Sums){OP(setzero_si256)(), OP(setzero_si256)()}; }

INLINE Sums weights_at(const int8_t *at, int lines)
{
    const I *line = (const I *)at;
    (void)lines;
    return (Sums){OP(loadu_si256)(line), OP(loadu_si256)(line + 1)};
}

INLINE void add(Sums *sums, const Row *row, Sums weights, int lines)
{
    (void)lines;
    int32_t four;
    memcpy(&four, row, 4);
    I values = OP(set1_epi32)(four), ones = OP(set1_epi16)(1);
    sums->a = OP(add_epi32)(sums->a, OP(madd_epi16)(OP(maddubs_epi16)(weights.a, values), ones));
    sums->b = OP(add_epi32)(sums->b, OP(madd_epi16)(OP(maddubs_epi16)(weights.b, values), ones));
}

INLINE void quantise(Row *out, V x, V scale)
{
    I whole = OP(cvtps_epi32)(in_range(OP(div_ps)(x, scale)));
    __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
    _mm_storel_epi64((__m128i *)out, _mm_packs_epi16(words, words));
}

INLINE I unshifted(I sums, const int32_t *of_weights, int32_t of_row)
{
    (void)of_weights;
    return OP(sub_epi32)(sums, OP(set1_epi32)(128 * of_row));
}

/* Behind `count` rows lie their second parts, the sums of each row, and for each group of rows the steps at which one of
 * them has a second part, their number first. */
#define ROWS_SIZE(count, depth) \
    (2 * (count) * (depth) + 4 * (count) + 2 * ((count) / ROWS_AT_ONCE + 1) * ((depth) / STEP + 1))
INLINE Row *second_parts(const void *rows, size_t count, size_t depth) { return (Row *)rows + count * depth; }
INLINE int32_t *row_sums(const void *rows, size_t count, size_t depth)
{
    return (int32_t *)(void *)((Row *)rows + 2 * count * depth);
}
INLINE uint16_t *second_steps(const void *rows, size_t count, size_t depth, size_t group)
{
    return (uint16_t *)(row_sums(rows, count, depth) + count) + group * (depth / STEP + 1);
}

/* What a pair of values leaves beyond the largest: half of it, at most, goes to the second part. */
static int split(Row *row, Row *second, size_t count)
{
    int any = 0;
    for (size_t at = 0; at < count; at += 2)
        if (row[at] + row[at + 1] > LARGEST_PAIR || row[at] + row[at + 1] < -LARGEST_PAIR)
            for (size_t one = at; one < at + 2; one++) {
                int first = row[one] > 64 ? 64 : row[one] < -64 ? -64 : row[one];
                second[one] = (Row)(row[one] - first), row[one] = (Row)first, any = 1;
            }
    return any;
}

INLINE int split_row(Row *row, Row *second, size_t depth, int32_t *sum)
{
    I total = OP(setzero_si256)(), ones = OP(set1_epi16)(1), most = OP(set1_epi16)(LARGEST_PAIR);
    size_t at = 0;
    int any = 0;
    *sum = 0;
    for (; at + 32 <= depth; at += 32) {
        I pairs = OP(maddubs_epi16)(OP(set1_epi8)(1), OP(loadu_si256)((const I *)(row + at)));
        total = OP(add_epi32)(total, OP(madd_epi16)(pairs, ones));
        if (OP(movemask_epi8)(OP(cmpgt_epi16)(OP(abs_epi16)(pairs), most)))
            any |= split(row + at, second + at, 32);
    }
    int32_t parts[LANES];
    OP(storeu_si256)((I *)parts, total);
    for (int lane = 0; lane < LANES; lane++)
        *sum += parts[lane];
    for (size_t rest = at; rest < depth; rest++)
        *sum += row[rest];
    return any | split(row + at, second + at, depth - at);
}

/* Makes quantised rows into what `rows_by_strip` takes. */
static void settle(void *rows, size_t count, size_t depth)
{
    Row *first = rows, *second = second_parts(rows, count, depth);
    memset(second, 0, count * depth);
    for (size_t start = 0; start < count; start += ROWS_AT_ONCE) {
        size_t end = start + ROWS_AT_ONCE < count ? start + ROWS_AT_ONCE : count;
        uint16_t *steps = second_steps(rows, count, depth, start / ROWS_AT_ONCE), found = 0;
        int any = 0;
        for (size_t row = start; row < end; row++)
            any |= split_row(first + row * depth, second + row * depth, depth, row_sums(rows, count, depth) + row);
        for (size_t step = 0; any && step < depth / STEP; step++) {
            uint32_t here = 0, four;
            for (size_t row = start; row < end; row++) {
                memcpy(&four, second + row * depth + step * STEP, 4);
                here |= four;
            }
            if (here)
                steps[++found] = (uint16_t)step;
        }
        steps[0] = found;
    }
}
#endif

static size_t rows_size(size_t count, size_t depth) { return ROWS_SIZE(count, depth); }

static void quantise_rows(const float *x, size_t count, size_t depth, float step, void *rows)
{
    Row *out = rows;
    size_t at = 0, all_of_them = count * depth;
    for (; at + LANES <= all_of_them; at += LANES)
        quantise(out + at, OP(loadu_ps)(x + at), all(step));
    if (at < all_of_them) {
        Row last[LANES];
        quantise(last, load_some(x + at, all_of_them - at), all(step));
        memcpy(out + at, last, (all_of_them - at) * sizeof(Row));
    }
    settle(rows, count, depth);
}

/* LANES columns, or as many as there are, scaled. */
INLINE void store(const Product *call, I sums, int32_t row_sum, size_t row, size_t column)
{
    const Weights *weights = call->weights;
    if (column >= (size_t)weights->columns)
        return;
    size_t left = (size_t)weights->columns - column;
    V made = OP(cvtepi32_ps)(unshifted(sums, weights->sums + column, row_sum)), of_row = all(call->row_scale);
    float *out = call->out + row * (size_t)weights->columns + column;
    const float *scales = call->column_scales + column;
    if (left >= LANES)
        OP(storeu_ps)(out, OP(mul_ps)(made, OP(mul_ps)(of_row, OP(loadu_ps)(scales))));
    else
        store_some(out, OP(mul_ps)(made, OP(mul_ps)(of_row, load_some(scales, left))), left);
}

INLINE void store_all(const Product *call, Sums sums, size_t row, size_t column, int lines)
{
#if LANES == 16
    store(call, sums.a, 0, row, column);
    if (lines > 1)
        store(call, sums.b, 0, row, column + LANES);
    if (lines > 2) {
        store(call, sums.c, 0, row, column + 2 * LANES);
        store(call, sums.d, 0, row, column + 3 * LANES);
    }
#else
    (void)lines;
    int32_t row_sum = row_sums(call->rows, (size_t)call->count, (size_t)call->weights->depth)[row];
    store(call, sums.a, row_sum, row, column);
    store(call, sums.b, row_sum, row, column + LANES);
#endif
}

/* `count` rows from `first` on, a number known when compiled, as is that of the lines. */
INLINE void rows_by_strip(const Product *call, size_t index, size_t first, int count, int lines)
{
    size_t depth = (size_t)call->weights->depth, column = index * STRIP;
    const Row *rows = (const Row *)call->rows + first * depth;
    const int8_t *strip = call->weights->packed + column * depth;
    Sums s0 = none(), s1 = none(), s2 = none(), s3 = none(), s4 = none(), s5 = none();
#define ADD_ALL(rows, k, weights)                               \
    do {                                                        \
        add(&s0, (rows) + (k), weights, lines);                 \
        if (count > 1)                                          \
            add(&s1, (rows) + depth + (k), weights, lines);     \
        if (count > 2)                                          \
            add(&s2, (rows) + 2 * depth + (k), weights, lines); \
        if (count > 3)                                          \
            add(&s3, (rows) + 3 * depth + (k), weights, lines); \
        if (count > 4)                                          \
            add(&s4, (rows) + 4 * depth + (k), weights, lines); \
        if (count > 5)                                          \
            add(&s5, (rows) + 5 * depth + (k), weights, lines); \
    }while (0)
    for (size_t k = 0; k < depth; k += STEP) {
        for (int line = 0; line < 64 * lines; line += 64)
            _mm_prefetch((const char *)strip + k * STRIP + line + AHEAD, _MM_HINT_T0);
        Sums weights = weights_at(strip + k * STRIP, lines);
        ADD_ALL(rows, k, weights);
    }
#if LANES == 8
    const Row *second = second_parts(call->rows, (size_t)call->count, depth) + first * depth;
    const uint16_t *steps = second_steps(call->rows, (size_t)call->count, depth, first / ROWS_AT_ONCE);
    for (size_t at = 1; at <= steps[0]; at++) {
        size_t k = (size_t)steps[at] * STEP;
        Sums weights = weights_at(strip + k * STRIP, lines);
        ADD_ALL(second, k, weights);
    }
#endif
    store_all(call, s0, first, column, lines);
    if (count > 1)
        store_all(call, s1, first + 1, column, lines);
    if (count > 2)
        store_all(call, s2, first + 2, column, lines);
    if (count > 3)
        store_all(call, s3, first + 3, column, lines);
    if (count > 4)
        store_all(call, s4, first + 4, column, lines);
    if (count > 5)
        store_all(call, s5, first + 5, column, lines);
}

INLINE void strip_of(const Product *call, size_t index, int lines)
{
    size_t first = 0, count = (size_t)call->count;
    for (; count - first >= ROWS_AT_ONCE; first += ROWS_AT_ONCE)
        rows_by_strip(call, index, first, ROWS_AT_ONCE, lines);
    switch (count - first) {
    case 1:
        rows_by_strip(call, index, first, 1, lines);
        break;
    case 2:
        rows_by_strip(call, index, first, 2, lines);
        break;
    case 3:
        rows_by_strip(call, index, first, 3, lines);
        break;
    case 4:
        rows_by_strip(call, index, first, 4, lines);
        break;
    case 5:
        rows_by_strip(call, index, first, 5, lines);
        break;
    }
}

/* A narrow product fills the first vectors of its only strip. */
static void one_strip(void *data, size_t index)
{
    const Product *call = data;
    size_t columns = (size_t)call->weights->columns - index * STRIP;
    if (LANES == 16 && columns <= LANES)
        strip_of(call, index, 1);
    else if (LANES == 16 && columns <= 2 * LANES)
        strip_of(call, index, 2);
    else
        strip_of(call, index, STEP * STRIP / 64);
}
