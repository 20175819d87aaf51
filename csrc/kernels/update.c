/* Update rules on contiguous weights, in the arithmetic of Keras's optimizers. */

/* Moments below the smallest normal number become zero: subnormal operands cost a hundred cycles each on many CPUs. */
static inline vec flush_subnormal(vec a) {
    const vec smallest = v_set((real)(sizeof(real) == 4 ? 0x1p-126 : 0x1p-1022));
    return (vec)((ivec)a & ~(v_abs(a) < smallest));
}

typedef struct {
    vec w, s1, s2, s3;
} update_state;

static inline __attribute__((always_inline)) void update_vector(int kind, const fnn_update *u, vec g, update_state *s) {
    const vec rate = v_set((real)u->rate), beta_1 = v_set((real)u->beta_1), beta_2 = v_set((real)u->beta_2);
    const vec epsilon = v_set((real)u->epsilon);
    /* decoupled weight decay: Loshchilov and Hutter 2019 */
    if (u->decay != 0) s->w = v_fma(s->w, v_set((real)-u->decay), s->w);
    switch (kind) {
    case FNN_STORE:
        s->s1 = g;
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
    case FNN_ADAM: /* Kingma and Ba 2015 */
        s->s1 = flush_subnormal(v_fma(beta_1, g - s->s1, s->s1));
        s->s2 = flush_subnormal(v_fma(beta_2, v_fma(g, g, -s->s2), s->s2));
        s->w = s->w - rate * s->s1 / (v_sqrt(s->s2) + epsilon);
        break;
    default: { /* RMSprop: Tieleman and Hinton 2012. s1 mean square, s2 momentum, s3 mean */
        const vec rest = v_set((real)1) - beta_2;
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
        if (kind != FNN_STORE) v_store(W + i, s.w);
        if (slots > 0) v_store(S1 + i, s.s1);
        if (slots > 1) v_store(S2 + i, s.s2);
        if (slots > 2) v_store(S3 + i, s.s3);
    }
}

/* n is a multiple of LANES: weight panels are whole vectors. */
static void update(void *W, void *S1, void *S2, void *S3, const void *G, ptrdiff_t n, const fnn_update *u) {
    switch (u->kind) {
#define CASE(kind, slots)                                  \
    case kind:                                             \
        update_loop(kind, slots, W, S1, S2, S3, G, n, u); \
        break;
        CASE(FNN_STORE, 1)
        CASE(FNN_SGD, 0)
        CASE(FNN_SGD_MOMENTUM, 1)
        CASE(FNN_SGD_NESTEROV, 1)
        CASE(FNN_ADAM, 2)
        CASE(FNN_RMSPROP, 2)
        CASE(FNN_RMSPROP_CENTERED, 3)
#undef CASE
    default:
        break;
    }
}
