/* Kernel tables by instruction set. */

#include <math.h>
#include <string.h>
#include <time.h>

#include "../fnn.h"

/* Slowest first: X(name, condition on the CPU). CMakeLists.txt compiles csrc/kernels for each of them. */
#if defined(__x86_64__)
#define BUILT(X)   \
    X(scalar, 1)   \
    X(baseline, 1) \
    X(avx2, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) \
    X(avx512, __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && \
                  __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
#define NARROW_ISA (fnn_find_kernels("avx2", FNN_F32) ? "avx2" : "baseline")
#define DEFAULT_ISA (fnn_wide_rate() >= FNN_WIDE_PAYS ? "avx512" : NARROW_ISA)
#define NOT_BUILT "neon"
#elif defined(__aarch64__)
#define BUILT(X) X(scalar, 1) X(neon, 1)
#define DEFAULT_ISA "neon"
#define NOT_BUILT "baseline", "avx2", "avx512"
#else
#define BUILT(X) X(scalar, 1)
#define DEFAULT_ISA "scalar"
#define NOT_BUILT "baseline", "avx2", "avx512", "neon"
#endif

#define DECLARE(name, supported) extern const fnn_kernels fnn_kernels_##name##_f32, fnn_kernels_##name##_f64;
BUILT(DECLARE)

#define NAME(name, supported) #name,
const char *const fnn_isa_names[] = {BUILT(NAME) NOT_BUILT, NULL};

const fnn_kernels *fnn_find_kernels(const char *isa, int dtype) {
#define TRY(name, supported)                                                          \
    if (!strcmp(isa, #name)) {                                                        \
        if (!(supported)) return NULL;                                                \
        return dtype == FNN_F32 ? &fnn_kernels_##name##_f32 : &fnn_kernels_##name##_f64; \
    }
    BUILT(TRY)
    return NULL;
}

static double seconds_of(const fnn_kernels *kernels, double *operations) {
    float sink[16] = {0};
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    *operations = kernels->fma_peak(1000, sink);
    clock_gettime(CLOCK_MONOTONIC, &end);
    return (double)(end.tv_sec - begin.tv_sec) + 1e-9 * (double)(end.tv_nsec - begin.tv_nsec);
}

double fnn_wide_rate(void) {
    static double rate = -1;
    const fnn_kernels *const wide = fnn_find_kernels("avx512", FNN_F32), *const narrow = fnn_find_kernels("avx2", FNN_F32);
    if (rate >= 0) return rate;
    if (!wide || !narrow) return rate = 0;
    double best_wide = 1, best_narrow = 1, wide_operations = 0, narrow_operations = 1;
    for (int turn = 0; turn < 25; turn++) { /* 0.1 ms; the upper halves of the units take 20 us to wake on some */
        best_wide = fmin(best_wide, seconds_of(wide, &wide_operations));
        best_narrow = fmin(best_narrow, seconds_of(narrow, &narrow_operations));
    }
    return rate = wide_operations / best_wide / (narrow_operations / best_narrow);
}

const char *fnn_default_isa(void) { return DEFAULT_ISA; }
