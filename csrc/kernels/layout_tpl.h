/* Moving numbers between the caller's arrays, panels and weight panels. */
#ifndef FNN_LAYOUT_TPL_H
#define FNN_LAYOUT_TPL_H

#include "panels.h"

/* columns [c0, c0 + count) of one row of the caller's matrix as contiguous elements */
static void read_row(real *out, const fnn_matrix *X, ptrdiff_t row, ptrdiff_t c0, ptrdiff_t count) {
    const char *p = (const char *)X->data + row * X->row_stride + c0 * X->col_stride;
    switch (X->dtype) {
#define CASE(dtype, type)                                                                 \
    case dtype:                                                                           \
        for (ptrdiff_t i = 0; i < count; i++, p += X->col_stride) {                       \
            type value;                                                                   \
            memcpy(&value, p, sizeof value);                                              \
            out[i] = (real)value;                                                         \
        }                                                                                 \
        break;
        CASE(FNN_F32, float)
        CASE(FNN_F64, double)
        CASE(FNN_I8, int8_t)
        CASE(FNN_U8, uint8_t)
        CASE(FNN_I16, int16_t)
        CASE(FNN_U16, uint16_t)
        CASE(FNN_I32, int32_t)
        CASE(FNN_U32, uint32_t)
        CASE(FNN_I64, int64_t)
        CASE(FNN_U64, uint64_t)
#undef CASE
    default:
        break;
    }
}

static int is_direct(const fnn_matrix *X) {
    return X->dtype == (sizeof(real) == 4 ? FNN_F32 : FNN_F64) && X->col_stride == (ptrdiff_t)sizeof(real);
}

/* Elements of a row to prefetch: a panel has more rows than a hardware prefetcher follows streams. */
#define AHEAD (4 * PANEL)

/* panel[f * PANEL + i] = rows[i][f], 0 <= f < count <= LANES; whole vectors are read. */
static inline __attribute__((always_inline)) void transpose_block(real *panel, const real *const *rows, ptrdiff_t first,
                                                                  ptrdiff_t count) {
    for (int i = 0; i < PANEL; i += LANES) {
        vec r[LANES];
        UNROLL for (int j = 0; j < LANES; j++) r[j] = v_load(rows[i + j] + first);
        v_transpose(r);
        UNROLL for (int j = 0; j < LANES; j++) if (j < count) v_store(panel + (first + j) * PANEL + i, r[j]);
    }
}

/* Rows of at most twice FEW features are read in vectors of this length, several of them side by side in one vector. */
#define FEW 4
#if VBYTES > 16 && !defined(FNN_DOUBLE)
#define HAS_FEW 1
typedef real few_vec __attribute__((vector_size(FEW * REAL_BYTES), may_alias, aligned(1)));
#if VBYTES == 32
#define SIDE_BY_SIDE(rows, i) \
    __builtin_shufflevector(*(const few_vec *)(rows[i] + first), *(const few_vec *)(rows[i + 4] + first), 0, 1, 2, 3, 4, \
                            5, 6, 7)
#define FIRST_PAIRS 0, 8, 1, 9, 4, 12, 5, 13
#define LAST_PAIRS 2, 10, 3, 11, 6, 14, 7, 15
#define FIRST_FOURS 0, 1, 8, 9, 4, 5, 12, 13
#define LAST_FOURS 2, 3, 10, 11, 6, 7, 14, 15
#else
#define TWO_FEWS(rows, i) \
    __builtin_shufflevector(*(const few_vec *)(rows[i] + first), *(const few_vec *)(rows[i + 4] + first), 0, 1, 2, 3, 4, \
                            5, 6, 7)
#define SIDE_BY_SIDE(rows, i)                                                                                           \
    __builtin_shufflevector(TWO_FEWS(rows, i), TWO_FEWS(rows, i + 8), 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, \
                            15)
#define FIRST_PAIRS 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29
#define LAST_PAIRS 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31
#define FIRST_FOURS 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29
#define LAST_FOURS 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31
#endif
/* panel[f * PANEL + i] = rows[i][first + f], 0 <= f < features, 2 to FEW; FEW elements are read. Rows i, i + 4, ... are side
 * by side. */
static inline void transpose_few(real *panel, const real *const *rows, ptrdiff_t first, ptrdiff_t features) {
    for (int i = 0; i < PANEL; i += LANES) {
        const vec a = SIDE_BY_SIDE(rows, i), b = SIDE_BY_SIDE(rows, i + 1);
        const vec c = SIDE_BY_SIDE(rows, i + 2), d = SIDE_BY_SIDE(rows, i + 3);
        const vec ab = __builtin_shufflevector(a, b, FIRST_PAIRS), cd = __builtin_shufflevector(c, d, FIRST_PAIRS);
        v_store(panel + i, __builtin_shufflevector(ab, cd, FIRST_FOURS));
        v_store(panel + PANEL + i, __builtin_shufflevector(ab, cd, LAST_FOURS));
        if (features <= 2) continue;
        const vec ab_rest = __builtin_shufflevector(a, b, LAST_PAIRS), cd_rest = __builtin_shufflevector(c, d, LAST_PAIRS);
        v_store(panel + 2 * PANEL + i, __builtin_shufflevector(ab_rest, cd_rest, FIRST_FOURS));
        if (features > 3) v_store(panel + 3 * PANEL + i, __builtin_shufflevector(ab_rest, cd_rest, LAST_FOURS));
    }
}
#else
#define HAS_FEW 0
#endif

/* panel[f * PANEL + i] = rows[i][f]; padded: whole vectors can be read from the rows, however short they are. */
static void transpose_rows(real *panel, const real *const *rows, ptrdiff_t features, int padded) {
    ptrdiff_t f = 0;
    for (; f + LANES <= features; f += LANES) {
        /* one line of each row every other time */
        if (f % PANEL == 0 && f + AHEAD < features)
            UNROLL for (int i = 0; i < PANEL; i++) __builtin_prefetch(rows[i] + f + AHEAD);
        transpose_block(panel, rows, f, LANES);
    }
    if (f == features) return;
    if (f)
        transpose_block(panel, rows, features - LANES, LANES);
    else if (padded && features > 1)
        transpose_block(panel, rows, 0, features);
    else
        for (; f < features; f++)
            for (int i = 0; i < PANEL; i++) panel[f * PANEL + i] = rows[i][f];
}

#define CONVERTED 64 /* columns converted at a time */

/* The first element of a row of a matrix that is_direct. */
static inline const real *row_at(const fnn_matrix *X, ptrdiff_t row) {
    return (const real *)(const void *)((const char *)X->data + row * X->row_stride);
}

static void gather_column(real *panel, const fnn_matrix *X, const int64_t *order, ptrdiff_t first, ptrdiff_t count) {
    if (!order && count == PANEL && X->row_stride == (ptrdiff_t)sizeof(real)) {
        UNROLL for (int i = 0; i < PANEL; i += LANES) v_store(panel + i, v_load(row_at(X, first) + i));
        return;
    }
    for (ptrdiff_t i = 0; i < count; i++) panel[i] = *row_at(X, order ? (ptrdiff_t)order[first + i] : first + i);
    for (ptrdiff_t i = count; i < PANEL; i++) panel[i] = panel[count - 1];
}

static void gather_rows(real *panel, const fnn_matrix *X, const int64_t *order, ptrdiff_t first, ptrdiff_t count) {
    const real *rows[PANEL];
    ptrdiff_t last = first + count - 1;
    if (order) {
        last = 0;
        for (ptrdiff_t i = 0; i < PANEL; i++) {
            const ptrdiff_t row = (ptrdiff_t)order[first + fnn_min(i, count - 1)];
            last = row > last ? row : last;
            rows[i] = row_at(X, row);
        }
    } else {
        for (ptrdiff_t i = 0; i < PANEL; i++) rows[i] = row_at(X, first + fnn_min(i, count - 1));
    }
    /* a short row can be read beyond its end where more rows follow */
    const ptrdiff_t readable =
        X->row_stride > 0 ? (X->rows - 1 - last) * X->row_stride + X->cols * (ptrdiff_t)sizeof(real) : 0;
#if HAS_FEW
    if (X->cols <= 2 * FEW && readable >= FEW * REAL_BYTES) {
        const ptrdiff_t last_few = X->cols - FEW;
        transpose_few(panel, rows, 0, fnn_min(X->cols, FEW));
        if (last_few > 0) transpose_few(panel + last_few * PANEL, rows, last_few, FEW);
        return;
    }
#endif
    transpose_rows(panel, rows, X->cols, readable >= VBYTES);
}

static void gather_converted(real *panel, const fnn_matrix *X, const int64_t *order, ptrdiff_t first, ptrdiff_t count) {
    const real *rows[PANEL];
    real block[PANEL * CONVERTED];
    for (ptrdiff_t i = 0; i < PANEL; i++) rows[i] = block + fnn_min(i, count - 1) * CONVERTED;
    for (ptrdiff_t c = 0; c < X->cols; c += CONVERTED) {
        const ptrdiff_t width = fnn_min(CONVERTED, X->cols - c);
        for (ptrdiff_t i = 0; i < count; i++)
            read_row(block + i * CONVERTED, X, order ? (ptrdiff_t)order[first + i] : first + i, c, width);
        transpose_rows(panel + c * PANEL, rows, width, 1);
    }
}

static void gather(void *panel, const fnn_matrix *X, const int64_t *order, ptrdiff_t first, ptrdiff_t count) {
    (!is_direct(X) ? gather_converted : X->cols == 1 ? gather_column : gather_rows)(panel, X, order, first, count);
}

/* rows[i][f] = panel[f * PANEL + i], i < count, first <= f < first + LANES */
static void scatter_block(real *const *rows, const real *panel, ptrdiff_t first, ptrdiff_t count) {
    for (int i = 0; i < PANEL; i += LANES) {
        vec r[LANES];
        UNROLL for (int j = 0; j < LANES; j++) r[j] = v_load(panel + (first + j) * PANEL + i);
        v_transpose(r);
        UNROLL for (int j = 0; j < LANES; j++) if (i + j < count) v_store(rows[i + j] + first, r[j]);
    }
}

static void scatter(void *out, ptrdiff_t ld, const void *panel_, ptrdiff_t cols, const int64_t *order, ptrdiff_t first,
                    ptrdiff_t count) {
    const real *panel = panel_;
    real *rows[PANEL];
    for (ptrdiff_t i = 0; i < count; i++) rows[i] = (real *)out + (order ? (ptrdiff_t)order[first + i] : first + i) * ld;
    ptrdiff_t f = 0;
    for (; f + LANES <= cols; f += LANES) scatter_block(rows, panel, f, count);
    if (f && f < cols)
        scatter_block(rows, panel, cols - LANES, count);
    else
        for (; f < cols; f++)
            for (ptrdiff_t i = 0; i < count; i++) rows[i][f] = panel[f * PANEL + i];
}

static void convert(void *out, ptrdiff_t ld, const fnn_matrix *X, ptrdiff_t first, ptrdiff_t count) {
    const size_t bytes = (size_t)X->cols * sizeof(real);
    for (ptrdiff_t i = 0; i < count; i++)
        if (is_direct(X))
            memcpy((real *)out + i * ld, (const char *)X->data + (first + i) * X->row_stride, bytes);
        else
            read_row((real *)out + i * ld, X, first + i, 0, X->cols);
}

/* `outs` numbers and zeros up to `width` */
static inline void pack_row(real *w, const real *row, ptrdiff_t outs, ptrdiff_t width) {
    if (outs == PANEL) {
        UNROLL for (int i = 0; i < PANEL; i += LANES) v_store(w + i, v_load(row + i));
        return;
    }
    memcpy(w, row, (size_t)outs * sizeof(real));
    memset(w + outs, 0, (size_t)(width - outs) * sizeof(real));
}

/* Rows of a kernel that are moved together: panels lie far apart in the weights, rows in the kernel. */
#define MOVED_ROWS 16

/* The weight panels of `count` outputs from a kernel and a bias of n_out outputs; a NULL one is left alone. */
static void pack(real *W, const real *kernel, const real *bias, ptrdiff_t n_in, ptrdiff_t n_out, ptrdiff_t count) {
    for (ptrdiff_t first = 0; first <= n_in; first += MOVED_ROWS)
        for (ptrdiff_t q = 0; q * PANEL < count; q++) {
            const ptrdiff_t width = panel_width(count, q), outs = fnn_min(width, count - q * PANEL);
            const ptrdiff_t end = fnn_min(first + MOVED_ROWS, n_in + 1);
            real *w = W + panel_offset(n_in, q) + first * width;
            for (ptrdiff_t k = first; k < end; k++, w += width) {
                const real *row = k < n_in ? kernel : bias;
                if (row) pack_row(w, (k < n_in ? row + k * n_out : row) + q * PANEL, outs, width);
            }
        }
}

static void pack_weights(void *W, const void *kernel, const void *bias, ptrdiff_t n_in, ptrdiff_t n_out) {
    pack(W, kernel, bias, n_in, n_out, n_out);
}

static void pack_columns(void *W, const void *kernel, const void *bias, ptrdiff_t n_in, ptrdiff_t n_out,
                         fnn_range columns) {
    const ptrdiff_t first = columns.first, count = columns.last - first;
    pack(W, (const real *)kernel + first, bias ? (const real *)bias + first : NULL, n_in, n_out, count);
    for (ptrdiff_t q = 0; !bias && q * PANEL < count; q++) {
        const ptrdiff_t width = panel_width(count, q);
        memset((real *)W + panel_offset(n_in, q) + n_in * width, 0, (size_t)width * sizeof(real));
    }
}

static void unpack_weights(void *kernel, void *bias, const void *W, ptrdiff_t n_in, ptrdiff_t n_out) {
    for (ptrdiff_t first = 0; first <= n_in; first += MOVED_ROWS)
        for (ptrdiff_t q = 0; q * PANEL < n_out; q++) {
            const ptrdiff_t width = panel_width(n_out, q), outs = fnn_min(width, n_out - q * PANEL);
            const ptrdiff_t end = fnn_min(first + MOVED_ROWS, n_in + 1);
            const real *w = (const real *)W + panel_offset(n_in, q) + first * width;
            for (ptrdiff_t k = first; k < end; k++, w += width) {
                real *row = k < n_in ? (real *)kernel : (real *)bias;
                if (!row) continue;
                if (k < n_in) row += k * n_out;
                memcpy(row + q * PANEL, w, (size_t)outs * sizeof(real));
            }
        }
}

static int all_finite(const void *x_, ptrdiff_t n) {
    const real *x = x_;
    vec bad = v_set(0);
    ptrdiff_t i = 0;
    real rest = 0;
    /* x - x is zero for finite numbers, NaN otherwise */
    for (; i + LANES <= n; i += LANES) {
        vec a = v_load(x + i);
        bad = (vec)((ivec)bad | (ivec)(a - a));
    }
    for (; i < n; i++) rest += x[i] - x[i];
    for (int j = 0; j < LANES; j++) rest += bad[j];
    return rest == 0;
}

static int no_infinity(const void *X, ptrdiff_t n) {
    const real *x = X, limit = (real)(sizeof(real) == 4 ? __FLT_MAX__ : __DBL_MAX__);
    int infinite = 0;
    for (ptrdiff_t i = 0; i < n; i++) infinite |= x[i] > limit || x[i] < -limit;
    return !infinite;
}

#endif
