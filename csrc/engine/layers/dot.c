/* The dot product of two tensors, row by row; also of the tensors divided by their norms: the cosine of the angle. */

#include "../kind.h"

static ptrdiff_t one(const fnn_op *op, const ptrdiff_t *widths) {
    (void)op;
    (void)widths;
    return 1;
}

/* The inverse norms of both inputs, for each row. */
static ptrdiff_t statistics(const fnn_op *op, ptrdiff_t padded_rows) { return op->normalize ? 2 * padded_rows : 0; }

static double *norms_at(const fnn_fit *fit, int i, ptrdiff_t p) {
    return fit->network->ops[i].normalize ? fnn_buffers_of(fit, i)->statistics + 2 * p * fit->network->kernels->panel : NULL;
}

static void forward(const fnn_step *s, int i) {
    const fnn_fit *fit = s->fit;
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p))
        fit->network->kernels->dot(fnn_panel_of(fit, i, p).Y, norms_at(fit, i, p), fnn_input_panel(fit, i, 0, p),
                                   fnn_input_panel(fit, i, 1, p), fit->network->ops[i].n_in);
}

static void backward(const fnn_step *s, int i) {
    const fnn_fit *fit = s->fit;
    const fnn_network *network = fit->network;
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p))
        for (int j = 0; j < 2; j++) {
            void *dX = fnn_input_gradient_panel(fit, i, j, p);
            if (dX)
                network->kernels->dot_gradient(dX, fnn_gradient_panel(fit, i, p), fnn_panel_of(fit, i, p).Y,
                                               norms_at(fit, i, p), j, fnn_input_panel(fit, i, j, p),
                                               fnn_input_panel(fit, i, !j, p), network->ops[i].n_in);
        }
}

static void predict_rows(const fnn_row_call *c) {
    const int other = c->op->inputs[1];
    const fnn_rows B = {NULL, c->at[other], 0, c->ld[other], c->rows.rows, c->rows.n};
    c->network->kernels->dot_rows(&c->rows, &B, c->op->normalize);
}

static void predict_panels(const fnn_panel_call *c) {
    double norms[2 * FNN_MOST_LANES];
    for (ptrdiff_t p = 0; p < c->n_panels; p++)
        c->network->kernels->dot(fnn_predicted_panel(c, p), c->op->normalize ? norms : NULL, fnn_given_panel(c, 0, p),
                                 fnn_given_panel(c, 1, p), c->op->n_in);
}

const fnn_kind fnn_dot_kind = {
    .name = "dot",
    .least_inputs = 2,
    .most_inputs = 2,
    .outputs = one,
    .statistics = statistics,
    .gradient_place = FNN_APART,
    .forward = forward,
    .backward = backward,
    .predict_rows = predict_rows,
    .predict_panels = predict_panels,
};
