/* Threads of a call: a team that runs one function, its barrier, and each thread's share of the work. */
#ifndef FNN_TEAM_H
#define FNN_TEAM_H

#include <stdatomic.h>

#include "../fnn.h"

/* Holds each member until all `members` have arrived; they spin for a bounded time, then yield. */
typedef struct {
    _Alignas(64) atomic_int arrived;
    _Alignas(64) atomic_uint generation;
    _Alignas(64) atomic_int members;
    int64_t started;        /* of the call, on the monotonic clock */
    _Atomic int64_t waited; /* nanoseconds beyond the spins, of all members */
} fnn_barrier;

typedef void (*fnn_phase)(void *context, int thread, int n_threads);

/* ---- call.c ---- */

/* A call of the engine from outside. Between enter and leave this thread has the default floating-point environment, and
 * the call can be interrupted; leave returns 1 where it was. Calls nest: a signal handler may make one. */
typedef struct fnn_call {
    atomic_int interrupted;
    int64_t next_poll;    /* on the monotonic clock */
    uint64_t environment; /* the caller's */
    struct fnn_call *outer;
    int outer_thread;
} fnn_call;
void fnn_call_enter(fnn_call *call);
int fnn_call_leave(fnn_call *call);
/* From now on this thread works for a call, as its thread number `thread`. */
void fnn_call_join(fnn_call *call, int thread);
/* 1 where this call was interrupted: work that is left is skipped, barriers are not. On the calling thread it asks `poll`
 * every 50 ms. */
int fnn_interrupted(void);
void fnn_set_poll(int (*poll)(void));
/* Nanoseconds and seconds on the monotonic clock. */
int64_t fnn_clock_ns(void);
static inline double fnn_now(void) { return 1e-9 * (double)fnn_clock_ns(); }

/* ---- team.c ---- */

/* Runs phase(context, t, n) for t in 0..n-1 with n <= n_threads, as one call: returns 1 where it was interrupted. `barrier`
 * (may be NULL) is set up for n members.
 * In a forked child, inside another parallel region, where no thread can be made and while other processes use the
 * processors n is 1. The OpenMP runtime's limit on threads, where it was lowered, is kept. */
int fnn_team_run(fnn_phase phase, void *context, int n_threads, fnn_barrier *barrier);
void fnn_barrier_wait(fnn_barrier *barrier);
/* 1 where the team waits for processors that other processes use: the call should end; the next ones run on one thread. */
int fnn_barrier_is_crowded(fnn_barrier *barrier);
/* The most threads of the calls that this thread makes from now on. */
void fnn_limit_own_threads(int most);

/* The most threads of this thread's calls, by that limit or OpenMP's; INT_MAX: none. */
int fnn_thread_limit(void);
int fnn_openmp_version(void);
/* Processors that this process may run on. */
int fnn_processors(void);
/* One turn of a loop that waits for another thread. */
static inline void fnn_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* The share of `count` items that belongs to one thread. */
static inline fnn_range fnn_share(ptrdiff_t count, int thread, int n_threads) {
    if (n_threads == 1) return (fnn_range){0, count}; /* divisions cost as much as the smallest products */
    const ptrdiff_t each = count / n_threads, more = count % n_threads;
    const ptrdiff_t first = thread * each + fnn_min(thread, more);
    return (fnn_range){first, first + each + (thread < more)};
}

/* The same of a range that does not begin at 0. */
static inline fnn_range fnn_share_of(fnn_range all, int thread, int n_threads) {
    const fnn_range share = fnn_share(all.last - all.first, thread, n_threads);
    return (fnn_range){all.first + share.first, all.first + share.last};
}

/* The threads worth using for a call of `operations` floating-point operations on `items` items. */
int fnn_threads_for(double operations, ptrdiff_t items, int n_threads);

/* environment.c: sets this thread's default floating-point environment; returns what `leave` restores. */
uint64_t fnn_environment_enter(void);
void fnn_environment_leave(uint64_t old);

#endif
