/* Training: the step, its phases, and the loop over the steps of an epoch.
 *
 * Design:
 * a) Phase 1: every thread takes its panels of the batch through gather, forward, loss and backward, without waiting.
 *    Phase 2: every thread takes its part of all weights: gradient over the whole batch, update rule at once, no
 *    gradient in memory. Weights are read in phase 1 and written in phase 2 only: two barriers per step at any depth.
 * b) All memory of a fit is one arena; after fnn_fit_new nothing can fail.
 * c) Sums of the loss are float64 in row order. A non-finite loss is seen before its update. */

#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <string.h>
#include <time.h>

#include "fit.h"

/* ---- phase 1 ---- */

typedef struct {
    ptrdiff_t step, first_row, rows, padded; /* padded: rows rounded up to whole panels */
} batch;

static batch batch_of(const fnn_fit *fit, ptrdiff_t step) {
    const ptrdiff_t first = step * fit->data.batch_size, rest = fit->n - first, panel = fit->network->kernels->panel;
    const ptrdiff_t rows = rest < fit->data.batch_size ? rest : fit->data.batch_size;
    return (batch){step, first, rows, (rows + panel - 1) / panel * panel};
}

static void forward(fnn_fit *fit, const batch *b, ptrdiff_t p0, ptrdiff_t p1) {
    const fnn_network *network = fit->network;
    const fnn_kernels *kernels = network->kernels;
    const int training = !fit->gradients;
    for (int i = 0; i < fit->trained_ops; i++) {
        const fnn_op *op = &network->ops[i];
        const op_buffers *in = &fit->buffers[i], *out = &fit->buffers[i + 1];
        const int activation = i == fit->skipped ? FNN_LINEAR : op->activation;
        if (op->kind == FNN_OP_DENSE) {
            const fnn_dense layer = {out->Y,      out->D,     in->Y,       fnn_at(fit, network->weights, op->weights),
                                     op->n_in,    op->n_out,  in->stride,  out->stride,
                                     activation,  {op->parameters[0], op->parameters[1]}};
            kernels->dense_forward(&layer, p0, p1, 0, (op->n_out + kernels->panel - 1) / kernels->panel);
        }
        for (ptrdiff_t p = p0; p < p1; p++) {
            void *Y = fnn_at(fit, out->Y, p * out->stride), *X = fnn_at(fit, in->Y, p * in->stride);
            void *D = out->D ? fnn_at(fit, out->D, p * op->n_out * kernels->panel) : NULL;
            const ptrdiff_t elements = op->n_out * kernels->panel;
            if (op->kind == FNN_OP_DROPOUT && training && op->rate > 0)
                kernels->dropout(Y, D, X, op->n_out, op->rate, fit->seed ^ (fit->epoch * 0x9E3779B97F4A7C15u),
                                 (uint32_t)i + 1, (uint64_t)b->step, (uint32_t)(p * kernels->panel));
            else if (op->kind == FNN_OP_DROPOUT)
                kernels->activate(Y, D, X, elements, FNN_LINEAR, op->parameters);
            else if (op->kind == FNN_OP_ACTIVATION && activation < FNN_SOFTMAX)
                kernels->activate(Y, D, X, elements, activation, op->parameters);
            else if (op->kind == FNN_OP_ACTIVATION)
                memcpy(Y, X, (size_t)elements * network->element);
            if (activation >= FNN_SOFTMAX) kernels->panel_activation(Y, op->n_out, activation);
        }
    }
}

static void gather_inputs(fnn_fit *fit, const batch *b, ptrdiff_t p0, ptrdiff_t p1) {
    const fnn_kernels *kernels = fit->network->kernels;
    const int64_t *order = fit->shuffled ? fit->order : NULL;
    for (ptrdiff_t p = p0; p < p1; p++) {
        const ptrdiff_t first = b->first_row + p * kernels->panel, rest = b->rows - p * kernels->panel;
        const ptrdiff_t count = rest < kernels->panel ? rest : kernels->panel;
        kernels->gather(fnn_at(fit, fit->buffers[0].Y, p * fit->buffers[0].stride), &fit->data.X, order, first, count);
        if (fit->data.y.data) kernels->gather(fnn_at(fit, fit->T, p * fit->t_stride), &fit->data.y, order, first, count);
        const double scale = fit->network->loss.sum ? 1.0 : 1.0 / (double)b->rows;
        for (ptrdiff_t i = 0; i < kernels->panel; i++) {
            const ptrdiff_t at_row = p * kernels->panel + i, row = order && i < count ? (ptrdiff_t)order[first + i] : first + i;
            double weight = i < count ? 1.0 : 0.0;
            if (i < count && fit->data.sample_weight)
                weight = fit->network->element == 4 ? (double)((const float *)fit->data.sample_weight)[row]
                                                    : ((const double *)fit->data.sample_weight)[row];
            fit->scale[at_row] = weight * scale;
            if (fit->data.labels) fit->labels[at_row] = i < count ? (double)fit->data.labels[row] : 0.0;
        }
    }
}

static void evaluate_loss(fnn_fit *fit, const batch *b, ptrdiff_t p0, ptrdiff_t p1) {
    const fnn_network *network = fit->network;
    const fnn_kernels *kernels = network->kernels;
    const op_buffers *out = &fit->buffers[fit->trained_ops];
    for (ptrdiff_t p = p0; p < p1; p++) {
        const ptrdiff_t first = p * kernels->panel, rest = b->rows - first;
        const ptrdiff_t count = rest < kernels->panel ? rest : kernels->panel;
        void *Y = fnn_at(fit, out->Y, p * out->stride);
        const int activated = fit->skipped >= 0 && fit->data.predictions != NULL;
        kernels->loss(fit->values + first, fnn_at(fit, fit->dY[0], p * fit->dy_stride), Y, fnn_at(fit, fit->T, p * fit->t_stride),
                      fit->labels + first, network->n_outputs, fit->scale + first, &network->loss, activated);
        double finite = 0;
        for (ptrdiff_t i = 0; i < count; i++) finite += fit->values[first + i] - fit->values[first + i];
        if (finite != 0) atomic_store_explicit(&fit->nonfinite, 1, memory_order_relaxed);
        if (fit->data.predictions && !fit->gradients)
            kernels->scatter((void *)fit->data.predictions, network->n_outputs, Y, network->n_outputs,
                             fit->shuffled ? fit->order : NULL, b->first_row + first, count);
    }
}

static void backward(fnn_fit *fit, const batch *b, ptrdiff_t p0, ptrdiff_t p1) {
    const fnn_network *network = fit->network;
    const fnn_kernels *kernels = network->kernels;
    void *dY = fit->dY[0], *dX = fit->dY[1];
    for (int i = fit->trained_ops - 1; i >= fit->first_dense; i--) {
        const fnn_op *op = &network->ops[i];
        const op_buffers *out = &fit->buffers[i + 1];
        const int activation = i == fit->skipped ? FNN_LINEAR : op->activation;
        for (ptrdiff_t p = p0; p < p1; p++) {
            void *g = fnn_at(fit, dY, p * fit->dy_stride);
            const void *D = out->D ? fnn_at(fit, out->D, p * op->n_out * kernels->panel) : NULL;
            const void *Y = fnn_at(fit, out->Y, p * out->stride);
            if (op->kind != FNN_OP_DROPOUT && activation >= FNN_SOFTMAX)
                kernels->panel_activation_gradient(g, Y, op->n_out, activation);
            if (op->kind == FNN_OP_DENSE)
                kernels->dense_backward_output(g, out->dZt, D ? D : Y, activation < FNN_SOFTMAX ? activation : FNN_LINEAR,
                                               op->n_out, b->padded, p);
            else if (D)
                kernels->multiply(g, D, op->n_out * kernels->panel);
        }
        if (op->kind == FNN_OP_DENSE && i > fit->first_dense) {
            kernels->dense_backward_input(dX, dY, fnn_at(fit, network->weights, op->weights), op->n_in, op->n_out,
                                          fit->dy_stride, fit->dy_stride, p0, p1, 0, op->n_in);
            void *swap = dY;
            dY = dX;
            dX = swap;
        }
    }
}

/* ---- phase 2 ---- */

static void update_units(fnn_fit *fit, const batch *b, int thread, int n_threads) {
    fnn_network *network = fit->network;
    const fnn_kernels *kernels = network->kernels;
    fnn_update update = network->update;
    if (fit->gradients) {
        update = (fnn_update){.kind = FNN_STORE};
    } else {
        update.decay = update.decay * fit->rates[fit->n_steps + b->step];
        update.rate = fit->rates[b->step];
    }
    ptrdiff_t first, last;
    if (n_threads == fit->n_threads) {
        first = fit->unit_start[thread];
        last = fit->unit_start[thread + 1];
    } else {
        fnn_share(fit->n_units, thread, n_threads, &first, &last);
    }
    for (ptrdiff_t i = first; i < last; i++) {
        const unit *u = &fit->units[i];
        const fnn_op *op = &network->ops[u->op];
        void *slots[3];
        for (int s = 0; s < 3; s++) slots[s] = network->slots[s] ? fnn_at(fit, network->slots[s], op->weights) : NULL;
        if (fit->gradients) slots[0] = fnn_at(fit, fit->gradients, op->weights);
        kernels->dense_update(fnn_at(fit, network->weights, op->weights), slots[0], slots[1], slots[2],
                              fit->buffers[u->op].Y, fit->buffers[u->op + 1].dZt, op->n_in, op->n_out,
                              fit->buffers[u->op].stride, b->padded, u->q, u->k0, u->k1, &update);
    }
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void finish_step(fnn_fit *fit, const batch *b) {
    double sum = 0;
    for (ptrdiff_t i = 0; i < b->rows; i++) sum += fit->values[i] * fit->scale[i];
    fit->loss_sum += sum * (double)b->rows;
    fit->step++;
    fit->network->iterations++;
    if (fit->step >= fit->until || (fit->step % fit->check_every == 0 && now() >= fit->deadline))
        atomic_store_explicit(&fit->stop, 1, memory_order_relaxed);
}

static void phase_1(fnn_fit *fit, const batch *b, int thread, int n_threads) {
    ptrdiff_t p0, p1;
    fnn_share(b->padded / fit->network->kernels->panel, thread, n_threads, &p0, &p1);
    gather_inputs(fit, b, p0, p1);
    forward(fit, b, p0, p1);
    evaluate_loss(fit, b, p0, p1);
    backward(fit, b, p0, p1);
}

/* `stop` is written between the two barriers of a step and read after the second: all threads see the same. */
static void run_steps(void *context, int thread, int n_threads) {
    fnn_fit *fit = context;
    for (ptrdiff_t step = fit->step;; step++) {
        const batch b = batch_of(fit, step);
        phase_1(fit, &b, thread, n_threads);
        fnn_barrier_wait(&fit->barrier);
        if (atomic_load_explicit(&fit->nonfinite, memory_order_relaxed)) return;
        update_units(fit, &b, thread, n_threads);
        if (thread == 0) finish_step(fit, &b);
        fnn_barrier_wait(&fit->barrier);
        if (atomic_load_explicit(&fit->stop, memory_order_relaxed)) return;
    }
}

fnn_status fnn_fit_run(fnn_fit *fit, ptrdiff_t max_steps, double max_seconds) {
    if (fit->step >= fit->n_steps || max_steps == 0) return fit->step >= fit->n_steps ? FNN_OK : FNN_MORE;
    const ptrdiff_t rest = fit->n_steps - fit->step;
    fit->until = fit->step + (max_steps > 0 && max_steps < rest ? max_steps : rest);
    fit->deadline = now() + max_seconds;
    atomic_store(&fit->stop, 0);
    atomic_store(&fit->nonfinite, 0);
    fnn_team_run(run_steps, fit, fit->n_threads, &fit->barrier);
    if (atomic_load(&fit->nonfinite)) return FNN_NONFINITE;
    return fit->step >= fit->n_steps ? FNN_OK : FNN_MORE;
}

static void gradients_of_first_batch(void *context, int thread, int n_threads) {
    fnn_fit *fit = context;
    const batch b = batch_of(fit, 0);
    phase_1(fit, &b, thread, n_threads);
    fnn_barrier_wait(&fit->barrier);
    update_units(fit, &b, thread, n_threads);
}

void fnn_fit_gradients(fnn_fit *fit, void *gradients) {
    const int shuffled = fit->shuffled;
    fit->gradients = gradients;
    fit->shuffled = 0;
    fnn_team_run(gradients_of_first_batch, fit, fit->n_threads, &fit->barrier);
    fit->gradients = NULL;
    fit->shuffled = shuffled;
}
