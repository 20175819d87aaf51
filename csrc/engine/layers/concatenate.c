/* Features side by side, and some of the features. */

#include "../kind.h"

/* Copies n blocks of `block` bytes, `step` blocks apart in `from`. */
static void copy_blocks(char *to, const char *from, ptrdiff_t n, ptrdiff_t step, size_t block) {
    if (step == 1)
        memcpy(to, from, (size_t)n * block);
    else
        for (ptrdiff_t f = 0; f < n; f++) memcpy(to + f * (ptrdiff_t)block, from + f * step * (ptrdiff_t)block, block);
}

/* ---- concatenation ---- */

static ptrdiff_t total_width(const fnn_op *op, const ptrdiff_t *widths) {
    ptrdiff_t n = 0;
    for (int j = 0; j < op->n_inputs; j++)
        if (__builtin_add_overflow(n, widths[op->inputs[j]], &n)) return 0;
    return n;
}

static void concatenate(const fnn_step *s, int i) {
    const fnn_network *network = s->fit->network;
    const fnn_op *op = &network->ops[i];
    const size_t block = (size_t)network->kernels->panel * network->element;
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p)) {
        char *to = fnn_panel_of(s->fit, i, p).Y;
        for (int j = 0; j < op->n_inputs; j++) {
            const size_t bytes = (size_t)network->widths[op->inputs[j]] * block;
            memcpy(to, fnn_input_panel(s->fit, i, j, p), bytes);
            to += bytes;
        }
    }
}

static void concatenate_rows(const fnn_row_call *c) {
    const fnn_network *network = c->network;
    for (ptrdiff_t r = 0; r < c->rows.rows; r++) {
        char *to = (char *)c->rows.Y + r * c->rows.ldy * (ptrdiff_t)network->element;
        for (int j = 0; j < c->op->n_inputs; j++) {
            const int b = c->op->inputs[j];
            const size_t bytes = (size_t)network->widths[b] * network->element;
            memcpy(to, c->at[b] + r * c->ld[b] * (ptrdiff_t)network->element, bytes);
            to += bytes;
        }
    }
}

static void concatenate_panels(const fnn_panel_call *c) {
    const fnn_network *network = c->network;
    const size_t block = (size_t)network->kernels->panel * network->element;
    for (ptrdiff_t p = 0; p < c->n_panels; p++) {
        char *to = fnn_predicted_panel(c, p);
        for (int j = 0; j < c->op->n_inputs; j++) {
            const size_t bytes = (size_t)network->widths[c->op->inputs[j]] * block;
            memcpy(to, fnn_given_panel(c, j, p), bytes);
            to += bytes;
        }
    }
}

const fnn_kind fnn_concatenate_kind = {
    .name = "concatenate",
    .least_inputs = 1,
    .most_inputs = FNN_MOST_BUFFERS,
    .outputs = total_width,
    .gradient_place = FNN_PARTS,
    .forward = concatenate,
    .predict_rows = concatenate_rows,
    .predict_panels = concatenate_panels,
};

/* ---- slices ---- */

static void slice(const fnn_step *s, int i) {
    const fnn_network *network = s->fit->network;
    const fnn_op *op = &network->ops[i];
    const ptrdiff_t panel = network->kernels->panel;
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p)) {
        const op_panel at = fnn_panel_of(s->fit, i, p);
        copy_blocks(at.Y, fnn_at(s->fit, at.X, op->start * panel), op->n_out, op->step, (size_t)panel * network->element);
    }
}

/* The features that are left out have no gradient. */
static void slice_gradient(const fnn_step *s, int i) {
    const fnn_network *network = s->fit->network;
    const fnn_op *op = &network->ops[i];
    const ptrdiff_t panel = network->kernels->panel;
    const size_t block = (size_t)panel * network->element;
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p)) {
        void *dX = fnn_at(s->fit, fnn_buffers_of(s->fit, i)->dX[0], p * s->fit->dy_stride);
        const void *dY = fnn_gradient_panel(s->fit, i, p);
        memset(dX, 0, (size_t)op->n_in * block);
        for (ptrdiff_t f = 0; f < op->n_out; f++)
            memcpy(fnn_at(s->fit, dX, (op->start + f * op->step) * panel), (const char *)dY + f * (ptrdiff_t)block, block);
    }
}

static void slice_rows(const fnn_row_call *c) {
    const ptrdiff_t element = (ptrdiff_t)c->network->element;
    for (ptrdiff_t r = 0; r < c->rows.rows; r++)
        copy_blocks((char *)c->rows.Y + r * c->rows.ldy * element,
                    (const char *)c->rows.X + (r * c->rows.ldx + c->op->start) * element, c->op->n_out, c->op->step,
                    (size_t)element);
}

static void slice_panels(const fnn_panel_call *c) {
    const ptrdiff_t element = (ptrdiff_t)c->network->element, panel = c->network->kernels->panel;
    for (ptrdiff_t p = 0; p < c->n_panels; p++)
        copy_blocks(fnn_predicted_panel(c, p), (const char *)fnn_given_panel(c, 0, p) + c->op->start * panel * element,
                    c->op->n_out, c->op->step, (size_t)(panel * element));
}

const fnn_kind fnn_slice_kind = {
    .name = "slice",
    .options = {"start", "stop", "step"},
    .outputs = fnn_given_columns,
    .gradient_place = FNN_APART,
    .forward = slice,
    .backward = slice_gradient,
    .predict_rows = slice_rows,
    .predict_panels = slice_panels,
};
