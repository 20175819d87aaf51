/* A fit: the buffers and the plan of its steps. Made by plan.c, run by train.c. */
#ifndef FNN_FIT_H
#define FNN_FIT_H

#include "engine.h"

/* Rows [k0, k1) of weight panel q of one op: what a thread updates at a time. */
typedef struct {
    int op;
    ptrdiff_t q, k0, k1;
} unit;

/* The buffers of one op: its output, the derivative of its activation, and dZ transposed. */
typedef struct {
    void *Y, *D, *dZt;
    ptrdiff_t stride; /* elements between panels of Y */
} op_buffers;

struct fnn_fit {
    fnn_network *network;
    fnn_fit_data data;
    ptrdiff_t n, n_steps, panels; /* panels: of a full batch */
    int n_threads, n_units, skipped, first_dense, trained_ops;
    fnn_barrier barrier;
    op_buffers *buffers; /* [0] is the input, [i + 1] the output of op i */
    void *dY[2];         /* gradients of the op at hand and the one before */
    void *T;
    ptrdiff_t dy_stride, t_stride;
    double *values, *labels, *scale; /* one per row of the batch */
    int64_t *order;
    double *rates; /* [0, n_steps) bias-corrected, [n_steps, 2 n_steps) as given */
    unit *units;
    int *unit_start; /* [threads + 1]: the parts of n_threads threads */
    void *gradients; /* where set, phase 2 stores gradients there and updates nothing */
    uint64_t seed, epoch;
    int shuffled;
    ptrdiff_t step, until; /* steps done in this epoch; where this call ends */
    double loss_sum, deadline;
    ptrdiff_t check_every;
    atomic_int nonfinite;
    atomic_int stop;
    size_t arena_size;
};

static inline void *fnn_at(const fnn_fit *fit, void *base, ptrdiff_t elements) {
    return (char *)base + elements * (ptrdiff_t)fit->network->element;
}

#endif
