/* Transcendental functions on vectors of doubles, in explicit operations: the same bits from every compiler and libm.
 *
 * Design:
 * a) The float32 build evaluates them in float64 too, with shorter polynomials (relative error below 4e-9), and rounds
 *    once at the end; so results are within 0.55 ULP and nothing cancels, derivatives and tails included.
 * b) Polynomials interpolate the function named at their table; coefficients.py computes them. They are exact at
 *    Chebyshev's nodes, the short ones also where derivatives such as GELU's cross zero: there two terms cancel.
 *    erfcx follows the mapping t = (z - 3) / (z + 3) of Schonfelder, Math. Comp. 32 (1978).
 * c) NaN passes through: clamps keep it. */
#ifndef FNN_FUNCTIONS_H
#define FNN_FUNCTIONS_H

#include "simd.h"

/* (exp(r) - 1 - r) / r^2 on |r| <= ln(2) / 2 */
#ifdef FNN_DOUBLE
static const double EXPM1_COEFFICIENTS[] = {
    0.5, 0.1666666666666667, 0.04166666666666667, 0.008333333333326136, 0.0013888888888883748,
    0.00019841269874820627, 2.4801587325547743e-05, 2.7557255400206422e-06, 2.75572736431103e-07,
    2.5105217004720745e-08, 2.0914686968086876e-09,
};
#else
static const double EXPM1_COEFFICIENTS[] = {
    0.4999999976834141, 0.1666667073297319, 0.04166652610110439, 0.008332526481583691, 0.0013930199871702875,
    0.0002024498846382266,
};
#endif
/* (atanh(s) / s - 1) / s^2 in u = s^2 on [0, 1/9] */
#ifdef FNN_DOUBLE
static const double ATANH_COEFFICIENTS[] = {
    0.3333333333333333, 0.20000000000007292, 0.1428571428355438, 0.11111111358713932, 0.09090894718066429,
    0.07692785032479312, 0.06657072104827468, 0.06000536404795356, 0.04400369243072337, 0.08082022805971766,
};
#else
static const double ATANH_COEFFICIENTS[] = {
    0.33333333325011805, 0.2000000538497483, 0.1428515286094183, 0.11132355604500663, 0.08732351232720387,
    0.10393808427873376,
};
#endif
/* (1 + 2 z) exp(z^2) erfc(z) in t = (z - 3) / (z + 3) on [-1, 1] */
#ifdef FNN_DOUBLE
static const double ERFCX_COEFFICIENTS[] = {
    1.2530080582697296, -0.13562110612458117, -0.04756229435345087, 0.1296451587027606, -0.11927366341530699,
    0.06830802734397848, -0.023770514918645888, 0.002529391816066239, 0.0018886903591561553, -0.0007798322721083991,
    -0.00010515979981501177, 0.00012509935235563107, 4.949484992570595e-06, -2.0100567931289227e-05,
    -7.315105164159062e-07, 3.472414602875686e-06, 3.5683839153992204e-07, -6.166496077604353e-07,
    -1.4160064940265987e-07, 1.0187000600072885e-07, 4.180784698845582e-08, -1.3326364813003834e-08,
    -8.500397929772615e-09, 9.885798831139365e-10, 8.864219016427092e-10,
};
#else
static const double ERFCX_COEFFICIENTS[] = {
    1.2530080582697296, -0.1356210663430451, -0.047562296659243636, 0.129644042720777, -0.11927360558798808,
    0.06831700803853863, -0.02377085731873814, 0.002498087244603201, 0.001889324646152052, -0.0007254297184067546,
    -0.00010532366207527464, 7.694399242155757e-05, 4.284057498989632e-06,
};
#endif
/* (sin(r) / r - 1) / r^2 in u = r^2 on [0, pi^2 / 16] */
#ifdef FNN_DOUBLE
static const double SINE_COEFFICIENTS[] = {
    -0.16666666666666666, 0.008333333333333331, -0.00019841269841265063, 2.7557319219337312e-06,
    -2.5052106231802837e-08, 1.6058531516797758e-10, -7.586691094197958e-13,
};
#else
static const double SINE_COEFFICIENTS[] = {
    -0.16666666663854168, 0.008333331874273714, -0.000198400864995936, 2.7249895230611676e-06,
};
#endif
/* (cos(r) - 1 + r^2 / 2) / r^4 in u = r^2 on [0, pi^2 / 16] */
#ifdef FNN_DOUBLE
static const double COSINE_COEFFICIENTS[] = {
    0.041666666666666664, -0.0013888888888888887, 2.4801587301584645e-05, -2.755731922140179e-07,
    2.0876755790721963e-09, -1.1470460830795304e-11, 4.7458685530816656e-14,
};
#else
static const double COSINE_COEFFICIENTS[] = {
    0.041666666664320264, -0.0013888887671652504, 2.480060018036381e-05, -2.7300933687212943e-07,
};
#endif

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))
#define ROUND_MAGIC 0x1.8p52 /* x + ROUND_MAGIC holds round(x) in its low bits */

static inline __attribute__((always_inline)) dvec d_polynomial(const double *c, int n, dvec x) {
    dvec p = d_set(c[n - 1]);
#pragma GCC unroll 32
    for (int i = n - 2; i >= 0; i--) p = d_fma(p, x, d_set(c[i]));
    return p;
}

/* x = n ln 2 + r: returns exp(r) - 1; *shifted = n + ROUND_MAGIC. |x| <= 1100. Cody and Waite (1980). */
static inline __attribute__((always_inline)) dvec d_reduce_exp(dvec x, dvec *shifted) {
    dvec t = d_fma(x, d_set(0x1.71547652b82fep+0), d_set(ROUND_MAGIC));
    dvec n = t - d_set(ROUND_MAGIC);
    dvec r = d_fma(n, d_set(-0x1.62e42fee00000p-1), x);
    r = d_fma(n, d_set(-0x1.a39ef35793c76p-33), r);
    *shifted = t;
    dvec q = d_polynomial(EXPM1_COEFFICIENTS, COUNT(EXPM1_COEFFICIENTS), r);
    return d_fma(r * r, q, r);
}

/* 2^n from n + ROUND_MAGIC, -1022 <= n <= 1023 */
static inline dvec d_power_of_two(dvec shifted) {
    return (dvec)(((ulvec)shifted << 52) + (ulvec)d_set(1.0)); /* unsigned: a NaN's bits may overflow */
}

/* The float32 build needs only these bounds, within which 2^n is a normal double. */
#ifdef FNN_DOUBLE
#define EXP_LOW -746.0
#define EXP_HIGH 710.0
#else
#define EXP_LOW -200.0
#define EXP_HIGH 200.0
#endif

static inline dvec d_exp(dvec x) {
    dvec t;
    x = d_max(d_set(EXP_LOW), d_min(d_set(EXP_HIGH), x));
    dvec p = d_reduce_exp(x, &t) + d_set(1.0);
#ifdef FNN_DOUBLE
    /* two factors, so that subnormal and overflowing results round once */
    dvec n = t - d_set(ROUND_MAGIC);
    dvec half = d_fma(n, d_set(0.5), d_set(ROUND_MAGIC));
    dvec rest = (n - (half - d_set(ROUND_MAGIC))) + d_set(ROUND_MAGIC);
    return p * d_power_of_two(half) * d_power_of_two(rest);
#else
    return p * d_power_of_two(t);
#endif
}

/* exp(x) - 1 for x <= 708, relative accuracy near 0 included; below -700 it is -1 */
static inline dvec d_expm1(dvec x) {
    dvec t;
    dvec m = d_reduce_exp(d_max(d_set(-700.0), x), &t);
    dvec s = d_power_of_two(t);
    return d_fma(s, m, s - d_set(1.0));
}

/* exp(x) and exp(x) - 1 for x <= 0, with the bits of d_exp and d_expm1; in the float32 build from one reduction */
static inline void d_exp_and_expm1(dvec x, dvec *exponential, dvec *less_one) {
#ifdef FNN_DOUBLE
    *exponential = d_exp(x);
    *less_one = d_expm1(x);
#else
    dvec t;
    const dvec m = d_reduce_exp(d_max(d_set(EXP_LOW), x), &t), s = d_power_of_two(t), one = d_set(1.0);
    *exponential = (m + one) * s;
    *less_one = d_fma(s, m, s - one);
#endif
}

/* 2 atanh(s), |s| <= 1/3 */
static inline dvec d_twice_atanh(dvec s) {
    dvec u = s * s;
    dvec p = d_polynomial(ATANH_COEFFICIENTS, COUNT(ATANH_COEFFICIENTS), u);
    dvec twice = s + s;
    return d_fma(twice * u, p, twice);
}

/* log(1 + e), 0 <= e <= 1, relative accuracy near 0 included */
static inline dvec d_log1p(dvec e) { return d_twice_atanh(e / (e + d_set(2.0))); }

/* log(x), x normal and positive: x = 2^n m, sqrt(1/2) < m < sqrt(2); NaN for NaN and infinity */
static inline dvec d_log(dvec x) {
    lvec bits = (lvec)x;
    const lvec offset = (lvec)d_set(0x1.6a09e667f3bcdp-1);
    lvec shifted = bits - offset;
    /* exponent as a double: its 12 bits below a 2^52 exponent, unbiased by 2048 so that it stays non-negative */
    ulvec exponent = ((ulvec)shifted ^ ((ulvec){0} + 0x8000000000000000u)) >> 52;
    dvec n = (dvec)(exponent | (ulvec)d_set(0x1p52)) - d_set(0x1p52 + 2048.0);
    dvec m = (dvec)((shifted & ((lvec){0} + 0x000fffffffffffffLL)) + offset);
    dvec l = d_twice_atanh((m - d_set(1.0)) / (m + d_set(1.0)));
    return d_fma(n, d_set(0x1.62e42fee00000p-1), d_fma(n, d_set(0x1.a39ef35793c76p-33), l)) + (x - x);
}

static inline dvec d_sqrt(dvec a) {
    for (int i = 0; i < DLANES; i++) a[i] = __builtin_sqrt(a[i]);
    return a;
}

/* log(x) for x >= 0. 0 and subnormal numbers count as the smallest normal number; NaN below 0. */
static inline dvec d_log_nonnegative(dvec x) {
    const dvec l = d_log(d_max(d_set(0x1p-1022), x));
    return d_select(x < d_set(0.0), d_set(__builtin_nan("")), l);
}

/* x^p of 0 <= x <= 1; 0 where x is subnormal, except for p = 0. p is the same for all elements. */
static inline dvec d_power(dvec x, double p) {
    if (p == 0.0) return d_set(1.0);
    if (p == 1.0) return x;
    if (p == 2.0) return x * x;
    const dvec y = d_exp(d_set(p) * d_log(d_max(d_set(0x1p-1022), x)));
    return d_select(x < d_set(0x1p-1022), d_set(0.0), y);
}

/* exp(-x^2 / 2) and the standard normal distribution function of x, |x| <= 60 */
static inline void d_normal(dvec x, dvec *density, dvec *distribution) {
    dvec h = x * x;
    dvec e = d_exp(h * d_set(-0.5));
#ifdef FNN_DOUBLE
    dvec low = d_fma(x, x, -h);
    e = d_fma(e * d_set(-0.5), low, e);
#endif
    dvec z = d_abs(x) * d_set(0x1.6a09e667f3bcdp-1);
    dvec t = (z - d_set(3.0)) / (z + d_set(3.0));
    dvec g = d_polynomial(ERFCX_COEFFICIENTS, COUNT(ERFCX_COEFFICIENTS), t);
    dvec tail = d_set(0.5) * e * g / d_fma(z, d_set(2.0), d_set(1.0));
    *density = e * d_set(0x1.9884533d43651p-2);
    *distribution = d_select(x > d_set(0.0), d_set(1.0) - tail, tail);
}

#endif
