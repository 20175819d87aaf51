/* Losses of a whole row, of one panel: value per row and gradient, in float64, vertically over the panel's rows. */
#ifndef FNN_ROW_LOSSES_TPL_H
#define FNN_ROW_LOSSES_TPL_H

#include "activations_tpl.h"
#include "elementwise_losses_tpl.h"

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

/* L = log(sum exp z) sum t - sum t z; dL/dz = softmax(z) sum t - t. Each stage goes over all rows of the panel: one
 * group of them is a chain of dependent operations. */
static inline __attribute__((always_inline)) void crossentropy_from_logits(
    int sparse, const fnn_loss *loss, double *values, real *dY, real *Y, const real *T, const double *labels,
    ptrdiff_t n_out, const double *scale, int activated) {
    dvec m[GROUPS], sum[GROUPS], log_sum[GROUPS], total[GROUPS], product[GROUPS], label = d_set(0.0);
    /* where the outputs are overwritten anyway, the exponentials are kept in them */
    real *kept = activated ? Y : dY;
    vertical_max(m, Y, n_out);
    for (int g = 0; g < GROUPS; g++) {
        const real *z = Y + g * DLANES;
        total[g] = d_set(sparse);
        product[g] = d_set(0.0);
        if (sparse)
            for (int i = 0; i < DLANES; i++)
                product[g][i] = (double)z[(ptrdiff_t)labels[g * DLANES + i] * PANEL + i] - m[g][i];
        for (ptrdiff_t o = 0; !sparse && o < n_out; o++) {
            const dvec t = class_target(loss, T, labels, o, n_out, g * DLANES);
            total[g] += t;
            product[g] = d_fma(t, d_load(z + o * PANEL) - m[g], product[g]);
        }
    }
    vertical_exp_sum(sum, log_sum, kept, Y, m, n_out);
    for (int g = 0; g < GROUPS; g++)
        d_store_double(values + g * DLANES, d_fma(log_sum[g], total[g], -product[g]));
    if (!kept) return;
    for (int g = 0; g < GROUPS; g++) {
        const dvec inverse = d_set(1.0) / sum[g], factor = d_load_double(scale + g * DLANES);
        if (sparse) label = d_load_double(labels + g * DLANES);
        for (ptrdiff_t o = 0; o < n_out; o++) {
            const ptrdiff_t at = o * PANEL + g * DLANES;
            const dvec p = d_load(kept + at) * inverse;
            if (dY) {
                const dvec t = sparse ? d_select(label == d_set((double)o), d_set(1.0), d_set(0.0))
                                      : class_target(loss, T, labels, o, n_out, g * DLANES);
                d_store(dY + at, (p * total[g] - t) * factor);
            }
            if (activated) d_store(Y + at, p);
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

/* q = fraction of a class, clipped unless it comes from logits: L = sum a t (1 - q)^gamma (-log q), Lin et al. 2017.
 * With h = q dL/dq, zero where q is clipped: from logits dL/dz = h - q sum h, else dL/dy = (h / q - sum h) / sum y. */
static void categorical_focal(const fnn_loss *loss, double *values, real *dY, real *Y, const real *T, ptrdiff_t n_out,
                              const double *scale, int activated) {
    const dvec zero = d_set(0.0), one = d_set(1.0), low = d_set(CLIP), high = d_set(1.0 - CLIP);
    const dvec gamma = d_set(loss->gamma);
    dvec maxima[GROUPS] = {{0}}, sums[GROUPS] = {{0}}, logs[GROUPS] = {{0}};
    if (loss->from_logits) {
        vertical_max(maxima, Y, n_out);
        vertical_exp_sum(sums, logs, NULL, Y, maxima, n_out);
    }
    for (int lane = 0; lane < PANEL; lane += DLANES) {
        real *y = Y + lane;
        const dvec m = maxima[lane / DLANES];
        dvec sum = sums[lane / DLANES], value = zero, through = zero;
        for (ptrdiff_t o = 0; !loss->from_logits && o < n_out; o++) sum += d_load(y + o * PANEL);
        const dvec log_sum = logs[lane / DLANES], factor = d_load_double(scale + lane);
        for (int pass = 0; pass < (dY || activated ? 2 : 1); pass++)
            for (ptrdiff_t o = 0; o < n_out; o++) {
                const dvec t = class_target(loss, T, NULL, o, n_out, lane), x = d_load(y + o * PANEL);
                const dvec alpha = d_set(loss->alphas ? loss->alphas[o] : loss->alpha);
                dvec q, log_q, inside = one;
                if (loss->from_logits) {
                    log_q = (x - m) - log_sum;
                    q = d_exp(log_q);
                } else {
                    const dvec fraction = x / sum;
                    q = d_max(low, d_min(high, fraction));
                    log_q = d_log(q);
                    inside = d_select((fraction < low) | (fraction > high), zero, one);
                }
                const dvec rest = d_max(zero, one - q), focus = d_power(rest, loss->gamma);
                dvec h = focus;
                if (loss->gamma != 0) h -= gamma * d_power(rest, loss->gamma - 1.0) * q * log_q;
                h = -(alpha * t * h) * inside;
                if (!pass) {
                    value -= alpha * t * focus * log_q;
                    through += h;
                    continue;
                }
                if (dY && loss->from_logits) d_store(dY + o * PANEL + lane, (h - q * through) * factor);
                if (dY && !loss->from_logits) d_store(dY + o * PANEL + lane, (h / q - through) / sum * factor);
                if (activated) d_store(y + o * PANEL, q);
            }
        d_store_double(values + lane, value);
    }
}

/* L = sum t log(t / y), both clipped to [CLIP, 1] */
static void kl_divergence(double *values, real *dY, const real *Y, const real *T, ptrdiff_t n_out, const double *scale) {
    const dvec low = d_set(CLIP), one = d_set(1.0), zero = d_set(0.0);
    for (int lane = 0; lane < PANEL; lane += DLANES) {
        dvec value = zero;
        const dvec factor = d_load_double(scale + lane);
        for (ptrdiff_t o = 0; o < n_out; o++) {
            const dvec t = d_max(low, d_min(one, d_load(T + o * PANEL + lane))), y = d_load(Y + o * PANEL + lane);
            const dvec p = d_max(low, d_min(one, y));
            value += t * (d_log(t) - d_log(p));
            if (dY) d_store(dY + o * PANEL + lane, d_select((y < low) | (y > one), zero, -t / p) * factor);
        }
        d_store_double(values + lane, value);
    }
}

/* L = max(max((1 - t) y) - sum t y + 1, 0), Weston and Watkins 1999; of equal maxima the first counts */
static void categorical_hinge(double *values, real *dY, const real *Y, const real *T, ptrdiff_t n_out,
                              const double *scale) {
    const dvec one = d_set(1.0), zero = d_set(0.0);
    for (int lane = 0; lane < PANEL; lane += DLANES) {
        const real *y = Y + lane, *t = T + lane;
        dvec positive = zero, negative = zero, at = zero;
        for (ptrdiff_t o = 0; o < n_out; o++) {
            const dvec target = d_load(t + o * PANEL), output = d_load(y + o * PANEL), other = (one - target) * output;
            positive = d_fma(target, output, positive);
            if (o) at = d_select(other > negative, d_set((double)o), at);
            negative = o ? d_max(negative, other) : other;
        }
        const dvec value = d_max(zero, negative - positive + one), factor = d_load_double(scale + lane);
        d_store_double(values + lane, value);
        if (!dY) continue;
        for (ptrdiff_t o = 0; o < n_out; o++) {
            const dvec target = d_load(t + o * PANEL);
            const dvec slope = d_select(at == d_set((double)o), one - (target + target), -target);
            d_store(dY + o * PANEL + lane, d_select(value > zero, slope, zero) * factor);
        }
    }
}

/* L = -sum u v with u = y / |y|, v = t / |t|, norms below CLIP counted as CLIP; dL/dy = -(v - u sum u v) / |y| */
static void cosine_similarity(double *values, real *dY, const real *Y, const real *T, ptrdiff_t n_out,
                              const double *scale) {
    const dvec zero = d_set(0.0), one = d_set(1.0), largest = d_set(1.0 / CLIP);
    for (int lane = 0; lane < PANEL; lane += DLANES) {
        const real *y = Y + lane, *t = T + lane;
        dvec square_y = zero, square_t = zero, product = zero;
        for (ptrdiff_t o = 0; o < n_out; o++) {
            const dvec a = d_load(y + o * PANEL), b = d_load(t + o * PANEL);
            square_y = d_fma(a, a, square_y);
            square_t = d_fma(b, b, square_t);
            product = d_fma(a, b, product);
        }
        const dvec inverse_y = d_min(largest, one / d_sqrt(square_y)), inverse_t = d_min(largest, one / d_sqrt(square_t));
        const dvec cosine = product * inverse_y * inverse_t, factor = d_load_double(scale + lane);
        d_store_double(values + lane, -cosine);
        if (!dY) continue;
        const dvec bent = d_select(inverse_y < largest, cosine * inverse_y, zero);
        for (ptrdiff_t o = 0; o < n_out; o++) {
            const dvec a = d_load(y + o * PANEL), b = d_load(t + o * PANEL);
            d_store(dY + o * PANEL + lane, (a * bent - b * inverse_t) * inverse_y * factor);
        }
    }
}

/* Outputs: c means, then c logarithms s of variances; c targets. L = mean (s + (t - mean)^2 exp(-s)) / 2,
 * Nix and Weigend 1994. */
static void gaussian_nll(const fnn_loss *loss, double *values, real *dY, const real *Y, const real *T, ptrdiff_t n_out,
                         const double *scale) {
    const ptrdiff_t c = n_out / 2;
    const double mean = 1.0 / (double)c;
    const dvec half = d_set(0.5), constant = d_set(loss->full ? 1.8378770664093453 : 0.0); /* log(2 pi) */
    for (int lane = 0; lane < PANEL; lane += DLANES) {
        dvec value = d_set(0.0);
        const dvec factor = d_load_double(scale + lane) * d_set(mean);
        for (ptrdiff_t o = 0; o < c; o++) {
            const dvec s = d_load(Y + (c + o) * PANEL + lane);
            const dvec e = d_load(Y + o * PANEL + lane) - d_load(T + o * PANEL + lane);
            const dvec weighted = e * d_exp(-s), square = e * weighted;
            value += half * (s + square + constant);
            if (!dY) continue;
            d_store(dY + o * PANEL + lane, weighted * factor);
            d_store(dY + (c + o) * PANEL + lane, half * (d_set(1.0) - square) * factor);
        }
        d_store_double(values + lane, value * d_set(mean));
    }
}

/* Outputs: c quantiles of the first level q, then c of the next one; c targets. With e = y - t:
 * L = mean max(-q e, (1 - q) e), Koenker and Bassett 1978. */
static void multi_quantile(const fnn_loss *loss, double *values, real *dY, const real *Y, const real *T, ptrdiff_t n_out,
                           const double *scale) {
    const ptrdiff_t c = n_out / loss->n_levels;
    const dvec zero = d_set(0.0), mean = d_set(1.0 / (double)n_out);
    for (int lane = 0; lane < PANEL; lane += DLANES) {
        dvec value = zero;
        const dvec factor = d_load_double(scale + lane) * mean;
        for (ptrdiff_t o = 0; o < n_out; o++) {
            const double q = loss->alphas[o / c];
            const dvec high = d_set(q), low = d_set(1.0 - q);
            const dvec e = d_load(Y + o * PANEL + lane) - d_load(T + o % c * PANEL + lane);
            value += d_select(e < zero, -(high * e), low * e);
            if (dY)
                d_store(dY + o * PANEL + lane, d_select(e > zero, low, d_select(e < zero, -high, e)) * factor);
        }
        d_store_double(values + lane, value * mean);
    }
}

static void dice_sums(double *sums, const void *Y_, const void *T_, ptrdiff_t n_out) {
    for (int lane = 0; lane < PANEL; lane += DLANES) {
        const real *Y = (const real *)Y_ + lane, *T = (const real *)T_ + lane;
        dvec product = d_set(0.0), total = product;
        for (ptrdiff_t o = 0; o < n_out; o++) {
            const dvec y = d_load(Y + o * PANEL), t = d_load(T + o * PANEL);
            product = d_fma(y, t, product);
            total += y + t;
        }
        d_store_double(sums + lane, product);
        d_store_double(sums + PANEL + lane, total);
    }
}

/* L = 1 - 2 sum y t / (sum (y + t) + CLIP), sums over a row or, given in totals, over the batch; Milletari et al. 2016 */
static void dice(const fnn_loss *loss, double *values, real *dY, const real *Y, const real *T, ptrdiff_t n_out,
                 const double *scale) {
    double sums[2 * PANEL];
    if (loss->per_row)
        dice_sums(sums, Y, T, n_out);
    else
        for (int i = 0; i < PANEL; i++) {
            sums[i] = loss->totals[0];
            sums[PANEL + i] = loss->totals[1];
        }
    for (int lane = 0; lane < PANEL; lane += DLANES) {
        const dvec total = d_load_double(sums + PANEL + lane) + d_set(CLIP);
        const dvec overlap = d_load_double(sums + lane) * d_set(2.0) / total;
        d_store_double(values + lane, d_set(1.0) - overlap);
        if (!dY) continue;
        const dvec factor = d_load_double(scale + lane) / total;
        for (ptrdiff_t o = 0; o < n_out; o++)
            d_store(dY + o * PANEL + lane, (overlap - d_set(2.0) * d_load(T + o * PANEL + lane)) * factor);
    }
}

#endif
