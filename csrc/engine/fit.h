/* A fit: its buffers and the plan of its steps. Made by plan.c, run by train.c and epochs.c. */
#ifndef FNN_FIT_H
#define FNN_FIT_H

#include "engine.h"
#include "trials.h"

/* Rows of weight panel q of one op, which a thread updates at a time. */
typedef struct {
    int op;
    ptrdiff_t q;
    fnn_range rows;
} fnn_strip;

/* The buffers of one op, or an input of the network; NULL where they are not needed. */
typedef struct {
    void *Y;            /* outputs, and a row of ones */
    void *dY;           /* gradient of the outputs; NULL: no gradient comes here */
    void **dX;          /* gradients of the inputs; NULL where one is not needed */
    void **parts;       /* gradients of the outputs from all that use them, in their order; the first is dY */
    int n_parts;
    void *D;            /* factor of the gradient of the inputs, such as the activation's derivative */
    void *dZt;          /* products: the gradient of their outputs, transposed */
    void *saved;        /* terms that the gradient of the parameters sums over the batch */
    double *statistics; /* of features or of rows */
    int is_finished;    /* outputs have a row activation or penalties, which follow the op */
    fnn_dense layer;    /* dense layers: what their kernels need, for a full batch */
    ptrdiff_t stride;      /* elements between panels of Y */
    ptrdiff_t first_block; /* of the op in the sums over blocks of weights */
} op_buffers;

/* Rows of weights that are summed together: a constant of the numerical definition. */
#define FNN_BLOCK 32

/* The constants of a step, n_steps of each in fit->rates: the bias-corrected rate, the given one, and Nadam's two more; from
 * FNN_FACTORS on the factors of fnn_fit_factor. */
enum { FNN_RATE, FNN_RAW, FNN_RATE_2, FNN_CORRECTION, FNN_FACTORS, FNN_CONSTANTS = FNN_FACTORS + FNN_FIT_FACTORS };

/* Time of one thread, in nanoseconds by phase; since: the end of its last phase. */
typedef struct {
    _Alignas(64) int64_t spent[FNN_PHASES];
    int64_t since;
} phase_times;

/* One loss of a fit. */
typedef struct {
    fnn_loss loss;
    double weight;
    fnn_targets targets;
    int output, buffer; /* buffer: of the outputs, or of what is before the activation that the loss computes */
    int skipped;       /* op whose activation the loss computes, or -1 */
    ptrdiff_t n_out;
    int couples_rows;  /* fnn_couples_rows */
    void *predictions; /* of the caller, by original row; or NULL */
    void *T, *dY;
    ptrdiff_t t_stride;
    double *values, *labels, *scale; /* one per row of the batch; scale: without the loss's weight */
    double *batch_sums;              /* per panel two sums of each row */
    const void *gradient;            /* of a loss that the caller computes */
    double value;
    void *outputs;
} fit_loss;

/* An output that is copied to the caller although no loss is computed from it. */
typedef struct {
    int buffer;
    void *predictions;
} kept_output;

/* Memory that the ranks of one machine have in common; empty where they have none. */
typedef struct {
    char *block; /* of all that follows, and of the rows that a step reads in phase 2 */
    size_t bytes;
    struct fnn_meeting *meeting;
    char *message; /* the last one of a step */
    void *weights; /* or NULL: they travel */
    void *own;     /* while the network's weights are here: this rank's copy */
} fnn_common;

/* How training runs an op. */
typedef enum {
    FNN_LEFT_OUT, /* no loss depends on it */
    FNN_RUNS,
    FNN_IS_LINEAR, /* without its activation, which a loss computes */
    FNN_IS_PASSED  /* nothing is left of it then: its outputs are its inputs */
} fnn_part;

struct fnn_fit {
    fnn_network *network;
    fnn_matrix *X; /* by input */
    fit_loss *losses;
    kept_output *kept;
    int n_losses, n_kept;
    ptrdiff_t batch_size;
    int most_threads;
    ptrdiff_t n, n_steps, n_panels; /* n_panels: of a full batch */
    int n_threads, n_strips;
    int n_ranks, rank;      /* processes that divide the steps, and which of them this is; 1 and 0 in an ordinary fit */
    fnn_exchange *exchange; /* of several ranks, or NULL */
    fnn_common common;      /* what they exchange, on one machine */
    int failed;             /* an exchange did */
    unsigned char *parts; /* fnn_part, by op */
    int first_trained;    /* the first op that a gradient reaches */
    fnn_trials trials;
    fnn_barrier barrier;
    op_buffers *buffers; /* of the network */
    void **pointers;     /* what dX and parts of the buffers point to */
    int n_gradients;     /* slots of gradients at a time */
    void **gradient_slots;
    ptrdiff_t dy_stride;
    int64_t *order;
    const int64_t *rows; /* of the caller: the fit's rows among those of X; NULL: all */
    double *rates;
    int64_t first_iteration; /* steps the network had taken when the epoch began */
    ptrdiff_t first_step;    /* the first one since fnn_fit_begin */
    int drawn;               /* `order` is that of `seed` and `epoch` */
    fnn_strip *strips;
    int *first_strip;            /* [ranks * threads + 1]: the shares of n_threads threads of each rank */
    int worth_meeting;           /* the products of one panel are worth dividing between threads */
    int has_rules;               /* some op has rules: kernels and biases are in different strips */
    int has_moving_average;      /* of the weights */
    int has_moving_statistics;   /* some op has */
    int constrains_norms;        /* of weights */
    int penalizes_weights;       /* some op does */
    int penalizes_outputs;       /* some op does */
    int clips_norms;             /* of gradients */
    int couples_rows;            /* some loss does */
    int shares_weights;          /* some trained weights have several ops */
    int inference;               /* layers act as in prediction */
    double *penalty_sums, *norm_sums; /* over blocks of weights and of gradients */
    double *output_penalties;         /* one per row of the batch */
    void *stored;                /* gradients, where the update rule does not follow at once */
    void *shared_sums;           /* gradients of shared weights, where they are not stored */
    void *gradients;             /* where set, phase 2 stores gradients there and updates nothing */
    uint64_t seed, epoch;
    int shuffled;
    ptrdiff_t until; /* the step where this call ends */
    double deadline;
    int may_store;      /* a step may store the gradients first */
    int stores;         /* this one does. Written by thread 0 at the end of phase 1 */
    int is_long;        /* a step can be interrupted */
    int cut[2];         /* it was, before the gradients of the weights; before the update. Written by thread 0 */
    atomic_int nonfinite;
    atomic_int stop;
    int timed;           /* phases are timed */
    phase_times *phases; /* per thread */
    /* Written by thread 0 in every step: in a cache line that no other thread reads. */
    _Alignas(64) ptrdiff_t step;       /* steps done in this epoch */
    ptrdiff_t check_every, next_check; /* when to look at the clock */
    int64_t began;                     /* a step that may store gradients */
    double loss_sum, penalty_sum;
    double *loss_sums; /* by loss, without their weights */
};

/* One step, as one of its threads sees it. */
typedef struct {
    fnn_fit *fit;
    int thread, n_threads;
    ptrdiff_t step, first_row, rows; /* of the batch */
    ptrdiff_t n_panels, padded;      /* padded: rows rounded up to whole panels */
    double mean_factor;              /* of the first loss */
    fnn_range rank_panels;           /* of this rank */
    fnn_range chunks;                /* of FNN_CHUNK rows: gradients of products sum over these */
    fnn_range panels;                /* this thread's share of them */
    int is_long;                     /* the fit's */
    int together;                    /* fewer panels than threads: the threads divide the outputs of each product */
} fnn_step;

/* The buffers of the outputs of op i. */
static inline op_buffers *fnn_buffers_of(const fnn_fit *fit, int i) {
    return &fit->buffers[fnn_buffer_of(fit->network, i)];
}

/* The rows of X in the order of the epoch; NULL: all, one after another. */
static inline const int64_t *fnn_order_of(const fnn_fit *fit) { return fit->shuffled ? fit->order : fit->rows; }

/* 1 for an op that a step runs. */
static inline int fnn_runs(const fnn_fit *fit, int i) {
    return fit->parts[i] == FNN_RUNS || fit->parts[i] == FNN_IS_LINEAR;
}

/* A factor of this step. */
static inline double fnn_factor(const fnn_step *s, fnn_fit_factor factor) {
    return s->fit->rates[((int)FNN_FACTORS + (int)factor) * s->fit->n_steps + s->step];
}

/* The next panel of this thread; the end after an interruption of a long step. */
static inline ptrdiff_t fnn_next(const fnn_step *s, ptrdiff_t p) {
    return s->is_long ? fnn_next_panel(p, s->panels.last) : p + 1;
}

/* Waits until all threads have finished the op before, where they divide outputs. */
static inline void fnn_meet(const fnn_step *s) {
    if (s->together) fnn_barrier_wait(&s->fit->barrier);
}

/* The panels of a product that a thread works on, and its share of the product's outputs. */
static inline fnn_range fnn_product_panels(const fnn_step *s) {
    return s->together ? s->rank_panels : s->panels;
}
static inline fnn_range fnn_product_share(const fnn_step *s, ptrdiff_t outputs) {
    return s->together ? fnn_share(outputs, s->thread, s->n_threads) : (fnn_range){0, outputs};
}

static inline void *fnn_at(const fnn_fit *fit, void *base, ptrdiff_t elements) {
    return (char *)base + elements * (ptrdiff_t)fit->network->element;
}

/* The activation of op i in training. */
static inline int fnn_activation_of(const fnn_fit *fit, int i) {
    return fit->parts[i] == FNN_IS_LINEAR ? FNN_LINEAR : fit->network->ops[i].activation;
}

/* The phase that a thread was in is over. */
static inline void fnn_mark(fnn_fit *fit, int thread, fnn_fit_phase phase) {
    if (!fit->timed) return;
    phase_times *times = &fit->phases[thread];
    const int64_t now = fnn_clock_ns();
    times->spent[phase] += now - times->since;
    times->since = now;
}

/* gradients.c: which ops a step runs; where gradients are kept: their number at a time, and for each buffer its places. */
void fnn_plan_parts(fnn_fit *fit);
int fnn_plan_gradients(fnn_fit *fit); /* 0 where there is no memory */
/* 1 where a gradient comes to buffer b. */
void fnn_find_gradients(const fnn_fit *fit, unsigned char *reached);
/* The last op that uses the weights of op o and that a gradient reaches, or -1. */
int fnn_last_call(const fnn_fit *fit, int o);
/* 1 where this fit trains an op, which may have been frozen or freed since the fit was made. */
int fnn_fit_trains(const fnn_fit *fit, int o);

/* losses.c. 1 / divisor of a mean over the rows; 0 where no row counts. */
double fnn_mean_factor(const fnn_step *s, const fit_loss *loss);
/* Targets, sample weights and scale of a loss. */
void fnn_gather_targets(const fnn_step *s, fit_loss *loss, double mean);
/* All losses and their gradients. */
void fnn_evaluate_losses(const fnn_step *s);
/* Copies panel p of a buffer, `width` outputs, to the caller's array of predictions; and all outputs without a loss. */
void fnn_store_predictions(const fnn_step *s, void *predictions, int buffer, ptrdiff_t width, ptrdiff_t p);
void fnn_store_kept_outputs(const fnn_step *s);
/* On the first thread after fnn_exchange_rows: the outputs of the other ranks' panels become predictions. */
void fnn_store_other_ranks(const fnn_step *s);
/* The loss of a batch, the sum of all losses times their weights; *penalty: the penalties on weights in it. The losses
 * themselves times the rows are added to sums, unless that is NULL. */
double fnn_batch_loss(const fnn_step *s, double *penalty, double *sums);

/* ranks.c: the exchange of a fit whose steps are divided; 0 where there is no memory. */
int fnn_exchange_new(fnn_fit *fit, const fnn_ranks *ranks);
void fnn_exchange_free(fnn_fit *fit);
/* 0 where an interrupted step or a failure has left exchanges that may still write to the buffers. */
int fnn_exchange_is_over(const fnn_fit *fit);
/* The panels of a batch that a rank works on. */
fnn_range fnn_rank_panels(const fnn_fit *fit, ptrdiff_t n_panels, int rank);
/* Called by each thread after the backward pass of op i: what its weights need may begin to travel. */
void fnn_exchange_passed(const fnn_step *s, int i);
/* Called by all threads after a barrier: all ranks get all panels of a buffer with so many bytes per panel. */
void fnn_gather_panels(const fnn_step *s, void *panels, ptrdiff_t bytes);
/* Called by the first thread between two barriers: what phase 2 reads and the losses of all rows; sums of squares; weights;
 * and, between steps, all that is kept for each weight. */
void fnn_exchange_rows(const fnn_step *s);
void fnn_gather_norm_sums(const fnn_step *s);
void fnn_gather_weights(const fnn_step *s);
void fnn_gather_slots(fnn_fit *fit);

/* common_memory.c: the first parts of the common memory, before rows. */
void fnn_take_common(fnn_fit *fit, fnn_arena *arena);
int fnn_is_common(const fnn_fit *fit, const void *buffer);
/* Waits for all ranks, on the first thread. */
void fnn_meet_ranks(fnn_fit *fit);
/* The network's weights come into common memory before steps, where they may, and leave it after them. */
void fnn_enter_common(fnn_fit *fit);
void fnn_leave_common(fnn_fit *fit);

/* chunk_sums.c. Called by all threads after the exchange of rows: the sums of chunks travel; 0 where that failed. */
int fnn_exchange_sums(const fnn_step *s);
/* Whether those of op i do; n elements of its gradient, from those of the network's weights at `at` on. */
int fnn_receives_sums(const fnn_step *s, int i);
void fnn_add_sums(const fnn_step *s, const fnn_strip *strip, void *G, ptrdiff_t at, ptrdiff_t n);

/* update.c: phase 2; 0 where an interruption came before any weight was changed. */
int fnn_update_weights(const fnn_step *s);

/* strips.c. Cuts all trained weights into strips and deals them out; returns their number. Without fit->strips it only
 * counts. */
int fnn_plan_strips(fnn_fit *fit);
int fnn_has_rules(const fnn_op *op);
/* A thread's share of the strips of its rank. */
fnn_range fnn_strips_of(const fnn_step *s);
/* Strips from one weight panel to the next, where `left` strips are left: 2 where the kernel's part of a panel and its bias
 * alternate. */
ptrdiff_t fnn_strips_apart(const fnn_strip *strip, ptrdiff_t left);
/* Strips that are updated together with strip i, each so far apart from the one before: the same rows of neighbouring weight
 * panels, from the same inputs. */
ptrdiff_t fnn_strips_together(const fnn_step *s, ptrdiff_t i, ptrdiff_t last, ptrdiff_t apart);
static inline int fnn_parameter_of(const fnn_network *network, const fnn_strip *strip) {
    return strip->rows.first == network->ops[strip->op].rows ? FNN_BIAS : FNN_KERNEL;
}

/* weight_sums.c. A thread's share of the sums of penalties on weights; then, from all of them, the penalty. */
void fnn_sum_penalties(const fnn_step *s);
double fnn_penalty(const fnn_fit *fit);
/* The factor of the penalties on weights. */
static inline double fnn_penalty_scale(const fnn_step *s) {
    return s->fit->losses[0].loss.scaled_penalty ? s->mean_factor : 1.0;
}
/* The sums of squares of a strip's stored gradients; then, from those of all strips, that of a parameter, and the factor
 * that clips the norm of its gradient. */
void fnn_sum_strip_squares(const fnn_step *s, const fnn_strip *strip);
double fnn_gradient_squares(const fnn_fit *fit, int o, int parameter);
double fnn_clip_factor(double squares, double mean, double bound);
/* A thread's share of the constraints on norms; after a barrier. */
void fnn_constrain(const fnn_step *s);
ptrdiff_t fnn_blocks_of(const fnn_op *op);
int fnn_has_penalty(const fnn_op *op);
int fnn_has_norm_constraint(const fnn_op *op);

#endif
