/* Cholesky's factor of a symmetric positive definite matrix, and what is solved with it.
 *
 * A matrix has n rows of n elements, of which the upper triangle is used: A = U' U. Products are rounded before they are
 * subtracted, and each element subtracts them in ascending order, so the bits depend on no instruction set. */
#ifndef FNN_CHOLESKY_TPL_H
#define FNN_CHOLESKY_TPL_H

#include "simd.h"

#include <math.h>

/* Rows that are finished before the rest of the matrix is read again. */
#define FACTOR_ROWS 8

/* row -= factor * source */
static inline void subtract_row(real *restrict row, const real *restrict source, real factor, ptrdiff_t n) {
    for (ptrdiff_t j = 0; j < n; j++) row[j] -= factor * source[j];
}

/* row -= sum of four factors * sources, one after another */
static inline void subtract_rows(real *restrict row, const real *restrict U, ptrdiff_t n, const real *factor,
                                 ptrdiff_t count) {
    const real *restrict a = U, *restrict b = U + n, *restrict c = U + 2 * n, *restrict d = U + 3 * n;
    const real f = factor[0], g = factor[1], h = factor[2], k = factor[3];
    for (ptrdiff_t j = 0; j < count; j++) row[j] = (((row[j] - f * a[j]) - g * b[j]) - h * c[j]) - k * d[j];
}

/* Replaces the upper triangle of A by U; 0 where A is not positive definite. */
static int cholesky(void *A, ptrdiff_t n) {
    real *U = A;
    for (ptrdiff_t k0 = 0; k0 < n; k0 += FACTOR_ROWS) {
        const ptrdiff_t end = k0 + FACTOR_ROWS < n ? k0 + FACTOR_ROWS : n;
        for (ptrdiff_t k = k0; k < end; k++) {
            real *row = U + k * n;
            for (ptrdiff_t l = k0; l < k; l++) subtract_row(row + k, U + l * n + k, U[l * n + k], n - k);
            if (!(row[k] > 0) || !isfinite(row[k])) return 0;
            const real root = (real)sqrt((double)row[k]);
            for (ptrdiff_t j = k; j < n; j++) row[j] /= root;
        }
        for (ptrdiff_t i = end; i < n; i++) { /* none after fewer than FACTOR_ROWS rows */
            real factor[FACTOR_ROWS];
            for (int l = 0; l < FACTOR_ROWS; l++) factor[l] = U[(k0 + l) * n + i];
            for (int l = 0; l < FACTOR_ROWS; l += 4)
                subtract_rows(U + i * n + i, U + (k0 + l) * n + i, n, factor + l, n - i);
        }
    }
    return 1;
}

/* b = solution of U' x = b, whose elements before `first` are zero */
static void solve_lower(const real *U, ptrdiff_t n, real *b, ptrdiff_t first) {
    for (ptrdiff_t k = first; k < n; k++) {
        b[k] /= U[k * n + k];
        subtract_row(b + k + 1, U + k * n + k + 1, b[k], n - k - 1);
    }
}

/* b = solution of U' U x = b */
static void cholesky_solve(const void *factor, ptrdiff_t n, void *rhs) {
    const real *U = factor;
    real *b = rhs;
    solve_lower(U, n, b, 0);
    for (ptrdiff_t k = n - 1; k >= 0; k--) {
        real sum = b[k];
        for (ptrdiff_t j = k + 1; j < n; j++) sum -= U[k * n + j] * b[j];
        b[k] = sum / U[k * n + k];
    }
}

/* Trace of the inverse of U' U: the sum of the squares of the inverse of U. `scratch` has n elements. */
static double cholesky_inverse_trace(const void *factor, ptrdiff_t n, void *scratch) {
    real *b = scratch;
    double trace = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        for (ptrdiff_t j = i; j < n; j++) b[j] = j == i;
        solve_lower(factor, n, b, i);
        for (ptrdiff_t j = i; j < n; j++) trace += (double)b[j] * (double)b[j];
    }
    return trace;
}

#endif
