/* PReLU (He et al. 2015): a leaky ReLU whose slope is learned, one per feature. */

#include "../kind.h"

static void forward(const fnn_step *s, int i) {
    const fnn_network *network = s->fit->network;
    const fnn_op *op = &network->ops[i];
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p)) {
        const op_panel at = fnn_panel_of(s->fit, i, p);
        network->kernels->prelu(at.Y, at.X, fnn_op_weights(network, op), op->n_in);
    }
}

static void backward(const fnn_step *s, int i) {
    const fnn_network *network = s->fit->network;
    const fnn_op *op = &network->ops[i];
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p)) {
        const op_panel at = fnn_panel_of(s->fit, i, p);
        network->kernels->prelu_gradient(fnn_gradient_panel(s->fit, i, p), at.saved, at.X, fnn_op_weights(network, op),
                                         op->n_in);
    }
}

void fnn_saved_gradient(const fnn_step *s, const fnn_strip *strip, void *G) {
    const fnn_kernels *kernels = s->fit->network->kernels;
    const ptrdiff_t panel = kernels->panel, n = s->fit->network->ops[strip->op].n_out, f = strip->q * panel;
    const ptrdiff_t count = fnn_min(n - f, panel);
    void *terms = fnn_buffers_of(s->fit, strip->op)->saved;
    const fnn_panels saved = {fnn_at(s->fit, terms, f * panel), n * panel}, none = {NULL, 0};
    double sums[FNN_MOST_LANES];
    kernels->feature_sums(&(fnn_moments){.sums = sums}, saved, none, s->rows, (fnn_range){0, count});
    kernels->store_sums(G, sums, NULL, count, fnn_panel_width(panel, kernels->narrow, n, strip->q));
}

static void predict_rows(const fnn_row_call *c) {
    c->network->kernels->prelu_rows(&c->rows, fnn_op_weights(c->network, c->op));
}

static void predict_panels(const fnn_panel_call *c) {
    for (ptrdiff_t p = 0; p < c->n_panels; p++)
        c->network->kernels->prelu(fnn_predicted_panel(c, p), fnn_given_panel(c, 0, p),
                                   fnn_op_weights(c->network, c->op), c->op->n_out);
}

const fnn_kind fnn_prelu_kind = {
    .name = "prelu",
    .parameters = {"alpha"},
    .saves = 1,
    .forward = forward,
    .backward = backward,
    .gradient = fnn_saved_gradient,
    .predict_rows = predict_rows,
    .predict_panels = predict_panels,
};
