/* The plan of a fit: its buffers, cut out of one arena, and who updates which weights. */

#include <math.h>
#include <string.h>

#include "fit.h"

/* The derivative of a dense layer's activation is stored, save where it follows from the output. */
static int needs_derivative(const fnn_op *op, int activation) {
    if (op->kind == FNN_OP_ACTIVATION) return activation < FNN_SOFTMAX;
    if (op->kind != FNN_OP_DENSE) return op->kind == FNN_OP_DROPOUT || op->kind == FNN_OP_LAYER_NORM || op->kind == FNN_OP_STANDARDIZE;
    return activation != FNN_LINEAR && activation != FNN_RELU && activation < FNN_SOFTMAX;
}

/* Cuts all weights into units and deals them to threads in order, by the number of multiply-adds. With fit->units NULL
 * it only counts them. */
static int plan_units(fnn_fit *fit, int n_threads) {
    const fnn_network *network = fit->network;
    const ptrdiff_t panel = network->kernels->panel;
    double total = 0, done = 0;
    int units = 0, thread = 0;
    /* whole blocks of sums, or whole tiles */
    const ptrdiff_t grain = fit->norms ? FNN_BLOCK : 12;
    for (int pass = 0; pass < 2; pass++)
        for (int i = fit->first_dense; i < fit->trained_ops; i++) {
            const fnn_op *op = &network->ops[i];
            if (!fnn_is_trained(op)) continue;
            const ptrdiff_t start = op->use_kernel ? 0 : op->rows, rows = op->rows + (op->use_bias != 0);
            for (ptrdiff_t q = 0; q < op->panels; q++) {
                const ptrdiff_t outs = op->n_out - q * panel;
                const double width = (double)(outs <= network->kernels->narrow ? network->kernels->narrow : panel);
                if (!pass) {
                    total += (double)(rows - start) * width;
                    continue;
                }
                for (ptrdiff_t k = start; k < rows;) {
                    /* this thread's part ends at (thread + 1) / n_threads of all, rounded to whole grains */
                    const double left = total * (thread + 1) / n_threads - done;
                    const int bias_apart = (fit->special || fit->norms) && k < op->rows;
                    ptrdiff_t count = (bias_apart ? op->rows : rows) - k;
                    if (thread + 1 < n_threads && left < (double)count * width) {
                        const ptrdiff_t cut = ((ptrdiff_t)(left / width) + grain / 2) / grain * grain;
                        if (cut < count) count = cut;
                    }
                    if (count > 0) {
                        if (fit->units) fit->units[units] = (unit){i, q, k, k + count};
                        units++;
                        done += (double)count * width;
                        k += count;
                    }
                    while (thread + 1 < n_threads && (count <= 0 || done >= total * (thread + 1) / n_threads)) {
                        thread++;
                        if (fit->units) fit->unit_start[thread] = units;
                        count = 1;
                    }
                }
            }
        }
    if (fit->units)
        for (thread++; thread <= n_threads; thread++) fit->unit_start[thread] = units;
    return units;
}

/* Operations of a step, padded rows included, for which another thread is worth a barrier before each op. */
#define MEETING_OPERATIONS 1e6

fnn_fit *fnn_fit_new(fnn_network *network, const fnn_fit_data *data) {
    const fnn_kernels *kernels = network->kernels;
    const ptrdiff_t element = (ptrdiff_t)network->element, panel = kernels->panel;
    fnn_fit plan = {.network = network, .data = *data, .n = data->X.rows};
    if (plan.data.batch_size > plan.n) plan.data.batch_size = plan.n;
    plan.n_steps = (plan.n + plan.data.batch_size - 1) / plan.data.batch_size;
    plan.panels = (plan.data.batch_size + panel - 1) / panel;
    plan.skipped = fnn_skipped_activation(network);
    plan.trained_ops = network->n_ops;
    if (plan.skipped >= 0 && network->ops[plan.skipped].kind == FNN_OP_ACTIVATION) plan.trained_ops--;
    plan.first_dense = 0;
    while (plan.first_dense < plan.trained_ops && !fnn_is_trained(&network->ops[plan.first_dense])) plan.first_dense++;
    const fnn_optimizer *optimizer = &network->optimizer;
    ptrdiff_t blocks = 0;
    for (int i = 0; i < network->n_ops; i++) {
        const fnn_op *op = &network->ops[i];
        if (op->rows) blocks += fnn_blocks_of(op);
        plan.special |= fnn_has_rules(op);
        plan.penalized |= fnn_has_penalty(op);
        plan.constrained |= fnn_has_norm_constraint(op);
        plan.moving |= op->kind == FNN_OP_BATCH_NORM;
        plan.active |= fnn_has_activity(op);
    }
    plan.followed = plan.special || optimizer->use_average;
    plan.coupled = network->loss.kind == FNN_DICE && !network->loss.per_row;
    plan.norms = optimizer->clip_norm > 0 || optimizer->global_clip_norm > 0;
    const double operations = 3.0 * network->operations * (double)plan.data.batch_size;
    plan.n_threads = fnn_threads_for(operations, plan.panels, data->n_threads);
    const double padded = 3.0 * network->operations * (double)(plan.panels * panel);
    plan.worth_meeting = padded >= MEETING_OPERATIONS * (double)plan.panels;
    if (plan.worth_meeting && plan.panels < data->n_threads)
        plan.n_threads = padded / MEETING_OPERATIONS < data->n_threads ? 1 + (int)(padded / MEETING_OPERATIONS) : data->n_threads;
    plan.check_every = (ptrdiff_t)(1 + 2e6 / (operations + 1e3));
    fnn_choice_start(&plan.choice, plan.n_threads, operations);
    plan.n_units = plan_units(&plan, plan.n_threads);

    enum {
        FIT, PHASES, BUFFERS, DY0, DY1, T, VALUES, LABELS, SCALE, ORDER, RATES, UNITS, UNIT_START, PENALTIES, NORMS, ACTIVITY,
        BATCH_SUMS, STORED, OPS
    };
    enum { PER_OP = 5,
        MAX_PARTS = OPS + PER_OP * 256 };
    if (network->n_ops > 255) return NULL;
    ptrdiff_t widest = network->n_outputs;
    for (int i = plan.first_dense; i < plan.trained_ops; i++)
        if (network->ops[i].n_out > widest) widest = network->ops[i].n_out;
    plan.dy_stride = fnn_panel_stride(kernels, widest + 1);
    plan.t_stride = network->n_outputs * panel;
    const ptrdiff_t rows = plan.panels * panel;
    size_t sizes[MAX_PARTS];
    void *parts[MAX_PARTS];
    sizes[FIT] = sizeof(fnn_fit);
    sizes[PHASES] = sizeof(phase_times) * (size_t)plan.n_threads;
    sizes[BUFFERS] = sizeof(op_buffers) * (size_t)(network->n_ops + 1);
    sizes[DY0] = sizes[DY1] = fnn_size(plan.panels, plan.dy_stride, element);
    sizes[T] = data->y.data ? fnn_size(plan.panels, plan.t_stride, element) : 0;
    sizes[VALUES] = sizes[SCALE] = sizes[LABELS] = fnn_size(rows, sizeof(double), 1);
    sizes[ORDER] = fnn_size(plan.n, sizeof(int64_t), 1);
    sizes[RATES] = fnn_size(plan.n_steps, sizeof(double), FNN_CONSTANTS);
    sizes[UNITS] = sizeof(unit) * (size_t)plan.n_units;
    sizes[UNIT_START] = sizeof(int) * (size_t)(plan.n_threads + 1);
    sizes[PENALTIES] = plan.penalized ? fnn_size(blocks, sizeof(double), 2) : 0;
    sizes[NORMS] = plan.norms ? fnn_size(blocks, sizeof(double), 1) : 0;
    sizes[ACTIVITY] = plan.active ? fnn_size(rows, sizeof(double), 1) : 0;
    sizes[BATCH_SUMS] = plan.coupled ? fnn_size(rows, sizeof(double), 2) : 0;
    /* accumulated gradients live with the network, in a slot */
    sizes[STORED] = plan.norms && !fnn_sum_slot(network) ? fnn_size(network->n_elements + panel, element, 1) : 0;
    int n_parts = OPS;
    for (int i = 0; i <= plan.trained_ops; i++) {
        const fnn_op *op = i ? &network->ops[i - 1] : NULL;
        const ptrdiff_t features = op ? op->n_out : network->n_features;
        const int activation = op && i - 1 != plan.skipped ? op->activation : FNN_LINEAR;
        sizes[n_parts++] = fnn_size(plan.panels, fnn_panel_stride(kernels, features + 1), element);
        sizes[n_parts++] = op && needs_derivative(op, activation) ? fnn_size(rows, features, element) : 0;
        sizes[n_parts++] = op && op->kind == FNN_OP_DENSE ? fnn_size(rows, (features + panel - 1) / panel * panel, element) : 0;
        sizes[n_parts++] = op && fnn_layer_saves(op) ? fnn_size(rows, features, element) : 0;
        sizes[n_parts++] = op ? fnn_size(fnn_layer_statistics(&plan, op), sizeof(double), 1) : 0;
    }
    void *arena = fnn_arena_new(parts, sizes, n_parts);
    if (!arena) return NULL;

    fnn_fit *fit = parts[FIT];
    *fit = plan;
    fit->phases = parts[PHASES];
    fit->buffers = parts[BUFFERS];
    fit->dY[0] = parts[DY0];
    fit->dY[1] = parts[DY1];
    fit->T = parts[T];
    fit->values = parts[VALUES];
    fit->labels = parts[LABELS];
    fit->scale = parts[SCALE];
    fit->order = parts[ORDER];
    fit->rates = parts[RATES];
    fit->penalty_sums = parts[PENALTIES];
    fit->norm_sums = parts[NORMS];
    fit->activity = parts[ACTIVITY];
    fit->batch_sums = parts[BATCH_SUMS];
    fit->stored = fnn_sum_slot(network) ? fnn_sum_slot(network) : plan.norms ? parts[STORED] : NULL;
    fit->units = parts[UNITS];
    fit->unit_start = parts[UNIT_START];
    plan_units(fit, fit->n_threads);
    const double one = 1.0;
    const fnn_matrix ones = {&one, FNN_F64, 0, 0, 0, 1};
    blocks = 0;
    for (int i = 0; i <= plan.trained_ops; i++) {
        op_buffers *b = &fit->buffers[i];
        const ptrdiff_t features = i ? network->ops[i - 1].n_out : network->n_features;
        b->Y = parts[OPS + PER_OP * i];
        b->D = sizes[OPS + PER_OP * i + 1] ? parts[OPS + PER_OP * i + 1] : NULL;
        b->dZt = parts[OPS + PER_OP * i + 2];
        b->saved = parts[OPS + PER_OP * i + 3];
        b->statistics = parts[OPS + PER_OP * i + 4];
        b->stride = fnn_panel_stride(kernels, features + 1);
        b->first_block = blocks;
        if (i && network->ops[i - 1].rows) blocks += fnn_blocks_of(&network->ops[i - 1]);
        for (ptrdiff_t p = 0; p < plan.panels; p++)
            kernels->gather(fnn_at(fit, b->Y, p * b->stride + features * panel), &ones, NULL, 0, panel);
    }
    return fit;
}

void fnn_fit_free(fnn_fit *fit) {
    if (!fit) return;
    if (fit->n_threads > 1) fnn_team_release();
    fnn_arena_free(fit);
}

ptrdiff_t fnn_fit_steps(const fnn_fit *fit) { return fit->n_steps; }
ptrdiff_t fnn_fit_step(const fnn_fit *fit) { return fit->step; }
double fnn_fit_loss_sum(const fnn_fit *fit) { return fit->loss_sum; }
double fnn_fit_penalty_sum(const fnn_fit *fit) { return fit->penalty_sum; }

void fnn_fit_set_order(fnn_fit *fit, const int64_t *order) {
    memcpy(fit->order, order, sizeof *order * (size_t)fit->n);
    fit->shuffled = 1;
}

/* b^t by repeated squaring: the same bits with every libm, and wherever a fit is cut */
static double integer_power(double b, uint64_t t) {
    double power = 1;
    for (; t; t >>= 1, b *= b)
        if (t & 1) power *= b;
    return power;
}

/* 1 - b^t; halvings: -log2(b). From 64 halvings on the power is too small to matter. */
static double bias_of(double b, double halvings, uint64_t t) {
    return halvings * (double)t > 64 ? 1.0 : 1 - integer_power(b, t);
}

/* Nadam's momentum of update t, beta_1 (1 - 0.96^t / 2), and the product of the momenta up to it */
typedef struct {
    uint64_t t;
    double decay, factor, product;
} momentum_product;

static void advance(momentum_product *p, double beta_1) {
    p->t++;
    p->decay *= 0.96;
    p->factor = beta_1 * (1.0 - 0.5 * p->decay);
    p->product *= p->factor;
}

void fnn_fit_set_rates(fnn_fit *fit, const double *rates) {
    const fnn_optimizer *optimizer = &fit->network->optimizer;
    const fnn_update *update = &optimizer->update;
    momentum_product product = {.t = 0, .decay = 1, .product = 1};
    const double beta_1 = 1 - update->beta_1, beta_2 = 1 - update->beta_2;
    const double halvings_1 = -log2(beta_1), halvings_2 = -log2(beta_2);
    for (ptrdiff_t s = 0; s < fit->n_steps; s++) {
        const uint64_t t = (uint64_t)((fit->first_iteration + s) / optimizer->accumulate + 1);
        double rate = rates[s], rate_2 = 0, correction = 1;
        if (update->kind == FNN_ADAM || update->kind == FNN_AMSGRAD) {
            rate *= sqrt(bias_of(beta_2, halvings_2, t)) / bias_of(beta_1, halvings_1, t);
        } else if (update->kind == FNN_ADAMAX) {
            rate /= bias_of(beta_1, halvings_1, t);
        } else if (update->kind == FNN_NADAM) {
            while (product.t < t) advance(&product, beta_1);
            momentum_product next = product;
            advance(&next, beta_1);
            rate_2 = rates[s] * (1 - product.factor) / (1 - product.product);
            rate *= next.factor / (1 - next.product);
            correction = 1 / bias_of(beta_2, halvings_2, t);
        }
        fit->rates[FNN_RATE * fit->n_steps + s] = rate;
        fit->rates[FNN_RAW * fit->n_steps + s] = rates[s];
        fit->rates[FNN_RATE_2 * fit->n_steps + s] = rate_2;
        fit->rates[FNN_CORRECTION * fit->n_steps + s] = correction;
    }
}

void fnn_fit_begin(fnn_fit *fit, uint64_t seed, uint64_t epoch, int shuffle, const double *rates) {
    fit->seed = seed;
    fit->epoch = epoch;
    fit->shuffled = shuffle;
    fit->step = 0;
    fit->loss_sum = fit->penalty_sum = 0;
    /* bit 63 keeps the stream of the order apart from all others of the seed */
    if (shuffle) fnn_shuffle(fit->order, fit->n, seed, epoch | (uint64_t)1 << 63);
    fit->first_iteration = fit->network->iterations;
    fnn_fit_set_rates(fit, rates);
}
