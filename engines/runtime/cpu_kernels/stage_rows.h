/* A whole stage of one stream, STAGE_ROWS of its upsampled steps at a time, while they are in the second-level cache. */

INLINE V elu_of(V x)
{
    return where_negative(x, OP(sub_ps)(exp_of(OP(max_ps)(x, all(-87))), all(1)), x);
}

/* ELU of `count` values, as floats and quantised, where there is a place for either. */
INLINE void elu_row(const float *x, size_t count, float *floats, float step, Row *out)
{
    size_t at = 0;
    for (; at + LANES <= count; at += LANES) {
        V value = elu_of(OP(loadu_ps)(x + at));
        if (floats)
            OP(storeu_ps)(floats + at, value);
        if (out)
            quantise(out + at, value, all(step));
    }
    if (at == count)
        return;
    V value = elu_of(load_some(x + at, count - at));
    Row narrow[LANES];
    if (floats)
        store_some(floats + at, value, count - at);
    quantise(narrow, value, all(step));
    if (out)
        memcpy(out + at, narrow, (count - at) * sizeof(Row));
}

static void quantise_row(const float *x, size_t count, float step, Row *out)
{
    for (size_t at = 0; at < count; at += LANES) {
        size_t left = count - at < LANES ? count - at : LANES;
        Row narrow[LANES];
        quantise(narrow, load_some(x + at, left), all(step));
        memcpy(out + at, narrow, left * sizeof(Row));
    }
}

/* rows [count, width] and a bias [width]; with `other` [count, width] too, into `out`, which may be `rows`. */
INLINE void add_bias(const float *rows, size_t count, size_t width, const float *bias, const float *other, float *out)
{
    for (size_t row = 0; row < count; row++)
        for (size_t at = 0; at < width; at += LANES) {
            size_t left = width - at < LANES ? width - at : LANES, place = row * width + at;
            V sum = OP(add_ps)(load_some(rows + place, left), load_some(bias + at, left));
            store_some(out + place, other ? OP(add_ps)(load_some(other + place, left), sum) : sum, left);
        }
}

/* Windows of `taps` rows each, side by side, of taps - 1 + count rows: settled for the product. */
static void lay_windows(const Row *rows, size_t count, size_t width, size_t taps, Row *windows)
{
    for (size_t at = 0; at < count; at++)
        memcpy(windows + at * taps * width, rows + at * width, taps * width * sizeof(Row));
    settle(windows, count, taps * width);
}

/* Scratch of one stream, each part at a multiple of 64 bytes. */
typedef struct {
    Row *opened, *up_windows; /* [1 + n, inputs], [n, 2 inputs] */
    float *raised;            /* [n * ratio, width] */
    Row *looked, *windows;    /* [2 + n * ratio, width], [n * ratio, 3 width] */
    float *hidden;            /* [n * ratio, hidden], and what leads back: [n * ratio, width] */
    Row *hidden_rows;
} Scratch;

INLINE size_t padded(size_t bytes) { return (bytes + 63) / 64 * 64; }

/* Returns the block to free. */
static void *scratch_of(const Stage *stage, size_t steps, Scratch *out)
{
    size_t rows = steps * stage->ratio, widest = stage->width > stage->hidden ? stage->width : stage->hidden;
    size_t sizes[] = {padded((1 + steps) * stage->inputs), padded(ROWS_SIZE(steps, UP_TAPS * stage->inputs)),
                      padded(rows * stage->width * sizeof(float)), padded((2 + rows) * stage->width),
                      padded(ROWS_SIZE(rows, NARROW_TAPS * stage->width)), padded(rows * widest * sizeof(float)),
                      padded(ROWS_SIZE(rows, stage->hidden))};
    size_t total = 0;
    for (size_t at = 0; at < sizeof sizes / sizeof *sizes; at++)
        total += sizes[at];
    char *block = aligned_alloc(64, total), *at = block;
    if (!block)
        return NULL;
    out->opened = (Row *)at, at += sizes[0];
    out->up_windows = (Row *)at, at += sizes[1];
    out->raised = (float *)(void *)at, at += sizes[2];
    out->looked = (Row *)at, at += sizes[3];
    out->windows = (Row *)at, at += sizes[4];
    out->hidden = (float *)(void *)at, at += sizes[5];
    out->hidden_rows = (Row *)at;
    return block;
}

/* `count` steps of x [count, inputs]; the rows before them lie in front of `opened` and `looked` already. */
static void some_steps(const Stage *stage, const float *x, size_t count, const Scratch *scratch, float *out)
{
    float *const *floats = stage->floats;
    size_t rows = count * stage->ratio, width = stage->width, hidden = stage->hidden;
    elu_row(x, count * stage->inputs, NULL, *floats[UP_STEP], scratch->opened + stage->inputs);
    lay_windows(scratch->opened, count, stage->inputs, UP_TAPS, scratch->up_windows);
    multiply(stage->up, scratch->up_windows, count, *floats[UP_STEP], floats[UP_SCALES], scratch->raised);
    add_bias(scratch->raised, count, stage->ratio * width, floats[UP_BIAS], NULL, scratch->raised);
    elu_row(scratch->raised, rows * width, NULL, *floats[NARROW_STEP], scratch->looked + 2 * width);
    lay_windows(scratch->looked, rows, width, NARROW_TAPS, scratch->windows);
    multiply(stage->narrow, scratch->windows, rows, *floats[NARROW_STEP], floats[NARROW_SCALES], scratch->hidden);
    add_bias(scratch->hidden, rows, hidden, floats[NARROW_BIAS], NULL, scratch->hidden);
    elu_row(scratch->hidden, rows * hidden, NULL, *floats[BACK_STEP], scratch->hidden_rows);
    settle(scratch->hidden_rows, rows, hidden);
    multiply(stage->back, scratch->hidden_rows, rows, *floats[BACK_STEP], floats[BACK_SCALES], scratch->hidden);
    add_bias(scratch->hidden, rows, width, floats[BACK_BIAS], scratch->raised, out);
}

static void one_stage(void *data, size_t row)
{
    StageCall *call = data;
    const Stage *stage = call->stage;
    size_t inputs = stage->inputs, width = stage->width, steps = call->steps;
    size_t most = STAGE_ROWS / stage->ratio < steps ? STAGE_ROWS / stage->ratio : steps, last = 0;
    const float *x = call->x + row * steps * inputs;
    float *out = call->out + row * steps * stage->ratio * width;
    Scratch scratch;
    void *block = scratch_of(stage, most, &scratch);
    if (!block) {
        call->out_of_memory = 1;
        return;
    }
    quantise_row(call->up_past + row * inputs, inputs, *stage->floats[UP_STEP], scratch.opened);
    quantise_row(call->narrow_past + row * 2 * width, 2 * width, *stage->floats[NARROW_STEP], scratch.looked);
    for (size_t first = 0; first < steps; first += most) {
        last = steps - first < most ? steps - first : most;
        some_steps(stage, x + first * inputs, last, &scratch, out + first * stage->ratio * width);
        memmove(scratch.opened, scratch.opened + last * inputs, inputs * sizeof(Row));
        memmove(scratch.looked, scratch.looked + last * stage->ratio * width, 2 * width * sizeof(Row));
    }
    elu_row(x + (steps - 1) * inputs, inputs, call->up_later + row * inputs, 1, NULL);
    elu_row(scratch.raised + (last * stage->ratio - 2) * width, 2 * width, call->narrow_later + row * 2 * width, 1, NULL);
    free(block);
}
