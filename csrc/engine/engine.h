/* The engine: networks, fits and predictions. Compiled once; arithmetic goes through a kernel table.
 *
 * Sizes are checked for overflow where memory is asked for; after that nothing can fail. Status codes are returned,
 * never printed. */
#ifndef FNN_ENGINE_H
#define FNN_ENGINE_H

#include <string.h>

#include "../fnn.h"
#include "pieces.h"
#include "ranks.h"
#include "team.h"

/* At least the rows of a panel, and the outputs of a weight panel, of every instruction set. */
#define FNN_MOST_LANES 64

typedef enum { FNN_OK, FNN_MORE, FNN_NONFINITE, FNN_NO_MEMORY, FNN_BAD_INPUT, FNN_INTERRUPTED } fnn_status;

/* ---- arena.c: the only place that allocates ---- */

/* A block that is cut into parts. One list of fnn_take calls runs twice: without a block it counts bytes, then, after
 * fnn_arena_allocate, it gives pointers. So each part is named once. Start from {0}. */
typedef struct {
    char *block;
    size_t used;
} fnn_arena;

/* The next part of `bytes`, aligned to a cache line; NULL while counting. */
void *fnn_take(fnn_arena *arena, size_t bytes);
/* Zeroed memory for what was counted; 0 where there is none or after an interruption. */
int fnn_arena_allocate(fnn_arena *arena);
void fnn_arena_free(void *block);
/* Memory of one call, with whatever it holds; up to 32 MiB of it are kept for the next call. */
void *fnn_scratch_new(size_t bytes);
void fnn_scratch_free(void *scratch);
/* count * size * more, SIZE_MAX on overflow */
size_t fnn_size(ptrdiff_t count, ptrdiff_t size, ptrdiff_t more);

/* ---- panels of inputs ---- */

/* A contraction works on this many panels at a time: their blocks stay in the second-level cache. */
#define FNN_BLOCK_PANELS 16

/* Elements between panels: an odd number of cache lines, so that a power of two does not map all panels to the same cache
 * sets. */
static inline ptrdiff_t fnn_panel_stride(const fnn_kernels *kernels, ptrdiff_t features) {
    return (features | 1) * kernels->panel;
}

/* 1 where it pays to transpose `rows` rows into panels: the contraction is cut into blocks, and rows lie far apart. */
static inline int fnn_panels_pay(ptrdiff_t n_in, ptrdiff_t rows) { return n_in > FNN_WHOLE && rows >= 128; }

/* The rows of a panel from `count` on, of n features, become zero: in gradients, which are summed over the batch. */
static inline void fnn_clear_padding(void *panel, ptrdiff_t rows, ptrdiff_t n, ptrdiff_t count, size_t element) {
    for (ptrdiff_t f = 0; count < rows && f < n; f++)
        memset((char *)panel + (size_t)(f * rows + count) * element, 0, (size_t)(rows - count) * element);
}

/* One feature of n_panels panels becomes one: it is multiplied by the bias. */
static inline void fnn_set_ones(const fnn_kernels *kernels, void *panels, ptrdiff_t stride, ptrdiff_t feature,
                                ptrdiff_t n_panels) {
    const double one = 1.0;
    const fnn_matrix ones = {&one, FNN_F64, 0, 0, 0, 1};
    for (ptrdiff_t p = 0; p < n_panels; p++)
        kernels->gather((char *)panels + (p * stride + feature * kernels->panel) * fnn_element(kernels), &ones, NULL, 0,
                        kernels->panel);
}

/* ---- network.c ---- */

/* Applied to weights after every update: w clip(|w|, 0, bound) / (CLIP + |w|); w / (CLIP + |w|); max(w, 0). */
typedef enum { FNN_NO_CONSTRAINT, FNN_MAX_NORM, FNN_UNIT_NORM, FNN_NON_NEGATIVE, FNN_CONSTRAINTS } fnn_constraint_kind;
/* A norm is taken over the inputs of each output, over the outputs of each input, or over all weights. */
typedef enum { FNN_OVER_INPUTS, FNN_OVER_OUTPUTS, FNN_OVER_ALL, FNN_AXES } fnn_norm_axis;

/* The rules of a parameter: its penalty, its constraint, its exemption from weight decay, and factors. */
typedef struct {
    double l1, l2; /* penalty l1 |w| + l2 w^2 */
    int no_decay;  /* left out of weight decay */
    int constraint, axis;
    double bound;
    int has_factors; /* of the learning rate and of weight decay */
    double rate_factor, decay_factor;
} fnn_rules;

/* The parameters of an op: a kernel, or gamma or alpha in its place; and a bias, or beta. */
enum { FNN_KERNEL, FNN_BIAS, FNN_PARAMETERS };

/* A kind of layer (kind.h). fnn_kinds lists all of them and ends with NULL. */
typedef struct fnn_kind fnn_kind;
extern const fnn_kind *const fnn_kinds[];

typedef struct {
    const fnn_kind *kind;
    int activation;
    int use_kernel, use_bias;       /* the parameters in use */
    int trainable;
    int alpha;                      /* dropout: alpha dropout */
    int rms;                        /* layer normalization: scaled but not centred */
    int invert, missing, indicator; /* normalization: as in fnn_scaling */
    int n_inputs;                   /* 0 in a description: the output of the op before, or input 0 */
    const int *inputs;              /* buffers */
    int shares;                     /* 1 + the earlier op whose weights it uses; 0: it has its own */
    int owner, next_call;           /* the op that has the weights; the next op that uses them, or 0 */
    int is_live, is_used;           /* some loss depends on it; on the weights that it has */
    int has_number, number_first;   /* arithmetic: with a number in place of a second input */
    double number;
    int normalize;                  /* dot: of normalized inputs */
    ptrdiff_t start, step;          /* slice */
    ptrdiff_t table_rows, columns;  /* embedding: rows of the table; outputs of the weight panels */
    ptrdiff_t multiple, groups;     /* outputs for each input; parts of the inputs that are multiplied one by one */
    int function;                   /* parametric activation */
    double parameters[3];           /* of the activation */
    double rate;                    /* of dropout; noise: its standard deviation */
    int has_seed;                   /* dropout, noise: drawn from `seed`, not from the fit's */
    uint64_t seed;
    int draw;                       /* number of the call of the layer with this seed */
    double momentum, epsilon;       /* of normalizations */
    ptrdiff_t n_in, n_out;
    ptrdiff_t panels, out_panels;    /* weight panels: of the columns; of the outputs */
    ptrdiff_t weights;               /* offset of the weight panels, in elements */
    ptrdiff_t rows;                  /* of the weight panels above the bias; 0 without parameters or with shared ones */
    ptrdiff_t state;                 /* offset of the states, which are kept but not trained, in elements */
    fnn_rules rules[FNN_PARAMETERS];
    double activity_l1, activity_l2; /* penalty on the outputs */
} fnn_op;

typedef struct {
    fnn_update update;                  /* rate and decay: per unit of learning rate */
    double initial;                     /* starting value of the first moment */
    int corrects_epsilon;               /* Adam: epsilon is added to the root of the bias-corrected second moment */
    double clip_norm, global_clip_norm; /* of each parameter's gradient; of all gradients. 0: none */
    int use_average;                    /* a moving average of the weights is kept in a slot */
    double average_momentum;
    int64_t overwrite_every; /* updates after which the weights become their average; 0: never */
    int64_t accumulate;      /* steps whose gradients are averaged for one update */
} fnn_optimizer;

/* The moments of the update rule, the moving average and the sum of gradients. */
#define FNN_SLOTS (FNN_MOMENTS + 2)

/* A loss on one output of a network; weight: its factor in the sum of all losses. */
typedef struct {
    fnn_loss loss;
    int output;
    double weight;
} fnn_output_loss;

/* Buffers of a network: its inputs, then the outputs of its ops. Most of them, and most ops. */
#define FNN_MOST_BUFFERS 512
#define FNN_MOST_OPS 255
#define FNN_MOST_OUTPUTS 64

/* The ops that some buffers depend on, and where prediction keeps what they compute (route.c). */
typedef struct {
    int n_ops, n_slots, n_wanted;
    int ops[FNN_MOST_OPS];
    short slots[FNN_MOST_BUFFERS];   /* of the buffers; -1: not needed */
    short targets[FNN_MOST_BUFFERS]; /* the first wanted one that is this buffer, or -1 */
    const int *wanted;               /* buffers */
} fnn_route;

typedef struct {
    const fnn_kernels *kernels;
    size_t element; /* bytes */
    int n_ops, n_inputs, n_outputs, n_losses;
    int n_uses;         /* inputs of all ops together */
    fnn_op *ops;
    int *outputs;       /* buffers */
    ptrdiff_t *widths;  /* of the buffers */
    int *op_inputs;     /* the inputs of all ops */
    unsigned char *takes_missing; /* of each input: NaN in it stands for missing values */
    fnn_route *route;   /* to the outputs */
    ptrdiff_t widest;
    ptrdiff_t n_elements; /* of all weights and states */
    double operations;    /* of the products for one row, forward */
    void *weights;
    void *slots[FNN_SLOTS]; /* laid out as the weights; those that are kept come first, in the order above */
    int n_moments, n_slots; /* n_moments: of the update rule */
    fnn_output_loss *losses;
    fnn_optimizer optimizer;
    int64_t iterations; /* steps taken */
    void *slot_block;
} fnn_network;

/* 1 for a row that counts in the loss. The label of an ignored row need not be a class. */
static inline int fnn_counts(const fnn_loss *loss, const int64_t *labels, ptrdiff_t row) {
    return !(loss->ignores && labels && labels[row] == loss->ignored);
}

/* The sample weight of a row, or 1 without sample weights. */
static inline double fnn_sample_weight(const void *sample_weight, size_t element, ptrdiff_t row) {
    if (!sample_weight) return 1.0;
    return element == 4 ? (double)((const float *)sample_weight)[row] : ((const double *)sample_weight)[row];
}

/* The divisor of a mean over rows first, first + 1, ... of `order` (NULL: of the arrays); it may be 0. */
static inline double fnn_divisor(const fnn_loss *loss, const int64_t *labels, const void *sample_weight, size_t element,
                                 const int64_t *order, ptrdiff_t first, ptrdiff_t rows) {
    const void *weights = loss->weighted_mean ? sample_weight : NULL;
    if (!weights && !loss->ignores) return (double)rows;
    double divisor = 0;
    for (ptrdiff_t i = first; i < first + rows; i++) {
        const ptrdiff_t row = order ? (ptrdiff_t)order[i] : i;
        if (fnn_counts(loss, labels, row)) divisor += fnn_sample_weight(weights, element, row);
    }
    return divisor;
}

/* 1 for a loss of the whole batch: its gradient needs sums over the batch. */
static inline int fnn_couples_rows(const fnn_loss *loss) { return loss->kind == FNN_DICE && !loss->per_row; }

static inline int fnn_penalizes_outputs(const fnn_op *op) {
    return (op->activity_l1 != 0 || op->activity_l2 != 0) && op->is_live;
}

static inline int fnn_is_trained(const fnn_op *op) {
    return op->rows && op->trainable && op->is_used && (op->use_kernel || op->use_bias);
}

/* The rows of its weight panels that are trained. */
static inline fnn_range fnn_trained_rows(const fnn_op *op) {
    return (fnn_range){op->use_kernel ? 0 : op->rows, op->rows + (op->use_bias != 0)};
}

/* The parameters of an op in an array laid out as the weights, from row k of weight panel q on. */
static inline void *fnn_rows_at(const fnn_network *network, const void *base, const fnn_op *op, ptrdiff_t q, ptrdiff_t k,
                                ptrdiff_t *width) {
    const fnn_kernels *kernels = network->kernels;
    *width = fnn_panel_width(kernels->panel, kernels->narrow, op->columns, q);
    const ptrdiff_t at = op->weights + fnn_panel_offset(kernels->panel, op->rows, q) + k * *width;
    return (char *)(uintptr_t)base + at * (ptrdiff_t)network->element;
}

/* The buffer of the outputs of op i, and the op whose outputs buffer b holds, negative for an input. */
static inline int fnn_buffer_of(const fnn_network *network, int i) { return network->n_inputs + i; }
static inline int fnn_op_of(const fnn_network *network, int b) { return b - network->n_inputs; }

static inline ptrdiff_t fnn_output_width(const fnn_network *network, int output) {
    return network->widths[network->outputs[output]];
}

/* What a network is made of; all of it is copied. */
typedef struct {
    const ptrdiff_t *input_widths;
    int n_inputs, n_ops, n_outputs;
    const fnn_op *ops;
    const int *outputs; /* buffers */
} fnn_program;

fnn_network *fnn_network_new(const fnn_kernels *kernels, const fnn_program *program);
void fnn_network_free(fnn_network *network);
fnn_status fnn_network_compile(fnn_network *network, const fnn_output_loss *losses, int n_losses,
                               const fnn_optimizer *optimizer);
/* The weights become their moving average. */
void fnn_network_use_average(fnn_network *network);
/* Sum of the penalties on all trained weights. */
double fnn_network_penalty(const fnn_network *network);
/* A number that differs where weights or states do; of one instruction set. */
uint64_t fnn_weights_checksum(const fnn_network *network);
/* All parameters in use as one flat array: the kernels of all ops, row-major, then their biases. Its size, and copies from
 * and to `weights`, an array laid out as the weights. */
ptrdiff_t fnn_flat_size(const fnn_network *network);
void fnn_from_flat(const fnn_network *network, void *weights, const void *flat);
void fnn_to_flat(const fnn_network *network, void *flat, const void *weights);
/* Slots of the moving average and of the sum of gradients, or NULL. */
void *fnn_average_slot(const fnn_network *network);
void *fnn_sum_slot(const fnn_network *network);
/* Columns of the targets of a loss on n_outputs outputs. */
ptrdiff_t fnn_target_columns(const fnn_loss *loss, ptrdiff_t n_outputs);
/* 1 where nothing but output `output` uses the activation of the op that computes it. */
int fnn_skips_activation(const fnn_network *network, int output);
/* The op whose activation loss l computes, so that training skips it. Else -1. */
int fnn_skipped_activation(const fnn_network *network, int l);

/* ---- route.c ---- */

/* The route to n wanted buffers, which are kept by the caller. */
void fnn_plan_route(const fnn_network *network, fnn_route *route, const int *wanted, int n);
/* Marks the ops that n buffers depend on in needed[n_ops]. */
void fnn_mark_needed(const fnn_network *network, unsigned char *needed, const int *buffers, int n);

/* ---- predict.c ---- */

/* What to predict: X, one matrix per input; out, one contiguous (rows, width) per wanted buffer of the route; activity
 * (rows) or NULL: each row's penalties on the outputs of its ops; skipped: by op, 1 where its activation is left out, or
 * NULL. */
typedef struct {
    const fnn_route *route;
    const fnn_matrix *X;
    void *const *out;
    double *activity;
    const unsigned char *skipped;
    int n_threads;
} fnn_prediction;

/* On FNN_BAD_INPUT some input that is needed is not finite, and out and activity are undefined. */
fnn_status fnn_predict(const fnn_network *network, const fnn_prediction *what);

/* The first row of input `input` that fnn_predict would refuse, or -1. */
ptrdiff_t fnn_bad_row(const fnn_network *network, int input, const fnn_matrix *X);

/* ---- train.c, plan.c, rates.c ---- */

typedef struct fnn_fit fnn_fit;

/* What a thread spends a step on. FNN_UPDATE: gradients of weights and their update; FNN_WAIT: waiting for the others;
 * FNN_EXCHANGE: for other ranks. */
typedef enum {
    FNN_GATHER, FNN_FORWARD, FNN_LOSS, FNN_BACKWARD, FNN_UPDATE, FNN_WAIT, FNN_EXCHANGE, FNN_PHASES
} fnn_fit_phase;

/* What one loss compares with. */
typedef struct {
    fnn_matrix y;          /* targets, rows in the network's type; data NULL for labels and for a loss of the caller */
    const int64_t *labels; /* or NULL */
    const void *sample_weight;
} fnn_targets;

typedef struct {
    const fnn_matrix *X;        /* by input */
    const fnn_targets *targets; /* by loss */
    void *const *predictions;   /* by output: receives the outputs, by original row; or NULL */
    const int64_t *rows;        /* (n_rows): the rows of X to train on; NULL: all */
    ptrdiff_t n_rows;
    ptrdiff_t batch_size;
    int n_threads;
    const fnn_ranks *ranks; /* processes that make the fit together, all with the same data and n_threads; or NULL */
} fnn_fit_data;

fnn_fit *fnn_fit_new(fnn_network *network, const fnn_fit_data *data);
void fnn_fit_free(fnn_fit *fit);
ptrdiff_t fnn_fit_steps(const fnn_fit *fit);
ptrdiff_t fnn_fit_step(const fnn_fit *fit);
double fnn_fit_loss_sum(const fnn_fit *fit);
/* The part of loss l in it, without its weight. */
double fnn_fit_output_loss_sum(const fnn_fit *fit, int l);
/* The penalties on weights in the sum of losses. */
double fnn_fit_penalty_sum(const fnn_fit *fit);
void fnn_fit_begin(fnn_fit *fit, uint64_t seed, uint64_t epoch, int shuffle, const double *rates);
/* Continues from step `steps` of the epoch that has just begun: the network has taken the steps before it already. */
void fnn_fit_skip(fnn_fit *fit, ptrdiff_t steps, const double *rates);
/* Replaces the order of rows (n) that fnn_fit_begin drew; with fit_data's rows, numbers of these. */
void fnn_fit_set_order(fnn_fit *fit, const int64_t *order);
/* Other learning rates for the rest of the epoch; one per step of the epoch. */
void fnn_fit_set_rates(fnn_fit *fit, const double *rates);
/* Factors of the weight decay, of the rates of dropout and of label smoothing; one per step of the epoch. They stay until
 * they are set again; 1 at first. */
typedef enum { FNN_DECAY_FACTOR, FNN_DROPOUT_FACTOR, FNN_SMOOTHING_FACTOR, FNN_FIT_FACTORS } fnn_fit_factor;
void fnn_fit_set_factors(fnn_fit *fit, fnn_fit_factor factor, const double *values);
/* From now on the phases of fnn_fit_run are timed, from zero. */
void fnn_fit_time_phases(fnn_fit *fit);
/* Nanoseconds that the threads spent in a phase, all together. */
int64_t fnn_fit_phase_ns(const fnn_fit *fit, fnn_fit_phase phase);
/* Between ranks it exchanges all that is kept for each weight where it ends after max_steps, the last step or a loss that is
 * not finite. FNN_INTERRUPTED also stands for an exchange that failed. */
fnn_status fnn_fit_run(fnn_fit *fit, ptrdiff_t max_steps, double max_seconds);
/* The same exchange, after steps around losses of the caller. */
void fnn_fit_settle(fnn_fit *fit);
/* 1 where ranks divide the steps. */
int fnn_fit_is_divided(const fnn_fit *fit);
/* A step around losses that the caller computes; all arrays are by loss, with entries for those of kind FNN_CUSTOM. forward
 * writes the outputs of the batch, (rows, width); backward takes their gradients and the losses, and updates, unless
 * another loss is not finite. */
fnn_status fnn_fit_forward(fnn_fit *fit, void *const *out);
fnn_status fnn_fit_backward(fnn_fit *fit, const void *const *gradients, const double *losses);
/* The number of rows of the current batch; *order is NULL where they are *first, *first + 1, ... */
ptrdiff_t fnn_fit_batch(const fnn_fit *fit, const int64_t **order, ptrdiff_t *first);
/* Gradients of the first batch in order, in the layout of the weights; layers act as in training or as in prediction.
 * *penalty: the penalties in the loss. */
fnn_status fnn_fit_gradients(fnn_fit *fit, void *gradients, int training, double *loss, double *penalty);

/* ---- epochs.c ---- */

/* Rows that are evaluated after epochs; targets: by loss. */
typedef struct {
    fnn_prediction prediction; /* of all outputs, without activities */
    const fnn_targets *targets;
} fnn_held_out;

/* Early stopping: training ends after an epoch without improvement, if `patience` epochs have brought none. */
typedef struct {
    int held_out;          /* the total loss of held-out rows is watched; 0: that of training */
    double min_delta;      /* an improvement is larger */
    double baseline;       /* improvements that do not reach it do not restart the patience; NaN: none */
    ptrdiff_t patience;
    ptrdiff_t epoch, start; /* numbers of the first of these epochs, and of the first one to watch */
    int has_best;
    double best;
    ptrdiff_t best_epoch, wait; /* wait: epochs since the last improvement */
    void *weights;              /* receives the weights of the best epoch, laid out as those of the network; or NULL */
} fnn_watch;

/* Epochs that follow one another without the caller. */
typedef struct {
    uint64_t seed, first, between; /* epoch k has the number first + k * between */
    int shuffle;
    const int64_t *orders; /* (count, n): orders of rows instead of those that the seed draws; or NULL */
    const double *rates;   /* of the steps of every epoch */
    ptrdiff_t count, done; /* done: those that have ended */
    int looked, begun;     /* what comes before epoch `done` is over, and it has begun */
    double *sums;          /* (count, 2 + losses) of the epochs that have ended: loss_sum, penalty_sum, loss_sums */
    const fnn_held_out *held_out; /* evaluated after each epoch that another follows; or NULL */
    const unsigned char *due;     /* (count): whether it is after that epoch; NULL: after all */
    double *values;               /* (count, 1 + losses): the total loss of held_out, and its parts without their weights */
    fnn_watch *watch;             /* lowers count where training ends early; or NULL */
} fnn_epochs;
/* FNN_OK after all epochs. After FNN_MORE, which comes after about max_seconds, the next call continues.
 * FNN_BAD_INPUT: held-out inputs are not finite. */
fnn_status fnn_fit_run_epochs(fnn_fit *fit, fnn_epochs *epochs, double max_seconds);

/* ---- arrays.c: kernels on the caller's arrays, all contiguous rows of the table's type ---- */

/* A dense layer: x (n, n_in), kernel (n_in, n_out), bias (n_out) or NULL. */
typedef struct {
    const void *x, *kernel, *bias;
    ptrdiff_t n, n_in, n_out;
    int activation;
    double parameters[3];
} fnn_dense_arrays;

/* out (n, n_out) */
fnn_status fnn_dense_forward(const fnn_kernels *kernels, void *out, const fnn_dense_arrays *arrays, int n_threads);
fnn_status fnn_dense_backward(const fnn_kernels *kernels, void *grad_x, void *grad_kernel, void *grad_bias,
                              const void *grad_out, const fnn_dense_arrays *arrays, int n_threads);

/* Predictions (n, n_out), their targets (n, fnn_target_columns) or labels (n), and sample weights (n) or NULL. */
typedef struct {
    const void *y_pred, *y_true;
    const int64_t *labels;
    const void *sample_weight;
    ptrdiff_t n, n_out;
} fnn_loss_arrays;

/* gradient (n, n_out) or NULL */
fnn_status fnn_loss_and_gradient(const fnn_kernels *kernels, double *value, void *gradient, const fnn_loss_arrays *arrays,
                                 const fnn_loss *loss);
/* out = f(x), both (n, n_out); they are the same array or do not overlap */
void fnn_activate(const fnn_kernels *kernels, void *out, const void *x, ptrdiff_t n, ptrdiff_t n_out, int activation,
                  const double *parameters);
/* grad_x = grad_out * f'(x), all (n, n_out) */
fnn_status fnn_activation_gradient(const fnn_kernels *kernels, void *grad_x, const void *grad_out, const void *x,
                                   ptrdiff_t n, ptrdiff_t n_out, int activation, const double *parameters);

#endif
