/* The kinds of layers. A kind is a const fnn_kind, in a file of layers/ with its functions; layers/kinds.c lists them. */
#ifndef FNN_KIND_H
#define FNN_KIND_H

#include "fit.h"

/* An op on a block of rows in prediction. */
typedef struct {
    const fnn_network *network;
    const fnn_op *op;
    int activation; /* elementwise, or a row activation that the caller applies */
    fnn_rows rows;
    fnn_range weight_panels; /* products: of the outputs to compute */
    const void *branch;      /* add: its second operand, (rows, branch_ld) */
    ptrdiff_t branch_ld;
} fnn_row_call;

/* An op on panels in prediction, `stride` elements apart. */
typedef struct {
    const fnn_network *network;
    const fnn_op *op;
    int activation;
    void *Y, *X;
    ptrdiff_t n_panels, stride;
} fnn_panel_call;

struct fnn_kind {
    /* Names in Python: of the kind; of its kernel and its bias, NULL where it has none; of its states, which are kept but
     * not trained: two of one number per input, the third a single number. */
    const char *name, *parameters[FNN_PARAMETERS], *states[3];
    /* Names in Python of the options that an op must give. */
    const char *options[2];

    /* The kernel is a matrix (inputs, outputs): the number of outputs is given, and threads may divide them. Otherwise a
     * parameter is one number per feature. */
    int is_product;
    /* A linear one changes nothing. */
    int only_activates;
    /* With op->missing a NaN in the inputs stands for a missing value. */
    int takes_missing;
    /* Adds the input of op->source. */
    int adds_branch;
    /* The number of outputs where it is neither given nor that of the inputs; 0 on overflow. */
    ptrdiff_t (*outputs)(const fnn_op *op);

    /* Buffers of a fit: 1 where op_buffers.D is needed with an activation; 1 where .saved is; the length of .statistics. */
    int (*keeps_derivative)(int activation);
    int saves;
    ptrdiff_t (*statistics)(const fnn_op *op, ptrdiff_t padded_rows);

    /* Training. All threads call these together, each for its panels. Row activations and penalties on outputs are the
     * caller's. */
    void (*forward)(const fnn_step *s, int i);
    /* The gradient of the outputs, dY, becomes that of the inputs; returns where that is. NULL: it is the same. */
    void *(*backward)(const fnn_step *s, int i, void *dY);
    /* Gradient of both rows of a weight panel; products: of `count` strips of neighbouring panels, and the update rule. */
    void (*gradient)(const fnn_step *s, const fnn_strip *strip, void *G);
    void (*update)(const fnn_step *s, const fnn_strip *strip, ptrdiff_t count, const fnn_weights *weights,
                   const fnn_update *update);
    /* After a step whose loss is finite; NULL: the op has no moving statistics. */
    void (*move_statistics)(const fnn_step *s, int i);

    /* Prediction. predict_rows NULL: the op changes nothing there; predict_panels NULL: it does not work by panels. */
    void (*predict_rows)(const fnn_row_call *call);
    void (*predict_panels)(const fnn_panel_call *call);
};

/* 1 where prediction leaves an op out. */
static inline int fnn_passes_through(const fnn_op *op, int activation) {
    return !op->kind->predict_rows || (op->kind->only_activates && activation == FNN_LINEAR);
}

/* keeps_derivative of kinds that always do */
static inline int fnn_always(int activation) {
    (void)activation;
    return 1;
}

/* An op's weights and its first and second state. */
static inline void *fnn_op_weights(const fnn_network *network, const fnn_op *op) {
    return (char *)network->weights + op->weights * (ptrdiff_t)network->element;
}
static inline void *fnn_op_state(const fnn_network *network, const fnn_op *op, int state) {
    return (char *)network->weights + (op->state + state * op->n_in) * (ptrdiff_t)network->element;
}

/* Panel p of an op's buffers. */
typedef struct {
    void *X, *Y, *D, *saved; /* D and saved may be NULL */
} op_panel;

static inline op_panel fnn_panel_of(const fnn_fit *fit, int i, ptrdiff_t p) {
    const fnn_op *op = &fit->network->ops[i];
    const op_buffers *in = &fit->buffers[i], *out = &fit->buffers[i + 1];
    const ptrdiff_t panel = fit->network->kernels->panel;
    return (op_panel){fnn_at(fit, in->Y, p * in->stride), fnn_at(fit, out->Y, p * out->stride),
                      out->D ? fnn_at(fit, out->D, p * op->n_out * panel) : NULL,
                      out->saved ? fnn_at(fit, out->saved, p * op->n_in * panel) : NULL};
}

/* backward of kinds that are elementwise; a row activation, which keeps no derivative, is the caller's */
static inline void *fnn_multiply_by_derivative(const fnn_step *s, int i, void *dY) {
    const fnn_kernels *kernels = s->fit->network->kernels;
    if (!s->fit->buffers[i + 1].D) return dY;
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p))
        kernels->multiply(fnn_at(s->fit, dY, p * s->fit->dy_stride), fnn_panel_of(s->fit, i, p).D,
                          s->fit->network->ops[i].n_in * kernels->panel);
    return dY;
}

#endif
