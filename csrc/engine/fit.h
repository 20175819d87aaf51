/* A fit: the buffers and the plan of its steps. Made by plan.c, run by train.c. */
#ifndef FNN_FIT_H
#define FNN_FIT_H

#include "engine.h"

/* Rows [k0, k1) of weight panel q of one op: what a thread updates at a time. */
typedef struct {
    int op;
    ptrdiff_t q, k0, k1;
} unit;

/* The buffers of one op: its output, the derivative of its activation, and dZ transposed; of a layer of layers.c also
 * what phase 2 sums over the batch, or what a branch adds to a gradient, and its statistics. */
typedef struct {
    void *Y, *D, *dZt, *saved;
    double *statistics;
    ptrdiff_t stride;      /* elements between panels of Y */
    ptrdiff_t first_block; /* of the op in the sums over blocks of weights */
} op_buffers;

/* Rows of weights that are summed together: a constant of the numerical definition. */
#define FNN_BLOCK 32

/* The constants of a step, n_steps of each in fit->rates: the bias-corrected rate, that as given, and Nadam's two more. */
enum { FNN_RATE, FNN_RAW, FNN_RATE_2, FNN_CORRECTION, FNN_CONSTANTS };

typedef struct {
    ptrdiff_t step, first_row, rows, panels, padded; /* padded: rows rounded up to whole panels */
    double share;                                    /* of a row in the mean over the batch; 0 where no row counts */
} batch;

/* Time of one thread, in nanoseconds by phase; since: the end of its last one. */
typedef struct {
    _Alignas(64) int64_t spent[FNN_PHASES];
    int64_t since;
} phase_times;

struct fnn_fit {
    fnn_network *network;
    fnn_fit_data data;
    ptrdiff_t n, n_steps, panels; /* panels: of a full batch */
    int n_threads, n_units, skipped, first_dense, trained_ops;
    fnn_choice choice;
    fnn_barrier barrier;
    op_buffers *buffers; /* [0] is the input, [i + 1] the output of op i */
    void *dY[2];         /* gradients of the op at hand and the one before */
    void *T;
    ptrdiff_t dy_stride, t_stride;
    double *values, *labels, *scale; /* one per row of the batch */
    int64_t *order;
    double *rates;
    int64_t first_iteration; /* steps the network had taken when the epoch began */
    unit *units;
    int *unit_start; /* [threads + 1]: the parts of n_threads threads */
    int worth_meeting; /* the products of one panel are worth dividing */
    int special;     /* some op has rules of its own: kernels and biases are units apart */
    int followed;    /* something is done to weights after their update */
    int constrained; /* norms of weights are constrained */
    int penalized;   /* some op has a penalty on its weights */
    int norms;       /* norms of gradients are clipped */
    int active;      /* some op has a penalty on its outputs */
    int inference;   /* layers act as in prediction */
    int moving;      /* some op has moving statistics */
    int coupled;     /* the loss is one of the whole batch: sums over it come before its gradient */
    double *penalty_sums, *norm_sums; /* over blocks of weights and of gradients */
    double *activity;                 /* penalties on outputs, one per row of the batch */
    double *batch_sums;               /* per panel two sums of each row */
    void *stored;                     /* gradients, where the rule does not follow at once */
    const void *custom_gradient;      /* with the caller's own loss */
    double custom_loss;
    void *custom_outputs;
    void *gradients; /* where set, phase 2 stores gradients there and updates nothing */
    uint64_t seed, epoch;
    int shuffled;
    ptrdiff_t until; /* the step where this call ends */
    double deadline;
    atomic_int nonfinite;
    atomic_int stop;
    int timed;           /* phases are timed */
    phase_times *phases; /* per thread */
    /* Written by thread 0 in every step: in a cache line that no other thread reads. */
    _Alignas(64) ptrdiff_t step;       /* steps done in this epoch */
    ptrdiff_t check_every, next_check; /* when to look at the clock */
    double loss_sum, penalty_sum;
};

/* layers.c: ops from FNN_OP_NOISE on. All threads call them together. */
ptrdiff_t fnn_layer_statistics(const fnn_fit *fit, const fnn_op *op);
int fnn_layer_saves(const fnn_op *op);
void fnn_layer_forward(fnn_fit *fit, int i, const batch *b, ptrdiff_t p0, ptrdiff_t p1, int thread, int n_threads);
void fnn_layer_backward(fnn_fit *fit, int i, const batch *b, void *dY, ptrdiff_t p0, ptrdiff_t p1, int thread, int n_threads);
/* dY, the gradient of the input of op i, gains what branches from there carry */
void fnn_join_branches(fnn_fit *fit, int i, void *dY, ptrdiff_t p0, ptrdiff_t p1);
/* gradient of one unit: two rows of a weight panel */
void fnn_layer_gradient(const fnn_fit *fit, const batch *b, const unit *u, void *G);
void fnn_move_statistics(fnn_fit *fit, int thread, int n_threads);

/* update.c: phase 2 */
void fnn_update_weights(fnn_fit *fit, const batch *b, int thread, int n_threads);
/* penalties on weights: every thread's share of their sums, then the total */
void fnn_sum_penalties(fnn_fit *fit, int thread, int n_threads);
double fnn_penalty(const fnn_fit *fit);
static inline double fnn_penalty_scale(const fnn_fit *fit, const batch *b) {
    return fit->network->loss.scaled_penalty ? b->share : 1.0;
}
ptrdiff_t fnn_blocks_of(const fnn_op *op);
int fnn_has_rules(const fnn_op *op);
int fnn_has_penalty(const fnn_op *op);
int fnn_has_norm_constraint(const fnn_op *op);

/* The phase that a thread was in is over. */
static inline void fnn_mark(fnn_fit *fit, int thread, fnn_fit_phase phase) {
    if (!fit->timed) return;
    phase_times *times = &fit->phases[thread];
    const int64_t now = fnn_clock_ns();
    times->spent[phase] += now - times->since;
    times->since = now;
}

static inline void *fnn_at(const fnn_fit *fit, void *base, ptrdiff_t elements) {
    return (char *)base + elements * (ptrdiff_t)fit->network->element;
}

#endif
