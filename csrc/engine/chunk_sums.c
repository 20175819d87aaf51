/* Gradients whose sums over chunks of the batch travel between ranks, instead of the rows that they are computed from.
 *
 * Design: the sum over a batch is by definition that of its chunks, added in order. Each rank has whole chunks. It computes
 * their sums for all weights of a layer, and each part goes to the rank that updates it. */

#include <string.h>

#include "exchange.h"

/* ---- whether the rows of a layer travel or its chunk sums ---- */

/* A rank may have this many times the mean of the chunks. */
#define MOST_UNEVEN 1.25

/* Where these weights lie among those of the network, in bytes. */
static fnn_range weights_of(const fnn_network *network, const fnn_op *op) {
    const ptrdiff_t element = (ptrdiff_t)network->element, first = op->weights * element;
    return (fnn_range){first, first + fnn_weight_elements(network->kernels, op->rows, op->columns) * element};
}

/* 1 where a rank receives less if the sums of chunks travel: those of its share of the weights, instead of all rows. */
static int sums_are_less(const fnn_fit *fit, int i, ptrdiff_t n_panels) {
    const fnn_network *network = fit->network;
    const fnn_op *op = &network->ops[i];
    if (!op->kind->is_product || op->shares || op->next_call) return 0;
    const double numbers = (double)(n_panels * network->kernels->panel) * (double)(op->n_in + op->n_out);
    const fnn_range weights = weights_of(network, op);
    const double chunks = (double)fnn_ceil_div(n_panels, fnn_panels_of_chunk(fit));
    return chunks / fit->n_ranks * (double)(weights.last - weights.first) < numbers * (double)network->element;
}

static void choose_sums(const fnn_fit *fit, batch_plan *plan) {
    const ptrdiff_t chunks = fnn_ceil_div(plan->n_panels, fnn_panels_of_chunk(fit));
    const ptrdiff_t most = fnn_ceil_div(chunks, fit->n_ranks);
    const int is_even = (double)(most * fit->n_ranks) <= MOST_UNEVEN * (double)chunks;
    plan->deals_chunks = 0;
    for (int i = 0; i < fit->network->n_ops; i++) {
        plan->sums_of[i] = -1;
        if (!is_even || !fnn_exchanges(fit, i) || !sums_are_less(fit, i, plan->n_panels)) continue;
        plan->sums_of[i] = 0;
        plan->deals_chunks = 1;
    }
}

/* ---- the messages of chunk sums ---- */

/* Sums of fewer weights, in bytes, wait for those of the layer before, unless more than a few other weights lie between. */
#define SUM_MESSAGE 262144
#define SUM_GAP 4096

/* The part of a message that rank r adds up and updates. */
static fnn_range part_of(const fnn_exchange *e, const sum_message *m, int r) {
    const ptrdiff_t first = e->weights[r] > m->weights.first ? e->weights[r] : m->weights.first;
    const ptrdiff_t last = fnn_min(e->weights[r + 1], m->weights.last);
    return (fnn_range){first, last > first ? last : first};
}

static void list_sums(const fnn_fit *fit, batch_plan *plan) {
    const fnn_exchange *e = fit->exchange;
    const ptrdiff_t chunks = fnn_ceil_div(plan->n_panels, fnn_panels_of_chunk(fit));
    plan->n_sums = 0;
    for (int i = fit->network->n_ops - 1; i >= 0; i--) {
        if (plan->sums_of[i] < 0) continue;
        const fnn_range weights = weights_of(fit->network, &fit->network->ops[i]);
        fnn_range *after = plan->n_sums ? &plan->sums[plan->n_sums - 1].weights : NULL;
        if (after && after->last - after->first < SUM_MESSAGE && after->first - weights.last <= SUM_GAP)
            after->first = weights.first;
        else
            plan->sums[plan->n_sums++] = (sum_message){.weights = weights};
        plan->sums_of[i] = (short)(plan->n_sums - 1);
    }
    plan->sum_bytes = plan->all_sum_bytes = 0;
    for (int j = 0; j < plan->n_sums; j++) {
        sum_message *m = &plan->sums[j];
        const fnn_range own = part_of(e, m, fit->rank);
        m->sent = plan->sum_bytes;
        m->received = plan->all_sum_bytes;
        plan->sum_bytes += fnn_ceil_div(chunks, fit->n_ranks) * (m->weights.last - m->weights.first);
        plan->all_sum_bytes += chunks * (own.last - own.first);
    }
    for (int j = fit->n_strips - 1; j >= 0; j--) {
        const int message = plan->sums_of[fit->strips[j].op];
        if (message < 0) continue;
        fnn_range *strips = &plan->sums[message].strips;
        if (!strips->last) strips->last = j + 1;
        strips->first = j;
    }
}

void fnn_plan_sums(const fnn_fit *fit, batch_plan *plan) {
    choose_sums(fit, plan);
    list_sums(fit, plan);
}

/* ---- sums of chunks ---- */

/* This thread's share of the sums of this rank's chunks, of all weights of a message, into the parts of the ranks that
 * update them. */
static void sum_chunks(const fnn_step *s, const batch_plan *plan, const sum_message *m) {
    fnn_fit *fit = s->fit;
    const fnn_network *network = fit->network;
    const fnn_exchange *e = fit->exchange;
    const fnn_range chunks = fnn_chunks_of(fit, s->n_panels, fit->rank);
    const fnn_range share = fnn_share_of(m->strips, s->thread, s->n_threads);
    const ptrdiff_t n_chunks = chunks.last - chunks.first;
    const fnn_update store = {.kind = FNN_STORE, .scale = 1.0};
    fnn_step part = *s;
    part.is_long = 0;
    int rank = 0;
    for (ptrdiff_t i = share.first, count; i < share.last; i += count) {
        const fnn_strip *strip = &fit->strips[i];
        const fnn_op *op = &network->ops[strip->op];
        while (fit->first_strip[(rank + 1) * fit->n_threads] <= i) rank++;
        const ptrdiff_t of_rank = fit->first_strip[(rank + 1) * fit->n_threads];
        count = fnn_strips_together(s, i, fnn_min(share.last, of_rank), 1);
        if (plan->sums_of[strip->op] < 0) continue;
        const fnn_range to = part_of(e, m, rank);
        const ptrdiff_t before = to.first - part_of(e, m, 0).first, bytes = to.last - to.first;
        for (ptrdiff_t c = 0; c < n_chunks; c++) {
            const ptrdiff_t at = m->sent + n_chunks * before + c * bytes + weights_of(network, op).first - to.first;
            fnn_weights sums = {fnn_op_weights(network, op), {(void *)((uintptr_t)e->sums + (uintptr_t)at)}};
            part.chunks = (fnn_range){chunks.first + c, chunks.first + c + 1};
            op->kind->update(&part, strip, count, &sums, &store);
        }
    }
}

static void start_sums(const fnn_step *s, const sum_message *m) {
    fnn_fit *fit = s->fit;
    fnn_exchange *e = fit->exchange;
    const fnn_ranks *ranks = &e->ranks;
    ptrdiff_t *sent = e->first, *received = e->first + fit->n_ranks + 1;
    const fnn_range own = part_of(e, m, fit->rank), chunks = fnn_chunks_of(fit, s->n_panels, fit->rank);
    sent[0] = received[0] = 0;
    for (int r = 0; r < fit->n_ranks; r++) {
        const fnn_range part = part_of(e, m, r);
        sent[r + 1] = sent[r] + (chunks.last - chunks.first) * (part.last - part.first);
        received[r + 1] = fnn_chunks_of(fit, s->n_panels, r).last * (own.last - own.first);
    }
    if (!fit->failed &&
        !ranks->start_scatter(ranks->context, e->sums + m->sent, sent, e->all_sums + m->received, received))
        fit->failed = 1;
}

int fnn_exchange_sums(const fnn_step *s) {
    fnn_fit *fit = s->fit;
    const batch_plan *plan = fnn_plan_of(fit, s->n_panels);
    if (!plan->n_sums) return 1;
    for (int j = 0; j < plan->n_sums; j++) {
        sum_chunks(s, plan, &plan->sums[j]);
        fnn_barrier_wait(&fit->barrier);
        if (s->thread == 0) start_sums(s, &plan->sums[j]);
    }
    if (s->thread == 0) fnn_finish_exchanges(fit);
    fnn_barrier_wait(&fit->barrier);
    return !fit->failed;
}

int fnn_receives_sums(const fnn_step *s, int i) {
    return s->fit->exchange && fnn_plan_of(s->fit, s->n_panels)->sums_of[i] >= 0;
}

void fnn_add_sums(const fnn_step *s, const fnn_strip *strip, void *G, ptrdiff_t at, ptrdiff_t n) {
    const fnn_fit *fit = s->fit;
    const fnn_exchange *e = fit->exchange;
    const batch_plan *plan = fnn_plan_of(fit, s->n_panels);
    const sum_message *m = &plan->sums[plan->sums_of[strip->op]];
    const fnn_range own = part_of(e, m, fit->rank);
    const ptrdiff_t chunks = fnn_ceil_div(s->n_panels, fnn_panels_of_chunk(fit));
    const fnn_update add = {.kind = FNN_ACCUMULATE, .scale = 1.0};
    char *sums = e->all_sums + m->received + at * (ptrdiff_t)fit->network->element - own.first;
    memcpy(G, sums, (size_t)n * fit->network->element);
    for (ptrdiff_t c = 1; c < chunks; c++) {
        const fnn_weights total = {G, {G}};
        fit->network->kernels->update(&total, sums + c * (own.last - own.first), n, &add);
    }
}
