/* A branch: the input of an earlier op is added to the input. */

#include "../kind.h"

static void forward(const fnn_step *s, int i) {
    const fnn_network *network = s->fit->network;
    const fnn_op *op = &network->ops[i];
    const op_buffers *branch = &s->fit->buffers[op->source];
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p)) {
        const op_panel at = fnn_panel_of(s->fit, i, p);
        network->kernels->add(at.Y, at.X, fnn_at(s->fit, branch->Y, p * branch->stride), op->n_in * network->kernels->panel);
    }
}

/* The gradient goes on unchanged, and is kept for the branch (train.c). */
static void *backward(const fnn_step *s, int i, void *dY) {
    const fnn_network *network = s->fit->network;
    const size_t bytes = (size_t)(network->ops[i].n_in * network->kernels->panel) * network->element;
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p))
        memcpy(fnn_panel_of(s->fit, i, p).saved, fnn_at(s->fit, dY, p * s->fit->dy_stride), bytes);
    return dY;
}

static void predict_rows(const fnn_row_call *c) {
    const fnn_rows *rows = &c->rows;
    const ptrdiff_t element = (ptrdiff_t)c->network->element;
    for (ptrdiff_t r = 0; r < rows->rows; r++)
        c->network->kernels->add((char *)rows->Y + r * rows->ldy * element, (const char *)rows->X + r * rows->ldx * element,
                                 (const char *)c->branch + r * c->branch_ld * element, rows->n);
}

const fnn_kind fnn_add_kind = {
    .name = "add",
    .options = {"source"},
    .adds_branch = 1,
    .saves = 1,
    .forward = forward,
    .backward = backward,
    .predict_rows = predict_rows,
};
