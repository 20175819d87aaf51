/* A step that is divided between ranks.
 *
 * Design:
 * a) A rank is to the others what a thread is to its team. In phase 1 it works on its panels of the batch; then the ranks
 *    exchange what the gradients of weights read: inputs and gradients of products, and the terms that other layers keep.
 *    In phase 2 a rank updates its share of the weights; then the ranks exchange the weights. Every number is computed by
 *    one rank, in the order in which one process computes it: the bits are the same for any number of ranks.
 * b) The rows of a layer begin to travel when all threads have passed its backward pass, while they work on the layers
 *    before it. Small layers travel together.
 * c) Where that is less than the rows, the sums of chunks of the batch travel instead: ranks get whole chunks, and the rank
 *    that updates a weight adds its sums in the order of the chunks. The sums of a layer travel while those of the layers
 *    before it are computed.
 * d) The moments of a weight live with the rank that updates it. They are exchanged where a call ends at the step that the
 *    caller has asked for, so that what is read between calls is whole on every rank.
 * e) What is exchanged lies panel by panel: the part of each rank is contiguous.
 * f) Ranks of one machine have rows and weights in common memory (common_memory.c): nothing of them travels. */

#include <string.h>

#include "exchange.h"

/* ---- the panels of a rank ---- */

fnn_range fnn_rank_panels(const fnn_fit *fit, ptrdiff_t n_panels, int rank) {
    if (!fnn_plan_of(fit, n_panels)->deals_chunks) return fnn_share(n_panels, rank, fit->n_ranks);
    const fnn_range chunks = fnn_chunks_of(fit, n_panels, rank);
    const ptrdiff_t each = fnn_panels_of_chunk(fit);
    return (fnn_range){fnn_min(chunks.first * each, n_panels), fnn_min(chunks.last * each, n_panels)};
}

/* ---- the messages of rows ---- */

/* A contiguous part of at least so many bytes is exchanged where it is; others are copied into a message, which is closed
 * when it has so many bytes: it takes ten times as long as the latency of an exchange. */
#define OWN_MESSAGE 65536
#define COPIED_MESSAGE 524288

/* Several ops may read the same inputs: they travel once. */
static void add_part(batch_plan *plan, row_part part) {
    for (int i = 0; i < plan->n_parts; i++)
        if (plan->parts[i].base == part.base) return;
    plan->parts[plan->n_parts++] = part;
}

static void add_panels(batch_plan *plan, void *base, ptrdiff_t bytes) {
    add_part(plan, (row_part){base, bytes, 1, 0, 1, 0});
}

static void add_transposed(const fnn_fit *fit, batch_plan *plan, const fnn_op *op, void *dZt) {
    const fnn_kernels *kernels = fit->network->kernels;
    const ptrdiff_t element = (ptrdiff_t)fit->network->element, panel = kernels->panel, padded = plan->n_panels * panel;
    const ptrdiff_t whole = op->columns / panel, last = fnn_panel_width(panel, kernels->narrow, op->columns, whole);
    const ptrdiff_t gap = panel * padded * element, members = op->n_out / op->columns, member_gap = op->panels * gap;
    if (whole) add_part(plan, (row_part){dZt, panel * panel * element, whole, gap, members, member_gap});
    if (op->columns % panel)
        add_part(plan, (row_part){(char *)dZt + whole * gap, last * panel * element, 1, 0, members, member_gap});
}

/* What the gradient of the weights of op i reads. */
static void add_gradient_parts(const fnn_fit *fit, batch_plan *plan, int i) {
    const fnn_network *network = fit->network;
    const fnn_op *op = &network->ops[i];
    const op_buffers *in = &fit->buffers[op->inputs[0]], *out = fnn_buffers_of(fit, i);
    const ptrdiff_t element = (ptrdiff_t)network->element, width = op->n_out * network->kernels->panel * element;
    if (op->kind->is_product || op->kind->is_table || op->kind->reads_inputs) add_panels(plan, in->Y, in->stride * element);
    if (out->saved) add_panels(plan, out->saved, width);
    if (out->saved && out->D) add_panels(plan, out->D, width);
    if (out->dZt) add_transposed(fit, plan, op, out->dZt);
}

static void add_outputs(const fnn_fit *fit, batch_plan *plan, int buffer) {
    const op_buffers *out = &fit->buffers[buffer];
    if (!fit->common.block) add_panels(plan, out->Y, out->stride * (ptrdiff_t)fit->network->element);
}

/* Losses, outputs that become predictions, and penalties on outputs. */
static void add_losses(const fnn_fit *fit, batch_plan *plan) {
    const ptrdiff_t numbers = fit->network->kernels->panel * (ptrdiff_t)sizeof(double);
    for (int l = 0; l < fit->n_losses; l++) {
        add_panels(plan, fit->losses[l].values, numbers);
        add_panels(plan, fit->losses[l].scale, numbers);
        if (fit->losses[l].predictions) add_outputs(fit, plan, fit->losses[l].buffer);
    }
    for (int k = 0; k < fit->n_kept; k++) add_outputs(fit, plan, fit->kept[k].buffer);
    if (fit->penalizes_outputs) add_panels(plan, fit->output_penalties, numbers);
}

static ptrdiff_t panel_bytes(const row_part *part) { return part->bytes * part->count * part->members; }

static int has_own_message(const row_part *part, ptrdiff_t n_panels) {
    return part->count == 1 && part->members == 1 && part->bytes * n_panels >= OWN_MESSAGE;
}

/* Messages of the parts from `first` on, which are complete once op has been passed: those of their own, and one message of
 * all others. Parts that are exchanged where they are come first. */
static void close_message(batch_plan *plan, int first, int op, int must_close) {
    int copied = first;
    for (int i = first; i < plan->n_parts; i++) {
        const row_part part = plan->parts[i];
        if (!has_own_message(&part, plan->n_panels)) continue;
        plan->parts[i] = plan->parts[copied];
        plan->parts[copied] = part;
        plan->rows[plan->n_rows++] = (row_message){copied, copied + 1, op, part.bytes, -1};
        copied++;
    }
    row_message rest = {copied, plan->n_parts, op, 0, plan->bytes};
    for (int i = copied; i < plan->n_parts; i++) rest.bytes += panel_bytes(&plan->parts[i]);
    if (!must_close && rest.bytes * plan->n_panels < COPIED_MESSAGE) return;
    plan->bytes += rest.bytes * plan->n_panels;
    plan->rows[plan->n_rows++] = rest;
}

/* In the order of the backward pass. */
static void list_rows(const fnn_fit *fit, batch_plan *plan) {
    plan->n_parts = plan->n_rows = 0;
    plan->bytes = 0;
    for (int i = fit->network->n_ops - 1; i >= 0; i--) {
        if (plan->sums_of[i] >= 0 || !fnn_exchanges(fit, i)) continue;
        const int first = plan->n_rows ? plan->rows[plan->n_rows - 1].last : 0;
        add_gradient_parts(fit, plan, i);
        close_message(plan, first, i, 0);
    }
    add_losses(fit, plan);
    close_message(plan, plan->n_rows ? plan->rows[plan->n_rows - 1].last : 0, 0, 1);
    plan->bytes += fit->n_ranks; /* of the last message: a byte of each rank */
}

/* ---- the shares of ranks ---- */

/* Where the weights of the first strip of each rank begin, and their sums. */
static void mark_shares(const fnn_fit *fit, fnn_exchange *e) {
    const fnn_network *network = fit->network;
    for (int r = 0; r <= fit->n_ranks; r++) {
        const int i = fit->first_strip[r * fit->n_threads];
        const fnn_strip *strip = &fit->strips[i < fit->n_strips ? i : fit->n_strips - 1];
        const fnn_op *op = &network->ops[strip->op];
        const ptrdiff_t k = i < fit->n_strips ? strip->rows.first : strip->rows.last;
        const ptrdiff_t blocks = fnn_ceil_div(op->rows, FNN_BLOCK), block = fnn_ceil_div(k, FNN_BLOCK);
        ptrdiff_t width;
        e->weights[r] = (char *)fnn_rows_at(network, network->weights, op, strip->q, k, &width) - (char *)network->weights;
        /* the bias, row op->rows, has the last block of its weight panel */
        const ptrdiff_t own = k == op->rows ? blocks : k > op->rows ? blocks + 1 : block;
        e->norm_sums[r] = (fnn_buffers_of(fit, strip->op)->first_block + strip->q * (blocks + 1) + own) *
                          (ptrdiff_t)sizeof(double);
    }
}

/* ---- the memory of an exchange ---- */

/* Parts of a layer and of a loss. */
#define PARTS_OF_OP 5
#define PARTS_OF_LOSS 4

static fnn_exchange *lay_out(fnn_arena *arena, const fnn_fit *fit) {
    const size_t n_ops = (size_t)fit->network->n_ops, marks = sizeof(ptrdiff_t) * (size_t)(fit->n_ranks + 1);
    const size_t n_parts = PARTS_OF_OP * n_ops + PARTS_OF_LOSS * (size_t)(fit->n_losses + fit->n_kept) + 1;
    fnn_exchange *e = fnn_take(arena, sizeof(fnn_exchange));
    fnn_exchange places = {.first = fnn_take(arena, 2 * marks), .weights = fnn_take(arena, marks),
                           .norm_sums = fnn_take(arena, marks), .passed = fnn_take(arena, sizeof(atomic_int) * n_ops)};
    for (int k = 0; k < 2; k++) {
        batch_plan *plan = &places.plans[k];
        plan->parts = fnn_take(arena, sizeof(row_part) * n_parts);
        plan->rows = fnn_take(arena, sizeof(row_message) * (n_parts + 1));
        plan->sums = fnn_take(arena, sizeof(sum_message) * n_ops);
        plan->sums_of = fnn_take(arena, sizeof(short) * n_ops);
    }
    if (e) *e = places;
    return e;
}

/* The messages themselves, whose sizes the plans say. */
static int allocate_messages(const fnn_fit *fit, fnn_exchange *e) {
    ptrdiff_t bytes = 0, sum_bytes = 0, all_sum_bytes = 0;
    for (int k = 0; k < 2; k++) {
        const batch_plan *plan = &e->plans[k];
        if (plan->bytes > bytes) bytes = plan->bytes;
        if (plan->sum_bytes > sum_bytes) sum_bytes = plan->sum_bytes;
        if (plan->all_sum_bytes > all_sum_bytes) all_sum_bytes = plan->all_sum_bytes;
    }
    fnn_arena arena = {0};
    for (int pass = 0; pass < 2; pass++) {
        e->message = fnn_take(&arena, fit->common.block ? 0 : (size_t)bytes);
        e->sums = fnn_take(&arena, (size_t)sum_bytes);
        e->all_sums = fnn_take(&arena, (size_t)all_sum_bytes);
        if (!pass && !fnn_arena_allocate(&arena)) return 0;
    }
    e->memory = e->message;
    if (fit->common.block) e->message = fit->common.message;
    return 1;
}

int fnn_exchange_new(fnn_fit *fit, const fnn_ranks *ranks) {
    const ptrdiff_t last_rows = fit->n - (fit->n_steps - 1) * fit->batch_size;
    fnn_arena arena = {0};
    lay_out(&arena, fit);
    if (!fnn_arena_allocate(&arena)) return 0;
    fnn_exchange *e = fit->exchange = lay_out(&arena, fit);
    e->ranks = *ranks;
    mark_shares(fit, e);
    for (int k = 0; k < 2; k++) {
        e->plans[k].n_panels = k ? fnn_ceil_div(last_rows, fit->network->kernels->panel) : fit->n_panels;
        fnn_plan_sums(fit, &e->plans[k]);
        list_rows(fit, &e->plans[k]);
    }
    if (!allocate_messages(fit, e)) return 0;
    /* the first one has set what is constant in common memory */
    if (fit->common.block) fnn_meet_ranks(fit);
    return 1;
}

int fnn_exchange_is_over(const fnn_fit *fit) { return !fit->exchange || !fit->exchange->n_started; }

void fnn_exchange_free(fnn_fit *fit) {
    fnn_arena_free(fit->exchange->memory);
    fnn_arena_free(fit->exchange);
}

/* ---- exchanges: the first thread alone ---- */

static void gather(fnn_fit *fit, void *buffer, const ptrdiff_t *first) {
    const fnn_ranks *ranks = &fit->exchange->ranks;
    if (fnn_is_common(fit, buffer))
        fnn_meet_ranks(fit);
    else if (!fit->failed && !ranks->gather(ranks->context, buffer, first))
        fit->failed = 1;
}

/* Where each rank's part of something begins that lies `bytes` per panel from `at` on. */
static const ptrdiff_t *mark_panels(const fnn_step *s, ptrdiff_t at, ptrdiff_t bytes) {
    const fnn_fit *fit = s->fit;
    ptrdiff_t *first = fit->exchange->first;
    for (int r = 0; r < fit->n_ranks; r++) first[r] = at + fnn_rank_panels(fit, s->n_panels, r).first * bytes;
    first[fit->n_ranks] = at + s->n_panels * bytes;
    return first;
}

/* Copies the parts of some panels into their message, or from it. */
static void copy_parts(const fnn_step *s, const row_message *m, char *at, fnn_range panels, int from_message) {
    const batch_plan *plan = fnn_plan_of(s->fit, s->n_panels);
    for (int i = m->first; i < m->last; i++) {
        const row_part *part = &plan->parts[i];
        const ptrdiff_t bytes = part->bytes * (panels.last - panels.first);
        for (ptrdiff_t member = 0; member < part->members; member++)
            for (ptrdiff_t j = 0; j < part->count; j++, at += bytes) {
                char *rows = part->base + member * part->member_gap + j * part->gap + panels.first * part->bytes;
                memcpy(from_message ? rows : at, from_message ? at : rows, (size_t)bytes);
            }
    }
}

static void start_message(const fnn_step *s, const row_message *m) {
    fnn_fit *fit = s->fit;
    fnn_exchange *e = fit->exchange;
    const fnn_ranks *ranks = &e->ranks;
    const ptrdiff_t *first = mark_panels(s, m->at < 0 ? 0 : m->at, m->bytes);
    char *buffer = m->at < 0 ? fnn_plan_of(fit, s->n_panels)->parts[m->first].base : e->message;
    if (m->at >= 0) copy_parts(s, m, buffer + first[fit->rank], fnn_rank_panels(fit, s->n_panels, fit->rank), 0);
    if (!fit->failed && !ranks->start_gather(ranks->context, buffer, first)) fit->failed = 1;
}

/* Messages whose ops all threads have passed; or all but the last one. All ranks start the same ones before any other
 * exchange, which follows a barrier. */
static void start_messages(const fnn_step *s, int all) {
    fnn_exchange *e = s->fit->exchange;
    const batch_plan *plan = fnn_plan_of(s->fit, s->n_panels);
    for (; e->n_started < plan->n_rows - 1; e->n_started++) {
        const row_message *m = &plan->rows[e->n_started];
        if (!all && atomic_load_explicit(&e->passed[m->op], memory_order_acquire) < s->n_threads) return;
        start_message(s, m);
    }
}

void fnn_exchange_passed(const fnn_step *s, int i) {
    atomic_fetch_add_explicit(&s->fit->exchange->passed[i], 1, memory_order_release);
    if (s->thread == 0) start_messages(s, 0);
}

void fnn_gather_panels(const fnn_step *s, void *panels, ptrdiff_t bytes) {
    if (!s->fit->exchange) return;
    if (s->thread == 0) {
        start_messages(s, 0);
        gather(s->fit, panels, mark_panels(s, 0, bytes));
    }
    fnn_barrier_wait(&s->fit->barrier);
}

/* One byte, whether a loss is not finite; then the parts. */
static void gather_last_message(const fnn_step *s, const row_message *m) {
    fnn_fit *fit = s->fit;
    fnn_exchange *e = fit->exchange;
    ptrdiff_t *first = e->first;
    mark_panels(s, m->at, m->bytes);
    for (int r = 0; r <= fit->n_ranks; r++) first[r] += r;
    char *own = e->message + first[fit->rank];
    *own = (char)atomic_load_explicit(&fit->nonfinite, memory_order_relaxed);
    copy_parts(s, m, own + 1, fnn_rank_panels(fit, s->n_panels, fit->rank), 0);
    gather(fit, e->message, first);
    for (int r = 0; r < fit->n_ranks && !fit->failed; r++) {
        const char *at = e->message + first[r];
        if (*at) atomic_store_explicit(&fit->nonfinite, 1, memory_order_relaxed);
        if (r != fit->rank) copy_parts(s, m, (char *)at + 1, fnn_rank_panels(fit, s->n_panels, r), 1);
    }
}

void fnn_exchange_rows(const fnn_step *s) {
    fnn_fit *fit = s->fit;
    fnn_exchange *e = fit->exchange;
    const batch_plan *plan = fnn_plan_of(fit, s->n_panels);
    start_messages(s, 1);
    gather_last_message(s, &plan->rows[plan->n_rows - 1]);
    if (e->n_started) fnn_finish_exchanges(fit);
    for (int r = 0; r < fit->n_ranks && !fit->failed; r++) {
        const fnn_range panels = fnn_rank_panels(fit, s->n_panels, r);
        if (r == fit->rank) continue;
        for (int i = 0; i < plan->n_rows - 1; i++) {
            const row_message *m = &plan->rows[i];
            if (m->at >= 0) copy_parts(s, m, e->message + m->at + panels.first * m->bytes, panels, 1);
        }
    }
    if (!fit->failed) e->n_started = 0;
    for (int i = 0; i < fit->network->n_ops; i++) atomic_store_explicit(&e->passed[i], 0, memory_order_relaxed);
}

void fnn_gather_norm_sums(const fnn_step *s) { gather(s->fit, s->fit->norm_sums, s->fit->exchange->norm_sums); }

void fnn_gather_weights(const fnn_step *s) {
    fnn_fit *fit = s->fit;
    if (!fit->common.weights) gather(fit, fit->network->weights, fit->exchange->weights);
    /* no rank writes rows of the next step while another one reads those of this one */
    if (fit->common.block) fnn_meet_ranks(fit);
}

void fnn_gather_slots(fnn_fit *fit) {
    for (int m = 0; m < fit->network->n_slots; m++) gather(fit, fit->network->slots[m], fit->exchange->weights);
}
