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
