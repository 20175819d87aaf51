/* Sums over weights and over their gradients: penalties, norms of gradients, and constraints that scale by a norm.
 *
 * Design: sums are float64: each column of a block of FNN_BLOCK rows is one chain, its columns are added in a fixed tree,
 * blocks in order. So they depend on neither threads nor the width of vectors. */

#include <math.h>

#include "kind.h"

#define SMALL 1e-7 /* Keras's epsilon, added to the norms of constraints */

/* ---- sums over weights ---- */

static ptrdiff_t kernel_blocks(const fnn_op *op) { return fnn_ceil_div(op->rows, FNN_BLOCK); }

ptrdiff_t fnn_blocks_of(const fnn_op *op) { return op->rows ? op->panels * (kernel_blocks(op) + 1) : 0; }

/* A block of an op: number j of weight panel q. The last one of a panel is its bias. */
typedef struct {
    ptrdiff_t blocks; /* of the kernel in a panel */
    ptrdiff_t q, j;
} block_place;

/* Blocks in order: the kernel's of weight panel 0, its bias there, then panel 1, ... */
static block_place place_of(const fnn_op *op, ptrdiff_t i) {
    const ptrdiff_t blocks = kernel_blocks(op);
    return (block_place){blocks, i / (blocks + 1), i % (blocks + 1)};
}

static void to_next_block(block_place *at) {
    if (at->j++ < at->blocks) return;
    at->j = 0;
    at->q++;
}

static int parameter_at(const block_place *at) { return at->j == at->blocks ? FNN_BIAS : FNN_KERNEL; }

/* Sum of |w| or of w^2 over rows [k, k + rows) of weight panel q. */
static double sum_rows(const fnn_network *network, const void *base, const fnn_op *op, ptrdiff_t q, ptrdiff_t k,
                       ptrdiff_t rows, int squares) {
    ptrdiff_t width;
    const void *w = fnn_rows_at(network, base, op, q, k, &width);
    return network->kernels->block_sum(w, rows, width, op->columns - q * network->kernels->panel, squares);
}

static double sum_block(const fnn_network *network, const void *base, const fnn_op *op, const block_place *at, int squares) {
    if (at->j == at->blocks) return sum_rows(network, base, op, at->q, op->rows, 1, squares);
    const ptrdiff_t k = at->j * FNN_BLOCK;
    return sum_rows(network, base, op, at->q, k, fnn_min(op->rows - k, FNN_BLOCK), squares);
}

/* ---- penalties ---- */

static int is_penalized(const fnn_op *op, int parameter) {
    return op->rules[parameter].l1 != 0 || op->rules[parameter].l2 != 0;
}

int fnn_has_penalty(const fnn_op *op) {
    return fnn_is_trained(op) && (is_penalized(op, FNN_KERNEL) || is_penalized(op, FNN_BIAS));
}

/* The sums that the penalty on a block needs; the others stay as they are. */
static void sum_penalized(const fnn_network *network, const fnn_op *op, const block_place *at, double sums[2]) {
    const fnn_rules *r = &op->rules[parameter_at(at)];
    if (r->l1 != 0) sums[0] = sum_block(network, network->weights, op, at, 0);
    if (r->l2 != 0) sums[1] = sum_block(network, network->weights, op, at, 1);
}

void fnn_sum_penalties(const fnn_step *s) {
    const fnn_network *network = s->fit->network;
    for (int o = 0; o < network->n_ops; o++) {
        const fnn_op *op = &network->ops[o];
        if (!fnn_has_penalty(op)) continue;
        const fnn_range share = fnn_share(fnn_blocks_of(op), s->thread, s->n_threads);
        double *sums = s->fit->penalty_sums + 2 * fnn_buffers_of(s->fit, o)->first_block;
        block_place at = place_of(op, share.first);
        for (ptrdiff_t i = share.first; i < share.last; i++, to_next_block(&at))
            sum_penalized(network, op, &at, sums + 2 * i);
    }
}

/* Of one op, from the sums of its blocks, or from its weights where `sums` is NULL. */
static double op_penalty(const fnn_network *network, const fnn_op *op, const double *sums) {
    double total[FNN_PARAMETERS][2] = {{0, 0}, {0, 0}}, penalty = 0;
    const ptrdiff_t n = fnn_blocks_of(op);
    block_place at = place_of(op, 0);
    for (ptrdiff_t i = 0; i < n; i++, to_next_block(&at)) {
        const fnn_rules *r = &op->rules[parameter_at(&at)];
        double own[2] = {0, 0}, *sum = total[parameter_at(&at)];
        const double *block = sums ? sums + 2 * i : own;
        if (!sums) sum_penalized(network, op, &at, own);
        if (r->l1 != 0) sum[0] += block[0];
        if (r->l2 != 0) sum[1] += block[1];
    }
    for (int parameter = 0; parameter < FNN_PARAMETERS; parameter++)
        penalty += op->rules[parameter].l1 * total[parameter][0] + op->rules[parameter].l2 * total[parameter][1];
    return penalty;
}

double fnn_penalty(const fnn_fit *fit) {
    const fnn_network *network = fit->network;
    double penalty = 0;
    for (int o = 0; o < network->n_ops; o++)
        if (fnn_has_penalty(&network->ops[o]))
            penalty += op_penalty(network, &network->ops[o], fit->penalty_sums + 2 * fnn_buffers_of(fit, o)->first_block);
    return penalty;
}

double fnn_network_penalty(const fnn_network *network) {
    double penalty = 0;
    for (int o = 0; o < network->n_ops; o++)
        if (fnn_has_penalty(&network->ops[o])) penalty += op_penalty(network, &network->ops[o], NULL);
    return penalty;
}

/* ---- norms of gradients ---- */

void fnn_sum_strip_squares(const fnn_step *s, const fnn_strip *strip) {
    const fnn_fit *fit = s->fit;
    const fnn_op *op = &fit->network->ops[strip->op];
    const ptrdiff_t blocks = kernel_blocks(op);
    double *out = fit->norm_sums + fnn_buffers_of(fit, strip->op)->first_block + strip->q * (blocks + 1);
    fnn_range mine = {strip->rows.first / FNN_BLOCK, fnn_ceil_div(strip->rows.last, FNN_BLOCK)};
    if (fnn_parameter_of(fit->network, strip) == FNN_BIAS) mine = (fnn_range){blocks, blocks + 1};
    for (block_place at = {blocks, strip->q, mine.first}; at.j < mine.last; at.j++)
        out[at.j] = sum_block(fit->network, fit->stored, op, &at, 1);
}

double fnn_gradient_squares(const fnn_fit *fit, int o, int parameter) {
    const fnn_op *op = &fit->network->ops[o];
    const double *sums = fit->norm_sums + fnn_buffers_of(fit, o)->first_block;
    const ptrdiff_t n = fnn_blocks_of(op);
    double total = 0;
    block_place at = place_of(op, 0);
    for (ptrdiff_t i = 0; i < n; i++, to_next_block(&at))
        if (parameter_at(&at) == parameter) total += sums[i];
    return total;
}

/* bound / max(norm, bound), NaN where the norm is not finite */
double fnn_clip_factor(double squares, double mean, double bound) {
    const double norm = sqrt(squares) * mean;
    return bound / (norm > bound ? norm : bound) + (norm - norm);
}

/* ---- constraints ---- */

static double norm_factor(const fnn_rules *r, double squares) {
    const double norm = sqrt(squares);
    return (r->constraint == FNN_UNIT_NORM ? 1.0 : norm > r->bound ? r->bound : norm) / (SMALL + norm);
}

static void scale_rows(const fnn_network *network, const fnn_op *op, ptrdiff_t q, ptrdiff_t k, ptrdiff_t rows,
                       double factor) {
    double factors[FNN_MOST_LANES];
    ptrdiff_t width;
    for (int j = 0; j < network->kernels->panel; j++) factors[j] = factor;
    void *w = fnn_rows_at(network, network->weights, op, q, k, &width);
    network->kernels->scale_columns(w, rows, width, factors);
}

/* One norm over rows [k, k + rows) of all weight panels. */
static void constrain_rows(const fnn_network *network, const fnn_op *op, const fnn_rules *r, ptrdiff_t k, ptrdiff_t rows) {
    double squares = 0;
    for (ptrdiff_t q = 0; q < op->panels; q++) squares += sum_rows(network, network->weights, op, q, k, rows, 1);
    const double factor = norm_factor(r, squares);
    for (ptrdiff_t q = 0; q < op->panels; q++) scale_rows(network, op, q, k, rows, factor);
}

static void constrain_columns(const fnn_network *network, const fnn_op *op, const fnn_rules *r, ptrdiff_t q) {
    const int panel = network->kernels->panel;
    double columns[FNN_MOST_LANES], factors[FNN_MOST_LANES];
    ptrdiff_t width;
    void *w = fnn_rows_at(network, network->weights, op, q, 0, &width);
    network->kernels->column_squares(columns, w, op->rows, width);
    for (int j = 0; j < panel; j++) factors[j] = j < op->columns - q * panel ? norm_factor(r, columns[j]) : 1.0;
    network->kernels->scale_columns(w, op->rows, width, factors);
}

static int constrains_norm(const fnn_rules *r) { return r->constraint == FNN_MAX_NORM || r->constraint == FNN_UNIT_NORM; }

void fnn_constrain(const fnn_step *s) {
    const fnn_network *network = s->fit->network;
    for (int o = 0; o < network->n_ops; o++) {
        const fnn_op *op = &network->ops[o];
        const fnn_rules *kernel = &op->rules[FNN_KERNEL], *bias = &op->rules[FNN_BIAS];
        if (!fnn_fit_trains(s->fit, o)) continue;
        /* a vector, such as gamma, has one norm */
        const int is_matrix = op->kind->is_product || op->kind->is_table;
        const int axis = is_matrix ? kernel->axis : FNN_OVER_ALL, mine = o % s->n_threads == s->thread;
        if (constrains_norm(kernel) && axis == FNN_OVER_INPUTS) {
            const fnn_range share = fnn_share(op->panels, s->thread, s->n_threads);
            for (ptrdiff_t q = share.first; q < share.last; q++) constrain_columns(network, op, kernel, q);
        } else if (constrains_norm(kernel) && axis == FNN_OVER_OUTPUTS) {
            const fnn_range share = fnn_share(op->rows, s->thread, s->n_threads);
            for (ptrdiff_t k = share.first; k < share.last; k++) constrain_rows(network, op, kernel, k, 1);
        } else if (constrains_norm(kernel) && mine) {
            constrain_rows(network, op, kernel, 0, op->rows);
        }
        if (op->use_bias && constrains_norm(bias) && mine) constrain_rows(network, op, bias, op->rows, 1);
    }
}

int fnn_has_norm_constraint(const fnn_op *op) {
    if (!fnn_is_trained(op)) return 0;
    return constrains_norm(&op->rules[FNN_KERNEL]) || (op->use_bias && constrains_norm(&op->rules[FNN_BIAS]));
}
