/* A fit that several processes, the ranks, make together. */
#ifndef FNN_RANKS_H
#define FNN_RANKS_H

#include "team.h"

/* The ranks of a fit. gather(context, buffer, first) fills a buffer that every rank has: rank r gives the bytes from
 * first[r] to first[r + 1], and gets all others. It returns 0 where that failed. The first thread calls it. */
typedef struct {
    int rank, n_ranks;
    double least_operations; /* of a step that is divided; every rank makes a smaller one as a whole */
    int (*gather)(void *context, void *buffer, const ptrdiff_t *first);
    void *context;
} fnn_ranks;

/* What the ranks of a fit exchange, and where the parts of each rank begin. */
typedef struct fnn_exchange fnn_exchange;

#endif
