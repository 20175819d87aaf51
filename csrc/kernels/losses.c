/* Losses of one panel: value per row and gradient in one pass, in float64, vertically over the panel's rows. */

#define CLIP 1e-7 /* Keras's epsilon: probabilities are clipped to [CLIP, 1 - CLIP] */

/* value and derivative of one output of a loss that is a mean over outputs */
static inline __attribute__((always_inline)) void elementwise_loss(const fnn_loss *loss, int kind, dvec y, dvec t,
                                                                   dvec *value, dvec *gradient, dvec *activated) {
    const dvec zero = d_set(0.0), one = d_set(1.0);
    dvec e, q, p;
    *activated = y;
    switch (kind) {
    case FNN_MSE:
        e = y - t;
        *value = e * e;
        *gradient = e + e;
        break;
    case FNN_MAE:
        e = y - t;
        *value = d_abs(e);
        *gradient = d_select(e > zero, one, d_select(e < zero, -one, e));
        break;
    case FNN_HUBER: { /* Huber 1964: quadratic within delta, linear beyond */
        const dvec delta = d_set(loss->delta);
        e = y - t;
        dvec c = d_max(-delta, d_min(delta, e));
        *value = c * d_fma(c, d_set(-0.5), e);
        *gradient = c;
        break;
    }
    default: /* FNN_BCE */
        if (loss->label_smoothing > 0) t = d_fma(t, d_set(1.0 - loss->label_smoothing), d_set(0.5 * loss->label_smoothing));
        if (loss->from_logits) { /* max(z, 0) - z t + log(1 + exp(-|z|)) */
            e = d_exp(-d_abs(y));
            q = one / (e + one);
            p = d_select(y < zero, e * q, q);
            *value = d_max(zero, y) - y * t + d_log1p(e);
            *gradient = p - t;
            *activated = p;
        } else {
            p = d_max(d_set(CLIP), d_min(d_set(1.0 - CLIP), y));
            *value = -(t * d_log(p) + (one - t) * d_log(one - p));
            *gradient = d_select((y < d_set(CLIP)) | (y > d_set(1.0 - CLIP)), zero, (p - t) / (p * (one - p)));
        }
        break;
    }
}

static inline __attribute__((always_inline)) void elementwise_panel(int kind, const fnn_loss *loss, double *values,
                                                                    real *dY, real *Y, const real *T, ptrdiff_t n_out,
                                                                    const double *scale, int activated) {
    const double mean = 1.0 / (double)n_out;
    for (int lane = 0; lane < PANEL; lane += DLANES) {
        dvec sum = d_set(0.0), factor = d_load_double(scale + lane) * d_set(mean), value, gradient, y;
        for (ptrdiff_t o = 0; o < n_out; o++) {
            ptrdiff_t i = o * PANEL + lane;
            elementwise_loss(loss, kind, d_load(Y + i), d_load(T + i), &value, &gradient, &y);
            sum += value;
            if (dY) d_store(dY + i, gradient * factor);
            if (activated) d_store(Y + i, y);
        }
        d_store_double(values + lane, sum * d_set(mean));
    }
}

/* The target of output o: a smoothed one-hot of a label, or a smoothed probability. */
static inline dvec class_target(const fnn_loss *loss, const real *T, const double *labels, ptrdiff_t o, ptrdiff_t n_out,
                                int lane) {
    if (loss->kind == FNN_SPARSE_CCE)
        return d_select(d_load_double(labels + lane) == d_set((double)o), d_set(1.0), d_set(0.0));
    dvec t = d_load(T + o * PANEL + lane);
    if (loss->label_smoothing > 0)
        t = d_fma(t, d_set(1.0 - loss->label_smoothing), d_set(loss->label_smoothing / (double)n_out));
    return t;
}

/* L = log(sum exp z) sum t - sum t z; dL/dz = softmax(z) sum t - t */
static void crossentropy_from_logits(const fnn_loss *loss, double *values, real *dY, real *Y, const real *T,
                                     const double *labels, ptrdiff_t n_out, const double *scale, int activated) {
    for (int lane = 0; lane < PANEL; lane += DLANES) {
        real *z = Y + lane;
        dvec m = vertical_max(z, n_out), total = d_set(0.0), product = d_set(0.0);
        for (ptrdiff_t o = 0; o < n_out; o++) {
            dvec t = class_target(loss, T, labels, o, n_out, lane);
            total += t;
            product = d_fma(t, d_load(z + o * PANEL) - m, product);
        }
        /* where the outputs are overwritten anyway, the exponentials are kept in them */
        real *kept = activated ? z : dY ? dY + lane : NULL;
        dvec sum = vertical_exp_sum(kept, z, m, n_out);
        d_store_double(values + lane, d_fma(d_log(sum), total, -product));
        if (!kept) continue;
        dvec inverse = d_set(1.0) / sum, factor = d_load_double(scale + lane);
        for (ptrdiff_t o = 0; o < n_out; o++) {
            dvec p = d_load(kept + o * PANEL) * inverse;
            if (dY) {
                dvec t = class_target(loss, T, labels, o, n_out, lane);
                d_store(dY + o * PANEL + lane, (p * total - t) * factor);
            }
            if (activated) d_store(z + o * PANEL, p);
        }
    }
}

/* q = clip(y / sum y): L = -sum t log q; dL/dy = (-t / q [unclipped] + sum t [unclipped]) / sum y */
static void crossentropy_from_probabilities(const fnn_loss *loss, double *values, real *dY, const real *Y, const real *T,
                                            const double *labels, ptrdiff_t n_out, const double *scale) {
    const dvec zero = d_set(0.0), low = d_set(CLIP), high = d_set(1.0 - CLIP);
    for (int lane = 0; lane < PANEL; lane += DLANES) {
        const real *y = Y + lane;
        dvec sum = zero, value = zero, through = zero;
        for (ptrdiff_t o = 0; o < n_out; o++) sum += d_load(y + o * PANEL);
        dvec inverse = d_set(1.0) / sum, factor = d_load_double(scale + lane) * inverse;
        for (ptrdiff_t o = 0; o < n_out; o++) {
            dvec t = class_target(loss, T, labels, o, n_out, lane), q = d_load(y + o * PANEL) * inverse;
            value -= t * d_log(d_max(low, d_min(high, q)));
            through += d_select((q < low) | (q > high), zero, t);
        }
        d_store_double(values + lane, value);
        if (!dY) continue;
        for (ptrdiff_t o = 0; o < n_out; o++) {
            dvec t = class_target(loss, T, labels, o, n_out, lane), q = d_load(y + o * PANEL) * inverse;
            dvec slope = d_select((q < low) | (q > high), zero, t / q);
            d_store(dY + o * PANEL + lane, (through - slope) * factor);
        }
    }
}

static void panel_loss(double *values, void *dY, void *Y, const void *T, const double *labels, ptrdiff_t n_out,
                 const double *scale, const fnn_loss *loss, int activated) {
    switch (loss->kind) {
#define CASE(kind)                                                                 \
    case kind:                                                                     \
        elementwise_panel(kind, loss, values, dY, Y, T, n_out, scale, activated); \
        break;
        CASE(FNN_MSE)
        CASE(FNN_MAE)
        CASE(FNN_HUBER)
        CASE(FNN_BCE)
#undef CASE
    default:
        if (loss->from_logits)
            crossentropy_from_logits(loss, values, dY, Y, T, labels, n_out, scale, activated);
        else
            crossentropy_from_probabilities(loss, values, dY, Y, T, labels, n_out, scale);
        break;
    }
}
