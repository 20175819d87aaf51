/* Layers that act on each feature or each row: batch and layer normalization, PReLU, learned scaling of inputs.
 *
 * Design:
 * a) Sums over the batch: one float64 chain per lane of a panel, panels in order, then a fixed tree over the lanes. So
 *    they depend on neither threads, which divide the features, nor the width of vectors. Padded rows are left out.
 * b) Sums over a row: 8 interleaved partial sums in float64 and a fixed tree, vertical over the rows of a panel.
 * c) Scale (gamma, alpha) and offset (beta) are the two rows of weight panels with one input. */
#ifndef FNN_NORMALIZATION_TPL_H
#define FNN_NORMALIZATION_TPL_H

#include "activations_tpl.h"
#include "panels.h"

static inline const real *scale_at(const real *W, ptrdiff_t f) {
    return W + panel_offset(1, f / PANEL) + f % PANEL;
}
static inline real offset_at(const real *W, ptrdiff_t n, ptrdiff_t f) { return scale_at(W, f)[panel_width(n, f / PANEL)]; }

/* the lanes of a panel: halves are added until one is left */
static inline double lane_tree(const dvec *s) {
    dvec groups[GROUPS];
    double lanes[DLANES];
    UNROLL for (int i = 0; i < GROUPS; i++) groups[i] = s[i];
    UNROLL for (int half = GROUPS / 2; half; half /= 2)
        UNROLL for (int i = 0; i < half; i++) groups[i] += groups[i + half];
    d_store_double(lanes, groups[0]);
    UNROLL for (int half = DLANES / 2; half; half /= 2)
        UNROLL for (int i = 0; i < half; i++) lanes[i] += lanes[i + half];
    return lanes[0];
}

/* all bits of the first `count` lanes of a panel */
static void lane_mask(lvec mask[GROUPS], ptrdiff_t count) {
    int64_t lanes[PANEL];
    for (int j = 0; j < PANEL; j++) lanes[j] = j < count ? -1 : 0;
    memcpy(mask, lanes, sizeof lanes);
}

/* ---- over the batch ---- */

static inline double inverse_deviation(double variance, double epsilon) { return 1.0 / __builtin_sqrt(variance + epsilon); }

static void feature_moments(const fnn_moments *moments, fnn_panels X, ptrdiff_t rows, fnn_range features, double epsilon) {
    const ptrdiff_t full = rows / PANEL, rest = rows % PANEL, stride = X.stride;
    const double of_row = 1.0 / (double)rows;
    lvec mask[GROUPS];
    lane_mask(mask, rest);
    for (ptrdiff_t f = features.first; f < features.last; f++) {
        const real *x = (const real *)X.data + f * PANEL;
        dvec s[GROUPS], v[GROUPS];
        UNROLL for (int i = 0; i < GROUPS; i++) s[i] = v[i] = d_set(0.0);
        for (ptrdiff_t p = 0; p < full; p++)
            UNROLL for (int i = 0; i < GROUPS; i++) s[i] += d_load(x + p * stride + i * DLANES);
        if (rest)
            UNROLL for (int i = 0; i < GROUPS; i++) s[i] += (dvec)((lvec)d_load(x + full * stride + i * DLANES) & mask[i]);
        const double mean = lane_tree(s) * of_row;
        const dvec m = d_set(mean);
        for (ptrdiff_t p = 0; p < full; p++)
            UNROLL for (int i = 0; i < GROUPS; i++) {
                const dvec d = d_load(x + p * stride + i * DLANES) - m;
                v[i] = d_fma(d, d, v[i]);
            }
        if (rest)
            UNROLL for (int i = 0; i < GROUPS; i++) {
                const dvec d = (dvec)((lvec)(d_load(x + full * stride + i * DLANES) - m) & mask[i]);
                v[i] = d_fma(d, d, v[i]);
            }
        const double variance = lane_tree(v) * of_row;
        moments->mean[f] = mean;
        moments->variance[f] = variance;
        moments->inverse[f] = inverse_deviation(variance, epsilon);
    }
}

static void known_moments(const fnn_moments *moments, const void *moving_mean, const void *moving_variance,
                          fnn_range features, double epsilon) {
    for (ptrdiff_t f = features.first; f < features.last; f++) {
        moments->mean[f] = (double)((const real *)moving_mean)[f];
        moments->inverse[f] = inverse_deviation((double)((const real *)moving_variance)[f], epsilon);
    }
}

static void move_statistics(void *moving, const double *values, fnn_range features, double momentum) {
    real *m = moving;
    for (ptrdiff_t f = features.first; f < features.last; f++)
        m[f] = (real)((double)m[f] * momentum + values[f] * (1.0 - momentum));
}

/* sums = sum dY, products = sum dY (X - mean) inverse; without a mean products = sum dY X */
static void feature_sums(const fnn_moments *moments, fnn_panels dY, fnn_panels X, ptrdiff_t rows, fnn_range features) {
    const ptrdiff_t panels = fnn_ceil_div(rows, PANEL), rest = rows % PANEL;
    const double *mean = moments->mean;
    lvec mask[GROUPS];
    lane_mask(mask, rest ? rest : PANEL);
    for (ptrdiff_t f = features.first; f < features.last; f++) {
        const real *g = (const real *)dY.data + f * PANEL, *x = X.data ? (const real *)X.data + f * PANEL : NULL;
        const dvec m = d_set(mean ? mean[f] : 0.0);
        dvec s[GROUPS], v[GROUPS];
        UNROLL for (int i = 0; i < GROUPS; i++) s[i] = v[i] = d_set(0.0);
        for (ptrdiff_t p = 0; p < panels; p++)
            UNROLL for (int i = 0; i < GROUPS; i++) {
                const dvec d = d_load(g + p * dY.stride + i * DLANES);
                s[i] += d;
                if (!x) continue;
                dvec c = d_load(x + p * X.stride + i * DLANES) - m;
                if (p == panels - 1) c = (dvec)((lvec)c & mask[i]);
                v[i] = d_fma(d, c, v[i]);
            }
        moments->sums[f] = lane_tree(s);
        if (x) moments->products[f] = lane_tree(v) * (mean ? moments->inverse[f] : 1.0);
    }
}

static void store_row(real *g, const double *values, ptrdiff_t count, ptrdiff_t width) {
    /* not one loop that asks for `values`: made of masked loads from NULL, it takes hundreds of cycles */
    memset(g, 0, (size_t)width * sizeof(real));
    if (values)
        for (ptrdiff_t j = 0; j < fnn_min(count, width); j++) g[j] = (real)values[j];
}

static void store_sums(void *G, const double *scale, const double *offset, ptrdiff_t count, ptrdiff_t width) {
    store_row(G, scale, count, width);
    store_row((real *)G + width, offset, count, width);
}

/* Y = (X - mean) inverse gamma + beta */
static void normalize_panels(fnn_panels Y, fnn_panels X, const void *W, const fnn_moments *moments, ptrdiff_t n,
                             fnn_range panels) {
    for (ptrdiff_t f = 0; f < n; f++) {
        const vec a = v_set((real)((double)*scale_at(W, f) * moments->inverse[f])), m = v_set((real)moments->mean[f]);
        const vec b = v_set(offset_at(W, n, f));
        for (ptrdiff_t p = panels.first; p < panels.last; p++) {
            const real *x = (const real *)X.data + p * X.stride + f * PANEL;
            real *y = (real *)Y.data + p * Y.stride + f * PANEL;
            UNROLL for (int i = 0; i < NV; i++) v_store(y + i * LANES, v_fma(v_load(x + i * LANES) - m, a, b));
        }
    }
}

/* Of the batch's own statistics (Ioffe and Szegedy 2015):
 * dX = gamma inverse (dY - sums / rows - (X - mean) inverse products / rows); of constants dX = gamma inverse dY. */
static void normalize_gradient(fnn_panels dY, fnn_panels X, const void *W, const fnn_moments *moments, int of_batch,
                               ptrdiff_t rows, ptrdiff_t n, fnn_range panels) {
    const double of_row = 1.0 / (double)rows;
    for (ptrdiff_t f = 0; f < n; f++) {
        const double scale = (double)*scale_at(W, f) * moments->inverse[f];
        const vec a = v_set((real)scale), m = v_set((real)moments->mean[f]);
        const vec b = v_set(of_batch ? (real)(-scale * moments->sums[f] * of_row) : 0);
        const vec c = v_set(of_batch ? (real)(-scale * moments->inverse[f] * moments->products[f] * of_row) : 0);
        for (ptrdiff_t p = panels.first; p < panels.last; p++) {
            const real *x = (const real *)X.data + p * X.stride + f * PANEL;
            real *g = (real *)dY.data + p * dY.stride + f * PANEL;
            if (of_batch)
                UNROLL for (int i = 0; i < NV; i++)
                    v_store(g + i * LANES, v_fma(a, v_load(g + i * LANES), v_fma(c, v_load(x + i * LANES) - m, b)));
            else
                UNROLL for (int i = 0; i < NV; i++) v_store(g + i * LANES, a * v_load(g + i * LANES));
            for (ptrdiff_t i = rows - p * PANEL; i < PANEL; i++) g[i] = 0;
        }
    }
}

/* ---- over a row ---- */

/* Partial sums at a time: enough chains to hide the latency of an addition. */
#define AT_ONCE (GROUPS < 4 ? 4 / GROUPS : 1)

/* for each row of a panel the sum of X, or of (X - m)^2 where `squared` */
static inline __attribute__((always_inline)) void vertical_sums(dvec *sums, const real *X, ptrdiff_t n, int squared,
                                                                const dvec *m) {
    dvec parts[GROUPS][PARTIALS];
    for (int j = 0; j < PARTIALS; j += AT_ONCE) {
        dvec s[AT_ONCE][GROUPS] = {0};
        for (ptrdiff_t o = j; o < n; o += PARTIALS)
            UNROLL for (int q = 0; q < AT_ONCE; q++) {
                if (o + q >= n) break;
                UNROLL for (int g = 0; g < GROUPS; g++) {
                    const dvec x = d_load(X + (o + q) * PANEL + g * DLANES) - m[g];
                    s[q][g] = squared ? d_fma(x, x, s[q][g]) : (dvec)(s[q][g] + x);
                }
            }
        UNROLL for (int q = 0; q < AT_ONCE; q++) UNROLL for (int g = 0; g < GROUPS; g++) parts[g][j + q] = s[q][g];
    }
    for (int g = 0; g < GROUPS; g++) sums[g] = vertical_tree(parts[g]);
}

/* offset: the mean of N, zero unless rms */
static void layer_norm(void *Y_, void *N_, double *inverse, double *offset, const void *X_, const void *W, ptrdiff_t n,
                       double epsilon, int rms) {
    const real *X = X_;
    real *Y = Y_, *N = N_;
    const dvec of_feature = d_set(1.0 / (double)n);
    dvec mean[GROUPS] = {0}, variance[GROUPS], inv[GROUPS], centre[GROUPS];
    vertical_sums(variance, X, n, 0, mean);
    for (int g = 0; g < GROUPS; g++) mean[g] = variance[g] * of_feature;
    vertical_sums(variance, X, n, 1, mean);
    for (int g = 0; g < GROUPS; g++) {
        inv[g] = d_set(1.0) / d_sqrt(variance[g] * of_feature + d_set(epsilon));
        centre[g] = rms ? d_set(0.0) : mean[g];
        d_store_double(inverse + g * DLANES, inv[g]);
        d_store_double(offset + g * DLANES, (mean[g] - centre[g]) * inv[g]);
    }
    for (ptrdiff_t o = 0; o < n; o++) {
        const dvec scale = d_set((double)*scale_at(W, o)), shift = d_set((double)offset_at(W, n, o));
        UNROLL for (int g = 0; g < GROUPS; g++) {
            const ptrdiff_t at = o * PANEL + g * DLANES;
            const dvec x = (d_load(X + at) - centre[g]) * inv[g];
            if (N) d_store(N + at, x);
            d_store(Y + at, d_fma(x, scale, shift));
        }
    }
}

/* Z = dY gamma: dX = inverse (Z - mean Z - (N - offset) mean Z N); rms: without the first mean */
static void layer_norm_gradient(void *dY, const void *N_, const double *inverse, const double *offset, const void *W,
                                ptrdiff_t n, int rms, ptrdiff_t count) {
    real *G = dY;
    const real *N = N_;
    const dvec of_feature = d_set(1.0 / (double)n);
    dvec sums[GROUPS][PARTIALS], products[GROUPS][PARTIALS], m[GROUPS], w[GROUPS], inv[GROUPS], off[GROUPS];
    for (int j = 0; j < PARTIALS; j += AT_ONCE) {
        dvec s[AT_ONCE][GROUPS] = {0}, v[AT_ONCE][GROUPS] = {0};
        for (ptrdiff_t o = j; o < n; o += PARTIALS)
            UNROLL for (int q = 0; q < AT_ONCE; q++) {
                if (o + q >= n) break;
                const dvec scale = d_set((double)*scale_at(W, o + q));
                UNROLL for (int g = 0; g < GROUPS; g++) {
                    const ptrdiff_t at = (o + q) * PANEL + g * DLANES;
                    const dvec z = d_load(G + at) * scale;
                    s[q][g] += z;
                    v[q][g] = d_fma(z, d_load(N + at), v[q][g]);
                }
            }
        UNROLL for (int q = 0; q < AT_ONCE; q++) UNROLL for (int g = 0; g < GROUPS; g++) {
            sums[g][j + q] = s[q][g];
            products[g][j + q] = v[q][g];
        }
    }
    for (int g = 0; g < GROUPS; g++) {
        m[g] = rms ? d_set(0.0) : (dvec)(vertical_tree(sums[g]) * of_feature);
        w[g] = vertical_tree(products[g]) * of_feature;
        inv[g] = d_load_double(inverse + g * DLANES);
        off[g] = d_load_double(offset + g * DLANES);
    }
    for (ptrdiff_t o = 0; o < n; o++) {
        const dvec scale = d_set((double)*scale_at(W, o));
        UNROLL for (int g = 0; g < GROUPS; g++) {
            const ptrdiff_t at = o * PANEL + g * DLANES;
            d_store(G + at, inv[g] * d_fma(off[g] - d_load(N + at), w[g], d_load(G + at) * scale - m[g]));
        }
        for (ptrdiff_t i = count; i < PANEL; i++) G[o * PANEL + i] = 0;
    }
}

/* ---- one element ---- */

/* x where x > 0, else alpha x, one alpha per feature (He et al. 2015) */
static void prelu(void *Y, const void *X, const void *W, ptrdiff_t n) {
    const vec zero = v_set(0);
    for (ptrdiff_t f = 0; f < n; f++) {
        const vec alpha = v_set(*scale_at(W, f));
        UNROLL for (int i = 0; i < NV; i++) {
            const ptrdiff_t at = f * PANEL + i * LANES;
            const vec x = v_load((const real *)X + at);
            v_store((real *)Y + at, v_select(x > zero, x, alpha * x));
        }
    }
}

/* dY becomes dX, S = dY min(X, 0) */
static void prelu_gradient(void *dY, void *S, const void *X, const void *W, ptrdiff_t n) {
    const vec zero = v_set(0);
    for (ptrdiff_t f = 0; f < n; f++) {
        const vec alpha = v_set(*scale_at(W, f));
        UNROLL for (int i = 0; i < NV; i++) {
            const ptrdiff_t at = f * PANEL + i * LANES;
            const vec x = v_load((const real *)X + at), g = v_load((real *)dY + at);
            v_store((real *)S + at, v_select(x > zero, zero, g * x));
            v_store((real *)dY + at, v_select(x > zero, g, alpha * g));
        }
    }
}

#define SMALLEST_DEVIATION 1e-7 /* Keras's epsilon */

/* centre, scale and shift of feature f: y = (x - centre) scale + shift of learned means and variances, or its inverse */
static inline void learned_scaling(real constants[3], const fnn_scaling *scaling, ptrdiff_t f) {
    const real mean = ((const real *)scaling->mean)[f];
    const double deviation = __builtin_sqrt((double)((const real *)scaling->variance)[f]);
    const double bounded = deviation > SMALLEST_DEVIATION ? deviation : SMALLEST_DEVIATION;
    constants[0] = scaling->invert ? 0 : mean;
    constants[1] = (real)(scaling->invert ? bounded : 1.0 / bounded);
    constants[2] = scaling->invert ? mean : 0;
}

static void standardize(void *Y, void *D, const void *X, const fnn_scaling *scaling, ptrdiff_t n) {
    for (ptrdiff_t f = 0; f < n; f++) {
        real constants[3];
        learned_scaling(constants, scaling, f);
        const vec centre = v_set(constants[0]), scale = v_set(constants[1]), shift = v_set(constants[2]);
        UNROLL for (int i = 0; i < NV; i++) {
            const ptrdiff_t at = f * PANEL + i * LANES;
            const vec x = v_load((const real *)X + at);
            const ivec absent = scaling->missing ? (ivec)~(x == x) : (ivec){0};
            v_store((real *)Y + at, v_select(absent, shift, v_fma(x - centre, scale, shift)));
            if (D) v_store((real *)D + at, v_select(absent, v_set(0), scale));
            if (scaling->indicator) v_store((real *)Y + n * PANEL + at, v_select(absent, v_set(1), v_set(0)));
        }
    }
}

/* ---- rows, for prediction: Y's rows may be written up to whole panels, X's are not read beyond n ---- */

/* `count` elements as whole panels */
static inline const real *row_block(real block[PANEL], const real *x, ptrdiff_t count) {
    if (count >= PANEL) return x;
    memset(block, 0, sizeof(real) * PANEL);
    memcpy(block, x, (size_t)count * sizeof(real));
    return block;
}

static void normalize_rows(const fnn_rows *rows, const void *W, const void *moving_mean, const void *moving_variance,
                           double epsilon) {
    for (ptrdiff_t f = 0; f < rows->n; f += PANEL) {
        const ptrdiff_t count = fnn_min(PANEL, rows->n - f);
        real a[PANEL] = {0}, m[PANEL] = {0}, b[PANEL] = {0}, block[PANEL];
        for (ptrdiff_t j = 0; j < count; j++) {
            const double inverse = inverse_deviation((double)((const real *)moving_variance)[f + j], epsilon);
            a[j] = (real)((double)*scale_at(W, f + j) * inverse);
            m[j] = ((const real *)moving_mean)[f + j];
            b[j] = offset_at(W, rows->n, f + j);
        }
        for (ptrdiff_t r = 0; r < rows->rows; r++) {
            const real *x = row_block(block, (const real *)rows->X + r * rows->ldx + f, count);
            real *y = (real *)rows->Y + r * rows->ldy + f;
            UNROLL for (int i = 0; i < NV; i++) {
                const vec centred = v_load(x + i * LANES) - v_load(m + i * LANES);
                v_store(y + i * LANES, v_fma(centred, v_load(a + i * LANES), v_load(b + i * LANES)));
            }
        }
    }
}

static void standardize_rows(const fnn_rows *rows, const fnn_scaling *scaling) {
    for (ptrdiff_t f = 0; f < rows->n; f++) {
        real constants[3];
        learned_scaling(constants, scaling, f);
        const real centre = constants[0], scale = constants[1], shift = constants[2];
        for (ptrdiff_t r = 0; r < rows->rows; r++) {
            const real x = ((const real *)rows->X)[r * rows->ldx + f];
            const int absent = scaling->missing && !(x == x);
            real *y = (real *)rows->Y + r * rows->ldy + f;
            *y = absent ? shift : v_fma(v_set(x - centre), v_set(scale), v_set(shift))[0];
            if (scaling->indicator) y[rows->n] = absent ? 1 : 0;
        }
    }
}

static double horizontal_sum(const real *x, ptrdiff_t n, int squared, double m) {
    dvec s[PARTIALS / DLANES];
    double sums[PARTIALS];
    const dvec mean = d_set(m);
    UNROLL for (int i = 0; i < PARTIALS / DLANES; i++) s[i] = d_set(0.0);
    ptrdiff_t o = 0;
    for (; o + PARTIALS <= n; o += PARTIALS)
        UNROLL for (int i = 0; i < PARTIALS / DLANES; i++) {
            const dvec d = d_load(x + o + i * DLANES) - mean;
            s[i] = squared ? d_fma(d, d, s[i]) : (dvec)(s[i] + d);
        }
    for (int i = 0; i < PARTIALS / DLANES; i++) d_store_double(sums + i * DLANES, s[i]);
    for (int j = 0; o + j < n; j++) {
        const dvec d = d_set((double)x[o + j]) - mean;
        sums[j] = (squared ? d_fma(d, d, d_set(sums[j])) : (dvec)(d_set(sums[j]) + d))[0];
    }
    return horizontal_tree(sums);
}

/* The same numbers as layer_norm, for rows. */
static void layer_norm_rows(const fnn_rows *rows, const void *W, double epsilon, int rms) {
    const ptrdiff_t n = rows->n;
    const double of_feature = 1.0 / (double)n;
    for (ptrdiff_t r = 0; r < rows->rows; r++) {
        const real *x = (const real *)rows->X + r * rows->ldx;
        real *y = (real *)rows->Y + r * rows->ldy;
        const double mean = horizontal_sum(x, n, 0, 0.0) * of_feature;
        const double variance = horizontal_sum(x, n, 1, mean) * of_feature;
        const dvec inverse = d_set(inverse_deviation(variance, epsilon)), centre = d_set(rms ? 0.0 : mean);
        for (ptrdiff_t f = 0; f < n; f += PANEL) {
            real block[PANEL];
            const real *in = row_block(block, x + f, n - f), *w = scale_at(W, f);
            const ptrdiff_t width = panel_width(n, f / PANEL);
            for (ptrdiff_t i = 0; i < width; i += DLANES)
                d_store(y + f + i, d_fma((d_load(in + i) - centre) * inverse, d_load(w + i), d_load(w + width + i)));
        }
    }
}

static void prelu_rows(const fnn_rows *rows, const void *W) {
    for (ptrdiff_t r = 0; r < rows->rows; r++)
        for (ptrdiff_t f = 0; f < rows->n; f++) {
            const real x = ((const real *)rows->X)[r * rows->ldx + f];
            ((real *)rows->Y)[r * rows->ldy + f] = x > 0 ? x : *scale_at(W, f) * x;
        }
}

#endif
