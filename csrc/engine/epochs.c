/* Epochs that follow one another without the caller: the evaluation of held-out rows and early stopping between them.
 *
 * Design: what is done between epochs is what the caller would do, in its order of operations; the caller itself looks at
 * the last epoch, after which nothing is done here. */

#include <math.h>
#include <string.h>

#include "kind.h"

/* Returns 0 after an interruption. */
static int begin_next(fnn_fit *fit, fnn_epochs *epochs) {
    const uint64_t number = epochs->first + (uint64_t)epochs->done * epochs->between;
    fnn_call call;
    fnn_call_enter(&call);
    fnn_fit_begin(fit, epochs->seed, number, epochs->shuffle && !epochs->orders, epochs->rates);
    if (epochs->orders) fnn_fit_set_order(fit, epochs->orders + epochs->done * fit->n);
    epochs->begun = !fnn_call_leave(&call);
    return epochs->begun;
}

static void end_epoch(const fnn_fit *fit, fnn_epochs *epochs) {
    double *sums = epochs->sums + epochs->done++ * (2 + fit->n_losses);
    sums[0] = fit->loss_sum;
    sums[1] = fit->penalty_sum;
    memcpy(sums + 2, fit->loss_sums, sizeof(double) * (size_t)fit->n_losses);
    epochs->begun = epochs->looked = 0;
}

/* A mean over n rows, with the roundings of a sum over one stretch of rows. */
static double mean_of_rows(double value, double n) { return (0.0 + value * n) / n; }

/* The total loss of held-out rows and its parts. */
static fnn_status evaluate(const fnn_network *network, const fnn_held_out *held_out, double *values) {
    const fnn_status status = fnn_predict(network, &held_out->prediction);
    if (status != FNN_OK) return status;
    const ptrdiff_t n = held_out->prediction.X[0].rows;
    double total = 0;
    fnn_call call;
    fnn_call_enter(&call);
    for (int l = 0; l < network->n_losses; l++) {
        const fnn_output_loss *of = &network->losses[l];
        const fnn_targets *targets = &held_out->targets[l];
        const fnn_loss_arrays arrays = {held_out->prediction.out[of->output], targets->y.data, targets->labels,
                                        targets->sample_weight, n, fnn_output_width(network, of->output)};
        double value = 0;
        if (fnn_loss_and_gradient(network->kernels, &value, NULL, &arrays, &of->loss) != FNN_OK) {
            fnn_call_leave(&call);
            return FNN_NO_MEMORY;
        }
        total += of->weight * value;
        values[1 + l] = mean_of_rows(value, (double)n);
    }
    values[0] = mean_of_rows(total + fnn_network_penalty(network), (double)n);
    return fnn_call_leave(&call) ? FNN_INTERRUPTED : FNN_OK;
}

static int improves(const fnn_watch *watch, double value, double reference) {
    return -(value - reference) > watch->min_delta;
}

/* Takes note of the loss after an epoch; returns 1, and takes none, where training ends. */
static int ends(fnn_watch *watch, const fnn_network *network, ptrdiff_t epoch, double value) {
    if (epoch < watch->start) return 0;
    if (watch->has_best && !improves(watch, value, watch->best)) {
        if (watch->wait + 1 >= watch->patience && epoch > 0) return 1;
        watch->wait++;
        return 0;
    }
    watch->has_best = 1;
    watch->best = value;
    watch->best_epoch = epoch;
    watch->wait = isnan(watch->baseline) || improves(watch, value, watch->baseline) ? 0 : watch->wait + 1;
    if (watch->weights) memcpy(watch->weights, network->weights, (size_t)network->n_elements * network->element);
    return 0;
}

/* What comes between the last epoch that has ended and the next one; once, whatever interrupts the start of the next. */
static fnn_status look(fnn_fit *fit, fnn_epochs *epochs) {
    if (!epochs->done || epochs->looked) return FNN_OK;
    const ptrdiff_t epoch = epochs->done - 1;
    const fnn_held_out *held_out = epochs->held_out;
    fnn_watch *watch = epochs->watch;
    double value = fit->loss_sum / (double)fit->n;
    if (held_out && (!epochs->due || epochs->due[epoch])) {
        double *values = epochs->values + epoch * (1 + fit->n_losses);
        const fnn_status status = evaluate(fit->network, held_out, values);
        if (status != FNN_OK) return status;
        if (watch && watch->held_out) value = values[0];
    }
    if (watch && ends(watch, fit->network, watch->epoch + epoch, value)) epochs->count = epochs->done;
    epochs->looked = 1;
    return FNN_OK;
}

fnn_status fnn_fit_run_epochs(fnn_fit *fit, fnn_epochs *epochs, double max_seconds) {
    const double end = fnn_now() + max_seconds;
    while (epochs->done < epochs->count) {
        if (!epochs->begun) {
            const fnn_status looked = look(fit, epochs);
            if (looked != FNN_OK) return looked;
            if (epochs->done == epochs->count) break;
            if (!begin_next(fit, epochs)) return FNN_INTERRUPTED;
        }
        const fnn_status status = fnn_fit_run(fit, -1, end - fnn_now());
        if (status != FNN_OK) return status;
        end_epoch(fit, epochs);
        if (fnn_now() >= end) break;
    }
    return epochs->done < epochs->count ? FNN_MORE : FNN_OK;
}
