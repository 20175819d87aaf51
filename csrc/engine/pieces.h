/* Long products in pieces, between which a call can be interrupted. The bits are those of the whole product. */
#ifndef FNN_PIECES_H
#define FNN_PIECES_H

#include "team.h"

/* As the kernels of the same names. After an interruption the rest is left out. */
void fnn_forward_pieces(const fnn_kernels *kernels, const fnn_dense *layer, fnn_range panels, fnn_range weight_panels);
void fnn_backward_input_pieces(const fnn_kernels *kernels, const fnn_dense *layer, fnn_range panels, fnn_range inputs);
void fnn_update_pieces(const fnn_kernels *kernels, const fnn_dense *layer, const fnn_weights *weights,
                       fnn_range weight_panels, fnn_range rows, const fnn_update *update);
void fnn_rows_pieces(const fnn_kernels *kernels, const fnn_dense *layer, ptrdiff_t n);

/* A shorter product is one piece. Tests make all pieces small. */
#ifndef FNN_PIECE_OPERATIONS
#define FNN_PIECE_OPERATIONS 2e8
#endif

/* The next of a thread's panels up to `last`: `last` after an interruption. */
static inline ptrdiff_t fnn_next_panel(ptrdiff_t p, ptrdiff_t last) {
    return (p + 1) % 16 == 0 && fnn_interrupted() ? last : p + 1;
}

#endif
