/* A dozen steps of one row through a whole block, while they are in the first-level cache. */

/* What the first product takes in of one step: mixed over time, normed, quantised. */
INLINE void mix(const BlockCall *call, size_t row, size_t step, Row *out)
{
    const Block *block = call->block;
    float *const *floats = block->floats;
    const float *steps[TAPS];
    float mixed[MAX_WIDTH];
    V total[PARTS], squares[PARTS];
    for (int part = 0; part < PARTS; part++)
        total[part] = squares[part] = OP(setzero_ps)();
    for (int tap = 0; tap < TAPS; tap++)
        steps[tap] = step_of(call, row, (ptrdiff_t)step + tap - CONTEXT);
    for (size_t sixteen = 0; sixteen < block->width; sixteen += 16)
        for (size_t part = 0; part < PARTS; part++) {
            size_t at = sixteen + part * LANES;
            V sum = OP(loadu_ps)(floats[CONV_BIAS] + at);
            for (int tap = 0; tap < TAPS; tap++) {
                const float *weight = floats[tap ? TAP_1 + tap - 1 : TAP_0];
                sum = OP(fmadd_ps)(OP(loadu_ps)(steps[tap] + at), OP(loadu_ps)(weight + at), sum);
            }
            OP(storeu_ps)(mixed + at, sum);
            total[part] = OP(add_ps)(total[part], sum);
        }
    V mean = all(sum_of(total) / (float)block->width), step_size = all(*floats[FIRST_STEP]);
    for (size_t sixteen = 0; sixteen < block->width; sixteen += 16)
        for (size_t part = 0; part < PARTS; part++) {
            V away = OP(sub_ps)(OP(loadu_ps)(mixed + sixteen + part * LANES), mean);
            squares[part] = OP(fmadd_ps)(away, away, squares[part]);
        }
    V scale = all(1.0f / sqrtf(sum_of(squares) / (float)block->width + 1e-5f));
    for (size_t at = 0; at < block->width; at += LANES) {
        V away = OP(mul_ps)(OP(sub_ps)(OP(loadu_ps)(mixed + at), mean), scale);
        V normed = OP(fmadd_ps)(away, OP(loadu_ps)(floats[NORM_SCALE] + at), OP(loadu_ps)(floats[NORM_BIAS] + at));
        quantise(out + at, normed, step_size);
    }
}

INLINE void multiply(const Weights *weights, const Row *rows, size_t count, float step, const float *scales, float *out)
{
    Product product = {.weights = weights, .rows = rows, .column_scales = scales, .row_scale = step, .out = out,
                       .count = (int)count};
    for (size_t strip = 0; strip < (size_t)weights->strips; strip++)
        one_strip(&product, strip);
}

static void one_tile(void *data, size_t index)
{
    const BlockCall *call = data;
    const Block *block = call->block;
    float *const *floats = block->floats;
    size_t row = index / call->tiles, first = index % call->tiles * TILE, width = block->width, hidden = block->hidden;
    size_t count = call->steps - first < TILE ? call->steps - first : TILE;
    _Alignas(64) Row narrow[ROWS_SIZE(TILE, MAX_WIDTH)], wide[ROWS_SIZE(TILE, MAX_HIDDEN)];
    _Alignas(64) float made[TILE * MAX_HIDDEN];
    for (size_t at = 0; at < count; at++)
        mix(call, row, first + at, narrow + at * width);
    settle(narrow, count, width);
    multiply(block->first, narrow, count, *floats[FIRST_STEP], floats[FIRST_SCALES], made);
    V step = all(*floats[SECOND_STEP]);
    for (size_t at = 0; at < count; at++)
        for (size_t column = 0; column < hidden; column += LANES) {
            const float *from = made + at * hidden + column;
            V sum = OP(add_ps)(OP(loadu_ps)(from), OP(loadu_ps)(floats[FIRST_BIAS] + column));
            quantise(wide + at * hidden + column, gelu_of(sum), step);
        }
    settle(wide, count, hidden);
    multiply(block->second, wide, count, *floats[SECOND_STEP], floats[SECOND_SCALES], made);
    for (size_t at = 0; at < count; at++) {
        const float *x = step_of(call, row, (ptrdiff_t)(first + at));
        float *out = call->out + (row * call->steps + first + at) * width;
        for (size_t column = 0; column < width; column += LANES) {
            V sum = OP(add_ps)(OP(loadu_ps)(made + at * width + column), OP(loadu_ps)(floats[SECOND_BIAS] + column));
            V scale = OP(loadu_ps)(floats[OUT_SCALE] + column);
            OP(storeu_ps)(out + column, OP(fmadd_ps)(scale, sum, OP(loadu_ps)(x + column)));
        }
    }
}
