/* Training: the step, its phases, and the loop over the steps of an epoch.
 *
 * Design:
 * a) Phase 1: every thread takes its panels of the batch through gather, forward, loss and backward, without waiting.
 *    Phase 2 (update.c): every thread takes its share of all weights: gradient over the whole batch, update rule at
 *    once, no gradient in memory. Weights are read in phase 1 and written in phase 2 only: two barriers per step at any
 *    depth.
 * b) A batch of fewer panels than threads: the threads divide the outputs of each product in phase 1 instead, and meet
 *    before every op.
 * c) All memory of a fit is one arena; after fnn_fit_new nothing can fail.
 * d) Sums of the loss are float64 in row order. A non-finite loss is seen before its update. */

#include <string.h>

#include "kind.h"

/* ---- phase 1 ---- */

static fnn_step step_of(fnn_fit *fit, ptrdiff_t step, int thread, int n_threads) {
    const ptrdiff_t first = step * fit->batch_size, panel = fit->network->kernels->panel;
    const ptrdiff_t rows = fnn_min(fit->n - first, fit->batch_size);
    const ptrdiff_t n_panels = rows == fit->batch_size ? fit->n_panels : fnn_ceil_div(rows, panel);
    fnn_step s;
    s.fit = fit;
    s.thread = thread;
    s.n_threads = n_threads;
    s.step = step;
    s.first_row = first;
    s.rows = rows;
    s.n_panels = n_panels;
    s.padded = n_panels * panel;
    s.rank_panels = fit->exchange ? fnn_rank_panels(fit, n_panels, fit->rank) : (fnn_range){0, n_panels};
    s.chunks = (fnn_range){0, fnn_ceil_div(rows, FNN_CHUNK)};
    s.panels = fnn_share_of(s.rank_panels, thread, n_threads);
    s.is_long = fit->is_long;
    s.together = fit->worth_meeting && s.rank_panels.last - s.rank_panels.first < n_threads;
    s.mean_factor = fnn_mean_factor(&s, &fit->losses[0]);
    return s;
}

static void gather_batch(const fnn_step *s) {
    fnn_fit *fit = s->fit;
    const fnn_kernels *kernels = fit->network->kernels;
    const int64_t *order = fnn_order_of(fit);
    for (int b = 0; b < fit->network->n_inputs; b++) {
        const op_buffers *in = &fit->buffers[b];
        for (ptrdiff_t p = s->panels.first; in->Y && p < s->panels.last; p = fnn_next(s, p))
            kernels->gather(fnn_at(fit, in->Y, p * in->stride), &fit->X[b], order, s->first_row + p * kernels->panel,
                            fnn_min(s->rows - p * kernels->panel, kernels->panel));
    }
    for (ptrdiff_t p = s->panels.first; fit->penalizes_outputs && p < s->panels.last; p = fnn_next(s, p))
        memset(fit->output_penalties + p * kernels->panel, 0, sizeof(double) * (size_t)kernels->panel);
    for (int l = 0; l < fit->n_losses; l++)
        fnn_gather_targets(s, &fit->losses[l], l ? fnn_mean_factor(s, &fit->losses[l]) : s->mean_factor);
}

/* Cache lines of the next batch that a thread prefetches. */
#define LINES_AHEAD 1024

/* Prefetches the first lines of the rows that this thread gathers in the next step: they arrive during phase 2. */
static void fetch_next_rows(const fnn_step *s) {
    const fnn_fit *fit = s->fit;
    const int64_t *order = fnn_order_of(fit);
    const ptrdiff_t next = s->first_row + s->rows;
    const fnn_range share = fnn_share(fnn_min(fit->n - next, s->rows), s->thread, s->n_threads);
    if (share.first == share.last) return;
    for (int b = 0; b < fit->network->n_inputs; b++) {
        const fnn_matrix *X = &fit->X[b];
        const ptrdiff_t width = X->cols * X->col_stride;
        if (!fit->buffers[b].Y || (!order && width < 64)) continue;
        const ptrdiff_t bytes = fnn_min(width, 64 * (1 + LINES_AHEAD / (share.last - share.first)));
        for (ptrdiff_t i = next + share.first; i < next + share.last; i++) {
            const char *row = (const char *)X->data + (order ? (ptrdiff_t)order[i] : i) * X->row_stride;
            for (ptrdiff_t at = 0; at < bytes; at += 64) __builtin_prefetch(row + at, 0, 2);
        }
    }
}

/* The row activation of an op, and the penalties on its outputs. */
static void finish_outputs(const fnn_step *s, int i) {
    const fnn_fit *fit = s->fit;
    const fnn_kernels *kernels = fit->network->kernels;
    const fnn_op *op = &fit->network->ops[i];
    const int activation = fnn_activation_of(fit, i);
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p)) {
        void *Y = fnn_panel_of(fit, i, p).Y;
        if (fnn_is_row_activation(activation)) kernels->panel_activation(Y, op->n_out, activation);
        if (fnn_penalizes_outputs(op))
            kernels->output_penalty(fit->output_penalties + p * kernels->panel, NULL, Y, op->n_out, op->activity_l1,
                                    op->activity_l2, NULL);
    }
}

static void forward(const fnn_step *s) {
    const fnn_fit *fit = s->fit;
    for (int i = 0; i < fit->network->n_ops; i++) {
        const fnn_op *op = &fit->network->ops[i];
        if (!fnn_runs(fit, i)) continue;
        fnn_meet(s);
        op->kind->forward(s, i);
        if (!fnn_buffers_of(fit, i)->is_finished) continue;
        fnn_meet(s);
        finish_outputs(s, i);
    }
    fnn_meet(s);
}

/* Adds the gradient of the penalty on the outputs of op i to their gradient, which then passes the row activation. */
static void start_gradient(const fnn_step *s, int i, void *dY) {
    const fnn_fit *fit = s->fit;
    const fnn_kernels *kernels = fit->network->kernels;
    const fnn_op *op = &fit->network->ops[i];
    const int activation = fnn_activation_of(fit, i), is_row = fnn_is_row_activation(activation);
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p)) {
        void *g = fnn_at(fit, dY, p * fit->dy_stride);
        const void *Y = fnn_panel_of(fit, i, p).Y;
        if (fnn_penalizes_outputs(op)) {
            double scale[FNN_MOST_LANES];
            for (ptrdiff_t j = 0; j < kernels->panel; j++)
                scale[j] = p * kernels->panel + j < s->rows ? 1.0 / (double)s->rows : 0.0;
            kernels->output_penalty(NULL, g, Y, op->n_out, op->activity_l1, op->activity_l2, scale);
        }
        if (is_row) kernels->panel_activation_gradient(g, Y, op->n_out, activation);
    }
}

/* The gradients of the outputs of op i from all that use them become one. */
static void add_parts(const fnn_step *s, const op_buffers *b, ptrdiff_t width) {
    const fnn_fit *fit = s->fit;
    const fnn_kernels *kernels = fit->network->kernels;
    const ptrdiff_t panel = kernels->panel;
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p))
        for (int part = 1; part < b->n_parts; part++) {
            void *g = fnn_at(fit, b->dY, p * fit->dy_stride);
            kernels->combine(g, g, fnn_at(fit, b->parts[part], p * fit->dy_stride),
                             &(fnn_operands){FNN_ADD, width, panel, panel, panel});
        }
}

static void backward(const fnn_step *s) {
    const fnn_fit *fit = s->fit;
    for (int i = fit->network->n_ops - 1; i >= fit->first_trained; i--) {
        const fnn_op *op = &fit->network->ops[i];
        const op_buffers *b = fnn_buffers_of(fit, i);
        if (!b->dY) continue;
        if (b->n_parts > 1) add_parts(s, b, op->n_out);
        if (b->is_finished) start_gradient(s, i, b->dY);
        if (op->kind->backward) op->kind->backward(s, i);
        if (fit->exchange) fnn_exchange_passed(s, i);
    }
}

/* ---- steps ---- */

static void finish_step(const fnn_step *s) {
    fnn_fit *fit = s->fit;
    double penalty;
    fit->loss_sum += fnn_batch_loss(s, &penalty, fit->loss_sums) * (double)s->rows;
    fit->penalty_sum += penalty * (double)s->rows;
    fit->step++;
    int stops = fit->step >= fit->until || fit->failed || fnn_barrier_is_crowded(&fit->barrier);
    if (fit->step >= fit->next_check) {
        fit->next_check = fit->step + fit->check_every;
        stops |= fnn_now() >= fit->deadline;
    }
    if (stops) atomic_store_explicit(&fit->stop, 1, memory_order_relaxed);
}

/* The gradients of weights take less time than phase 1. An interruption waits for those that take no more than this: without
 * stored gradients an update reads and writes fewer bytes. */
#define UNSTORED_NS 40000000

static void phase_1(const fnn_step *s) {
    fnn_fit *fit = s->fit;
    if (s->thread == 0 && fit->may_store) fit->began = fnn_clock_ns();
    gather_batch(s);
    fnn_mark(fit, s->thread, FNN_GATHER);
    forward(s);
    if (fit->penalizes_weights) fnn_sum_penalties(s);
    fnn_mark(fit, s->thread, FNN_FORWARD);
    fnn_store_kept_outputs(s);
    fnn_evaluate_losses(s);
    fnn_mark(fit, s->thread, FNN_LOSS);
    backward(s);
    if (s->thread == 0) {
        fit->cut[0] = fit->is_long && fnn_interrupted();
        fit->stores = fit->may_store && (fit->clips_norms || fnn_clock_ns() - fit->began > UNSTORED_NS);
    }
    fnn_mark(fit, s->thread, FNN_BACKWARD);
}

/* Returns 0 where the step ends before any weight is changed. */
static int meet_after_phase_1(const fnn_step *s) {
    fnn_fit *fit = s->fit;
    fnn_barrier_wait(&fit->barrier);
    fnn_mark(fit, s->thread, FNN_WAIT);
    if (fit->exchange && !fit->cut[0]) {
        if (s->thread == 0) {
            fnn_exchange_rows(s);
            fnn_store_other_ranks(s);
        }
        fnn_barrier_wait(&fit->barrier);
        fnn_mark(fit, s->thread, FNN_EXCHANGE);
    }
    return !fit->cut[0] && !fit->failed && !atomic_load_explicit(&fit->nonfinite, memory_order_relaxed);
}

/* Thread 0 writes `cut` before a barrier, after which all threads read it: they see the same.
 * `stop` is written between the two barriers of a step and read after the second: all threads see the same. */
static void run_steps(void *context, int thread, int n_threads) {
    fnn_fit *fit = context;
    if (fit->timed) fit->phases[thread].since = fnn_clock_ns();
    for (ptrdiff_t step = fit->step;; step++) {
        const fnn_step s = step_of(fit, step, thread, n_threads);
        phase_1(&s);
        if (!meet_after_phase_1(&s)) return;
        fetch_next_rows(&s);
        if (!fnn_update_weights(&s)) return;
        if (thread == 0) finish_step(&s);
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

/* Steps up to `end`, or fewer where the trials of threads want them timed; returns 1 after an interruption. */
static int run_timed(fnn_fit *fit, ptrdiff_t end) {
    const ptrdiff_t first = fit->step;
    fit->until = first + fnn_min(fnn_trials_steps(&fit->trials), end - first);
    fit->next_check = first + fit->check_every;
    atomic_store(&fit->stop, 0);
    const int64_t start = fnn_clock_ns();
    const int interrupted = fnn_team_run(run_steps, fit, fnn_trials_threads(&fit->trials), &fit->barrier) || fit->failed;
    fnn_trials_note(&fit->trials, fit->step - first, fnn_clock_ns() - start);
    return interrupted;
}

void fnn_fit_settle(fnn_fit *fit) {
    if (!fit->exchange) return;
    fnn_gather_slots(fit);
    fnn_leave_common(fit);
}

fnn_status fnn_fit_run(fnn_fit *fit, ptrdiff_t max_steps, double max_seconds) {
    const ptrdiff_t rest = fit->n_steps - fit->step;
    if (rest <= 0) return FNN_OK;
    if (max_steps == 0) return FNN_MORE;
    const ptrdiff_t end = fit->step + (max_steps > 0 ? fnn_min(max_steps, rest) : rest);
    fit->deadline = fnn_now() + max_seconds;
    atomic_store(&fit->nonfinite, 0);
    if (fit->exchange) fnn_enter_common(fit);
    int interrupted;
    do
        interrupted = run_timed(fit, end);
    while (!interrupted && fit->step < end && !atomic_load(&fit->nonfinite) && fnn_now() < fit->deadline);
    fit->network->iterations = fit->first_iteration + fit->step;
    /* every rank ends a call here after the same step, though time may have cut it elsewhere before */
    if (!interrupted && (fit->step >= end || atomic_load(&fit->nonfinite))) fnn_fit_settle(fit);
    if (interrupted || fit->failed) return FNN_INTERRUPTED;
    if (atomic_load(&fit->nonfinite)) return FNN_NONFINITE;
    return fit->step >= fit->n_steps ? FNN_OK : FNN_MORE;
}

/* ---- a step around losses that the caller computes ---- */

ptrdiff_t fnn_fit_batch(const fnn_fit *fit, const int64_t **order, ptrdiff_t *first) {
    *first = fit->step * fit->batch_size;
    *order = fnn_order_of(fit);
    if (*order) *order += *first;
    return fnn_min(fit->n - *first, fit->batch_size);
}

static void outputs_of_batch(void *context, int thread, int n_threads) {
    fnn_fit *fit = context;
    const fnn_kernels *kernels = fit->network->kernels;
    const fnn_step s = step_of(fit, fit->step, thread, n_threads);
    gather_batch(&s);
    forward(&s);
    if (fit->penalizes_weights) fnn_sum_penalties(&s);
    fnn_store_kept_outputs(&s);
    if (fit->exchange) fnn_barrier_wait(&fit->barrier);
    for (int l = 0; l < fit->n_losses; l++) {
        const fit_loss *loss = &fit->losses[l];
        const op_buffers *out = &fit->buffers[loss->buffer];
        if (loss->outputs) fnn_gather_panels(&s, out->Y, out->stride * (ptrdiff_t)fit->network->element);
        const fnn_range panels = fit->exchange ? fnn_share(s.n_panels, thread, n_threads) : s.panels;
        for (ptrdiff_t p = panels.first; loss->outputs && p < panels.last; p = fnn_next(&s, p)) {
            const ptrdiff_t first = p * kernels->panel, count = fnn_min(s.rows - first, kernels->panel);
            kernels->scatter(loss->outputs, loss->n_out, fnn_at(fit, out->Y, p * out->stride), loss->n_out, NULL, first,
                             count);
            if (loss->predictions) fnn_store_predictions(&s, loss->predictions, loss->buffer, loss->n_out, p);
        }
    }
}

fnn_status fnn_fit_forward(fnn_fit *fit, void *const *out) {
    for (int l = 0; l < fit->n_losses; l++) fit->losses[l].outputs = out[l];
    return fnn_team_run(outputs_of_batch, fit, fit->n_threads, &fit->barrier) ? FNN_INTERRUPTED : FNN_OK;
}

static void step_from_gradients(void *context, int thread, int n_threads) {
    fnn_fit *fit = context;
    const fnn_step s = step_of(fit, fit->step, thread, n_threads);
    fnn_evaluate_losses(&s);
    backward(&s);
    if (thread == 0) {
        fit->cut[0] = fit->is_long && fnn_interrupted();
        fit->stores = fit->may_store;
    }
    if (!meet_after_phase_1(&s)) return;
    if (!fnn_update_weights(&s)) return;
    fnn_barrier_wait(&fit->barrier);
    if (thread == 0) finish_step(&s);
}

fnn_status fnn_fit_backward(fnn_fit *fit, const void *const *gradients, const double *losses) {
    for (int l = 0; l < fit->n_losses; l++) {
        fit->losses[l].gradient = gradients[l];
        fit->losses[l].value = losses[l];
    }
    atomic_store(&fit->nonfinite, 0);
    if (fit->exchange) fnn_enter_common(fit);
    const int interrupted = fnn_team_run(step_from_gradients, fit, fit->n_threads, &fit->barrier);
    fit->network->iterations = fit->first_iteration + fit->step;
    for (int l = 0; l < fit->n_losses; l++) fit->losses[l].gradient = NULL;
    return interrupted ? FNN_INTERRUPTED : atomic_load(&fit->nonfinite) ? FNN_NONFINITE : FNN_OK;
}

/* ---- gradients alone ---- */

static void gradients_of_first_batch(void *context, int thread, int n_threads) {
    fnn_fit *fit = context;
    const fnn_step s = step_of(fit, 0, thread, n_threads);
    phase_1(&s);
    fnn_barrier_wait(&fit->barrier);
    fnn_update_weights(&s);
}

fnn_status fnn_fit_gradients(fnn_fit *fit, void *gradients, int training, double *loss, double *penalty) {
    fnn_call call;
    const int shuffled = fit->shuffled;
    fit->gradients = gradients;
    fit->inference = !training;
    fit->shuffled = 0;
    const int interrupted = fnn_team_run(gradients_of_first_batch, fit, fit->n_threads, &fit->barrier);
    fit->gradients = NULL;
    fit->inference = 0;
    fnn_call_enter(&call);
    const fnn_step s = step_of(fit, 0, 0, 1);
    *loss = fnn_batch_loss(&s, penalty, NULL);
    fnn_call_leave(&call);
    fit->shuffled = shuffled;
    return interrupted ? FNN_INTERRUPTED : FNN_OK;
}
