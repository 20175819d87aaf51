/* Groups of features, each with a kernel of its own: group g of n_rows inputs gives n_columns / groups outputs. */

#include "../kind.h"

static ptrdiff_t outputs(const fnn_op *op, const ptrdiff_t *widths) {
    (void)widths;
    return op->columns;
}

static fnn_table table_of(const fnn_network *network, const fnn_op *op) {
    return (fnn_table){fnn_op_weights(network, op), op->table_rows, op->columns};
}

static void forward(const fnn_step *s, int i) {
    const fnn_network *network = s->fit->network;
    const fnn_op *op = &network->ops[i];
    const fnn_table W = table_of(network, op);
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p)) {
        const op_panel at = fnn_panel_of(s->fit, i, p);
        network->kernels->grouped_product(at.Y, at.X, &W, op->groups);
    }
}

static void backward(const fnn_step *s, int i) {
    const fnn_network *network = s->fit->network;
    const fnn_op *op = &network->ops[i];
    const fnn_table W = table_of(network, op);
    const ptrdiff_t elements = op->n_out * network->kernels->panel;
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p)) {
        const void *dY = fnn_gradient_panel(s->fit, i, p);
        void *dX = fnn_input_gradient_panel(s->fit, i, 0, p);
        memcpy(fnn_at(s->fit, fnn_buffers_of(s->fit, i)->saved, p * elements), dY, (size_t)elements * network->element);
        if (dX) network->kernels->grouped_product_input(dX, dY, &W, op->groups);
    }
}

/* Bytes of the gradients that are computed at a time. */
#define GRADIENT_BYTES 16384

static void update_strip(const fnn_step *s, const fnn_strip *strip, const fnn_weights *weights, const fnn_update *rule) {
    const fnn_fit *fit = s->fit;
    const fnn_kernels *kernels = fit->network->kernels;
    const fnn_op *op = &fit->network->ops[strip->op];
    const op_buffers *in = &fit->buffers[op->inputs[0]];
    const ptrdiff_t element = (ptrdiff_t)fit->network->element;
    const ptrdiff_t width = fnn_panel_width(kernels->panel, kernels->narrow, op->columns, strip->q);
    const ptrdiff_t most = GRADIENT_BYTES / (width * element);
    const fnn_table W = table_of(fit->network, op);
    const fnn_panels dY = {fnn_buffers_of(fit, strip->op)->saved, op->n_out * kernels->panel};
    _Alignas(64) char G[GRADIENT_BYTES];
    for (ptrdiff_t first = strip->rows.first; first < strip->rows.last; first += most) {
        const fnn_range rows = {first, fnn_min(first + most, strip->rows.last)};
        const ptrdiff_t at = fnn_panel_offset(kernels->panel, op->table_rows, strip->q) + first * width;
        fnn_weights own = {fnn_at(fit, weights->W, at), {NULL}};
        for (int m = 0; m < FNN_MOMENTS; m++)
            if (weights->moments[m]) own.moments[m] = fnn_at(fit, weights->moments[m], at);
        kernels->grouped_product_gradient(G, &W, op->groups, strip->q, rows, (fnn_panels){in->Y, in->stride}, dY, s->rows);
        kernels->update(&own, G, (rows.last - rows.first) * width, rule);
    }
}

static void update(const fnn_step *s, const fnn_strip *strip, ptrdiff_t count, const fnn_weights *weights,
                   const fnn_update *rule) {
    for (ptrdiff_t j = 0; j < count; j++) {
        fnn_strip own = strip[0];
        own.q += j;
        update_strip(s, &own, weights, rule);
    }
}

static void predict_rows(const fnn_row_call *c) {
    const fnn_table W = table_of(c->network, c->op);
    c->network->kernels->grouped_product_rows(&c->rows, &W, c->op->groups);
}

static void predict_panels(const fnn_panel_call *c) {
    const fnn_table W = table_of(c->network, c->op);
    const ptrdiff_t bytes = c->stride * (ptrdiff_t)c->network->element;
    for (ptrdiff_t p = 0; p < c->n_panels; p++)
        c->network->kernels->grouped_product((char *)c->Y + p * bytes, (const char *)c->X + p * bytes, &W, c->op->groups);
}

const fnn_kind fnn_grouped_product_kind = {
    .name = "grouped_product",
    .parameters = {"kernel", "bias"},
    .options = {"n_rows", "n_columns", "groups"},
    .is_table = 1,
    .is_multiplied = 1,
    .outputs = outputs,
    .saves = 1,
    .gradient_place = FNN_APART,
    .forward = forward,
    .backward = backward,
    .is_whole = 1,
    .update = update,
    .predict_rows = predict_rows,
    .predict_panels = predict_panels,
};
