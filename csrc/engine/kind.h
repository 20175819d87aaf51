/* The kinds of layers. A kind is a const fnn_kind, in a file of layers/ with its functions; layers/kinds.c lists them. */
#ifndef FNN_KIND_H
#define FNN_KIND_H

#include "fit.h"

/* An op on a block of rows in prediction. */
typedef struct {
    const fnn_network *network;
    const fnn_op *op;
    int activation;          /* elementwise, or a row activation that the caller applies */
    fnn_rows rows;           /* X: the first input */
    fnn_range weight_panels; /* products: of the outputs to compute */
    const char *const *at;   /* where each buffer is, and the elements between its rows */
    const ptrdiff_t *ld;
} fnn_row_call;

/* An op on panels in prediction, `stride` elements apart. */
typedef struct {
    const fnn_network *network;
    const fnn_op *op;
    int activation;
    void *Y;
    ptrdiff_t n_panels, stride;
    const char *const *at; /* where each buffer is */
} fnn_panel_call;

/* What backward does with the gradient of the outputs. */
typedef enum {
    FNN_IN_PLACE, /* it becomes that of the first input that needs one and is as wide as the outputs */
    FNN_PARTS,    /* it consists of those of the inputs, one after the other */
    FNN_APART     /* those of the inputs are elsewhere */
} fnn_gradient_place;

struct fnn_kind {
    /* Names in Python: of the kind; of its kernel and its bias, NULL where it has none; of its states, which are kept but
     * not trained: two of one number per input, the third a single number. */
    const char *name, *parameters[FNN_PARAMETERS], *states[3];
    /* Names in Python of the options that an op must give. */
    const char *options[3];
    /* The fewest and the most inputs; 0: one. 1 where a number may take the place of an input but one. */
    int least_inputs, most_inputs, takes_number;

    /* The kernel is a matrix (inputs, outputs): the number of outputs is given, and threads may divide them. Otherwise a
     * parameter is one number per feature. */
    int is_product;
    /* The kernel is a matrix (op->table_rows, op->columns) of which rows are looked up. */
    int is_table;
    /* These rows are multiplied with inputs, as many times as there are outputs in a row of the op. */
    int is_multiplied;
    /* The parameters are never trained. */
    int is_fixed;
    /* The gradient of the weights reads the gradient of the outputs, transposed: op_buffers.dZt. */
    int transposes;
    /* It reads the inputs, though these are neither multiplied nor looked up. */
    int reads_inputs;
    /* A linear one changes nothing. */
    int only_activates;
    /* With op->missing a NaN in the inputs stands for a missing value. */
    int takes_missing;
    /* The number of outputs where it is neither given nor that of the first input; widths: of the buffers. 0 on overflow. */
    ptrdiff_t (*outputs)(const fnn_op *op, const ptrdiff_t *widths);

    /* Buffers of a fit: 1 where op_buffers.D is needed with an activation; 1 where .saved is; the length of .statistics. */
    int (*keeps_derivative)(int activation);
    int saves;
    ptrdiff_t (*statistics)(const fnn_op *op, ptrdiff_t padded_rows);

    /* Once all buffers of a fit are there, and where the weights have moved; or NULL. */
    void (*prepare)(const fnn_fit *fit, int i);

    /* Training. All threads call these together, each for its panels. Row activations and penalties on outputs are the
     * caller's. */
    void (*forward)(const fnn_step *s, int i);
    /* From the gradient of the outputs those of the inputs, where op_buffers says. NULL: it is the same. */
    void (*backward)(const fnn_step *s, int i);
    fnn_gradient_place gradient_place;
    /* No gradient goes to the inputs. */
    int stops_gradient;
    /* Gradient of both rows of a weight panel, of a table's strip->rows; matrices: of `count` strips of neighbouring panels,
     * and the update rule. */
    void (*gradient)(const fnn_step *s, const fnn_strip *strip, void *G);
    void (*update)(const fnn_step *s, const fnn_strip *strip, ptrdiff_t count, const fnn_weights *weights,
                   const fnn_update *update);
    /* After a step whose loss is finite; NULL: the op has no moving statistics. */
    void (*move_statistics)(const fnn_step *s, int i);

    /* Prediction. predict_rows NULL: the op changes nothing there; predict_panels NULL: it does not work by panels. */
    void (*predict_rows)(const fnn_row_call *call);
    void (*predict_panels)(const fnn_panel_call *call);
};

/* The kinds of arithmetic. */
extern const fnn_kind fnn_add_kind, fnn_subtract_kind, fnn_multiply_kind, fnn_divide_kind, fnn_average_kind,
    fnn_maximum_kind, fnn_minimum_kind;

/* 1 where prediction leaves an op out. */
static inline int fnn_passes_through(const fnn_op *op, int activation) {
    return !op->kind->predict_rows || (op->kind->only_activates && activation == FNN_LINEAR);
}

/* keeps_derivative of kinds that always do */
static inline int fnn_always(int activation) {
    (void)activation;
    return 1;
}

/* outputs of kinds for which their number is given */
static inline ptrdiff_t fnn_given_columns(const fnn_op *op, const ptrdiff_t *widths) {
    (void)widths;
    return op->columns;
}

/* outputs of kinds that give op->multiple of them for each input */
static inline ptrdiff_t fnn_multiple_of_inputs(const fnn_op *op, const ptrdiff_t *widths) {
    ptrdiff_t n;
    return __builtin_mul_overflow(op->multiple, widths[op->inputs[0]], &n) ? 0 : n;
}

/* An op's weights and its first and second state. */
static inline void *fnn_op_weights(const fnn_network *network, const fnn_op *op) {
    return (char *)network->weights + op->weights * (ptrdiff_t)network->element;
}
static inline void *fnn_op_state(const fnn_network *network, const fnn_op *op, int state) {
    return (char *)network->weights + (op->state + state * op->n_in) * (ptrdiff_t)network->element;
}

/* The weights of a kind with is_table. */
static inline fnn_table fnn_table_of(const fnn_network *network, const fnn_op *op) {
    return (fnn_table){fnn_op_weights(network, op), op->table_rows, op->columns};
}

/* The weights and their moments from an offset on. */
static inline fnn_weights fnn_weights_from(const fnn_fit *fit, const fnn_weights *weights, ptrdiff_t at) {
    fnn_weights from = {fnn_at(fit, weights->W, at), {NULL}};
    for (int m = 0; m < FNN_MOMENTS; m++)
        if (weights->moments[m]) from.moments[m] = fnn_at(fit, weights->moments[m], at);
    return from;
}

/* update of tables: from the gradient of a few rows at a time (layers/embedding.c) */
void fnn_update_table(const fnn_step *s, const fnn_strip *strip, ptrdiff_t count, const fnn_weights *weights,
                      const fnn_update *rule);

/* gradient of one number for each output: sums over the rows of op_buffers.saved (layers/prelu.c) */
void fnn_saved_gradient(const fnn_step *s, const fnn_strip *strip, void *G);

/* gradient of factors and offsets, one for each output: sums over the rows of dY `factor` x and of dY; input_of gives the
 * input x of an output (layers/feature_scale.c) */
void fnn_factor_gradient(const fnn_step *s, const fnn_strip *strip, void *G,
                         ptrdiff_t (*input_of)(const fnn_op *op, ptrdiff_t output), double factor);

/* What ops keep for steps: where their buffers and weights are. */
static inline void fnn_prepare_ops(const fnn_fit *fit) {
    const fnn_op *ops = fit->network->ops;
    for (int i = 0; i < fit->network->n_ops; i++)
        if (fnn_runs(fit, i) && ops[i].kind->prepare) ops[i].kind->prepare(fit, i);
}

/* Panel p of an op's buffers. */
typedef struct {
    void *X, *Y, *D, *saved; /* D and saved may be NULL */
} op_panel;

static inline op_panel fnn_panel_of(const fnn_fit *fit, int i, ptrdiff_t p) {
    const fnn_op *op = &fit->network->ops[i];
    const op_buffers *in = &fit->buffers[op->inputs[0]], *out = fnn_buffers_of(fit, i);
    const ptrdiff_t panel = fit->network->kernels->panel;
    return (op_panel){fnn_at(fit, in->Y, p * in->stride), fnn_at(fit, out->Y, p * out->stride),
                      out->D ? fnn_at(fit, out->D, p * op->n_out * panel) : NULL,
                      out->saved ? fnn_at(fit, out->saved, p * op->n_in * panel) : NULL};
}

/* Panel p of input j, of the gradient of the outputs and of that of input j, which may be NULL. */
static inline void *fnn_input_panel(const fnn_fit *fit, int i, int j, ptrdiff_t p) {
    const op_buffers *in = &fit->buffers[fit->network->ops[i].inputs[j]];
    return fnn_at(fit, in->Y, p * in->stride);
}
static inline void *fnn_gradient_panel(const fnn_fit *fit, int i, ptrdiff_t p) {
    return fnn_at(fit, fnn_buffers_of(fit, i)->dY, p * fit->dy_stride);
}
static inline void *fnn_input_gradient_panel(const fnn_fit *fit, int i, int j, ptrdiff_t p) {
    void *dX = fnn_buffers_of(fit, i)->dX[j];
    return dX ? fnn_at(fit, dX, p * fit->dy_stride) : NULL;
}

/* Panel p of the outputs and of input j in prediction. */
static inline void *fnn_predicted_panel(const fnn_panel_call *c, ptrdiff_t p) {
    return (char *)c->Y + p * c->stride * (ptrdiff_t)c->network->element;
}
static inline const void *fnn_given_panel(const fnn_panel_call *c, int j, ptrdiff_t p) {
    return c->at[c->op->inputs[j]] + p * c->stride * (ptrdiff_t)c->network->element;
}

/* backward of kinds that are elementwise; a row activation, which keeps no derivative, is the caller's */
static inline void fnn_multiply_by_derivative(const fnn_step *s, int i) {
    const fnn_kernels *kernels = s->fit->network->kernels;
    if (!fnn_buffers_of(s->fit, i)->D) return;
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p))
        kernels->multiply(fnn_gradient_panel(s->fit, i, p), fnn_panel_of(s->fit, i, p).D,
                          s->fit->network->ops[i].n_in * kernels->panel);
}

#endif
