/* Ops beyond dense products: activations, dropout and noise, normalizations, branches.
 *
 * Design:
 * a) Batch normalization cuts phase 1: a barrier, statistics of the batch by features, a barrier; the same backward.
 *    Its moving statistics move in phase 2, after the loss was found finite.
 * b) What a parameter's gradient sums over the batch is kept per element; phase 2 sums it by features. */

#include <string.h>

#include "fit.h"

/* statistics of batch normalization, one per feature; of layer normalization, one per row */
enum { MEAN, VARIANCE, INVERSE, SUM, PRODUCT, BATCH_STATISTICS };
enum { ROW_INVERSE, ROW_OFFSET, ROW_STATISTICS };

ptrdiff_t fnn_layer_statistics(const fnn_fit *fit, const fnn_op *op) {
    if (op->kind == FNN_OP_BATCH_NORM) return BATCH_STATISTICS * op->n_out;
    return op->kind == FNN_OP_LAYER_NORM ? ROW_STATISTICS * fit->panels * fit->network->kernels->panel : 0;
}

int fnn_layer_saves(const fnn_op *op) {
    return op->kind == FNN_OP_LAYER_NORM || op->kind == FNN_OP_PRELU || op->kind == FNN_OP_ADD;
}

static int uses_batch(const fnn_fit *fit, const fnn_op *op) { return !fit->inference && op->trainable; }

static void batch_norm(fnn_fit *fit, int i, const batch *b, ptrdiff_t p0, ptrdiff_t p1, int thread, int n_threads) {
    const fnn_network *network = fit->network;
    const fnn_kernels *kernels = network->kernels;
    const fnn_op *op = &network->ops[i];
    const op_buffers *in = &fit->buffers[i], *out = &fit->buffers[i + 1];
    const ptrdiff_t n = op->n_out;
    double *s = out->statistics;
    ptrdiff_t f0, f1;
    fnn_share(n, thread, n_threads, &f0, &f1);
    if (uses_batch(fit, op)) {
        fnn_barrier_wait(&fit->barrier);
        kernels->feature_moments(s + MEAN * n + f0, s + VARIANCE * n + f0, s + INVERSE * n + f0,
                                 fnn_at(fit, in->Y, f0 * kernels->panel), in->stride, b->rows, f1 - f0, op->epsilon);
    } else {
        kernels->known_moments(s + MEAN * n + f0, s + INVERSE * n + f0, fnn_at(fit, network->weights, op->state + f0),
                               fnn_at(fit, network->weights, op->state + n + f0), f1 - f0, op->epsilon);
    }
    fnn_barrier_wait(&fit->barrier);
    kernels->normalize_panels(out->Y, out->stride, in->Y, in->stride, fnn_at(fit, network->weights, op->weights),
                              s + MEAN * n, s + INVERSE * n, n, p0, p1);
}

static void batch_norm_backward(fnn_fit *fit, int i, const batch *b, void *dY, ptrdiff_t p0, ptrdiff_t p1, int thread,
                                int n_threads) {
    const fnn_kernels *kernels = fit->network->kernels;
    const fnn_op *op = &fit->network->ops[i];
    const op_buffers *in = &fit->buffers[i];
    const ptrdiff_t n = op->n_out;
    double *s = fit->buffers[i + 1].statistics;
    ptrdiff_t f0, f1;
    fnn_share(n, thread, n_threads, &f0, &f1);
    /* the gradients of gamma and beta take the sums too */
    fnn_barrier_wait(&fit->barrier);
    kernels->feature_sums(s + SUM * n + f0, s + PRODUCT * n + f0, fnn_at(fit, dY, f0 * kernels->panel), fit->dy_stride,
                          fnn_at(fit, in->Y, f0 * kernels->panel), in->stride, s + MEAN * n + f0, s + INVERSE * n + f0,
                          b->rows, f1 - f0);
    if (i == fit->first_dense) return;
    fnn_barrier_wait(&fit->barrier);
    kernels->normalize_gradient(dY, fit->dy_stride, in->Y, in->stride, fnn_at(fit, fit->network->weights, op->weights),
                                s + MEAN * n, s + INVERSE * n, uses_batch(fit, op) ? s + SUM * n : NULL, s + PRODUCT * n,
                                b->rows, n, p0, p1);
}

void fnn_activate_panel(const fnn_network *network, const fnn_op *op, int activation, void *Y, void *D, const void *X) {
    const fnn_kernels *kernels = network->kernels;
    const ptrdiff_t elements = op->n_out * kernels->panel;
    if (op->kind == FNN_OP_ACTIVATION && activation < FNN_SOFTMAX)
        kernels->activate(Y, D, X, elements, activation, op->parameters);
    else if (op->kind == FNN_OP_ACTIVATION)
        memcpy(Y, X, (size_t)elements * network->element);
    if (activation >= FNN_SOFTMAX) kernels->panel_activation(Y, op->n_out, activation);
}

static void forward_panel(fnn_fit *fit, int i, const batch *b, ptrdiff_t p) {
    const fnn_network *network = fit->network;
    const fnn_kernels *kernels = network->kernels;
    const fnn_op *op = &network->ops[i];
    const op_buffers *in = &fit->buffers[i], *out = &fit->buffers[i + 1];
    const ptrdiff_t panel = kernels->panel, n = op->n_in, elements = n * panel;
    const void *W = fnn_at(fit, network->weights, op->weights), *X = fnn_at(fit, in->Y, p * in->stride);
    void *Y = fnn_at(fit, out->Y, p * out->stride);
    void *D = out->D ? fnn_at(fit, out->D, p * op->n_out * panel) : NULL;
    void *const needed = i >= fit->first_dense ? D : NULL; /* no gradient goes further back */
    double *rows = out->statistics + p * panel;
    const int is_random = !fit->inference && op->rate > 0;
    const uint64_t seed = fit->seed ^ (fit->epoch * 0x9E3779B97F4A7C15u), step = (uint64_t)b->step;
    const uint32_t stream = (uint32_t)i + 1, first = (uint32_t)(p * panel);
    switch (op->kind) {
    case FNN_OP_DROPOUT:
        if (is_random)
            kernels->dropout(Y, D, X, n, op->rate, op->alpha, seed, stream, step, first);
        else
            kernels->activate(Y, D, X, elements, FNN_LINEAR, op->parameters);
        break;
    case FNN_OP_NOISE:
        if (is_random)
            kernels->gaussian_noise(Y, X, n, op->rate, seed, stream, step, first);
        else
            memcpy(Y, X, (size_t)elements * network->element);
        break;
    case FNN_OP_LAYER_NORM:
        kernels->layer_norm(Y, needed, rows + ROW_INVERSE, rows + ROW_OFFSET * fit->panels * panel, X, W, n, op->epsilon, op->rms);
        break;
    case FNN_OP_PRELU:
        kernels->prelu(Y, X, W, n);
        break;
    case FNN_OP_STANDARDIZE:
        kernels->standardize(Y, needed, X, fnn_at(fit, network->weights, op->state), fnn_at(fit, network->weights, op->state + n), n,
                             op->invert, op->missing, op->indicator);
        break;
    case FNN_OP_ADD:
        kernels->add(Y, X, fnn_at(fit, fit->buffers[op->source].Y, p * fit->buffers[op->source].stride), elements);
        break;
    default:
        fnn_activate_panel(network, op, i == fit->skipped ? FNN_LINEAR : op->activation, Y, D, X);
        break;
    }
    if (fnn_has_activity(op))
        kernels->activity(fit->activity + p * panel, NULL, Y, op->n_out, op->activity_l1, op->activity_l2, NULL);
}

void fnn_layer_forward(fnn_fit *fit, int i, const batch *b, ptrdiff_t p0, ptrdiff_t p1, int thread, int n_threads) {
    if (fit->network->ops[i].kind == FNN_OP_BATCH_NORM)
        batch_norm(fit, i, b, p0, p1, thread, n_threads);
    else
        for (ptrdiff_t p = p0; p < p1; p++) forward_panel(fit, i, b, p);
}

static void backward_panel(fnn_fit *fit, int i, const batch *b, void *dY, ptrdiff_t p) {
    const fnn_network *network = fit->network;
    const fnn_kernels *kernels = network->kernels;
    const fnn_op *op = &network->ops[i];
    const op_buffers *in = &fit->buffers[i], *out = &fit->buffers[i + 1];
    const ptrdiff_t panel = kernels->panel, elements = op->n_in * panel;
    const void *W = fnn_at(fit, network->weights, op->weights);
    void *g = fnn_at(fit, dY, p * fit->dy_stride), *saved = out->saved ? fnn_at(fit, out->saved, p * elements) : NULL;
    const void *D = out->D ? fnn_at(fit, out->D, p * op->n_out * panel) : NULL;
    const double *rows = out->statistics + p * panel;
    switch (op->kind) {
    case FNN_OP_LAYER_NORM:
        memcpy(saved, g, (size_t)elements * network->element);
        if (i > fit->first_dense)
            kernels->layer_norm_gradient(g, D, rows + ROW_INVERSE, rows + ROW_OFFSET * fit->panels * panel, W, op->n_in,
                                         op->rms, fnn_part(b->rows - p * panel, panel));
        break;
    case FNN_OP_PRELU:
        kernels->prelu_gradient(g, saved, fnn_at(fit, in->Y, p * in->stride), W, op->n_in);
        break;
    case FNN_OP_STANDARDIZE:
        kernels->multiply(g, D, elements);
        break;
    case FNN_OP_ADD:
        memcpy(saved, g, (size_t)elements * network->element);
        break;
    default:
        break;
    }
}

void fnn_layer_backward(fnn_fit *fit, int i, const batch *b, void *dY, ptrdiff_t p0, ptrdiff_t p1, int thread, int n_threads) {
    if (fit->network->ops[i].kind == FNN_OP_BATCH_NORM)
        batch_norm_backward(fit, i, b, dY, p0, p1, thread, n_threads);
    else
        for (ptrdiff_t p = p0; p < p1; p++) backward_panel(fit, i, b, dY, p);
}

void fnn_join_branches(fnn_fit *fit, int i, void *dY, ptrdiff_t p0, ptrdiff_t p1) {
    const fnn_network *network = fit->network;
    for (int j = i; j < fit->trained_ops; j++) {
        const fnn_op *op = &network->ops[j];
        if (op->kind != FNN_OP_ADD || op->source != i) continue;
        const ptrdiff_t elements = op->n_in * network->kernels->panel;
        for (ptrdiff_t p = p0; p < p1; p++) {
            void *g = fnn_at(fit, dY, p * fit->dy_stride);
            network->kernels->add(g, g, fnn_at(fit, fit->buffers[j + 1].saved, p * elements), elements);
        }
    }
}

void fnn_layer_gradient(const fnn_fit *fit, const batch *b, const unit *u, void *G) {
    const fnn_kernels *kernels = fit->network->kernels;
    const fnn_op *op = &fit->network->ops[u->op];
    const op_buffers *out = &fit->buffers[u->op + 1];
    const ptrdiff_t panel = kernels->panel, n = op->n_out, f = u->q * panel, rest = n - f;
    const ptrdiff_t count = fnn_part(rest, panel), width = rest <= kernels->narrow ? kernels->narrow : panel;
    if (op->kind == FNN_OP_BATCH_NORM) {
        kernels->store_sums(G, out->statistics + PRODUCT * n + f, out->statistics + SUM * n + f, count, width);
        return;
    }
    double sums[FNN_MOST_LANES], products[FNN_MOST_LANES];
    const void *saved = fnn_at(fit, out->saved, f * panel);
    if (op->kind == FNN_OP_PRELU) {
        kernels->feature_sums(sums, NULL, saved, n * panel, NULL, 0, NULL, NULL, b->rows, count);
        kernels->store_sums(G, sums, NULL, count, width);
    } else {
        kernels->feature_sums(sums, products, saved, n * panel, fnn_at(fit, out->D, f * panel), n * panel, NULL, NULL, b->rows,
                              count);
        kernels->store_sums(G, products, sums, count, width);
    }
}

void fnn_move_statistics(fnn_fit *fit, int thread, int n_threads) {
    const fnn_network *network = fit->network;
    for (int i = 0; i < network->n_ops; i++) {
        const fnn_op *op = &network->ops[i];
        if (op->kind != FNN_OP_BATCH_NORM || !uses_batch(fit, op)) continue;
        const double *s = fit->buffers[i + 1].statistics;
        const ptrdiff_t n = op->n_out;
        ptrdiff_t f0, f1;
        fnn_share(n, thread, n_threads, &f0, &f1);
        network->kernels->move_statistics(fnn_at(fit, network->weights, op->state + f0), s + MEAN * n + f0, f1 - f0, op->momentum);
        network->kernels->move_statistics(fnn_at(fit, network->weights, op->state + n + f0), s + VARIANCE * n + f0, f1 - f0,
                                          op->momentum);
    }
}
