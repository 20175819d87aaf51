/* Gradients of a dense layer's weights, and the update rule that follows them. */
#ifndef FNN_WEIGHT_GRADIENT_TPL_H
#define FNN_WEIGHT_GRADIENT_TPL_H

#include "gemm_tpl.h"

/* The weights and their moments from an offset on. */
static inline fnn_weights weights_from(const fnn_weights *weights, ptrdiff_t at) {
    fnn_weights w = {(real *)weights->W + at, {NULL}};
    UNROLL for (int s = 0; s < FNN_MOMENTS; s++)
        if (weights->moments[s]) w.moments[s] = (real *)weights->moments[s] + at;
    return w;
}

/* Rows of weights whose gradient is kept until the update rule runs on them. */
#define UPDATE_ROWS 96

/* Layers with at least this many weights do not stay in the second-level cache with their moments. */
#define PREFETCHED_WEIGHTS 262144

/* The update rule needs them as soon as their gradient is known. */
static inline void prefetch_weights(const fnn_weights *weights, ptrdiff_t at, ptrdiff_t n) {
    const real *W = weights->W, *S1 = weights->moments[0], *S2 = weights->moments[1];
    for (ptrdiff_t i = at; i < at + n; i += PANEL) {
        __builtin_prefetch(W + i, 1);
        if (S1) __builtin_prefetch(S1 + i, 1);
        if (S2) __builtin_prefetch(S2 + i, 1);
    }
}

/* Adds n elements of the sums of a chunk, or of each panel of a pair. */
static inline void add_tile(real *sum, const real *T, ptrdiff_t n, int pair) {
    for (int i = 0; i <= pair; i++, sum += UPDATE_ROWS * PANEL, T += PAIRED * PANEL)
        for (ptrdiff_t e = 0; e < n; e += LANES) v_store(sum + e, v_load(sum + e) + v_load(T + e));
}

/* The chains of rows of weights [0, n) over one chunk of the batch, in a panel `width` wide or a pair of panels. They are
 * added to G by way of T, or become G where T is NULL. */
static inline __attribute__((always_inline)) void gradient_of_chunk(real *G, real *T, const real *X, ptrdiff_t x_stride,
                                                                    ptrdiff_t count, const real *V, ptrdiff_t v_stride,
                                                                    ptrdiff_t n, ptrdiff_t width, int pair,
                                                                    const fnn_weights *prefetched) {
    tile_w_function *const *tiles = tiles_w[pair || width != PANEL];
    for (ptrdiff_t k = 0; k < n;) {
        const int m = tile_height(n - k, pair);
        real *sum = G + k * width;
        for (ptrdiff_t i = 0; prefetched && i <= pair; i++) prefetch_weights(&prefetched[i], k * width, m * width);
        tiles[m](T ? T : sum, X + k * PANEL, x_stride, count, V, v_stride, T ? PAIRED * PANEL : UPDATE_ROWS * PANEL);
        if (T) add_tile(sum, T, m * width, pair);
        k += m;
    }
}

/* The update rule on n elements of rows from k on, of a weight panel `width` wide; a bias may be the last of them. */
static inline void update_part(const fnn_weights *weights, real *G, ptrdiff_t n, ptrdiff_t k, ptrdiff_t width,
                               ptrdiff_t n_in, const fnn_update *u) {
    if (!u->spares_bias || k * width + n <= n_in * width) {
        update(weights, G, n, u);
        return;
    }
    fnn_update rest = *u;
    rest.l1 = rest.l2 = 0;
    rest.prepare = u->clip > 0;
    penalize(G, weights->W, (n_in - k) * width, u);
    update(weights, G, n, &rest);
}

/* Of the single column that is weight panel q. */
static __attribute__((noinline)) void update_column(const fnn_dense *layer, const fnn_weights *weights, ptrdiff_t q,
                                                    fnn_range rows, const fnn_update *u) {
    const ptrdiff_t n_in = layer->n_in, n = rows.last - rows.first, first = layer->chunks.first * FNN_CHUNK;
    const ptrdiff_t batch = fnn_min(layer->chunks.last * FNN_CHUNK, layer->rows) - first;
    const real *X = (const real *)layer->X + first / PANEL * layer->x_stride + rows.first * PANEL;
    const fnn_weights at = weights_from(weights, panel_offset(n_in, q) + rows.first);
    /* whole vectors at the end of the weights, which are rounded up to panels; stored sums need not be */
    const int whole = u->kind > FNN_ACCUMULATE && rows.last == n_in + 1 && rows.first % LANES == 0;
    real G[UPDATE_ROWS + 2 * LANES];
    column_gradient(G, X, layer->x_stride, (const real *)layer->dZt + q * PANEL * layer->rows + first, batch, n);
    update_part(&at, G, whole ? fnn_round_up(n, LANES) : n, rows.first, 1, n_in, u);
}

/* ---- Adam interleaved with products ---- */

#if NV == 1
/* Adam waits for square roots, quotients and weights from the third-level cache while the multiply-adds could go on. So each
 * tile updates the rows of the tile before, some after each panel of inputs, and prefetches its own, some before each: all
 * at once they would delay its inputs. 12 % of the time of this phase with 784-512-512-10. Sums and update together need
 * more than 16 registers; fewer panels leave more rows for each, which took longer. */
#define INTERLEAVED_PANELS 8

/* Rows of a pair of weight panels that wait for Adam. */
typedef struct {
    const fnn_weights *weights;
    const fnn_update *u;
    const real *G;             /* the gradient of the first one */
    ptrdiff_t at, rows, apart; /* elements before it; how many; elements between the panels */
    vec rate, beta_1, beta_2, epsilon;
} waiting_rows;

static inline __attribute__((always_inline)) void update_row(waiting_rows *t) {
    UNROLL for (int i = 0; i < 2; i++) {
        const ptrdiff_t at = t->at + i * t->apart;
        real *W = (real *)t->weights->W + at, *S1 = (real *)t->weights->moments[0] + at;
        real *S2 = (real *)t->weights->moments[1] + at;
        update_state s = {.w = v_load(W), .s1 = v_load(S1), .s2 = v_load(S2)};
        if (t->u->decay != 0) s.w = v_fma(s.w, v_set((real)-t->u->decay), s.w);
        adam(&s, v_load(t->G + i * UPDATE_ROWS * PANEL), t->rate, t->beta_1, t->beta_2, t->epsilon);
        v_store(W, s.w);
        v_store(S1, s.s1);
        v_store(S2, s.s2);
    }
    t->at += PANEL;
    t->G += PANEL;
    t->rows--;
}

static __attribute__((noinline)) void update_rows(waiting_rows *t) {
    while (t->rows) update_row(t);
}

/* Weight gradient of a pair: C[j] = sum_k A(j, k) V[k] over k_count / PANEL panels, and the update of the rows that wait.
 * next: the first of M rows to prefetch, elements before it, or -1. */
#define DEFINE_TILE_U(M)                                                                                            \
    static __attribute__((noinline)) void tile_u_##M(real *C, const real *A, ptrdiff_t segment_stride,             \
                                                     ptrdiff_t k_count, const real *V, ptrdiff_t v_stride,         \
                                                     ptrdiff_t c_stride, waiting_rows *t, ptrdiff_t next) {        \
        vec c[M][2];                                                                                                \
        UNROLL for (int j = 0; j < M; j++) UNROLL for (int i = 0; i < 2; i++) c[j][i] = v_set(0);                   \
        const ptrdiff_t updated = fnn_ceil_div(t->rows * PANEL, k_count), fetched = fnn_ceil_div(M * PANEL, k_count); \
        const ptrdiff_t next_end = next < 0 ? next : next + M * PANEL;                                              \
        for (; k_count >= PANEL; k_count -= PANEL) {                                                                \
            for (ptrdiff_t i = 0; i < fetched && next < next_end; i++, next += PANEL) {                             \
                prefetch_weights(t->weights, next, PANEL);                                                          \
                prefetch_weights(t->weights, next + t->apart, PANEL);                                               \
            }                                                                                                       \
            TILE_PANEL(M, 2)                                                                                        \
            for (ptrdiff_t i = 0; i < updated && t->rows; i++) update_row(t);                                       \
        }                                                                                                           \
        UNROLL for (int j = 0; j < M; j++) UNROLL for (int i = 0; i < 2; i++) v_store(C_AT(j, i, PANEL), c[j][i]);  \
    }
FOR_EACH_PAIR(DEFINE_TILE_U)
typedef void tile_u_function(real *, const real *, ptrdiff_t, ptrdiff_t, const real *, ptrdiff_t, ptrdiff_t, waiting_rows *,
                             ptrdiff_t);
#define U_PAIR(M) tile_u_##M,
static tile_u_function *const tiles_u[PAIRED + 1] = {NULL, FOR_EACH_PAIR(U_PAIR)};

/* The gradient of rows of weights [0, n) of a pair of panels, `at` elements before the first: all chunks, of which the last
 * completes it. */
static void interleaved_gradient(real *G, real *T, const real *X, ptrdiff_t x_stride, ptrdiff_t batch, const real *V,
                                 ptrdiff_t v_stride, ptrdiff_t n, ptrdiff_t at, waiting_rows *t, int prefetch) {
    for (ptrdiff_t r = 0; r < batch; r += FNN_CHUNK) {
        const ptrdiff_t count = fnn_min(FNN_CHUNK, batch - r);
        const int is_last = r + count == batch;
        for (ptrdiff_t k = 0; k < n;) {
            const int m = tile_height(n - k, 1);
            real *sum = G + k * PANEL;
            tiles_u[m](r ? T : sum, X + r / PANEL * x_stride + k * PANEL, x_stride, count, V + r * PANEL, v_stride,
                       r ? PAIRED * PANEL : UPDATE_ROWS * PANEL, t, prefetch && is_last ? at + k * PANEL : -1);
            if (r) add_tile(sum, T, m * PANEL, 1);
            if (is_last) {
                t->G = sum;
                t->at = at + k * PANEL;
                t->rows = m;
            }
            k += m;
        }
    }
}

/* Updates all pairs of weight panels with Adam; returns the first panel that is left. */
static ptrdiff_t update_interleaved(const fnn_dense *layer, const fnn_weights *weights, fnn_range weight_panels,
                                    fnn_range rows, const fnn_update *u) {
    const ptrdiff_t n_in = layer->n_in, n_out = layer->n_out, first = layer->chunks.first * FNN_CHUNK;
    const ptrdiff_t batch = fnn_min(layer->chunks.last * FNN_CHUNK, layer->rows) - first;
    ptrdiff_t last = weight_panels.first;
    if (u->kind != FNN_ADAM || u->prepare || batch < INTERLEAVED_PANELS * PANEL) return last;
    while (pairs_weights(n_out, last, weight_panels.last)) last += 2;
    real G[2 * UPDATE_ROWS * PANEL] __attribute__((aligned(64))), T[2 * PAIRED * PANEL] __attribute__((aligned(64)));
    const int prefetch = n_in * n_out >= PREFETCHED_WEIGHTS;
    waiting_rows t = {.weights = weights, .u = u, .apart = panel_offset(n_in, 1), .rate = v_set((real)u->rate),
                      .beta_1 = v_set((real)u->beta_1), .beta_2 = v_set((real)u->beta_2),
                      .epsilon = v_set((real)u->epsilon)};
    for (ptrdiff_t g = rows.first; g < rows.last; g += UPDATE_ROWS) {
        const real *X = (const real *)layer->X + first / PANEL * layer->x_stride + g * PANEL;
        for (ptrdiff_t q = weight_panels.first; q < last; q += 2)
            interleaved_gradient(G, T, X, layer->x_stride, batch,
                                 (const real *)layer->dZt + (q * layer->rows + first) * PANEL, layer->rows * PANEL,
                                 fnn_min(UPDATE_ROWS, rows.last - g), panel_offset(n_in, q) + g * PANEL, &t, prefetch);
    }
    update_rows(&t);
    return last;
}
#else
static inline ptrdiff_t update_interleaved(const fnn_dense *layer, const fnn_weights *weights, fnn_range weight_panels,
                                           fnn_range rows, const fnn_update *u) {
    (void)layer, (void)weights, (void)rows, (void)u;
    return weight_panels.first;
}
#endif

static void dense_update(const fnn_dense *layer, const fnn_weights *weights, fnn_range weight_panels, fnn_range rows,
                         const fnn_update *u) {
    const ptrdiff_t n_in = layer->n_in, n_out = layer->n_out, x_stride = layer->x_stride, v_stride = layer->rows * PANEL;
    const ptrdiff_t first = layer->chunks.first * FNN_CHUNK;
    const ptrdiff_t batch = fnn_min(layer->chunks.last * FNN_CHUNK, layer->rows) - first;
    real G[(1 + (NV == 1)) * UPDATE_ROWS * PANEL] __attribute__((aligned(64)));
    real T[MR * PANEL] __attribute__((aligned(64))); /* or a pair of half the height */
    const int prefetch = n_in * n_out >= PREFETCHED_WEIGHTS && u->kind != FNN_STORE;
    weight_panels.first = update_interleaved(layer, weights, weight_panels, rows, u);
    for (ptrdiff_t g = rows.first; g < rows.last; g += UPDATE_ROWS) {
        const ptrdiff_t n = fnn_min(UPDATE_ROWS, rows.last - g);
        const real *X = (const real *)layer->X + first / PANEL * x_stride + g * PANEL;
        for (ptrdiff_t q = weight_panels.first, pair; q < weight_panels.last; q += 1 + pair) {
            pair = pairs_weights(n_out, q, weight_panels.last);
            const ptrdiff_t width = panel_width(n_out, q);
            const real *V = (const real *)layer->dZt + q * v_stride + first * width;
            if (width == 1) {
                update_column(layer, weights, q, (fnn_range){g, g + n}, u);
                continue;
            }
            fnn_weights at[2];
            for (ptrdiff_t i = 0; i <= pair; i++) at[i] = weights_from(weights, panel_offset(n_in, q + i) + g * width);
            gradient_of_chunk(G, NULL, X, x_stride, fnn_min(FNN_CHUNK, batch), V, v_stride, n, width, (int)pair,
                              prefetch ? at : NULL);
            for (ptrdiff_t r = FNN_CHUNK; r < batch; r += FNN_CHUNK)
                gradient_of_chunk(G, T, X + r / PANEL * x_stride, x_stride, fnn_min(FNN_CHUNK, batch - r), V + r * width,
                                  v_stride, n, width, (int)pair, NULL);
            for (ptrdiff_t i = 0; i <= pair; i++)
                update_part(&at[i], G + i * UPDATE_ROWS * PANEL, n * width, g, width, n_in, u);
        }
    }
}

#endif
