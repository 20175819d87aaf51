/* An activation that is mixed with the identity: x + (f(x) - x) a, with a learned a for each feature. */

#include "../kind.h"

/* Panels of features that stay in the first-level cache between the two passes over them. */
#define CACHED_PANELS 2

static void apply(const fnn_network *network, const fnn_op *op, void *Y, void *D, void *S, const void *X) {
    const fnn_kernels *kernels = network->kernels;
    const ptrdiff_t panel = kernels->panel, element = (ptrdiff_t)network->element;
    const char *W = fnn_op_weights(network, op);
    for (ptrdiff_t f = 0; f < op->n_out; f += CACHED_PANELS * panel) {
        const ptrdiff_t count = fnn_min(op->n_out - f, CACHED_PANELS * panel), at = f * panel * element;
        char *y = (char *)Y + at, *d = D ? (char *)D + at : NULL, *s = S ? (char *)S + at : NULL;
        const char *x = (const char *)X + at;
        kernels->activate(y, d, x, count * panel, op->function, op->parameters);
        kernels->mix_identity(y, d, s, x, W + fnn_panel_offset(panel, 1, f / panel) * element, count);
    }
}

static void forward(const fnn_step *s, int i) {
    const fnn_network *network = s->fit->network;
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p)) {
        const op_panel at = fnn_panel_of(s->fit, i, p);
        apply(network, &network->ops[i], at.Y, at.D, at.saved, at.X);
    }
}

static void backward(const fnn_step *s, int i) {
    const fnn_network *network = s->fit->network;
    const ptrdiff_t n = network->ops[i].n_out * network->kernels->panel;
    const ptrdiff_t most = CACHED_PANELS * network->kernels->panel * network->kernels->panel;
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p)) {
        const op_panel of = fnn_panel_of(s->fit, i, p);
        char *dY = fnn_gradient_panel(s->fit, i, p);
        for (ptrdiff_t first = 0; first < n; first += most) {
            const ptrdiff_t count = fnn_min(n - first, most), at = first * (ptrdiff_t)network->element;
            network->kernels->multiply((char *)of.saved + at, dY + at, count);
            network->kernels->multiply(dY + at, (const char *)of.D + at, count);
        }
    }
}

static void predict_rows(const fnn_row_call *c) {
    const ptrdiff_t element = (ptrdiff_t)c->network->element;
    for (ptrdiff_t r = 0; r < c->rows.rows; r++)
        c->network->kernels->activate((char *)c->rows.Y + r * c->rows.ldy * element, NULL,
                                      (const char *)c->rows.X + r * c->rows.ldx * element, c->op->n_out, c->op->function,
                                      c->op->parameters);
    c->network->kernels->mix_identity_rows(&c->rows, fnn_op_weights(c->network, c->op));
}

static void predict_panels(const fnn_panel_call *c) {
    for (ptrdiff_t p = 0; p < c->n_panels; p++)
        apply(c->network, c->op, fnn_predicted_panel(c, p), NULL, NULL, fnn_given_panel(c, 0, p));
}

const fnn_kind fnn_parametric_activation_kind = {
    .name = "parametric_activation",
    .parameters = {"mix"},
    .options = {"function"},
    .saves = 1,
    .keeps_derivative = fnn_always,
    .forward = forward,
    .backward = backward,
    .gradient = fnn_saved_gradient,
    .predict_rows = predict_rows,
    .predict_panels = predict_panels,
};
