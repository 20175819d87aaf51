/* From the gradient of a dense layer's outputs that of its products, in panels and transposed. */
#ifndef FNN_OUTPUT_GRADIENT_TPL_H
#define FNN_OUTPUT_GRADIENT_TPL_H

#include "panels.h"

/* g f'(Z); factor: Y for ReLU, else f'(Z) */
static inline __attribute__((always_inline)) vec times_derivative(vec g, const real *factor, int activation) {
    return activation == FNN_RELU ? (vec)((v_load(factor) > v_set(0)) & (ivec)g) : (vec)(g * v_load(factor));
}

/* One block of LANES outputs: g = dY f'(Z), in place and transposed; outputs from `outs` on are zero. */
static inline __attribute__((always_inline)) void backward_block(real *dZ, real *t, const real *factor, int activation,
                                                                 ptrdiff_t outs, ptrdiff_t width) {
    const vec zero = v_set(0);
    for (int i = 0; i < PANEL; i += LANES) {
        vec r[LANES];
        UNROLL for (int j = 0; j < LANES; j++) {
            r[j] = zero;
            if (j >= outs) continue;
            const ptrdiff_t at = j * PANEL + i;
            r[j] = v_load(dZ + at);
            if (activation == FNN_LINEAR) continue;
            r[j] = times_derivative(r[j], factor + at, activation);
            v_store(dZ + at, r[j]);
        }
        v_transpose(r);
        UNROLL for (int j = 0; j < LANES; j++) v_store(t + (i + j) * width, r[j]);
    }
}

/* One output: nothing to transpose. */
static inline void backward_column(real *dZ, real *t, const real *factor, int activation) {
    for (int i = 0; i < PANEL; i += LANES) {
        vec g = v_load(dZ + i);
        if (activation != FNN_LINEAR) {
            g = times_derivative(g, factor + i, activation);
            v_store(dZ + i, g);
        }
        v_store(t + i, g);
    }
}

/* dY f'(Z) on panel p; the row activations' factor is in dY already. */
static void dense_backward_output(const fnn_dense *layer, ptrdiff_t p) {
    const ptrdiff_t n_out = layer->n_out;
    const int activation = fnn_is_row_activation(layer->activation) ? FNN_LINEAR : layer->activation;
    real *dZ = (real *)layer->dY + p * layer->dy_stride;
    /* ReLU's derivative follows from Y; that of a linear output is not read */
    const real *factor = (const real *)layer->Y + p * layer->y_stride;
    if (layer->D) factor = (const real *)layer->D + p * n_out * PANEL;
    for (ptrdiff_t q = 0; q * PANEL < n_out; q++) {
        const ptrdiff_t width = panel_width(n_out, q);
        real *t = (real *)layer->dZt + q * PANEL * layer->rows + p * PANEL * width;
        if (width == 1) {
            backward_column(dZ + q * PANEL * PANEL, t, factor + q * PANEL * PANEL, activation);
            return;
        }
        for (ptrdiff_t o = 0; o < width; o += LANES) {
            const ptrdiff_t outs = n_out - q * PANEL - o, at = (q * PANEL + o) * PANEL;
            if (outs < LANES)
                backward_block(dZ + at, t + o, factor + at, activation, outs, width);
            else if (activation == FNN_LINEAR)
                backward_block(dZ + at, t + o, factor + at, FNN_LINEAR, LANES, width);
            else if (activation == FNN_RELU)
                backward_block(dZ + at, t + o, factor + at, FNN_RELU, LANES, width);
            else
                backward_block(dZ + at, t + o, factor + at, FNN_LEAKY_RELU, LANES, width);
        }
    }
}

#endif
