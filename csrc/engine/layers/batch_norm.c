/* Batch normalization (Ioffe and Szegedy 2015).
 *
 * Design: it cuts phase 1. A barrier, statistics of the batch by features, a barrier; the same backward. The moving
 * statistics move in phase 2, after the loss was found finite. */

#include "../kind.h"

enum { MEAN, VARIANCE, INVERSE, SUM, PRODUCT, STATISTICS }; /* one of each per feature */

static ptrdiff_t statistics(const fnn_op *op, ptrdiff_t padded_rows) {
    (void)padded_rows;
    return STATISTICS * op->n_out;
}

static fnn_moments moments_of(const fnn_fit *fit, int i) {
    const ptrdiff_t n = fit->network->ops[i].n_out;
    double *s = fnn_buffers_of(fit, i)->statistics;
    return (fnn_moments){s + MEAN * n, s + VARIANCE * n, s + INVERSE * n, s + SUM * n, s + PRODUCT * n};
}

/* 1 where the statistics are those of the batch, 0 where they are the moving ones. */
static int uses_batch(const fnn_fit *fit, const fnn_op *op) { return !fit->inference && op->trainable; }

static fnn_panels inputs_of(const fnn_fit *fit, int i) {
    const op_buffers *in = &fit->buffers[fit->network->ops[i].inputs[0]];
    return (fnn_panels){in->Y, in->stride};
}

/* Features or panels between which a long step looks for an interruption: the next ones of `rest`, 0 at the end. */
static int next_piece(const fnn_step *s, fnn_range *rest, fnn_range *piece) {
    if (rest->first >= rest->last || (s->is_long && fnn_interrupted())) return 0;
    *piece = (fnn_range){rest->first, s->is_long ? fnn_min(rest->first + 64, rest->last) : rest->last};
    rest->first = piece->last;
    return 1;
}

static void forward(const fnn_step *s, int i) {
    fnn_fit *fit = s->fit;
    const fnn_network *network = fit->network;
    const fnn_kernels *kernels = network->kernels;
    const fnn_op *op = &network->ops[i];
    const fnn_panels X = inputs_of(fit, i), Y = {fnn_buffers_of(fit, i)->Y, fnn_buffers_of(fit, i)->stride};
    const fnn_moments moments = moments_of(fit, i);
    fnn_range features = fnn_share(op->n_out, s->thread, s->n_threads), panels = s->panels, piece;
    if (uses_batch(fit, op)) {
        fnn_barrier_wait(&fit->barrier);
        fnn_gather_panels(s, X.data, X.stride * (ptrdiff_t)network->element);
        while (next_piece(s, &features, &piece)) kernels->feature_moments(&moments, X, s->rows, piece, op->epsilon);
    } else {
        kernels->known_moments(&moments, fnn_op_state(network, op, 0), fnn_op_state(network, op, 1), features, op->epsilon);
    }
    fnn_barrier_wait(&fit->barrier);
    while (next_piece(s, &panels, &piece))
        kernels->normalize_panels(Y, X, fnn_op_weights(network, op), &moments, op->n_out, piece);
}

static void backward(const fnn_step *s, int i) {
    fnn_fit *fit = s->fit;
    const fnn_network *network = fit->network;
    const fnn_op *op = &network->ops[i];
    const fnn_panels X = inputs_of(fit, i), gradient = {fnn_buffers_of(fit, i)->dY, fit->dy_stride};
    const fnn_moments moments = moments_of(fit, i);
    /* the gradients of gamma and beta need the sums too */
    fnn_barrier_wait(&fit->barrier);
    fnn_gather_panels(s, gradient.data, gradient.stride * (ptrdiff_t)network->element);
    fnn_range features = fnn_share(op->n_out, s->thread, s->n_threads), panels = s->panels, piece;
    while (next_piece(s, &features, &piece)) network->kernels->feature_sums(&moments, gradient, X, s->rows, piece);
    if (i == fit->first_trained) return;
    /* from here on the gradient is overwritten */
    fnn_barrier_wait(&fit->barrier);
    if (!fnn_buffers_of(fit, i)->dX[0]) return;
    while (next_piece(s, &panels, &piece))
        network->kernels->normalize_gradient(gradient, X, fnn_op_weights(network, op), &moments, uses_batch(fit, op),
                                             s->rows, op->n_out, piece);
}

static void gradient(const fnn_step *s, const fnn_strip *strip, void *G) {
    const fnn_kernels *kernels = s->fit->network->kernels;
    const fnn_op *op = &s->fit->network->ops[strip->op];
    const fnn_moments moments = moments_of(s->fit, strip->op);
    const ptrdiff_t f = strip->q * kernels->panel;
    kernels->store_sums(G, moments.products + f, moments.sums + f, fnn_min(op->n_out - f, kernels->panel),
                        fnn_panel_width(kernels->panel, kernels->narrow, op->n_out, strip->q));
}

static void move_statistics(const fnn_step *s, int i) {
    const fnn_network *network = s->fit->network;
    const fnn_op *op = &network->ops[i];
    const fnn_moments moments = moments_of(s->fit, i);
    const fnn_range features = fnn_share(op->n_out, s->thread, s->n_threads);
    if (!uses_batch(s->fit, op)) return;
    network->kernels->move_statistics(fnn_op_state(network, op, 0), moments.mean, features, op->momentum);
    network->kernels->move_statistics(fnn_op_state(network, op, 1), moments.variance, features, op->momentum);
}

static void predict_rows(const fnn_row_call *c) {
    c->network->kernels->normalize_rows(&c->rows, fnn_op_weights(c->network, c->op), fnn_op_state(c->network, c->op, 0),
                                        fnn_op_state(c->network, c->op, 1), c->op->epsilon);
}

/* Some features of all panels at a time. */
static void predict_panels(const fnn_panel_call *c) {
    const fnn_network *network = c->network;
    const fnn_kernels *kernels = network->kernels;
    const ptrdiff_t element = (ptrdiff_t)network->element, panel = kernels->panel;
    double mean[FNN_MOST_LANES], inverse[FNN_MOST_LANES];
    const fnn_moments moments = {.mean = mean, .inverse = inverse};
    for (ptrdiff_t f = 0; f < c->op->n_out; f += FNN_MOST_LANES) {
        const ptrdiff_t count = fnn_min(c->op->n_out - f, FNN_MOST_LANES);
        const fnn_panels X = {(char *)(uintptr_t)fnn_given_panel(c, 0, 0) + f * panel * element, c->stride};
        const fnn_panels Y = {(char *)c->Y + f * panel * element, c->stride};
        const char *means = fnn_op_state(network, c->op, 0), *variances = fnn_op_state(network, c->op, 1);
        const char *W = (const char *)fnn_op_weights(network, c->op) + fnn_panel_offset(panel, 1, f / panel) * element;
        kernels->known_moments(&moments, means + f * element, variances + f * element, (fnn_range){0, count},
                               c->op->epsilon);
        kernels->normalize_panels(Y, X, W, &moments, count, (fnn_range){0, c->n_panels});
    }
}

const fnn_kind fnn_batch_norm_kind = {
    .name = "batch_normalization",
    .parameters = {"gamma", "beta"},
    .states = {"moving_mean", "moving_variance"},
    .options = {"momentum", "epsilon"},
    .statistics = statistics,
    .forward = forward,
    .backward = backward,
    .gradient = gradient,
    .move_statistics = move_statistics,
    .predict_rows = predict_rows,
    .predict_panels = predict_panels,
};
