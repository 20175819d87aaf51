/* Random layers: dropout (Srivastava et al. 2014), alpha dropout (Klambauer et al. 2017), additive noise; from the
 * counter-based generator Philox4x32-7 (Salmon et al. 2011: 7 rounds pass all tests of BigCrush, 10 leave a margin).
 *
 * The generator runs on the rows of a panel side by side: 32 bits of state in each lane of 64, whose upper halves are
 * never read. One call gives four features of DLANES rows. */
#ifndef FNN_DROPOUT_TPL_H
#define FNN_DROPOUT_TPL_H

#include "../fnn.h"
#include "../quantile.h"
#include "functions.h"

#if defined(FNN_ISA_AVX2)
#define MULTIPLY_LOW(a, b) ((ulvec)_mm256_mul_epu32((__m256i)(a), (__m256i)(b)))
#elif defined(FNN_ISA_AVX512) && defined(__AVX512F__)
#define MULTIPLY_LOW(a, b) ((ulvec)_mm512_mul_epu32((__m512i)(a), (__m512i)(b)))
#else
#define MULTIPLY_LOW(a, b) (((a) & low_bits) * ((b) & low_bits))
#endif

#define ROUNDS 7

typedef struct {
    ulvec c[4];
} random_block;

/* The two keys of each round: computed once for a panel, they are operands in memory, not two instructions each. */
typedef struct {
    uint64_t first[ROUNDS], second[ROUNDS];
} random_keys;

static inline random_keys keys_of(const fnn_stream *random) {
    random_keys keys;
    uint32_t k0 = (uint32_t)random->seed, k1 = (uint32_t)(random->seed >> 32);
    for (int round = 0; round < ROUNDS; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
        keys.first[round] = k0;
        keys.second[round] = k1;
    }
    return keys;
}

/* Rows from `lane` of the panel on, features from 4 group on; counters (row, feature / 4, step, stream). */
static inline __attribute__((always_inline)) random_block philox(const fnn_stream *random, const random_keys *keys,
                                                                 uint32_t lane, uint32_t group) {
    const ulvec low_bits = (ulvec){0} + 0xFFFFFFFFu, m0 = (ulvec){0} + 0xD2511F53u, m1 = (ulvec){0} + 0xCD9E8D57u;
    uint64_t rows[DLANES];
    for (int i = 0; i < DLANES; i++) rows[i] = random->first_row + lane + (uint32_t)i;
    ulvec row;
    memcpy(&row, rows, sizeof row);
    random_block r = {{row, (ulvec){0} + group, (ulvec){0} + (uint32_t)random->step, (ulvec){0} + random->stream}};
    UNROLL for (int round = 0; round < ROUNDS; round++) {
        const ulvec p0 = MULTIPLY_LOW(r.c[0], m0), p1 = MULTIPLY_LOW(r.c[2], m1);
        r.c[0] = (p1 >> 32) ^ r.c[1] ^ keys->first[round];
        r.c[1] = p1;
        r.c[2] = (p0 >> 32) ^ r.c[3] ^ keys->second[round];
        r.c[3] = p0;
    }
    UNROLL for (int j = 0; j < 4; j++) r.c[j] &= low_bits;
    return r;
}

typedef struct {
    lvec threshold;
    dvec kept, shift, dropped;
} dropping;

/* D = kept or 0; Y = X D + shift, or `dropped` where dropped: `count` features of DLANES rows from one call */
static inline __attribute__((always_inline)) void drop(real *Y, real *D, const real *X, random_block r, int count, int alpha,
                                                       const dropping *c) {
    UNROLL for (int j = 0; j < count; j++) {
        const lvec out = (lvec)r.c[j] < c->threshold;
        const dvec d = (dvec)(~out & (lvec)c->kept), x = d_load(X + j * PANEL);
        d_store(D + j * PANEL, d);
        d_store(Y + j * PANEL, alpha ? d_select(out, c->dropped, d_fma(x, d, c->shift)) : (dvec)(x * d));
    }
}

static void dropout(void *Y, void *D, const void *X, ptrdiff_t n_features, double rate, int alpha,
                    const fnn_stream *random) {
    /* an element is dropped where its 32 random bits are below rate * 2^32 */
    const double bound = rate * 4294967296.0;
    const double low = -1.0507009873554804934 * 1.6732632423543772848;
    const double scale = alpha ? 1.0 / __builtin_sqrt((1.0 - rate) * (1.0 + rate * low * low)) : 1.0 / (1.0 - rate);
    const double shift = -scale * low * rate;
    const dropping c = {(lvec){0} + (int64_t)(bound >= 4294967295.0 ? 4294967295.0 : bound), d_set((double)(real)scale),
                        d_set(shift), d_set(scale * low + shift)};
    const random_keys keys = keys_of(random);
    for (ptrdiff_t f = 0; f < n_features; f += 4)
        for (int lane = 0; lane < PANEL; lane += DLANES) {
            const random_block r = philox(random, &keys, (uint32_t)lane, (uint32_t)(f / 4));
            const ptrdiff_t at = f * PANEL + lane;
            real *y = (real *)Y + at, *d = (real *)D + at;
            const real *x = (const real *)X + at;
            if (f + 4 > n_features)
                drop(y, d, x, r, (int)(n_features - f), alpha, &c);
            else if (alpha)
                drop(y, d, x, r, 4, 1, &c);
            else
                drop(y, d, x, r, 4, 0, &c);
        }
}

/* Quantile of the standard normal distribution for 2^-33 <= u <= 1 - 2^-33; the far tails start below exp(-25). */
static dvec normal_quantile(dvec u) {
    const dvec q = u - d_set(0.5), magnitude = d_abs(q);
    const dvec r = d_fma(-q, q, d_set(0.180625));
    const dvec centre = q * d_polynomial(CENTRE_NUMERATOR, COUNT(CENTRE_NUMERATOR), r) /
                        d_polynomial(CENTRE_DENOMINATOR, COUNT(CENTRE_DENOMINATOR), r);
    const dvec t = d_sqrt(-d_log(d_set(0.5) - magnitude)) - d_set(1.6);
    const dvec tail = d_polynomial(TAIL_NUMERATOR, COUNT(TAIL_NUMERATOR), t) /
                      d_polynomial(TAIL_DENOMINATOR, COUNT(TAIL_DENOMINATOR), t);
    return d_select(magnitude <= d_set(0.425), centre, d_select(q < d_set(0.0), -tail, tail));
}

/* Y = X + normal noise of a standard deviation */
static void gaussian_noise(void *Y_, const void *X_, ptrdiff_t n_features, double deviation,
                           const fnn_stream *random) {
    const random_keys keys = keys_of(random);
    for (ptrdiff_t f = 0; f < n_features; f += 4)
        for (int lane = 0; lane < PANEL; lane += DLANES) {
            const random_block r = philox(random, &keys, (uint32_t)lane, (uint32_t)(f / 4));
            for (int j = 0; j < 4 && f + j < n_features; j++) {
                const ptrdiff_t at = (f + j) * PANEL + lane;
                /* 32 bits as the fraction of a double in [2^52, 2^53) */
                const dvec whole = (dvec)(r.c[j] | (ulvec)d_set(0x1p52)) - d_set(0x1p52);
                const dvec z = normal_quantile((whole + d_set(0.5)) * d_set(0x1p-32));
                d_store((real *)Y_ + at, d_load((const real *)X_ + at) + z * d_set(deviation));
            }
        }
}

#endif
