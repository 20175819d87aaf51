/* The part of the OpenMP runtime that csrc/engine/team.c uses, on POSIX threads. The thread sanitizer does not know the
 * barriers and queues of the compiler's own runtime, so a program that is linked with this file in its place needs no
 * suppressions. team.c itself is compiled unchanged.
 *
 * The linker's --wrap gives all threads to calls that are too small to gain from them. */

#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../csrc/engine/team.h"
#include "../../csrc/engine/trials.h"

#define MOST_THREADS 64

typedef struct {
    void (*function)(void *);
    void *data;
    int thread, members;
} member;

static _Thread_local member self = {.members = 1};
static long regions; /* on several threads; only the main thread starts them */

static void *run(void *argument) {
    self = *(member *)argument;
    self.function(self.data);
    return NULL;
}

void GOMP_parallel(void (*function)(void *), void *data, unsigned n_threads, unsigned flags);
void GOMP_parallel(void (*function)(void *), void *data, unsigned n_threads, unsigned flags) {
    (void)flags;
    pthread_t threads[MOST_THREADS];
    member members[MOST_THREADS];
    const int n = (int)(n_threads < MOST_THREADS ? n_threads : MOST_THREADS);
    regions += n > 1;
    for (int i = 0; i < n; i++) members[i] = (member){function, data, i, n};
    for (int i = 1; i < n; i++)
        if (pthread_create(&threads[i], NULL, run, &members[i])) abort();
    run(&members[0]);
    self = (member){.members = 1};
    for (int i = 1; i < n; i++) pthread_join(threads[i], NULL);
}

int omp_get_thread_num(void) { return self.thread; }
int omp_get_num_threads(void) { return self.members; }
int omp_in_parallel(void) { return self.members > 1; }
int omp_get_num_procs(void) { return 1; }
int omp_pause_resource_all(int kind) { return kind * 0; }

static void say_regions(void) { fprintf(stderr, "%ld parallel regions\n", regions); }
__attribute__((constructor)) static void start(void) { atexit(say_regions); }

int __wrap_fnn_threads_for(double operations, ptrdiff_t items, int n_threads);
int __wrap_fnn_threads_for(double operations, ptrdiff_t items, int n_threads) {
    (void)operations;
    return items < 1 ? 1 : (int)fnn_min(items, n_threads);
}

void __real_fnn_trials_start(fnn_trials *trials, int most, double operations);
void __wrap_fnn_trials_start(fnn_trials *trials, int most, double operations);
void __wrap_fnn_trials_start(fnn_trials *trials, int most, double operations) {
    __real_fnn_trials_start(trials, most, operations + 1e12);
}
