/* A step that is divided between ranks.
 *
 * Design:
 * a) A rank is to the others what a thread is to its team. In phase 1 it works on its panels of the batch; then the ranks
 *    exchange what the gradients of weights read: inputs and gradients of products, and the terms that other layers keep.
 *    In phase 2 a rank updates its share of the weights; then the ranks exchange the weights. Every number is computed by
 *    one rank, in the order in which one process computes it: the bits are the same for any number of ranks.
 * b) The moments of a weight live with the rank that updates it. They are exchanged where a call ends at the step that the
 *    caller has asked for, so that what is read between calls is whole on every rank.
 * c) What is exchanged lies panel by panel: the part of each rank is contiguous. */

#include <string.h>

#include "kind.h"

/* What a step exchanges: blocks that lie `gap` bytes apart, each with so many bytes per panel of rows. */
typedef struct {
    char *base;
    ptrdiff_t bytes, count, gap;
} row_part;

struct fnn_exchange {
    fnn_ranks ranks;
    unsigned char *trained; /* by op: it was, or what it shares weights with, when the fit was made */
    row_part *parts;
    int n_parts;
    char *message;
    ptrdiff_t *first;               /* [ranks + 1], of the exchange that is going on */
    ptrdiff_t *weights, *norm_sums; /* [ranks + 1]: where the shares of the ranks begin, in bytes */
};

/* ---- what a step exchanges ---- */

/* Several ops may read the same inputs: they travel once. */
static void add_part(fnn_exchange *e, void *base, ptrdiff_t bytes, ptrdiff_t count, ptrdiff_t gap) {
    for (int i = 0; i < e->n_parts; i++)
        if (e->parts[i].base == base) return;
    e->parts[e->n_parts++] = (row_part){base, bytes, count, gap};
}

/* What the gradient of the weights of op i reads. */
static void add_gradient_parts(const fnn_fit *fit, fnn_exchange *e, int i, ptrdiff_t padded) {
    const fnn_network *network = fit->network;
    const fnn_op *op = &network->ops[i];
    const op_buffers *in = &fit->buffers[op->inputs[0]], *out = fnn_buffers_of(fit, i);
    const ptrdiff_t element = (ptrdiff_t)network->element, panel = network->kernels->panel;
    const ptrdiff_t width = op->n_out * panel * element;
    if (op->kind->is_product || op->kind->is_table) add_part(e, in->Y, in->stride * element, 1, 0);
    if (out->saved) add_part(e, out->saved, width, 1, 0);
    if (out->saved && out->D) add_part(e, out->D, width, 1, 0);
    if (!out->dZt) return;
    const ptrdiff_t whole = op->n_out / panel, last = fnn_panel_width(panel, network->kernels->narrow, op->n_out, whole);
    if (whole) add_part(e, out->dZt, panel * panel * element, whole, panel * padded * element);
    if (op->n_out % panel) add_part(e, fnn_at(fit, out->dZt, whole * panel * padded), last * panel * element, 1, 0);
}

/* The parts of a step whose batch has `padded` rows. */
static void list_parts(const fnn_fit *fit, fnn_exchange *e, ptrdiff_t padded) {
    const fnn_network *network = fit->network;
    const ptrdiff_t element = (ptrdiff_t)network->element, panel = network->kernels->panel;
    const ptrdiff_t numbers = panel * (ptrdiff_t)sizeof(double);
    e->n_parts = 0;
    for (int i = 0; i < network->n_ops; i++)
        if (fnn_runs(fit, i) && e->trained[i] && fnn_buffers_of(fit, i)->dY)
            add_gradient_parts(fit, e, i, padded);
    for (int l = 0; l < fit->n_losses; l++) {
        const fit_loss *loss = &fit->losses[l];
        const op_buffers *out = &fit->buffers[loss->buffer];
        add_part(e, loss->values, numbers, 1, 0);
        add_part(e, loss->scale, numbers, 1, 0);
        if (loss->predictions) add_part(e, out->Y, out->stride * element, 1, 0);
    }
    for (int k = 0; k < fit->n_kept; k++) {
        const op_buffers *out = &fit->buffers[fit->kept[k].buffer];
        add_part(e, out->Y, out->stride * element, 1, 0);
    }
    if (fit->penalizes_outputs) add_part(e, fit->output_penalties, numbers, 1, 0);
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

static fnn_exchange *lay_out(fnn_arena *arena, const fnn_exchange *counted, int n_ops, ptrdiff_t bytes) {
    const size_t marks = sizeof(ptrdiff_t) * (size_t)(counted->ranks.n_ranks + 1);
    fnn_exchange *e = fnn_take(arena, sizeof(fnn_exchange));
    row_part *parts = fnn_take(arena, sizeof(row_part) * (size_t)counted->n_parts);
    ptrdiff_t *first = fnn_take(arena, marks), *weights = fnn_take(arena, marks), *norm_sums = fnn_take(arena, marks);
    char *message = fnn_take(arena, (size_t)bytes);
    unsigned char *trained = fnn_take(arena, (size_t)n_ops);
    if (!e) return NULL;
    *e = (fnn_exchange){counted->ranks, trained, parts, 0, message, first, weights, norm_sums};
    memcpy(trained, counted->trained, (size_t)n_ops);
    return e;
}

/* A contiguous part of at least so many bytes is exchanged where it is; others are copied into one message. */
#define OWN_MESSAGE 65536

static int has_own_message(const row_part *part, ptrdiff_t n_panels) {
    return part->count == 1 && part->bytes * n_panels >= OWN_MESSAGE;
}

/* Bytes of one panel of rows in the message of several parts. */
static ptrdiff_t bytes_per_panel(const fnn_exchange *e, ptrdiff_t n_panels) {
    ptrdiff_t bytes = 0;
    for (int i = 0; i < e->n_parts; i++)
        if (!has_own_message(&e->parts[i], n_panels)) bytes += e->parts[i].bytes * e->parts[i].count;
    return bytes;
}

int fnn_exchange_new(fnn_fit *fit, const fnn_ranks *ranks) {
    const ptrdiff_t padded = fit->n_panels * fit->network->kernels->panel;
    row_part parts[4 * FNN_MOST_BUFFERS + 4 * FNN_MOST_OUTPUTS];
    unsigned char trained[FNN_MOST_OPS];
    const fnn_op *ops = fit->network->ops;
    const int n_ops = fit->network->n_ops;
    for (int i = 0; i < n_ops; i++) trained[i] = (unsigned char)fnn_is_trained(&ops[ops[i].owner]);
    fnn_exchange counted = {.ranks = *ranks, .trained = trained, .parts = parts};
    list_parts(fit, &counted, padded);
    /* a part may be in the message of the last, shorter batch */
    const ptrdiff_t bytes = fit->n_panels * bytes_per_panel(&counted, fit->n_panels) +
                            counted.n_parts * (ptrdiff_t)OWN_MESSAGE + ranks->n_ranks;
    fnn_arena arena = {0};
    lay_out(&arena, &counted, n_ops, bytes);
    if (!fnn_arena_allocate(&arena)) return 0;
    fit->exchange = lay_out(&arena, &counted, n_ops, bytes);
    mark_shares(fit, fit->exchange);
    return 1;
}

void fnn_exchange_free(fnn_fit *fit) { fnn_arena_free(fit->exchange); }

/* ---- exchanges: the first thread alone, between two barriers ---- */

/* A failure ends the call as an interruption does. */
static void gather(fnn_fit *fit, void *buffer, const ptrdiff_t *first) {
    const fnn_ranks *ranks = &fit->exchange->ranks;
    if (!fit->failed && !ranks->gather(ranks->context, buffer, first)) fit->failed = 1;
}

static void gather_panels(const fnn_step *s, void *panels, ptrdiff_t bytes) {
    fnn_fit *fit = s->fit;
    ptrdiff_t *first = fit->exchange->first;
    for (int r = 0; r < fit->n_ranks; r++) first[r] = fnn_share(s->n_panels, r, fit->n_ranks).first * bytes;
    first[fit->n_ranks] = s->n_panels * bytes;
    gather(fit, panels, first);
}

void fnn_gather_panels(const fnn_step *s, void *panels, ptrdiff_t bytes) {
    if (!s->fit->exchange) return;
    if (s->thread == 0) gather_panels(s, panels, bytes);
    fnn_barrier_wait(&s->fit->barrier);
}

/* Copies the parts of some panels into their message, or from it. */
static void copy_parts(const fnn_step *s, char *at, fnn_range panels, int from_message) {
    const fnn_exchange *e = s->fit->exchange;
    for (int i = 0; i < e->n_parts; i++) {
        const row_part *part = &e->parts[i];
        if (has_own_message(part, s->n_panels)) continue;
        const ptrdiff_t bytes = part->bytes * (panels.last - panels.first);
        for (ptrdiff_t j = 0; j < part->count; j++, at += bytes) {
            char *rows = part->base + j * part->gap + panels.first * part->bytes;
            memcpy(from_message ? rows : at, from_message ? at : rows, (size_t)bytes);
        }
    }
}

/* The outputs of another rank's panels become predictions. */
static void store_predictions(const fnn_step *s, fnn_range panels) {
    const fnn_fit *fit = s->fit;
    fnn_step other = *s;
    other.panels = panels;
    fnn_store_kept_outputs(&other);
    for (int l = 0; l < fit->n_losses; l++)
        for (ptrdiff_t p = panels.first; fit->losses[l].predictions && p < panels.last; p++)
            fnn_store_predictions(s, fit->losses[l].predictions, fit->losses[l].buffer, fit->losses[l].n_out, p);
}

void fnn_exchange_rows(const fnn_step *s) {
    fnn_fit *fit = s->fit;
    fnn_exchange *e = fit->exchange;
    const int n_ranks = fit->n_ranks, rank = fit->rank;
    list_parts(fit, e, s->padded);
    for (int i = 0; i < e->n_parts; i++)
        if (has_own_message(&e->parts[i], s->n_panels)) gather_panels(s, e->parts[i].base, e->parts[i].bytes);
    const ptrdiff_t bytes = bytes_per_panel(e, s->n_panels);
    for (int r = 0; r < n_ranks; r++) e->first[r] = r + fnn_share(s->n_panels, r, n_ranks).first * bytes;
    e->first[n_ranks] = n_ranks + s->n_panels * bytes;
    /* one byte: whether a loss is not finite; then the parts */
    char *own = e->message + e->first[rank];
    *own = (char)atomic_load_explicit(&fit->nonfinite, memory_order_relaxed);
    copy_parts(s, own + 1, fnn_share(s->n_panels, rank, n_ranks), 0);
    gather(fit, e->message, e->first);
    for (int r = 0; r < n_ranks && !fit->failed; r++) {
        const char *at = e->message + e->first[r];
        const fnn_range panels = fnn_share(s->n_panels, r, n_ranks);
        if (*at) atomic_store_explicit(&fit->nonfinite, 1, memory_order_relaxed);
        if (r == rank) continue;
        copy_parts(s, (char *)at + 1, panels, 1);
        store_predictions(s, panels);
    }
}

void fnn_gather_norm_sums(const fnn_step *s) { gather(s->fit, s->fit->norm_sums, s->fit->exchange->norm_sums); }

void fnn_gather_weights(const fnn_step *s) {
    gather(s->fit, s->fit->network->weights, s->fit->exchange->weights);
}

void fnn_gather_slots(fnn_fit *fit) {
    for (int m = 0; m < fit->network->n_slots; m++) gather(fit, fit->network->slots[m], fit->exchange->weights);
}
