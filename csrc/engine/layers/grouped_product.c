/* Groups of features, each with a kernel of its own: group g of n_rows inputs gives n_columns / groups outputs. */

#include "../kind.h"

static void forward(const fnn_step *s, int i) {
    const fnn_network *network = s->fit->network;
    const fnn_op *op = &network->ops[i];
    const fnn_table W = fnn_table_of(network, op);
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p)) {
        const op_panel at = fnn_panel_of(s->fit, i, p);
        network->kernels->grouped_product(at.Y, at.X, &W, op->groups);
    }
}

static void backward(const fnn_step *s, int i) {
    const fnn_network *network = s->fit->network;
    const fnn_op *op = &network->ops[i];
    const fnn_table W = fnn_table_of(network, op);
    const ptrdiff_t elements = op->n_out * network->kernels->panel;
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p)) {
        const void *dY = fnn_gradient_panel(s->fit, i, p);
        void *dX = fnn_input_gradient_panel(s->fit, i, 0, p);
        memcpy(fnn_at(s->fit, fnn_buffers_of(s->fit, i)->saved, p * elements), dY, (size_t)elements * network->element);
        if (dX) network->kernels->grouped_product_input(dX, dY, &W, op->groups);
    }
}

static void gradient(const fnn_step *s, const fnn_strip *strip, void *G) {
    const fnn_fit *fit = s->fit;
    const fnn_kernels *kernels = fit->network->kernels;
    const fnn_op *op = &fit->network->ops[strip->op];
    const op_buffers *in = &fit->buffers[op->inputs[0]];
    const fnn_table W = fnn_table_of(fit->network, op);
    const fnn_panels X = {in->Y, in->stride}, dY = {fnn_buffers_of(fit, strip->op)->saved, op->n_out * kernels->panel};
    kernels->grouped_product_gradient(G, &W, op->groups, strip->q, strip->rows, X, dY, s->rows);
}

static void predict_rows(const fnn_row_call *c) {
    const fnn_table W = fnn_table_of(c->network, c->op);
    c->network->kernels->grouped_product_rows(&c->rows, &W, c->op->groups);
}

static void predict_panels(const fnn_panel_call *c) {
    const fnn_table W = fnn_table_of(c->network, c->op);
    for (ptrdiff_t p = 0; p < c->n_panels; p++)
        c->network->kernels->grouped_product(fnn_predicted_panel(c, p), fnn_given_panel(c, 0, p), &W, c->op->groups);
}

const fnn_kind fnn_grouped_product_kind = {
    .name = "grouped_product",
    .parameters = {"kernel", "bias"},
    .options = {"n_rows", "n_columns", "groups"},
    .is_table = 1,
    .is_multiplied = 1,
    .outputs = fnn_given_columns,
    .saves = 1,
    .gradient_place = FNN_APART,
    .forward = forward,
    .backward = backward,
    .gradient = gradient,
    .update = fnn_update_table,
    .predict_rows = predict_rows,
    .predict_panels = predict_panels,
};
