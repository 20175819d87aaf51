/* A weight panel of one output is one column: its vectors run over the inputs, so that no lane is empty. Every element is
 * the same chain as in the tiles. */
#ifndef FNN_SINGLE_COLUMN_TPL_H
#define FNN_SINGLE_COLUMN_TPL_H

#include "panels.h"

/* a * b + c of one element, as v_fma */
static inline real r_fma(real a, real b, real c) {
#if defined(FNN_ISA_BASELINE)
    return a * b + c;
#else
    return (real)(sizeof(real) == 4 ? __builtin_fmaf((float)a, (float)b, (float)c)
                                    : __builtin_fma((double)a, (double)b, (double)c));
#endif
}

/* The chain of input k over rows [r, end). */
static inline real chain_of_input(const real *X, ptrdiff_t x_stride, const real *dZ, ptrdiff_t k, ptrdiff_t r,
                                  ptrdiff_t end) {
    real c = 0;
    for (; r < end; r += PANEL) {
        const real *x = X + r / PANEL * x_stride + k * PANEL;
        UNROLL for (int i = 0; i < PANEL; i++) c = r_fma(x[i], dZ[r + i], c);
    }
    return c;
}

/* The chains of inputs k, ..., k + LANES - 1 over rows [r, end). */
static inline vec chains_of_inputs(const real *X, ptrdiff_t x_stride, const real *dZ, ptrdiff_t k, ptrdiff_t r,
                                   ptrdiff_t end) {
    vec c = v_set(0);
    for (; r < end; r += LANES) {
        const real *x = X + r / PANEL * x_stride + k * PANEL + r % PANEL;
        vec t[LANES];
        UNROLL for (int j = 0; j < LANES; j++) t[j] = v_load(x + j * PANEL);
        v_transpose(t);
        UNROLL for (int j = 0; j < LANES; j++) c = v_fma(t[j], v_set(dZ[r + j]), c);
    }
    return c;
}

/* G[k] = sum over the rows of X[k] dZ, k < n. Up to LANES zeros follow. */
static void column_gradient(real *G, const real *X, ptrdiff_t x_stride, const real *dZ, ptrdiff_t rows, ptrdiff_t n) {
    ptrdiff_t k = 0;
    for (; k + LANES <= n; k += LANES) {
        vec sum = chains_of_inputs(X, x_stride, dZ, k, 0, fnn_min(FNN_CHUNK, rows));
        for (ptrdiff_t r = FNN_CHUNK; r < rows; r += FNN_CHUNK)
            sum += chains_of_inputs(X, x_stride, dZ, k, r, fnn_min(r + FNN_CHUNK, rows));
        v_store(G + k, sum);
    }
    v_store(G + k, v_set(0));
    for (; k < n; k++) {
        real sum = chain_of_input(X, x_stride, dZ, k, 0, fnn_min(FNN_CHUNK, rows));
        for (ptrdiff_t r = FNN_CHUNK; r < rows; r += FNN_CHUNK)
            sum += chain_of_input(X, x_stride, dZ, k, r, fnn_min(r + FNN_CHUNK, rows));
        G[k] = sum;
    }
}

/* dX[k] = W[k] dZ of one panel */
static void column_input_gradient(real *dX, const real *W, const real *dZ, fnn_range inputs) {
    vec g[NV];
    UNROLL for (int i = 0; i < NV; i++) g[i] = v_load(dZ + i * LANES);
    _Pragma("GCC unroll 4") for (ptrdiff_t k = inputs.first; k < inputs.last; k++) {
        const vec w = v_set(W[k]);
        UNROLL for (int i = 0; i < NV; i++) v_store(dX + k * PANEL + i * LANES, v_fma(w, g[i], v_set(0)));
    }
}

/* Rows side by side, so that their chains overlap. */
#define ROWS_TOGETHER 8

/* y[i * ldy] = W[n_in] + sum_k X[i * ldx + k] W[k], i < n */
static void column_rows(real *y, ptrdiff_t ldy, const real *X, ptrdiff_t ldx, ptrdiff_t n_in, const real *W, ptrdiff_t n,
                        int relu) {
    for (ptrdiff_t first = 0; first < n; first += ROWS_TOGETHER) {
        const real *x[ROWS_TOGETHER];
        real c[ROWS_TOGETHER];
        UNROLL for (int i = 0; i < ROWS_TOGETHER; i++) x[i] = X + fnn_min(first + i, n - 1) * ldx;
        UNROLL for (int i = 0; i < ROWS_TOGETHER; i++) c[i] = W[n_in];
        if (n == 1)
            for (ptrdiff_t k = 0; k < n_in; k++) c[0] = r_fma(x[0][k], W[k], c[0]);
        else
            for (ptrdiff_t k = 0; k < n_in; k++)
                UNROLL for (int i = 0; i < ROWS_TOGETHER; i++) c[i] = r_fma(x[i][k], W[k], c[i]);
        for (int i = 0; i < ROWS_TOGETHER && first + i < n; i++) y[(first + i) * ldy] = relu && 0 > c[i] ? 0 : c[i];
    }
}

#endif
