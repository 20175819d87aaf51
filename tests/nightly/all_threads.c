/* Linked with the engine by the linker's --wrap: all threads also for calls that are too small to gain from them, and a
 * count of the calls on several threads. */

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../csrc/engine/team.h"
#include "../../csrc/engine/trials.h"

static atomic_long regions;

static void say_regions(void) { fprintf(stderr, "%ld parallel regions\n", atomic_load(&regions)); }
__attribute__((constructor)) static void start(void) { atexit(say_regions); }

int __real_fnn_team_run(fnn_phase phase, void *context, int n_threads, fnn_barrier *barrier);
int __wrap_fnn_team_run(fnn_phase phase, void *context, int n_threads, fnn_barrier *barrier);
int __wrap_fnn_team_run(fnn_phase phase, void *context, int n_threads, fnn_barrier *barrier) {
    atomic_fetch_add(&regions, n_threads > 1);
    return __real_fnn_team_run(phase, context, n_threads, barrier);
}

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
