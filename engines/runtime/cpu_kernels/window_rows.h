/* One stream's attention over the last steps, head by head.
 *
 *     keys     [kept steps of the past | new ones]      in scratch, so that a window lies in one piece
 *     query t  sees the `kept` before it and itself, of those that there are */

/* x [dim] -> out, halves turned against each other */
INLINE void window_turn(const float *x, const float *cosines, const float *sines, size_t dim, float *out)
{
    size_t half = dim / 2;
    for (size_t at = 0; at < half; at += LANES) {
        V first = OP(loadu_ps)(x + at), second = OP(loadu_ps)(x + half + at);
        V cosine = OP(loadu_ps)(cosines + at), sine = OP(loadu_ps)(sines + at);
        OP(storeu_ps)(out + at, OP(fnmadd_ps)(second, sine, OP(mul_ps)(first, cosine)));
        OP(storeu_ps)(out + half + at, OP(fmadd_ps)(first, sine, OP(mul_ps)(second, cosine)));
    }
}

/* keys and values [count, dim] -> out [dim] */
INLINE void window_query(const float *query, const float *keys, const float *values, size_t count, size_t dim, float *out)
{
    _Alignas(64) float weights[MAX_WINDOW + LANES];
    size_t first = 0;
    do {
        V sums[LANES];
        for (size_t key = 0; key < LANES; key++) {
            const float *from = keys + (first + key < count ? first + key : count - 1) * dim;
            sums[key] = OP(mul_ps)(OP(loadu_ps)(query), OP(loadu_ps)(from));
            for (size_t at = LANES; at < dim; at += LANES)
                sums[key] = OP(fmadd_ps)(OP(loadu_ps)(query + at), OP(loadu_ps)(from + at), sums[key]);
        }
        OP(storeu_ps)(weights + first, sum_each(sums));
    } while ((first += LANES) < count);
    for (size_t at = count; at % LANES; at++)
        weights[at] = -INFINITY;
    float total;
    weigh(weights, (int)count, -INFINITY, &total);
    /* Eight sums under way: as many keys at once as there are not vectors in a value. */
    enum { UNDER_WAY = 8 };
    V sums[UNDER_WAY];
    size_t parts = dim / LANES, at_once = UNDER_WAY / parts;
    for (size_t at = 0; at < UNDER_WAY; at++)
        sums[at] = OP(setzero_ps)();
    size_t key = 0;
    for (; key + at_once <= count; key += at_once)
        for (size_t one = 0; one < at_once; one++)
            for (size_t part = 0; part < parts; part++)
                sums[one * parts + part] = OP(fmadd_ps)(OP(set1_ps)(weights[key + one]),
                    OP(loadu_ps)(values + (key + one) * dim + part * LANES), sums[one * parts + part]);
    for (; key < count; key++)
        for (size_t part = 0; part < parts; part++)
            sums[part] = OP(fmadd_ps)(OP(set1_ps)(weights[key]), OP(loadu_ps)(values + key * dim + part * LANES), sums[part]);
    for (size_t part = 0; part < parts; part++) {
        V sum = sums[part];
        for (size_t one = 1; one < at_once; one++)
            sum = OP(add_ps)(sum, sums[one * parts + part]);
        OP(storeu_ps)(out + part * LANES, OP(div_ps)(sum, all(total)));
    }
}

INLINE void window_head(const WindowCall *call, size_t row, size_t head, size_t dim, float *keys, float *values)
{
    size_t heads = call->heads, kept = call->kept, steps = call->steps, past = (row * heads + head) * kept * dim;
    int64_t position = call->positions[row];
    const float *packed = call->packed + row * steps * 3 * heads * dim + head * dim;
    memcpy(keys, call->past[0] + past, kept * dim * sizeof(float));
    memcpy(values, call->past[1] + past, kept * dim * sizeof(float));
    for (size_t step = 0; step < steps; step++) {
        const float *from = packed + step * 3 * heads * dim;
        size_t place = ((size_t)position + step) * dim / 2;
        window_turn(from + heads * dim, call->cosines + place, call->sines + place, dim, keys + (kept + step) * dim);
        memcpy(values + (kept + step) * dim, from + 2 * heads * dim, dim * sizeof(float));
    }
    memcpy(call->later[0] + past, keys + steps * dim, kept * dim * sizeof(float));
    memcpy(call->later[1] + past, values + steps * dim, kept * dim * sizeof(float));
    for (size_t step = 0; step < steps; step++) {
        _Alignas(64) float query[64];
        size_t place = (size_t)position + step, before = place < kept ? place : kept, oldest = kept + step - before;
        window_turn(packed + step * 3 * heads * dim, call->cosines + place * dim / 2, call->sines + place * dim / 2, dim, query);
        window_query(query, keys + oldest * dim, values + oldest * dim, before + 1, dim,
                     call->mixed + ((row * steps + step) * heads + head) * dim);
    }
}

static void one_window(void *data, size_t row)
{
    WindowCall *call = data;
    size_t size = (call->kept + call->steps) * call->dim;
    float *keys = aligned_alloc(64, 2 * padded(size * sizeof(float)));
    if (!keys) {
        call->out_of_memory = 1;
        return;
    }
    float *values = keys + padded(size * sizeof(float)) / sizeof(float);
    for (size_t head = 0; head < call->heads; head++)
        if (call->dim == 32)
            window_head(call, row, head, 32, keys, values);
        else
            window_head(call, row, head, 64, keys, values);
    free(keys);
}
