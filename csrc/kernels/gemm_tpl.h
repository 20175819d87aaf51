/* Products: one register tile in three access patterns, and the products of a dense layer built on it.
 *
 * Design:
 * a) A tile keeps MR x NV vectors of C in registers. Each step of the contraction k loads the NV vectors V[k] (64
 *    contiguous bytes) and broadcasts up to MR elements of A. Sizes are literals: with sizes as parameters of an inlined
 *    function GCC keeps the accumulators in memory.
 * b) Pattern F, forward: A is a weight panel, element (j, k) at A[k * width + j]; V is a panel of inputs.
 *    Panels, backward: A is cut into panels of PANEL columns, element (j, k) at A[j * PANEL + k] of a panel. Tiles X,
 *    input gradient: A = weights, V = dZ. Tiles W, weight gradient: A = inputs, V = dZ transposed.
 *    Pattern R, prediction: A = rows of X, element (j, k) at A[j * row + k]; V = weights.
 * c) Each element of C is one chain in ascending k; a chain cut by a cache block continues from the stored C.
 * d) 12 accumulators of 8 floats + 2 vectors + 1 broadcast = 15 of AVX2's 16 registers. */
#ifndef FNN_GEMM_TPL_H
#define FNN_GEMM_TPL_H

#include "activations_tpl.h"
#include "panels.h"
#include "single_column_tpl.h"
#include "update_tpl.h"

typedef enum { FROM_ZERO, FROM_C, FROM_BIAS } tile_start;

/* Vector i of a tile: NV of them in each panel, panels v_stride (of C c_stride) apart. A narrow panel has fewer. */
#define V_AT(i) (V + (i) / NV * v_stride + (i) % NV * LANES)
#define C_AT(j, i, ROW) (C + (i) / NV * c_stride + (j) * (ROW) + (i) % NV * LANES)
#define WIDTH(N) ((N) < NV ? (N) * LANES : PANEL)

/* c += the products of column k of A with the N vectors at V */
#define TILE_STEP(M, N, A, ROW)                                                   \
    {                                                                             \
        vec v[N];                                                                 \
        UNROLL for (int i = 0; i < N; i++) v[i] = v_load(V_AT(i));                \
        UNROLL for (int j = 0; j < M; j++) {                                      \
            vec a = v_set((A)[j * (ROW) + k]);                                    \
            UNROLL for (int i = 0; i < N; i++) c[j][i] = v_fma(a, v[i], c[j][i]); \
        }                                                                         \
    }

/* C[m, P * NV] = start + sum_k A[k * width + j] V_p[k]; V_p = V + p * v_stride, C_p = C + p * c_stride */
#define DEFINE_TILE_F(M, P)                                                                                           \
    static __attribute__((noinline)) void tile_f_##M##_##P(real *C, const real *A, const real *V, ptrdiff_t width,   \
                                                           ptrdiff_t k_count, const real *bias, tile_start start,    \
                                                           int relu, ptrdiff_t v_stride, ptrdiff_t c_stride) {       \
        vec c[M][P * NV];                                                                                             \
        UNROLL for (int j = 0; j < M; j++) UNROLL for (int i = 0; i < P * NV; i++) c[j][i] =                          \
            start == FROM_BIAS ? v_set(bias[j]) : v_load(C_AT(j, i, PANEL));                                          \
        _Pragma("GCC unroll 4") for (ptrdiff_t s = 0; s < k_count; s++) {                                             \
            if (P == 1 || NV == 1) {                                                                                  \
                const int k = 0;                                                                                      \
                TILE_STEP(M, P * NV, A, 1)                                                                            \
            } else { /* 3 rows take 12 accumulators, 3 broadcasts and 1 vector */                                     \
                vec a[M];                                                                                             \
                UNROLL for (int j = 0; j < M; j++) a[j] = v_set(A[j]);                                                \
                UNROLL for (int i = 0; i < P * NV; i++) {                                                             \
                    vec v = v_load(V_AT(i));                                                                          \
                    UNROLL for (int j = 0; j < M; j++) c[j][i] = v_fma(a[j], v, c[j][i]);                             \
                }                                                                                                     \
            }                                                                                                         \
            A += width;                                                                                               \
            V += PANEL;                                                                                               \
        }                                                                                                             \
        if (relu)                                                                                                     \
            UNROLL for (int j = 0; j < M; j++) UNROLL for (int i = 0; i < P * NV; i++) c[j][i] =                      \
                v_max(v_set(0), c[j][i]);                                                                             \
        UNROLL for (int j = 0; j < M; j++) UNROLL for (int i = 0; i < P * NV; i++)                                    \
            v_store(C_AT(j, i, PANEL), c[j][i]);                                                                      \
    }

/* c += sum_k A(j, k) V[k] over one panel of A; A and V move on, A by segment_stride. The next panel lies in another page,
 * where no hardware prefetcher follows. Two steps of k at a time: with four GCC spills sums. */
#define TILE_PANEL(M, N)                                                                                      \
    {                                                                                                         \
        if (k_count > PANEL)                                                                                  \
            UNROLL for (int j = 0; j < M; j++) __builtin_prefetch(A + segment_stride + j * PANEL);            \
        const real *const end = A + PANEL;                                                                    \
        _Pragma("GCC unroll 1") for (; A < end; A += 2)                                                       \
            UNROLL for (int k = 0; k < 2; k++, V += WIDTH(N)) TILE_STEP(M, N, A, PANEL)                       \
        A += segment_stride - PANEL;                                                                          \
    }
#define TILE_PANELS(M, N) \
    for (; k_count >= PANEL; k_count -= PANEL) TILE_PANEL(M, N)

/* Weight gradient: C[j * WIDTH(N)] = sum_k A(j, k) V[k], N vectors wide. */
#define DEFINE_TILE_W(M, N, NAME)                                                                                     \
    static __attribute__((noinline)) void tile_w_##M##_##NAME(real *C, const real *A, ptrdiff_t segment_stride,      \
                                                              ptrdiff_t k_count, const real *V, ptrdiff_t v_stride,  \
                                                              ptrdiff_t c_stride) {                                  \
        vec c[M][N];                                                                                                  \
        UNROLL for (int j = 0; j < M; j++) UNROLL for (int i = 0; i < N; i++) c[j][i] = v_set(0);                     \
        TILE_PANELS(M, N)                                                                                             \
        UNROLL for (int j = 0; j < M; j++) UNROLL for (int i = 0; i < N; i++)                                         \
            v_store(C_AT(j, i, WIDTH(N)), c[j][i]);                                                                   \
    }

/* Input gradient: C[j * PANEL] = (from_c ? C : 0) + sum_k A(j, k) V[k] over whole weight panels, and over last_count
 * outputs of the last one, L[j * row + k]. */
#define DEFINE_TILE_X(M, N, NAME)                                                                                     \
    static __attribute__((noinline)) void tile_x_##M##_##NAME(                                                       \
        real *C, const real *A, ptrdiff_t segment_stride, ptrdiff_t k_count, const real *V, int from_c,               \
        const real *L, ptrdiff_t row, ptrdiff_t last_count, ptrdiff_t v_stride, ptrdiff_t c_stride) {                 \
        vec c[M][N];                                                                                                  \
        UNROLL for (int j = 0; j < M; j++) UNROLL for (int i = 0; i < N; i++) c[j][i] =                               \
            from_c ? v_load(C_AT(j, i, PANEL)) : v_set(0);                                                            \
        TILE_PANELS(M, N)                                                                                             \
        for (ptrdiff_t k = 0; k < last_count; k++, V += PANEL) TILE_STEP(M, N, L, row)                                \
        UNROLL for (int j = 0; j < M; j++) UNROLL for (int i = 0; i < N; i++) v_store(C_AT(j, i, PANEL), c[j][i]);    \
    }

/* C[j * ldc] = start + sum_k A[j * row + k] V[k * v_row], N vectors wide; FROM_BIAS: every row starts from the vectors
 * at bias. */
#define DEFINE_TILE_R(M, N, NAME)                                                                                     \
    static __attribute__((noinline)) void tile_r_##M##_##NAME(                                                       \
        real *C, ptrdiff_t ldc, const real *A, ptrdiff_t row, ptrdiff_t k_count, const real *V, ptrdiff_t v_row,      \
        const real *bias, tile_start start, int relu, ptrdiff_t v_stride) {                                           \
        const ptrdiff_t c_stride = PANEL;                                                                             \
        vec c[M][N];                                                                                                  \
        if (start == FROM_ZERO)                                                                                       \
            UNROLL for (int j = 0; j < M; j++) UNROLL for (int i = 0; i < N; i++) c[j][i] = v_set(0);                 \
        else if (start == FROM_C)                                                                                     \
            UNROLL for (int j = 0; j < M; j++) UNROLL for (int i = 0; i < N; i++) c[j][i] =                           \
                v_load(C_AT(j, i, ldc));                                                                              \
        else                                                                                                          \
            UNROLL for (int j = 0; j < M; j++) UNROLL for (int i = 0; i < N; i++) c[j][i] =                           \
                v_load(bias + i / NV * v_stride + i % NV * LANES);                                                    \
        _Pragma("GCC unroll 4") for (ptrdiff_t k = 0; k < k_count; k++, V += v_row) TILE_STEP(M, N, A, row)              \
        if (relu)                                                                                                     \
            UNROLL for (int j = 0; j < M; j++) UNROLL for (int i = 0; i < N; i++) c[j][i] = v_max(v_set(0), c[j][i]); \
        UNROLL for (int j = 0; j < M; j++) UNROLL for (int i = 0; i < N; i++) v_store(C_AT(j, i, ldc), c[j][i]);      \
    }

/* A pair is two panels side by side. Where a vector fills a panel each multiply-add of one panel needs a load of its own,
 * the broadcast; those of a pair share it, which is 5 % faster, so all panels go in pairs, 8 rows high. Elsewhere a pair of
 * few outputs has enough chains to hide the latency of an FMA. */
#define PAIRED (NV == 1 ? 8 : MR < 3 ? MR : 3)
#define FOR_EACH_TILE_2(X) X(1) X(2)
#define FOR_EACH_TILE_3(X) FOR_EACH_TILE_2(X) X(3)
#define FOR_EACH_TILE_8(X) FOR_EACH_TILE_3(X) X(4) X(5) X(6) X(7) X(8)
#if MR == 2
#define FOR_EACH_TILE(X) FOR_EACH_TILE_2(X)
#define FOR_EACH_PAIR(X) FOR_EACH_TILE_2(X)
#elif MR == 6
#define FOR_EACH_TILE(X) FOR_EACH_TILE_3(X) X(4) X(5) X(6)
#define FOR_EACH_PAIR(X) FOR_EACH_TILE_3(X)
#else
#define FOR_EACH_TILE(X) FOR_EACH_TILE_8(X) X(9) X(10) X(11) X(12) X(13) X(14) X(15) X(16)
#define FOR_EACH_PAIR(X) FOR_EACH_TILE_8(X)
#endif

#define DEFINE_ALL(M) DEFINE_TILE_F(M, 1) DEFINE_TILE_W(M, NV, full) DEFINE_TILE_X(M, NV, full) DEFINE_TILE_R(M, NV, full)
#define DEFINE_F2(M) DEFINE_TILE_F(M, 2)
FOR_EACH_TILE(DEFINE_ALL)
FOR_EACH_PAIR(DEFINE_F2)
/* next to the full tiles: pairs where a vector fills a panel, narrow ones elsewhere */
#if NV == 1
#define DEFINE_SECOND(M) DEFINE_TILE_W(M, 2, second) DEFINE_TILE_X(M, 2, second) DEFINE_TILE_R(M, 2, second)
FOR_EACH_PAIR(DEFINE_SECOND)
#elif NARROW != PANEL
#define DEFINE_SECOND(M) DEFINE_TILE_W(M, NV_NARROW, second) DEFINE_TILE_R(M, NV_NARROW, second)
FOR_EACH_TILE(DEFINE_SECOND)
#endif

/* the tiles by their height */
typedef void tile_f_function(real *, const real *, const real *, ptrdiff_t, ptrdiff_t, const real *, tile_start, int,
                             ptrdiff_t, ptrdiff_t);
typedef void tile_w_function(real *, const real *, ptrdiff_t, ptrdiff_t, const real *, ptrdiff_t, ptrdiff_t);
typedef void tile_x_function(real *, const real *, ptrdiff_t, ptrdiff_t, const real *, int, const real *, ptrdiff_t,
                             ptrdiff_t, ptrdiff_t, ptrdiff_t);
typedef void tile_r_function(real *, ptrdiff_t, const real *, ptrdiff_t, ptrdiff_t, const real *, ptrdiff_t, const real *,
                             tile_start, int, ptrdiff_t);
#define F_ONE(M) tile_f_##M##_1,
#define F_PAIR(M) tile_f_##M##_2,
#define W_FULL(M) tile_w_##M##_full,
#define X_FULL(M) tile_x_##M##_full,
#define R_FULL(M) tile_r_##M##_full,
#define W_SECOND(M) tile_w_##M##_second,
#define X_SECOND(M) tile_x_##M##_second,
#define R_SECOND(M) tile_r_##M##_second,
#if NV == 1
#define SECOND(X) {NULL, FOR_EACH_PAIR(X)}
#elif NARROW != PANEL
#define SECOND(X) {NULL, FOR_EACH_TILE(X)}
#endif
static tile_f_function *const tiles_f[2][MR + 1] = {{NULL, FOR_EACH_TILE(F_ONE)}, {NULL, FOR_EACH_PAIR(F_PAIR)}};
static tile_w_function *const tiles_w[2][MR + 1] = {{NULL, FOR_EACH_TILE(W_FULL)}, SECOND(W_SECOND)};
static tile_r_function *const tiles_r[2][MR + 1] = {{NULL, FOR_EACH_TILE(R_FULL)}, SECOND(R_SECOND)};
#if NV == 1
static tile_x_function *const tiles_x[2][MR + 1] = {{NULL, FOR_EACH_TILE(X_FULL)}, SECOND(X_SECOND)};
#else
static tile_x_function *const tiles_x[1][MR + 1] = {{NULL, FOR_EACH_TILE(X_FULL)}};
#endif

/* Whether panel p and the next go together. */
static inline int pairs(ptrdiff_t p, ptrdiff_t end) { return NV == 1 && p + 1 < end; }
/* Whether weight panels q and q + 1 of n_out outputs do. */
static inline int pairs_weights(ptrdiff_t n_out, ptrdiff_t q, ptrdiff_t end) {
    return pairs(q, end) && panel_width(n_out, q + 1) == PANEL;
}

/* The next tile's height: the last two are near-equal (16 = 6 + 5 + 5). */
static inline int tile_height(ptrdiff_t rest, int pair) {
    const int most = pair ? PAIRED : MR;
    return (int)(rest > 2 * most ? most : rest > most ? (rest + 1) / 2 : rest);
}

/* A block of the contraction: 16 panels of inputs of this length fill the second-level cache. Up to FNN_WHOLE it is not
 * cut. 2048 x 2048 at 256 rows: 88 % of the peak with 420, 86 % with 256 and 512. */
#define K_BLOCK 420

static inline ptrdiff_t contraction_block(ptrdiff_t n) {
    if (n <= FNN_WHOLE) return n;
    return fnn_ceil_div(n, fnn_ceil_div(n, K_BLOCK));
}

/* The next tile of C, or of each panel of a pair: a continued chain waits for it. */
static inline void prefetch_tile(const real *C, ptrdiff_t c_stride, int pair) {
    for (int i = 0; i <= pair; i++, C += c_stride)
        for (int j = 0; j < (pair ? PAIRED : MR); j++) __builtin_prefetch(C + j * PANEL, 1);
}

/* Panels [first, end)'s part of a block of k_count rows of weights: panel by panel, the whole block is prefetched. Weights
 * that a cut contraction reads come from memory or the third-level cache: 7 % of the time of such a product. */
static inline void prefetch_share(const real *W, ptrdiff_t k_count, fnn_range panels, ptrdiff_t first, ptrdiff_t end) {
    const ptrdiff_t part = fnn_ceil_div(k_count, panels.last - panels.first);
    for (ptrdiff_t k = (first - panels.first) * part; k < (end - panels.first) * part; k++)
        __builtin_prefetch(W + k * PANEL, 0, 2);
}

static void dense_forward(const fnn_dense *layer, fnn_range panels, fnn_range weight_panels) {
    const ptrdiff_t n_in = layer->n_in, n_out = layer->n_out, block = contraction_block(n_in);
    const int relu = layer->activation == FNN_RELU;
    const int after = !relu && layer->activation != FNN_LINEAR && !fnn_is_row_activation(layer->activation);
    const int is_cut = block < n_in;
    for (ptrdiff_t k0 = 0; k0 < n_in; k0 += block) {
        const ptrdiff_t k_count = fnn_min(block, n_in - k0);
        const int last = k0 + k_count == n_in;
        const tile_start start = k0 ? FROM_C : FROM_BIAS;
        for (ptrdiff_t q = weight_panels.first; q < weight_panels.last; q++) {
            const ptrdiff_t width = panel_width(n_out, q), outs = fnn_min(width, n_out - q * PANEL);
            const real *W = (const real *)layer->W + panel_offset(n_in, q);
            const real *bias = W + n_in * width;
            for (ptrdiff_t p = panels.first; p < panels.last; p++) {
                real *Y = (real *)layer->Y + p * layer->y_stride + q * PANEL * PANEL;
                const real *X = (const real *)layer->X + p * layer->x_stride + k0 * PANEL;
                const int pair = pairs(p, panels.last) || (outs <= PAIRED && p + 1 < panels.last);
                if (is_cut && q + 1 < weight_panels.last)
                    prefetch_share(W + panel_offset(n_in, 1) + k0 * PANEL, k_count, panels, p, p + 1 + pair);
                for (ptrdiff_t j = 0; j < outs;) {
                    const int m = tile_height(outs - j, pair);
                    if (k0)
                        prefetch_tile(j + m < outs ? Y + (j + m) * PANEL : Y + (1 + pair) * layer->y_stride, layer->y_stride,
                                      pair);
                    tiles_f[pair][m](Y + j * PANEL, W + k0 * width + j, X, width, k_count, bias + j, start, relu && last,
                                     layer->x_stride, layer->y_stride);
                    j += m;
                }
                for (ptrdiff_t i = 0; i <= pair; i++)
                    if (after && last) {
                        real *y = Y + i * layer->y_stride;
                        real *D = layer->D ? (real *)layer->D + ((p + i) * n_out + q * PANEL) * PANEL : NULL;
                        activate(y, D, y, outs * PANEL, layer->activation, layer->parameters);
                    }
                p += pair;
            }
        }
    }
}

static void backward_input(const fnn_dense *layer, fnn_range panels, fnn_range inputs) {
    const ptrdiff_t n_in = layer->n_in, n_out = layer->n_out;
    const ptrdiff_t full = n_out / PANEL * PANEL, rest = n_out - full, width = panel_width(n_out, n_out / PANEL);
    const ptrdiff_t block = fnn_round_up(contraction_block(full), PANEL), panel_elements = panel_offset(n_in, 1);
    const real *W = layer->W, *L = W + full / PANEL * panel_elements;
    /* weights of a group of inputs stay in cache over the panels */
    const ptrdiff_t group = 16 * MR;
    ptrdiff_t o0 = 0;
    do {
        const ptrdiff_t o_count = fnn_min(block, full - o0), last_count = o0 + o_count == full ? rest : 0;
        for (ptrdiff_t g = inputs.first; g < inputs.last; g += group)
            for (ptrdiff_t p = panels.first, pair; p < panels.last; p += 1 + pair) {
                pair = pairs(p, panels.last);
                real *dX = (real *)layer->dX + p * layer->dx_stride;
                const real *dZ = (const real *)layer->dY + p * layer->dy_stride;
                const ptrdiff_t end = fnn_min(g + group, inputs.last);
                for (ptrdiff_t k = g; k < end;) {
                    const int m = tile_height(end - k, (int)pair);
                    if (o0) prefetch_tile(dX + (k + m) * PANEL, layer->dx_stride, (int)pair);
                    tiles_x[pair][m](dX + k * PANEL, W + o0 / PANEL * panel_elements + k * PANEL, panel_elements, o_count,
                                     dZ + o0 * PANEL, o0 > 0, L + k * width, width, last_count, layer->dy_stride,
                                     layer->dx_stride);
                    k += m;
                }
            }
        o0 += block;
    } while (o0 < full);
}

static void dense_backward_input(const fnn_dense *layer, fnn_range panels, fnn_range inputs) {
    if (layer->n_out == 1)
        for (ptrdiff_t p = panels.first; p < panels.last; p++)
            column_input_gradient((real *)layer->dX + p * layer->dx_stride, layer->W,
                                  (const real *)layer->dY + p * layer->dy_stride, inputs);
    else
        backward_input(layer, panels, inputs);
}

/* Rows of weights to prefetch for a single row of inputs. */
#define ROW_AHEAD 16

/* One row, P weight panels side by side: one alone leaves too few chains to hide the latency of an FMA. */
#define DEFINE_ROW(P)                                                                                                 \
    static __attribute__((noinline)) void row_of_##P(real *y, const real *x, const real *W, ptrdiff_t n_in, int relu) { \
        const ptrdiff_t stride = panel_offset(n_in, 1);                                                                     \
        vec c[P * NV];                                                                                                \
        UNROLL for (int i = 0; i < P * NV; i++) c[i] = v_load(W + i / NV * stride + n_in * PANEL + i % NV * LANES);   \
        for (ptrdiff_t k = 0; k < n_in; k++) {                                                                        \
            vec a = v_set(x[k]);                                                                                      \
            UNROLL for (int i = 0; i < P; i++) __builtin_prefetch(W + i * stride + (k + ROW_AHEAD) * PANEL);          \
            UNROLL for (int i = 0; i < P * NV; i++) c[i] =                                                            \
                v_fma(a, v_load(W + i / NV * stride + k * PANEL + i % NV * LANES), c[i]);                             \
        }                                                                                                             \
        UNROLL for (int i = 0; i < P * NV; i++) v_store(y + i * LANES, relu ? v_max(v_set(0), c[i]) : c[i]);          \
    }
DEFINE_ROW(2)
DEFINE_ROW(3)
DEFINE_ROW(4)

/* Full weight panels of one row in near-equal groups; returns the number of panels that are done. */
static ptrdiff_t one_row(real *y, const real *x, const real *W, ptrdiff_t n_in, ptrdiff_t panels, int relu) {
    ptrdiff_t q = 0;
    while (panels - q >= 2) {
        const ptrdiff_t rest = panels - q, size = fnn_ceil_div(rest, fnn_ceil_div(rest, 4));
        const real *w = W + panel_offset(n_in, q);
        if (size == 4)
            row_of_4(y + q * PANEL, x, w, n_in, relu);
        else if (size == 3)
            row_of_3(y + q * PANEL, x, w, n_in, relu);
        else
            row_of_2(y + q * PANEL, x, w, n_in, relu);
        q += size;
    }
    return q;
}

/* An elementwise activation of the first n_out outputs of n rows, in place. */
static void activate_rows(const fnn_dense *layer, ptrdiff_t n, ptrdiff_t n_out) {
    if (layer->activation == FNN_LINEAR || fnn_is_row_activation(layer->activation)) return;
    for (ptrdiff_t i = 0; i < n; i++) {
        real *y = (real *)layer->Y + i * layer->y_stride;
        activate(y, NULL, y, n_out, layer->activation, layer->parameters);
    }
}

static void dense_rows(const fnn_dense *layer, ptrdiff_t n) {
    const ptrdiff_t n_in = layer->n_in, n_out = layer->n_out, ldx = layer->x_stride, ldy = layer->y_stride;
    const int activation = layer->activation, relu = activation == FNN_RELU;
    const ptrdiff_t panels = fnn_ceil_div(n_out, PANEL), block = contraction_block(n_in);
    const ptrdiff_t direct = n == 1 ? one_row(layer->Y, layer->X, layer->W, n_in, n_out / PANEL, relu) : 0;
    const ptrdiff_t column = panel_width(n_out, panels - 1) == 1; /* the last panel */
    for (ptrdiff_t k0 = 0; k0 < n_in; k0 += block) {
        const ptrdiff_t k_count = fnn_min(block, n_in - k0);
        const int last = k0 + k_count == n_in;
        for (ptrdiff_t q = direct, pair; q < panels - column; q += 1 + pair) {
            pair = pairs(q, panels - column);
            const ptrdiff_t width = panel_width(n_out, q);
            const real *W = (const real *)layer->W + panel_offset(n_in, q), *X = (const real *)layer->X + k0;
            real *Y = (real *)layer->Y + q * PANEL;
            for (ptrdiff_t i = 0; i < n;) {
                const int m = tile_height(n - i, (int)pair);
                tiles_r[pair || width != PANEL][m](Y + i * ldy, ldy, X + i * ldx, ldx, k_count, W + k0 * width, width,
                                                   W + n_in * width, k0 ? FROM_C : FROM_BIAS, relu && last,
                                                   panel_offset(n_in, 1));
                i += m;
            }
        }
    }
    if (column)
        column_rows((real *)layer->Y + n_out - 1, ldy, layer->X, ldx, n_in,
                    (const real *)layer->W + panel_offset(n_in, panels - 1), n, relu);
    if (!relu) activate_rows(layer, n, n_out);
}

/* Packing a kernel pays only from some rows on: outputs of full panels straight from W, which is unpacked. */
static void dense_rows_unpacked(const fnn_dense *layer, const void *bias_, ptrdiff_t n) {
    const ptrdiff_t n_in = layer->n_in, n_out = layer->n_out, done = n_out / PANEL * PANEL;
    const real *X = layer->X, *W = layer->W, *bias = bias_;
    const int relu = layer->activation == FNN_RELU;
    for (ptrdiff_t o = 0, pair; o < done; o += (1 + pair) * PANEL) {
        pair = pairs(o / PANEL, done / PANEL);
        for (ptrdiff_t i = 0; i < n;) {
            const int m = tile_height(n - i, (int)pair);
            tiles_r[pair][m]((real *)layer->Y + i * layer->y_stride + o, layer->y_stride, X + i * layer->x_stride,
                             layer->x_stride, n_in, W + o, n_out, bias ? bias + o : NULL, bias ? FROM_BIAS : FROM_ZERO,
                             relu, PANEL);
            i += m;
        }
    }
    if (!relu) activate_rows(layer, n, done);
}

#endif
