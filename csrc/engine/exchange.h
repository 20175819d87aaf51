/* What the ranks of a fit exchange. Rows: ranks.c; sums of chunks: chunk_sums.c. */
#ifndef FNN_EXCHANGE_H
#define FNN_EXCHANGE_H

#include "kind.h"

/* Rows that a step exchanges: blocks that lie `gap` bytes apart, each with so many bytes per panel of rows; the same for
 * each member. */
typedef struct {
    char *base;
    ptrdiff_t bytes, count, gap, members, member_gap;
} row_part;

/* Parts that travel together once all threads have passed the backward pass of an op. */
typedef struct {
    int first, last, op;
    ptrdiff_t bytes; /* of one panel */
    ptrdiff_t at;    /* in fnn_exchange.message; -1: a single part is exchanged where it is */
} row_message;

/* Weights whose chunk sums travel together, as bytes of the network's weights, and their strips. */
typedef struct {
    fnn_range weights, strips;
    ptrdiff_t sent, received; /* where they lie in fnn_exchange.sums and .all_sums */
} sum_message;

/* What a batch of so many panels exchanges. Ranks get whole chunks of it, or panels. */
typedef struct {
    ptrdiff_t n_panels, bytes, sum_bytes, all_sum_bytes; /* bytes: of fnn_exchange.message */
    int deals_chunks, n_parts, n_rows, n_sums;
    row_part *parts;
    row_message *rows; /* the last one starts when phase 1 is over, with the losses */
    sum_message *sums;
    short *sums_of;    /* by op: the message of its chunk sums, or -1: its rows travel */
} batch_plan;

struct fnn_exchange {
    fnn_ranks ranks;
    batch_plan plans[2];    /* of a full batch; of the last one */
    char *message, *memory; /* memory: of the messages that this rank has for itself */
    char *sums, *all_sums;  /* of this rank's chunks for all ranks; of all chunks for this rank */
    ptrdiff_t *first;       /* [2 ranks + 2], of the exchange that is beginning */
    ptrdiff_t *weights, *norm_sums; /* [ranks + 1]: where the shares of the ranks begin, in bytes */
    atomic_int *passed;     /* by op: threads that have passed its backward pass */
    int n_started;          /* messages of rows in this step */
};

static inline ptrdiff_t fnn_panels_of_chunk(const fnn_fit *fit) { return FNN_CHUNK / fit->network->kernels->panel; }

static inline fnn_range fnn_chunks_of(const fnn_fit *fit, ptrdiff_t n_panels, int rank) {
    return fnn_share(fnn_ceil_div(n_panels, fnn_panels_of_chunk(fit)), rank, fit->n_ranks);
}

static inline const batch_plan *fnn_plan_of(const fnn_fit *fit, ptrdiff_t n_panels) {
    return &fit->exchange->plans[n_panels != fit->n_panels];
}

/* 1 where what the gradient of an op reads travels: this fit trains the op, which was trained, or what it shares weights
 * with, when the fit was made, and the ranks have no memory in common. */
static inline int fnn_exchanges(const fnn_fit *fit, int i) {
    const fnn_op *ops = fit->network->ops;
    return !fit->common.block && fnn_runs(fit, i) && fnn_buffers_of(fit, i)->dY && fnn_is_trained(&ops[ops[i].owner]);
}

/* Waits for all that has begun. A failure of an exchange ends the call as an interruption does. */
static inline void fnn_finish_exchanges(fnn_fit *fit) {
    const fnn_ranks *ranks = &fit->exchange->ranks;
    if (!fit->failed && !ranks->finish(ranks->context)) fit->failed = 1;
}

/* chunk_sums.c: decides by op whether rows travel or sums, and lists the messages of these. */
void fnn_plan_sums(const fnn_fit *fit, batch_plan *plan);

#endif
