/* Layer normalization (Ba et al. 2016), also without the mean (Zhang and Sennrich 2019). */

#include "../kind.h"

enum { INVERSE, OFFSET, STATISTICS }; /* one of each per row */

static ptrdiff_t statistics(const fnn_op *op, ptrdiff_t padded_rows) {
    (void)op;
    return STATISTICS * padded_rows;
}

/* Statistics of the rows of panel p. */
static double *statistics_at(const fnn_fit *fit, int i, int which, ptrdiff_t p) {
    return fnn_buffers_of(fit, i)->statistics + (which * fit->n_panels + p) * fit->network->kernels->panel;
}

/* D keeps the normalized inputs: the gradients of gamma and of the inputs need them. */
static void forward(const fnn_step *s, int i) {
    const fnn_fit *fit = s->fit;
    const fnn_op *op = &fit->network->ops[i];
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p)) {
        const op_panel at = fnn_panel_of(fit, i, p);
        fit->network->kernels->layer_norm(at.Y, fnn_buffers_of(fit, i)->dY ? at.D : NULL, statistics_at(fit, i, INVERSE, p),
                                          statistics_at(fit, i, OFFSET, p), at.X, fnn_op_weights(fit->network, op),
                                          op->n_in, op->epsilon, op->rms);
    }
}

static void backward(const fnn_step *s, int i) {
    const fnn_fit *fit = s->fit;
    const fnn_kernels *kernels = fit->network->kernels;
    const fnn_op *op = &fit->network->ops[i];
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p)) {
        const op_panel at = fnn_panel_of(fit, i, p);
        void *g = fnn_gradient_panel(fit, i, p);
        memcpy(at.saved, g, (size_t)(op->n_in * kernels->panel) * fit->network->element);
        if (fnn_buffers_of(fit, i)->dX[0])
            kernels->layer_norm_gradient(g, at.D, statistics_at(fit, i, INVERSE, p), statistics_at(fit, i, OFFSET, p),
                                         fnn_op_weights(fit->network, op), op->n_in, op->rms,
                                         fnn_min(s->rows - p * kernels->panel, kernels->panel));
    }
}

static void gradient(const fnn_step *s, const fnn_strip *strip, void *G) {
    const fnn_fit *fit = s->fit;
    const fnn_kernels *kernels = fit->network->kernels;
    const op_buffers *out = fnn_buffers_of(fit, strip->op);
    const ptrdiff_t panel = kernels->panel, n = fit->network->ops[strip->op].n_out, f = strip->q * panel;
    const ptrdiff_t count = fnn_min(n - f, panel);
    const fnn_panels saved = {fnn_at(fit, out->saved, f * panel), n * panel};
    const fnn_panels N = {fnn_at(fit, out->D, f * panel), n * panel};
    double sums[FNN_MOST_LANES], products[FNN_MOST_LANES];
    kernels->feature_sums(&(fnn_moments){.sums = sums, .products = products}, saved, N, s->rows, (fnn_range){0, count});
    kernels->store_sums(G, products, sums, count, fnn_panel_width(panel, kernels->narrow, n, strip->q));
}

static void predict_rows(const fnn_row_call *c) {
    c->network->kernels->layer_norm_rows(&c->rows, fnn_op_weights(c->network, c->op), c->op->epsilon, c->op->rms);
}

static void predict_panels(const fnn_panel_call *c) {
    double inverse[FNN_MOST_LANES], offset[FNN_MOST_LANES];
    for (ptrdiff_t p = 0; p < c->n_panels; p++)
        c->network->kernels->layer_norm(fnn_predicted_panel(c, p), NULL, inverse, offset, fnn_given_panel(c, 0, p),
                                        fnn_op_weights(c->network, c->op), c->op->n_out, c->op->epsilon, c->op->rms);
}

const fnn_kind fnn_layer_norm_kind = {
    .name = "layer_normalization",
    .parameters = {"gamma", "beta"},
    .options = {"epsilon"},
    .keeps_derivative = fnn_always,
    .saves = 1,
    .statistics = statistics,
    .forward = forward,
    .backward = backward,
    .gradient = gradient,
    .predict_rows = predict_rows,
    .predict_panels = predict_panels,
};
