/* The last convolution of one stream: ELU, and a sum over the windows, which lie in memory as they are. */

INLINE float closing_sum(const float *window, const float *weight, size_t count)
{
    V total[PARTS];
    for (int part = 0; part < PARTS; part++)
        total[part] = OP(setzero_ps)();
    for (size_t sixteen = 0; sixteen < count; sixteen += 16)
        for (size_t part = 0; part < PARTS; part++) {
            size_t at = sixteen + part * LANES, left = at >= count ? 0 : count - at < LANES ? count - at : LANES;
            total[part] = OP(fmadd_ps)(load_some(window + at, left), load_some(weight + at, left), total[part]);
        }
    return sum_of(total);
}

static void one_closing(void *data, size_t row)
{
    const ClosingCall *call = data;
    const Closing *closing = call->closing;
    size_t width = closing->width, look_back = CLOSING_TAPS - 1, steps = call->steps, count = 0;
    const float *x = call->x + row * steps * width;
    float *out = call->out + row * steps;
    _Alignas(64) float opened[(CLOSING_TAPS - 1 + CLOSING_STEPS) * MAX_CLOSING_WIDTH];
    memcpy(opened, call->past + row * look_back * width, look_back * width * sizeof(float));
    for (size_t first = 0; first < steps; first += count) {
        count = steps - first < CLOSING_STEPS ? steps - first : CLOSING_STEPS;
        elu_row(x + first * width, count * width, opened + look_back * width, 1, NULL);
        for (size_t at = 0; at < count; at++)
            out[first + at] = closing_sum(opened + at * width, closing->weight, CLOSING_TAPS * width) + closing->bias;
        memmove(opened, opened + count * width, look_back * width * sizeof(float));
    }
    memcpy(call->later + row * look_back * width, opened, look_back * width * sizeof(float));
}
