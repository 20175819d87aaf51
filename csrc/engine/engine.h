/* The engine: networks, fits and predictions. Compiled once; arithmetic goes through a kernel table.
 *
 * Sizes are checked for overflow where memory is asked for; after that nothing can fail. Status codes are returned,
 * never printed. */
#ifndef FNN_ENGINE_H
#define FNN_ENGINE_H

#include <stdatomic.h>
#include <string.h>

#include "../fnn.h"

/* at least as many as a panel has rows, or a weight panel outputs, on every instruction set */
#define FNN_MOST_LANES 64

typedef enum { FNN_OK, FNN_MORE, FNN_NONFINITE, FNN_NO_MEMORY, FNN_BAD_INPUT } fnn_status;

/* Rows of a panel, a block or a chunk of `whole` of them where `rest` are left: the last one may be ragged. */
static inline ptrdiff_t fnn_part(ptrdiff_t rest, ptrdiff_t whole) { return rest < whole ? rest : whole; }

/* ---- arena.c: the only place that allocates ---- */

/* `parts` sizes in bytes, each aligned to a cache line; pointers to them in `out`. NULL: too large or no memory.
 * Memory is zero. */
void *fnn_arena_new(void **out, const size_t *sizes, int parts);
void fnn_arena_free(void *arena);
/* The same for the scratch of one call, with memory as it comes; up to 32 MiB of it are kept for the next call. */
void *fnn_scratch_new(void **out, const size_t *sizes, int parts);
void fnn_scratch_free(void *scratch);
/* count * size * more, SIZE_MAX on overflow */
size_t fnn_size(ptrdiff_t count, ptrdiff_t size, ptrdiff_t more);

/* ---- panels of inputs ---- */

/* Blocks of a contraction of so many panels stay in the second-level cache. */
#define FNN_BLOCK_PANELS 16

/* Elements between panels: an odd number of cache lines, so that a power of two does not map all panels to the same cache
 * sets. */
static inline ptrdiff_t fnn_panel_stride(const fnn_kernels *kernels, ptrdiff_t features) {
    return (features | 1) * kernels->panel;
}

/* Whether so many rows of a thread are worth transposing into panels: where the contraction is cut into blocks, rows lie
 * far apart. */
static inline int fnn_panels_pay(ptrdiff_t n_in, ptrdiff_t rows) { return n_in > FNN_WHOLE && rows >= 128; }

/* ---- team.c: threads ---- */

/* Everybody waits until all `members` have come; spins for a bounded time, then yields. */
typedef struct {
    _Alignas(64) atomic_int arrived;
    _Alignas(64) atomic_uint generation;
    _Alignas(64) atomic_int members;
    int64_t started;         /* of the call, on the monotonic clock */
    _Atomic int64_t waited;  /* nanoseconds beyond the spins, of all members */
} fnn_barrier;

typedef void (*fnn_phase)(void *context, int thread, int n_threads);

/* Runs phase(context, t, n) for t in 0..n-1 with n <= n_threads; `barrier` (may be NULL) is set up for n members.
 * In a forked child, inside another parallel region and while others use the processors n is 1. */
void fnn_team_run(fnn_phase phase, void *context, int n_threads, fnn_barrier *barrier);
void fnn_barrier_wait(fnn_barrier *barrier);
/* Sets this thread's default floating-point environment; returns what `leave` restores. */
uint64_t fnn_environment_enter(void);
void fnn_environment_leave(uint64_t old);
/* 1 where the team waits for processors that others use: the call should end, the next ones run on one thread. */
int fnn_barrier_is_crowded(fnn_barrier *barrier);
int64_t fnn_clock_ns(void); /* monotonic */
/* Threads that spin or sleep in the OpenMP runtime after a long call are let go. */
void fnn_team_release(void);
int fnn_openmp_version(void);
/* Processors that this process may run on. */
int fnn_processors(void);
/* The part [*first, *last) of `count` items that belongs to one thread. */
void fnn_share(ptrdiff_t count, int thread, int n_threads, ptrdiff_t *first, ptrdiff_t *last);
/* The threads worth using for a call of `operations` floating-point operations cut into at most `parts` parts. */
int fnn_threads_for(double operations, ptrdiff_t parts, int n_threads);

/* On how many threads to run steps that are so small that fewer may be faster: now and then both are tried. */
typedef struct {
    int most, used, other; /* compared in a trial: used and other */
    int legs;              /* of the trial that are left; 0: none is on */
    ptrdiff_t leg;         /* steps of one; 0: nothing is tried */
    ptrdiff_t wait;        /* steps until the next trial */
    int between;           /* legs between trials */
    ptrdiff_t stretch;     /* steps until the next sample */
    int slow;              /* samples in a row that were slower than the other number in the last trial */
    int64_t least[2];      /* nanoseconds per step, on `used` and on `other` threads */
} fnn_choice;

void fnn_choice_start(fnn_choice *choice, int most, double operations);
/* for the next steps, of which so many at most */
int fnn_choice_threads(const fnn_choice *choice);
ptrdiff_t fnn_choice_steps(const fnn_choice *choice);
/* so many of them were done in this time */
void fnn_choice_note(fnn_choice *choice, ptrdiff_t steps, int64_t nanoseconds);

/* The rows of a panel from `count` on, of n features, become zero: in gradients, which are summed over the batch. */
static inline void fnn_clear_padding(void *panel, ptrdiff_t rows, ptrdiff_t n, ptrdiff_t count, size_t element) {
    for (ptrdiff_t f = 0; count < rows && f < n; f++)
        memset((char *)panel + (size_t)(f * rows + count) * element, 0, (size_t)(rows - count) * element);
}

/* ---- network.c ---- */

typedef enum {
    FNN_OP_DENSE,
    FNN_OP_ACTIVATION,
    FNN_OP_DROPOUT,
    FNN_OP_NOISE, /* from here on: layers.c */
    FNN_OP_BATCH_NORM,
    FNN_OP_LAYER_NORM,
    FNN_OP_PRELU,
    FNN_OP_STANDARDIZE, /* with learned means and variances */
    FNN_OP_ADD          /* the input of an earlier op to the input */
} fnn_op_kind;

/* Applied to weights after every update: w clip(|w|, 0, bound) / (CLIP + |w|); w / (CLIP + |w|); max(w, 0). */
typedef enum { FNN_NO_CONSTRAINT, FNN_MAX_NORM, FNN_UNIT_NORM, FNN_NON_NEGATIVE } fnn_constraint_kind;
/* What one norm is taken over: the inputs of each output, the outputs of each input, all weights. */
typedef enum { FNN_OVER_INPUTS, FNN_OVER_OUTPUTS, FNN_OVER_ALL } fnn_norm_axis;

/* What is special about the training of a kernel or a bias. */
typedef struct {
    double l1, l2; /* penalty l1 |w| + l2 w^2 */
    int no_decay;  /* left out of weight decay */
    int constraint, axis;
    double bound;
} fnn_rules;

/* A kernel or what stands in its place: gamma, alpha; a bias: beta. */
enum { FNN_KERNEL, FNN_BIAS };

typedef struct {
    int kind;
    int activation;
    int use_kernel, use_bias; /* the parts that are trained */
    int trainable;
    int alpha;                      /* dropout: alpha dropout */
    int rms;                        /* layer norm: scaled, not centred */
    int invert, missing, indicator; /* standardize */
    int source, slot;               /* add: the op whose input it adds; where that is kept in prediction */
    double parameters[3];           /* of the activation */
    double rate;                    /* of dropout; noise: its standard deviation */
    double momentum, epsilon;       /* of normalizations */
    ptrdiff_t n_in, n_out;
    ptrdiff_t panels;                /* weight panels: of the outputs */
    ptrdiff_t weights;               /* offset of the weight panels, in elements */
    ptrdiff_t rows;                  /* of the weight panels above the bias: n_in of a dense op, 1, or 0 without weights */
    ptrdiff_t state;                 /* offset of means, variances and their count, in elements */
    fnn_rules rules[2];              /* of kernel and bias */
    double activity_l1, activity_l2; /* penalty on the outputs */
} fnn_op;

typedef struct {
    fnn_update update;                  /* rate and decay: per unit of learning rate */
    int n_slots;                        /* moments of the rule */
    double initial;                     /* starting value of the first moment */
    double clip_norm, global_clip_norm; /* of each variable's gradient; of all gradients. 0: none */
    int use_average;                    /* a moving average of the weights is kept in a slot */
    double average_momentum;
    int64_t overwrite_every; /* updates after which the weights become their average; 0: never */
    int64_t accumulate;      /* steps whose gradients are averaged for one update */
} fnn_optimizer;

#define FNN_SLOTS 5

typedef struct {
    const fnn_kernels *kernels;
    size_t element; /* bytes */
    int n_ops, n_branches; /* branches: inputs of earlier ops kept at one time */
    fnn_op *ops;
    ptrdiff_t n_features, n_outputs, widest;
    ptrdiff_t n_elements; /* of all weight panels */
    double operations;    /* of the products for one row, forward */
    void *weights;
    /* laid out as the weights: moments of the update rule, then the moving average and the sum of gradients where kept */
    void *slots[FNN_SLOTS];
    int n_slots;
    fnn_loss loss;
    fnn_optimizer optimizer;
    int64_t iterations; /* steps taken */
    void *arena, *slot_arena;
} fnn_network;

/* whether a row is in the loss; a label that is not is no class */
static inline int fnn_counts(const fnn_loss *loss, const int64_t *labels, ptrdiff_t row) {
    return !(loss->ignores && labels && labels[row] == loss->ignored);
}

/* of an array of `element` bytes each; 1 without one */
static inline double fnn_weight(const void *sample_weight, size_t element, ptrdiff_t row) {
    if (!sample_weight) return 1.0;
    return element == 4 ? (double)((const float *)sample_weight)[row] : ((const double *)sample_weight)[row];
}

/* What the mean over rows first, first + 1, ... of `order` (NULL: of the arrays) is divided by; it may be 0. */
static inline double fnn_divisor(const fnn_loss *loss, const int64_t *labels, const void *sample_weight, size_t element,
                                 const int64_t *order, ptrdiff_t first, ptrdiff_t rows) {
    const void *weights = loss->weighted_mean ? sample_weight : NULL;
    if (!weights && !loss->ignores) return (double)rows;
    double divisor = 0;
    for (ptrdiff_t i = first; i < first + rows; i++) {
        const ptrdiff_t row = order ? (ptrdiff_t)order[i] : i;
        if (fnn_counts(loss, labels, row)) divisor += fnn_weight(weights, element, row);
    }
    return divisor;
}

static inline int fnn_has_activity(const fnn_op *op) { return op->activity_l1 != 0 || op->activity_l2 != 0; }
static inline int fnn_is_trained(const fnn_op *op) { return op->rows && op->trainable && (op->use_kernel || op->use_bias); }
/* NaN in the inputs stands for missing values */
static inline int fnn_takes_missing(const fnn_network *network) {
    return network->n_ops && network->ops[0].kind == FNN_OP_STANDARDIZE && network->ops[0].missing;
}

fnn_network *fnn_network_new(const fnn_kernels *kernels, ptrdiff_t n_features, const fnn_op *ops, int n_ops);
void fnn_network_free(fnn_network *network);
fnn_status fnn_network_compile(fnn_network *network, const fnn_loss *loss, const fnn_optimizer *optimizer);
/* The weights become their moving average. */
void fnn_network_use_average(fnn_network *network);
/* Sum of the penalties on all trained weights. */
double fnn_network_penalty(const fnn_network *network);
/* Slots of the moving average and of the sum of gradients, or NULL. */
void *fnn_average_slot(const fnn_network *network);
void *fnn_sum_slot(const fnn_network *network);
/* Columns of the targets that the loss takes. */
ptrdiff_t fnn_target_columns(const fnn_network *network);
/* The last op, where the loss takes its pre-activations: its activation is skipped in training. Else -1. */
int fnn_skipped_activation(const fnn_network *network);

/* ---- layers.c ---- */

/* An op's activation on one panel, Y from X for an activation alone, else what its product left to do in Y; D its
 * derivative or NULL. */
void fnn_activate_panel(const fnn_network *network, const fnn_op *op, int activation, void *Y, void *D, const void *X);

/* ---- predict.c ---- */

/* out (rows, n_outputs) contiguous; activity (rows) or NULL: each row's penalties on the outputs of its ops.
 * On FNN_BAD_INPUT *bad_row is a row of X that is not finite and out and activity are undefined. */
fnn_status fnn_predict(const fnn_network *network, const fnn_matrix *X, void *out, double *activity, int logits,
                       int n_threads, ptrdiff_t *bad_row);

/* The first row that fnn_predict would refuse, or -1. */
ptrdiff_t fnn_bad_row(const fnn_network *network, const fnn_matrix *X);

/* ---- train.c ---- */

typedef struct fnn_fit fnn_fit;

/* What a thread does in a step. FNN_UPDATE: gradients of weights and their update; FNN_WAIT: for the other threads. */
typedef enum { FNN_GATHER, FNN_FORWARD, FNN_LOSS, FNN_BACKWARD, FNN_UPDATE, FNN_WAIT, FNN_PHASES } fnn_fit_phase;

typedef struct {
    fnn_matrix X;
    fnn_matrix y;          /* targets, rows in the network's type; data NULL for labels */
    const int64_t *labels; /* or NULL */
    const void *sample_weight, *predictions;
    ptrdiff_t batch_size;
    int n_threads;
} fnn_fit_data;

fnn_fit *fnn_fit_new(fnn_network *network, const fnn_fit_data *data);
void fnn_fit_free(fnn_fit *fit);
ptrdiff_t fnn_fit_steps(const fnn_fit *fit);
ptrdiff_t fnn_fit_step(const fnn_fit *fit);
double fnn_fit_loss_sum(const fnn_fit *fit);
/* the part of it that is penalties on weights */
double fnn_fit_penalty_sum(const fnn_fit *fit);
/* Rows to take in this order, (n), instead of the epoch's own; after fnn_fit_begin. */
void fnn_fit_set_order(fnn_fit *fit, const int64_t *order);
void fnn_fit_begin(fnn_fit *fit, uint64_t seed, uint64_t epoch, int shuffle, const double *rates);
/* Other learning rates for the rest of the epoch; one per step of the epoch. */
void fnn_fit_set_rates(fnn_fit *fit, const double *rates);
/* From now on the phases of fnn_fit_run are timed, from zero. */
void fnn_fit_time_phases(fnn_fit *fit);
/* Nanoseconds that the threads spent in a phase, all together. */
int64_t fnn_fit_phase_ns(const fnn_fit *fit, fnn_fit_phase phase);
fnn_status fnn_fit_run(fnn_fit *fit, ptrdiff_t max_steps, double max_seconds);
/* A step around a loss that the caller computes: forward writes the outputs of the batch, (rows, n_outputs); backward
 * takes their gradient and the loss, and updates. */
void fnn_fit_forward(fnn_fit *fit, void *out);
void fnn_fit_backward(fnn_fit *fit, const void *gradient, double loss);
/* Rows of the batch at hand; *order is NULL where they are `first` and those that follow. */
ptrdiff_t fnn_fit_batch(const fnn_fit *fit, const int64_t **order, ptrdiff_t *first);
/* Gradients of the first batch in order, in the layout of the weights; layers act as in training, or in prediction.
 * Returns its loss, *penalty its part. */
double fnn_fit_gradients(fnn_fit *fit, void *gradients, int training, double *penalty);

/* ---- arrays.c: kernels on the caller's arrays, all contiguous rows of the table's type ---- */

fnn_status fnn_dense_forward(const fnn_kernels *kernels, void *out, const void *x, const void *kernel, const void *bias,
                             ptrdiff_t n, ptrdiff_t n_in, ptrdiff_t n_out, int activation, const double *parameters,
                             int n_threads);
fnn_status fnn_dense_backward(const fnn_kernels *kernels, void *grad_x, void *grad_kernel, void *grad_bias,
                              const void *grad_out, const void *x, const void *kernel, const void *bias, ptrdiff_t n,
                              ptrdiff_t n_in, ptrdiff_t n_out, int activation, const double *parameters, int n_threads);
fnn_status fnn_loss_arrays(const fnn_kernels *kernels, double *value, void *gradient, const void *y_pred,
                           const void *y_true, const int64_t *labels, const void *sample_weight, ptrdiff_t n,
                           ptrdiff_t n_out, const fnn_loss *loss);
fnn_status fnn_activation_gradient(const fnn_kernels *kernels, void *grad_x, const void *grad_out, const void *x,
                                   ptrdiff_t n, ptrdiff_t n_out, int activation, const double *parameters);

#endif
