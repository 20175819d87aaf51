/* The plan of a fit: its numbers, and its buffers, cut out of one arena. */

#include <string.h>

#include "kind.h"

/* ---- the numbers of a fit ---- */

/* The losses, the ops that a step runs, and their special needs. */
static void look_at_ops(fnn_fit *fit, const fnn_fit_data *data) {
    const fnn_network *network = fit->network;
    const fnn_optimizer *optimizer = &network->optimizer;
    unsigned char reached[FNN_MOST_BUFFERS], has_loss[FNN_MOST_OUTPUTS] = {0};
    for (int l = 0; l < fit->n_losses; l++) {
        const fnn_output_loss *loss = &network->losses[l];
        const int output = loss->output;
        fit->losses[l] = (fit_loss){.loss = loss->loss, .weight = loss->weight, .targets = data->targets[l],
                                    .output = output, .buffer = network->outputs[output],
                                    .skipped = fnn_skipped_activation(network, l),
                                    .n_out = fnn_output_width(network, output),
                                    .couples_rows = fnn_couples_rows(&loss->loss),
                                    .predictions = data->predictions[output]};
        fit->couples_rows |= fit->losses[l].couples_rows;
        has_loss[output] = 1;
    }
    for (int o = 0; o < network->n_outputs; o++)
        if (data->predictions[o] && !has_loss[o])
            fit->kept[fit->n_kept++] = (kept_output){network->outputs[o], data->predictions[o]};
    fnn_plan_parts(fit);
    fnn_find_gradients(fit, reached);
    fit->first_trained = 0;
    while (fit->first_trained < network->n_ops && !reached[fnn_buffer_of(network, fit->first_trained)]) fit->first_trained++;
    for (int i = 0; i < network->n_ops; i++) {
        const fnn_op *op = &network->ops[i];
        fit->has_rules |= fnn_has_rules(op);
        fit->has_moving_statistics |= op->kind->move_statistics != NULL;
        fit->constrains_norms |= fnn_has_norm_constraint(op);
        fit->penalizes_weights |= fnn_has_penalty(op);
        fit->penalizes_outputs |= fnn_penalizes_outputs(op);
        fit->shares_weights |= fnn_is_trained(op) && op->next_call;
    }
    fit->has_moving_average = optimizer->use_average;
    fit->clips_norms = optimizer->clip_norm > 0 || optimizer->global_clip_norm > 0;
}

/* Operations of a step, padded rows included, for which another thread is worth a barrier before each op. */
#define MEETING_OPERATIONS 1e6

/* Steps of at least these sizes may store their gradients before the first weight is changed: an interruption while they are
 * computed, which is a third of the step, leaves the weights as they were. */
#define STORED_OPERATIONS 2e9
#define STORED_ROWS 512

/* Of a step, for its products. */
static double operations_of(const fnn_fit *fit) {
    return 3.0 * fit->network->operations * (double)fit->batch_size;
}

static void plan_threads(fnn_fit *fit) {
    const int most = fit->most_threads;
    const ptrdiff_t n_panels = fnn_ceil_div(fit->n_panels, fit->n_ranks);
    const double operations = operations_of(fit) / fit->n_ranks;
    const double padded = 3.0 * fit->network->operations * (double)(n_panels * fit->network->kernels->panel);
    fit->n_threads = fnn_threads_for(operations, n_panels, most);
    fit->worth_meeting = padded >= MEETING_OPERATIONS * (double)n_panels;
    if (fit->worth_meeting && n_panels < most)
        fit->n_threads = padded / MEETING_OPERATIONS < most ? 1 + (int)(padded / MEETING_OPERATIONS) : most;
    /* shorter than any product that is cut into pieces */
    fit->is_long = padded >= FNN_PIECE_OPERATIONS / 2;
    fit->may_store = fit->is_long && fit->network->optimizer.accumulate <= 1 &&
                     (fit->clips_norms || (operations >= STORED_OPERATIONS && fit->batch_size >= STORED_ROWS));
    fit->check_every = (ptrdiff_t)(1 + 2e6 / (operations + 1e3));
    fnn_trials_start(&fit->trials, fit->n_threads, operations);
}

/* ---- the buffers of a fit ---- */

static ptrdiff_t count_blocks(const fnn_network *network) {
    ptrdiff_t blocks = 0;
    for (int i = 0; i < network->n_ops; i++) blocks += fnn_blocks_of(&network->ops[i]);
    return blocks;
}

/* The most features of the gradients that a step computes. */
static ptrdiff_t widest_gradient(const fnn_fit *fit) {
    const fnn_network *network = fit->network;
    unsigned char reached[FNN_MOST_BUFFERS];
    ptrdiff_t widest = 0;
    fnn_find_gradients(fit, reached);
    for (int l = 0; l < fit->n_losses; l++)
        if (fit->losses[l].n_out > widest) widest = fit->losses[l].n_out;
    for (int b = 0; b < network->n_inputs + network->n_ops; b++)
        if (reached[b] && network->widths[b] > widest) widest = network->widths[b];
    return widest;
}

static void *take_if(int needed, fnn_arena *arena, size_t bytes) { return needed ? fnn_take(arena, bytes) : NULL; }

/* 1 where a step reads input b. */
static int uses_input(const fnn_fit *fit, int b) {
    const fnn_network *network = fit->network;
    int uses = 0;
    for (int i = 0; i < network->n_ops && !uses; i++)
        for (int j = 0; fit->parts[i] && j < network->ops[i].n_inputs; j++) uses |= network->ops[i].inputs[j] == b;
    for (int l = 0; l < fit->n_losses && !uses; l++) uses = fit->losses[l].buffer == b;
    for (int k = 0; k < fit->n_kept && !uses; k++) uses = fit->kept[k].buffer == b;
    return uses;
}

static void lay_out_buffer(const fnn_fit *fit, int buffer, op_buffers *b, fnn_arena *arena, fnn_arena *read) {
    const fnn_network *network = fit->network;
    const fnn_kernels *kernels = network->kernels;
    const ptrdiff_t element = (ptrdiff_t)network->element, rows = fit->n_panels * kernels->panel;
    const ptrdiff_t features = network->widths[buffer];
    const int i = fnn_op_of(network, buffer);
    if ((i < 0 && !uses_input(fit, buffer)) || (i >= 0 && !fnn_runs(fit, i))) return;
    b->stride = fnn_panel_stride(kernels, features + 1);
    b->Y = fnn_take(read, fnn_size(fit->n_panels, b->stride, element));
    if (i < 0) return;
    const fnn_op *op = &network->ops[i];
    const fnn_kind *kind = op->kind;
    const size_t bytes = fnn_size(rows, features, element);
    b->D = take_if(kind->keeps_derivative && kind->keeps_derivative(fnn_activation_of(fit, i)), read, bytes);
    if (kind->transposes) /* the outputs of each member one after another */
        b->dZt = fnn_take(read, fnn_size(rows, features / op->columns * fnn_round_up(op->columns, kernels->panel),
                                         element));
    b->saved = take_if(kind->saves, read, bytes);
    b->statistics = fnn_take(arena, kind->statistics ? fnn_size(kind->statistics(op, rows), sizeof(double), 1) : 0);
}

static void lay_out_loss(const fnn_fit *fit, fit_loss *loss, fnn_arena *arena) {
    const fnn_network *network = fit->network;
    const ptrdiff_t rows = fit->n_panels * network->kernels->panel;
    const size_t per_row = fnn_size(rows, sizeof(double), 1);
    loss->t_stride = loss->n_out * network->kernels->panel;
    loss->T = take_if(loss->targets.y.data != NULL, arena,
                      fnn_size(fit->n_panels, loss->t_stride, (ptrdiff_t)network->element));
    loss->values = fnn_take(arena, per_row);
    loss->labels = fnn_take(arena, per_row);
    loss->scale = fnn_take(arena, per_row);
    loss->batch_sums = take_if(loss->couples_rows, arena, fnn_size(rows, sizeof(double), 2));
}

/* The place of a fit, and of what is known before there is memory for it. */
typedef struct {
    fnn_fit *fit;
    fnn_matrix *X;
    fit_loss *losses;
    kept_output *kept;
    unsigned char *parts;
} fit_places;

/* Takes every part of a fit; from `read` what all ranks read of each other's rows. */
static fit_places lay_out(fnn_fit *fit, fnn_arena *arena, fnn_arena *read) {
    const fnn_network *network = fit->network;
    const ptrdiff_t element = (ptrdiff_t)network->element, rows = fit->n_panels * network->kernels->panel;
    const ptrdiff_t blocks = count_blocks(network);
    const int buffers = network->n_inputs + network->n_ops, n_losses = fit->n_losses;
    const fit_places places = {.fit = fnn_take(arena, sizeof(fnn_fit)),
                               .X = fnn_take(arena, sizeof(fnn_matrix) * (size_t)network->n_inputs),
                               .losses = fnn_take(arena, sizeof(fit_loss) * (size_t)n_losses),
                               .kept = fnn_take(arena, sizeof(kept_output) * (size_t)fit->n_kept),
                               .parts = fnn_take(arena, (size_t)network->n_ops)};
    fit->loss_sums = fnn_take(arena, sizeof(double) * (size_t)n_losses);
    fit->phases = fnn_take(arena, sizeof(phase_times) * (size_t)fit->n_threads);
    fit->buffers = fnn_take(arena, sizeof(op_buffers) * (size_t)buffers);
    fit->pointers = fnn_take(arena, sizeof(void *) * (size_t)(2 * network->n_uses + n_losses));
    fit->gradient_slots = fnn_take(arena, sizeof(void *) * (size_t)fit->n_gradients);
    for (int slot = 0; slot < fit->n_gradients; slot++) {
        void *gradient = fnn_take(arena, fnn_size(fit->n_panels, fit->dy_stride, element));
        if (fit->gradient_slots) fit->gradient_slots[slot] = gradient;
    }
    for (int l = 0; l < n_losses; l++) lay_out_loss(fit, &fit->losses[l], arena);
    fit->order = fnn_take(arena, fnn_size(fit->n, sizeof(int64_t), 1));
    fit->rates = fnn_take(arena, fnn_size(fit->n_steps, sizeof(double), FNN_CONSTANTS));
    fit->strips = fnn_take(arena, sizeof(fnn_strip) * (size_t)fit->n_strips);
    fit->first_strip = fnn_take(arena, sizeof(int) * (size_t)(fit->n_threads * fit->n_ranks + 1));
    fit->penalty_sums = take_if(fit->penalizes_weights, arena, fnn_size(blocks, sizeof(double), 2));
    fit->norm_sums = take_if(fit->clips_norms, read, fnn_size(blocks, sizeof(double), 1));
    fit->output_penalties = take_if(fit->penalizes_outputs, arena, fnn_size(rows, sizeof(double), 1));
    /* accumulated gradients live with the network, in a slot */
    const size_t all_weights = fnn_size(network->n_elements + network->kernels->panel, element, 1);
    fit->stored = fnn_sum_slot(network);
    const int stores = !fit->stored && (fit->clips_norms || fit->may_store);
    if (stores) fit->stored = fnn_take(arena, all_weights);
    fit->shared_sums = fit->stored;
    if (!stores && !fnn_sum_slot(network)) fit->shared_sums = take_if(fit->shares_weights, arena, all_weights);
    for (int b = 0; b < buffers; b++) {
        op_buffers counted;
        lay_out_buffer(fit, b, fit->buffers ? &fit->buffers[b] : &counted, arena, read);
    }
    return places;
}

/* Memory of a fit, part of it in common with other ranks where they can share it; 0 where there is none. */
static int allocate(fnn_fit *plan, const fnn_ranks *ranks, fnn_arena *arena, fnn_arena *read) {
    if (plan->n_ranks > 1 && ranks->n_exchanges) {
        fnn_take_common(plan, read);
        lay_out(plan, arena, read);
        if (read->used == SIZE_MAX) return 0;
        /* vectors may be read across the end of the last part */
        plan->common.bytes = read->used + 64;
        plan->common.block = read->block = ranks->share(ranks->context, plan->common.bytes);
        read->used = 0;
        if (read->block) {
            fnn_take_common(plan, read);
            return fnn_arena_allocate(arena);
        }
        *arena = (fnn_arena){0};
    }
    lay_out(plan, arena, arena);
    return fnn_arena_allocate(arena);
}

/* What is counted in ops, bytes and rows becomes a fit: its memory, and then what is in it. */
static fnn_fit *make_fit(fnn_fit *plan, const fnn_ranks *ranks) {
    const fnn_network *network = plan->network;
    fnn_arena arena = {0}, read = {0};
    if (!allocate(plan, ranks, &arena, &read)) return NULL;
    const fit_places at = lay_out(plan, &arena, read.block ? &read : &arena);
    memcpy(at.X, plan->X, sizeof(fnn_matrix) * (size_t)network->n_inputs);
    memcpy(at.losses, plan->losses, sizeof(fit_loss) * (size_t)plan->n_losses);
    memcpy(at.kept, plan->kept, sizeof(kept_output) * (size_t)plan->n_kept);
    memcpy(at.parts, plan->parts, (size_t)network->n_ops);
    fnn_fit *fit = at.fit;
    *fit = *plan;
    fit->X = at.X;
    fit->losses = at.losses;
    fit->kept = at.kept;
    fit->parts = at.parts;
    fnn_plan_strips(fit);
    if (!fnn_plan_gradients(fit)) {
        fnn_arena_free(fit);
        return NULL;
    }
    for (int factor = 0; factor < FNN_FIT_FACTORS; factor++) fnn_fit_set_factors(fit, (fnn_fit_factor)factor, NULL);
    ptrdiff_t blocks = 0;
    for (int b = 0; b < network->n_inputs + network->n_ops; b++) {
        op_buffers *buffers = &fit->buffers[b];
        const int i = fnn_op_of(network, b);
        buffers->first_block = blocks;
        if (i >= 0) blocks += fnn_blocks_of(&network->ops[i]);
        buffers->is_finished = i >= 0 && (fnn_is_row_activation(fnn_activation_of(fit, i)) ||
                                          fnn_penalizes_outputs(&network->ops[i]));
        /* one rank sets what all have in common; fnn_exchange_new waits for it */
        if (buffers->Y && (!read.block || !fit->rank))
            fnn_set_ones(network->kernels, buffers->Y, buffers->stride, network->widths[b], fit->n_panels);
    }
    fnn_prepare_ops(fit);
    return fit;
}

fnn_fit *fnn_fit_new(fnn_network *network, const fnn_fit_data *data) {
    const fnn_kernels *kernels = network->kernels;
    fit_loss losses[FNN_MOST_OUTPUTS];
    kept_output kept[FNN_MOST_OUTPUTS];
    unsigned char parts[FNN_MOST_OPS];
    fnn_matrix X[FNN_MOST_BUFFERS];
    memcpy(X, data->X, sizeof(fnn_matrix) * (size_t)network->n_inputs);
    fnn_fit plan = {.network = network, .X = X, .losses = losses, .kept = kept, .parts = parts,
                    .n_losses = network->n_losses, .rows = data->rows, .n = data->rows ? data->n_rows : X[0].rows,
                    .most_threads = data->n_threads, .n_ranks = 1};
    plan.batch_size = fnn_min(data->batch_size, plan.n);
    plan.n_steps = fnn_ceil_div(plan.n, plan.batch_size);
    plan.n_panels = fnn_ceil_div(plan.batch_size, kernels->panel);
    look_at_ops(&plan, data);
    if (data->ranks && operations_of(&plan) >= data->ranks->least_operations) {
        plan.n_ranks = data->ranks->n_ranks;
        plan.rank = data->ranks->rank;
    }
    plan_threads(&plan);
    plan.n_strips = fnn_plan_strips(&plan);
    if (!plan.n_strips) plan.n_ranks = 1, plan.rank = 0; /* nothing is trained */
    plan.dy_stride = fnn_panel_stride(kernels, widest_gradient(&plan) + 1);
    if (!fnn_plan_gradients(&plan)) return NULL;
    fnn_fit *fit = make_fit(&plan, data->ranks);
    if (fit && fit->n_ranks > 1 && !fnn_exchange_new(fit, data->ranks)) {
        fnn_fit_free(fit);
        return NULL;
    }
    return fit;
}

void fnn_fit_free(fnn_fit *fit) {
    if (fit && fit->exchange) fnn_leave_common(fit);
    if (fit && !fnn_exchange_is_over(fit)) return;
    if (fit && fit->exchange) fnn_exchange_free(fit);
    fnn_arena_free(fit);
}

ptrdiff_t fnn_fit_steps(const fnn_fit *fit) { return fit->n_steps; }
ptrdiff_t fnn_fit_step(const fnn_fit *fit) { return fit->step; }
int fnn_fit_is_divided(const fnn_fit *fit) { return fit->exchange != NULL; }
double fnn_fit_loss_sum(const fnn_fit *fit) { return fit->loss_sum; }
double fnn_fit_output_loss_sum(const fnn_fit *fit, int l) { return fit->loss_sums[l]; }
double fnn_fit_penalty_sum(const fnn_fit *fit) { return fit->penalty_sum; }

/* Numbers in fit->rows become numbers in X. */
static void number_rows(fnn_fit *fit) {
    for (ptrdiff_t i = 0; fit->rows && i < fit->n; i++) fit->order[i] = fit->rows[fit->order[i]];
}

void fnn_fit_set_order(fnn_fit *fit, const int64_t *order) {
    memcpy(fit->order, order, sizeof *order * (size_t)fit->n);
    number_rows(fit);
    fit->shuffled = 1;
    fit->drawn = 0;
}

void fnn_fit_begin(fnn_fit *fit, uint64_t seed, uint64_t epoch, int shuffle, const double *rates) {
    /* bit 63 keeps the stream of the order apart from the other streams of the seed */
    if (shuffle && !(fit->drawn && fit->seed == seed && fit->epoch == epoch)) {
        fnn_shuffle(fit->order, fit->n, seed, epoch | (uint64_t)1 << 63);
        number_rows(fit);
    }
    fit->drawn = shuffle && !fnn_interrupted();
    fit->seed = seed;
    fit->epoch = epoch;
    fit->shuffled = shuffle;
    fit->step = fit->first_step = 0;
    fit->loss_sum = fit->penalty_sum = 0;
    memset(fit->loss_sums, 0, sizeof(double) * (size_t)fit->n_losses);
    fit->first_iteration = fit->network->iterations;
    fnn_fit_set_rates(fit, rates);
}

void fnn_fit_skip(fnn_fit *fit, ptrdiff_t steps, const double *rates) {
    fit->step = fit->first_step = steps;
    fit->first_iteration -= steps;
    fnn_fit_set_rates(fit, rates);
}
