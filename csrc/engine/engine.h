/* The engine: networks, fits and predictions. Compiled once; arithmetic goes through a kernel table.
 *
 * Sizes are checked for overflow where memory is asked for; after that nothing can fail. Status codes are returned,
 * never printed. */
#ifndef FNN_ENGINE_H
#define FNN_ENGINE_H

#include <stdatomic.h>

#include "../fnn.h"

typedef enum { FNN_OK, FNN_MORE, FNN_NONFINITE, FNN_NO_MEMORY, FNN_BAD_INPUT } fnn_status;

/* ---- arena.c: the only place that allocates ---- */

/* `parts` sizes in bytes, each aligned to a cache line; pointers to them in `out`. NULL: too large or no memory.
 * Memory is zero. */
void *fnn_arena_new(void **out, const size_t *sizes, int parts, size_t *total);
void fnn_arena_free(void *arena, size_t total);
/* count * size * more, SIZE_MAX on overflow */
size_t fnn_size(ptrdiff_t count, ptrdiff_t size, ptrdiff_t more);

/* ---- team.c: threads ---- */

/* Everybody waits until all `members` have come; spins for a bounded time, then yields. */
typedef struct {
    _Alignas(64) atomic_int arrived;
    _Alignas(64) atomic_int generation;
    _Alignas(64) int members;
} fnn_barrier;

typedef void (*fnn_phase)(void *context, int thread, int n_threads);

/* Runs phase(context, t, n) for t in 0..n-1 with n <= n_threads; `barrier` (may be NULL) is set up for n members.
 * In a forked child and inside another parallel region n is 1. */
void fnn_team_run(fnn_phase phase, void *context, int n_threads, fnn_barrier *barrier);
void fnn_barrier_wait(fnn_barrier *barrier);
/* Threads that sleep in the OpenMP runtime after a long call are let go. */
void fnn_team_release(void);
int fnn_openmp_version(void);
/* The part [*first, *last) of `count` items that belongs to one thread. */
void fnn_share(ptrdiff_t count, int thread, int n_threads, ptrdiff_t *first, ptrdiff_t *last);
/* The threads worth using for a call of `operations` floating-point operations cut into at most `parts` parts. */
int fnn_threads_for(double operations, ptrdiff_t parts, int n_threads);

/* ---- network.c ---- */

typedef enum { FNN_OP_DENSE, FNN_OP_ACTIVATION, FNN_OP_DROPOUT } fnn_op_kind;

typedef struct {
    int kind;
    int activation;
    int use_bias;
    double parameters[2]; /* of the activation */
    double rate;          /* of dropout */
    ptrdiff_t n_in, n_out;
    ptrdiff_t weights; /* offset of the weight panels, in elements */
} fnn_op;

typedef struct {
    const fnn_kernels *kernels;
    size_t element; /* bytes */
    int n_ops;
    fnn_op *ops;
    ptrdiff_t n_features, n_outputs, widest;
    ptrdiff_t n_elements; /* of all weight panels */
    double operations;    /* of the products for one row, forward */
    void *weights;
    void *slots[3]; /* moments of the update rule, laid out as the weights */
    int n_slots;
    fnn_loss loss;
    fnn_update update; /* rate and decay: per unit of learning rate */
    int64_t iterations;
    void *arena, *slot_arena;
    size_t arena_size, slot_arena_size;
} fnn_network;

fnn_network *fnn_network_new(const fnn_kernels *kernels, ptrdiff_t n_features, const fnn_op *ops, int n_ops);
void fnn_network_free(fnn_network *network);
fnn_status fnn_network_compile(fnn_network *network, const fnn_loss *loss, const fnn_update *update, int n_slots);
/* The last op, where the loss takes its pre-activations: its activation is skipped in training. Else -1. */
int fnn_skipped_activation(const fnn_network *network);

/* ---- predict.c ---- */

/* out (rows, n_outputs) contiguous. On FNN_BAD_INPUT *bad_row is a row of X that is not finite and out is undefined. */
fnn_status fnn_predict(const fnn_network *network, const fnn_matrix *X, void *out, int logits, int n_threads,
                       ptrdiff_t *bad_row);

/* ---- train.c ---- */

typedef struct fnn_fit fnn_fit;

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
void fnn_fit_begin(fnn_fit *fit, uint64_t seed, uint64_t epoch, int shuffle, const double *rates);
fnn_status fnn_fit_run(fnn_fit *fit, ptrdiff_t max_steps, double max_seconds);
/* Gradients of the first batch in order, in the layout of the weights; dropout off. */
void fnn_fit_gradients(fnn_fit *fit, void *gradients);

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
