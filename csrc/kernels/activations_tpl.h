/* Activations, elementwise and of whole rows, with their derivatives.
 *
 * Design: value and derivative come from one evaluation in the forward pass; the backward pass multiplies by the stored
 * derivative. So the derivative is that at the pre-activation, without the cancellation of forms such as 1 - y^2. */
#ifndef FNN_ACTIVATIONS_TPL_H
#define FNN_ACTIVATIONS_TPL_H

#include "../fnn.h"
#include "functions.h"

#define SELU_SCALE 1.0507009873554805 /* Klambauer et al. 2017 */
#define SELU_ALPHA 1.6732632423543772

#ifdef FNN_DOUBLE
/* What rounding left out of 2 u, the argument of gelu_tanh: without it the exponential is wrong by as many units in the last
 * place as 2 u is large. 2 u = c x (1 + a x^2) with c = sqrt(8 / pi) and a = 0.044715. */
static inline __attribute__((always_inline)) dvec gelu_rest(dvec x) {
    const dvec one = d_set(1.0), c = d_set(1.5957691216057308), a = d_set(0.044715);
    const dvec c_rest = d_set(-9.96930880911092e-17), a_rest = d_set(2.1960211427085595e-18);
    const dvec s = x * x, s_rest = d_fma(x, x, -s), h = c * x, h_rest = d_fma(c_rest, x, d_fma(c, x, -h));
    const dvec t = d_fma(s, a, one), p = s * a, p_rest = d_fma(s, a, -p), back = t - one;
    const dvec t_rest = ((one - (t - back)) + (p - back)) + (p_rest + d_fma(s, a_rest, s_rest * a));
    return d_fma(h, t, -(h * t)) + d_fma(h, t_rest, h_rest * t);
}
#endif

/* *y = f(x), *d = f'(x): long because each activation is one case. */
static inline __attribute__((always_inline)) void activation_of(int kind, const double *parameters, dvec x, dvec *y,
                                                                dvec *d) {
    const dvec zero = d_set(0.0), one = d_set(1.0);
    dvec a = d_abs(x), positive, e, q, s, bounded, u;
    switch (kind) {
    case FNN_LINEAR:
        *y = x;
        *d = one;
        break;
    case FNN_RELU:
        *y = d_max(zero, x);
        *d = d_select(x > zero, one, zero);
        break;
    case FNN_LEAKY_RELU:
        *d = d_select(x > zero, one, d_set(parameters[0]));
        *y = x * *d;
        break;
    case FNN_TANH: /* m = exp(2|x|) - 1: tanh|x| = m / (m + 2), derivative 4 (m + 1) / (m + 2)^2 */
        e = d_expm1(d_min(d_set(354.0), a) * d_set(2.0));
        q = one / (e + d_set(2.0));
        *y = d_copysign(d_abs(e * q), x);
        *d = d_set(4.0) * ((e + one) * q) * q;
#ifdef FNN_DOUBLE
        *d = d_select(a > d_set(354.0), zero, *d); /* below 1e-307; in float32 it rounds to zero */
#endif
        break;
    case FNN_SIGMOID:
        e = d_exp(-a);
        q = one / (e + one);
        *y = d_select(x < zero, e * q, q);
        *d = e * q * q;
        break;
    case FNN_SOFTPLUS: /* max(x, 0) + log(1 + exp(-|x|)) */
        e = d_exp(-a);
        q = one / (e + one);
        *y = d_max(zero, x) + d_log1p(e);
        *d = d_select(x < zero, e * q, q);
        break;
    case FNN_ELU:
    case FNN_SELU: {
        const double alpha = kind == FNN_SELU ? SELU_SCALE * SELU_ALPHA : parameters[0];
        const double scale = kind == FNN_SELU ? SELU_SCALE : 1.0;
        d_exp_and_expm1(d_min(zero, x), &q, &e);
        *y = d_select(x >= zero, d_set(scale) * x, d_set(alpha) * e); /* -0 stays */
        *d = d_select(x > zero, d_set(scale), d_set(alpha) * q);
        break;
    }
    case FNN_GELU: /* x Phi(x), derivative Phi(x) + x phi(x); Hendrycks and Gimpel 2016 */
        bounded = d_max(d_set(-60.0), d_min(d_set(60.0), x));
        d_normal(bounded, &e, &q);
        *y = d_max(d_set(-60.0), x) * q;
        *d = d_fma(bounded, e, q);
        break;
    case FNN_GELU_TANH: /* 0.5 x (1 + tanh u) = x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3) */
        bounded = d_max(d_set(-60.0), d_min(d_set(60.0), x));
        s = bounded * bounded;
        u = d_set(1.5957691216057308) * bounded * d_fma(s, d_set(0.044715), one);
        e = d_exp(-d_abs(u));
#ifdef FNN_DOUBLE
        e = d_fma(e, d_select(u < zero, gelu_rest(bounded), -gelu_rest(bounded)), e);
#endif
        q = one / (e + one);
        positive = d_select(u < zero, e * q, q);
        *y = d_max(d_set(-60.0), x) * positive;
        *d = d_fma(bounded * (e * q * q), d_set(1.5957691216057308) * d_fma(s, d_set(0.134145), one), positive);
        break;
    case FNN_SILU: /* x sigmoid(x) */
        bounded = d_max(d_set(-1000.0), d_min(d_set(1000.0), x));
        e = d_exp(-d_abs(bounded));
        q = one / (e + one);
        s = d_select(x < zero, e * q, q);
        *y = d_max(d_set(-1000.0), x) * s;
        *d = d_fma(bounded, e * q * q, s);
        break;
    case FNN_RELU6: /* Krizhevsky 2010 */
        *y = d_max(zero, d_min(d_set(6.0), x));
        *d = d_select((x > zero) & (x < d_set(6.0)), one, zero);
        break;
    case FNN_GENERAL_RELU: { /* parameters: slope below the threshold, maximum, threshold */
        const dvec slope = d_set(parameters[0]), highest = d_set(parameters[1]), threshold = d_set(parameters[2]);
        *y = d_select(x > threshold, d_max(zero, d_min(highest, x)), slope * (x - threshold));
        *d = d_select(x > threshold, d_select((x > zero) & (x < highest), one, zero), slope);
        break;
    }
    case FNN_MISH: { /* x tanh(softplus(x)), Misra 2020; in e = exp(-|x|), n = exp(x) (exp(x) + 2):
                      * tanh = n / (n + 2), derivative tanh + x 4 exp(x) (1 + exp(x)) / (n + 2)^2 */
        bounded = d_max(d_set(-1000.0), d_min(d_set(1000.0), x));
        e = d_exp(-d_abs(bounded));
        const dvec square = e * e, twice = e + e;
        s = d_select(x < zero, square + twice, twice + one);
        u = d_select(x < zero, square + twice + d_set(2.0), d_fma(square, d_set(2.0), twice + one));
        q = one / u;
        positive = s * q;
        *y = d_max(d_set(-1000.0), x) * positive;
        *d = d_fma(bounded * d_select(x < zero, e, square), d_set(4.0) * (one + e) * q * q, positive);
        break;
    }
    case FNN_SOFTSIGN:
        bounded = d_max(d_set(-1e300), d_min(d_set(1e300), x));
        q = one / (d_abs(bounded) + one);
        *y = bounded * q;
        *d = q * q;
        break;
    case FNN_HARD_SIGMOID: /* relu6(x + 3) / 6 */
        *y = d_max(zero, d_min(d_set(6.0), x + d_set(3.0))) * d_set(1.0 / 6.0);
        *d = d_select(a < d_set(3.0), d_set(1.0 / 6.0), zero);
        break;
    case FNN_HARD_SILU: /* x hard_sigmoid(x), Howard et al. 2019 */
        q = d_max(zero, d_min(d_set(6.0), x + d_set(3.0))) * d_set(1.0 / 6.0);
        *y = d_max(d_set(-3.0), x) * q;
        *d = d_select(a < d_set(3.0), d_fma(x, d_set(2.0), d_set(3.0)) * d_set(1.0 / 6.0), d_select(x > zero, one, q));
        break;
    default: /* FNN_EXPONENTIAL */
        *y = d_exp(x);
        *d = *y;
        break;
    }
}

#define STEP (CHAINS * DLANES)

static inline __attribute__((always_inline)) void activate_loop(int kind, real *Y, real *D, const real *X, ptrdiff_t n,
                                                                const double *parameters) {
    real rest[3][STEP];
    for (ptrdiff_t i = 0; i < n; i += STEP) {
        const real *from = X + i;
        real *to = Y + i, *slope = D ? D + i : NULL;
        const int whole = n - i >= STEP;
        const size_t bytes = (size_t)(n - i) * sizeof(real);
        if (!whole) {
            memset(rest[0], 0, sizeof rest[0]);
            memcpy(rest[0], from, bytes);
            from = rest[0];
            to = rest[1];
            slope = rest[2];
        }
        dvec y[CHAINS], d[CHAINS];
        UNROLL for (int c = 0; c < CHAINS; c++) activation_of(kind, parameters, d_load(from + c * DLANES), &y[c], &d[c]);
        UNROLL for (int c = 0; c < CHAINS; c++) d_store(to + c * DLANES, y[c]);
        if (D) UNROLL for (int c = 0; c < CHAINS; c++) d_store(slope + c * DLANES, d[c]);
        if (whole) continue;
        memcpy(Y + i, to, bytes);
        if (D) memcpy(D + i, slope, bytes);
    }
}

static void activate(void *Y, void *D, const void *X, ptrdiff_t n, int activation, const double *parameters) {
    switch (activation) {
#define CASE(kind)                                          \
    case kind:                                              \
        if (D)                                              \
            activate_loop(kind, Y, D, X, n, parameters);    \
        else                                                \
            activate_loop(kind, Y, NULL, X, n, parameters); \
        break;
        CASE(FNN_LINEAR)
        CASE(FNN_RELU)
        CASE(FNN_LEAKY_RELU)
        CASE(FNN_TANH)
        CASE(FNN_SIGMOID)
        CASE(FNN_SOFTPLUS)
        CASE(FNN_ELU)
        CASE(FNN_SELU)
        CASE(FNN_GELU)
        CASE(FNN_GELU_TANH)
        CASE(FNN_SILU)
        CASE(FNN_EXPONENTIAL)
        CASE(FNN_RELU6)
        CASE(FNN_GENERAL_RELU)
        CASE(FNN_MISH)
        CASE(FNN_SOFTSIGN)
        CASE(FNN_HARD_SIGMOID)
        CASE(FNN_HARD_SILU)
#undef CASE
    default:
        break;
    }
}

static void multiply(void *a, const void *b, ptrdiff_t n) {
    real *x = a;
    const real *y = b;
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES) v_store(x + i, v_load(x + i) * v_load(y + i));
    for (; i < n; i++) x[i] *= y[i];
}

/* Sums over a row are 8 interleaved partial sums in float64 and this tree, whatever the vector width. */
#define PARTIALS 8

static dvec vertical_tree(const dvec *s) { return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7])); }

/* The rows of a panel are GROUPS vectors: X[o * PANEL + g * DLANES]. */
static inline __attribute__((always_inline)) void vertical_max(dvec *m, const real *X, ptrdiff_t n_out) {
    for (int g = 0; g < GROUPS; g++) m[g] = d_load(X + g * DLANES);
    for (ptrdiff_t o = 1; o < n_out; o++)
        UNROLL for (int g = 0; g < GROUPS; g++) m[g] = d_max(m[g], d_load(X + o * PANEL + g * DLANES));
}

/* log(sum) of exponentials of which the largest is 1. Where no other comes near, log(1 + rest) with the sum of the others:
 * the logarithm of the sum would lose what is small. */
static dvec log_of_sum(dvec sum, dvec rest) { return d_select(sum < d_set(2.0), d_log1p(rest), d_log(sum)); }

/* E = exp(X - m), rounded to real when stored; E may be X or NULL. log_sum, or NULL: the logarithm of the sum */
static void vertical_exp_sum(dvec *sum, dvec *log_sum, real *E, const real *X, const dvec *m, ptrdiff_t n_out) {
    const dvec zero = d_set(0.0), one = d_set(1.0);
    for (int first = 0; first < GROUPS; first += SIDE) {
        dvec s[SIDE][PARTIALS], r[SIDE][PARTIALS], e[SIDE];
        const ptrdiff_t start = first * DLANES;
        for (int g = 0; g < SIDE; g++)
            for (int i = 0; i < PARTIALS; i++) s[g][i] = r[g][i] = zero;
        for (ptrdiff_t o = 0, at = start; o < n_out; o++, at += PANEL) {
            UNROLL for (int g = 0; g < SIDE; g++) e[g] = d_exp(d_load(X + at + g * DLANES) - m[first + g]);
            UNROLL for (int g = 0; g < SIDE; g++) s[g][o % PARTIALS] += e[g];
            if (log_sum) UNROLL for (int g = 0; g < SIDE; g++) r[g][o % PARTIALS] += d_select(e[g] < one, e[g], zero);
            if (E) UNROLL for (int g = 0; g < SIDE; g++) d_store(E + at + g * DLANES, e[g]);
        }
        for (int g = 0; g < SIDE; g++) {
            sum[first + g] = vertical_tree(s[g]);
            if (log_sum) log_sum[first + g] = log_of_sum(sum[first + g], vertical_tree(r[g]));
        }
    }
}

static void panel_activation(void *Y, ptrdiff_t n_out, int activation) {
    dvec m[GROUPS], sum[GROUPS], log_sum[GROUPS];
    vertical_max(m, Y, n_out);
    vertical_exp_sum(sum, activation == FNN_SOFTMAX ? NULL : log_sum, activation == FNN_SOFTMAX ? Y : NULL, Y, m, n_out);
    for (int g = 0; g < GROUPS; g++) {
        real *y = (real *)Y + g * DLANES;
        const dvec inverse = d_set(1.0) / sum[g];
        for (ptrdiff_t o = 0; o < n_out; o++)
            if (activation == FNN_SOFTMAX)
                d_store(y + o * PANEL, d_load(y + o * PANEL) * inverse);
            else
                d_store(y + o * PANEL, (d_load(y + o * PANEL) - m[g]) - log_sum[g]);
    }
}

/* softmax: dX = Y (dY - sum dY Y); log_softmax: dX = dY - exp(Y) sum dY */
static void panel_activation_gradient(void *dY, const void *Y, ptrdiff_t n_out, int activation) {
    for (int lane = 0; lane < PANEL; lane += DLANES) {
        const real *y = (const real *)Y + lane;
        real *g = (real *)dY + lane;
        dvec s = d_set(0.0);
        for (ptrdiff_t o = 0; o < n_out; o++) {
            dvec d = d_load(g + o * PANEL);
            if (activation == FNN_SOFTMAX)
                s = d_fma(d, d_load(y + o * PANEL), s);
            else
                s += d;
        }
        for (ptrdiff_t o = 0; o < n_out; o++) {
            dvec d = d_load(g + o * PANEL), v = d_load(y + o * PANEL);
            dvec x = v * (d - s);
            if (activation == FNN_LOG_SOFTMAX) x = d - d_exp(v) * s;
            d_store(g + o * PANEL, x);
        }
    }
}

static double horizontal_tree(const double *s) {
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

/* Rows of as few outputs are faster side by side. */
#define SHORT_ROW 32

/* The same numbers as panel_activation, for rows. */
static void row_activation(void *Y, ptrdiff_t n, ptrdiff_t n_out, ptrdiff_t ld, int activation) {
    ptrdiff_t done = 0;
    for (; n_out <= SHORT_ROW && n - done >= PANEL; done += PANEL) {
        real panel[SHORT_ROW * PANEL], *rows = (real *)Y + done * ld;
        for (ptrdiff_t o = 0; o < n_out; o++)
            for (int i = 0; i < PANEL; i++) panel[o * PANEL + i] = rows[i * ld + o];
        panel_activation(panel, n_out, activation);
        for (int i = 0; i < PANEL; i++)
            for (ptrdiff_t o = 0; o < n_out; o++) rows[i * ld + o] = panel[o * PANEL + i];
    }
    for (ptrdiff_t i = done; i < n; i++) {
        real *y = (real *)Y + i * ld;
        double s[PARTIALS] = {0}, rest[PARTIALS] = {0}, e[DLANES], m = y[0];
        for (ptrdiff_t o = 1; o < n_out; o++) m = m > y[o] ? m : y[o];
        for (ptrdiff_t o = 0; o < n_out; o += DLANES) {
            ptrdiff_t count = n_out - o < DLANES ? n_out - o : DLANES;
            real x[DLANES] = {0};
            memcpy(x, y + o, (size_t)count * sizeof(real));
            dvec v = d_exp(d_load(x) - d_set(m));
            d_store_double(e, v);
            for (ptrdiff_t j = 0; j < count; j++) {
                s[(o + j) % PARTIALS] += e[j];
                rest[(o + j) % PARTIALS] += e[j] < 1.0 ? e[j] : 0.0;
            }
            if (activation == FNN_SOFTMAX) {
                d_store(x, v);
                memcpy(y + o, x, (size_t)count * sizeof(real));
            }
        }
        double sum = horizontal_tree(s);
        if (activation == FNN_SOFTMAX) {
            double inverse = 1.0 / sum;
            for (ptrdiff_t o = 0; o < n_out; o++) y[o] = (real)((double)y[o] * inverse);
        } else {
            double log_sum = log_of_sum(d_set(sum), d_set(horizontal_tree(rest)))[0];
            for (ptrdiff_t o = 0; o < n_out; o++) y[o] = (real)(((double)y[o] - m) - log_sum);
        }
    }
}

#endif
