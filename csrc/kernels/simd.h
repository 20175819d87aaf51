/* The vector types and their operations: the file that differs between instruction sets (with MULTIPLY_LOW, dropout_tpl.h).
 *
 * FNN_ISA_<NAME> and FNN_DOUBLE choose the build; without the former, as in an editor, it is the scalar one. `real` is
 * the element type, `vec` LANES of them; `dvec` is DLANES doubles, the working type of transcendental functions in both
 * builds. */
#ifndef FNN_SIMD_H
#define FNN_SIMD_H

#include <stdint.h>
#include <string.h>

#if defined(FNN_ISA_AVX2) || defined(FNN_ISA_AVX512)
#include <immintrin.h>
#elif defined(FNN_ISA_NEON)
#include <arm_neon.h>
#endif

#ifdef FNN_DOUBLE
typedef double real;
typedef int64_t ireal;
#define REAL_BYTES 8
#else
typedef float real;
typedef int32_t ireal;
#define REAL_BYTES 4
#endif

#if defined(FNN_ISA_BASELINE)
#define FNN_ISA_NAME baseline
#define VBYTES 16
#define MR 2
#elif defined(FNN_ISA_AVX2)
#define FNN_ISA_NAME avx2
#define VBYTES 32
#define MR 6
#elif defined(FNN_ISA_AVX512)
#define FNN_ISA_NAME avx512
#define VBYTES 64
#define MR 16
#elif defined(FNN_ISA_NEON)
#define FNN_ISA_NAME neon
#define VBYTES 16
#define MR 6
#else
#ifndef FNN_ISA_SCALAR
#define FNN_ISA_SCALAR
#endif
#define FNN_ISA_NAME scalar
#define VBYTES 16
#define MR 6
#endif

#define LANES (VBYTES / REAL_BYTES)
#define DLANES (VBYTES / 8)
/* Rows of a panel, outputs of a weight panel: 64 bytes on every instruction set, so that layouts agree. */
#define PANEL (64 / REAL_BYTES)
/* A panel in vectors, and in vectors of doubles. */
#define NV (64 / VBYTES)
#define GROUPS (PANEL / DLANES)
/* A function is a long chain of dependent operations. A processor looks too few instructions ahead to overlap it with the
 * next one, so CHAINS of them are computed at once and table.c has GCC interleave them. The portable builds stay small. */
#if defined(FNN_ISA_SCALAR)
#define CHAINS 1
#elif defined(FNN_ISA_BASELINE)
#define CHAINS 2
#else
#define CHAINS 4
#endif
/* Groups of a panel that are computed at once. */
#define SIDE (GROUPS < CHAINS ? GROUPS : CHAINS)
#if NV > 1
#define NARROW (PANEL / 2)
#define NV_NARROW (NV / 2)
#else
#define NARROW PANEL
#define NV_NARROW NV
#endif

typedef real vec __attribute__((vector_size(VBYTES), may_alias));
typedef ireal ivec __attribute__((vector_size(VBYTES), may_alias));
typedef double dvec __attribute__((vector_size(VBYTES), may_alias));
typedef int64_t lvec __attribute__((vector_size(VBYTES), may_alias));
typedef uint64_t ulvec __attribute__((vector_size(VBYTES), may_alias));
typedef vec vec_unaligned __attribute__((aligned(1)));
typedef dvec dvec_unaligned __attribute__((aligned(1)));
#ifndef FNN_DOUBLE
typedef float half_vec __attribute__((vector_size(VBYTES / 2), may_alias));
typedef half_vec half_vec_unaligned __attribute__((aligned(1)));
#endif

static inline vec v_load(const real *p) { return *(const vec_unaligned *)p; }
static inline void v_store(real *p, vec a) { *(vec_unaligned *)p = a; }
static inline vec v_set(real a) { return a - (vec){0}; }
static inline dvec d_set(double a) { return a - (dvec){0}; }

#define UNROLL _Pragma("GCC unroll 16")

/* a * b + c in one rounding (the baseline rounds twice), and the square root */
#if defined(FNN_ISA_AVX2)
#define FMA_PS _mm256_fmadd_ps
#define FMA_PD _mm256_fmadd_pd
#define SQRT_PS _mm256_sqrt_ps
#define SQRT_PD _mm256_sqrt_pd
#define MAX_PS _mm256_max_ps
#define MAX_PD _mm256_max_pd
#define MIN_PD _mm256_min_pd
#define WIDEN(p) _mm256_cvtps_pd(_mm_loadu_ps(p))
#elif defined(FNN_ISA_AVX512) && defined(__AVX512F__) /* else lowered by the compiler: to test the template elsewhere */
#define FMA_PS _mm512_fmadd_ps
#define FMA_PD _mm512_fmadd_pd
#define SQRT_PS _mm512_sqrt_ps
#define SQRT_PD _mm512_sqrt_pd
#define MAX_PS _mm512_max_ps
#define MAX_PD _mm512_max_pd
#define MIN_PD _mm512_min_pd
#define WIDEN(p) _mm512_cvtps_pd(_mm256_loadu_ps(p))
#endif

#ifdef FNN_DOUBLE
static inline dvec d_load(const real *p) { return *(const dvec_unaligned *)p; }
static inline void d_store(real *p, dvec a) { *(dvec_unaligned *)p = a; }
#else
#ifdef WIDEN /* GCC 12 makes four instructions of the conversion */
static inline dvec d_load(const real *p) { return (dvec)WIDEN(p); }
#else
static inline dvec d_load(const real *p) { return __builtin_convertvector(*(const half_vec_unaligned *)p, dvec); }
#endif
static inline void d_store(real *p, dvec a) { *(half_vec_unaligned *)p = __builtin_convertvector(a, half_vec); }
#endif
static inline dvec d_load_double(const double *p) { return *(const dvec_unaligned *)p; }
static inline void d_store_double(double *p, dvec a) { *(dvec_unaligned *)p = a; }

#ifdef FMA_PD
static inline dvec d_fma(dvec a, dvec b, dvec c) { return (dvec)FMA_PD(a, b, c); }
#ifdef FNN_DOUBLE
static inline vec v_fma(vec a, vec b, vec c) { return (vec)FMA_PD(a, b, c); }
static inline vec v_sqrt(vec a) { return (vec)SQRT_PD(a); }
static inline vec v_max(vec a, vec b) { return (vec)MAX_PD(a, b); }
#else
static inline vec v_fma(vec a, vec b, vec c) { return (vec)FMA_PS(a, b, c); }
static inline vec v_sqrt(vec a) { return (vec)SQRT_PS(a); }
static inline vec v_max(vec a, vec b) { return (vec)MAX_PS(a, b); }
#endif
#else

#if defined(FNN_ISA_NEON)
static inline dvec d_fma(dvec a, dvec b, dvec c) {
    return (dvec)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
}
#ifdef FNN_DOUBLE
static inline vec v_fma(vec a, vec b, vec c) { return (vec)d_fma((dvec)a, (dvec)b, (dvec)c); }
#else
static inline vec v_fma(vec a, vec b, vec c) {
    return (vec)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
#endif
#elif defined(FNN_ISA_BASELINE)
static inline dvec d_fma(dvec a, dvec b, dvec c) { return a * b + c; }
static inline vec v_fma(vec a, vec b, vec c) { return a * b + c; }
#else
static inline dvec d_fma(dvec a, dvec b, dvec c) {
    for (int i = 0; i < DLANES; i++) c[i] = __builtin_fma(a[i], b[i], c[i]);
    return c;
}
static inline vec v_fma(vec a, vec b, vec c) {
#ifdef FNN_DOUBLE
    for (int i = 0; i < LANES; i++) c[i] = __builtin_fma(a[i], b[i], c[i]);
#else
    for (int i = 0; i < LANES; i++) c[i] = __builtin_fmaf(a[i], b[i], c[i]);
#endif
    return c;
}
#endif
static inline vec v_sqrt(vec a) {
    for (int i = 0; i < LANES; i++)
        a[i] = sizeof(real) == 4 ? (real)__builtin_sqrtf((float)a[i]) : (real)__builtin_sqrt((double)a[i]);
    return a;
}
/* a > b ? a : b; b where either is NaN */
static inline vec v_max(vec a, vec b) {
    ivec m = a > b;
    return (vec)((m & (ivec)a) | (~m & (ivec)b));
}
#endif

static inline vec v_select(ivec m, vec a, vec b) { return (vec)((m & (ivec)a) | (~m & (ivec)b)); }
static inline vec v_abs(vec a) { return (vec)((ivec)a & ~(ivec)v_set((real)-0.0)); }
static inline dvec d_select(lvec m, dvec a, dvec b) { return (dvec)((m & (lvec)a) | (~m & (lvec)b)); }
static inline dvec d_abs(dvec a) { return (dvec)((lvec)a & ~(lvec)d_set(-0.0)); }
/* the sign of b on the magnitude a >= 0 */
static inline dvec d_copysign(dvec a, dvec b) { return (dvec)((lvec)a | ((lvec)b & (lvec)d_set(-0.0))); }
/* both keep b where either is NaN */
#ifdef MIN_PD
static inline dvec d_max(dvec a, dvec b) { return (dvec)MAX_PD(a, b); }
static inline dvec d_min(dvec a, dvec b) { return (dvec)MIN_PD(a, b); }
#else
static inline dvec d_max(dvec a, dvec b) { return d_select(a > b, a, b); }
static inline dvec d_min(dvec a, dvec b) { return d_select(a < b, a, b); }
#endif

/* In place: r[i][j] becomes r[j][i]. Each stage exchanges the off-diagonal blocks of twice the size. */
#define EXCHANGE(i, j, LOW, HIGH)                                       \
    {                                                                   \
        vec low = __builtin_shufflevector(r[i], r[j], LOW);             \
        r[j] = __builtin_shufflevector(r[i], r[j], HIGH);               \
        r[i] = low;                                                     \
    }
static inline __attribute__((always_inline)) void v_transpose(vec *r) {
#if VBYTES == 16 && defined(FNN_DOUBLE)
#define LOW_1 0, 2
#define HIGH_1 1, 3
    EXCHANGE(0, 1, LOW_1, HIGH_1)
#elif VBYTES == 16 || (VBYTES == 32 && defined(FNN_DOUBLE))
#define LOW_1 0, 4, 2, 6
#define HIGH_1 1, 5, 3, 7
#define LOW_2 0, 1, 4, 5
#define HIGH_2 2, 3, 6, 7
    EXCHANGE(0, 1, LOW_1, HIGH_1)
    EXCHANGE(2, 3, LOW_1, HIGH_1)
    EXCHANGE(0, 2, LOW_2, HIGH_2)
    EXCHANGE(1, 3, LOW_2, HIGH_2)
#elif VBYTES == 32 || defined(FNN_DOUBLE)
/* unpack, unpack, exchange halves: 24 shuffles of one instruction each */
#define LOW_1 0, 8, 1, 9, 4, 12, 5, 13
#define HIGH_1 2, 10, 3, 11, 6, 14, 7, 15
#define LOW_2 0, 1, 8, 9, 4, 5, 12, 13
#define HIGH_2 2, 3, 10, 11, 6, 7, 14, 15
#define LOW_4 0, 1, 2, 3, 8, 9, 10, 11
#define HIGH_4 4, 5, 6, 7, 12, 13, 14, 15
    EXCHANGE(0, 1, LOW_1, HIGH_1)
    EXCHANGE(2, 3, LOW_1, HIGH_1)
    EXCHANGE(4, 5, LOW_1, HIGH_1)
    EXCHANGE(6, 7, LOW_1, HIGH_1)
    EXCHANGE(0, 2, LOW_2, HIGH_2)
    EXCHANGE(1, 3, LOW_2, HIGH_2)
    EXCHANGE(4, 6, LOW_2, HIGH_2)
    EXCHANGE(5, 7, LOW_2, HIGH_2)
    const vec swap_1 = r[1], swap_5 = r[5];
    r[1] = r[2];
    r[2] = swap_1;
    r[5] = r[6];
    r[6] = swap_5;
    EXCHANGE(0, 4, LOW_4, HIGH_4)
    EXCHANGE(1, 5, LOW_4, HIGH_4)
    EXCHANGE(2, 6, LOW_4, HIGH_4)
    EXCHANGE(3, 7, LOW_4, HIGH_4)
#else
/* unpack, unpack, then rows of four lanes: 64 shuffles, none of which overwrites an operand */
#define LOW_1 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29
#define HIGH_1 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31
#define LOW_2 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29
#define HIGH_2 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31
#define EVEN_LANES 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27
#define ODD_LANES 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31
    UNROLL for (int i = 0; i < 16; i += 4) { /* r[i + c]: column c of each lane */
        EXCHANGE(i, i + 1, LOW_1, HIGH_1)
        EXCHANGE(i + 2, i + 3, LOW_1, HIGH_1)
        EXCHANGE(i, i + 2, LOW_2, HIGH_2)
        EXCHANGE(i + 1, i + 3, LOW_2, HIGH_2)
        const vec swap = r[i + 1];
        r[i + 1] = r[i + 2];
        r[i + 2] = swap;
    }
    UNROLL for (int c = 0; c < 4; c++) {
        EXCHANGE(c, c + 4, EVEN_LANES, ODD_LANES)
        EXCHANGE(c + 8, c + 12, EVEN_LANES, ODD_LANES)
        EXCHANGE(c, c + 8, EVEN_LANES, ODD_LANES)
        EXCHANGE(c + 4, c + 12, EVEN_LANES, ODD_LANES)
    }
#endif
}

#endif
