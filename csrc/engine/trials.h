/* Trials of numbers of threads: which number runs the steps of a small network fastest is measured now and then. */
#ifndef FNN_TRIALS_H
#define FNN_TRIALS_H

#include <stddef.h>
#include <stdint.h>

/* A probe is a few steps whose time is measured. A trial is some probes of the number in use and some of another one. */
typedef struct {
    int most, used, other;   /* numbers of threads; a trial compares used and other */
    int probes_left;         /* of the trial; 0: no trial is on */
    ptrdiff_t probe_steps;   /* 0: nothing is ever tried */
    ptrdiff_t until_trial;   /* steps */
    ptrdiff_t until_sample;  /* steps until a probe between trials */
    int interval;            /* between trials, in probes */
    int slow_samples;        /* in a row, slower than the other number was in the last trial */
    int64_t least[2];        /* nanoseconds per step, on `used` and on `other` threads */
} fnn_trials;

void fnn_trials_start(fnn_trials *trials, int most, double operations);
/* Threads for the next steps, and the largest number of steps to run before fnn_trials_note. */
int fnn_trials_threads(const fnn_trials *trials);
ptrdiff_t fnn_trials_steps(const fnn_trials *trials);
/* Reports the time that these steps took. */
void fnn_trials_note(fnn_trials *trials, ptrdiff_t steps, int64_t nanoseconds);

#endif
