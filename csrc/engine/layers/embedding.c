/* Embedding: each input, an integer, chooses a row of a table. */

#include "../kind.h"

static ptrdiff_t outputs(const fnn_op *op, const ptrdiff_t *widths) {
    ptrdiff_t n;
    return __builtin_mul_overflow(op->columns, widths[op->inputs[0]], &n) ? 0 : n;
}

static void forward(const fnn_step *s, int i) {
    fnn_fit *fit = s->fit;
    const fnn_op *op = &fit->network->ops[i];
    const fnn_table table = fnn_table_of(fit->network, op);
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p)) {
        const op_panel at = fnn_panel_of(fit, i, p);
        /* checked when the fit was made, but the caller may have changed the array since */
        if (!fit->network->kernels->look_up(at.Y, at.X, &table, op->n_in))
            atomic_store_explicit(&fit->nonfinite, 1, memory_order_relaxed);
    }
}

/* The gradient of the outputs is kept row by row: that of the table adds rows. */
static void backward(const fnn_step *s, int i) {
    const fnn_fit *fit = s->fit;
    const fnn_kernels *kernels = fit->network->kernels;
    const ptrdiff_t n = fit->network->ops[i].n_out;
    void *saved = fnn_buffers_of(fit, i)->saved;
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p))
        kernels->scatter(saved, n, fnn_gradient_panel(fit, i, p), n, NULL, p * kernels->panel,
                         fnn_min(s->rows - p * kernels->panel, kernels->panel));
}

static void gradient(const fnn_step *s, const fnn_strip *strip, void *G) {
    const fnn_fit *fit = s->fit;
    const fnn_op *op = &fit->network->ops[strip->op];
    const op_buffers *in = &fit->buffers[op->inputs[0]];
    const fnn_table table = fnn_table_of(fit->network, op);
    fit->network->kernels->table_gradient(G, &table, strip->q, strip->rows, (fnn_panels){in->Y, in->stride}, op->n_in,
                                          fnn_buffers_of(fit, strip->op)->saved, s->rows);
}

/* Bytes of the gradients of a table that are computed at a time. */
#define TABLE_BYTES 16384

static void update_table_strip(const fnn_step *s, const fnn_strip *strip, const fnn_weights *weights,
                               const fnn_update *rule) {
    const fnn_network *network = s->fit->network;
    const fnn_kernels *kernels = network->kernels;
    const fnn_op *op = &network->ops[strip->op];
    const ptrdiff_t width = fnn_panel_width(kernels->panel, kernels->narrow, op->columns, strip->q);
    const ptrdiff_t most = TABLE_BYTES / (width * (ptrdiff_t)network->element);
    _Alignas(64) char G[TABLE_BYTES];
    fnn_strip part = *strip;
    for (ptrdiff_t first = strip->rows.first; first < strip->rows.last; first += most) {
        part.rows = (fnn_range){first, fnn_min(first + most, strip->rows.last)};
        const ptrdiff_t at = fnn_panel_offset(kernels->panel, op->table_rows, strip->q) + first * width;
        const fnn_weights own = fnn_weights_from(s->fit, weights, at);
        op->kind->gradient(s, &part, G);
        kernels->update(&own, G, (part.rows.last - first) * width, rule);
    }
}

void fnn_update_table(const fnn_step *s, const fnn_strip *strip, ptrdiff_t count, const fnn_weights *weights,
                      const fnn_update *rule) {
    fnn_strip own = *strip;
    for (ptrdiff_t j = 0; j < count; j++, own.q++) update_table_strip(s, &own, weights, rule);
}

static void predict_rows(const fnn_row_call *c) {
    const fnn_table table = fnn_table_of(c->network, c->op);
    c->network->kernels->look_up_rows(&c->rows, &table);
}

static void predict_panels(const fnn_panel_call *c) {
    const fnn_table table = fnn_table_of(c->network, c->op);
    for (ptrdiff_t p = 0; p < c->n_panels; p++)
        c->network->kernels->look_up(fnn_predicted_panel(c, p), fnn_given_panel(c, 0, p), &table, c->op->n_in);
}

const fnn_kind fnn_embedding_kind = {
    .name = "embedding",
    .parameters = {"kernel"},
    .options = {"n_rows", "n_columns"},
    .is_table = 1,
    .outputs = outputs,
    .saves = 1,
    .gradient_place = FNN_APART,
    .stops_gradient = 1,
    .forward = forward,
    .backward = backward,
    .gradient = gradient,
    .update = fnn_update_table,
    .predict_rows = predict_rows,
    .predict_panels = predict_panels,
};
