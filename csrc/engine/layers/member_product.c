/* One dense layer for every member: each of `groups` parts of the inputs is multiplied by the same kernel (TabM, Gorishniy
 * et al. 2025).
 *
 * Design: a part of a panel is a panel with fewer features, so the products are those of dense layers, one member after the
 * other. The gradients of the members are added in their order, then the update rule runs once. The sums lie in the op's
 * statistics. */

#include "../kind.h"

static ptrdiff_t outputs(const fnn_op *op, const ptrdiff_t *widths) {
    ptrdiff_t n;
    (void)widths;
    return __builtin_mul_overflow(op->groups, op->columns, &n) ? 0 : n;
}

/* Elements of the transposed gradients of one member. */
static ptrdiff_t transposed(const fnn_network *network, const fnn_op *op, ptrdiff_t rows) {
    return op->panels * network->kernels->panel * rows;
}

static ptrdiff_t statistics(const fnn_op *op, ptrdiff_t rows) {
    /* widths are rounded up to whole weight panels: `panels` of 64 bytes */
    const ptrdiff_t panel_doubles = 8;
    (void)rows;
    return (op->table_rows + 1) * op->panels * panel_doubles;
}

/* The fields that do not depend on the member. */
static fnn_dense layer_of(const fnn_network *network, const fnn_op *op) {
    return (fnn_dense){.n_in = op->table_rows, .n_out = op->columns, .activation = FNN_LINEAR,
                       .W = fnn_op_weights(network, op)};
}

static fnn_dense layer_in_step(const fnn_step *s, int i, ptrdiff_t member) {
    const fnn_fit *fit = s->fit;
    const fnn_op *op = &fit->network->ops[i];
    const op_buffers *in = &fit->buffers[op->inputs[0]], *out = fnn_buffers_of(fit, i);
    const ptrdiff_t panel = fit->network->kernels->panel, from = member * op->table_rows * panel;
    const ptrdiff_t to = member * op->columns * panel;
    fnn_dense layer = layer_of(fit->network, op);
    layer.X = fnn_at(fit, in->Y, from);
    layer.Y = fnn_at(fit, out->Y, to);
    layer.x_stride = in->stride;
    layer.y_stride = out->stride;
    if (out->dY) layer.dY = fnn_at(fit, out->dY, to);
    if (out->dX && out->dX[0]) layer.dX = fnn_at(fit, out->dX[0], from);
    layer.rows = s->padded;
    layer.chunks = s->chunks;
    layer.dZt = fnn_at(fit, out->dZt, member * transposed(fit->network, op, s->padded));
    layer.dy_stride = layer.dx_stride = fit->dy_stride;
    return layer;
}

static void forward(const fnn_step *s, int i) {
    const fnn_op *op = &s->fit->network->ops[i];
    for (ptrdiff_t m = 0; m < op->groups; m++) {
        const fnn_dense layer = layer_in_step(s, i, m);
        fnn_forward_pieces(s->fit->network->kernels, &layer, s->panels, (fnn_range){0, op->panels});
    }
}

static void backward(const fnn_step *s, int i) {
    const fnn_kernels *kernels = s->fit->network->kernels;
    const fnn_op *op = &s->fit->network->ops[i];
    for (ptrdiff_t m = 0; m < op->groups; m++) {
        const fnn_dense layer = layer_in_step(s, i, m);
        for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p))
            kernels->dense_backward_output(&layer, p);
        if (layer.dX) fnn_backward_input_pieces(kernels, &layer, s->panels, (fnn_range){0, layer.n_in});
    }
}

/* The gradient of some rows of weight panels from one member, and what becomes of it. */
static void of_member(const fnn_step *s, int i, ptrdiff_t member, fnn_range weight_panels, fnn_range rows,
                      const fnn_weights *weights, const fnn_update *rule) {
    const fnn_kernels *kernels = s->fit->network->kernels;
    const ptrdiff_t n_in = s->fit->network->ops[i].table_rows, element = (ptrdiff_t)s->fit->network->element;
    fnn_dense layer = layer_in_step(s, i, member);
    const fnn_range kernel = {rows.first, fnn_min(rows.last, n_in)};
    if (kernel.first < kernel.last) kernels->dense_update(&layer, weights, weight_panels, kernel, rule);
    if (rows.last <= n_in) return;
    /* the bias: one panel of ones stands for all of the inputs */
    _Alignas(64) char ones[FNN_MOST_LANES * sizeof(double)];
    fnn_set_ones(kernels, ones, 0, 0, 1);
    layer.X = (const char *)((uintptr_t)ones - (uintptr_t)(n_in * kernels->panel * element));
    layer.x_stride = 0;
    kernels->dense_update(&layer, weights, weight_panels, (fnn_range){n_in, n_in + 1}, rule);
}

static void update(const fnn_step *s, const fnn_strip *strip, ptrdiff_t count, const fnn_weights *weights,
                   const fnn_update *rule) {
    const fnn_fit *fit = s->fit;
    const fnn_kernels *kernels = fit->network->kernels;
    const fnn_op *op = &fit->network->ops[strip->op];
    const fnn_range weight_panels = {strip->q, strip->q + count};
    const int stores = rule->kind == FNN_STORE || rule->kind == FNN_ACCUMULATE;
    void *sums = fnn_buffers_of(fit, strip->op)->statistics;
    const fnn_weights places = {weights->W, {stores ? weights->moments[0] : sums}};
    for (ptrdiff_t m = 0; m < op->groups; m++) {
        fnn_update own = {.scale = 1.0};
        if (stores && m == op->groups - 1) own = *rule; /* with the penalty, which is added once */
        own.kind = m == 0 && rule->kind != FNN_ACCUMULATE ? FNN_STORE : FNN_ACCUMULATE;
        of_member(s, strip->op, m, weight_panels, strip->rows, &places, &own);
    }
    for (ptrdiff_t q = weight_panels.first; !stores && q < weight_panels.last; q++) {
        const ptrdiff_t width = fnn_panel_width(kernels->panel, kernels->narrow, op->columns, q);
        const ptrdiff_t at = fnn_panel_offset(kernels->panel, op->table_rows, q) + strip->rows.first * width;
        const fnn_weights own = fnn_weights_from(fit, weights, at);
        kernels->update(&own, fnn_at(fit, sums, at), (strip->rows.last - strip->rows.first) * width, rule);
    }
}

/* Outputs of whole weight panels go straight to their place; the rest of a row would overwrite what follows it. */
static void predict_rows(const fnn_row_call *c) {
    const fnn_kernels *kernels = c->network->kernels;
    const fnn_op *op = c->op;
    const ptrdiff_t element = (ptrdiff_t)c->network->element, panel = kernels->panel;
    const ptrdiff_t full = op->columns / panel * panel, rest = op->columns - full;
    _Alignas(64) char tail[FNN_MOST_LANES * sizeof(double)];
    for (ptrdiff_t m = 0; m < op->groups; m++) {
        fnn_dense layer = layer_of(c->network, op);
        layer.X = (const char *)c->rows.X + m * op->table_rows * element;
        layer.Y = (char *)c->rows.Y + m * op->columns * element;
        layer.x_stride = c->rows.ldx;
        layer.y_stride = c->rows.ldy;
        layer.n_out = full;
        if (full) fnn_rows_pieces(kernels, &layer, c->rows.rows);
        layer.n_out = rest;
        layer.W = (const char *)layer.W + fnn_panel_offset(panel, op->table_rows, full / panel) * element;
        for (ptrdiff_t r = 0; rest && r < c->rows.rows; r++) {
            fnn_dense row = layer;
            row.X = (const char *)layer.X + r * c->rows.ldx * element;
            row.Y = tail;
            kernels->dense_rows(&row, 1);
            memcpy((char *)layer.Y + (r * c->rows.ldy + full) * element, tail, (size_t)(rest * element));
        }
    }
}

const fnn_kind fnn_member_product_kind = {
    .name = "member_product",
    .parameters = {"kernel", "bias"},
    .options = {"n_rows", "n_columns", "groups"},
    .is_table = 1,
    .is_multiplied = 1,
    .transposes = 1,
    .outputs = outputs,
    .gradient_place = FNN_APART,
    .statistics = statistics,
    .forward = forward,
    .backward = backward,
    .update = update,
    .predict_rows = predict_rows,
};
