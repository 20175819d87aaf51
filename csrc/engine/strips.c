/* Strips of weights: how the trained weights are cut, which thread of which rank updates a strip, and which strips are
 * updated together. */

#include "kind.h"

/* ---- how weights are cut ---- */

/* Rules that are a penalty at most. */
static int is_bare(const fnn_rules *r) { return !r->no_decay && !r->constraint && !r->has_factors; }

int fnn_has_rules(const fnn_op *op) {
    if (!fnn_is_trained(op)) return 0;
    return !is_bare(&op->rules[FNN_KERNEL]) || !is_bare(&op->rules[FNN_BIAS]) || fnn_has_penalty(op);
}

/* 1 where the bias of an op is updated with the last rows of its kernel, and not in a separate strip. */
static int joins_bias(const fnn_fit *fit, const fnn_op *op) {
    const fnn_rules *kernel = &op->rules[FNN_KERNEL], *bias = &op->rules[FNN_BIAS];
    if (!fit->has_rules || fit->clips_norms) return !fit->clips_norms;
    const int has_product = op->kind->is_product && !op->next_call && fit->n_ranks == 1;
    return has_product && is_bare(kernel) && is_bare(bias) && bias->l1 == 0 && bias->l2 == 0;
}

/* Strips that are dealt out to threads in order, by the number of multiply-adds. */
typedef struct {
    fnn_fit *fit;
    double total, done; /* multiply-adds */
    int n_strips, thread, n_threads;
    ptrdiff_t grain; /* rows of strips are multiples of it */
} deal;

/* This thread has its share; the next strip is for the next thread. */
static void next_thread(deal *d) {
    d->thread++;
    if (d->fit->first_strip) d->fit->first_strip[d->thread] = d->n_strips;
}

/* Deals out `rows` of weight panel q of an op, `width` wide. A thread's share ends at (thread + 1) / n_threads of all. */
static void deal_rows(deal *d, int op, ptrdiff_t q, fnn_range rows, double width) {
    while (rows.first < rows.last) {
        const int is_last = d->thread + 1 == d->n_threads;
        const double left = d->total * (d->thread + 1) / d->n_threads - d->done;
        ptrdiff_t count = rows.last - rows.first;
        if (!is_last && left < (double)count * width)
            count = fnn_min(count, ((ptrdiff_t)(left / width) + d->grain / 2) / d->grain * d->grain);
        if (count <= 0) {
            next_thread(d);
            continue;
        }
        if (d->fit->strips) d->fit->strips[d->n_strips] = (fnn_strip){op, q, {rows.first, rows.first + count}};
        d->n_strips++;
        d->done += (double)count * width;
        rows.first += count;
        while (d->thread + 1 < d->n_threads && d->done >= d->total * (d->thread + 1) / d->n_threads) next_thread(d);
    }
}

/* A row of a table costs this part of a row of a product, which is multiplied with the whole batch. */
#define TABLE_COST 0.125

int fnn_plan_strips(fnn_fit *fit) {
    const fnn_network *network = fit->network;
    const fnn_kernels *kernels = network->kernels;
    /* whole blocks of sums, or whole tiles */
    deal d = {.fit = fit, .n_threads = fit->n_threads * fit->n_ranks, .grain = fit->clips_norms ? FNN_BLOCK : 12};
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < network->n_ops; i++) {
            const fnn_op *op = &network->ops[i];
            if (!fnn_is_trained(op)) continue;
            int calls = 0;
            for (int call = i; call || !calls; call = network->ops[call].next_call) calls++;
            const fnn_range all = fnn_trained_rows(op);
            const ptrdiff_t kernel_end = joins_bias(fit, op) ? all.last : fnn_min(op->rows, all.last);
            for (ptrdiff_t q = 0; q < op->panels; q++) {
                double width = (double)fnn_panel_width(kernels->panel, kernels->narrow, op->columns, q) * calls;
                if (op->kind->is_table)
                    width *= op->kind->is_multiplied ? (double)op->n_out / (double)op->columns : TABLE_COST;
                if (!pass) {
                    d.total += (double)(all.last - all.first) * width;
                    continue;
                }
                deal_rows(&d, i, q, (fnn_range){all.first, kernel_end}, width);
                deal_rows(&d, i, q, (fnn_range){kernel_end, all.last}, width);
            }
        }
    if (fit->first_strip)
        for (d.thread++; d.thread <= d.n_threads; d.thread++) fit->first_strip[d.thread] = d.n_strips;
    return d.n_strips;
}

/* ---- whose they are, and which go together ---- */

fnn_range fnn_strips_of(const fnn_step *s) {
    const int *first = s->fit->first_strip + s->fit->rank * s->fit->n_threads;
    if (s->n_threads == s->fit->n_threads) return (fnn_range){first[s->thread], first[s->thread + 1]};
    return fnn_share_of((fnn_range){first[0], first[s->fit->n_threads]}, s->thread, s->n_threads);
}

/* Bytes of dZ that stay in the second-level cache while the inputs pass by. */
#define CACHED_GRADIENTS 131072

/* Whether two strips are the same rows of the same op. */
static int are_alike(const fnn_strip *a, const fnn_strip *b) {
    return a->op == b->op && a->rows.first == b->rows.first && a->rows.last == b->rows.last;
}

ptrdiff_t fnn_strips_apart(const fnn_strip *strip, ptrdiff_t left) {
    return left >= 4 && strip[1].op == strip->op && strip[1].q == strip->q && are_alike(strip, &strip[2]) &&
           are_alike(&strip[1], &strip[3]) ? 2 : 1;
}

ptrdiff_t fnn_strips_together(const fnn_step *s, ptrdiff_t i, ptrdiff_t last, ptrdiff_t apart) {
    const fnn_network *network = s->fit->network;
    const fnn_strip *strip = &s->fit->strips[i];
    const ptrdiff_t panel_bytes = s->padded * network->kernels->panel * (ptrdiff_t)network->element;
    const fnn_kind *kind = network->ops[strip->op].kind;
    ptrdiff_t count = 1;
    while ((kind->is_product || kind->is_multiplied) && i + (count + 1) * apart <= last &&
           (count + 1) * panel_bytes <= CACHED_GRADIENTS && are_alike(strip, &strip[count * apart]) &&
           are_alike(&strip[apart - 1], &strip[(count + 1) * apart - 1]))
        count++;
    return count;
}
