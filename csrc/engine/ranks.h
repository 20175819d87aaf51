/* A fit that several processes, the ranks, make together. */
#ifndef FNN_RANKS_H
#define FNN_RANKS_H

#include "team.h"

/* The ranks of a fit. gather(context, buffer, first) fills a buffer that every rank has: rank r gives the bytes from
 * first[r] to first[r + 1], and gets all others. start_gather begins that. start_scatter begins another exchange: rank r
 * gets the bytes of `parts` from first[r] to first[r + 1]; what it gives comes to `received`, from received_first[r] on.
 * finish ends all that has begun. The first thread calls them; they return 0 where they failed.
 * share gives memory that all ranks have in common, zeroed, as long as the fit needs it; or NULL, on all of them. Ranks that
 * can share memory count there the exchanges that each has begun. They look n_waits times for the others before they let
 * another process run; `part` notes that another rank does not come to a meeting. */
typedef struct {
    int rank, n_ranks, n_waits;
    const _Atomic int64_t *n_exchanges; /* [ranks], or NULL */
    double least_operations; /* of a step that is divided; every rank makes a smaller one as a whole */
    int (*gather)(void *context, void *buffer, const ptrdiff_t *first);
    int (*start_gather)(void *context, void *buffer, const ptrdiff_t *first);
    int (*start_scatter)(void *context, const void *parts, const ptrdiff_t *first, void *received,
                         const ptrdiff_t *received_first);
    int (*finish)(void *context);
    void *(*share)(void *context, size_t n_bytes);
    void (*part)(void *context);
    void *context;
} fnn_ranks;

/* What the ranks of a fit exchange, and where the parts of each rank begin. */
typedef struct fnn_exchange fnn_exchange;

#endif
