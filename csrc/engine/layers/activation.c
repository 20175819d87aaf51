/* Activations without a product. */

#include "../kind.h"

static int keeps_derivative(int activation) { return !fnn_is_row_activation(activation); }

/* Y = f(X) on n elements; a row activation, which works in place, only finds its inputs in Y. */
static void apply(const fnn_network *network, const fnn_op *op, int activation, void *Y, void *D, const void *X,
                  ptrdiff_t n) {
    if (fnn_is_row_activation(activation))
        memcpy(Y, X, (size_t)n * network->element);
    else
        network->kernels->activate(Y, D, X, n, activation, op->parameters);
}

static void forward(const fnn_step *s, int i) {
    const fnn_network *network = s->fit->network;
    const fnn_op *op = &network->ops[i];
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p)) {
        const op_panel at = fnn_panel_of(s->fit, i, p);
        apply(network, op, fnn_activation_of(s->fit, i), at.Y, at.D, at.X, op->n_out * network->kernels->panel);
    }
}

static void predict_rows(const fnn_row_call *c) {
    const ptrdiff_t element = (ptrdiff_t)c->network->element;
    for (ptrdiff_t r = 0; r < c->rows.rows; r++)
        apply(c->network, c->op, c->activation, (char *)c->rows.Y + r * c->rows.ldy * element, NULL,
              (const char *)c->rows.X + r * c->rows.ldx * element, c->op->n_out);
}

static void predict_panels(const fnn_panel_call *c) {
    for (ptrdiff_t p = 0; p < c->n_panels; p++)
        apply(c->network, c->op, c->activation, fnn_predicted_panel(c, p), NULL, fnn_given_panel(c, 0, p),
              c->op->n_out * c->network->kernels->panel);
}

const fnn_kind fnn_activation_kind = {
    .name = "activation",
    .options = {"activation"},
    .only_activates = 1,
    .keeps_derivative = keeps_derivative,
    .forward = forward,
    .backward = fnn_multiply_by_derivative,
    .predict_rows = predict_rows,
    .predict_panels = predict_panels,
};
