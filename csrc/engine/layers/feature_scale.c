/* A learned factor for each feature, and an offset; with several members the features come once for each of them. */

#include "../kind.h"

static void forward(const fnn_step *s, int i) {
    const fnn_network *network = s->fit->network;
    const fnn_op *op = &network->ops[i];
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p)) {
        const op_panel at = fnn_panel_of(s->fit, i, p);
        network->kernels->scale_features(at.Y, at.X, fnn_op_weights(network, op), op->n_in, op->n_out);
    }
}

static void backward(const fnn_step *s, int i) {
    const fnn_network *network = s->fit->network;
    const fnn_op *op = &network->ops[i];
    const ptrdiff_t elements = op->n_out * network->kernels->panel;
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p)) {
        const void *dY = fnn_gradient_panel(s->fit, i, p);
        void *dX = fnn_input_gradient_panel(s->fit, i, 0, p);
        memcpy(fnn_at(s->fit, fnn_buffers_of(s->fit, i)->saved, p * elements), dY, (size_t)elements * network->element);
        if (dX) network->kernels->scale_features_gradient(dX, dY, fnn_op_weights(network, op), op->n_in, op->n_out);
    }
}

void fnn_factor_gradient(const fnn_step *s, const fnn_strip *strip, void *G,
                         ptrdiff_t (*input_of)(const fnn_op *op, ptrdiff_t output), double factor) {
    const fnn_fit *fit = s->fit;
    const fnn_kernels *kernels = fit->network->kernels;
    const fnn_op *op = &fit->network->ops[strip->op];
    const op_buffers *in = &fit->buffers[op->inputs[0]];
    const ptrdiff_t panel = kernels->panel, n = op->n_out, first = strip->q * panel, count = fnn_min(n - first, panel);
    double products[FNN_MOST_LANES], sums[FNN_MOST_LANES];
    for (ptrdiff_t j = 0; j < count; j++) {
        const fnn_moments moments = {.sums = sums + j, .products = products + j};
        const fnn_panels dY = {fnn_at(fit, fnn_buffers_of(fit, strip->op)->saved, (first + j) * panel), n * panel};
        const fnn_panels X = {fnn_at(fit, in->Y, input_of(op, first + j) * panel), in->stride};
        kernels->feature_sums(&moments, dY, X, s->rows, (fnn_range){0, 1});
        products[j] *= factor;
    }
    kernels->store_sums(G, products, sums, count, fnn_panel_width(panel, kernels->narrow, n, strip->q));
}

static ptrdiff_t input_of(const fnn_op *op, ptrdiff_t output) { return output % op->n_in; }

static void gradient(const fnn_step *s, const fnn_strip *strip, void *G) {
    fnn_factor_gradient(s, strip, G, input_of, 1.0);
}

static void predict_rows(const fnn_row_call *c) {
    c->network->kernels->scale_features_rows(&c->rows, fnn_op_weights(c->network, c->op), c->op->n_out);
}

static void predict_panels(const fnn_panel_call *c) {
    for (ptrdiff_t p = 0; p < c->n_panels; p++)
        c->network->kernels->scale_features(fnn_predicted_panel(c, p), fnn_given_panel(c, 0, p),
                                            fnn_op_weights(c->network, c->op), c->op->n_in, c->op->n_out);
}

const fnn_kind fnn_feature_scale_kind = {
    .name = "feature_scale",
    .parameters = {"scale", "bias"},
    .options = {"members"},
    .outputs = fnn_multiple_of_inputs,
    .saves = 1,
    .gradient_place = FNN_APART,
    .forward = forward,
    .backward = backward,
    .reads_inputs = 1,
    .gradient = gradient,
    .predict_rows = predict_rows,
    .predict_panels = predict_panels,
};
