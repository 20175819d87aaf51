/* Threads: the only file with OpenMP.
 *
 * Design:
 * a) One parallel region per call; phases inside it meet at our own barrier, which spins for a bounded time and then
 *    yields: 0.2-0.4 us per step faster than `omp barrier`, and harmless when a core is taken away.
 * b) Every thread runs with the default floating-point environment and the caller's is restored, and so do the
 *    functions of arrays: rounding mode, FTZ and DAZ set by other libraries change no bit here.
 * c) Where a neighbour takes a core away, every barrier waits for the scheduler: milliseconds for steps of microseconds.
 *    A team that has waited longer than it has worked is sent home, and calls run on one thread for a while.
 *    Small steps can be slower on several threads even where each has its processor: what a barrier and a cache line of
 *    another core cost depends on where the system, or the host of a virtual machine, runs the threads. So the time of
 *    training steps on fewer and on more threads is measured now and then, and the faster number is used.
 * d) Some schedulers wake a thread on the processor of the one that woke it and move it only milliseconds later, longer
 *    than most calls take. So where the threads had gone to sleep, the first one lets the others begin, and who finds
 *    itself on the first one's processor moves away.
 * e) A forked child has no threads of its parent's team and the runtime would wait for them: it runs on one thread,
 *    which gives the same bits. */

#define _GNU_SOURCE
#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "engine.h"

/* About 25 us; a barrier of a step in balance takes less than one. */
#define SPINS 2000

/* A team is crowded when it has waited beyond the spins for this long, and for this part of the time. */
#define CROWDED_AFTER_NS 8000000
#define CROWDED_PART 0.6
/* How long calls then run on one thread; twice as long each time that it was not long enough. */
#define ALONE_NS 32000000
#define ALONE_NS_MAX 512000000

static _Atomic int64_t alone_until, alone_for; /* monotonic clock; nanoseconds */
static atomic_int forked;
static pthread_once_t fork_hook = PTHREAD_ONCE_INIT;
static void note_fork(void) { atomic_store(&forked, 1); }
static void install_fork_hook(void) { pthread_atfork(NULL, NULL, note_fork); }

#if defined(__x86_64__)
uint64_t fnn_environment_enter(void) {
    const unsigned old = _mm_getcsr();
    _mm_setcsr(0x1f80);
    return old;
}
void fnn_environment_leave(uint64_t old) { _mm_setcsr((unsigned)old); }
static void pause_spin(void) { _mm_pause(); }
#elif defined(__aarch64__)
uint64_t fnn_environment_enter(void) {
    uint64_t old;
    __asm__ volatile("mrs %0, fpcr" : "=r"(old));
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)0));
    return old;
}
void fnn_environment_leave(uint64_t old) { __asm__ volatile("msr fpcr, %0" : : "r"(old)); }
static void pause_spin(void) { __asm__ volatile("yield"); }
#else
uint64_t fnn_environment_enter(void) { return 0; }
void fnn_environment_leave(uint64_t old) { (void)old; }
static void pause_spin(void) {}
#endif

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

/* More threads than processors wait for each other by the caller's choice. */
static int leave_team(int64_t waited, int64_t started, int members) {
    const int64_t now = fnn_clock_ns();
    if ((double)waited < CROWDED_PART * (double)(now - started) || members > fnn_processors()) return 0;
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

/* Threads that have had nothing to do for this long sleep. */
#define ASLEEP_NS 1000000
/* The first thread waits for the others to begin: while it spins, then while others may run on its processor. */
#define BEGIN_NS 300000
static _Atomic int64_t last_end; /* of a call on several threads, on the monotonic clock */

static int this_processor(void) {
#if defined(__linux__)
    return sched_getcpu();
#else
    return -1;
#endif
}

/* Moves this thread from a processor to another of those that it may run on, where each of the team can have its own. */
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

static void begin_together(int thread, int members, int first, atomic_int *present) {
    if (thread) {
        if (this_processor() == first) leave_processor(first, members);
        atomic_fetch_add_explicit(present, 1, memory_order_relaxed);
        return;
    }
    for (int spins = 0; spins < SPINS; spins++) {
        if (atomic_load_explicit(present, memory_order_relaxed) == members - 1) return;
        pause_spin();
    }
    const int64_t until = fnn_clock_ns() + BEGIN_NS;
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
        if (first >= 0) begin_together(omp_get_thread_num(), members, first, &present);
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

void fnn_share(ptrdiff_t count, int thread, int n_threads, ptrdiff_t *first, ptrdiff_t *last) {
    *first = 0;
    *last = count;
    if (n_threads == 1) return; /* divisions cost as much as the smallest products */
    const ptrdiff_t each = count / n_threads, more = count % n_threads;
    *first = thread * each + (thread < more ? thread : more);
    *last = *first + each + (thread < more);
}

/* A second thread costs two barriers, about a microsecond with its wake-up: below 100,000 operations one is faster. */
#define OPERATIONS_PER_THREAD 50e3

int fnn_threads_for(double operations, ptrdiff_t parts, int n_threads) {
    double most = operations / OPERATIONS_PER_THREAD;
    if (most < 2 || parts < 2) return 1;
    int n = n_threads;
    if (most < n) n = (int)most;
    return parts < n ? (int)parts : n;
}

/* ---- trials of more and of fewer threads ---- */

/* Smaller steps begin on one thread. */
#define TRIED_OPERATIONS 5e6
/* Of a leg, about 200 us; legs before the first trial, which a short fit does not live to see, and between trials,
 * which cost less than 1 % then. */
#define LEG_OPERATIONS 1e7
#define LEGS_BEFORE 10
#define LEGS_BETWEEN 300
/* After the first one, twice as many each time: processors that had nothing to do are slow at first. */
#define LEGS_BETWEEN_FIRST 30
/* Between samples of one leg. So many slower than this times the other number in the last trial bring the next one. */
#define LEGS_OF_STRETCH 9
#define SLOW_SAMPLES 3
#define SLOWER 1.25
/* Legs on each number of threads in a trial, of which the fastest counts: the first one wakes threads up. */
#define LEGS 3
/* The other number of threads must be this much faster. */
#define GAIN 0.97

void fnn_choice_start(fnn_choice *c, int most, double operations) {
    *c = (fnn_choice){.most = most, .used = most};
    if (most == 1 || operations >= TRIED_OPERATIONS) return;
    c->used = 1; /* the shortest fits end before threads are made */
    c->leg = (ptrdiff_t)(1 + LEG_OPERATIONS / (operations + 1e5));
    c->wait = LEGS_BEFORE * c->leg;
    c->least[1] = INT64_MAX;
}

int fnn_choice_threads(const fnn_choice *c) { return c->legs > LEGS ? c->other : c->used; }

ptrdiff_t fnn_choice_steps(const fnn_choice *c) {
    if (!c->leg) return PTRDIFF_MAX;
    if (c->legs || c->stretch <= 0) return c->leg;
    return c->stretch < c->wait ? c->stretch : c->wait;
}

/* First all, then half as many and twice as many in turn. */
static int other_threads(const fnn_choice *c) {
    if (!c->other) return c->most;
    const int more = 2 * c->used < c->most ? 2 * c->used : c->most, fewer = (c->used + 1) / 2;
    return c->used == c->most || (c->used > 1 && c->other >= c->used) ? fewer : more;
}

/* Whether the next trial is due. */
static int is_due(fnn_choice *c, ptrdiff_t steps, int64_t nanoseconds) {
    if (c->stretch > 0) {
        c->stretch -= steps;
    } else {
        c->slow = (double)(nanoseconds / steps) > SLOWER * (double)c->least[1] ? c->slow + 1 : 0;
        c->stretch = LEGS_OF_STRETCH * c->leg;
    }
    c->wait -= steps;
    return c->wait <= 0 || c->slow == SLOW_SAMPLES;
}

void fnn_choice_note(fnn_choice *c, ptrdiff_t steps, int64_t nanoseconds) {
    if (!c->leg || !steps) return;
    if (!c->legs) {
        if (!is_due(c, steps, nanoseconds)) return;
        c->other = other_threads(c);
        c->legs = 2 * LEGS;
        c->between = !c->between ? LEGS_BETWEEN_FIRST : 2 * c->between < LEGS_BETWEEN ? 2 * c->between : LEGS_BETWEEN;
        c->wait = c->between * c->leg;
        c->slow = 0;
        c->least[0] = c->least[1] = INT64_MAX;
        return;
    }
    const int at = c->legs > LEGS;
    if (nanoseconds / steps < c->least[at]) c->least[at] = nanoseconds / steps;
    if (--c->legs || (double)c->least[1] >= GAIN * (double)c->least[0]) return;
    const int used = c->used;
    c->used = c->other;
    c->other = used;
    c->least[1] = c->least[0];
}
