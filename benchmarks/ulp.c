/* Largest errors, in units in the last place, of the functions of csrc/kernels and of their derivatives.
 *
 * The float32 build takes all 2^32 inputs, against libm in float64; the float64 build (FNN_DOUBLE) samples, against
 * libquadmath. An error is counted in spacings of the type at the true result, in float32 also where a derivative
 * crosses zero; an overflow counts as 2^128. NaN must give NaN. benchmarks/ulp.py builds and runs it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "../csrc/fnn.h"
#include "../csrc/kernels/activations_tpl.h"
#include "../csrc/kernels/tabular_tpl.h"

enum { LOG = FNN_ACTIVATIONS, LOG1P, NORMAL_CDF, COS };

/* f(x) and f'(x) in a type R with functions of suffix S. Infinity stands for its limit: b is x bounded. */
#define DEFINE_REFERENCE(R, S)                                                                                        \
    static R sigmoid##S(R x) { return x < 0 ? exp##S(x) / (1 + exp##S(x)) : 1 / (1 + exp##S(-x)); }                   \
    static R cdf##S(R x) { return erfc##S(-x * 0.70710678118654752440084436210484904##S) / 2; }                       \
    static void exact##S(int kind, const double *p, R x, R *y, R *d) {                                                \
        const R b = x < -10000 ? -10000 : x > 10000 ? 10000 : x, low = x < -10000 ? -10000 : x;                       \
        const R scale = kind == FNN_SELU ? 1.05070098735548049341933498529##S : 1;                                    \
        const R alpha = kind == FNN_SELU ? 1.67326324235437728481704299167##S : (R)p[0];                              \
        const R root = 1.59576912160573071175978423973752747##S;                                                      \
        R t, c, u;                                                                                                    \
        switch (kind) {                                                                                               \
        case FNN_LINEAR: *y = x; *d = 1; break;                                                                       \
        case FNN_RELU: *y = x > 0 ? x : 0; *d = x > 0; break;                                                         \
        case FNN_LEAKY_RELU: *d = x > 0 ? 1 : (R)p[0]; *y = x * *d; break;                                            \
        case FNN_TANH: *y = tanh##S(x); c = 1 / cosh##S(b); *d = c * c; break;                                        \
        case FNN_SIGMOID: *y = sigmoid##S(x); *d = sigmoid##S(b) * sigmoid##S(-b); break;                             \
        case FNN_SOFTPLUS: *y = fmax##S(0, x) + log1p##S(exp##S(-fabs##S(x))); *d = sigmoid##S(x); break;             \
        case FNN_ELU:                                                                                                 \
        case FNN_SELU:                                                                                                \
            *y = x > 0 ? scale * x : scale * alpha * expm1##S(x);                                                     \
            *d = x > 0 ? scale : scale * alpha * exp##S(x);                                                           \
            break;                                                                                                    \
        case FNN_GELU:                                                                                                \
            t = cdf##S(b);                                                                                            \
            *y = low * t;                                                                                             \
            *d = t + b * exp##S(-b * b / 2) * 0.39894228040143267793994605993438187##S;                               \
            break;                                                                                                    \
        case FNN_GELU_TANH:                                                                                           \
            u = root * (b + 0.044715##S * b * b * b);                                                                 \
            t = sigmoid##S(u);                                                                                        \
            *y = low * t;                                                                                             \
            *d = t + b * t * sigmoid##S(-u) * root * (1 + 3 * 0.044715##S * b * b);                                   \
            break;                                                                                                    \
        case FNN_SILU: t = sigmoid##S(b); *y = low * t; *d = t + b * t * sigmoid##S(-b); break;                       \
        case FNN_EXPONENTIAL: *y = *d = exp##S(x); break;                                                             \
        case FNN_RELU6: *y = fmax##S(0, fmin##S(6, x)); *d = x > 0 && x < 6; break;                                   \
        case FNN_GENERAL_RELU:                                                                                        \
            *y = x > (R)p[2] ? fmax##S(0, fmin##S((R)p[1], x)) : (R)p[0] * (x - (R)p[2]);                             \
            *d = x > (R)p[2] ? x > 0 && x < (R)p[1] : (R)p[0];                                                        \
            break;                                                                                                    \
        case FNN_MISH:                                                                                                \
            u = fmax##S(0, b) + log1p##S(exp##S(-fabs##S(b)));                                                        \
            t = tanh##S(u);                                                                                           \
            c = 1 / cosh##S(u);                                                                                       \
            *y = low * t;                                                                                             \
            *d = t + b * c * c * sigmoid##S(b);                                                                       \
            break;                                                                                                    \
        case FNN_SOFTSIGN:                                                                                            \
            *d = 1 / ((1 + fabs##S(x)) * (1 + fabs##S(x)));                                                           \
            *y = isinf(x) ? (x < 0 ? -1 : 1) : x / (1 + fabs##S(x));                                                  \
            break;                                                                                                    \
        case FNN_HARD_SIGMOID: *y = fmax##S(0, fmin##S(6, x + 3)) / 6; *d = fabs##S(x) < 3 ? (R)1 / 6 : 0; break;     \
        case FNN_HARD_SILU:                                                                                           \
            *y = low * fmax##S(0, fmin##S(6, b + 3)) / 6;                                                             \
            *d = fabs##S(x) < 3 ? (2 * x + 3) / 6 : x >= 3;                                                           \
            break;                                                                                                    \
        case LOG: *y = log##S(x); *d = 0; break;                                                                      \
        case LOG1P: *y = log1p##S(x); *d = 0; break;                                                                  \
        case COS: *y = cos##S(x); *d = -sin##S(x); break;                                                             \
        default: *y = cdf##S(x); *d = exp##S(-b * b / 2) * 0.39894228040143267793994605993438187##S; break;           \
        }                                                                                                             \
    }

#ifdef FNN_DOUBLE
#include <quadmath.h>
typedef __float128 wide;
typedef uint64_t bits;
DEFINE_REFERENCE(__float128, q)
#define DIGITS 53
#define LOWEST_EXPONENT -1022
#else
typedef double wide;
typedef uint32_t bits;
DEFINE_REFERENCE(double, )
DEFINE_REFERENCE(long double, l)
#define DIGITS 24
#define LOWEST_EXPONENT -126
#endif

static const struct {
    const char *name;
    int kind;
    double parameters[3];
    double low, high; /* the arguments that kernels pass */
} functions[] = {
    {"exp", FNN_EXPONENTIAL, {0}, -INFINITY, INFINITY},
    {"log", LOG, {0}, 0x1p-126, 0x1.fffffep127},
    {"log1p", LOG1P, {0}, 0, 1},
    {"normal_cdf", NORMAL_CDF, {0}, -60, 60},
    {"cos", COS, {0}, -MOST_ANGLE, MOST_ANGLE},
    {"tanh", FNN_TANH, {0}, -INFINITY, INFINITY},
    {"sigmoid", FNN_SIGMOID, {0}, -INFINITY, INFINITY},
    {"softplus", FNN_SOFTPLUS, {0}, -INFINITY, INFINITY},
    {"elu", FNN_ELU, {1}, -INFINITY, INFINITY},
    {"selu", FNN_SELU, {0}, -INFINITY, INFINITY},
    {"gelu", FNN_GELU, {0}, -INFINITY, INFINITY},
    {"gelu_tanh", FNN_GELU_TANH, {0}, -INFINITY, INFINITY},
    {"silu", FNN_SILU, {0}, -INFINITY, INFINITY},
    {"mish", FNN_MISH, {0}, -INFINITY, INFINITY},
    {"softsign", FNN_SOFTSIGN, {0}, -INFINITY, INFINITY},
    {"hard_sigmoid", FNN_HARD_SIGMOID, {0}, -INFINITY, INFINITY},
    {"hard_silu", FNN_HARD_SILU, {0}, -INFINITY, INFINITY},
    {"relu", FNN_RELU, {0}, -INFINITY, INFINITY},
    {"leaky_relu", FNN_LEAKY_RELU, {0.2}, -INFINITY, INFINITY},
    {"relu6", FNN_RELU6, {0}, -INFINITY, INFINITY},
    {"general_relu", FNN_GENERAL_RELU, {0.1, 6, -0.3}, -INFINITY, INFINITY},
};

static void reference(int kind, const double *parameters, real x, wide *y, wide *d) {
#ifdef FNN_DOUBLE
    exactq(kind, parameters, x, y, d);
#else
    exact(kind, parameters, x, y, d);
    /* near a zero of the derivative of GELU and the like its terms cancel in float64 */
    if (x < -0.7f && x > -1.5f && fabs(*d) < 1e-4) {
        long double value, slope;
        exactl(kind, parameters, x, &value, &slope);
        *d = (double)slope;
    }
#endif
}

typedef struct {
    double error;
    real x;
} worst;

/* The exponent of x, but at least `least`. */
static inline int exponent_of(double x, int least) {
    uint64_t pattern;
    memcpy(&pattern, &x, sizeof pattern);
    const int exponent = (int)(pattern >> 52 & 0x7ff) - 1023;
    return exponent < least ? least : exponent;
}

/* The error in spacings of `real` at the true result, or at 2^least if that is larger. */
static inline double error_of(real got, wide truth, int least) {
    const wide largest = (wide)0x1p127 * (DIGITS == 24 ? 2 : (wide)0x1p897);
    wide value = got;
    if (truth != truth || value != value) return truth != truth && value != value ? 0 : INFINITY;
    value = value > largest ? largest : value < -largest ? -largest : value;
    truth = truth > largest ? largest : truth < -largest ? -largest : truth;
    const wide difference = value > truth ? value - truth : truth - value;
    const int scale = DIGITS - 1 - exponent_of((double)truth, least);
#ifdef FNN_DOUBLE
    return (double)scalbnq(difference, scale);
#else
    const uint64_t pattern = (uint64_t)(scale + 1023) << 52;
    double factor;
    memcpy(&factor, &pattern, sizeof factor);
    return difference * factor;
#endif
}

/* float64 has no wider type to work in. So results below 2^-960 (1e-289) count as 2^-960, which leaves out underflow, and
 * the derivatives of GELU and the like near their zeros count as 1/8, the size of the terms that cancel. */
static inline int least_exponent(int is_slope, real x) {
    if (sizeof(real) == 4) return LOWEST_EXPONENT;
    return is_slope && x > (real)-1.5 && x < (real)-0.5 ? -3 : -960;
}

/* Y = f(X), D = f'(X) of the kernels. */
static void evaluate(int kind, const double *parameters, real *Y, real *D, const real *X, ptrdiff_t n) {
    if (kind < FNN_ACTIVATIONS) {
        activate(Y, D, X, n, kind, parameters);
        return;
    }
    for (ptrdiff_t i = 0; i < n; i += DLANES) {
        const dvec x = d_load(X + i);
        dvec y, d = d_set(0);
        if (kind == LOG)
            y = d_log(x);
        else if (kind == LOG1P)
            y = d_log1p(x);
        else if (kind == COS) {
            d_cos_sin(x, &y, &d);
            d = -d;
        } else
            d_normal(x, &d, &y);
        d_store(Y + i, y);
        d_store(D + i, d);
    }
}

#define BLOCK 4096

/* Input i of `count`. float64: spread over all bit patterns, every other input over 2^-12 <= |x| < 2^12. */
static inline real input(uint64_t i, uint64_t count) {
#ifdef FNN_DOUBLE
    (void)count;
    bits pattern = i * 0x9e3779b97f4a7c15u;
    if (i & 1) pattern = (pattern & 0x800fffffffffffffu) | (1011 + (pattern >> 52) % 24) << 52;
#else
    const bits pattern = (bits)(i * (0x100000000u / count));
#endif
    real x;
    memcpy(&x, &pattern, sizeof x);
    return x;
}

/* The largest errors of function f over `count` inputs. */
static void sweep(int f, uint64_t count, worst *value, worst *slope) {
    const int kind = functions[f].kind;
    const double *parameters = functions[f].parameters;
#pragma omp parallel
    {
        worst v = {0, 0}, s = {0, 0};
#pragma omp for schedule(dynamic, 64)
        for (uint64_t block = 0; block < count / BLOCK; block++) {
            real X[BLOCK], Y[BLOCK], D[BLOCK];
            for (uint64_t i = 0; i < BLOCK; i++) {
                X[i] = input(block * BLOCK + i, count);
                /* every function gets NaN */
                if (X[i] < functions[f].low || X[i] > functions[f].high) X[i] = (real)functions[f].high;
            }
            evaluate(kind, parameters, Y, D, X, BLOCK);
            for (int i = 0; i < BLOCK; i++) {
                wide y, d;
                reference(kind, parameters, X[i], &y, &d);
                if (X[i] != X[i]) y = X[i];
                const double of_value = error_of(Y[i], y, least_exponent(0, X[i]));
                const double of_slope = X[i] != X[i] ? 0 : error_of(D[i], d, least_exponent(1, X[i]));
                if (of_value > v.error) v = (worst){of_value, X[i]};
                if (of_slope > s.error) s = (worst){of_slope, X[i]};
            }
        }
#pragma omp critical
        {
            if (v.error > value->error) *value = v;
            if (s.error > slope->error) *slope = s;
        }
    }
}

static int is_known(const char *name) {
    for (int f = 0; f < COUNT(functions); f++)
        if (!strcmp(name, functions[f].name)) return 1;
    return 0;
}

/* Arguments: the number of inputs, a power of two from 2^12 to 2^32, then names of functions (none: all). */
int main(int argc, char **argv) {
    const uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 0) : 0;
    if (count < BLOCK || count > 0x100000000u || count & (count - 1)) return 1;
    for (int i = 2; i < argc; i++)
        if (!is_known(argv[i])) {
            fprintf(stderr, "unknown function %s\n", argv[i]);
            return 1;
        }
    printf("| function | value | at | derivative | at |\n| --- | --- | --- | --- | --- |\n");
    for (int f = 0; f < COUNT(functions); f++) {
        int wanted = argc <= 2;
        for (int i = 2; i < argc; i++) wanted |= !strcmp(argv[i], functions[f].name);
        if (!wanted) continue;
        worst value = {0, 0}, slope = {0, 0};
        sweep(f, count, &value, &slope);
        printf("| %s | %.3f | %.9g | %.3f | %.9g |\n", functions[f].name, value.error, (double)value.x, slope.error,
               (double)slope.x);
        fflush(stdout);
    }
    return 0;
}
