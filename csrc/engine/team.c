/* Threads: the only file with OpenMP.
 *
 * Design:
 * a) One parallel region per call; phases inside it meet at our own barrier, which spins for a bounded time and then
 *    yields: 0.2-0.4 us per step faster than `omp barrier`, and harmless when a core is taken away.
 * b) Every thread runs with the default floating-point environment (environment.c), and the caller's is restored.
 * c) Where another process takes a core away, every barrier waits for the scheduler: milliseconds for steps of
 *    microseconds. A team that has waited longer than it has worked is dissolved, and calls run on one thread for a while.
 * d) Some schedulers wake a thread on the processor of the thread that woke it and move it only milliseconds later, longer
 *    than most calls take. So where the threads were asleep, the first one waits until all have started, and a thread that
 *    woke on the first one's processor migrates.
 * e) A forked child has none of its parent's threads, and the OpenMP runtime would wait for them: it runs on one thread,
 *    which gives the same bits. */

#define _GNU_SOURCE
#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "team.h"

/* About 25 us; a barrier of a step in balance takes less than one. */
#define SPINS 2000

/* A team is crowded when it has waited beyond the spins for this long, and for this fraction of the time. */
#define CROWDED_AFTER_NS 8000000
#define CROWDED_FRACTION 0.6
/* How long calls then run on one thread; doubled each time that this was not long enough. */
#define ALONE_NS 32000000
#define ALONE_NS_MAX 512000000

static _Atomic int64_t alone_until, alone_for; /* monotonic clock; nanoseconds */
static atomic_int forked;
static pthread_once_t fork_hook = PTHREAD_ONCE_INIT;
static void note_fork(void) { atomic_store(&forked, 1); }
static void install_fork_hook(void) { pthread_atfork(NULL, NULL, note_fork); }

static void pause_spin(void) {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

int64_t fnn_clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int fnn_processors(void) {
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
    return omp_get_num_procs();
}

/* Dissolves the team where it waited too long. More threads than processors wait by the caller's choice. */
static int leave_team(int64_t waited, int64_t started, int members) {
    const int64_t now = fnn_clock_ns();
    if ((double)waited < CROWDED_FRACTION * (double)(now - started) || members > fnn_processors()) return 0;
    int64_t alone = 2 * atomic_load(&alone_for);
    if (now - atomic_load(&alone_until) > alone) alone = ALONE_NS;
    if (alone > ALONE_NS_MAX) alone = ALONE_NS_MAX;
    atomic_store(&alone_for, alone);
    atomic_store(&alone_until, now + alone);
    return 1;
}

int fnn_barrier_is_crowded(fnn_barrier *barrier) {
    const int64_t waited = atomic_load_explicit(&barrier->waited, memory_order_relaxed);
    return waited > CROWDED_AFTER_NS && leave_team(waited, barrier->started, barrier->members);
}

static void run_one(fnn_phase phase, void *context, int thread, int n_threads) {
    const uint64_t old = fnn_environment_enter();
    phase(context, thread, n_threads);
    fnn_environment_leave(old);
}

/* Threads that have been idle for this long sleep. */
#define ASLEEP_NS 1000000
/* The first thread waits this long for the others to start, after it has spun; they may run on its processor meanwhile. */
#define START_NS 300000
static _Atomic int64_t last_end; /* of a call on several threads, on the monotonic clock */

static int this_processor(void) {
#if defined(__linux__)
    return sched_getcpu();
#else
    return -1;
#endif
}

/* Moves this thread to another processor that it may run on, provided that each member can have its own. */
static void leave_processor(int taken, int members) {
#if defined(__linux__)
    cpu_set_t allowed, others;
    if (sched_getaffinity(0, sizeof allowed, &allowed) || CPU_COUNT(&allowed) < members) return;
    others = allowed;
    CPU_CLR((size_t)taken, &others);
    if (sched_setaffinity(0, sizeof others, &others) == 0) sched_setaffinity(0, sizeof allowed, &allowed);
#else
    (void)taken, (void)members;
#endif
}

static void start_together(int thread, int members, int first, atomic_int *present) {
    if (thread) {
        if (this_processor() == first) leave_processor(first, members);
        atomic_fetch_add_explicit(present, 1, memory_order_relaxed);
        return;
    }
    for (int spins = 0; spins < SPINS; spins++) {
        if (atomic_load_explicit(present, memory_order_relaxed) == members - 1) return;
        pause_spin();
    }
    const int64_t until = fnn_clock_ns() + START_NS;
    while (atomic_load_explicit(present, memory_order_relaxed) < members - 1 && fnn_clock_ns() < until) sched_yield();
}

void fnn_team_run(fnn_phase phase, void *context, int n_threads, fnn_barrier *barrier) {
    pthread_once(&fork_hook, install_fork_hook);
    if (barrier) {
        atomic_store(&barrier->arrived, 0);
        atomic_store(&barrier->waited, 0);
        barrier->members = 1;
    }
    if (n_threads <= 1 || atomic_load(&forked) || omp_in_parallel()) {
        run_one(phase, context, 0, 1);
        return;
    }
    const int64_t started = fnn_clock_ns();
    if (started < atomic_load(&alone_until)) {
        run_one(phase, context, 0, 1);
        return;
    }
    if (barrier) barrier->started = started;
    const int first = started - atomic_load(&last_end) > ASLEEP_NS ? this_processor() : -1;
    atomic_int present = 0;
    int64_t first_done = started;
    int team = 1;
#pragma omp parallel num_threads(n_threads)
    {
        const int members = omp_get_num_threads();
        if (barrier) atomic_store_explicit(&barrier->members, members, memory_order_relaxed); /* all threads: the same */
        if (first >= 0) start_together(omp_get_thread_num(), members, first, &present);
        run_one(phase, context, omp_get_thread_num(), members);
#pragma omp master
        {
            team = members;
            first_done = fnn_clock_ns();
        }
    }
    const int64_t end = fnn_clock_ns(), waited = end - first_done;
    atomic_store(&last_end, end);
    if (waited > CROWDED_AFTER_NS) leave_team(waited, started, team);
}

void fnn_barrier_wait(fnn_barrier *barrier) {
    const int members = atomic_load_explicit(&barrier->members, memory_order_relaxed);
    if (members == 1) return;
    const unsigned generation = atomic_load_explicit(&barrier->generation, memory_order_acquire);
    if (atomic_fetch_add_explicit(&barrier->arrived, 1, memory_order_acq_rel) == members - 1) {
        atomic_store_explicit(&barrier->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&barrier->generation, generation + 1, memory_order_release);
        return;
    }
    for (int spins = 0; spins < SPINS; spins++) {
        if (atomic_load_explicit(&barrier->generation, memory_order_acquire) != generation) return;
        pause_spin();
    }
    const int64_t since = fnn_clock_ns();
    while (atomic_load_explicit(&barrier->generation, memory_order_acquire) == generation) sched_yield();
    atomic_fetch_add_explicit(&barrier->waited, fnn_clock_ns() - since, memory_order_relaxed);
}

void fnn_team_release(void) {
#if _OPENMP >= 201811 || (defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 9)
    if (!atomic_load(&forked) && !omp_in_parallel()) omp_pause_resource_all(omp_pause_hard);
    atomic_store(&last_end, 0);
#endif
}

int fnn_openmp_version(void) { return _OPENMP; }

/* A second thread costs two barriers, about a microsecond with its wake-up: below 100,000 operations one is faster. */
#define OPERATIONS_PER_THREAD 50e3

int fnn_threads_for(double operations, ptrdiff_t items, int n_threads) {
    const double most = operations / OPERATIONS_PER_THREAD;
    if (most < 2 || items < 2) return 1;
    const int n = most < n_threads ? (int)most : n_threads;
    return (int)fnn_min(items, n);
}
