/* Losses that are means over the outputs, of one panel: value per row and gradient in one pass, in float64, vertically
 * over the panel's rows. */
#ifndef FNN_ELEMENTWISE_LOSSES_TPL_H
#define FNN_ELEMENTWISE_LOSSES_TPL_H

#include "../fnn.h"
#include "functions.h"

#define CLIP 1e-7 /* Keras's epsilon: probabilities are clipped to [CLIP, 1 - CLIP] */

/* Value and derivative of one output: long because each loss is one case. */
static inline __attribute__((always_inline)) void elementwise_loss(const fnn_loss *loss, int kind, int from_logits,
                                                                   dvec y, dvec t, dvec *value, dvec *gradient,
                                                                   dvec *activated) {
    const dvec zero = d_set(0.0), one = d_set(1.0);
    dvec e, q, p, m;
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
    case FNN_MAPE: /* 100 |y - t| / max(|t|, CLIP) */
        e = y - t;
        q = d_set(100.0) / d_max(d_set(CLIP), d_abs(t));
        *value = d_abs(e) * q;
        *gradient = d_select(e > zero, q, d_select(e < zero, -q, e));
        break;
    case FNN_MSLE:
        p = d_max(d_set(CLIP), y) + one;
        e = d_log(p) - d_log(d_max(d_set(CLIP), t) + one);
        *value = e * e;
        *gradient = d_select(y < d_set(CLIP), zero, (e + e) / p);
        break;
    case FNN_LOG_COSH: /* |e| + log(1 + exp(-2 |e|)) - log 2; derivative tanh(e) = m / (m + 2), m = exp(2 |e|) - 1 */
        e = y - t;
        m = d_expm1(d_min(d_set(354.0), d_abs(e)) * d_set(2.0));
        *value = d_abs(e) + (d_log1p(d_exp(d_abs(e) * d_set(-2.0))) - d_set(0.6931471805599453));
        *gradient = d_copysign(d_abs(m / (m + d_set(2.0))), e);
        break;
    case FNN_POISSON:
        if (from_logits) { /* y: logarithms of the means */
            p = d_exp(y);
            *value = p - t * y;
            *gradient = p - t;
            *activated = p;
            break;
        }
        p = y + d_set(CLIP);
        *value = y - t * d_log_nonnegative(p);
        *gradient = one - t / p;
        break;
    case FNN_HINGE: /* labels 0 count as -1 */
    case FNN_SQUARED_HINGE:
        t = d_select(t == zero, -one, t);
        m = d_max(zero, one - t * y);
        if (kind == FNN_HINGE) {
            *value = m;
            *gradient = d_select(m > zero, -t, m);
        } else {
            *value = m * m;
            *gradient = m * (t * d_set(-2.0));
        }
        break;
    case FNN_QUANTILE: { /* Koenker and Bassett 1978 */
        const dvec high = d_set(loss->delta), low = d_set(1.0 - loss->delta);
        e = y - t;
        *value = d_select(e < zero, -(high * e), low * e);
        *gradient = d_select(e > zero, low, d_select(e < zero, -high, e));
        break;
    }
    case FNN_BINARY_FOCAL: { /* m^gamma times the crossentropy, m = 1 - p of the target; Lin et al. 2017 */
        t = d_fma(t, d_set(1.0 - loss->label_smoothing), d_set(0.5 * loss->label_smoothing));
        dvec entropy, slope, change; /* the crossentropy, its derivative, the derivative of m */
        const dvec flip = one - (t + t);
        if (from_logits) {
            e = d_exp(-d_abs(y));
            q = one / (e + one);
            p = d_select(y < zero, e * q, q);
            const dvec rest = d_select(y < zero, q, e * q);
            entropy = d_max(zero, y) - y * t + d_log1p(e);
            slope = p - t;
            m = d_fma(t, rest, (one - t) * p);
            change = p * rest * flip;
            *activated = p;
        } else {
            p = d_max(d_set(CLIP), d_min(d_set(1.0 - CLIP), y));
            entropy = -(t * d_log(p) + (one - t) * d_log(one - p));
            slope = d_select((y < d_set(CLIP)) | (y > d_set(1.0 - CLIP)), zero, (p - t) / (p * (one - p)));
            m = d_max(zero, d_fma(t, one - y, (one - t) * y));
            change = flip;
        }
        const dvec focus = d_power(m, loss->gamma);
        dvec weight = one;
        if (loss->balanced) weight = d_fma(t, d_set(2.0 * loss->alpha - 1.0), d_set(1.0 - loss->alpha));
        *value = weight * focus * entropy;
        slope = focus * slope;
        if (loss->gamma != 0) slope += d_set(loss->gamma) * d_power(m, loss->gamma - 1.0) * change * entropy;
        *gradient = weight * slope;
        break;
    }
    default: /* FNN_BCE */
        t = d_fma(t, d_set(1.0 - loss->label_smoothing), d_set(0.5 * loss->label_smoothing));
        if (from_logits) { /* max(z, 0) - z t + log(1 + exp(-|z|)) */
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

/* side: groups of rows that stand side by side, SIDE where a function makes the chain of operations long, else 1 */
static inline __attribute__((always_inline)) void elementwise_panel(int kind, int from_logits, int side,
                                                                    const fnn_loss *loss, double *values, real *dY,
                                                                    real *Y, const real *T, ptrdiff_t n_out,
                                                                    const double *scale, int activated) {
    const dvec mean = d_set(1.0 / (double)n_out);
    for (int lane = 0; lane < PANEL; lane += side * DLANES) {
        dvec sum[SIDE], factor[SIDE], value[SIDE], gradient[SIDE], y[SIDE];
        for (int g = 0; g < side; g++) {
            sum[g] = d_set(0.0);
            factor[g] = d_load_double(scale + lane + g * DLANES) * mean;
        }
        for (ptrdiff_t at = lane; at < n_out * PANEL; at += PANEL) {
            UNROLL for (int g = 0; g < side; g++)
                elementwise_loss(loss, kind, from_logits, d_load(Y + at + g * DLANES), d_load(T + at + g * DLANES),
                                 &value[g], &gradient[g], &y[g]);
            UNROLL for (int g = 0; g < side; g++) {
                sum[g] += value[g];
                if (dY) d_store(dY + at + g * DLANES, gradient[g] * factor[g]);
                if (activated) d_store(Y + at + g * DLANES, y[g]);
            }
        }
        for (int g = 0; g < side; g++) d_store_double(values + lane + g * DLANES, sum[g] * mean);
    }
}

#endif
