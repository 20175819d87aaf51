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

/* 1 / divisor of a mean over the rows; 0 where no row counts. */
static double mean_factor(const fnn_step *s, const fit_loss *loss) {
    const fnn_fit *fit = s->fit;
    const double divisor = fnn_divisor(&loss->loss, loss->targets.labels, loss->targets.sample_weight, fit->network->element,
                                       fit->shuffled ? fit->order : NULL, s->first_row, s->rows);
    return divisor != 0 ? 1.0 / divisor : 0.0;
}

static fnn_step step_of(fnn_fit *fit, ptrdiff_t step, int thread, int n_threads) {
    const ptrdiff_t first = step * fit->batch_size, panel = fit->network->kernels->panel;
    const ptrdiff_t rows = fnn_min(fit->n - first, fit->batch_size);
    const ptrdiff_t n_panels = rows == fit->batch_size ? fit->n_panels : fnn_ceil_div(rows, panel);
    fnn_step s = {.fit = fit,
                  .thread = thread,
                  .n_threads = n_threads,
                  .step = step,
                  .first_row = first,
                  .rows = rows,
                  .n_panels = n_panels,
                  .padded = n_panels * panel,
                  .panels = fnn_share(n_panels, thread, n_threads),
                  .is_long = fit->is_long,
                  .together = fit->worth_meeting && n_panels < n_threads};
    s.mean_factor = mean_factor(&s, &fit->losses[0]);
    return s;
}

/* Sample weights and labels of one panel. */
static void gather_row_data(fnn_fit *fit, const fit_loss *loss, const int64_t *order, ptrdiff_t first, ptrdiff_t count,
                            ptrdiff_t p) {
    const ptrdiff_t panel = fit->network->kernels->panel;
    const fnn_targets *targets = &loss->targets;
    double *scale = loss->scale + p * panel, *labels = loss->labels + p * panel;
    for (ptrdiff_t i = 0; i < panel; i++) labels[i] = 0.0;
    for (ptrdiff_t i = 0; i < count; i++) {
        const ptrdiff_t row = order ? (ptrdiff_t)order[first + i] : first + i;
        if (targets->sample_weight) scale[i] *= fnn_sample_weight(targets->sample_weight, fit->network->element, row);
        if (!fnn_counts(&loss->loss, targets->labels, row)) {
            scale[i] = 0.0;
        } else if (targets->labels) {
            const int64_t label = targets->labels[row];
            /* checked when the fit was made, but the caller may have changed the array since */
            if (label >= 0 && label < loss->n_out)
                labels[i] = (double)label;
            else
                atomic_store_explicit(&fit->nonfinite, 1, memory_order_relaxed);
        }
    }
}

/* Targets, sample weights and scale of a loss. */
static void gather_targets(const fnn_step *s, fit_loss *loss, double mean) {
    fnn_fit *fit = s->fit;
    const fnn_kernels *kernels = fit->network->kernels;
    const fnn_targets *targets = &loss->targets;
    const int64_t *order = fit->shuffled ? fit->order : NULL;
    /* the loss of a whole batch is one number: without weights its sum and its mean are the same */
    const int summed = loss->loss.sum && !(loss->couples_rows && !targets->sample_weight);
    const double scale = loss->loss.factor * (summed ? 1.0 : mean);
    /* the same as in the step before, except after a ragged batch */
    const int scales_change = s->step == fit->first_step || s->rows != fit->batch_size || targets->sample_weight ||
                              loss->loss.ignores;
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p)) {
        const ptrdiff_t first = s->first_row + p * kernels->panel;
        const ptrdiff_t count = fnn_min(s->rows - p * kernels->panel, kernels->panel);
        double *scales = loss->scale + p * kernels->panel;
        if (targets->y.data) kernels->gather(fnn_at(fit, loss->T, p * loss->t_stride), &targets->y, order, first, count);
        for (ptrdiff_t i = 0; scales_change && i < kernels->panel; i++) scales[i] = i < count ? scale : 0.0;
        if (targets->sample_weight || targets->labels) gather_row_data(fit, loss, order, first, count, p);
    }
}

static void gather_batch(const fnn_step *s) {
    fnn_fit *fit = s->fit;
    const fnn_kernels *kernels = fit->network->kernels;
    const int64_t *order = fit->shuffled ? fit->order : NULL;
    for (int b = 0; b < fit->network->n_inputs; b++) {
        const op_buffers *in = &fit->buffers[b];
        for (ptrdiff_t p = s->panels.first; in->Y && p < s->panels.last; p = fnn_next(s, p))
            kernels->gather(fnn_at(fit, in->Y, p * in->stride), &fit->X[b], order, s->first_row + p * kernels->panel,
                            fnn_min(s->rows - p * kernels->panel, kernels->panel));
    }
    for (ptrdiff_t p = s->panels.first; fit->penalizes_outputs && p < s->panels.last; p = fnn_next(s, p))
        memset(fit->output_penalties + p * kernels->panel, 0, sizeof(double) * (size_t)kernels->panel);
    for (int l = 0; l < fit->n_losses; l++)
        gather_targets(s, &fit->losses[l], l ? mean_factor(s, &fit->losses[l]) : s->mean_factor);
}

/* Cache lines of the next batch that a thread prefetches. */
#define LINES_AHEAD 1024

/* Prefetches the first lines of the rows that this thread gathers in the next step: they arrive during phase 2. */
static void fetch_next_rows(const fnn_step *s) {
    const fnn_fit *fit = s->fit;
    const ptrdiff_t next = s->first_row + s->rows;
    const fnn_range share = fnn_share(fnn_min(fit->n - next, s->rows), s->thread, s->n_threads);
    if (share.first == share.last) return;
    for (int b = 0; b < fit->network->n_inputs; b++) {
        const fnn_matrix *X = &fit->X[b];
        const ptrdiff_t width = X->cols * X->col_stride;
        if (!fit->buffers[b].Y || (!fit->shuffled && width < 64)) continue;
        const ptrdiff_t bytes = fnn_min(width, 64 * (1 + LINES_AHEAD / (share.last - share.first)));
        for (ptrdiff_t i = next + share.first; i < next + share.last; i++) {
            const char *row = (const char *)X->data + (fit->shuffled ? (ptrdiff_t)fit->order[i] : i) * X->row_stride;
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
        if (!fnn_is_row_activation(fnn_activation_of(fit, i)) && !fnn_penalizes_outputs(op)) continue;
        fnn_meet(s);
        finish_outputs(s, i);
    }
    fnn_meet(s);
}

static void sum_over_batch(const fnn_step *s, const fit_loss *loss) {
    const fnn_fit *fit = s->fit;
    const fnn_kernels *kernels = fit->network->kernels;
    const op_buffers *out = &fit->buffers[loss->buffer];
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p))
        kernels->dice_sums(loss->batch_sums + 2 * p * kernels->panel, fnn_at(fit, out->Y, p * out->stride),
                           fnn_at(fit, loss->T, p * loss->t_stride), loss->n_out);
}

/* The loss with its sums over the batch, added in row order; returns the factor of its gradient. */
static double close_batch_sums(const fnn_step *s, const fit_loss *of, fnn_loss *loss) {
    const ptrdiff_t panel = s->fit->network->kernels->panel;
    double factor = 0;
    loss->totals[0] = loss->totals[1] = 0;
    for (ptrdiff_t i = 0; i < s->rows; i++) {
        const double *sums = of->batch_sums + 2 * (i / panel) * panel + i % panel;
        loss->totals[0] += sums[0];
        loss->totals[1] += sums[panel];
        factor += of->scale[i];
    }
    return factor;
}

/* Copies panel p of a buffer, `width` outputs, to the caller's array of predictions. */
static void store_predictions(const fnn_step *s, void *predictions, int buffer, ptrdiff_t width, ptrdiff_t p) {
    const fnn_fit *fit = s->fit;
    const fnn_kernels *kernels = fit->network->kernels;
    const op_buffers *out = &fit->buffers[buffer];
    const ptrdiff_t first = p * kernels->panel, count = fnn_min(s->rows - first, kernels->panel);
    kernels->scatter(predictions, width, fnn_at(fit, out->Y, p * out->stride), width, fit->shuffled ? fit->order : NULL,
                     s->first_row + first, count);
}

static void store_kept_outputs(const fnn_step *s) {
    const fnn_fit *fit = s->fit;
    for (int k = 0; k < fit->n_kept && !fit->gradients; k++) {
        const kept_output *kept = &fit->kept[k];
        for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p))
            store_predictions(s, kept->predictions, kept->buffer, fit->network->widths[kept->buffer], p);
    }
}

/* A loss and its gradient, times the loss's weight. */
static void evaluate_loss(const fnn_step *s, const fit_loss *of) {
    fnn_fit *fit = s->fit;
    const fnn_network *network = fit->network;
    const fnn_kernels *kernels = network->kernels;
    const op_buffers *out = &fit->buffers[of->buffer];
    const int activated = of->skipped >= 0 && of->predictions != NULL, rescales = of->couples_rows || of->weight != 1.0;
    const fnn_loss *loss = &of->loss;
    fnn_loss closed;
    double factor = 0, factors[FNN_MOST_LANES];
    if (of->couples_rows) {
        closed = *loss;
        factor = close_batch_sums(s, of, &closed) * of->weight;
        loss = &closed;
    }
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p)) {
        const ptrdiff_t first = p * kernels->panel, count = fnn_min(s->rows - first, kernels->panel);
        void *dY = of->dY ? fnn_at(fit, of->dY, p * fit->dy_stride) : NULL;
        for (ptrdiff_t i = 0; rescales && i < kernels->panel; i++)
            factors[i] = !of->couples_rows ? of->scale[first + i] * of->weight : i < count ? factor : 0.0;
        int bad = !kernels->loss(of->values + first, dY, fnn_at(fit, out->Y, p * out->stride),
                                 fnn_at(fit, of->T, p * of->t_stride), of->labels + first, of->n_out,
                                 rescales ? factors : of->scale + first, loss, activated);
        if (count < kernels->panel) {
            if (dY) fnn_clear_padding(dY, kernels->panel, of->n_out, count, network->element);
            bad = 0;
            for (ptrdiff_t i = 0; i < count; i++) bad |= !(fabs(of->values[first + i]) <= DBL_MAX);
        }
        if (bad) atomic_store_explicit(&fit->nonfinite, 1, memory_order_relaxed);
        if (of->predictions && !fit->gradients) store_predictions(s, of->predictions, of->buffer, of->n_out, p);
    }
}

/* The gradient of a loss that the caller computes, times the loss's weight. */
static void take_gradient(const fnn_step *s, const fit_loss *of) {
    const fnn_fit *fit = s->fit;
    const fnn_kernels *kernels = fit->network->kernels;
    const ptrdiff_t element = (ptrdiff_t)fit->network->element, n = of->n_out, panel = kernels->panel;
    const fnn_matrix gradient = {of->gradient, kernels->dtype, n * element, element, s->rows, n};
    const double weight = of->weight;
    const fnn_matrix number = {&weight, FNN_F64, 0, 0, 0, 1};
    _Alignas(64) char factor[FNN_MOST_LANES * sizeof(double)];
    kernels->gather(factor, &number, NULL, 0, panel);
    for (ptrdiff_t p = s->panels.first; of->dY && p < s->panels.last; p = fnn_next(s, p)) {
        const ptrdiff_t first = p * panel, count = fnn_min(s->rows - first, panel);
        void *dY = fnn_at(fit, of->dY, p * fit->dy_stride);
        kernels->gather(dY, &gradient, NULL, first, count);
        fnn_clear_padding(dY, panel, n, count, fit->network->element);
        if (weight != 1.0) kernels->combine(dY, dY, factor, &(fnn_operands){FNN_MULTIPLY, n, panel, panel, 0});
    }
}

static void evaluate_losses(const fnn_step *s) {
    const fnn_fit *fit = s->fit;
    for (int l = 0; l < fit->n_losses; l++)
        if (fit->losses[l].couples_rows) sum_over_batch(s, &fit->losses[l]);
    if (fit->couples_rows) fnn_barrier_wait(&s->fit->barrier);
    for (int l = 0; l < fit->n_losses; l++)
        if (fit->losses[l].gradient)
            take_gradient(s, &fit->losses[l]);
        else
            evaluate_loss(s, &fit->losses[l]);
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
        start_gradient(s, i, b->dY);
        if (op->kind->backward) op->kind->backward(s, i);
    }
}

/* ---- steps ---- */

static double now(void) { return 1e-9 * (double)fnn_clock_ns(); }

/* The loss of a batch, the sum of all losses times their weights; *penalty: the penalties on weights in it. The losses
 * themselves times the rows are added to sums, unless that is NULL. */
static double batch_loss(const fnn_step *s, double *penalty, double *sums) {
    const fnn_fit *fit = s->fit;
    double total = 0;
    for (int l = 0; l < fit->n_losses; l++) {
        const fit_loss *loss = &fit->losses[l];
        double sum = 0;
        if (loss->gradient)
            sum = loss->value;
        else
            for (ptrdiff_t i = 0; i < s->rows; i++) sum += loss->values[i] * loss->scale[i];
        if (sums) sums[l] += sum * (double)s->rows;
        total += sum * loss->weight;
    }
    if (fit->penalizes_outputs) {
        double penalties = 0;
        for (ptrdiff_t i = 0; i < s->rows; i++) penalties += fit->output_penalties[i];
        total += penalties / (double)s->rows;
    }
    *penalty = fit->penalizes_weights ? fnn_penalty(fit) * fnn_penalty_scale(s) : 0.0;
    return total + *penalty;
}

static void finish_step(const fnn_step *s) {
    fnn_fit *fit = s->fit;
    double penalty;
    fit->loss_sum += batch_loss(s, &penalty, fit->loss_sums) * (double)s->rows;
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
    gather_batch(s);
    fnn_mark(fit, s->thread, FNN_GATHER);
    forward(s);
    if (fit->penalizes_weights) fnn_sum_penalties(s);
    fnn_mark(fit, s->thread, FNN_FORWARD);
    store_kept_outputs(s);
    evaluate_losses(s);
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

/* ---- a step around losses that the caller computes ---- */

ptrdiff_t fnn_fit_batch(const fnn_fit *fit, const int64_t **order, ptrdiff_t *first) {
    *first = fit->step * fit->batch_size;
    *order = fit->shuffled ? fit->order + *first : NULL;
    return fnn_min(fit->n - *first, fit->batch_size);
}

static void outputs_of_batch(void *context, int thread, int n_threads) {
    fnn_fit *fit = context;
    const fnn_kernels *kernels = fit->network->kernels;
    const fnn_step s = step_of(fit, fit->step, thread, n_threads);
    gather_batch(&s);
    forward(&s);
    if (fit->penalizes_weights) fnn_sum_penalties(&s);
    store_kept_outputs(&s);
    for (int l = 0; l < fit->n_losses; l++) {
        const fit_loss *loss = &fit->losses[l];
        const op_buffers *out = &fit->buffers[loss->buffer];
        for (ptrdiff_t p = s.panels.first; loss->outputs && p < s.panels.last; p = fnn_next(&s, p)) {
            const ptrdiff_t first = p * kernels->panel, count = fnn_min(s.rows - first, kernels->panel);
            kernels->scatter(loss->outputs, loss->n_out, fnn_at(fit, out->Y, p * out->stride), loss->n_out, NULL, first,
                             count);
            if (loss->predictions) store_predictions(&s, loss->predictions, loss->buffer, loss->n_out, p);
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
    evaluate_losses(&s);
    backward(&s);
    if (thread == 0) fit->cut[0] = fit->is_long && fnn_interrupted();
    fnn_barrier_wait(&fit->barrier);
    if (fit->cut[0] || atomic_load_explicit(&fit->nonfinite, memory_order_relaxed)) return;
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
    *loss = batch_loss(&s, penalty, NULL);
    fnn_call_leave(&call);
    fit->shuffled = shuffled;
    return interrupted ? FNN_INTERRUPTED : FNN_OK;
}
