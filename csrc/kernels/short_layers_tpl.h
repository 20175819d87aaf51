/* Products of layers with few inputs: without blocks, prefetching and chunks, which cost the smallest networks as much as
 * their tiles do. */
#ifndef FNN_SHORT_LAYERS_TPL_H
#define FNN_SHORT_LAYERS_TPL_H

#include "weight_gradient_tpl.h"

/* At most FNN_SHORT inputs; training, which keeps the derivatives. */
static void short_forward(const fnn_dense *layer, fnn_range panels) {
    const ptrdiff_t n_in = layer->n_in, x_stride = layer->x_stride, y_stride = layer->y_stride;
    const int relu = layer->activation == FNN_RELU;
    const int after = !relu && layer->activation != FNN_LINEAR && !fnn_is_row_activation(layer->activation);
    const real *W = layer->W;
    for (ptrdiff_t o = 0; o < layer->n_out; o += PANEL, W += panel_offset(n_in, 1)) {
        const ptrdiff_t outs = fnn_min(PANEL, layer->n_out - o), width = panel_width(outs, 0);
        const real *bias = W + n_in * width;
        for (ptrdiff_t p = panels.first; p < panels.last;) {
            const int pair = p + 1 < panels.last && (NV == 1 || outs <= PAIRED);
            real *Y = (real *)layer->Y + p * y_stride + o * PANEL;
            const real *X = (const real *)layer->X + p * x_stride;
            for (ptrdiff_t j = 0, m; j < outs; j += m) {
                m = tile_height(outs - j, pair);
                tiles_f[pair][m](Y + j * PANEL, W + j, X, width, n_in, bias + j, FROM_BIAS, relu, x_stride, y_stride);
            }
            for (int i = 0; after && i <= pair; i++, Y += y_stride)
                activate(Y, (real *)layer->D + ((p + i) * layer->n_out + o) * PANEL, Y, outs * PANEL, layer->activation,
                         layer->parameters);
            p += 1 + pair;
        }
    }
}

/* At most FNN_SHORT inputs, and FNN_CHUNK rows of the batch. */
static void short_update(const fnn_dense *layer, const fnn_weights *weights, fnn_range weight_panels, fnn_range rows,
                         const fnn_update *u) {
    const ptrdiff_t n_in = layer->n_in, batch = layer->rows, v_stride = batch * PANEL, n = rows.last - rows.first;
    const real *X = (const real *)layer->X + rows.first * PANEL;
    real G[(1 + (NV == 1)) * (FNN_SHORT + 1) * PANEL];
    for (ptrdiff_t q = weight_panels.first; q < weight_panels.last;) {
        const int pair = pairs_weights(layer->n_out, q, weight_panels.last);
        const ptrdiff_t width = panel_width(layer->n_out, q);
        if (width == 1) {
            update_column(layer, weights, q, rows, u);
            return;
        }
        tile_w_function *const *tiles = tiles_w[pair || width != PANEL];
        const real *V = (const real *)layer->dZt + q * v_stride;
        for (ptrdiff_t k = 0, m; k < n; k += m) {
            m = tile_height(n - k, pair);
            tiles[m](G + k * width, X + k * PANEL, layer->x_stride, batch, V, v_stride, (FNN_SHORT + 1) * PANEL);
        }
        for (int i = 0; i <= pair; i++, q++) {
            const fnn_weights at = weights_from(weights, panel_offset(n_in, q) + rows.first * width);
            update_part(&at, G + i * (FNN_SHORT + 1) * PANEL, n * width, rows.first, width, n_in, u);
        }
    }
}

#endif
