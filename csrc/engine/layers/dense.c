/* Dense layers: Y = f(X W + b). */

#include "../kind.h"

static int keeps_derivative(int activation) {
    return activation != FNN_LINEAR && activation != FNN_RELU && !fnn_is_row_activation(activation);
}

/* The fields that do not depend on the buffers. A layer is filled where it stays: a copy of what has just been written piece
 * by piece waits for the writes, which took a tenth of the smallest steps. */
static void describe(fnn_dense *layer, const fnn_network *network, const fnn_op *op, int activation) {
    layer->n_in = op->n_in;
    layer->n_out = op->n_out;
    layer->activation = activation;
    memcpy(layer->parameters, op->parameters, sizeof layer->parameters);
    layer->W = fnn_op_weights(network, op);
    layer->D = NULL;
}

/* The layer of all steps with full batches: the smallest steps would spend a tenth of their time on describing it. */
static void prepare(const fnn_fit *fit, int i) {
    const op_buffers *in = &fit->buffers[fit->network->ops[i].inputs[0]];
    op_buffers *out = fnn_buffers_of(fit, i);
    fnn_dense *layer = &out->layer;
    describe(layer, fit->network, &fit->network->ops[i], fnn_activation_of(fit, i));
    layer->X = in->Y;
    layer->Y = out->Y;
    layer->D = out->D;
    layer->x_stride = in->stride;
    layer->y_stride = out->stride;
    layer->dY = out->dY;
    layer->dZt = out->dZt;
    layer->rows = fit->n_panels * fit->network->kernels->panel;
    layer->chunks = (fnn_range){0, fnn_ceil_div(layer->rows, FNN_CHUNK)};
    layer->dX = out->dX ? out->dX[0] : NULL;
    layer->dy_stride = layer->dx_stride = fit->dy_stride;
}

/* The layer of op i in a step; `own` is for that of a ragged batch, or of some of its chunks. */
static const fnn_dense *layer_in_step(const fnn_step *s, int i, fnn_dense *own) {
    const fnn_dense *layer = &fnn_buffers_of(s->fit, i)->layer;
    const fnn_range chunks = layer->chunks;
    if (layer->rows == s->padded && chunks.first == s->chunks.first && chunks.last == s->chunks.last) return layer;
    *own = *layer;
    own->rows = s->padded;
    own->chunks = s->chunks;
    return own;
}

static void forward(const fnn_step *s, int i) {
    const fnn_kernels *kernels = s->fit->network->kernels;
    const fnn_range panels = fnn_product_panels(s), outputs = fnn_product_share(s, s->fit->network->ops[i].panels);
    const fnn_dense *layer = &fnn_buffers_of(s->fit, i)->layer;
    if (layer->n_in <= FNN_SHORT && !s->is_long && !s->together)
        kernels->short_forward(layer, panels);
    else if (s->is_long)
        fnn_forward_pieces(kernels, layer, panels, outputs);
    else
        kernels->dense_forward(layer, panels, outputs);
}

static void backward(const fnn_step *s, int i) {
    const fnn_kernels *kernels = s->fit->network->kernels;
    fnn_dense own;
    const fnn_dense *layer = layer_in_step(s, i, &own);
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p)) kernels->dense_backward_output(layer, p);
    if (!layer->dX) return;
    fnn_meet(s);
    const fnn_range panels = fnn_product_panels(s), inputs = fnn_product_share(s, layer->n_in);
    if (s->is_long)
        fnn_backward_input_pieces(kernels, layer, panels, inputs);
    else
        kernels->dense_backward_input(layer, panels, inputs);
    fnn_meet(s);
}

static void update(const fnn_step *s, const fnn_strip *strip, ptrdiff_t count, const fnn_weights *weights,
                   const fnn_update *rule) {
    const fnn_kernels *kernels = s->fit->network->kernels;
    const fnn_range weight_panels = {strip->q, strip->q + count};
    fnn_dense own;
    const fnn_dense *layer = layer_in_step(s, strip->op, &own);
    if (layer->n_in <= FNN_SHORT && layer->rows <= FNN_CHUNK && !s->is_long)
        kernels->short_update(layer, weights, weight_panels, strip->rows, rule);
    else if (s->is_long && (s->fit->stores || s->fit->gradients))
        fnn_update_pieces(kernels, layer, weights, weight_panels, strip->rows, rule);
    else
        kernels->dense_update(layer, weights, weight_panels, strip->rows, rule);
}

static void predict_rows(const fnn_row_call *c) {
    const fnn_kernels *kernels = c->network->kernels;
    const fnn_op *op = c->op;
    const ptrdiff_t element = (ptrdiff_t)c->network->element, panel = kernels->panel;
    const ptrdiff_t first = c->weight_panels.first * panel, last = fnn_min(c->weight_panels.last * panel, op->n_out);
    const ptrdiff_t offset = fnn_panel_offset(panel, op->n_in, c->weight_panels.first);
    fnn_dense layer; /* not cleared: one row through a small network takes as long as a few of these */
    layer.n_in = op->n_in;
    layer.n_out = last - first;
    layer.activation = c->activation;
    memcpy(layer.parameters, op->parameters, sizeof layer.parameters);
    layer.W = (char *)fnn_op_weights(c->network, op) + offset * element;
    layer.X = c->rows.X;
    layer.Y = (char *)c->rows.Y + first * element;
    layer.x_stride = c->rows.ldx;
    layer.y_stride = c->rows.ldy;
    fnn_rows_pieces(kernels, &layer, c->rows.rows);
}

static void predict_panels(const fnn_panel_call *c) {
    fnn_dense layer;
    describe(&layer, c->network, c->op, c->activation);
    layer.X = fnn_given_panel(c, 0, 0);
    layer.Y = c->Y;
    layer.x_stride = layer.y_stride = c->stride;
    fnn_forward_pieces(c->network->kernels, &layer, (fnn_range){0, c->n_panels}, (fnn_range){0, c->op->panels});
}

const fnn_kind fnn_dense_kind = {
    .name = "dense",
    .parameters = {"kernel", "bias"},
    .options = {"n_out"},
    .is_product = 1,
    .transposes = 1,
    .gradient_place = FNN_APART,
    .keeps_derivative = keeps_derivative,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .update = update,
    .predict_rows = predict_rows,
    .predict_panels = predict_panels,
};
