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

#include <float.h>
#include <math.h>
#include <string.h>

#include "kind.h"

/* ---- phase 1 ---- */

static fnn_step step_of(fnn_fit *fit, ptrdiff_t step, int thread, int n_threads) {
    const ptrdiff_t first = step * fit->data.batch_size, panel = fit->network->kernels->panel;
    const ptrdiff_t rows = fnn_min(fit->n - first, fit->data.batch_size);
    const double divisor = fnn_divisor(&fit->network->loss, fit->data.labels, fit->data.sample_weight, fit->network->element,
                                       fit->shuffled ? fit->order : NULL, first, rows);
    const ptrdiff_t n_panels = rows == fit->data.batch_size ? fit->n_panels : fnn_ceil_div(rows, panel);
    return (fnn_step){.fit = fit,
                      .thread = thread,
                      .n_threads = n_threads,
                      .step = step,
                      .first_row = first,
                      .rows = rows,
                      .n_panels = n_panels,
                      .padded = n_panels * panel,
                      .mean_factor = divisor != 0 ? 1.0 / divisor : 0.0,
                      .panels = fnn_share(n_panels, thread, n_threads),
                      .is_long = fit->is_long,
                      .together = fit->worth_meeting && n_panels < n_threads};
}

/* Sample weights and labels of one panel. */
static void gather_row_data(fnn_fit *fit, const int64_t *order, ptrdiff_t first, ptrdiff_t count, ptrdiff_t p) {
    const ptrdiff_t panel = fit->network->kernels->panel;
    double *scale = fit->scale + p * panel, *labels = fit->labels + p * panel;
    for (ptrdiff_t i = 0; i < panel; i++) labels[i] = 0.0;
    for (ptrdiff_t i = 0; i < count; i++) {
        const ptrdiff_t row = order ? (ptrdiff_t)order[first + i] : first + i;
        if (fit->data.sample_weight) scale[i] *= fnn_sample_weight(fit->data.sample_weight, fit->network->element, row);
        if (!fnn_counts(&fit->network->loss, fit->data.labels, row)) {
            scale[i] = 0.0;
        } else if (fit->data.labels) {
            const int64_t label = fit->data.labels[row];
            /* checked when the fit was made, but the caller may have changed the array since */
            if (label >= 0 && label < fit->network->n_outputs)
                labels[i] = (double)label;
            else
                atomic_store_explicit(&fit->nonfinite, 1, memory_order_relaxed);
        }
    }
}

static void gather_inputs(const fnn_step *s) {
    fnn_fit *fit = s->fit;
    const fnn_kernels *kernels = fit->network->kernels;
    const int64_t *order = fit->shuffled ? fit->order : NULL;
    /* the loss of a whole batch is one number: without weights its sum and its mean are the same */
    const int summed = fit->network->loss.sum && !(fit->couples_rows && !fit->data.sample_weight);
    const double scale = fit->network->loss.factor * (summed ? 1.0 : s->mean_factor);
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p)) {
        const ptrdiff_t first = s->first_row + p * kernels->panel;
        const ptrdiff_t count = fnn_min(s->rows - p * kernels->panel, kernels->panel);
        kernels->gather(fnn_at(fit, fit->buffers[0].Y, p * fit->buffers[0].stride), &fit->data.X, order, first, count);
        if (fit->data.y.data) kernels->gather(fnn_at(fit, fit->T, p * fit->t_stride), &fit->data.y, order, first, count);
        if (fit->penalizes_outputs)
            memset(fit->output_penalties + p * kernels->panel, 0, sizeof(double) * (size_t)kernels->panel);
        double *scales = fit->scale + p * kernels->panel;
        /* the same as in the step before, except after a ragged batch */
        if (s->step == fit->first_step || s->rows != fit->data.batch_size || fit->data.sample_weight ||
            fit->network->loss.ignores)
            for (ptrdiff_t i = 0; i < kernels->panel; i++) scales[i] = i < count ? scale : 0.0;
        if (fit->data.sample_weight || fit->data.labels) gather_row_data(fit, order, first, count, p);
    }
}

/* Cache lines of the next batch that a thread prefetches. */
#define LINES_AHEAD 1024

/* Prefetches the first lines of the rows that this thread gathers in the next step: they arrive during phase 2. */
static void fetch_next_rows(const fnn_step *s) {
    const fnn_fit *fit = s->fit;
    const fnn_matrix *X = &fit->data.X;
    const ptrdiff_t next = s->first_row + s->rows, width = X->cols * X->col_stride;
    const fnn_range share = fnn_share(fnn_min(fit->n - next, s->rows), s->thread, s->n_threads);
    if (share.first == share.last || (!fit->shuffled && width < 64)) return;
    const ptrdiff_t bytes = fnn_min(width, 64 * (1 + LINES_AHEAD / (share.last - share.first)));
    for (ptrdiff_t i = next + share.first; i < next + share.last; i++) {
        const char *row = (const char *)X->data + (fit->shuffled ? (ptrdiff_t)fit->order[i] : i) * X->row_stride;
        for (ptrdiff_t at = 0; at < bytes; at += 64) __builtin_prefetch(row + at, 0, 2);
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
    for (int i = 0; i < fit->trained_ops; i++) {
        const fnn_op *op = &fit->network->ops[i];
        fnn_meet(s);
        op->kind->forward(s, i);
        if (!fnn_is_row_activation(fnn_activation_of(fit, i)) && !fnn_penalizes_outputs(op)) continue;
        fnn_meet(s);
        finish_outputs(s, i);
    }
    fnn_meet(s);
}

static void sum_over_batch(const fnn_step *s) {
    const fnn_fit *fit = s->fit;
    const fnn_kernels *kernels = fit->network->kernels;
    const op_buffers *out = &fit->buffers[fit->trained_ops];
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p))
        kernels->dice_sums(fit->batch_sums + 2 * p * kernels->panel, fnn_at(fit, out->Y, p * out->stride),
                           fnn_at(fit, fit->T, p * fit->t_stride), fit->network->n_outputs);
}

/* The loss with its sums over the batch, added in row order; returns the factor of its gradient. */
static double close_batch_sums(const fnn_step *s, fnn_loss *loss) {
    const fnn_fit *fit = s->fit;
    const ptrdiff_t panel = fit->network->kernels->panel;
    double factor = 0;
    loss->totals[0] = loss->totals[1] = 0;
    for (ptrdiff_t i = 0; i < s->rows; i++) {
        const double *sums = fit->batch_sums + 2 * (i / panel) * panel + i % panel;
        loss->totals[0] += sums[0];
        loss->totals[1] += sums[panel];
        factor += fit->scale[i];
    }
    return factor;
}

/* Copies the outputs of panel p to the caller's array of predictions. */
static void store_predictions(const fnn_step *s, ptrdiff_t p) {
    const fnn_fit *fit = s->fit;
    const fnn_network *network = fit->network;
    const op_buffers *out = &fit->buffers[fit->trained_ops];
    const ptrdiff_t first = p * network->kernels->panel, count = fnn_min(s->rows - first, network->kernels->panel);
    network->kernels->scatter(fit->data.predictions, network->n_outputs, fnn_at(fit, out->Y, p * out->stride),
                              network->n_outputs, fit->shuffled ? fit->order : NULL, s->first_row + first, count);
}

static void evaluate_loss(const fnn_step *s) {
    fnn_fit *fit = s->fit;
    const fnn_network *network = fit->network;
    const fnn_kernels *kernels = network->kernels;
    const op_buffers *out = &fit->buffers[fit->trained_ops];
    const int activated = fit->skipped >= 0 && fit->data.predictions != NULL;
    const fnn_loss *loss = &network->loss;
    fnn_loss closed;
    double factor = 0, factors[FNN_MOST_LANES];
    if (fit->couples_rows) {
        closed = *loss;
        factor = close_batch_sums(s, &closed);
        loss = &closed;
    }
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p)) {
        const ptrdiff_t first = p * kernels->panel, count = fnn_min(s->rows - first, kernels->panel);
        void *dY = fnn_at(fit, fit->dY[0], p * fit->dy_stride);
        for (ptrdiff_t i = 0; fit->couples_rows && i < kernels->panel; i++) factors[i] = i < count ? factor : 0.0;
        int bad = !kernels->loss(fit->values + first, dY, fnn_at(fit, out->Y, p * out->stride),
                                 fnn_at(fit, fit->T, p * fit->t_stride), fit->labels + first, network->n_outputs,
                                 fit->couples_rows ? factors : fit->scale + first, loss, activated);
        if (count < kernels->panel) {
            fnn_clear_padding(dY, kernels->panel, network->n_outputs, count, network->element);
            bad = 0;
            for (ptrdiff_t i = 0; i < count; i++) bad |= !(fabs(fit->values[first + i]) <= DBL_MAX);
        }
        if (bad) atomic_store_explicit(&fit->nonfinite, 1, memory_order_relaxed);
        if (fit->data.predictions && !fit->gradients) store_predictions(s, p);
    }
}

/* Adds the gradient of the penalty on the outputs of op i to their gradient, which then passes the row activation. */
static void start_gradient(const fnn_step *s, int i, void *dY) {
    const fnn_fit *fit = s->fit;
    const fnn_kernels *kernels = fit->network->kernels;
    const fnn_op *op = &fit->network->ops[i];
    const int activation = fnn_activation_of(fit, i), is_row = fnn_is_row_activation(activation);
    if (!is_row && !fnn_penalizes_outputs(op)) return;
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

/* The gradients of the branches that start there are added to that of the inputs of op i. */
static void join_branches(const fnn_step *s, int i, void *dY) {
    const fnn_fit *fit = s->fit;
    const fnn_network *network = fit->network;
    for (int j = i; j < fit->trained_ops; j++) {
        if (!network->ops[j].kind->adds_branch || network->ops[j].source != i) continue;
        for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p)) {
            void *g = fnn_at(fit, dY, p * fit->dy_stride);
            network->kernels->add(g, g, fnn_panel_of(fit, j, p).saved, network->ops[j].n_in * network->kernels->panel);
        }
    }
}

static void backward(const fnn_step *s) {
    const fnn_fit *fit = s->fit;
    void *dY = fit->dY[0];
    for (int i = fit->trained_ops - 1; i >= fit->first_trained; i--) {
        const fnn_kind *kind = fit->network->ops[i].kind;
        start_gradient(s, i, dY);
        if (kind->backward) dY = kind->backward(s, i, dY);
        if (fit->network->n_branches && i > fit->first_trained) join_branches(s, i, dY);
    }
}

/* ---- steps ---- */

static double now(void) { return 1e-9 * (double)fnn_clock_ns(); }

/* The loss of a batch; *penalty: the penalties on weights in it. */
static double batch_loss(const fnn_step *s, double *penalty) {
    const fnn_fit *fit = s->fit;
    double sum = 0;
    if (fit->custom_gradient)
        sum = fit->custom_loss;
    else
        for (ptrdiff_t i = 0; i < s->rows; i++) sum += fit->values[i] * fit->scale[i];
    if (fit->penalizes_outputs) {
        double penalties = 0;
        for (ptrdiff_t i = 0; i < s->rows; i++) penalties += fit->output_penalties[i];
        sum += penalties / (double)s->rows;
    }
    *penalty = fit->penalizes_weights ? fnn_penalty(fit) * fnn_penalty_scale(s) : 0.0;
    return sum + *penalty;
}

static void finish_step(const fnn_step *s) {
    fnn_fit *fit = s->fit;
    double penalty;
    fit->loss_sum += batch_loss(s, &penalty) * (double)s->rows;
    fit->penalty_sum += penalty * (double)s->rows;
    fit->step++;
    int stops = fit->step >= fit->until || fnn_barrier_is_crowded(&fit->barrier);
    if (fit->step >= fit->next_check) {
        fit->next_check = fit->step + fit->check_every;
        stops |= now() >= fit->deadline;
    }
    if (stops) atomic_store_explicit(&fit->stop, 1, memory_order_relaxed);
}

static void phase_1(const fnn_step *s) {
    fnn_fit *fit = s->fit;
    gather_inputs(s);
    fnn_mark(fit, s->thread, FNN_GATHER);
    forward(s);
    if (fit->penalizes_weights) fnn_sum_penalties(s);
    fnn_mark(fit, s->thread, FNN_FORWARD);
    if (fit->couples_rows) {
        sum_over_batch(s);
        fnn_barrier_wait(&fit->barrier);
    }
    evaluate_loss(s);
    fnn_mark(fit, s->thread, FNN_LOSS);
    backward(s);
    if (s->thread == 0) fit->cut[0] = fit->is_long && fnn_interrupted();
    fnn_mark(fit, s->thread, FNN_BACKWARD);
}

/* Thread 0 writes `cut` before a barrier, after which all threads read it: they see the same.
 * `stop` is written between the two barriers of a step and read after the second: all threads see the same. */
static void run_steps(void *context, int thread, int n_threads) {
    fnn_fit *fit = context;
    if (fit->timed) fit->phases[thread].since = fnn_clock_ns();
    for (ptrdiff_t step = fit->step;; step++) {
        const fnn_step s = step_of(fit, step, thread, n_threads);
        phase_1(&s);
        fnn_barrier_wait(&fit->barrier);
        fnn_mark(fit, thread, FNN_WAIT);
        if (fit->cut[0] || atomic_load_explicit(&fit->nonfinite, memory_order_relaxed)) return;
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
    const int interrupted = fnn_team_run(run_steps, fit, fnn_trials_threads(&fit->trials), &fit->barrier);
    fnn_trials_note(&fit->trials, fit->step - first, fnn_clock_ns() - start);
    return interrupted;
}

fnn_status fnn_fit_run(fnn_fit *fit, ptrdiff_t max_steps, double max_seconds) {
    const ptrdiff_t rest = fit->n_steps - fit->step;
    if (rest <= 0) return FNN_OK;
    if (max_steps == 0) return FNN_MORE;
    const ptrdiff_t end = fit->step + (max_steps > 0 ? fnn_min(max_steps, rest) : rest);
    fit->deadline = now() + max_seconds;
    atomic_store(&fit->nonfinite, 0);
    int interrupted;
    do
        interrupted = run_timed(fit, end);
    while (!interrupted && fit->step < end && !atomic_load(&fit->nonfinite) && now() < fit->deadline);
    fit->network->iterations = fit->first_iteration + fit->step;
    if (interrupted) return FNN_INTERRUPTED;
    if (atomic_load(&fit->nonfinite)) return FNN_NONFINITE;
    return fit->step >= fit->n_steps ? FNN_OK : FNN_MORE;
}

/* ---- a step around a loss that the caller computes ---- */

ptrdiff_t fnn_fit_batch(const fnn_fit *fit, const int64_t **order, ptrdiff_t *first) {
    *first = fit->step * fit->data.batch_size;
    *order = fit->shuffled ? fit->order + *first : NULL;
    return fnn_min(fit->n - *first, fit->data.batch_size);
}

static void outputs_of_batch(void *context, int thread, int n_threads) {
    fnn_fit *fit = context;
    const fnn_network *network = fit->network;
    const fnn_kernels *kernels = network->kernels;
    const fnn_step s = step_of(fit, fit->step, thread, n_threads);
    const op_buffers *out = &fit->buffers[fit->trained_ops];
    gather_inputs(&s);
    forward(&s);
    if (fit->penalizes_weights) fnn_sum_penalties(&s);
    for (ptrdiff_t p = s.panels.first; p < s.panels.last; p = fnn_next(&s, p)) {
        const ptrdiff_t first = p * kernels->panel, count = fnn_min(s.rows - first, kernels->panel);
        kernels->scatter(fit->custom_outputs, network->n_outputs, fnn_at(fit, out->Y, p * out->stride), network->n_outputs,
                         NULL, first, count);
        if (fit->data.predictions) store_predictions(&s, p);
    }
}

fnn_status fnn_fit_forward(fnn_fit *fit, void *out) {
    fit->custom_outputs = out;
    return fnn_team_run(outputs_of_batch, fit, fit->n_threads, &fit->barrier) ? FNN_INTERRUPTED : FNN_OK;
}

static void step_from_gradient(void *context, int thread, int n_threads) {
    fnn_fit *fit = context;
    const fnn_network *network = fit->network;
    const fnn_kernels *kernels = network->kernels;
    const fnn_step s = step_of(fit, fit->step, thread, n_threads);
    const ptrdiff_t element = (ptrdiff_t)network->element, n = network->n_outputs;
    const fnn_matrix gradient = {fit->custom_gradient, kernels->dtype, n * element, element, s.rows, n};
    for (ptrdiff_t p = s.panels.first; p < s.panels.last; p = fnn_next(&s, p)) {
        const ptrdiff_t first = p * kernels->panel, count = fnn_min(s.rows - first, kernels->panel);
        void *dY = fnn_at(fit, fit->dY[0], p * fit->dy_stride);
        kernels->gather(dY, &gradient, NULL, first, count);
        fnn_clear_padding(dY, kernels->panel, n, count, network->element);
    }
    backward(&s);
    if (thread == 0) fit->cut[0] = fit->is_long && fnn_interrupted();
    fnn_barrier_wait(&fit->barrier);
    if (fit->cut[0] || !fnn_update_weights(&s)) return;
    fnn_barrier_wait(&fit->barrier);
    if (thread == 0) finish_step(&s);
}

fnn_status fnn_fit_backward(fnn_fit *fit, const void *gradient, double loss) {
    fit->custom_gradient = gradient;
    fit->custom_loss = loss;
    const int interrupted = fnn_team_run(step_from_gradient, fit, fit->n_threads, &fit->barrier);
    fit->network->iterations = fit->first_iteration + fit->step;
    fit->custom_gradient = NULL;
    return interrupted ? FNN_INTERRUPTED : FNN_OK;
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
    *loss = batch_loss(&s, penalty);
    fnn_call_leave(&call);
    fit->shuffled = shuffled;
    return interrupted ? FNN_INTERRUPTED : FNN_OK;
}
