/* Cosines of each feature, with learned frequencies and phases: cos(2 pi w x + b), several for each feature. */

#include "../kind.h"

static void forward(const fnn_step *s, int i) {
    const fnn_network *network = s->fit->network;
    const fnn_op *op = &network->ops[i];
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p)) {
        const op_panel at = fnn_panel_of(s->fit, i, p);
        network->kernels->cosine_features(at.Y, at.D, at.X, fnn_op_weights(network, op), op->n_in, op->n_out);
    }
}

static void backward(const fnn_step *s, int i) {
    const fnn_network *network = s->fit->network;
    const fnn_op *op = &network->ops[i];
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p))
        network->kernels->cosine_features_gradient(
            fnn_input_gradient_panel(s->fit, i, 0, p),
            fnn_at(s->fit, fnn_buffers_of(s->fit, i)->saved, p * op->n_out * network->kernels->panel),
            fnn_gradient_panel(s->fit, i, p), fnn_panel_of(s->fit, i, p).D, fnn_op_weights(network, op), op->n_in,
            op->n_out);
}

static ptrdiff_t input_of(const fnn_op *op, ptrdiff_t output) { return output / op->multiple; }

static void gradient(const fnn_step *s, const fnn_strip *strip, void *G) {
    fnn_factor_gradient(s, strip, G, input_of, FNN_TURN);
}

static void predict_rows(const fnn_row_call *c) {
    c->network->kernels->cosine_features_rows(&c->rows, fnn_op_weights(c->network, c->op), c->op->n_out);
}

static void predict_panels(const fnn_panel_call *c) {
    for (ptrdiff_t p = 0; p < c->n_panels; p++)
        c->network->kernels->cosine_features(fnn_predicted_panel(c, p), NULL, fnn_given_panel(c, 0, p),
                                             fnn_op_weights(c->network, c->op), c->op->n_in, c->op->n_out);
}

const fnn_kind fnn_cosine_features_kind = {
    .name = "cosine_features",
    .parameters = {"frequencies", "bias"},
    .options = {"count"},
    .outputs = fnn_multiple_of_inputs,
    .saves = 1,
    .gradient_place = FNN_APART,
    .keeps_derivative = fnn_always,
    .forward = forward,
    .backward = backward,
    .reads_inputs = 1,
    .gradient = gradient,
    .predict_rows = predict_rows,
    .predict_panels = predict_panels,
};
