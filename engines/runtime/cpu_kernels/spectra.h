/* Pulses, and the windows' spectra with the filters over them; a lane is one frame (frames.c). */

typedef struct {
    V re, im;
} Complex;

/* One pulse for each cycle of the phase, read from a table along straight lines. */
static void make_pulses(const FramesCall *call, size_t row)
{
    const Frames *kernel = call->kernel;
    float *out = call->samples + row * (LOOK_BACK + call->frames * HOP);
    memcpy(out, call->tail + row * LOOK_BACK, LOOK_BACK * sizeof(float));
    out += LOOK_BACK;
    uint32_t phase = (uint32_t)call->phase[row];
    static const int32_t COUNTING[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
    const I counting = load_ints(COUNTING);
    for (size_t frame = 0; frame < call->frames; frame++, out += HOP) {
        float f0_hz = call->f0_hz[row * call->frames + frame], voiced = call->voiced[row * call->frames + frame];
        uint32_t increment = (uint32_t)llrintf(f0_hz * kernel->turns_per_hz);
        V gain = all(sqrtf(1.0f / f0_hz * kernel->sample_rate_hz) * voiced), per_sample = all((float)increment);
        I cycles = OP(add_epi32)(OP(set1_epi32)((int)phase), OP(mullo_epi32)(counting, OP(set1_epi32)((int)increment)));
        const I onward = OP(set1_epi32)((int)(LANES * increment));
        for (int at = 0; at < HOP; at += LANES, cycles = OP(add_epi32)(cycles, onward)) {
            /* As a signed number the phase is the distance to the nearest whole cycle. */
            V distance = OP(div_ps)(OP(cvtepi32_ps)(cycles), per_sample);
            V place = OP(mul_ps)(OP(add_ps)(distance, all(kernel->half_width)), all(kernel->resolution));
            place = OP(min_ps)(all(kernel->last_place), OP(max_ps)(OP(setzero_ps)(), place));
            V entry = OP(min_ps)(down(place), all(kernel->last_entry));
            I index = OP(cvtps_epi32)(entry);
            V below = gather(kernel->pulse, index), above = gather(kernel->pulse + 1, index);
            V shape = OP(fmadd_ps)(OP(sub_ps)(place, entry), OP(sub_ps)(above, below), below);
            OP(storeu_ps)(out + at, OP(mul_ps)(shape, gain));
        }
        phase += HOP * increment;
    }
    call->later_phase[row] = phase;
}

INLINE Complex plus(Complex a, Complex b) { return (Complex){OP(add_ps)(a.re, b.re), OP(add_ps)(a.im, b.im)}; }
INLINE Complex minus(Complex a, Complex b) { return (Complex){OP(sub_ps)(a.re, b.re), OP(sub_ps)(a.im, b.im)}; }
INLINE Complex turned(Complex a, float re, float im)
{
    return (Complex){OP(fmsub_ps)(a.re, all(re), OP(mul_ps)(a.im, all(im))),
                     OP(fmadd_ps)(a.re, all(im), OP(mul_ps)(a.im, all(re)))};
}

/* passes[0] -> where the result is */
static const Complex *transform(const FramesCall *call)
{
    const Frames *kernel = call->kernel;
    Complex *from = call->passes[0], *to = call->passes[1];
    size_t length = WINDOW, stride = 1;
    for (; length >= 4; length /= 4, stride *= 4) {
        size_t quarter = length / 4;
        for (size_t at = 0; at < quarter; at++) {
            size_t k = at * stride; /* the angle in parts of WINDOW */
            const float *re = kernel->root_re, *im = kernel->root_im;
            for (size_t s = 0; s < stride; s++) {
                const Complex *x = from + s + stride * at;
                Complex a = x[0], b = x[stride * quarter], c = x[2 * stride * quarter], d = x[3 * stride * quarter];
                Complex ac = plus(a, c), a_c = minus(a, c), bd = plus(b, d), b_d = minus(b, d);
                Complex *y = to + s + stride * 4 * at;
                /* i (b - d), taken off and added */
                Complex lower = {OP(add_ps)(a_c.re, b_d.im), OP(sub_ps)(a_c.im, b_d.re)};
                Complex upper = {OP(sub_ps)(a_c.re, b_d.im), OP(add_ps)(a_c.im, b_d.re)};
                y[0] = plus(ac, bd);
                y[stride] = turned(lower, re[k], im[k]);
                y[2 * stride] = turned(minus(ac, bd), re[2 * k], im[2 * k]);
                y[3 * stride] = turned(upper, re[3 * k], im[3 * k]);
            }
        }
        Complex *other = from;
        from = to, to = other;
    }
    for (size_t s = 0; s < stride; s++) { /* a length of 2 is left */
        Complex a = from[s], b = from[s + stride];
        to[s] = plus(a, b), to[s + stride] = minus(a, b);
    }
    return to;
}

INLINE V loud(const Frames *kernel, V filter)
{
    filter = OP(max_ps)(all(kernel->least_filter), filter); /* in this order what is no number stays so */
    return exp_of(OP(min_ps)(all(kernel->most_filter), filter));
}

/* LANES frames from `first` on, counted over all rows, or as many as there are. */
static void make_frames(const FramesCall *call, size_t first)
{
    const Frames *kernel = call->kernel;
    size_t row_samples = LOOK_BACK + call->frames * HOP, left = call->rows * call->frames - first;
    _Alignas(64) int32_t starts[LANES], filters[LANES], bins[LANES];
    for (size_t lane = 0; lane < LANES; lane++) {
        size_t frame = lane < left ? first + lane : first;
        starts[lane] = (int32_t)(frame / call->frames * row_samples + frame % call->frames * HOP);
        filters[lane] = bins[lane] = (int32_t)(frame * 2 * BINS);
    }
    I start = load_ints(starts), filter = load_ints(filters);
    Complex *made = call->passes[0];
    for (size_t n = 0; n < WINDOW; n++) {
        V window = all(kernel->window[n]);
        made[n].re = OP(mul_ps)(window, gather(call->samples + n, start));
        made[n].im = OP(mul_ps)(window, gather(call->noise + n, start));
    }
    const Complex *both = transform(call);
    for (size_t k = 0; k < BINS; k++) {
        Complex z = both[k], mirrored = both[(WINDOW - k) % WINDOW];
        V harmonic = loud(kernel, gather(call->filters + k, filter));
        V breath = loud(kernel, gather(call->filters + BINS + k, filter));
        harmonic = OP(mul_ps)(harmonic, all(0.5f)), breath = OP(mul_ps)(breath, all(0.5f));
        V re = OP(mul_ps)(OP(add_ps)(z.re, mirrored.re), harmonic);
        V im = OP(mul_ps)(OP(sub_ps)(z.im, mirrored.im), harmonic);
        re = OP(fmadd_ps)(OP(add_ps)(z.im, mirrored.im), breath, re);
        im = OP(fmadd_ps)(OP(sub_ps)(mirrored.re, z.re), breath, im);
        scatter(call->spectrum + k, bins, re, left);
        scatter(call->spectrum + BINS + k, bins, im, left);
    }
}
