/* Scaling of inputs to zero mean and unit variance, with learned means and variances, or back. */

#include "../kind.h"

static ptrdiff_t outputs(const fnn_op *op, const ptrdiff_t *widths) {
    ptrdiff_t n;
    (void)widths;
    if (!op->indicator) return op->n_in;
    return __builtin_mul_overflow(op->n_in, 2, &n) ? 0 : n;
}

static fnn_scaling scaling_of(const fnn_network *network, const fnn_op *op) {
    return (fnn_scaling){fnn_op_state(network, op, 0), fnn_op_state(network, op, 1), op->invert, op->missing, op->indicator};
}

static void forward(const fnn_step *s, int i) {
    const fnn_network *network = s->fit->network;
    const fnn_op *op = &network->ops[i];
    const fnn_scaling scaling = scaling_of(network, op);
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p)) {
        const op_panel at = fnn_panel_of(s->fit, i, p);
        network->kernels->standardize(at.Y, fnn_buffers_of(s->fit, i)->dY ? at.D : NULL, at.X, &scaling, op->n_in);
    }
}

static void predict_rows(const fnn_row_call *c) {
    const fnn_scaling scaling = scaling_of(c->network, c->op);
    c->network->kernels->standardize_rows(&c->rows, &scaling);
}

static void predict_panels(const fnn_panel_call *c) {
    const fnn_scaling scaling = scaling_of(c->network, c->op);
    for (ptrdiff_t p = 0; p < c->n_panels; p++)
        c->network->kernels->standardize(fnn_predicted_panel(c, p), NULL, fnn_given_panel(c, 0, p), &scaling,
                                         c->op->n_in);
}

const fnn_kind fnn_scaling_kind = {
    .name = "normalization",
    .states = {"mean", "variance", "count"},
    .takes_missing = 1,
    .outputs = outputs,
    .keeps_derivative = fnn_always,
    .forward = forward,
    .backward = fnn_multiply_by_derivative,
    .predict_rows = predict_rows,
    .predict_panels = predict_panels,
};
