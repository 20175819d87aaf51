/* Random layers: dropout (Srivastava et al. 2014), alpha dropout (Klambauer et al. 2017), additive noise; from the
 * counter-based generator Philox4x32-7 (Salmon et al. 2011: 7 rounds pass all tests of BigCrush, 10 leave a margin).
 *
 * The generator runs on the rows of a panel side by side: 32 bits of state in each lane of 64, whose upper halves are
 * never looked at. One call gives four features of DLANES rows. */

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

/* counters (row, feature / 4, step, stream) */
static inline __attribute__((always_inline)) random_block philox(uint64_t seed, uint32_t stream, uint32_t step,
                                                                 uint32_t first_row, uint32_t group) {
    const ulvec low_bits = (ulvec){0} + 0xFFFFFFFFu, m0 = (ulvec){0} + 0xD2511F53u, m1 = (ulvec){0} + 0xCD9E8D57u;
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    uint64_t rows[DLANES];
    for (int i = 0; i < DLANES; i++) rows[i] = first_row + (uint32_t)i;
    ulvec row;
    memcpy(&row, rows, sizeof row);
    random_block r = {{row, (ulvec){0} + group, (ulvec){0} + step, (ulvec){0} + stream}};
    UNROLL for (int round = 0; round < ROUNDS; round++) {
        const ulvec p0 = MULTIPLY_LOW(r.c[0], m0), p1 = MULTIPLY_LOW(r.c[2], m1);
        r.c[0] = (p1 >> 32) ^ r.c[1] ^ k0;
        r.c[1] = p1;
        r.c[2] = (p0 >> 32) ^ r.c[3] ^ k1;
        r.c[3] = p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
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

static void dropout(void *Y, void *D, const void *X, ptrdiff_t n_features, double rate, int alpha, uint64_t seed,
                    uint32_t stream, uint64_t step, uint32_t first_row) {
    /* an element is dropped where its 32 random bits are below rate * 2^32 */
    const double bound = rate * 4294967296.0;
    const double low = -1.0507009873554804934 * 1.6732632423543772848;
    const double scale = alpha ? 1.0 / __builtin_sqrt((1.0 - rate) * (1.0 + rate * low * low)) : 1.0 / (1.0 - rate);
    const double shift = -scale * low * rate;
    const dropping c = {(lvec){0} + (int64_t)(bound >= 4294967295.0 ? 4294967295.0 : bound), d_set((double)(real)scale),
                        d_set(shift), d_set(scale * low + shift)};
    for (ptrdiff_t f = 0; f < n_features; f += 4)
        for (int lane = 0; lane < PANEL; lane += DLANES) {
            const random_block r = philox(seed, stream, (uint32_t)step, first_row + (uint32_t)lane, (uint32_t)(f / 4));
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

/* Quantile of the standard normal distribution for 2^-33 <= u <= 1 - 2^-33: Wichura 1988, algorithm AS 241 (PPND16),
 * whose third part begins below exp(-25). */
static dvec normal_quantile(dvec u) {
    static const double a[] = {3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3,
                               1.3731693765509461125e4, 4.5921953931549871457e4, 6.7265770927008700853e4,
                               3.3430575583588128105e4, 2.5090809287301226727e3};
    static const double b[] = {1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
                               2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4,
                               5.2264952788528545610e3};
    static const double c[] = {1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0,
                               3.64784832476320460504e0, 1.27045825245236838258e0, 2.41780725177450611770e-1,
                               2.27238449892691845833e-2, 7.74545014278341407640e-4};
    static const double d[] = {1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
                               1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4,
                               1.05075007164441684324e-9};
    const dvec q = u - d_set(0.5), magnitude = d_abs(q);
    const dvec r = d_fma(-q, q, d_set(0.180625));
    const dvec centre = q * d_polynomial(a, COUNT(a), r) / d_polynomial(b, COUNT(b), r);
    const dvec t = d_sqrt(-d_log(d_set(0.5) - magnitude)) - d_set(1.6);
    const dvec tail = d_polynomial(c, COUNT(c), t) / d_polynomial(d, COUNT(d), t);
    return d_select(magnitude <= d_set(0.425), centre, d_select(q < d_set(0.0), -tail, tail));
}

/* Y = X + normal noise of a standard deviation */
static void gaussian_noise(void *Y_, const void *X_, ptrdiff_t n_features, double deviation, uint64_t seed, uint32_t stream,
                           uint64_t step, uint32_t first_row) {
    for (ptrdiff_t f = 0; f < n_features; f += 4)
        for (int lane = 0; lane < PANEL; lane += DLANES) {
            const random_block r = philox(seed, stream, (uint32_t)step, first_row + (uint32_t)lane, (uint32_t)(f / 4));
            for (int j = 0; j < 4 && f + j < n_features; j++) {
                const ptrdiff_t at = (f + j) * PANEL + lane;
                /* 32 bits as the fraction of a double in [2^52, 2^53) */
                const dvec whole = (dvec)(r.c[j] | (ulvec)d_set(0x1p52)) - d_set(0x1p52);
                const dvec z = normal_quantile((whole + d_set(0.5)) * d_set(0x1p-32));
                d_store((real *)Y_ + at, d_load((const real *)X_ + at) + z * d_set(deviation));
            }
        }
}
