/* Training: the step, its phases, and the loop over the steps of an epoch.
 *
 * Design:
 * a) Phase 1: every thread takes its panels of the batch through gather, forward, loss and backward, without waiting.
 *    Phase 2 (update.c): every thread takes its part of all weights: gradient over the whole batch, update rule at
 *    once, no gradient in memory. Weights are read in phase 1 and written in phase 2 only: two barriers per step at any depth.
 * b) A batch of fewer panels than threads: the threads divide the outputs of each product in phase 1 instead, and meet
 *    before every op.
 * c) All memory of a fit is one arena; after fnn_fit_new nothing can fail.
 * d) Sums of the loss are float64 in row order. A non-finite loss is seen before its update. */

#include <float.h>
#include <math.h>
#include <string.h>

#include "fit.h"

/* ---- phase 1 ---- */

static batch batch_of(const fnn_fit *fit, ptrdiff_t step) {
    const ptrdiff_t first = step * fit->data.batch_size, panel = fit->network->kernels->panel;
    const ptrdiff_t rows = fnn_part(fit->n - first, fit->data.batch_size);
    const double divisor = fnn_divisor(&fit->network->loss, fit->data.labels, fit->data.sample_weight, fit->network->element,
                                       fit->shuffled ? fit->order : NULL, first, rows);
    const ptrdiff_t panels = rows == fit->data.batch_size ? fit->panels : (rows + panel - 1) / panel;
    return (batch){step, first, rows, panels, panels * panel, divisor != 0 ? 1.0 / divisor : 0.0};
}

/* whether products are divided by outputs */
static int goes_together(const fnn_fit *fit, const batch *b, int n_threads) {
    return fit->worth_meeting && b->panels < n_threads;
}

/* The panels of a product that a thread takes part in, and which of how many parts of its outputs are its own. */
typedef struct {
    ptrdiff_t p0, p1;
    int part, parts;
} product_share;

static product_share share_of(const fnn_fit *fit, const batch *b, ptrdiff_t p0, ptrdiff_t p1, int thread, int n_threads) {
    if (!goes_together(fit, b, n_threads)) return (product_share){p0, p1, 0, 1};
    return (product_share){0, b->panels, thread, n_threads};
}

static void meet(fnn_fit *fit, const product_share *share) {
    if (share->parts > 1) fnn_barrier_wait(&fit->barrier);
}

static void forward(fnn_fit *fit, const batch *b, ptrdiff_t p0, ptrdiff_t p1, int thread, int n_threads) {
    const fnn_network *network = fit->network;
    const fnn_kernels *kernels = network->kernels;
    const product_share share = share_of(fit, b, p0, p1, thread, n_threads);
    ptrdiff_t first, last; /* outputs of a product */
    for (int i = 0; i < fit->trained_ops; i++) {
        const fnn_op *op = &network->ops[i];
        const op_buffers *in = &fit->buffers[i], *out = &fit->buffers[i + 1];
        const int activation = i == fit->skipped ? FNN_LINEAR : op->activation;
        meet(fit, &share);
        if (op->kind == FNN_OP_DENSE) {
            const fnn_dense layer = {out->Y,      out->D,     in->Y,       fnn_at(fit, network->weights, op->weights),
                                     op->n_in,    op->n_out,  in->stride,  out->stride,
                                     activation,  {op->parameters[0], op->parameters[1], op->parameters[2]}};
            fnn_share(op->panels, share.part, share.parts, &first, &last);
            kernels->dense_forward(&layer, share.p0, share.p1, first, last);
            if (activation < FNN_SOFTMAX && !fnn_has_activity(op)) continue;
            meet(fit, &share);
        }
        fnn_layer_forward(fit, i, b, p0, p1, thread, n_threads);
    }
    meet(fit, &share);
}

/* sample weights and labels of one panel */
static void gather_row_data(fnn_fit *fit, const int64_t *order, ptrdiff_t first, ptrdiff_t count, ptrdiff_t p) {
    const ptrdiff_t panel = fit->network->kernels->panel;
    double *scale = fit->scale + p * panel, *labels = fit->labels + p * panel;
    for (ptrdiff_t i = 0; i < panel; i++) labels[i] = 0.0;
    for (ptrdiff_t i = 0; i < count; i++) {
        const ptrdiff_t row = order ? (ptrdiff_t)order[first + i] : first + i;
        if (fit->data.sample_weight) scale[i] *= fnn_weight(fit->data.sample_weight, fit->network->element, row);
        if (!fnn_counts(&fit->network->loss, fit->data.labels, row)) {
            scale[i] = 0.0;
        } else if (fit->data.labels) {
            const int64_t label = fit->data.labels[row];
            /* checked when the fit was made, but the array is the caller's, who may have changed it since */
            if (label >= 0 && label < fit->network->n_outputs)
                labels[i] = (double)label;
            else
                atomic_store_explicit(&fit->nonfinite, 1, memory_order_relaxed);
        }
    }
}

static void gather_inputs(fnn_fit *fit, const batch *b, ptrdiff_t p0, ptrdiff_t p1) {
    const fnn_kernels *kernels = fit->network->kernels;
    const int64_t *order = fit->shuffled ? fit->order : NULL;
    for (ptrdiff_t p = p0; p < p1; p++) {
        const ptrdiff_t first = b->first_row + p * kernels->panel;
        const ptrdiff_t count = fnn_part(b->rows - p * kernels->panel, kernels->panel);
        kernels->gather(fnn_at(fit, fit->buffers[0].Y, p * fit->buffers[0].stride), &fit->data.X, order, first, count);
        if (fit->data.y.data) kernels->gather(fnn_at(fit, fit->T, p * fit->t_stride), &fit->data.y, order, first, count);
        /* the loss of a whole batch is one number: without weights its sum and its mean are the same */
        const int summed = fit->network->loss.sum && !(fit->coupled && !fit->data.sample_weight);
        const double scale = fit->network->loss.factor * (summed ? 1.0 : b->share);
        if (fit->active) memset(fit->activity + p * kernels->panel, 0, sizeof(double) * (size_t)kernels->panel);
        double *scales = fit->scale + p * kernels->panel;
        /* the same as in the step before, save after a ragged batch */
        if (b->step == 0 || b->rows != fit->data.batch_size || fit->data.sample_weight || fit->network->loss.ignores)
            for (ptrdiff_t i = 0; i < kernels->panel; i++) scales[i] = i < count ? scale : 0.0;
        if (fit->data.sample_weight || fit->data.labels) gather_row_data(fit, order, first, count, p);
    }
}

/* Cache lines of the next batch that a thread asks for in advance. */
#define LINES_AHEAD 1024

/* The first lines of the rows that this thread gathers in the next step come while phase 2 works. */
static void fetch_next_rows(const fnn_fit *fit, const batch *b, int thread, int n_threads) {
    const fnn_matrix *X = &fit->data.X;
    const ptrdiff_t next = b->first_row + b->rows, width = X->cols * X->col_stride;
    ptrdiff_t first, last;
    fnn_share(fnn_part(fit->n - next, b->rows), thread, n_threads, &first, &last);
    if (first == last || (!fit->shuffled && width < 64)) return;
    const ptrdiff_t bytes = fnn_part(width, 64 * (1 + LINES_AHEAD / (last - first)));
    for (ptrdiff_t i = next + first; i < next + last; i++) {
        const char *row = (const char *)X->data + (fit->shuffled ? (ptrdiff_t)fit->order[i] : i) * X->row_stride;
        for (ptrdiff_t at = 0; at < bytes; at += 64) __builtin_prefetch(row + at, 0, 2);
    }
}

static void sum_over_batch(fnn_fit *fit, ptrdiff_t p0, ptrdiff_t p1) {
    const fnn_kernels *kernels = fit->network->kernels;
    const op_buffers *out = &fit->buffers[fit->trained_ops];
    for (ptrdiff_t p = p0; p < p1; p++)
        kernels->dice_sums(fit->batch_sums + 2 * p * kernels->panel, fnn_at(fit, out->Y, p * out->stride),
                           fnn_at(fit, fit->T, p * fit->t_stride), fit->network->n_outputs);
}

/* The loss with its sums over the batch, added in row order; returns the factor of its gradient. */
static double close_batch_sums(const fnn_fit *fit, const batch *b, fnn_loss *loss) {
    const ptrdiff_t panel = fit->network->kernels->panel;
    double factor = 0;
    loss->totals[0] = loss->totals[1] = 0;
    for (ptrdiff_t i = 0; i < b->rows; i++) {
        const double *sums = fit->batch_sums + 2 * (i / panel) * panel + i % panel;
        loss->totals[0] += sums[0];
        loss->totals[1] += sums[panel];
        factor += fit->scale[i];
    }
    return factor;
}

static void evaluate_loss(fnn_fit *fit, const batch *b, ptrdiff_t p0, ptrdiff_t p1) {
    const fnn_network *network = fit->network;
    const fnn_kernels *kernels = network->kernels;
    const op_buffers *out = &fit->buffers[fit->trained_ops];
    const fnn_loss *loss = &network->loss;
    fnn_loss closed;
    double factor = 0, factors[FNN_MOST_LANES];
    if (fit->coupled) {
        closed = *loss;
        factor = close_batch_sums(fit, b, &closed);
        loss = &closed;
    }
    for (ptrdiff_t p = p0; p < p1; p++) {
        const ptrdiff_t first = p * kernels->panel, count = fnn_part(b->rows - first, kernels->panel);
        void *Y = fnn_at(fit, out->Y, p * out->stride);
        const int activated = fit->skipped >= 0 && fit->data.predictions != NULL;
        for (ptrdiff_t i = 0; fit->coupled && i < kernels->panel; i++) factors[i] = i < count ? factor : 0.0;
        int bad = !kernels->loss(fit->values + first, fnn_at(fit, fit->dY[0], p * fit->dy_stride), Y,
                                 fnn_at(fit, fit->T, p * fit->t_stride), fit->labels + first, network->n_outputs,
                                 fit->coupled ? factors : fit->scale + first, loss, activated);
        if (count < kernels->panel) {
            fnn_clear_padding(fnn_at(fit, fit->dY[0], p * fit->dy_stride), kernels->panel, network->n_outputs, count,
                              network->element);
            bad = 0;
            for (ptrdiff_t i = 0; i < count; i++) bad |= !(fabs(fit->values[first + i]) <= DBL_MAX);
        }
        if (bad) atomic_store_explicit(&fit->nonfinite, 1, memory_order_relaxed);
        if (fit->data.predictions && !fit->gradients)
            kernels->scatter((void *)fit->data.predictions, network->n_outputs, Y, network->n_outputs,
                             fit->shuffled ? fit->order : NULL, b->first_row + first, count);
    }
}

static void backward(fnn_fit *fit, const batch *b, ptrdiff_t p0, ptrdiff_t p1, int thread, int n_threads) {
    const fnn_network *network = fit->network;
    const fnn_kernels *kernels = network->kernels;
    void *dY = fit->dY[0], *dX = fit->dY[1];
    const product_share share = share_of(fit, b, p0, p1, thread, n_threads);
    ptrdiff_t first, last; /* outputs of a product */
    for (int i = fit->trained_ops - 1; i >= fit->first_dense; i--) {
        const fnn_op *op = &network->ops[i];
        const op_buffers *out = &fit->buffers[i + 1];
        const int activation = i == fit->skipped ? FNN_LINEAR : op->activation;
        for (ptrdiff_t p = p0; p < p1; p++) {
            void *g = fnn_at(fit, dY, p * fit->dy_stride);
            const void *D = out->D ? fnn_at(fit, out->D, p * op->n_out * kernels->panel) : NULL;
            const void *Y = fnn_at(fit, out->Y, p * out->stride);
            if (fnn_has_activity(op)) {
                double scale[FNN_MOST_LANES];
                for (ptrdiff_t j = 0; j < kernels->panel; j++)
                    scale[j] = p * kernels->panel + j < b->rows ? 1.0 / (double)b->rows : 0.0;
                kernels->activity(NULL, g, Y, op->n_out, op->activity_l1, op->activity_l2, scale);
            }
            if (op->kind != FNN_OP_DROPOUT && activation >= FNN_SOFTMAX)
                kernels->panel_activation_gradient(g, Y, op->n_out, activation);
            if (op->kind == FNN_OP_DENSE)
                kernels->dense_backward_output(g, out->dZt, D ? D : Y, activation < FNN_SOFTMAX ? activation : FNN_LINEAR,
                                               op->n_out, b->padded, p);
            else if (D && op->kind < FNN_OP_NOISE)
                kernels->multiply(g, D, op->n_out * kernels->panel);
        }
        if (op->kind == FNN_OP_DENSE && i > fit->first_dense) {
            fnn_share(op->n_in, share.part, share.parts, &first, &last);
            meet(fit, &share);
            kernels->dense_backward_input(dX, dY, fnn_at(fit, network->weights, op->weights), op->n_in, op->n_out,
                                          fit->dy_stride, fit->dy_stride, share.p0, share.p1, first, last);
            meet(fit, &share);
            void *swap = dY;
            dY = dX;
            dX = swap;
        }
        if (op->kind >= FNN_OP_NOISE) fnn_layer_backward(fit, i, b, dY, p0, p1, thread, n_threads);
        if (network->n_branches && i > fit->first_dense) fnn_join_branches(fit, i, dY, p0, p1);
    }
}

/* ---- steps ---- */

static double now(void) { return 1e-9 * (double)fnn_clock_ns(); }

/* loss of a batch, *penalty its part */
static double batch_loss(const fnn_fit *fit, const batch *b, double *penalty) {
    double sum = 0;
    if (fit->custom_gradient)
        sum = fit->custom_loss;
    else
        for (ptrdiff_t i = 0; i < b->rows; i++) sum += fit->values[i] * fit->scale[i];
    if (fit->active) {
        double activity = 0;
        for (ptrdiff_t i = 0; i < b->rows; i++) activity += fit->activity[i];
        sum += activity / (double)b->rows;
    }
    *penalty = fit->penalized ? fnn_penalty(fit) * fnn_penalty_scale(fit, b) : 0.0;
    return sum + *penalty;
}

static void finish_step(fnn_fit *fit, const batch *b) {
    double penalty;
    fit->loss_sum += batch_loss(fit, b, &penalty) * (double)b->rows;
    fit->penalty_sum += penalty * (double)b->rows;
    fit->step++;
    int stops = fit->step >= fit->until || fnn_barrier_is_crowded(&fit->barrier);
    if (fit->step >= fit->next_check) {
        fit->next_check = fit->step + fit->check_every;
        stops |= now() >= fit->deadline;
    }
    if (stops) atomic_store_explicit(&fit->stop, 1, memory_order_relaxed);
}

static void phase_1(fnn_fit *fit, const batch *b, int thread, int n_threads) {
    ptrdiff_t p0, p1;
    fnn_share(b->panels, thread, n_threads, &p0, &p1);
    gather_inputs(fit, b, p0, p1);
    fnn_mark(fit, thread, FNN_GATHER);
    forward(fit, b, p0, p1, thread, n_threads);
    if (fit->penalized) fnn_sum_penalties(fit, thread, n_threads);
    fnn_mark(fit, thread, FNN_FORWARD);
    if (fit->coupled) {
        sum_over_batch(fit, p0, p1);
        fnn_barrier_wait(&fit->barrier);
    }
    evaluate_loss(fit, b, p0, p1);
    fnn_mark(fit, thread, FNN_LOSS);
    backward(fit, b, p0, p1, thread, n_threads);
    fnn_mark(fit, thread, FNN_BACKWARD);
}

/* `stop` is written between the two barriers of a step and read after the second: all threads see the same. */
static void run_steps(void *context, int thread, int n_threads) {
    fnn_fit *fit = context;
    if (fit->timed) fit->phases[thread].since = fnn_clock_ns();
    for (ptrdiff_t step = fit->step;; step++) {
        const batch b = batch_of(fit, step);
        phase_1(fit, &b, thread, n_threads);
        fnn_barrier_wait(&fit->barrier);
        fnn_mark(fit, thread, FNN_WAIT);
        if (atomic_load_explicit(&fit->nonfinite, memory_order_relaxed)) return;
        fetch_next_rows(fit, &b, thread, n_threads);
        fnn_update_weights(fit, &b, thread, n_threads);
        if (thread == 0) finish_step(fit, &b);
        fnn_mark(fit, thread, FNN_UPDATE);
        fnn_barrier_wait(&fit->barrier);
        fnn_mark(fit, thread, FNN_WAIT);
        if (atomic_load_explicit(&fit->stop, memory_order_relaxed)) return;
    }
}

void fnn_fit_time_phases(fnn_fit *fit) {
    fit->timed = 1;
    memset(fit->phases, 0, sizeof(phase_times) * (size_t)fit->n_threads);
}

int64_t fnn_fit_phase_ns(const fnn_fit *fit, fnn_fit_phase phase) {
    int64_t total = 0;
    for (int t = 0; t < fit->n_threads; t++) total += fit->phases[t].spent[phase];
    return total;
}

/* Steps up to `end`, or as many as the choice of threads wants timed. */
static void run_leg(fnn_fit *fit, ptrdiff_t end) {
    const ptrdiff_t first = fit->step, most = fnn_choice_steps(&fit->choice);
    fit->until = most < end - first ? first + most : end;
    fit->next_check = first + fit->check_every;
    atomic_store(&fit->stop, 0);
    const int64_t start = fnn_clock_ns();
    fnn_team_run(run_steps, fit, fnn_choice_threads(&fit->choice), &fit->barrier);
    fnn_choice_note(&fit->choice, fit->step - first, fnn_clock_ns() - start);
}

fnn_status fnn_fit_run(fnn_fit *fit, ptrdiff_t max_steps, double max_seconds) {
    if (fit->step >= fit->n_steps || max_steps == 0) return fit->step >= fit->n_steps ? FNN_OK : FNN_MORE;
    const ptrdiff_t rest = fit->n_steps - fit->step, end = fit->step + (max_steps > 0 && max_steps < rest ? max_steps : rest);
    fit->deadline = now() + max_seconds;
    atomic_store(&fit->nonfinite, 0);
    do
        run_leg(fit, end);
    while (fit->step < end && !atomic_load(&fit->nonfinite) && now() < fit->deadline);
    fit->network->iterations = fit->first_iteration + fit->step;
    if (atomic_load(&fit->nonfinite)) return FNN_NONFINITE;
    return fit->step >= fit->n_steps ? FNN_OK : FNN_MORE;
}

/* ---- a step around the caller's own loss ---- */

ptrdiff_t fnn_fit_batch(const fnn_fit *fit, const int64_t **order, ptrdiff_t *first) {
    const batch b = batch_of(fit, fit->step);
    *order = fit->shuffled ? fit->order + b.first_row : NULL;
    *first = b.first_row;
    return b.rows;
}

static void outputs_of_batch(void *context, int thread, int n_threads) {
    fnn_fit *fit = context;
    const fnn_network *network = fit->network;
    const fnn_kernels *kernels = network->kernels;
    const batch b = batch_of(fit, fit->step);
    const op_buffers *out = &fit->buffers[fit->trained_ops];
    ptrdiff_t p0, p1;
    fnn_share(b.panels, thread, n_threads, &p0, &p1);
    gather_inputs(fit, &b, p0, p1);
    forward(fit, &b, p0, p1, thread, n_threads);
    if (fit->penalized) fnn_sum_penalties(fit, thread, n_threads);
    for (ptrdiff_t p = p0; p < p1; p++) {
        const ptrdiff_t first = p * kernels->panel, count = fnn_part(b.rows - first, kernels->panel);
        const void *Y = fnn_at(fit, out->Y, p * out->stride);
        kernels->scatter(fit->custom_outputs, network->n_outputs, Y, network->n_outputs, NULL, first, count);
        if (fit->data.predictions)
            kernels->scatter((void *)(uintptr_t)fit->data.predictions, network->n_outputs, Y, network->n_outputs,
                             fit->shuffled ? fit->order : NULL, b.first_row + first, count);
    }
}

void fnn_fit_forward(fnn_fit *fit, void *out) {
    fit->custom_outputs = out;
    fnn_team_run(outputs_of_batch, fit, fit->n_threads, &fit->barrier);
}

static void step_from_gradient(void *context, int thread, int n_threads) {
    fnn_fit *fit = context;
    const fnn_network *network = fit->network;
    const fnn_kernels *kernels = network->kernels;
    const batch b = batch_of(fit, fit->step);
    const ptrdiff_t element = (ptrdiff_t)network->element;
    const fnn_matrix gradient = {fit->custom_gradient, kernels->dtype, network->n_outputs * element, element, b.rows, network->n_outputs};
    ptrdiff_t p0, p1;
    fnn_share(b.panels, thread, n_threads, &p0, &p1);
    for (ptrdiff_t p = p0; p < p1; p++) {
        const ptrdiff_t first = p * kernels->panel, count = fnn_part(b.rows - first, kernels->panel);
        void *dY = fnn_at(fit, fit->dY[0], p * fit->dy_stride);
        kernels->gather(dY, &gradient, NULL, first, count);
        fnn_clear_padding(dY, kernels->panel, network->n_outputs, count, network->element);
    }
    backward(fit, &b, p0, p1, thread, n_threads);
    fnn_barrier_wait(&fit->barrier);
    fnn_update_weights(fit, &b, thread, n_threads);
    fnn_barrier_wait(&fit->barrier);
    if (thread == 0) finish_step(fit, &b);
}

void fnn_fit_backward(fnn_fit *fit, const void *gradient, double loss) {
    fit->custom_gradient = gradient;
    fit->custom_loss = loss;
    fnn_team_run(step_from_gradient, fit, fit->n_threads, &fit->barrier);
    fit->network->iterations = fit->first_iteration + fit->step;
    fit->custom_gradient = NULL;
}

/* ---- gradients alone ---- */

static void gradients_of_first_batch(void *context, int thread, int n_threads) {
    fnn_fit *fit = context;
    const batch b = batch_of(fit, 0);
    phase_1(fit, &b, thread, n_threads);
    fnn_barrier_wait(&fit->barrier);
    fnn_update_weights(fit, &b, thread, n_threads);
}

double fnn_fit_gradients(fnn_fit *fit, void *gradients, int training, double *penalty) {
    const int shuffled = fit->shuffled;
    fit->gradients = gradients;
    fit->inference = !training;
    fit->shuffled = 0;
    fnn_team_run(gradients_of_first_batch, fit, fit->n_threads, &fit->barrier);
    fit->gradients = NULL;
    fit->inference = 0;
    const batch b = batch_of(fit, 0);
    const double loss = batch_loss(fit, &b, penalty);
    fit->shuffled = shuffled;
    return loss;
}
