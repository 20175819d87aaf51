/* Preloaded by fault_injection.py: makes the n-th call of an allocator, of mmap or of pthread_create fail, once or from then
 * on. Calls count where they come from a range of addresses (a library), or from anywhere. Linux with the GNU C library. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ALLOCATIONS = 1, THREADS = 2 };

static atomic_int armed_kinds, forever;
static atomic_long seen, fails_at, failed;
static uintptr_t range[2];

void failing_arm(int kinds, long n, int from_then_on, uintptr_t first, uintptr_t end) {
    range[0] = first;
    range[1] = end;
    atomic_store(&seen, 0);
    atomic_store(&failed, 0);
    atomic_store(&fails_at, n);
    atomic_store(&forever, from_then_on);
    atomic_store(&armed_kinds, kinds);
}

/* The calls that counted; *n_failed: those that failed. */
long failing_disarm(long *n_failed) {
    atomic_store(&armed_kinds, 0);
    *n_failed = atomic_load(&failed);
    return atomic_load(&seen);
}

static int fails(int kind, void *caller) {
    const uintptr_t from = (uintptr_t)caller;
    if (!(atomic_load(&armed_kinds) & kind)) return 0;
    if (range[1] && (from < range[0] || from >= range[1])) return 0;
    const long call = atomic_fetch_add(&seen, 1) + 1, at = atomic_load(&fails_at);
    if (at && (call == at || (call > at && atomic_load(&forever)))) {
        atomic_fetch_add(&failed, 1);
        return 1;
    }
    return 0;
}

#define FAILS(kind) fails(kind, __builtin_return_address(0))

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

static void *none(void) {
    errno = ENOMEM;
    return NULL;
}

void *malloc(size_t n) { return FAILS(ALLOCATIONS) ? none() : __libc_malloc(n); }
void *calloc(size_t n, size_t size) { return FAILS(ALLOCATIONS) ? none() : __libc_calloc(n, size); }
void *realloc(void *old, size_t n) { return FAILS(ALLOCATIONS) ? none() : __libc_realloc(old, n); }
void *aligned_alloc(size_t to, size_t n) { return FAILS(ALLOCATIONS) ? none() : __libc_memalign(to, n); }

int posix_memalign(void **out, size_t to, size_t n) {
    if (FAILS(ALLOCATIONS)) return ENOMEM;
    *out = __libc_memalign(to, n);
    return *out ? 0 : ENOMEM;
}

void *mmap(void *at, size_t n, int protection, int flags, int file, off_t offset) {
    if (FAILS(ALLOCATIONS)) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return (void *)syscall(SYS_mmap, at, n, protection, flags, file, offset);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument) {
    static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
    return FAILS(THREADS) ? EAGAIN : real(thread, attributes, start, argument);
}
