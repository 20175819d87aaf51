#include "pieces.h"

/* Of `count` items of so many operations each: how many make a piece; a multiple of `grain`. */
static ptrdiff_t piece_of(ptrdiff_t count, double operations, ptrdiff_t grain) {
    const double most = FNN_PIECE_OPERATIONS / operations;
    if (most >= (double)count) return count;
    return most < (double)grain ? grain : (ptrdiff_t)most / grain * grain;
}

/* Panels whose blocks stay in the second-level cache; inputs of weights that stay there; rows of weights of one update. */
#define PANELS 16
#define INPUTS 96
#define ROWS 12

typedef void piece_function(const fnn_kernels *kernels, const fnn_dense *layer, fnn_range panels, fnn_range others);

/* A product of panels and weight panels, or of panels and inputs: `grain` of these at least. */
static void cut(const fnn_kernels *kernels, const fnn_dense *layer, fnn_range panels, fnn_range others, double operations,
                ptrdiff_t grain, piece_function *product) {
    const ptrdiff_t n = panels.last - panels.first, m = others.last - others.first;
    if (operations * (double)n * (double)m <= FNN_PIECE_OPERATIONS) {
        product(kernels, layer, panels, others);
        return;
    }
    const ptrdiff_t height = piece_of(n, operations * (double)m, PANELS);
    const ptrdiff_t width = piece_of(m, operations * (double)height, grain);
    for (ptrdiff_t p = panels.first; p < panels.last; p += height)
        for (ptrdiff_t o = others.first; o < others.last; o += width) {
            if (fnn_interrupted()) return;
            product(kernels, layer, (fnn_range){p, fnn_min(p + height, panels.last)},
                    (fnn_range){o, fnn_min(o + width, others.last)});
        }
}

static void forward(const fnn_kernels *kernels, const fnn_dense *layer, fnn_range panels, fnn_range weight_panels) {
    kernels->dense_forward(layer, panels, weight_panels);
}

void fnn_forward_pieces(const fnn_kernels *kernels, const fnn_dense *layer, fnn_range panels, fnn_range weight_panels) {
    const double operations = 2.0 * (double)layer->n_in * (double)kernels->panel * (double)kernels->panel;
    cut(kernels, layer, panels, weight_panels, operations, 1, forward);
}

static void backward_input(const fnn_kernels *kernels, const fnn_dense *layer, fnn_range panels, fnn_range inputs) {
    kernels->dense_backward_input(layer, panels, inputs);
}

void fnn_backward_input_pieces(const fnn_kernels *kernels, const fnn_dense *layer, fnn_range panels, fnn_range inputs) {
    const double operations = 2.0 * (double)layer->n_out * (double)kernels->panel;
    cut(kernels, layer, panels, inputs, operations, INPUTS, backward_input);
}

void fnn_update_pieces(const fnn_kernels *kernels, const fnn_dense *layer, const fnn_weights *weights,
                       fnn_range weight_panels, fnn_range rows, const fnn_update *update) {
    const double outputs = (double)((weight_panels.last - weight_panels.first) * kernels->panel);
    const ptrdiff_t piece = piece_of(rows.last - rows.first, 2.0 * (double)layer->rows * outputs, ROWS);
    for (ptrdiff_t k = rows.first; k < rows.last; k += piece) {
        if (fnn_interrupted()) return;
        kernels->dense_update(layer, weights, weight_panels, (fnn_range){k, fnn_min(k + piece, rows.last)}, update);
    }
}

void fnn_rows_pieces(const fnn_kernels *kernels, const fnn_dense *layer, ptrdiff_t n) {
    const ptrdiff_t panel = kernels->panel, element = fnn_element(kernels);
    const double operations = 2.0 * (double)n * (double)layer->n_in;
    if (operations * (double)layer->n_out <= FNN_PIECE_OPERATIONS) {
        kernels->dense_rows(layer, n);
        return;
    }
    const ptrdiff_t piece = piece_of(layer->n_out, operations, 4 * panel);
    for (ptrdiff_t first = 0; first < layer->n_out; first += piece) {
        fnn_dense part = *layer;
        if (fnn_interrupted()) return;
        part.n_out = fnn_min(piece, layer->n_out - first);
        part.W = (const char *)layer->W + fnn_panel_offset(panel, layer->n_in, first / panel) * element;
        part.Y = (char *)layer->Y + first * element;
        kernels->dense_rows(&part, n);
    }
}
