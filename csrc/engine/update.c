/* Phase 2 of a training step: gradients of the weights, what is done to them, the update rule, constraints; and the
 * penalties on weights, which phase 1 sums.
 *
 * Design:
 * a) Without norms of gradients and accumulation the rule runs on each tile right after its gradient. With them the
 *    gradients are stored, one more barrier follows where a norm is needed, and the rule runs on what was stored.
 * b) Kernel and bias of an op are separate variables with rules of their own; their units are apart where that matters.
 * c) Sums over weights are float64: each column of a block of FNN_BLOCK rows is one chain, its columns are added in a
 *    fixed tree, blocks in order. So they depend on neither threads nor the width of vectors. */

#include <math.h>
#include <string.h>

#include "fit.h"

#define SMALL 1e-7 /* Keras's epsilon beside the norms of constraints */

/* ---- sums over weights ---- */

static ptrdiff_t kernel_blocks(const fnn_op *op) { return (op->rows + FNN_BLOCK - 1) / FNN_BLOCK; }

ptrdiff_t fnn_blocks_of(const fnn_op *op) { return op->panels * (kernel_blocks(op) + 1); }

/* rows [k, ...) of weight panel q of an op, in an array laid out as the weights */
static void *rows_at(const fnn_network *network, const void *base, const fnn_op *op, ptrdiff_t q, ptrdiff_t k,
                     ptrdiff_t *width) {
    const fnn_kernels *kernels = network->kernels;
    *width = op->n_out - q * kernels->panel <= kernels->narrow ? kernels->narrow : kernels->panel;
    const ptrdiff_t at = op->weights + q * kernels->panel * (op->rows + 1) + k * *width;
    return (char *)(uintptr_t)base + at * (ptrdiff_t)network->element;
}

static double tree(double *columns, int panel, ptrdiff_t used) {
    for (ptrdiff_t j = used; j < panel; j++) columns[j] = 0.0;
    for (int half = panel / 2; half; half /= 2)
        for (int j = 0; j < half; j++) columns[j] += columns[j + half];
    return columns[0];
}

/* sum of |w| and of w^2 over rows [k, k + rows) of weight panel q */
static void sum_rows(const fnn_network *network, const void *base, const fnn_op *op, ptrdiff_t q, ptrdiff_t k,
                     ptrdiff_t rows, double sums[2]) {
    const int panel = network->kernels->panel;
    double columns[2 * FNN_MOST_LANES];
    ptrdiff_t width;
    const void *w = rows_at(network, base, op, q, k, &width);
    network->kernels->column_sums(columns, w, rows, width);
    sums[0] = tree(columns, panel, op->n_out - q * panel);
    sums[1] = tree(columns + panel, panel, op->n_out - q * panel);
}

/* block i of an op: its kernel's blocks of weight panel 0, its bias there, then panel 1 */
static void sum_block(const fnn_network *network, const void *base, const fnn_op *op, ptrdiff_t i, double sums[2]) {
    const ptrdiff_t blocks = kernel_blocks(op), q = i / (blocks + 1), j = i % (blocks + 1);
    const ptrdiff_t k = j == blocks ? op->rows : j * FNN_BLOCK, rest = op->rows - k;
    sum_rows(network, base, op, q, k, j == blocks ? 1 : rest < FNN_BLOCK ? rest : FNN_BLOCK, sums);
}

/* ---- penalties ---- */

static int is_penalized(const fnn_op *op) {
    const fnn_rules *r = op->rules;
    if (!fnn_is_trained(op)) return 0;
    return r[FNN_KERNEL].l1 != 0 || r[FNN_KERNEL].l2 != 0 || r[FNN_BIAS].l1 != 0 || r[FNN_BIAS].l2 != 0;
}

void fnn_sum_penalties(fnn_fit *fit, int thread, int n_threads) {
    const fnn_network *network = fit->network;
    for (int o = 0; o < network->n_ops; o++) {
        if (!is_penalized(&network->ops[o])) continue;
        ptrdiff_t first, last;
        fnn_share(fnn_blocks_of(&network->ops[o]), thread, n_threads, &first, &last);
        double *sums = fit->penalty_sums + 2 * fit->buffers[o + 1].first_block;
        for (ptrdiff_t i = first; i < last; i++) sum_block(network, network->weights, &network->ops[o], i, sums + 2 * i);
    }
}

/* of one op, from the sums of its blocks, or from its weights where `sums` is NULL */
static double op_penalty(const fnn_network *network, const fnn_op *op, const double *sums) {
    const ptrdiff_t blocks = kernel_blocks(op), count = fnn_blocks_of(op);
    double total[2][2] = {{0, 0}, {0, 0}};
    for (ptrdiff_t i = 0; i < count; i++) {
        double block[2];
        if (sums)
            memcpy(block, sums + 2 * i, sizeof block);
        else
            sum_block(network, network->weights, op, i, block);
        const int part = i % (blocks + 1) == blocks ? FNN_BIAS : FNN_KERNEL;
        total[part][0] += block[0];
        total[part][1] += block[1];
    }
    double penalty = 0;
    for (int part = 0; part < 2; part++)
        penalty += op->rules[part].l1 * total[part][0] + op->rules[part].l2 * total[part][1];
    return penalty;
}

double fnn_penalty(const fnn_fit *fit) {
    double penalty = 0;
    for (int o = 0; o < fit->network->n_ops; o++)
        if (is_penalized(&fit->network->ops[o]))
            penalty += op_penalty(fit->network, &fit->network->ops[o], fit->penalty_sums + 2 * fit->buffers[o + 1].first_block);
    return penalty;
}

double fnn_network_penalty(const fnn_network *network) {
    double penalty = 0;
    for (int o = 0; o < network->n_ops; o++)
        if (is_penalized(&network->ops[o])) penalty += op_penalty(network, &network->ops[o], NULL);
    return penalty;
}

/* ---- the update of one unit ---- */

/* the rule with the constants of a step */
static fnn_update rule_of(const fnn_fit *fit, ptrdiff_t step) {
    fnn_update u = fit->network->optimizer.update;
    u.decay *= fit->rates[FNN_RAW * fit->n_steps + step];
    u.rate = fit->rates[step];
    u.rate_2 = fit->rates[FNN_RATE_2 * fit->n_steps + step];
    u.correction = fit->rates[FNN_CORRECTION * fit->n_steps + step];
    u.prepare = u.clip > 0;
    return u;
}

static const fnn_rules *rules_of(const fnn_network *network, const unit *u) {
    const fnn_op *op = &network->ops[u->op];
    return &op->rules[u->k0 == op->rows ? FNN_BIAS : FNN_KERNEL];
}

/* a rule as it is for one unit; penalty_scale: of its penalties */
static fnn_update unit_rule(const fnn_network *network, const unit *u, const fnn_update *rule, double penalty_scale) {
    const fnn_rules *r = rules_of(network, u);
    fnn_update own = *rule;
    own.l1 = r->l1 * penalty_scale;
    own.l2 = r->l2 * penalty_scale;
    if (r->no_decay) own.decay = 0;
    own.prepare = own.l1 != 0 || own.l2 != 0 || own.clip > 0;
    return own;
}

static void *unit_at(const fnn_network *network, const void *base, const unit *u, ptrdiff_t *elements) {
    ptrdiff_t width;
    void *at = rows_at(network, base, &network->ops[u->op], u->q, u->k0, &width);
    *elements = (u->k1 - u->k0) * width;
    return at;
}

/* the moving average and the sign of weights that were updated */
static void after_update(fnn_fit *fit, const batch *b, const unit *u) {
    const fnn_network *network = fit->network;
    const fnn_optimizer *optimizer = &network->optimizer;
    ptrdiff_t n;
    void *W = unit_at(network, network->weights, u, &n);
    if (optimizer->use_average) {
        const int64_t updates = (fit->first_iteration + b->step) / optimizer->accumulate;
        void *A = unit_at(network, fnn_average_slot(network), u, &n);
        network->kernels->average(A, W, n, updates ? optimizer->average_momentum : 0.0);
        if (optimizer->overwrite_every && (updates + 1) % optimizer->overwrite_every == 0)
            memcpy(W, A, (size_t)n * network->element);
    }
    if (fit->special && rules_of(network, u)->constraint == FNN_NON_NEGATIVE)
        network->kernels->activate(W, NULL, W, n, FNN_RELU, NULL);
}

/* the rule on stored gradients; scale: of the gradient */
static void apply_unit(fnn_fit *fit, const unit *u, const fnn_update *rule, double scale) {
    const fnn_network *network = fit->network;
    fnn_update own = unit_rule(network, u, rule, 1.0);
    own.l1 = own.l2 = 0;
    own.scale = scale;
    own.prepare = 1;
    void *slots[3];
    ptrdiff_t n;
    for (int s = 0; s < 3; s++) slots[s] = network->slots[s] ? unit_at(network, network->slots[s], u, &n) : NULL;
    void *G = unit_at(network, fit->stored, u, &n);
    network->kernels->update(unit_at(network, network->weights, u, &n), slots[0], slots[1], slots[2], G, n, &own);
    if (network->optimizer.accumulate > 1) memset(G, 0, (size_t)n * network->element);
}

/* ---- norms of gradients ---- */

static void sum_unit_squares(fnn_fit *fit, const unit *u) {
    const fnn_op *op = &fit->network->ops[u->op];
    const ptrdiff_t blocks = kernel_blocks(op), first = u->q * (blocks + 1);
    double sums[2], *out = fit->norm_sums + fit->buffers[u->op + 1].first_block;
    ptrdiff_t i0 = u->k0 / FNN_BLOCK, i1 = (u->k1 + FNN_BLOCK - 1) / FNN_BLOCK;
    if (u->k0 == op->rows) i0 = blocks, i1 = blocks + 1;
    for (ptrdiff_t i = i0; i < i1; i++) {
        sum_block(fit->network, fit->stored, op, first + i, sums);
        out[first + i] = sums[1];
    }
}

static double gradient_squares(const fnn_fit *fit, int o, int part) {
    const fnn_op *op = &fit->network->ops[o];
    const ptrdiff_t blocks = kernel_blocks(op), count = fnn_blocks_of(op);
    const double *sums = fit->norm_sums + fit->buffers[o + 1].first_block;
    double total = 0;
    for (ptrdiff_t i = 0; i < count; i++)
        if ((i % (blocks + 1) == blocks) == (part == FNN_BIAS)) total += sums[i];
    return total;
}

/* bound / max(norm, bound), NaN where the norm is not finite */
static double clip_factor(double squares, double mean, double bound) {
    const double norm = sqrt(squares) * mean;
    return bound / (norm > bound ? norm : bound) + (norm - norm);
}

static int is_trained(const fnn_fit *fit, int o) {
    const fnn_op *op = &fit->network->ops[o];
    return fnn_is_trained(op) && o >= fit->first_dense && o < fit->trained_ops;
}

/* ---- constraints ---- */

static double norm_factor(const fnn_rules *r, double squares) {
    const double norm = sqrt(squares);
    return (r->constraint == FNN_UNIT_NORM ? 1.0 : norm > r->bound ? r->bound : norm) / (SMALL + norm);
}

static void scale_rows(const fnn_network *network, const fnn_op *op, ptrdiff_t q, ptrdiff_t k, ptrdiff_t rows, double factor) {
    double factors[FNN_MOST_LANES];
    ptrdiff_t width;
    for (int j = 0; j < network->kernels->panel; j++) factors[j] = factor;
    void *w = rows_at(network, network->weights, op, q, k, &width);
    network->kernels->scale_columns(w, rows, width, factors);
}

/* one norm over rows [k, k + rows) of all weight panels */
static void constrain_rows(const fnn_network *network, const fnn_op *op, const fnn_rules *r, ptrdiff_t k, ptrdiff_t rows) {
    double squares = 0, sums[2];
    for (ptrdiff_t q = 0; q < op->panels; q++) {
        sum_rows(network, network->weights, op, q, k, rows, sums);
        squares += sums[1];
    }
    const double factor = norm_factor(r, squares);
    for (ptrdiff_t q = 0; q < op->panels; q++) scale_rows(network, op, q, k, rows, factor);
}

static void constrain_columns(const fnn_network *network, const fnn_op *op, const fnn_rules *r, ptrdiff_t q) {
    const int panel = network->kernels->panel;
    double columns[2 * FNN_MOST_LANES], factors[FNN_MOST_LANES];
    ptrdiff_t width;
    void *w = rows_at(network, network->weights, op, q, 0, &width);
    network->kernels->column_sums(columns, w, op->rows, width);
    for (int j = 0; j < panel; j++) factors[j] = j < op->n_out - q * panel ? norm_factor(r, columns[panel + j]) : 1.0;
    network->kernels->scale_columns(w, op->rows, width, factors);
}

static int has_norm_constraint(const fnn_rules *r) {
    return r->constraint == FNN_MAX_NORM || r->constraint == FNN_UNIT_NORM;
}

static void constrain(fnn_fit *fit, int thread, int n_threads) {
    const fnn_network *network = fit->network;
    for (int o = 0; o < network->n_ops; o++) {
        const fnn_op *op = &network->ops[o];
        const fnn_rules *kernel = &op->rules[FNN_KERNEL], *bias = &op->rules[FNN_BIAS];
        if (!is_trained(fit, o)) continue;
        ptrdiff_t first, last;
        /* gamma and alpha are vectors, of one norm */
        const int axis = op->kind == FNN_OP_DENSE ? kernel->axis : FNN_OVER_ALL;
        if (has_norm_constraint(kernel) && axis == FNN_OVER_INPUTS) {
            fnn_share(op->panels, thread, n_threads, &first, &last);
            for (ptrdiff_t q = first; q < last; q++) constrain_columns(network, op, kernel, q);
        } else if (has_norm_constraint(kernel) && axis == FNN_OVER_OUTPUTS) {
            fnn_share(op->rows, thread, n_threads, &first, &last);
            for (ptrdiff_t k = first; k < last; k++) constrain_rows(network, op, kernel, k, 1);
        } else if (has_norm_constraint(kernel) && o % n_threads == thread) {
            constrain_rows(network, op, kernel, 0, op->rows);
        }
        if (op->use_bias && has_norm_constraint(bias) && o % n_threads == thread)
            constrain_rows(network, op, bias, op->rows, 1);
    }
}

/* ---- the phase ---- */

static void apply_units(fnn_fit *fit, const batch *b, ptrdiff_t first, ptrdiff_t last) {
    const fnn_optimizer *optimizer = &fit->network->optimizer;
    const fnn_update rule = rule_of(fit, b->step);
    const double mean = 1.0 / (double)optimizer->accumulate;
    double factors[2] = {1.0, 1.0};
    if (optimizer->global_clip_norm > 0) {
        double squares = 0;
        for (int o = 0; o < fit->network->n_ops; o++)
            if (is_trained(fit, o)) {
                squares += gradient_squares(fit, o, FNN_KERNEL);
                if (fit->network->ops[o].use_bias) squares += gradient_squares(fit, o, FNN_BIAS);
            }
        factors[FNN_KERNEL] = factors[FNN_BIAS] = clip_factor(squares, mean, optimizer->global_clip_norm);
    }
    int at = -1;
    for (ptrdiff_t i = first; i < last; i++) {
        const unit *u = &fit->units[i];
        if (optimizer->clip_norm > 0 && u->op != at)
            for (int part = 0; part < 2; part++)
                factors[part] = clip_factor(gradient_squares(fit, u->op, part), mean, optimizer->clip_norm);
        at = u->op;
        apply_unit(fit, u, &rule, mean * factors[u->k0 == fit->network->ops[u->op].rows ? FNN_BIAS : FNN_KERNEL]);
        after_update(fit, b, u);
    }
}

/* a unit of two rows: its gradient, then the rule */
static void update_layer(fnn_fit *fit, const batch *b, const unit *u, void *stored, const fnn_update *rule) {
    const fnn_network *network = fit->network;
    _Alignas(64) char G[2 * FNN_MOST_LANES * sizeof(double)];
    void *slots[3];
    ptrdiff_t n;
    for (int s = 0; s < 3; s++) slots[s] = network->slots[s] ? unit_at(network, network->slots[s], u, &n) : NULL;
    void *W = unit_at(network, network->weights, u, &n);
    if (stored) slots[0] = unit_at(network, stored, u, &n);
    fnn_layer_gradient(fit, b, u, G);
    network->kernels->update(W, slots[0], slots[1], slots[2], fnn_at(fit, G, u->k0 * n / (u->k1 - u->k0)), n, rule);
}

/* Bytes of dZ that stay in the second-level cache while the inputs pass by. */
#define CACHED_GRADIENTS 131072

/* Units from i on that are updated together: the same rows of weight panels side by side, from the same inputs. */
static ptrdiff_t units_together(const fnn_fit *fit, const batch *b, ptrdiff_t i, ptrdiff_t last) {
    const unit *u = &fit->units[i];
    const ptrdiff_t panel_bytes = b->padded * fit->network->kernels->panel * (ptrdiff_t)fit->network->element;
    ptrdiff_t count = 1;
    while (i + count < last && (count + 1) * panel_bytes <= CACHED_GRADIENTS && u[count].op == u->op &&
           u[count].k0 == u->k0 && u[count].k1 == u->k1)
        count++;
    return count;
}

void fnn_update_weights(fnn_fit *fit, const batch *b, int thread, int n_threads) {
    const fnn_network *network = fit->network;
    const fnn_kernels *kernels = network->kernels;
    const int64_t accumulate = network->optimizer.accumulate;
    const int unfused = fit->stored && !fit->gradients;
    const int due = !fit->gradients && (accumulate <= 1 || (fit->first_iteration + b->step + 1) % accumulate == 0);
    fnn_update update = rule_of(fit, b->step);
    void *stored = fit->gradients ? fit->gradients : fit->stored;
    if (stored) update = (fnn_update){.kind = unfused && accumulate > 1 ? FNN_ACCUMULATE : FNN_STORE, .scale = 1.0};
    if (fit->moving && !fit->gradients) fnn_move_statistics(fit, thread, n_threads);
    ptrdiff_t first, last;
    if (n_threads == fit->n_threads) {
        first = fit->unit_start[thread];
        last = fit->unit_start[thread + 1];
    } else {
        fnn_share(fit->n_units, thread, n_threads, &first, &last);
    }
    for (ptrdiff_t i = first, count; i < last; i += count) {
        const unit *u = &fit->units[i];
        const fnn_op *op = &network->ops[u->op];
        count = op->kind == FNN_OP_DENSE ? units_together(fit, b, i, last) : 1;
        void *slots[3];
        for (int s = 0; s < 3; s++) slots[s] = network->slots[s] ? fnn_at(fit, network->slots[s], op->weights) : NULL;
        if (stored) slots[0] = fnn_at(fit, stored, op->weights);
        fnn_update own;
        if (fit->special) own = unit_rule(network, u, &update, fnn_penalty_scale(fit, b));
        if (op->kind != FNN_OP_DENSE)
            update_layer(fit, b, u, stored, fit->special ? &own : &update);
        else
            kernels->dense_update(fnn_at(fit, network->weights, op->weights), slots[0], slots[1], slots[2],
                              fit->buffers[u->op].Y, fit->buffers[u->op + 1].dZt, op->n_in, op->n_out,
                              fit->buffers[u->op].stride, b->padded, u->q, u->q + count, u->k0, u->k1, fit->special ? &own : &update);
        for (ptrdiff_t j = 0; j < count; j++) {
            if (unfused && due && fit->norms) sum_unit_squares(fit, &u[j]);
            if (fit->followed && !fit->gradients && !(unfused && due)) after_update(fit, b, &u[j]);
        }
    }
    if (fit->gradients) return;
    if (unfused && due) {
        if (fit->norms) fnn_barrier_wait(&fit->barrier);
        apply_units(fit, b, first, last);
    }
    if (fit->constrained) {
        fnn_barrier_wait(&fit->barrier);
        constrain(fit, thread, n_threads);
    }
}

int fnn_has_rules(const fnn_op *op) {
    if (!fnn_is_trained(op)) return 0;
    for (int part = 0; part < 2; part++)
        if (op->rules[part].no_decay || op->rules[part].constraint) return 1;
    return is_penalized(op);
}

int fnn_has_norm_constraint(const fnn_op *op) {
    if (!fnn_is_trained(op)) return 0;
    return has_norm_constraint(&op->rules[FNN_KERNEL]) || (op->use_bias && has_norm_constraint(&op->rules[FNN_BIAS]));
}

int fnn_has_penalty(const fnn_op *op) { return is_penalized(op); }
