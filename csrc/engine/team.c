/* Threads: the only file that makes any.
 *
 * Design:
 * a) Each calling thread has its own workers, made when it first needs them. They wait for its calls: they spin for a
 *    bounded time and then sleep. The OpenMP runtime's threads would spin for milliseconds after each call, hang in a forked
 *    child, and end the process where no thread can be made; of that runtime only the limit on threads is used.
 * b) One call of the workers per call of the engine; phases inside it meet at a barrier, which spins for a bounded time and
 *    then yields.
 * c) Where a thread cannot be made, a call runs on those that there are. The bits are the same.
 * d) Every thread runs with the default floating-point environment (environment.c), and the caller's is restored.
 * e) Where another process takes a core away, every barrier waits for the scheduler: milliseconds for steps of
 *    microseconds. A team that has waited longer than it has worked is dissolved, and calls run on one thread for a while.
 * f) Some schedulers wake a thread on the processor of the thread that woke it and move it only milliseconds later, longer
 *    than most calls take. So where the threads were asleep, the first one waits until all have started, and a thread that
 *    woke on the first one's processor migrates.
 * g) A forked child has none of its parent's threads. It runs on one thread. */

#define _GNU_SOURCE
#include <limits.h>
#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "engine.h"

/* About 25 us; a barrier of a step in balance takes less than one. */
#define SPINS 2000

/* A team is crowded when it has waited beyond the spins for this long, and for this fraction of the time. */
#define CROWDED_AFTER_NS 8000000
#define CROWDED_FRACTION 0.6
/* How long calls then run on one thread; doubled each time that this was not long enough. */
#define ALONE_NS 32000000
#define ALONE_NS_MAX 512000000

static _Atomic int64_t alone_until, alone_for; /* monotonic clock; nanoseconds */

/* The OpenMP runtime's limit for a thread when this library was loaded. */
static int first_limit;

/* The limit of this thread's calls; 0: none. */
static _Thread_local int own_limit;

void fnn_limit_own_threads(int most) { own_limit = most; }

/* A lower limit that was set since, with threadpoolctl or omp_set_num_threads, holds for this thread's calls, too. */
int fnn_thread_limit(void) {
    const int limit = omp_get_max_threads(), own = own_limit ? own_limit : INT_MAX;
    return limit < first_limit && limit < own ? limit : own;
}

int fnn_processors(void) {
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
    const long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
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

/* ---- workers ---- */

/* How long a worker spins for the next call before it sleeps. */
#define IDLE_NS 100000
#define STACK_BYTES ((size_t)1 << 20)

typedef struct team team;

typedef struct {
    _Alignas(64) atomic_uint called; /* calls so far; a new one wakes the worker */
    atomic_int asleep;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t id;
    team *team;
    int number; /* in a call: 1, 2, ... */
} worker;

/* The workers of one calling thread, and the call that they work on. */
struct team {
    fnn_phase phase; /* NULL: workers end */
    void *context;
    fnn_call *call;
    int members, first; /* first: the processor of the first thread where the workers were asleep, else -1 */
    int running;        /* a call is under way */
    int n_workers, most_workers;
    _Alignas(64) atomic_int present, left;
    worker workers[];
};

static _Thread_local team *own; /* this thread's */
static pthread_key_t at_thread_end;
static atomic_int forked;

static void start_together(int thread, int members, int first, atomic_int *present);

static void wait_for_call(worker *w, unsigned seen) {
    const int64_t until = fnn_clock_ns() + IDLE_NS;
    do
        for (int spins = 0; spins < 64; spins++) {
            if (atomic_load_explicit(&w->called, memory_order_acquire) != seen) return;
            fnn_pause();
        }
    while (fnn_clock_ns() < until);
    pthread_mutex_lock(&w->lock);
    atomic_store(&w->asleep, 1);
    while (atomic_load(&w->called) == seen) pthread_cond_wait(&w->wake, &w->lock);
    atomic_store(&w->asleep, 0);
    pthread_mutex_unlock(&w->lock);
}

static void call_worker(worker *w) {
    atomic_fetch_add(&w->called, 1);
    if (!atomic_load(&w->asleep)) return;
    pthread_mutex_lock(&w->lock);
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

static void *work(void *argument) {
    worker *w = argument;
    team *t = w->team;
    atomic_store(&w->asleep, 0);
    for (unsigned seen = 0;; seen++) {
        wait_for_call(w, seen);
        if (!t->phase) return NULL;
        if (t->first >= 0) start_together(w->number, t->members, t->first, &t->present);
        fnn_call_join(t->call, w->number);
        fnn_environment_enter();
        t->phase(t->context, w->number, t->members);
        atomic_fetch_sub_explicit(&t->left, 1, memory_order_release);
    }
}

static int make_worker(team *t) {
    worker *w = &t->workers[t->n_workers];
    w->team = t;
    w->number = t->n_workers + 1;
    atomic_store(&w->asleep, 1);
    if (pthread_mutex_init(&w->lock, NULL)) return 0;
    int made = 0;
    pthread_attr_t attributes;
    if (pthread_cond_init(&w->wake, NULL) == 0) {
        if (pthread_attr_init(&attributes) == 0) {
            pthread_attr_setstacksize(&attributes, STACK_BYTES);
            made = pthread_create(&w->id, &attributes, work, w) == 0;
            pthread_attr_destroy(&attributes);
        }
        if (!made) pthread_cond_destroy(&w->wake);
    }
    if (!made) pthread_mutex_destroy(&w->lock);
    t->n_workers += made;
    return made;
}

static void end_team(void *argument) {
    team *t = argument;
    t->phase = NULL;
    for (int i = 0; i < t->n_workers; i++) {
        worker *w = &t->workers[i];
        call_worker(w);
        pthread_join(w->id, NULL);
        pthread_cond_destroy(&w->wake);
        pthread_mutex_destroy(&w->lock);
    }
    fnn_arena_free(t);
}

static void set_own(team *t) {
    own = t;
    pthread_setspecific(at_thread_end, t);
}

/* The processor time of a try that fails is that of tens of small calls: the next one comes later. */
#define RETRY_NS 10000000
static _Atomic int64_t next_try;

/* This thread's team with up to `most` workers; NULL where it has none. */
static team *ready_team(int most, int64_t now) {
    if (own && own->running) return NULL; /* a signal handler's call */
    if ((!own || own->n_workers < most) && now >= atomic_load(&next_try)) {
        if (own && own->most_workers < most) {
            end_team(own);
            set_own(NULL);
        }
        if (!own) {
            fnn_arena arena = {0};
            fnn_take(&arena, sizeof(team));
            fnn_take(&arena, fnn_size(most, sizeof(worker), 1));
            if (!fnn_arena_allocate(&arena)) return NULL;
            set_own((team *)arena.block);
            own->most_workers = most;
        }
        while (own->n_workers < most)
            if (!make_worker(own)) {
                atomic_store(&next_try, now + RETRY_NS);
                break;
            }
    }
    return own && own->n_workers ? own : NULL;
}

/* Its threads are not there, and their locks may be held for ever. */
static void forget_team(void) {
    atomic_store(&forked, 1);
    set_own(NULL);
}

__attribute__((constructor)) static void set_up(void) {
    first_limit = omp_get_max_threads();
    pthread_key_create(&at_thread_end, end_team);
    pthread_atfork(NULL, NULL, forget_team);
}

/* ---- a call ---- */

/* The first thread waits this long for the others to start, after it has spun; they may run on its processor meanwhile. */
#define START_NS 300000

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
        fnn_pause();
    }
    const int64_t until = fnn_clock_ns() + START_NS;
    while (atomic_load_explicit(present, memory_order_relaxed) < members - 1 && fnn_clock_ns() < until) sched_yield();
}

/* Until all workers have ended their part. */
static void wait_for_workers(team *t) {
    for (int spins = 0; spins < SPINS; spins++) {
        if (atomic_load_explicit(&t->left, memory_order_acquire) == 0) return;
        fnn_pause();
    }
    while (atomic_load_explicit(&t->left, memory_order_acquire)) {
        fnn_interrupted();
        sched_yield();
    }
}

/* The workers take part in the call; the first thread works meanwhile. */
static void run_team(team *t, int workers, fnn_barrier *barrier, int64_t started) {
    const int members = workers + 1;
    int asleep = 0;
    for (int i = 0; i < workers; i++) asleep |= atomic_load_explicit(&t->workers[i].asleep, memory_order_relaxed);
    t->members = members;
    t->first = asleep ? this_processor() : -1;
    t->running = 1;
    atomic_store_explicit(&t->present, 0, memory_order_relaxed);
    atomic_store_explicit(&t->left, workers, memory_order_relaxed);
    if (barrier) {
        barrier->started = started;
        barrier->members = members;
    }
    for (int i = 0; i < workers; i++) call_worker(&t->workers[i]);
    if (t->first >= 0) start_together(0, members, t->first, &t->present);
    t->phase(t->context, 0, members);
    const int64_t done = fnn_clock_ns();
    wait_for_workers(t);
    t->running = 0;
    const int64_t waited = fnn_clock_ns() - done;
    if (waited > CROWDED_AFTER_NS) leave_team(waited, started, members);
}

int fnn_team_run(fnn_phase phase, void *context, int n_threads, fnn_barrier *barrier) {
    if (barrier) {
        atomic_store(&barrier->arrived, 0);
        atomic_store(&barrier->waited, 0);
        barrier->members = 1;
    }
    if (n_threads > 1) n_threads = (int)fnn_min(n_threads, fnn_thread_limit());
    const int64_t started = n_threads > 1 ? fnn_clock_ns() : 0;
    team *t = NULL;
    if (n_threads > 1 && started >= atomic_load(&alone_until) && !atomic_load(&forked) && !omp_in_parallel())
        t = ready_team(n_threads - 1, started);
    fnn_call call;
    fnn_call_enter(&call);
    if (t) {
        t->phase = phase;
        t->context = context;
        t->call = &call;
        run_team(t, (int)fnn_min(n_threads - 1, t->n_workers), barrier, started);
    } else {
        phase(context, 0, 1);
    }
    return fnn_call_leave(&call);
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
        fnn_pause();
    }
    const int64_t since = fnn_clock_ns();
    while (atomic_load_explicit(&barrier->generation, memory_order_acquire) == generation) sched_yield();
    atomic_fetch_add_explicit(&barrier->waited, fnn_clock_ns() - since, memory_order_relaxed);
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
