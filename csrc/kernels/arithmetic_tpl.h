/* Arithmetic on panels and rows, element by element, and dot products of rows. */
#ifndef FNN_ARITHMETIC_TPL_H
#define FNN_ARITHMETIC_TPL_H

#include "panels.h"

/* The larger and the smaller one, and NaN where either is. */
static inline vec larger(vec a, vec b) { return v_select((a > b) | (a != a), a, b); }
static inline vec smaller(vec a, vec b) { return v_select((a < b) | (a != a), a, b); }

static inline __attribute__((always_inline)) vec combined(int kind, vec u, vec v) {
    switch (kind) {
    case FNN_ADD:
        return u + v;
    case FNN_SUBTRACT:
        return u - v;
    case FNN_MULTIPLY:
        return u * v;
    case FNN_DIVIDE:
        return u / v;
    case FNN_MAXIMUM:
        return larger(u, v);
    default:
        return smaller(u, v);
    }
}

/* y[0:n] = a op b; b_step, a_step: 1, or 0 for one number */
static inline __attribute__((always_inline)) void combine_run(int kind, real *y, const real *a, const real *b, ptrdiff_t n,
                                                              ptrdiff_t a_step, ptrdiff_t b_step) {
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        const ptrdiff_t count = fnn_min(n - i, LANES);
        real x[LANES], z[LANES];
        vec u, v;
        if (count == LANES) {
            u = a_step ? v_load(a + i) : v_set(*a);
            v = b_step ? v_load(b + i) : v_set(*b);
        } else {
            for (ptrdiff_t j = 0; j < LANES; j++) {
                x[j] = a[a_step * (i + fnn_min(j, count - 1))];
                z[j] = b[b_step * (i + fnn_min(j, count - 1))];
            }
            u = v_load(x);
            v = v_load(z);
        }
        const vec w = combined(kind, u, v);
        if (count == LANES) {
            v_store(y + i, w);
        } else {
            v_store(x, w);
            memcpy(y + i, x, (size_t)count * sizeof(real));
        }
    }
}

/* Panels of n features and of one, or of a number: its vectors are loaded once. */
static inline __attribute__((always_inline)) void combine_with_one(int kind, real *y, const real *a, const real *b,
                                                                   const fnn_operands *how) {
    vec one[NV];
    UNROLL for (int i = 0; i < NV; i++) one[i] = v_load((how->a_step ? b : a) + i * LANES);
    for (ptrdiff_t f = 0; f < how->n; f++)
        UNROLL for (int i = 0; i < NV; i++) {
            const ptrdiff_t at = f * PANEL + i * LANES;
            v_store(y + at, how->a_step ? combined(kind, v_load(a + at), one[i]) : combined(kind, one[i], v_load(b + at)));
        }
}

/* One run where features follow each other in both operands, or have one element; otherwise one run per feature. */
static inline __attribute__((always_inline)) void combine_kind(int kind, real *y, const real *a, const real *b,
                                                               const fnn_operands *how) {
    const int whole = how->lanes == 1 || (how->a_step && how->b_step);
    if (how->lanes == PANEL && (how->a_step == PANEL) != (how->b_step == PANEL)) {
        combine_with_one(kind, y, a, b, how);
        return;
    }
    const ptrdiff_t runs = whole ? 1 : how->n, length = whole ? how->n * how->lanes : how->lanes;
    const int a_is_one = how->lanes == 1 && !how->a_step, b_is_one = how->lanes == 1 && !how->b_step;
    for (ptrdiff_t f = 0; f < runs; f++)
        combine_run(kind, y + f * length, a + f * how->a_step, b + f * how->b_step, length, !a_is_one, !b_is_one);
}

static void combine(void *Y, const void *A, const void *B, const fnn_operands *how) {
    switch (how->kind) {
#define CASE(kind)                         \
    case kind:                             \
        combine_kind(kind, Y, A, B, how); \
        break;
        CASE(FNN_ADD)
        CASE(FNN_SUBTRACT)
        CASE(FNN_MULTIPLY)
        CASE(FNN_DIVIDE)
        CASE(FNN_MAXIMUM)
        CASE(FNN_MINIMUM)
#undef CASE
    default:
        break;
    }
}

static void take_equal(void *dX_, void *rest_, const void *X_, const void *Y_, ptrdiff_t n, ptrdiff_t step) {
    real *dX = dX_, *rest = rest_;
    const real *X = X_, *Y = Y_;
    const vec zero = v_set((real)0);
    for (ptrdiff_t f = 0; f < n; f++)
        for (ptrdiff_t i = 0; i < PANEL; i += LANES) {
            const vec g = v_load(rest + f * PANEL + i);
            const ivec equal = v_load(X + f * step + i) == v_load(Y + f * PANEL + i);
            if (dX) v_store(dX + f * PANEL + i, v_select(equal, g, zero));
            v_store(rest + f * PANEL + i, v_select(equal, zero, g));
        }
}

static void sum_features(void *out, const void *X, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < PANEL; i += LANES) {
        vec sum = v_set((real)0);
        for (ptrdiff_t f = 0; f < n; f++) sum += v_load((const real *)X + f * PANEL + i);
        v_store((real *)out + i, sum);
    }
}

/* ---- dot products: of each row one chain of multiply-adds ---- */

/* Of squared norms; the square of Keras's epsilon. */
#define LEAST_SQUARES 1e-14

static inline double inverse_norm(double squares) {
    return 1.0 / __builtin_sqrt(squares > LEAST_SQUARES ? squares : LEAST_SQUARES);
}

/* The chains of LANES rows: a b and, with norms, a a and b b. */
typedef struct {
    vec products, squares_a, squares_b;
} dot_sums;

static inline void add_terms(dot_sums *s, vec a, vec b, int with_norms) {
    s->products = v_fma(a, b, s->products);
    if (!with_norms) return;
    s->squares_a = v_fma(a, a, s->squares_a);
    s->squares_b = v_fma(b, b, s->squares_b);
}

/* Elements of the results and inverse norms of both inputs; norms may be NULL. */
static inline void close_dots(real *y, double *norms_a, double *norms_b, const dot_sums *s, ptrdiff_t count) {
    for (ptrdiff_t j = 0; j < count; j++) {
        y[j] = s->products[j];
        if (!norms_a) continue;
        norms_a[j] = inverse_norm((double)s->squares_a[j]);
        norms_b[j] = inverse_norm((double)s->squares_b[j]);
        y[j] = (real)((double)y[j] * norms_a[j] * norms_b[j]);
    }
}

static void dot(void *Y, double *norms, const void *A, const void *B, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < PANEL; i += LANES) {
        dot_sums s = {v_set((real)0), v_set((real)0), v_set((real)0)};
        for (ptrdiff_t f = 0; f < n; f++)
            add_terms(&s, v_load((const real *)A + f * PANEL + i), v_load((const real *)B + f * PANEL + i), norms != NULL);
        close_dots((real *)Y + i, norms ? norms + i : NULL, norms ? norms + PANEL + i : NULL, &s, LANES);
    }
}

static void dot_rows(const fnn_rows *rows, const fnn_rows *other, int normalize) {
    double norms[2 * LANES];
    for (ptrdiff_t r = 0; r < rows->rows; r += LANES) {
        const ptrdiff_t count = fnn_min(rows->rows - r, LANES);
        dot_sums s = {v_set((real)0), v_set((real)0), v_set((real)0)};
        real y[LANES];
        for (ptrdiff_t f = 0; f < rows->n; f++) {
            real a[LANES], b[LANES];
            for (ptrdiff_t j = 0; j < LANES; j++) {
                const ptrdiff_t row = r + fnn_min(j, count - 1);
                a[j] = ((const real *)rows->X)[row * rows->ldx + f];
                b[j] = ((const real *)other->X)[row * other->ldx + f];
            }
            add_terms(&s, v_load(a), v_load(b), normalize);
        }
        close_dots(y, normalize ? norms : NULL, normalize ? norms + LANES : NULL, &s, count);
        for (ptrdiff_t j = 0; j < count; j++) ((real *)rows->Y)[(r + j) * rows->ldy] = y[j];
    }
}

/* d(a b)/da = b; of the cosine c: (b/|b| - c a/|a|) / |a|, without the second term where the norm was too small. */
static void dot_gradient(void *dA_, const void *dY_, const void *Y_, const double *norms, int which, const void *A_,
                         const void *B_, ptrdiff_t n) {
    const real *dY = dY_, *Y = Y_, *A = A_, *B = B_;
    real *dA = dA_, of_other[PANEL], of_own[PANEL];
    for (int j = 0; j < PANEL; j++) {
        of_other[j] = dY[j];
        of_own[j] = 0;
        if (!norms) continue;
        const double own = norms[which * PANEL + j], other = norms[!which * PANEL + j];
        of_other[j] = (real)((double)dY[j] * own * other);
        if (own < 1.0 / __builtin_sqrt(LEAST_SQUARES)) of_own[j] = (real)(-(double)dY[j] * (double)Y[j] * own * own);
    }
    for (ptrdiff_t f = 0; f < n; f++)
        for (ptrdiff_t i = 0; i < PANEL; i += LANES) {
            vec g = v_load(of_other + i) * v_load(B + f * PANEL + i);
            if (norms) g = v_fma(v_load(of_own + i), v_load(A + f * PANEL + i), g);
            v_store(dA + f * PANEL + i, g);
        }
}

#endif
