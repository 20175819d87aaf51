/* The losses of a step: their targets, their values and gradients, and what becomes of the outputs. */

#include <float.h>
#include <math.h>

#include "kind.h"

/* ---- targets ---- */

double fnn_mean_factor(const fnn_step *s, const fit_loss *loss) {
    const fnn_fit *fit = s->fit;
    const double divisor = fnn_divisor(&loss->loss, loss->targets.labels, loss->targets.sample_weight, fit->network->element,
                                       fnn_order_of(fit), s->first_row, s->rows);
    return divisor != 0 ? 1.0 / divisor : 0.0;
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

void fnn_gather_targets(const fnn_step *s, fit_loss *loss, double mean) {
    fnn_fit *fit = s->fit;
    const fnn_kernels *kernels = fit->network->kernels;
    const fnn_targets *targets = &loss->targets;
    const int64_t *order = fnn_order_of(fit);
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

/* ---- values and gradients ---- */

static void sum_over_batch(const fnn_step *s, const fit_loss *loss) {
    const fnn_fit *fit = s->fit;
    const fnn_kernels *kernels = fit->network->kernels;
    const op_buffers *out = &fit->buffers[loss->buffer];
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p))
        kernels->dice_sums(loss->batch_sums + 2 * p * kernels->panel, fnn_at(fit, out->Y, p * out->stride),
                           fnn_at(fit, loss->T, p * loss->t_stride), loss->n_out);
}

static void gather_sums(const fnn_step *s, const fit_loss *loss) {
    const ptrdiff_t bytes = s->fit->network->kernels->panel * (ptrdiff_t)sizeof(double);
    fnn_gather_panels(s, loss->batch_sums, 2 * bytes);
    fnn_gather_panels(s, loss->scale, bytes);
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

void fnn_store_predictions(const fnn_step *s, void *predictions, int buffer, ptrdiff_t width, ptrdiff_t p) {
    const fnn_fit *fit = s->fit;
    const fnn_kernels *kernels = fit->network->kernels;
    const op_buffers *out = &fit->buffers[buffer];
    const ptrdiff_t first = p * kernels->panel, count = fnn_min(s->rows - first, kernels->panel);
    kernels->scatter(predictions, width, fnn_at(fit, out->Y, p * out->stride), width, fnn_order_of(fit),
                     s->first_row + first, count);
}

void fnn_store_kept_outputs(const fnn_step *s) {
    const fnn_fit *fit = s->fit;
    for (int k = 0; k < fit->n_kept && !fit->gradients; k++) {
        const kept_output *kept = &fit->kept[k];
        for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p))
            fnn_store_predictions(s, kept->predictions, kept->buffer, fit->network->widths[kept->buffer], p);
    }
}

void fnn_store_other_ranks(const fnn_step *s) {
    const fnn_fit *fit = s->fit;
    fnn_step other = *s;
    for (int r = 0; r < fit->n_ranks && !fit->failed; r++) {
        if (r == fit->rank) continue;
        other.panels = fnn_rank_panels(fit, s->n_panels, r);
        fnn_store_kept_outputs(&other);
        for (int l = 0; l < fit->n_losses; l++) {
            const fit_loss *loss = &fit->losses[l];
            for (ptrdiff_t p = other.panels.first; loss->predictions && p < other.panels.last; p++)
                fnn_store_predictions(s, loss->predictions, loss->buffer, loss->n_out, p);
        }
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
    if (loss->label_smoothing != 0) {
        closed = *loss;
        closed.label_smoothing *= fnn_factor(s, FNN_SMOOTHING_FACTOR);
        loss = &closed;
    }
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
        if (of->predictions && !fit->gradients) fnn_store_predictions(s, of->predictions, of->buffer, of->n_out, p);
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

void fnn_evaluate_losses(const fnn_step *s) {
    const fnn_fit *fit = s->fit;
    if (fit->couples_rows) {
        for (int l = 0; l < fit->n_losses; l++)
            if (fit->losses[l].couples_rows) sum_over_batch(s, &fit->losses[l]);
        fnn_barrier_wait(&s->fit->barrier);
        for (int l = 0; l < fit->n_losses; l++)
            if (fit->losses[l].couples_rows) gather_sums(s, &fit->losses[l]);
    }
    for (int l = 0; l < fit->n_losses; l++)
        if (fit->losses[l].gradient)
            take_gradient(s, &fit->losses[l]);
        else
            evaluate_loss(s, &fit->losses[l]);
}

double fnn_batch_loss(const fnn_step *s, double *penalty, double *sums) {
    const fnn_fit *fit = s->fit;
    double total = 0;
    for (int l = 0; l < fit->n_losses; l++) {
        const fit_loss *loss = &fit->losses[l];
        double sum = 0;
        if (loss->gradient)
            sum = loss->value;
        else
            _Pragma("GCC unroll 8") for (ptrdiff_t i = 0; i < s->rows; i++) sum += loss->values[i] * loss->scale[i];
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
