/* Kernel tables by instruction set. */

#include <string.h>

#include "../fnn.h"

#define DECLARE(isa) extern const fnn_kernels fnn_kernels_##isa##_f32, fnn_kernels_##isa##_f64;
DECLARE(scalar)
#if defined(__x86_64__)
DECLARE(baseline)
DECLARE(avx2)
DECLARE(avx512)
#elif defined(__aarch64__)
DECLARE(neon)
#endif

/* slowest first */
const char *const fnn_isa_names[] = {"scalar", "baseline", "avx2", "avx512", "neon", NULL};

const fnn_kernels *fnn_find_kernels(const char *isa, int dtype) {
#define TRY(name, supported) \
    if (!strcmp(isa, #name)) return (supported) ? (dtype == FNN_F32 ? &fnn_kernels_##name##_f32 : &fnn_kernels_##name##_f64) : NULL;
    TRY(scalar, 1)
#if defined(__x86_64__)
    TRY(baseline, 1)
    TRY(avx2, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    TRY(avx512, __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                    __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
#elif defined(__aarch64__)
    TRY(neon, 1)
#endif
    return NULL;
}

/* AVX-512 is taken only by name (FASTNN_ISA) until it has been run on enough machines. */
const char *fnn_default_isa(void) {
#if defined(__x86_64__)
    return fnn_find_kernels("avx2", FNN_F32) ? "avx2" : "baseline";
#elif defined(__aarch64__)
    return "neon";
#else
    return "scalar";
#endif
}
