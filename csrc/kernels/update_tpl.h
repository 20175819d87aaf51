/* Update rules on contiguous weights, in the arithmetic of Keras's optimizers. */
#ifndef FNN_UPDATE_TPL_H
#define FNN_UPDATE_TPL_H

#include "../fnn.h"
#include "simd.h"

/* Moments below the smallest normal number become zero: subnormal operands cost a hundred cycles each on many CPUs. */
static inline vec flush_subnormal(vec a) {
    const vec smallest = v_set((real)(sizeof(real) == 4 ? 0x1p-126 : 0x1p-1022));
    return (vec)((ivec)a & ~(v_abs(a) < smallest));
}

/* -1, 0 or 1; 0 for NaN */
static inline vec v_sign(vec a) {
    const vec one = v_set((real)1), zero = v_set((real)0);
    return v_select(a > zero, one, v_select(a < zero, -one, zero));
}

/* g + l1 sign(w) + 2 l2 w */
static inline vec penalized(vec g, vec w, const fnn_update *u) {
    return v_fma(v_set((real)(2.0 * u->l2)), w, g) + v_set((real)u->l1) * v_sign(w);
}

static void penalize(real *G, const real *W, ptrdiff_t n, const fnn_update *u) {
    const ptrdiff_t rest = n % LANES, whole = n - rest;
    for (ptrdiff_t i = 0; i < whole; i += LANES) v_store(G + i, penalized(v_load(G + i), v_load(W + i), u));
    if (!rest) return;
    real g[LANES] = {0}, w[LANES] = {0};
    for (ptrdiff_t i = 0; i < rest; i++) g[i] = G[whole + i], w[i] = W[whole + i];
    v_store(g, penalized(v_load(g), v_load(w), u));
    for (ptrdiff_t i = 0; i < rest; i++) G[whole + i] = g[i];
}

/* g = clip((g + l1 sign(w) + 2 l2 w) scale), NaN kept */
static void prepare_gradient(real *G, const real *W, ptrdiff_t n, const fnn_update *u) {
    const vec scale = v_set((real)u->scale), clip = v_set((real)u->clip);
    const int penalty = u->l1 != 0 || u->l2 != 0, bounded = u->clip > 0;
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        vec g = v_load(G + i);
        if (penalty) g = penalized(g, v_load(W + i), u);
        g = g * scale;
        if (bounded) g = v_select(g > clip, clip, v_select(g < -clip, -clip, g));
        v_store(G + i, g);
    }
}

typedef struct {
    vec w, s1, s2, s3;
} update_state;

/* Kingma and Ba 2015 */
static inline __attribute__((always_inline)) void adam(update_state *s, vec g, vec rate, vec beta_1, vec beta_2,
                                                       vec epsilon) {
    s->s1 = flush_subnormal(v_fma(beta_1, g - s->s1, s->s1));
    s->s2 = flush_subnormal(v_fma(beta_2, v_fma(g, g, -s->s2), s->s2));
    s->w = s->w - rate * s->s1 / (v_sqrt(s->s2) + epsilon);
}

/* Long because each update rule is one case. */
static inline __attribute__((always_inline)) void update_vector(int kind, const fnn_update *u, vec g, update_state *s) {
    const vec rate = v_set((real)u->rate), beta_1 = v_set((real)u->beta_1), beta_2 = v_set((real)u->beta_2);
    const vec epsilon = v_set((real)u->epsilon), one = v_set((real)1);
    /* decoupled weight decay: Loshchilov and Hutter 2019 */
    if (u->decay != 0) s->w = v_fma(s->w, v_set((real)-u->decay), s->w);
    switch (kind) {
    case FNN_STORE:
        s->s1 = g;
        break;
    case FNN_ACCUMULATE:
        s->s1 = s->s1 + g;
        break;
    case FNN_SGD:
        s->w = v_fma(-rate, g, s->w);
        break;
    case FNN_SGD_MOMENTUM:
        s->s1 = flush_subnormal(v_fma(beta_1, s->s1, -(rate * g)));
        s->w = s->w + s->s1;
        break;
    case FNN_SGD_NESTEROV:
        s->s1 = flush_subnormal(v_fma(beta_1, s->s1, -(rate * g)));
        s->w = v_fma(beta_1, s->s1, v_fma(-rate, g, s->w));
        break;
    case FNN_ADAM:
        adam(s, g, rate, beta_1, beta_2, epsilon);
        break;
    case FNN_AMSGRAD: /* Reddi et al. 2018: the largest second moment so far */
        s->s1 = flush_subnormal(v_fma(beta_1, g - s->s1, s->s1));
        s->s2 = flush_subnormal(v_fma(beta_2, v_fma(g, g, -s->s2), s->s2));
        s->s3 = v_max(s->s3, s->s2);
        s->w = s->w - rate * s->s1 / (v_sqrt(s->s3) + epsilon);
        break;
    case FNN_NADAM: /* Dozat 2016 */
        s->s1 = flush_subnormal(v_fma(beta_1, g - s->s1, s->s1));
        s->s2 = flush_subnormal(v_fma(beta_2, v_fma(g, g, -s->s2), s->s2));
        s->w = s->w - v_fma(v_set((real)u->rate_2), g, rate * s->s1) /
                          (v_sqrt(s->s2 * v_set((real)u->correction)) + epsilon);
        break;
    case FNN_ADAMAX: /* Kingma and Ba 2015, section 7.1 */
        s->s1 = flush_subnormal(v_fma(beta_1, g - s->s1, s->s1));
        s->s2 = flush_subnormal(v_max(beta_2 * s->s2, v_abs(g)));
        s->w = s->w - rate * s->s1 / (s->s2 + epsilon);
        break;
    case FNN_ADAGRAD: /* Duchi et al. 2011 */
        s->s1 = flush_subnormal(v_fma(g, g, s->s1));
        s->w = s->w - rate * g / v_sqrt(s->s1 + epsilon);
        break;
    case FNN_ADADELTA: { /* Zeiler 2012. s1 mean square of the gradient, s2 of the change */
        const vec rest = one - beta_2;
        s->s1 = flush_subnormal(v_fma(rest, g * g, beta_2 * s->s1));
        const vec change = v_sqrt(s->s2 + epsilon) * g / v_sqrt(s->s1 + epsilon);
        s->s2 = flush_subnormal(v_fma(rest, change * change, beta_2 * s->s2));
        s->w = v_fma(-rate, change, s->w);
        break;
    }
    case FNN_LION: /* Chen et al. 2023 */
        s->w = v_fma(-rate, v_sign(v_fma(beta_1, s->s1, (one - beta_1) * g)), s->w);
        s->s1 = flush_subnormal(v_fma(beta_2, s->s1, (one - beta_2) * g));
        break;
    default: { /* RMSprop: Tieleman and Hinton 2012. s1 mean square, s2 momentum, s3 mean */
        const vec rest = one - beta_2;
        s->s1 = flush_subnormal(v_fma(rest, g * g, beta_2 * s->s1));
        vec denominator = s->s1 + epsilon;
        if (kind == FNN_RMSPROP_CENTERED) {
            s->s3 = flush_subnormal(v_fma(rest, g, beta_2 * s->s3));
            denominator = v_fma(-s->s3, s->s3, s->s1) + epsilon;
        }
        vec increment = rate * g / v_sqrt(denominator);
        s->s2 = flush_subnormal(v_fma(beta_1, s->s2, increment));
        s->w = s->w - s->s2;
        break;
    }
    }
}

static inline __attribute__((always_inline)) void update_loop(int kind, int slots, real *W, real *S1, real *S2, real *S3,
                                                              const real *G, ptrdiff_t n, const fnn_update *update_) {
    const fnn_update u = *update_;
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        update_state s = {.w = v_load(W + i)};
        if (slots > 0) s.s1 = v_load(S1 + i);
        if (slots > 1) s.s2 = v_load(S2 + i);
        if (slots > 2) s.s3 = v_load(S3 + i);
        update_vector(kind, &u, v_load(G + i), &s);
        if (kind != FNN_STORE && kind != FNN_ACCUMULATE) v_store(W + i, s.w);
        if (slots > 0) v_store(S1 + i, s.s1);
        if (slots > 1) v_store(S2 + i, s.s2);
        if (slots > 2) v_store(S3 + i, s.s3);
    }
}

/* n: a multiple of LANES */
static void update_vectors(const fnn_weights *weights, real *G, ptrdiff_t n, const fnn_update *u) {
    real *W = weights->W, *S1 = weights->moments[0], *S2 = weights->moments[1], *S3 = weights->moments[2];
    if (u->prepare) prepare_gradient(G, W, n, u);
    switch (u->kind) {
#define CASE(kind, slots)                                  \
    case kind:                                             \
        update_loop(kind, slots, W, S1, S2, S3, G, n, u); \
        break;
        CASE(FNN_STORE, 1)
        CASE(FNN_ACCUMULATE, 1)
        CASE(FNN_SGD, 0)
        CASE(FNN_SGD_MOMENTUM, 1)
        CASE(FNN_SGD_NESTEROV, 1)
        CASE(FNN_ADAM, 2)
        CASE(FNN_AMSGRAD, 3)
        CASE(FNN_NADAM, 2)
        CASE(FNN_ADAMAX, 2)
        CASE(FNN_ADAGRAD, 1)
        CASE(FNN_ADADELTA, 2)
        CASE(FNN_LION, 1)
        CASE(FNN_RMSPROP, 2)
        CASE(FNN_RMSPROP_CENTERED, 3)
#undef CASE
    default:
        break;
    }
}

/* Weight panels are whole vectors, except for single columns, whose last elements are updated in copies. */
static void update(const fnn_weights *weights, void *G, ptrdiff_t n, const fnn_update *u) {
    const ptrdiff_t rest = n % LANES, whole = n - rest;
    if (whole) update_vectors(weights, G, whole, u);
    if (!rest) return;
    real copies[1 + FNN_MOMENTS][LANES] = {{0}}, g[LANES] = {0};
    real *const of[1 + FNN_MOMENTS] = {weights->W, weights->moments[0], weights->moments[1], weights->moments[2]};
    for (int m = 0; m <= FNN_MOMENTS; m++)
        for (ptrdiff_t i = 0; of[m] && i < rest; i++) copies[m][i] = of[m][whole + i];
    for (ptrdiff_t i = 0; i < rest; i++) g[i] = ((real *)G)[whole + i];
    const fnn_weights last = {copies[0], {copies[1], copies[2], copies[3]}};
    update_vectors(&last, g, LANES, u);
    for (int m = 0; m <= FNN_MOMENTS; m++)
        for (ptrdiff_t i = 0; of[m] && i < rest; i++) of[m][whole + i] = copies[m][i];
}

static inline dvec add_term(dvec sum, dvec x, int squares) {
    if (squares) return d_fma(x, x, sum);
    return sum + d_abs(x);
}

/* Each column is one chain over the rows: the same bits for every width of a weight panel. Chains of whole panels
 * overlap. */
static inline __attribute__((always_inline)) void sum_columns(double *sums, const real *W, ptrdiff_t rows, ptrdiff_t width,
                                                              int squares) {
    if (width == PANEL) {
        dvec of[GROUPS];
        UNROLL for (int g = 0; g < GROUPS; g++) of[g] = d_set(0.0);
        for (ptrdiff_t k = 0; k < rows; k++, W += PANEL)
            UNROLL for (int g = 0; g < GROUPS; g++) of[g] = add_term(of[g], d_load(W + g * DLANES), squares);
        UNROLL for (int g = 0; g < GROUPS; g++) d_store_double(sums + g * DLANES, of[g]);
        return;
    }
    for (int j = 0; j < PANEL; j++) sums[j] = 0.0;
    for (ptrdiff_t j = 0; j < width; j += DLANES) {
        dvec sum = d_set(0.0);
        for (ptrdiff_t k = 0; k < rows; k++)
            sum = add_term(sum, width == 1 ? d_set((double)W[k]) : d_load(W + j + k * width), squares);
        d_store_double(sums + j, sum);
    }
}

static void column_squares(double *sums, const void *W, ptrdiff_t rows, ptrdiff_t width) {
    sum_columns(sums, W, rows, width, 1);
}

/* A tree over the columns: the same bits for every width of vectors. */
static inline double tree_of_columns(double *columns, ptrdiff_t used) {
    for (ptrdiff_t j = used; j < PANEL; j++) columns[j] = 0.0;
    UNROLL for (int half = PANEL / 2; half; half /= 2)
        UNROLL for (int j = 0; j < half; j++) columns[j] += columns[j + half];
    return columns[0];
}

static double block_sum(const void *W, ptrdiff_t rows, ptrdiff_t width, ptrdiff_t used, int squares) {
    double columns[PANEL] __attribute__((aligned(64)));
    if (squares)
        sum_columns(columns, W, rows, width, 1);
    else
        sum_columns(columns, W, rows, width, 0);
    return tree_of_columns(columns, used);
}

static void scale_columns(void *W, ptrdiff_t rows, ptrdiff_t width, const double *factors) {
    for (ptrdiff_t k = 0; k < rows; k++)
        for (ptrdiff_t j = 0; j < width; j += DLANES) {
            real *w = (real *)W + k * width + j;
            if (width == 1)
                *w = (real)((double)*w * factors[0]);
            else
                d_store(w, d_load(w) * d_load_double(factors + j));
        }
}

static void average(void *A_, const void *W_, ptrdiff_t n, double momentum) {
    real *A = A_;
    const real *W = W_;
    const vec kept = v_set((real)momentum), rest = v_set((real)(1.0 - momentum));
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES)
        v_store(A + i, flush_subnormal(v_fma(kept, v_load(A + i), rest * v_load(W + i))));
    for (; i < n; i++) A[i] = flush_subnormal(v_fma(kept, v_set(A[i]), rest * v_set(W[i])))[0];
}

#endif
