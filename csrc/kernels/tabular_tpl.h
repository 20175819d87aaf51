/* Layers of networks for tables: learned scales, activations that are mixed with the identity, cosines, groups of features,
 * and bounded lines of one feature.
 *
 * Design:
 * a) An element of a product is one chain of multiply-adds from the bias, in ascending order of the summed index. Sums over
 *    the batch are those of normalization_tpl.h: one float64 chain per lane of a panel, then a fixed tree over the lanes.
 * b) Scales and mixtures are one row of weight panels, as in normalization_tpl.h; other parameters are matrices (fnn_table).
 * c) Cosine and sine come from one reduction to |r| <= pi / 4, and are computed in float64 in both builds. */
#ifndef FNN_TABULAR_TPL_H
#define FNN_TABULAR_TPL_H

#include "embedding_tpl.h"
#include "functions.h"
#include "normalization_tpl.h"

/* ---- x w + b: member m of feature f is output m n + f ---- */

static void scale_features(void *Y, const void *X, const void *W, ptrdiff_t n, ptrdiff_t n_out) {
    for (ptrdiff_t o = 0; o < n_out; o++) {
        const vec w = v_set(*scale_at(W, o)), b = v_set(offset_at(W, n_out, o));
        UNROLL for (int i = 0; i < NV; i++)
            v_store((real *)Y + o * PANEL + i * LANES, v_fma(v_load((const real *)X + o % n * PANEL + i * LANES), w, b));
    }
}

static void scale_features_gradient(void *dX, const void *dY, const void *W, ptrdiff_t n, ptrdiff_t n_out) {
    for (ptrdiff_t f = 0; f < n; f++)
        UNROLL for (int i = 0; i < NV; i++) {
            vec sum = v_set((real)0);
            for (ptrdiff_t o = f; o < n_out; o += n)
                sum = v_fma(v_load((const real *)dY + o * PANEL + i * LANES), v_set(*scale_at(W, o)), sum);
            v_store((real *)dX + f * PANEL + i * LANES, sum);
        }
}

static void scale_features_rows(const fnn_rows *rows, const void *W, ptrdiff_t n_out) {
    for (ptrdiff_t r = 0; r < rows->rows; r++)
        for (ptrdiff_t o = 0; o < n_out; o++) {
            const vec x = v_set(((const real *)rows->X)[r * rows->ldx + o % rows->n]);
            ((real *)rows->Y)[r * rows->ldy + o] = v_fma(x, v_set(*scale_at(W, o)), v_set(offset_at(W, n_out, o)))[0];
        }
}

/* ---- x + (f(x) - x) a ---- */

/* S = f(X) - X, D = 1 + (f'(X) - 1) a; Y and D hold f(X) and f'(X). */
static void mix_identity(void *Y, void *D, void *S, const void *X, const void *W, ptrdiff_t n) {
    const vec one = v_set((real)1);
    for (ptrdiff_t f = 0; f < n; f++) {
        const vec a = v_set(*scale_at(W, f));
        UNROLL for (int i = 0; i < NV; i++) {
            const ptrdiff_t at = f * PANEL + i * LANES;
            const vec x = v_load((const real *)X + at), difference = v_load((real *)Y + at) - x;
            v_store((real *)Y + at, v_fma(difference, a, x));
            if (S) v_store((real *)S + at, difference);
            if (D) v_store((real *)D + at, v_fma(v_load((real *)D + at) - one, a, one));
        }
    }
}

static void mix_identity_rows(const fnn_rows *rows, const void *W) {
    for (ptrdiff_t r = 0; r < rows->rows; r++)
        for (ptrdiff_t f = 0; f < rows->n; f += PANEL) {
            const real *x = (const real *)rows->X + r * rows->ldx + f, *a = scale_at(W, f);
            real *y = (real *)rows->Y + r * rows->ldy + f, in[PANEL] = {0}, out[PANEL] = {0};
            if (rows->n - f >= PANEL) {
                UNROLL for (int i = 0; i < NV; i++) {
                    const vec v = v_load(x + i * LANES);
                    v_store(y + i * LANES, v_fma(v_load(y + i * LANES) - v, v_load(a + i * LANES), v));
                }
                continue;
            }
            const size_t bytes = (size_t)(rows->n - f) * sizeof(real);
            const ptrdiff_t width = panel_width(rows->n, f / PANEL);
            memcpy(in, x, bytes);
            memcpy(out, y, bytes);
            for (ptrdiff_t i = 0; i < width; i += LANES) {
                const vec v = v_load(in + i);
                v_store(out + i, v_fma(v_load(out + i) - v, v_load(a + i), v));
            }
            memcpy(y, out, bytes);
        }
}

/* ---- cos(2 pi w x + b): of feature f outputs f k, ..., f k + k - 1 ---- */

#define MOST_ANGLE 1e9 /* larger ones count as this */

/* x = n pi / 2 + r, |r| <= pi / 4, Cody and Waite (1980): *c = cos(x), *s = sin(x) */
static inline __attribute__((always_inline)) void d_cos_sin(dvec x, dvec *c, dvec *s) {
    const dvec bounded = d_max(d_set(-MOST_ANGLE), d_min(d_set(MOST_ANGLE), x));
    const dvec shifted = d_fma(bounded, d_set(0x1.45f306dc9c883p-1), d_set(ROUND_MAGIC)), n = shifted - d_set(ROUND_MAGIC);
    dvec r = d_fma(n, d_set(-0x1.921fb54400000p+0), bounded);
    r = d_fma(n, d_set(-0x1.0b4611a600000p-34), r);
    r = d_fma(n, d_set(-0x1.3198a2e037073p-69), r);
    const dvec u = r * r;
    const dvec sine = d_fma(r * u, d_polynomial(SINE_COEFFICIENTS, COUNT(SINE_COEFFICIENTS), u), r);
    const dvec half = d_set(0.5) * u, one = d_set(1.0), most = one - half;
    const dvec cosine = most + d_fma(u * u, d_polynomial(COSINE_COEFFICIENTS, COUNT(COSINE_COEFFICIENTS), u),
                                     (one - most) - half);
    const lvec quadrant = (lvec)shifted, first = (lvec){0} + 1, second = (lvec){0} + 2;
    const lvec odd = (quadrant & first) == first;
    const lvec negative_sine = (quadrant & second) == second, negative_cosine = ((quadrant + first) & second) == second;
    const dvec sines = d_select(odd, cosine, sine), cosines = d_select(odd, sine, cosine);
    *s = d_select(negative_sine, -sines, sines);
    *c = d_select(negative_cosine, -cosines, cosines);
}

static inline __attribute__((always_inline)) void cosine_of(dvec x, dvec w, dvec b, dvec *c, dvec *s) {
    d_cos_sin(d_fma(x * w, d_set(FNN_TURN), b), c, s);
}

/* D = sin; may be NULL */
static void cosine_features(void *Y, void *D, const void *X, const void *W, ptrdiff_t n, ptrdiff_t n_out) {
    const ptrdiff_t k = n_out / n;
    for (ptrdiff_t o = 0; o < n_out; o++) {
        const dvec w = d_set((double)*scale_at(W, o)), b = d_set((double)offset_at(W, n_out, o));
        for (int g = 0; g < GROUPS; g += SIDE) {
            dvec c[SIDE], s[SIDE];
            const ptrdiff_t from = o / k * PANEL + g * DLANES, to = o * PANEL + g * DLANES;
            UNROLL for (int i = 0; i < SIDE; i++)
                cosine_of(d_load((const real *)X + from + i * DLANES), w, b, &c[i], &s[i]);
            UNROLL for (int i = 0; i < SIDE; i++) d_store((real *)Y + to + i * DLANES, c[i]);
            if (D) UNROLL for (int i = 0; i < SIDE; i++) d_store((real *)D + to + i * DLANES, s[i]);
        }
    }
}

/* S = -dY sin, the gradient of the argument */
static void cosine_features_gradient(void *dX, void *S, const void *dY, const void *D, const void *W, ptrdiff_t n,
                                     ptrdiff_t n_out) {
    const ptrdiff_t k = n_out / n;
    for (ptrdiff_t f = 0; f < n; f++)
        UNROLL for (int i = 0; i < NV; i++) {
            vec sum = v_set((real)0);
            for (ptrdiff_t o = f * k; o < f * k + k; o++) {
                const ptrdiff_t at = o * PANEL + i * LANES;
                const vec s = -(v_load((const real *)dY + at) * v_load((const real *)D + at));
                v_store((real *)S + at, s);
                sum = v_fma(s, v_set(*scale_at(W, o)), sum);
            }
            if (dX) v_store((real *)dX + f * PANEL + i * LANES, sum * v_set((real)FNN_TURN));
        }
}

static void cosine_features_rows(const fnn_rows *rows, const void *W, ptrdiff_t n_out) {
    const ptrdiff_t k = n_out / rows->n;
    for (ptrdiff_t o = 0; o < n_out; o += DLANES) {
        const ptrdiff_t count = fnn_min(n_out - o, DLANES);
        ptrdiff_t feature[DLANES];
        real w[DLANES] = {0}, b[DLANES] = {0}, x[DLANES] = {0}, y[DLANES];
        for (ptrdiff_t j = 0; j < count; j++) {
            feature[j] = (o + j) / k;
            w[j] = *scale_at(W, o + j);
            b[j] = offset_at(W, n_out, o + j);
        }
        for (ptrdiff_t r = 0; r < rows->rows; r++) {
            const real *from = (const real *)rows->X + r * rows->ldx;
            real *to = (real *)rows->Y + r * rows->ldy + o;
            dvec c, s;
            if (count == DLANES && feature[0] == feature[DLANES - 1]) {
                cosine_of(d_set((double)from[feature[0]]), d_load(w), d_load(b), &c, &s);
                d_store(to, c);
                continue;
            }
            for (ptrdiff_t j = 0; j < count; j++) x[j] = from[feature[j]];
            cosine_of(d_load(x), d_load(w), d_load(b), &c, &s);
            d_store(y, c);
            memcpy(to, y, (size_t)count * sizeof(real));
        }
    }
}

/* ---- products of groups of features: group g of `rows` inputs gives outputs g m, ..., g m + m - 1 ---- */

static void grouped_product(void *Y, const void *X, const fnn_table *W, ptrdiff_t groups) {
    const ptrdiff_t m = W->columns / groups;
    for (ptrdiff_t c = 0; c < W->columns; c++) {
        const real *x = (const real *)X + c / m * W->rows * PANEL, *w = table_at(W, 0, c);
        const ptrdiff_t width = panel_width(W->columns, c / PANEL);
        vec sum[NV];
        UNROLL for (int i = 0; i < NV; i++) sum[i] = v_set(w[W->rows * width]);
        for (ptrdiff_t k = 0; k < W->rows; k++, x += PANEL) {
            const vec a = v_set(w[k * width]);
            UNROLL for (int i = 0; i < NV; i++) sum[i] = v_fma(a, v_load(x + i * LANES), sum[i]);
        }
        UNROLL for (int i = 0; i < NV; i++) v_store((real *)Y + c * PANEL + i * LANES, sum[i]);
    }
}

static void grouped_product_input(void *dX, const void *dY, const fnn_table *W, ptrdiff_t groups) {
    const ptrdiff_t m = W->columns / groups;
    for (ptrdiff_t g = 0; g < groups; g++)
        for (ptrdiff_t k = 0; k < W->rows; k++) {
            vec sum[NV];
            UNROLL for (int i = 0; i < NV; i++) sum[i] = v_set((real)0);
            for (ptrdiff_t c = g * m; c < g * m + m; c++) {
                const vec w = v_set(*table_at(W, k, c));
                UNROLL for (int i = 0; i < NV; i++)
                    sum[i] = v_fma(w, v_load((const real *)dY + c * PANEL + i * LANES), sum[i]);
            }
            UNROLL for (int i = 0; i < NV; i++)
                v_store((real *)dX + (g * W->rows + k) * PANEL + i * LANES, sum[i]);
        }
}

/* The sum over the batch of dY x; x NULL: of dY. Rows of padding have no gradient. */
static inline double sum_over_rows(const real *dY, ptrdiff_t dy_stride, const real *x, ptrdiff_t x_stride,
                                   ptrdiff_t panels) {
    dvec s[GROUPS];
    UNROLL for (int i = 0; i < GROUPS; i++) s[i] = d_set(0.0);
    for (ptrdiff_t p = 0; p < panels; p++)
        UNROLL for (int i = 0; i < GROUPS; i++) {
            const dvec g = d_load(dY + p * dy_stride + i * DLANES);
            s[i] = d_fma(g, x ? d_load(x + p * x_stride + i * DLANES) : d_set(1.0), s[i]);
        }
    return lane_tree(s);
}

static void grouped_product_gradient(void *G_, const fnn_table *W, ptrdiff_t groups, ptrdiff_t q, fnn_range rows,
                                     fnn_panels X, fnn_panels dY, ptrdiff_t batch_rows) {
    real *G = G_;
    const ptrdiff_t m = W->columns / groups, width = panel_width(W->columns, q), panels = fnn_ceil_div(batch_rows, PANEL);
    for (ptrdiff_t k = rows.first; k < rows.last; k++)
        for (ptrdiff_t j = 0; j < width; j++) {
            const ptrdiff_t c = q * PANEL + j;
            const real *x = k < W->rows ? (const real *)X.data + (c / m * W->rows + k) * PANEL : NULL;
            G[(k - rows.first) * width + j] =
                c < W->columns
                    ? (real)sum_over_rows((const real *)dY.data + c * PANEL, dY.stride, x, X.stride, panels)
                    : 0;
        }
}

static void grouped_product_rows(const fnn_rows *rows, const fnn_table *W, ptrdiff_t groups) {
    const ptrdiff_t m = W->columns / groups;
    for (ptrdiff_t r = 0; r < rows->rows; r++)
        for (ptrdiff_t c = 0; c < W->columns; c++) {
            const real *x = (const real *)rows->X + r * rows->ldx + c / m * W->rows, *w = table_at(W, 0, c);
            const ptrdiff_t width = panel_width(W->columns, c / PANEL);
            vec sum = v_set(w[W->rows * width]);
            for (ptrdiff_t k = 0; k < W->rows; k++) sum = v_fma(v_set(w[k * width]), v_set(x[k]), sum);
            ((real *)rows->Y)[r * rows->ldy + c] = sum[0];
        }
}

/* ---- min(high, max(low, w x + b)): of feature f outputs f k, ..., f k + k - 1; W's rows are w, low and high ---- */

static inline vec bounded_line(vec x, real w, real b, real low, real high) {
    const vec line = v_fma(x, v_set(w), v_set(b)), least = v_set(low), most = v_set(high);
    const vec above = v_select(line < least, least, line);
    return v_select(above > most, most, above);
}

static void bounded_lines(void *Y, void *D, const void *X, const fnn_table *W, ptrdiff_t n) {
    const ptrdiff_t k = W->columns / n;
    for (ptrdiff_t c = 0; c < W->columns; c++) {
        const real w = *table_at(W, 0, c), low = *table_at(W, 1, c), high = *table_at(W, 2, c), b = *table_at(W, 3, c);
        UNROLL for (int i = 0; i < NV; i++) {
            const vec x = v_load((const real *)X + c / k * PANEL + i * LANES), y = bounded_line(x, w, b, low, high);
            v_store((real *)Y + c * PANEL + i * LANES, y);
            const vec inside = v_select((y > v_set(low)) & (y < v_set(high)), v_set(w), v_set((real)0));
            if (D) v_store((real *)D + c * PANEL + i * LANES, inside);
        }
    }
}

static void bounded_lines_gradient(void *dX, const void *dY, const void *D, ptrdiff_t n, ptrdiff_t n_out) {
    const ptrdiff_t k = n_out / n;
    for (ptrdiff_t f = 0; f < n; f++)
        UNROLL for (int i = 0; i < NV; i++) {
            vec sum = v_set((real)0);
            for (ptrdiff_t o = f * k; o < f * k + k; o++)
                sum = v_fma(v_load((const real *)dY + o * PANEL + i * LANES),
                            v_load((const real *)D + o * PANEL + i * LANES), sum);
            v_store((real *)dX + f * PANEL + i * LANES, sum);
        }
}

static void bounded_lines_rows(const fnn_rows *rows, const fnn_table *W) {
    const ptrdiff_t k = W->columns / rows->n;
    for (ptrdiff_t r = 0; r < rows->rows; r++)
        for (ptrdiff_t c = 0; c < W->columns; c++) {
            const vec x = v_set(((const real *)rows->X)[r * rows->ldx + c / k]);
            ((real *)rows->Y)[r * rows->ldy + c] =
                bounded_line(x, *table_at(W, 0, c), *table_at(W, 3, c), *table_at(W, 1, c), *table_at(W, 2, c))[0];
        }
}

#endif
