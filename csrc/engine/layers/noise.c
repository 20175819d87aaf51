/* Dropout, alpha dropout and additive noise: prediction leaves them out. */

#include "../kind.h"

static int is_random(const fnn_step *s, const fnn_op *op) { return !s->fit->inference && op->rate > 0; }

static fnn_stream stream_of(const fnn_step *s, int i, ptrdiff_t p) {
    const fnn_op *op = &s->fit->network->ops[i];
    return (fnn_stream){.seed = (op->has_seed ? op->seed : s->fit->seed) ^ (s->fit->epoch * 0x9E3779B97F4A7C15u),
                        .step = (uint64_t)s->step,
                        .stream = (uint32_t)(op->has_seed ? FNN_MOST_OPS + op->draw : i) + 1,
                        .first_row = (uint32_t)(p * s->fit->network->kernels->panel)};
}

static void dropout(const fnn_step *s, int i) {
    const fnn_kernels *kernels = s->fit->network->kernels;
    const fnn_op *op = &s->fit->network->ops[i];
    const double rate = op->rate * fnn_factor(s, FNN_DROPOUT_FACTOR);
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p)) {
        const op_panel at = fnn_panel_of(s->fit, i, p);
        const fnn_stream random = stream_of(s, i, p);
        if (is_random(s, op) && rate > 0)
            kernels->dropout(at.Y, at.D, at.X, op->n_in, rate, op->alpha, &random);
        else
            kernels->activate(at.Y, at.D, at.X, op->n_in * kernels->panel, FNN_LINEAR, op->parameters);
    }
}

static void noise(const fnn_step *s, int i) {
    const fnn_network *network = s->fit->network;
    const fnn_op *op = &network->ops[i];
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p)) {
        const op_panel at = fnn_panel_of(s->fit, i, p);
        const fnn_stream random = stream_of(s, i, p);
        if (is_random(s, op))
            network->kernels->gaussian_noise(at.Y, at.X, op->n_in, op->rate, &random);
        else
            memcpy(at.Y, at.X, (size_t)(op->n_in * network->kernels->panel) * network->element);
    }
}

const fnn_kind fnn_dropout_kind = {
    .name = "dropout",
    .options = {"rate"},
    .keeps_derivative = fnn_always,
    .forward = dropout,
    .backward = fnn_multiply_by_derivative,
};
const fnn_kind fnn_noise_kind = {
    .name = "gaussian_noise",
    .options = {"rate"},
    .forward = noise,
};
