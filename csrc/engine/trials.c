/* Trials of numbers of threads.
 *
 * Design: small steps can be slower on several threads even where each has its own processor. The cost of a barrier and of
 * a cache line of another core depends on where the system, or the host of a virtual machine, runs the threads. So steps
 * are timed on fewer and on more threads now and then, and run on the faster number. */

#include "trials.h"

/* Larger steps run on all threads from the start; smaller ones start on one thread. */
#define TRIED_OPERATIONS 5e6
/* Of a probe, about 200 us. */
#define PROBE_OPERATIONS 1e7
/* Probes before the first trial, which a short fit does not reach. */
#define PROBES_BEFORE 10
/* Probes between trials, which cost less than 1 % then. The first intervals are shorter and double each time: processors
 * that were idle are slow at first. */
#define LONGEST_INTERVAL 300
#define FIRST_INTERVAL 30
/* Probes without a measurement between samples. */
#define UNSAMPLED_PROBES 9
/* A trial follows this many samples in a row that take SLOWER times as long as the other number in the last trial. */
#define SLOW_SAMPLES 3
#define SLOWER 1.25
/* Probes of each number in a trial, the fastest of which counts: the first one wakes threads up. */
#define PROBES 3
/* A number of threads replaces the one in use where its time is below this fraction. */
#define GAIN 0.97

void fnn_trials_start(fnn_trials *t, int most, double operations) {
    *t = (fnn_trials){.most = most, .used = most};
    if (most == 1 || operations >= TRIED_OPERATIONS) return;
    t->used = 1; /* the shortest fits end before threads are made */
    t->probe_steps = (ptrdiff_t)(1 + PROBE_OPERATIONS / (operations + 1e5));
    t->until_trial = PROBES_BEFORE * t->probe_steps;
    t->least[1] = INT64_MAX;
}

int fnn_trials_threads(const fnn_trials *t) { return t->probes_left > PROBES ? t->other : t->used; }

ptrdiff_t fnn_trials_steps(const fnn_trials *t) {
    if (!t->probe_steps) return PTRDIFF_MAX;
    if (t->probes_left || t->until_sample <= 0) return t->probe_steps;
    return t->until_sample < t->until_trial ? t->until_sample : t->until_trial;
}

/* All threads first, then half and twice the number in use, in turn. */
static int other_threads(const fnn_trials *t) {
    if (!t->other) return t->most;
    const int more = 2 * t->used < t->most ? 2 * t->used : t->most, fewer = (t->used + 1) / 2;
    return t->used == t->most || (t->used > 1 && t->other >= t->used) ? fewer : more;
}

/* Counts steps that were not part of a trial; returns whether the next trial is due. */
static int is_due(fnn_trials *t, ptrdiff_t steps, int64_t nanoseconds) {
    if (t->until_sample > 0) {
        t->until_sample -= steps;
    } else {
        t->slow_samples = (double)(nanoseconds / steps) > SLOWER * (double)t->least[1] ? t->slow_samples + 1 : 0;
        t->until_sample = UNSAMPLED_PROBES * t->probe_steps;
    }
    t->until_trial -= steps;
    return t->until_trial <= 0 || t->slow_samples == SLOW_SAMPLES;
}

static void start_trial(fnn_trials *t) {
    const int twice = 2 * t->interval;
    t->other = other_threads(t);
    t->probes_left = 2 * PROBES;
    t->interval = !t->interval ? FIRST_INTERVAL : twice < LONGEST_INTERVAL ? twice : LONGEST_INTERVAL;
    t->until_trial = t->interval * t->probe_steps;
    t->slow_samples = 0;
    t->least[0] = t->least[1] = INT64_MAX;
}

static void end_trial(fnn_trials *t) {
    if ((double)t->least[1] >= GAIN * (double)t->least[0]) return;
    const int used = t->used;
    t->used = t->other;
    t->other = used;
    t->least[1] = t->least[0];
}

void fnn_trials_note(fnn_trials *t, ptrdiff_t steps, int64_t nanoseconds) {
    if (!t->probe_steps || !steps) return;
    if (!t->probes_left) {
        if (is_due(t, steps, nanoseconds)) start_trial(t);
        return;
    }
    int64_t *least = &t->least[t->probes_left > PROBES];
    if (nanoseconds / steps < *least) *least = nanoseconds / steps;
    if (--t->probes_left == 0) end_trial(t);
}
