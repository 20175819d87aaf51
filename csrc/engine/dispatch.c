/* Kernel tables by instruction set. */

#include <string.h>

#include "../fnn.h"

/* Slowest first: X(name, condition on the CPU). CMakeLists.txt compiles csrc/kernels for each of them. */
#if defined(__x86_64__)
#define BUILT(X)   \
    X(scalar, 1)   \
    X(baseline, 1) \
    X(avx2, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) \
    X(avx512, __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && \
                  __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
/* AVX-512 is taken only by name (FASTNN_ISA) until it has been run on enough machines. */
#define DEFAULT_ISA (fnn_find_kernels("avx2", FNN_F32) ? "avx2" : "baseline")
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

const char *fnn_default_isa(void) { return DEFAULT_ISA; }
