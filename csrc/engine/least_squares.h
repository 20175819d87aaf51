/* Sums of squared residuals of a chain of dense layers, their Jacobian and its normal equations, in float64. */
#ifndef FNN_LEAST_SQUARES_H
#define FNN_LEAST_SQUARES_H

#include "engine.h"

typedef struct {
    ptrdiff_t n_in, n_out;
    int activation; /* elementwise */
    double parameters[3];
    ptrdiff_t kernel, bias; /* where they are in the flat weights; bias: -1 without one */
} fnn_chain_layer;

/* Residual (output - target) * factor of each row and column. */
typedef struct {
    const fnn_chain_layer *layers; /* copied */
    int n_layers, n_threads;
    const double *X;                 /* (rows, inputs), kept by the caller as are the next ones */
    const double *targets, *factors; /* (columns, rows) */
    ptrdiff_t rows, block;           /* block: rows whose Jacobian is kept at a time, a multiple of 16 */
} fnn_chain;

typedef struct fnn_least_squares fnn_least_squares;

fnn_least_squares *fnn_least_squares_new(const fnn_kernels *kernels, const fnn_chain *chain);
void fnn_least_squares_free(fnn_least_squares *s);
/* The sum of the squared residuals. */
fnn_status fnn_squared_error(fnn_least_squares *s, const double *weights, double *error);
/* The upper triangle of J' J (weights, weights), and J' r. */
fnn_status fnn_normal_equations(fnn_least_squares *s, const double *weights, double *matrix, double *gradient);
/* J' (weights, residuals), and r: those of a block of rows follow one another by column. */
fnn_status fnn_whole_jacobian(fnn_least_squares *s, const double *weights, double *jacobian, double *residuals);

#endif
