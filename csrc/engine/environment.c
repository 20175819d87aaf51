/* The floating-point environment: the rounding mode, FTZ and DAZ that other libraries set change no bit here. */

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "engine.h"

#if defined(__x86_64__)
/* The x87 unit has its own rounding mode: LAPACK's norms, which NumPy calls, are computed there. */
#define SSE_DEFAULT 0x1f80u
#define X87_DEFAULT 0x037fu

static void set_x87(uint16_t control) { __asm__ volatile("fldcw %0" : : "m"(control)); }

uint64_t fnn_environment_enter(void) {
    uint16_t control;
    const unsigned old = _mm_getcsr();
    __asm__ volatile("fnstcw %0" : "=m"(control));
    _mm_setcsr(SSE_DEFAULT);
    if (control != X87_DEFAULT) set_x87(X87_DEFAULT);
    return (uint64_t)control << 32 | old;
}

void fnn_environment_leave(uint64_t old) {
    const uint16_t control = (uint16_t)(old >> 32);
    _mm_setcsr((unsigned)old);
    if (control != X87_DEFAULT) set_x87(control);
}
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
