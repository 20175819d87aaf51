/* Several lines of each feature, each bounded below and above: min(high, max(low, w x + b)). The numbers are fixed. */

#include "../kind.h"

static void forward(const fnn_step *s, int i) {
    const fnn_network *network = s->fit->network;
    const fnn_op *op = &network->ops[i];
    const fnn_table W = fnn_table_of(network, op);
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p)) {
        const op_panel at = fnn_panel_of(s->fit, i, p);
        network->kernels->bounded_lines(at.Y, fnn_buffers_of(s->fit, i)->dY ? at.D : NULL, at.X, &W, op->n_in);
    }
}

static void backward(const fnn_step *s, int i) {
    const fnn_network *network = s->fit->network;
    const fnn_op *op = &network->ops[i];
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p)) {
        void *dX = fnn_input_gradient_panel(s->fit, i, 0, p);
        network->kernels->bounded_lines_gradient(dX, fnn_gradient_panel(s->fit, i, p), fnn_panel_of(s->fit, i, p).D,
                                                 op->n_in, op->n_out);
    }
}

static void predict_rows(const fnn_row_call *c) {
    const fnn_table W = fnn_table_of(c->network, c->op);
    c->network->kernels->bounded_lines_rows(&c->rows, &W);
}

static void predict_panels(const fnn_panel_call *c) {
    const fnn_table W = fnn_table_of(c->network, c->op);
    for (ptrdiff_t p = 0; p < c->n_panels; p++)
        c->network->kernels->bounded_lines(fnn_predicted_panel(c, p), NULL, fnn_given_panel(c, 0, p), &W, c->op->n_in);
}

const fnn_kind fnn_bounded_lines_kind = {
    .name = "bounded_lines",
    .parameters = {"kernel", "bias"},
    .options = {"n_rows", "n_columns"},
    .is_table = 1,
    .is_fixed = 1,
    .outputs = fnn_given_columns,
    .gradient_place = FNN_APART,
    .keeps_derivative = fnn_always,
    .forward = forward,
    .backward = backward,
    .predict_rows = predict_rows,
    .predict_panels = predict_panels,
};
