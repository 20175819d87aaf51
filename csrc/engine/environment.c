/* The floating-point environment: the rounding mode, FTZ and DAZ that other libraries set change no bit here. */

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "engine.h"

#if defined(__x86_64__)
uint64_t fnn_environment_enter(void) {
    const unsigned old = _mm_getcsr();
    _mm_setcsr(0x1f80);
    return old;
}

void fnn_environment_leave(uint64_t old) { _mm_setcsr((unsigned)old); }
#elif defined(__aarch64__)
uint64_t fnn_environment_enter(void) {
    uint64_t old;
    __asm__ volatile("mrs %0, fpcr" : "=r"(old));
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)0));
    return old;
}

void fnn_environment_leave(uint64_t old) { __asm__ volatile("msr fpcr, %0" : : "r"(old)); }
#else
uint64_t fnn_environment_enter(void) { return 0; }

void fnn_environment_leave(uint64_t old) { (void)old; }
#endif
