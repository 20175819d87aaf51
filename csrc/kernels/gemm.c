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

typedef enum { FROM_ZERO, FROM_C, FROM_BIAS } tile_start;

/* C[m, P * NV] = start + sum_k A[k * width + j] V_p[k]; V_p = V + p * v_stride, C_p = C + p * c_stride */
#define DEFINE_TILE_F(M, P)                                                                                           \
    static __attribute__((noinline)) void tile_f_##M##_##P(real *C, const real *A, const real *V, ptrdiff_t width,   \
                                                           ptrdiff_t k_count, const real *bias, tile_start start,    \
                                                           int relu, ptrdiff_t v_stride, ptrdiff_t c_stride) {       \
        vec c[M][P * NV];                                                                                             \
        UNROLL for (int j = 0; j < M; j++) UNROLL for (int i = 0; i < P * NV; i++) c[j][i] =                          \
            start == FROM_BIAS ? v_set(bias[j]) : v_load(C + (i / NV) * c_stride + j * PANEL + (i % NV) * LANES);     \
        _Pragma("GCC unroll 4") for (ptrdiff_t k = 0; k < k_count; k++) {                                             \
            if (P == 1) {                                                                                             \
                vec v[NV];                                                                                            \
                UNROLL for (int i = 0; i < NV; i++) v[i] = v_load(V + i * LANES);                                     \
                UNROLL for (int j = 0; j < M; j++) {                                                                  \
                    vec a = v_set(A[j]);                                                                              \
                    UNROLL for (int i = 0; i < NV; i++) c[j][i] = v_fma(a, v[i], c[j][i]);                            \
                }                                                                                                     \
            } else { /* 3 rows take 12 accumulators, 3 broadcasts and 1 vector */                                     \
                vec a[M];                                                                                             \
                UNROLL for (int j = 0; j < M; j++) a[j] = v_set(A[j]);                                                \
                UNROLL for (int i = 0; i < P * NV; i++) {                                                             \
                    vec v = v_load(V + (i / NV) * v_stride + (i % NV) * LANES);                                       \
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
            v_store(C + (i / NV) * c_stride + j * PANEL + (i % NV) * LANES, c[j][i]);                                 \
    }

/* c += the products of column k of A with the N vectors at V */
#define TILE_STEP(M, N, A, ROW)                                                   \
    {                                                                             \
        vec v[N];                                                                 \
        UNROLL for (int i = 0; i < N; i++) v[i] = v_load(V + i * LANES);          \
        UNROLL for (int j = 0; j < M; j++) {                                      \
            vec a = v_set((A)[j * (ROW) + k]);                                    \
            UNROLL for (int i = 0; i < N; i++) c[j][i] = v_fma(a, v[i], c[j][i]); \
        }                                                                         \
    }

/* c += sum_k A(j, k) V[k] over whole panels of A, segment_stride apart; A and V move on. The next panel lies in another
 * page, where no hardware prefetcher follows. Two steps of k at a time: with four GCC spills sums. */
#define TILE_PANELS(M, N)                                                                                     \
    for (; k_count >= PANEL; k_count -= PANEL) {                                                              \
        if (k_count > PANEL)                                                                                  \
            UNROLL for (int j = 0; j < M; j++) __builtin_prefetch(A + segment_stride + j * PANEL);            \
        const real *const end = A + PANEL;                                                                    \
        _Pragma("GCC unroll 1") for (; A < end; A += 2)                                                       \
            UNROLL for (int k = 0; k < 2; k++, V += N * LANES) TILE_STEP(M, N, A, PANEL)                      \
        A += segment_stride - PANEL;                                                                          \
    }

/* Weight gradient: C[j * N * LANES] = sum_k A(j, k) V[k], N vectors wide. */
#define DEFINE_TILE_W(M, N, NAME)                                                                                     \
    static __attribute__((noinline)) void tile_w_##M##_##NAME(real *C, const real *A, ptrdiff_t segment_stride,      \
                                                              ptrdiff_t k_count, const real *V) {                     \
        vec c[M][N];                                                                                                  \
        UNROLL for (int j = 0; j < M; j++) UNROLL for (int i = 0; i < N; i++) c[j][i] = v_set(0);                     \
        TILE_PANELS(M, N)                                                                                             \
        UNROLL for (int j = 0; j < M; j++) UNROLL for (int i = 0; i < N; i++) v_store(C + (j * N + i) * LANES, c[j][i]); \
    }

/* Input gradient: C[j * PANEL] = (from_c ? C : 0) + sum_k A(j, k) V[k] over whole weight panels, and over last_count
 * outputs of the last one, L[j * row + k]. */
#define DEFINE_TILE_X(M)                                                                                              \
    static __attribute__((noinline)) void tile_x_##M(real *C, const real *A, ptrdiff_t segment_stride,               \
                                                     ptrdiff_t k_count, const real *V, int from_c, const real *L,     \
                                                     ptrdiff_t row, ptrdiff_t last_count) {                           \
        vec c[M][NV];                                                                                                 \
        UNROLL for (int j = 0; j < M; j++) UNROLL for (int i = 0; i < NV; i++) c[j][i] =                              \
            from_c ? v_load(C + j * PANEL + i * LANES) : v_set(0);                                                    \
        TILE_PANELS(M, NV)                                                                                            \
        for (ptrdiff_t k = 0; k < last_count; k++, V += PANEL) TILE_STEP(M, NV, L, row)                               \
        UNROLL for (int j = 0; j < M; j++) UNROLL for (int i = 0; i < NV; i++) v_store(C + j * PANEL + i * LANES, c[j][i]); \
    }

/* C[j * ldc] = start + sum_k A[j * row + k] V[k * v_row], N vectors wide; FROM_BIAS: every row starts from the vectors
 * at bias. */
#define DEFINE_TILE_R(M, N, NAME)                                                                                     \
    static __attribute__((noinline)) void tile_r_##M##_##NAME(                                                       \
        real *C, ptrdiff_t ldc, const real *A, ptrdiff_t row, ptrdiff_t k_count, const real *V, ptrdiff_t v_row,      \
        const real *bias, tile_start start, int relu) {                                                               \
        vec c[M][N];                                                                                                  \
        if (start == FROM_ZERO)                                                                                       \
            UNROLL for (int j = 0; j < M; j++) UNROLL for (int i = 0; i < N; i++) c[j][i] = v_set(0);                 \
        else if (start == FROM_C)                                                                                     \
            UNROLL for (int j = 0; j < M; j++) UNROLL for (int i = 0; i < N; i++) c[j][i] = v_load(C + j * ldc + i * LANES); \
        else                                                                                                          \
            UNROLL for (int j = 0; j < M; j++) UNROLL for (int i = 0; i < N; i++) c[j][i] = v_load(bias + i * LANES); \
        _Pragma("GCC unroll 4") for (ptrdiff_t k = 0; k < k_count; k++, V += v_row) TILE_STEP(M, N, A, row)              \
        if (relu)                                                                                                     \
            UNROLL for (int j = 0; j < M; j++) UNROLL for (int i = 0; i < N; i++) c[j][i] = v_max(v_set(0), c[j][i]); \
        UNROLL for (int j = 0; j < M; j++) UNROLL for (int i = 0; i < N; i++) v_store(C + j * ldc + i * LANES, c[j][i]); \
    }

#define FOR_EACH_TILE_2(X) X(1) X(2)
#if MR == 2
#define FOR_EACH_TILE(X) FOR_EACH_TILE_2(X)
#elif MR == 6
#define FOR_EACH_TILE(X) FOR_EACH_TILE_2(X) X(3) X(4) X(5) X(6)
#else
#define FOR_EACH_TILE(X) \
    FOR_EACH_TILE_2(X) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15) X(16)
#endif

/* Few outputs leave too few chains to hide the latency of an FMA: two panels side by side. */
#define PAIRED (MR < 3 ? MR : 3)
#define DEFINE_F1(M) DEFINE_TILE_F(M, 1)
#define DEFINE_W(M) DEFINE_TILE_W(M, NV, full)
#define DEFINE_R(M) DEFINE_TILE_R(M, NV, full)
FOR_EACH_TILE(DEFINE_F1)
DEFINE_TILE_F(1, 2)
DEFINE_TILE_F(2, 2)
#if MR >= 3
DEFINE_TILE_F(3, 2)
#endif
FOR_EACH_TILE(DEFINE_W)
FOR_EACH_TILE(DEFINE_TILE_X)
FOR_EACH_TILE(DEFINE_R)
#if NARROW != PANEL
#define DEFINE_W_NARROW(M) DEFINE_TILE_W(M, NV_NARROW, narrow)
#define DEFINE_R_NARROW(M) DEFINE_TILE_R(M, NV_NARROW, narrow)
FOR_EACH_TILE(DEFINE_W_NARROW)
FOR_EACH_TILE(DEFINE_R_NARROW)
#endif

/* the tiles by their height, narrow ones second */
typedef void tile_w_function(real *, const real *, ptrdiff_t, ptrdiff_t, const real *);
typedef void tile_x_function(real *, const real *, ptrdiff_t, ptrdiff_t, const real *, int, const real *, ptrdiff_t, ptrdiff_t);
typedef void tile_r_function(real *, ptrdiff_t, const real *, ptrdiff_t, ptrdiff_t, const real *, ptrdiff_t, const real *,
                             tile_start, int);
#define X_FULL(M) tile_x_##M,
static tile_x_function *const tiles_x[MR + 1] = {NULL, FOR_EACH_TILE(X_FULL)};
#define W_FULL(M) tile_w_##M##_full,
#define R_FULL(M) tile_r_##M##_full,
#if NARROW != PANEL
#define W_NARROW(M) tile_w_##M##_narrow,
#define R_NARROW(M) tile_r_##M##_narrow,
static tile_w_function *const tiles_w[2][MR + 1] = {{NULL, FOR_EACH_TILE(W_FULL)}, {NULL, FOR_EACH_TILE(W_NARROW)}};
static tile_r_function *const tiles_r[2][MR + 1] = {{NULL, FOR_EACH_TILE(R_FULL)}, {NULL, FOR_EACH_TILE(R_NARROW)}};
#else
static tile_w_function *const tiles_w[1][MR + 1] = {{NULL, FOR_EACH_TILE(W_FULL)}};
static tile_r_function *const tiles_r[1][MR + 1] = {{NULL, FOR_EACH_TILE(R_FULL)}};
#endif

static inline void tile_f(int m, real *C, const real *A, const real *V, ptrdiff_t width, ptrdiff_t k_count,
                          const real *bias, tile_start start, int relu) {
    switch (m) {
#define CASE(M)                                                         \
    case M:                                                             \
        tile_f_##M##_1(C, A, V, width, k_count, bias, start, relu, 0, 0); \
        break;
        FOR_EACH_TILE(CASE)
#undef CASE
    default:
        break;
    }
}

static inline void tile_f_pair(int m, real *C, const real *A, const real *V, ptrdiff_t width, ptrdiff_t k_count,
                               const real *bias, tile_start start, int relu, ptrdiff_t v_stride, ptrdiff_t c_stride) {
    switch (m) {
#define CASE(M)                                                                        \
    case M:                                                                            \
        tile_f_##M##_2(C, A, V, width, k_count, bias, start, relu, v_stride, c_stride); \
        break;
        CASE(1)
        CASE(2)
#if MR >= 3
        CASE(3)
#endif
#undef CASE
    default:
        break;
    }
}

/* The next tile's height: the last two are near-equal (16 = 6 + 5 + 5). */
static inline int tile_height(ptrdiff_t rest) { return (int)(rest > 2 * MR ? MR : rest > MR ? (rest + 1) / 2 : rest); }

/* Weight panel q of a layer with n_out outputs */
static inline ptrdiff_t panel_width(ptrdiff_t n_out, ptrdiff_t q) {
    return n_out - q * PANEL <= NARROW ? NARROW : PANEL;
}
static inline ptrdiff_t min_size(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

/* A block of the contraction: 16 panels of inputs of this length fill the second-level cache. Up to FNN_WHOLE it is not
 * cut. 2048 x 2048 at 256 rows: 88 % of the peak with 420, 86 % with 256 and 512. */
#define K_BLOCK 420

static inline ptrdiff_t contraction_block(ptrdiff_t n) {
    if (n <= FNN_WHOLE) return n;
    ptrdiff_t blocks = (n + K_BLOCK - 1) / K_BLOCK;
    return (n + blocks - 1) / blocks;
}

/* The C tile that comes next: a continued chain waits for it. */
static inline void prefetch_tile(const real *C) {
    UNROLL for (int j = 0; j < MR; j++) __builtin_prefetch(C + j * PANEL, 1);
}

static void dense_forward(const fnn_dense *layer, ptrdiff_t p0, ptrdiff_t p1, ptrdiff_t q0, ptrdiff_t q1) {
    const ptrdiff_t n_in = layer->n_in, n_out = layer->n_out, block = contraction_block(n_in);
    const int relu = layer->activation == FNN_RELU;
    const int after = !relu && layer->activation != FNN_LINEAR && layer->activation < FNN_SOFTMAX;
    for (ptrdiff_t k0 = 0; k0 < n_in; k0 += block) {
        const ptrdiff_t k_count = min_size(block, n_in - k0);
        const int last = k0 + k_count == n_in;
        const tile_start start = k0 ? FROM_C : FROM_BIAS;
        for (ptrdiff_t q = q0; q < q1; q++) {
            const ptrdiff_t width = panel_width(n_out, q), outs = min_size(width, n_out - q * PANEL);
            const real *W = (const real *)layer->W + q * PANEL * (n_in + 1);
            const real *bias = W + n_in * width;
            for (ptrdiff_t p = p0; p < p1; p++) {
                real *Y = (real *)layer->Y + p * layer->y_stride + q * PANEL * PANEL;
                const real *X = (const real *)layer->X + p * layer->x_stride + k0 * PANEL;
                const int pair = outs <= PAIRED && p + 1 < p1;
                if (pair)
                    tile_f_pair((int)outs, Y, W + k0 * width, X, width, k_count, bias, start, relu && last,
                                layer->x_stride, layer->y_stride);
                else
                    for (ptrdiff_t j = 0; j < outs;) {
                        int m = tile_height(outs - j);
                        if (k0) prefetch_tile(Y + (j + m < outs ? (j + m) * PANEL : layer->y_stride));
                        tile_f(m, Y + j * PANEL, W + k0 * width + j, X, width, k_count, bias + j, start, relu && last);
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

static void dense_backward_input(void *dX_, const void *dZ_, const void *W_, ptrdiff_t n_in, ptrdiff_t n_out,
                                 ptrdiff_t dx_stride, ptrdiff_t dz_stride, ptrdiff_t p0, ptrdiff_t p1, ptrdiff_t k0,
                                 ptrdiff_t k1) {
    const ptrdiff_t full = n_out / PANEL * PANEL, rest = n_out - full, width = panel_width(n_out, n_out / PANEL);
    const ptrdiff_t block = (contraction_block(full) + PANEL - 1) / PANEL * PANEL, panel_elements = PANEL * (n_in + 1);
    const real *W = W_, *L = W + full / PANEL * panel_elements;
    /* weights of a group of inputs stay in cache over the panels */
    const ptrdiff_t group = 16 * MR;
    ptrdiff_t o0 = 0;
    do {
        const ptrdiff_t o_count = min_size(block, full - o0), last_count = o0 + o_count == full ? rest : 0;
        for (ptrdiff_t g = k0; g < k1; g += group)
            for (ptrdiff_t p = p0; p < p1; p++) {
                real *dX = (real *)dX_ + p * dx_stride;
                const real *dZ = (const real *)dZ_ + p * dz_stride;
                const ptrdiff_t end = min_size(g + group, k1);
                for (ptrdiff_t k = g; k < end;) {
                    int m = tile_height(end - k);
                    if (o0) prefetch_tile(dX + (k + m) * PANEL);
                    tiles_x[m](dX + k * PANEL, W + o0 / PANEL * panel_elements + k * PANEL, panel_elements, o_count,
                                  dZ + o0 * PANEL, o0 > 0, L + k * width, width, last_count);
                    k += m;
                }
            }
        o0 += block;
    } while (o0 < full);
}

/* Rows of weights whose gradient is held before the update rule runs on them. */
#define UPDATE_ROWS 96

/* Layers of as many weights do not stay in the second-level cache with their moments. */
#define PREFETCHED_WEIGHTS 262144

/* The rule needs them when their gradient is there. */
static inline void prefetch_weights(const real *W, const real *S1, const real *S2, ptrdiff_t at, ptrdiff_t n) {
    for (ptrdiff_t i = at; i < at + n; i += PANEL) {
        __builtin_prefetch(W + i, 1);
        if (S1) __builtin_prefetch(S1 + i, 1);
        if (S2) __builtin_prefetch(S2 + i, 1);
    }
}

static void dense_update(void *W_, void *S1_, void *S2_, void *S3_, const void *X_, const void *dZt_, ptrdiff_t n_in,
                         ptrdiff_t n_out, ptrdiff_t x_stride, ptrdiff_t rows, ptrdiff_t q0, ptrdiff_t q1, ptrdiff_t k0,
                         ptrdiff_t k1, const fnn_update *u) {
    const real *X = X_;
    real G[UPDATE_ROWS * PANEL] __attribute__((aligned(64)));
    real T[MR * PANEL] __attribute__((aligned(64)));
    const int prefetch = n_in * n_out >= PREFETCHED_WEIGHTS;
    for (ptrdiff_t g = k0; g < k1; g += UPDATE_ROWS) {
        const ptrdiff_t end = min_size(g + UPDATE_ROWS, k1);
        for (ptrdiff_t q = q0; q < q1; q++) {
            const ptrdiff_t width = panel_width(n_out, q), at = q * PANEL * (n_in + 1) + g * width;
            const real *dZt = (const real *)dZt_ + q * PANEL * rows;
            for (ptrdiff_t r = 0; r < rows; r += FNN_CHUNK) {
                const ptrdiff_t count = min_size(FNN_CHUNK, rows - r);
                const real *Xr = X + r / PANEL * x_stride, *V = dZt + r * width;
                for (ptrdiff_t k = g; k < end;) {
                    int m = tile_height(end - k);
                    real *sum = G + (k - g) * width;
                    if (prefetch && !r) prefetch_weights(W_, S1_, S2_, at + (k - g) * width, m * width);
                    tiles_w[width != PANEL][m](r ? T : sum, Xr + k * PANEL, x_stride, count, V);
                    if (r)
                        for (ptrdiff_t i = 0; i < m * width; i += LANES)
                            v_store(sum + i, v_load(sum + i) + v_load(T + i));
                    k += m;
                }
            }
            update((real *)W_ + at, S1_ ? (real *)S1_ + at : NULL, S2_ ? (real *)S2_ + at : NULL,
                   S3_ ? (real *)S3_ + at : NULL, G, (end - g) * width, u);
        }
    }
}

/* Rows of weights that are fetched ahead of a single row of inputs. */
#define ROW_AHEAD 16

/* One row, P weight panels side by side: one alone leaves too few chains to hide the latency of an FMA. */
#define DEFINE_ROW(P)                                                                                                 \
    static __attribute__((noinline)) void row_of_##P(real *y, const real *x, const real *W, ptrdiff_t n_in, int relu) { \
        const ptrdiff_t stride = PANEL * (n_in + 1);                                                                  \
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

/* Full weight panels of one row in near-equal groups; returns how many panels are done. */
static ptrdiff_t one_row(real *y, const real *x, const real *W, ptrdiff_t n_in, ptrdiff_t panels, int relu) {
    ptrdiff_t q = 0;
    while (panels - q >= 2) {
        const ptrdiff_t rest = panels - q, groups = (rest + 3) / 4, size = (rest + groups - 1) / groups;
        const real *w = W + q * PANEL * (n_in + 1);
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

static void dense_rows(void *Y_, const void *X_, const void *W_, ptrdiff_t n, ptrdiff_t n_in, ptrdiff_t n_out,
                       ptrdiff_t ldx, ptrdiff_t ldy, int activation, const double *parameters) {
    const int relu = activation == FNN_RELU;
    const ptrdiff_t panels = (n_out + PANEL - 1) / PANEL;
    const ptrdiff_t direct = n == 1 ? one_row(Y_, X_, W_, n_in, n_out / PANEL, relu) : 0, block = contraction_block(n_in);
    for (ptrdiff_t k0 = 0; k0 < n_in; k0 += block) {
        const ptrdiff_t k_count = min_size(block, n_in - k0);
        const int last = k0 + k_count == n_in;
        for (ptrdiff_t q = direct; q < panels; q++) {
            const ptrdiff_t width = panel_width(n_out, q);
            const real *W = (const real *)W_ + q * PANEL * (n_in + 1), *X = (const real *)X_ + k0;
            real *Y = (real *)Y_ + q * PANEL;
            for (ptrdiff_t i = 0; i < n;) {
                int m = tile_height(n - i);
                tiles_r[width != PANEL][m](Y + i * ldy, ldy, X + i * ldx, ldx, k_count, W + k0 * width, width,
                                           W + n_in * width, k0 ? FROM_C : FROM_BIAS, relu && last);
                i += m;
            }
        }
    }
    if (!relu && activation != FNN_LINEAR && activation < FNN_SOFTMAX)
        for (ptrdiff_t i = 0; i < n; i++) {
            real *y = (real *)Y_ + i * ldy;
            activate(y, NULL, y, n_out, activation, parameters);
        }
}

/* Full panels of outputs straight from the caller's kernel (n_in, n_out): packing it pays from some rows on only. */
static void dense_rows_unpacked(void *Y_, const void *X_, const void *kernel, const void *bias_, ptrdiff_t n,
                                ptrdiff_t n_in, ptrdiff_t n_out, int activation, const double *parameters) {
    const real *bias = bias_;
    const ptrdiff_t done = n_out / PANEL * PANEL;
    for (ptrdiff_t o = 0; o < done; o += PANEL)
        for (ptrdiff_t i = 0; i < n;) {
            int m = tile_height(n - i);
            tiles_r[0][m]((real *)Y_ + i * n_out + o, n_out, (const real *)X_ + i * n_in, n_in, n_in,
                          (const real *)kernel + o, n_out, bias ? bias + o : NULL, bias ? FROM_BIAS : FROM_ZERO,
                          activation == FNN_RELU);
            i += m;
        }
    if (activation != FNN_RELU && activation != FNN_LINEAR && activation < FNN_SOFTMAX)
        for (ptrdiff_t i = 0; i < n; i++) {
            real *y = (real *)Y_ + i * n_out;
            activate(y, NULL, y, done, activation, parameters);
        }
}
