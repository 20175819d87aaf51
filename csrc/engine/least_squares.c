/* Least squares of a chain of dense layers, block by block of rows.
 *
 * Design:
 * a) Of each block the matrix [J r] is made, a row for each residual, column after column of the outputs. It lies in weight
 *    panels (fnn.h) whose last row is zero. Then dense_forward with two of its panels gives a part of [J r]' [J r], and
 *    nothing is packed. Only the upper triangle of its panels is computed.
 * b) Each thread takes whole blocks, whose [J r] stays in its second-level cache. Products are added in the order of the
 *    blocks, so bits do not depend on threads. */

#include "least_squares.h"

/* Panels of rows that go through the layers together. */
#define GROUP 8

/* The memory of one thread. */
typedef struct {
    double **Y, **D, **dZ; /* by layer, of a group: values, f'(Z), and the gradient of Z; the inputs are layer 0 */
    double *columns;       /* some rows of [J r], transposed: a panel */
    double *J;             /* [J r] of a block: [panels][residuals + 1][panel] */
    double *product;       /* of the first thread one row of panels, of the others the upper triangle */
} workspace;

struct fnn_least_squares {
    const fnn_kernels *kernels;
    fnn_chain chain;
    fnn_chain_layer *layers;
    double **W; /* weight panels of the layers */
    ptrdiff_t n_columns, n_weights;
    ptrdiff_t panels; /* of [J r] */
    double *normal;   /* [J r]' [J r]: the upper triangle of panels, each [panel][panel] */
    double *errors;   /* of the blocks */
    workspace *threads;
    double *jacobian, *residuals; /* of the caller, or NULL */
    ptrdiff_t next;   /* block of a sum of products */
    int stop;         /* the team waits for processors that others use */
    fnn_barrier barrier;
};

static void lay_out(fnn_least_squares *s, fnn_arena *arena) {
    const fnn_chain *chain = &s->chain;
    const int n_layers = chain->n_layers;
    const ptrdiff_t panel = s->kernels->panel, rows = s->n_columns * fnn_min(chain->block, chain->rows) + 1;
    const size_t triangle = fnn_size(s->panels * (s->panels + 1) / 2, panel * panel, 8);
    const size_t pointers = fnn_size(n_layers + 1, sizeof(double *), 1);
    double **W = fnn_take(arena, pointers);
    for (int l = 0; l < n_layers; l++) {
        const fnn_chain_layer *layer = &chain->layers[l];
        const ptrdiff_t n = fnn_weight_elements(s->kernels, layer->n_in, layer->n_out) + panel;
        double *weights = fnn_take(arena, fnn_size(n, 8, 1));
        if (W) W[l] = weights;
    }
    s->W = W;
    s->layers = fnn_take(arena, fnn_size(n_layers, sizeof(fnn_chain_layer), 1));
    s->normal = fnn_take(arena, triangle);
    s->errors = fnn_take(arena, fnn_size(fnn_ceil_div(chain->rows, chain->block), 8, 1));
    s->threads = fnn_take(arena, fnn_size(chain->n_threads, sizeof(workspace), 1));
    for (int t = 0; t < chain->n_threads; t++) {
        workspace w = {fnn_take(arena, pointers), fnn_take(arena, pointers), fnn_take(arena, pointers), NULL, NULL, NULL};
        for (int l = 0; l <= n_layers; l++) {
            const ptrdiff_t width = l ? chain->layers[l - 1].n_out : chain->layers[0].n_in;
            const size_t bytes = fnn_size(GROUP * panel, width, 8);
            double *Y = fnn_take(arena, bytes), *D = fnn_take(arena, bytes), *dZ = fnn_take(arena, bytes);
            if (w.Y) w.Y[l] = Y, w.D[l] = D, w.dZ[l] = dZ;
        }
        w.columns = fnn_take(arena, fnn_size(s->panels * panel, panel, 8));
        w.J = fnn_take(arena, fnn_size(s->panels * panel, rows, 8));
        w.product = fnn_take(arena, t ? triangle : fnn_size(s->panels * panel, panel, 8));
        if (s->threads) s->threads[t] = w;
    }
}

fnn_least_squares *fnn_least_squares_new(const fnn_kernels *kernels, const fnn_chain *chain) {
    fnn_least_squares start = {.kernels = kernels, .chain = *chain}, *s = NULL;
    for (int l = 0; l < chain->n_layers; l++) {
        const fnn_chain_layer *layer = &chain->layers[l];
        start.n_weights += layer->n_in * layer->n_out + (layer->bias < 0 ? 0 : layer->n_out);
        start.n_columns = layer->n_out;
    }
    start.panels = fnn_ceil_div(start.n_weights + 1, kernels->panel);
    fnn_arena arena = {0};
    fnn_take(&arena, sizeof *s);
    lay_out(&start, &arena);
    if (!fnn_arena_allocate(&arena)) return NULL;
    s = fnn_take(&arena, sizeof *s);
    *s = start;
    lay_out(s, &arena);
    memcpy(s->layers, chain->layers, (size_t)chain->n_layers * sizeof *s->layers);
    s->chain.layers = s->layers;
    return s;
}

void fnn_least_squares_free(fnn_least_squares *s) { fnn_arena_free(s); }

static void take_weights(fnn_least_squares *s, const double *weights) {
    for (int l = 0; l < s->chain.n_layers; l++) {
        const fnn_chain_layer *layer = &s->layers[l];
        s->kernels->pack_weights(s->W[l], weights + layer->kernel, layer->bias < 0 ? NULL : weights + layer->bias,
                                 layer->n_in, layer->n_out);
    }
}

/* Layer l with the values of a group. */
static fnn_dense layer_of(const fnn_least_squares *s, const workspace *w, int l) {
    const fnn_chain_layer *layer = &s->layers[l];
    const ptrdiff_t panel = s->kernels->panel;
    return (fnn_dense){.n_in = layer->n_in, .n_out = layer->n_out, .activation = FNN_LINEAR, .W = s->W[l], .X = w->Y[l],
                       .Y = w->Y[l + 1], .x_stride = layer->n_in * panel, .y_stride = layer->n_out * panel};
}

/* Values of a group of panels from row `first` on, and derivatives of the activations. */
static void forward(const fnn_least_squares *s, const workspace *w, ptrdiff_t first, ptrdiff_t panels, int derivatives) {
    const fnn_kernels *kernels = s->kernels;
    const fnn_chain *chain = &s->chain;
    const ptrdiff_t panel = kernels->panel, n_in = s->layers[0].n_in;
    const fnn_matrix X = {chain->X, FNN_F64, n_in * 8, 8, chain->rows, n_in};
    for (ptrdiff_t p = 0; p < panels; p++) {
        const ptrdiff_t row = first + p * panel;
        kernels->gather(w->Y[0] + p * n_in * panel, &X, NULL, row, fnn_min(panel, chain->rows - row));
    }
    for (int l = 0; l < chain->n_layers; l++) {
        const fnn_chain_layer *layer = &s->layers[l];
        const fnn_dense dense = layer_of(s, w, l);
        kernels->dense_forward(&dense, (fnn_range){0, panels}, (fnn_range){0, fnn_ceil_div(layer->n_out, panel)});
        if (layer->activation != FNN_LINEAR)
            kernels->activate(w->Y[l + 1], derivatives ? w->D[l + 1] : NULL, w->Y[l + 1], panels * layer->n_out * panel,
                              layer->activation, layer->parameters);
    }
}

/* The residual of one column and row `row`, which is number i of the group. */
static inline double residual(const fnn_least_squares *s, const workspace *w, ptrdiff_t column, ptrdiff_t row, ptrdiff_t i) {
    const ptrdiff_t panel = s->kernels->panel, at = column * s->chain.rows + row;
    const double output = w->Y[s->chain.n_layers][(i / panel * s->n_columns + column) * panel + i % panel];
    return (output - s->chain.targets[at]) * s->chain.factors[at];
}

/* dZ of all layers for one column of the outputs of a group, times its factors. */
static void backward(const fnn_least_squares *s, const workspace *w, ptrdiff_t column, ptrdiff_t first, ptrdiff_t panels) {
    const fnn_kernels *kernels = s->kernels;
    const fnn_chain *chain = &s->chain;
    const ptrdiff_t panel = kernels->panel;
    double *seed = w->dZ[chain->n_layers];
    memset(seed, 0, (size_t)(panels * s->n_columns * panel) * sizeof(double));
    for (ptrdiff_t i = 0; i < fnn_min(panels * panel, chain->rows - first); i++)
        seed[(i / panel * s->n_columns + column) * panel + i % panel] = chain->factors[column * chain->rows + first + i];
    for (int l = chain->n_layers - 1; l >= 0; l--) {
        const fnn_chain_layer *layer = &s->layers[l];
        fnn_dense dense = layer_of(s, w, l);
        dense.dY = w->dZ[l + 1];
        dense.dX = w->dZ[l];
        dense.dy_stride = dense.y_stride;
        dense.dx_stride = dense.x_stride;
        if (layer->activation != FNN_LINEAR)
            kernels->multiply(dense.dY, w->D[l + 1], panels * layer->n_out * panel);
        if (l) kernels->dense_backward_input(&dense, (fnn_range){0, panels}, (fnn_range){0, layer->n_in});
    }
}

/* Rows `at`, `at` + 1, ... of the n rows of [J r]: those of one column and of panel p of a group, which is row `row`. */
static void fill_rows(const fnn_least_squares *s, const workspace *w, ptrdiff_t column, ptrdiff_t row, ptrdiff_t p,
                      ptrdiff_t n, ptrdiff_t at) {
    const fnn_kernels *kernels = s->kernels;
    const ptrdiff_t panel = kernels->panel, count = fnn_min(panel, s->chain.rows - row);
    for (int l = 0; l < s->chain.n_layers; l++) {
        const fnn_chain_layer *layer = &s->layers[l];
        const ptrdiff_t n_in = layer->n_in, n_out = layer->n_out;
        const double *X = w->Y[l] + p * n_in * panel, *dZ = w->dZ[l + 1] + p * n_out * panel;
        const fnn_operands outer = {FNN_MULTIPLY, n_out, panel, panel, 0};
        for (ptrdiff_t k = 0; k < n_in; k++)
            kernels->combine(w->columns + (layer->kernel + k * n_out) * panel, dZ, X + k * panel, &outer);
        if (layer->bias >= 0)
            memcpy(w->columns + layer->bias * panel, dZ, (size_t)(n_out * panel) * sizeof(double));
    }
    for (ptrdiff_t i = 0; i < count; i++)
        w->columns[s->n_weights * panel + i] = residual(s, w, column, row + i, p * panel + i);
    for (ptrdiff_t q = 0; q < s->panels; q++)
        kernels->scatter(w->J + (q * (n + 1) + at) * panel, panel, w->columns + q * panel * panel, panel, NULL, 0,
                         count);
}

/* [J r] of the block of `rows` rows from row `first` on. */
static void fill_block(const fnn_least_squares *s, const workspace *w, ptrdiff_t first, ptrdiff_t rows) {
    const ptrdiff_t panel = s->kernels->panel, all = fnn_ceil_div(rows, panel);
    for (ptrdiff_t p = 0; p < all && !fnn_interrupted(); p += GROUP) {
        const ptrdiff_t panels = fnn_min(GROUP, all - p), row = first + p * panel;
        forward(s, w, row, panels, 1);
        for (ptrdiff_t c = 0; c < s->n_columns; c++) {
            backward(s, w, c, row, panels);
            for (ptrdiff_t i = 0; i < panels; i++)
                fill_rows(s, w, c, row + i * panel, i, s->n_columns * rows, c * rows + (p + i) * panel);
        }
    }
}

/* product = one panel of n rows times each of `count` others; the row that follows those of the one becomes zero. */
static void multiply_panels(const fnn_least_squares *s, double *product, double *one, const double *others, ptrdiff_t n,
                            ptrdiff_t count) {
    const ptrdiff_t panel = s->kernels->panel;
    const fnn_dense dense = {.n_in = n, .n_out = panel, .activation = FNN_LINEAR, .W = one, .X = others, .Y = product,
                             .x_stride = (n + 1) * panel, .y_stride = panel * panel};
    memset(one + n * panel, 0, (size_t)panel * sizeof(double));
    fnn_forward_pieces(s->kernels, &dense, (fnn_range){0, count}, (fnn_range){0, 1});
}

/* Where the upper triangle of panels has those of row q. */
static inline ptrdiff_t triangle_row(const fnn_least_squares *s, ptrdiff_t q) {
    return (q * s->panels - q * (q - 1) / 2) * s->kernels->panel * s->kernels->panel;
}

/* sum += product, of n panels of a triangle */
static void add_panels(const fnn_least_squares *s, double *sum, const double *product, ptrdiff_t n) {
    const ptrdiff_t panel = s->kernels->panel;
    s->kernels->combine(sum, sum, product, &(fnn_operands){FNN_ADD, n * panel, panel, panel, panel});
}

/* [J r]' [J r] of a block; the first thread, which has the first of the blocks, adds it to the sum. */
static void multiply_block(const fnn_least_squares *s, const workspace *w, ptrdiff_t rows, int thread) {
    const ptrdiff_t panel = s->kernels->panel, n = s->n_columns * rows;
    for (ptrdiff_t q = 0; q < s->panels && !fnn_interrupted(); q++) {
        double *one = w->J + q * (n + 1) * panel;
        const ptrdiff_t at = triangle_row(s, q);
        multiply_panels(s, w->product + (thread ? at : 0), one, one, n, s->panels - q);
        if (thread == 0) add_panels(s, s->normal + at, w->product, s->panels - q);
    }
}

/* ---- calls ---- */

static ptrdiff_t n_blocks(const fnn_least_squares *s) { return fnn_ceil_div(s->chain.rows, s->chain.block); }

/* The rows of block b. */
static fnn_range block_of(const fnn_least_squares *s, ptrdiff_t b) {
    return (fnn_range){b * s->chain.block, fnn_min((b + 1) * s->chain.block, s->chain.rows)};
}

static void sum_errors(void *context, int thread, int n_threads) {
    fnn_least_squares *s = context;
    const workspace *w = &s->threads[thread];
    const ptrdiff_t panel = s->kernels->panel;
    const fnn_range share = fnn_share(n_blocks(s), thread, n_threads);
    /* a panel of residuals, alone in its lanes */
    memset(w->J, 0, (size_t)(s->n_columns * fnn_min(s->chain.block, s->chain.rows) * panel) * sizeof(double));
    for (ptrdiff_t b = share.first; b < share.last && !fnn_interrupted(); b++) {
        const fnn_range block = block_of(s, b);
        const ptrdiff_t rows = block.last - block.first;
        for (ptrdiff_t first = 0; first < rows; first += GROUP * panel) {
            const ptrdiff_t count = fnn_min(GROUP * panel, rows - first);
            forward(s, w, block.first + first, fnn_ceil_div(count, panel), 0);
            for (ptrdiff_t c = 0; c < s->n_columns; c++)
                for (ptrdiff_t i = 0; i < count; i++)
                    w->J[(c * rows + first + i) * panel] = residual(s, w, c, block.first + first + i, i);
        }
        multiply_panels(s, w->product, w->J, w->J, s->n_columns * rows, 1);
        s->errors[b] = w->product[0];
    }
}

fnn_status fnn_squared_error(fnn_least_squares *s, const double *weights, double *error) {
    const double operations = 4.0 * (double)s->n_weights * (double)s->chain.rows;
    take_weights(s, weights);
    if (fnn_team_run(sum_errors, s, fnn_threads_for(operations, n_blocks(s), s->chain.n_threads), NULL))
        return FNN_INTERRUPTED;
    *error = 0;
    for (ptrdiff_t b = 0; b < n_blocks(s); b++) *error += s->errors[b];
    return FNN_OK;
}

/* Rounds of one block for each thread. */
static void sum_products(void *context, int thread, int n_threads) {
    fnn_least_squares *s = context;
    const workspace *w = &s->threads[thread];
    const ptrdiff_t blocks = n_blocks(s), square = s->kernels->panel * s->kernels->panel;
    const fnn_range share = fnn_share(s->panels * (s->panels + 1) / 2, thread, n_threads);
    for (ptrdiff_t first = s->next; first < blocks; first += n_threads) {
        if (first + thread < blocks) {
            const fnn_range block = block_of(s, first + thread);
            fill_block(s, w, block.first, block.last - block.first);
            multiply_block(s, w, block.last - block.first, thread);
        }
        if (n_threads > 1) fnn_barrier_wait(&s->barrier);
        for (int t = 1; t < n_threads && first + t < blocks; t++)
            add_panels(s, s->normal + share.first * square, s->threads[t].product + share.first * square,
                       share.last - share.first);
        if (thread == 0) {
            s->next = first + n_threads;
            s->stop = n_threads > 1 && fnn_barrier_is_crowded(&s->barrier);
        }
        if (n_threads > 1) fnn_barrier_wait(&s->barrier);
        if (s->stop) return;
    }
}

fnn_status fnn_normal_equations(fnn_least_squares *s, const double *weights, double *matrix, double *gradient) {
    const ptrdiff_t panel = s->kernels->panel, p = s->n_weights;
    const double operations = (double)p * (double)p * (double)s->n_columns * (double)s->chain.rows;
    take_weights(s, weights);
    memset(s->normal, 0, (size_t)triangle_row(s, s->panels) * sizeof(double));
    for (s->next = 0; s->next < n_blocks(s);)
        if (fnn_team_run(sum_products, s, fnn_threads_for(operations, n_blocks(s), s->chain.n_threads), &s->barrier))
            return FNN_INTERRUPTED;
    for (ptrdiff_t a = 0; a < p; a++) {
        const ptrdiff_t first = a / panel;
        const double *row = s->normal + triangle_row(s, first) + a % panel * panel;
        for (ptrdiff_t q = first; q * panel < p; q++)
            memcpy(matrix + a * p + q * panel, row + (q - first) * panel * panel,
                   (size_t)fnn_min(panel, p - q * panel) * sizeof(double));
        gradient[a] = row[(p / panel - first) * panel * panel + p % panel];
    }
    return FNN_OK;
}

static void copy_blocks(void *context, int thread, int n_threads) {
    fnn_least_squares *s = context;
    const workspace *w = &s->threads[thread];
    const ptrdiff_t panel = s->kernels->panel, all = s->n_columns * s->chain.rows;
    const fnn_range share = fnn_share(n_blocks(s), thread, n_threads);
    for (ptrdiff_t b = share.first; b < share.last && !fnn_interrupted(); b++) {
        const fnn_range block = block_of(s, b);
        const ptrdiff_t rows = block.last - block.first, n = s->n_columns * rows, at = s->n_columns * block.first;
        fill_block(s, w, block.first, rows);
        for (ptrdiff_t a = 0; a <= s->n_weights && !fnn_interrupted(); a++) {
            double *out = a < s->n_weights ? s->jacobian + a * all + at : s->residuals + at;
            const double *from = w->J + a / panel * (n + 1) * panel + a % panel;
            for (ptrdiff_t i = 0; i < n; i++) out[i] = from[i * panel];
        }
    }
}

fnn_status fnn_whole_jacobian(fnn_least_squares *s, const double *weights, double *jacobian, double *residuals) {
    take_weights(s, weights);
    s->jacobian = jacobian;
    s->residuals = residuals;
    const double operations = 8.0 * (double)s->n_weights * (double)(s->n_columns * s->chain.rows);
    const int threads = fnn_threads_for(operations, n_blocks(s), s->chain.n_threads);
    return fnn_team_run(copy_blocks, s, threads, NULL) ? FNN_INTERRUPTED : FNN_OK;
}
