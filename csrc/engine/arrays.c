/* Kernels on the caller's arrays: packs them into the layouts of the kernels, runs one kernel, unpacks. */

#include <string.h>

#include "engine.h"

static int is_elementwise(int activation) { return !fnn_is_row_activation(activation); }

/* The layer, with its kernel unpacked. */
static fnn_dense layer_of(const fnn_dense_arrays *a) {
    return (fnn_dense){.n_in = a->n_in, .n_out = a->n_out, .activation = a->activation, .W = a->kernel, .X = a->x,
                       .parameters = {a->parameters[0], a->parameters[1], a->parameters[2]}};
}

/* ---- dense, forward: blocks of rows or of panels ---- */

#define ROWS_AT_A_TIME 192

/* A product whose kernel is packed. */
typedef struct {
    const fnn_kernels *kernels;
    fnn_dense layer;          /* W: packed; n_out: the outputs of W */
    const char *x;            /* (n, n_in) */
    char *out, *scratch;      /* out (n, ld_out) */
    ptrdiff_t n, ld_out;
    ptrdiff_t rows, element;  /* rows: of a block of scratch */
} dense_call;

static void forward_panels(void *context, int thread, int n_threads) {
    const dense_call *c = context;
    const fnn_kernels *kernels = c->kernels;
    const ptrdiff_t panel = kernels->panel, n_in = c->layer.n_in, n_out = c->layer.n_out, element = c->element;
    fnn_dense layer = c->layer;
    layer.x_stride = fnn_panel_stride(kernels, n_in);
    layer.y_stride = fnn_panel_stride(kernels, n_out);
    const fnn_matrix x = {c->x, kernels->dtype, n_in * element, element, c->n, n_in};
    char *X = c->scratch + thread * FNN_BLOCK_PANELS * (layer.x_stride + layer.y_stride) * element;
    char *Y = X + FNN_BLOCK_PANELS * layer.x_stride * element;
    layer.X = X;
    layer.Y = Y;
    fnn_range share = fnn_share(fnn_ceil_div(c->n, panel), thread, n_threads);
    for (; share.first < share.last && !fnn_interrupted(); share.first += FNN_BLOCK_PANELS) {
        const ptrdiff_t panels = fnn_min(share.last - share.first, FNN_BLOCK_PANELS);
        for (ptrdiff_t p = 0; p < panels; p++) {
            const ptrdiff_t first = (share.first + p) * panel;
            kernels->gather(X + p * layer.x_stride * element, &x, NULL, first, fnn_min(c->n - first, panel));
        }
        fnn_forward_pieces(kernels, &layer, (fnn_range){0, panels}, (fnn_range){0, fnn_ceil_div(n_out, panel)});
        for (ptrdiff_t p = 0; p < panels; p++) {
            const ptrdiff_t first = (share.first + p) * panel;
            char *y = Y + p * layer.y_stride * element;
            if (!is_elementwise(layer.activation)) kernels->panel_activation(y, n_out, layer.activation);
            kernels->scatter(c->out, c->ld_out, y, n_out, NULL, first, fnn_min(c->n - first, panel));
        }
    }
}

static void forward_rows(void *context, int thread, int n_threads) {
    const dense_call *c = context;
    const fnn_kernels *kernels = c->kernels;
    const ptrdiff_t n_out = c->layer.n_out, ld = fnn_round_up(n_out, kernels->panel);
    const size_t bytes = (size_t)(n_out * c->element);
    fnn_dense layer = c->layer;
    layer.x_stride = layer.n_in;
    layer.y_stride = ld;
    fnn_range share = fnn_share(c->n, thread, n_threads);
    char *scratch = c->scratch + thread * c->rows * ld * c->element;
    for (; share.first < share.last && !fnn_interrupted(); share.first += c->rows) {
        const ptrdiff_t rows = fnn_min(share.last - share.first, c->rows);
        char *target = c->out + share.first * c->ld_out * c->element, *Y = ld == c->ld_out ? target : scratch;
        layer.X = c->x + share.first * layer.n_in * c->element;
        layer.Y = Y;
        fnn_rows_pieces(kernels, &layer, rows);
        if (!is_elementwise(layer.activation)) kernels->row_activation(Y, rows, n_out, ld, layer.activation);
        if (Y != target)
            for (ptrdiff_t r = 0; r < rows; r++) memcpy(target + r * c->ld_out * c->element, Y + r * ld * c->element, bytes);
    }
}

/* Packing a kernel costs about as much as its product with FEW_ROWS rows, or with SOME_ROWS where the kernel stays in the
 * second-level cache meanwhile; a product with a small kernel is as fast unpacked. */
#define FEW_ROWS 6
#define SOME_ROWS 24
#define CACHED_BYTES ((ptrdiff_t)768 << 10)
#define SMALL_ELEMENTS (128 * 128)
#define SMALL_ROWS 128

static int stays_unpacked(const fnn_dense_arrays *a, ptrdiff_t element) {
    const ptrdiff_t elements = a->n_in * a->n_out;
    if (a->n <= FEW_ROWS) return 1;
    return a->n <= SOME_ROWS ? elements <= CACHED_BYTES / element : a->n <= SMALL_ROWS && elements <= SMALL_ELEMENTS;
}

/* Small products need no allocation. */
#define STACK_BYTES 16384

fnn_status fnn_dense_forward(const fnn_kernels *kernels, void *out, const fnn_dense_arrays *a, int n_threads) {
    const ptrdiff_t element = fnn_element(kernels), n = a->n, n_in = a->n_in, n_out = a->n_out;
    fnn_dense layer = layer_of(a);
    ptrdiff_t direct = 0; /* outputs that are done without packing */
    if (is_elementwise(a->activation) && stays_unpacked(a, element)) {
        layer.Y = out;
        layer.x_stride = n_in;
        layer.y_stride = n_out;
        kernels->dense_rows_unpacked(&layer, a->bias, n);
        direct = n_out / kernels->panel * kernels->panel;
        if (direct == n_out) return FNN_OK;
    }
    layer.n_out = n_out - direct;
    const double operations = 2.0 * (double)n * (double)n_in * (double)n_out;
    const int threads = direct ? 1 : fnn_threads_for(operations, n / SOME_ROWS, n_threads);
    const ptrdiff_t rows = fnn_min(n, ROWS_AT_A_TIME), ld = fnn_round_up(layer.n_out, kernels->panel);
    const int by_panels = !direct && fnn_panels_pay(n_in, n / threads);
    size_t scratch = ld == n_out ? 0 : fnn_size(threads * rows, ld, element);
    if (by_panels)
        scratch = fnn_size(threads * FNN_BLOCK_PANELS, fnn_panel_stride(kernels, n_in) + fnn_panel_stride(kernels, n_out),
                           element);
    _Alignas(64) char stack[STACK_BYTES];
    char *kept = NULL;
    fnn_arena arena = {0};
    dense_call call = {kernels, layer, a->x, (char *)out + direct * element, NULL, n, n_out, rows, element};
    void *W = NULL;
    for (int pass = 0; pass < 2; pass++) {
        W = fnn_take(&arena, fnn_size(fnn_weight_elements(kernels, n_in, layer.n_out), element, 1));
        call.scratch = fnn_take(&arena, scratch);
        if (pass) break;
        arena.block = arena.used <= STACK_BYTES ? stack : (kept = fnn_scratch_new(arena.used));
        if (!arena.block) return FNN_NO_MEMORY;
        arena.used = 0;
    }
    call.layer.W = W;
    kernels->pack_columns(W, a->kernel, a->bias, n_in, n_out, (fnn_range){direct, n_out});
    const int interrupted = fnn_team_run(by_panels ? forward_panels : forward_rows, &call, threads, NULL);
    fnn_scratch_free(kept);
    return interrupted ? FNN_INTERRUPTED : FNN_OK;
}

/* ---- dense, backward: panels, as in a training step ---- */

typedef struct {
    const fnn_kernels *kernels;
    fnn_dense layer;
    void *W, *X, *gradient; /* of the weights, laid out as W */
    fnn_matrix x, grad_out;
    char *grad_x;
    ptrdiff_t n, n_panels, element;
    fnn_barrier barrier;
} backward_call;

static void backward_arrays(void *context, int thread, int n_threads) {
    backward_call *c = context;
    const fnn_kernels *kernels = c->kernels;
    const fnn_dense *layer = &c->layer;
    const ptrdiff_t panel = kernels->panel, element = c->element, n_in = layer->n_in, n_out = layer->n_out;
    const ptrdiff_t weight_panels = fnn_ceil_div(n_out, panel);
    const fnn_range panels = fnn_share(c->n_panels, thread, n_threads);
    for (ptrdiff_t p = panels.first; p < panels.last; p = fnn_next_panel(p, panels.last)) {
        const ptrdiff_t count = fnn_min(c->n - p * panel, panel);
        char *dY = (char *)layer->dY + p * layer->dy_stride * element;
        kernels->gather((char *)c->X + p * layer->x_stride * element, &c->x, NULL, p * panel, count);
        kernels->gather(dY, &c->grad_out, NULL, p * panel, count);
        fnn_clear_padding(dY, panel, n_out, count, (size_t)element);
    }
    fnn_forward_pieces(kernels, layer, panels, (fnn_range){0, weight_panels});
    for (ptrdiff_t p = panels.first; p < panels.last; p = fnn_next_panel(p, panels.last)) {
        void *Y = (char *)layer->Y + p * layer->y_stride * element;
        if (!is_elementwise(layer->activation)) {
            kernels->panel_activation(Y, n_out, layer->activation);
            kernels->panel_activation_gradient((char *)layer->dY + p * layer->dy_stride * element, Y, n_out,
                                               layer->activation);
        }
        kernels->dense_backward_output(layer, p);
    }
    fnn_backward_input_pieces(kernels, layer, panels, (fnn_range){0, n_in});
    for (ptrdiff_t p = panels.first; p < panels.last; p = fnn_next_panel(p, panels.last))
        kernels->scatter(c->grad_x, n_in, (char *)layer->dX + p * layer->dx_stride * element, n_in, NULL, p * panel,
                         fnn_min(c->n - p * panel, panel));
    fnn_barrier_wait(&c->barrier);
    const fnn_update store = {.kind = FNN_STORE};
    const fnn_weights weights = {c->gradient, {c->gradient}};
    const fnn_range share = fnn_share(weight_panels, thread, n_threads);
    for (ptrdiff_t q = share.first; q < share.last; q++)
        fnn_update_pieces(kernels, layer, &weights, (fnn_range){q, q + 1}, (fnn_range){0, n_in + 1}, &store);
}

static void lay_out_backward(backward_call *c, fnn_arena *arena) {
    const fnn_kernels *kernels = c->kernels;
    fnn_dense *layer = &c->layer;
    const size_t weights = fnn_size(fnn_weight_elements(kernels, layer->n_in, layer->n_out) + kernels->panel, c->element, 1);
    const size_t inputs = fnn_size(c->n_panels, layer->x_stride, c->element);
    const size_t outputs = fnn_size(c->n_panels, layer->y_stride, c->element);
    layer->W = c->W = fnn_take(arena, weights);
    c->gradient = fnn_take(arena, weights);
    layer->X = c->X = fnn_take(arena, inputs);
    layer->dX = fnn_take(arena, inputs);
    layer->Y = fnn_take(arena, outputs);
    layer->dY = fnn_take(arena, outputs);
    layer->dZt = fnn_take(arena, fnn_size(layer->rows, fnn_round_up(layer->n_out, kernels->panel), c->element));
    layer->D = fnn_take(arena, outputs);
}

fnn_status fnn_dense_backward(const fnn_kernels *kernels, void *grad_x, void *grad_kernel, void *grad_bias,
                              const void *grad_out, const fnn_dense_arrays *a, int n_threads) {
    const ptrdiff_t element = fnn_element(kernels), n = a->n, n_in = a->n_in, n_out = a->n_out;
    backward_call call = {.kernels = kernels,
                          .layer = layer_of(a),
                          .x = {a->x, kernels->dtype, n_in * element, element, n, n_in},
                          .grad_out = {grad_out, kernels->dtype, n_out * element, element, n, n_out},
                          .grad_x = grad_x,
                          .n = n,
                          .n_panels = fnn_ceil_div(n, kernels->panel),
                          .element = element};
    call.layer.rows = call.n_panels * kernels->panel;
    call.layer.chunks = (fnn_range){0, fnn_ceil_div(call.layer.rows, FNN_CHUNK)};
    call.layer.x_stride = call.layer.dx_stride = fnn_panel_stride(kernels, n_in + 1);
    call.layer.y_stride = call.layer.dy_stride = fnn_panel_stride(kernels, n_out);
    fnn_arena arena = {0};
    lay_out_backward(&call, &arena);
    if (!fnn_arena_allocate(&arena)) return FNN_NO_MEMORY;
    lay_out_backward(&call, &arena);
    /* the gradient then needs no more than the outputs */
    if (a->activation == FNN_LINEAR || a->activation == FNN_RELU || !is_elementwise(a->activation)) call.layer.D = NULL;
    kernels->pack_weights(call.W, a->kernel, a->bias, n_in, n_out);
    fnn_set_ones(kernels, call.X, call.layer.x_stride, n_in, call.n_panels);
    const double operations = 6.0 * (double)n * (double)n_in * (double)n_out;
    const int threads = fnn_threads_for(operations, call.n_panels, n_threads);
    const int interrupted = fnn_team_run(backward_arrays, &call, threads, &call.barrier);
    kernels->unpack_weights(grad_kernel, grad_bias, call.gradient, n_in, n_out);
    fnn_arena_free(arena.block);
    return interrupted ? FNN_INTERRUPTED : FNN_OK;
}

/* ---- losses and activations ---- */

/* The rows after a panel from row `first` on; n after an interruption. */
static ptrdiff_t next_rows(ptrdiff_t first, ptrdiff_t n, ptrdiff_t panel) {
    return fnn_next_panel(first / panel, n) == n ? n : first + panel;
}

/* The buffers of one panel, and the constants of its rows. */
typedef struct {
    void *Y, *T, *dY;
    double *values, *scale, *labels;
} loss_buffers;

static void lay_out_loss(loss_buffers *b, const fnn_kernels *kernels, ptrdiff_t n_out, fnn_arena *arena) {
    const size_t panel = fnn_size(n_out, kernels->panel, fnn_element(kernels)), rows = FNN_MOST_LANES * sizeof(double);
    b->Y = fnn_take(arena, panel);
    b->T = fnn_take(arena, panel);
    b->dY = fnn_take(arena, panel);
    b->values = fnn_take(arena, rows);
    b->scale = fnn_take(arena, rows);
    b->labels = fnn_take(arena, rows);
}

/* A number of the element type. */
typedef union {
    float single;
    double wide;
} number;

/* The Dice loss of a batch is that of one row, which is the whole batch; its weight is the sum of the rows' weights, or
 * their mean. */
static fnn_loss_arrays as_one_row(const fnn_loss_arrays *arrays, const fnn_loss *loss, size_t element, number *weight) {
    fnn_loss_arrays one = *arrays;
    double sum = 0;
    for (ptrdiff_t i = 0; i < arrays->n; i++) sum += fnn_sample_weight(arrays->sample_weight, element, i);
    if (!loss->sum) sum /= (double)arrays->n;
    if (element == sizeof(float))
        weight->single = (float)sum;
    else
        weight->wide = sum;
    if (arrays->sample_weight) one.sample_weight = weight;
    one.n = 1;
    one.n_out = arrays->n * arrays->n_out;
    return one;
}

/* Of a loss that is computed row by row. */
static fnn_status loss_by_rows(const fnn_kernels *kernels, double *value, void *gradient, const fnn_loss_arrays *arrays,
                               const fnn_loss *loss) {
    const ptrdiff_t element = fnn_element(kernels), panel = kernels->panel, n = arrays->n, n_out = arrays->n_out;
    loss_buffers b;
    fnn_arena arena = {0};
    lay_out_loss(&b, kernels, n_out, &arena);
    if (!fnn_arena_allocate(&arena)) return FNN_NO_MEMORY;
    lay_out_loss(&b, kernels, n_out, &arena);
    const ptrdiff_t columns = fnn_target_columns(loss, n_out);
    const fnn_matrix predicted = {arrays->y_pred, kernels->dtype, n_out * element, element, n, n_out};
    const fnn_matrix targets = {arrays->y_true, kernels->dtype, columns * element, element, n, columns};
    const void *weight = arrays->sample_weight;
    const double divisor = loss->sum ? 1.0 : fnn_divisor(loss, arrays->labels, weight, (size_t)element, NULL, 0, n);
    double result = 0;
    for (ptrdiff_t first = 0; first < n; first = next_rows(first, n, panel)) {
        const ptrdiff_t count = fnn_min(n - first, panel);
        kernels->gather(b.Y, &predicted, NULL, first, count);
        if (arrays->y_true) kernels->gather(b.T, &targets, NULL, first, count);
        for (ptrdiff_t i = 0; i < panel; i++) {
            const ptrdiff_t row = first + i;
            const int counts = i < count && divisor != 0 && fnn_counts(loss, arrays->labels, row);
            b.scale[i] = counts ? loss->factor * (fnn_sample_weight(weight, (size_t)element, row) / divisor) : 0.0;
            b.labels[i] = counts && arrays->labels ? (double)arrays->labels[row] : 0.0;
        }
        kernels->loss(b.values, gradient ? b.dY : NULL, b.Y, b.T, b.labels, n_out, b.scale, loss, 0);
        for (ptrdiff_t i = 0; i < count; i++) result += b.values[i] * b.scale[i];
        if (gradient) kernels->scatter(gradient, n_out, b.dY, n_out, NULL, first, count);
    }
    fnn_arena_free(arena.block);
    *value = result;
    return FNN_OK;
}

fnn_status fnn_loss_and_gradient(const fnn_kernels *kernels, double *value, void *gradient, const fnn_loss_arrays *arrays,
                                 const fnn_loss *loss) {
    if (!fnn_couples_rows(loss)) return loss_by_rows(kernels, value, gradient, arrays, loss);
    number weight;
    fnn_loss of_row = *loss;
    of_row.per_row = 1;
    const fnn_loss_arrays one = as_one_row(arrays, loss, (size_t)fnn_element(kernels), &weight);
    return loss_by_rows(kernels, value, gradient, &one, &of_row);
}

/* Numbers between two looks for an interruption. */
#define AT_A_TIME ((ptrdiff_t)65536)

void fnn_activate(const fnn_kernels *kernels, void *out, const void *x, ptrdiff_t n, ptrdiff_t n_out, int activation,
                  const double *parameters) {
    const ptrdiff_t element = fnn_element(kernels), rows = is_elementwise(activation) ? 0 : fnn_ceil_div(AT_A_TIME, n_out);
    const ptrdiff_t count = rows ? rows * n_out : AT_A_TIME, all = n * n_out;
    if (rows && out != x) memmove(out, x, (size_t)(all * element));
    for (ptrdiff_t i = 0; i < all && !fnn_interrupted(); i += count) {
        char *y = (char *)out + i * element;
        const ptrdiff_t some = fnn_min(all - i, count);
        if (rows)
            kernels->row_activation(y, some / n_out, n_out, n_out, activation);
        else
            kernels->activate(y, NULL, (const char *)x + i * element, some, activation, parameters);
    }
}

static fnn_status elementwise_gradient(const fnn_kernels *kernels, void *grad_x, const void *grad_out, const void *x,
                                       ptrdiff_t n, int activation, const double *parameters) {
    fnn_arena arena = {0};
    fnn_take(&arena, fnn_size(fnn_min(n, AT_A_TIME), fnn_element(kernels), 1));
    if (!fnn_arena_allocate(&arena)) return FNN_NO_MEMORY;
    for (ptrdiff_t i = 0; i < n && !fnn_interrupted(); i += AT_A_TIME) {
        const ptrdiff_t bytes = i * fnn_element(kernels), count = fnn_min(n - i, AT_A_TIME);
        kernels->activate(arena.block, (char *)grad_x + bytes, (const char *)x + bytes, count, activation, parameters);
        kernels->multiply((char *)grad_x + bytes, (const char *)grad_out + bytes, count);
    }
    fnn_arena_free(arena.block);
    return FNN_OK;
}

fnn_status fnn_activation_gradient(const fnn_kernels *kernels, void *grad_x, const void *grad_out, const void *x,
                                   ptrdiff_t n, ptrdiff_t n_out, int activation, const double *parameters) {
    if (is_elementwise(activation))
        return elementwise_gradient(kernels, grad_x, grad_out, x, n * n_out, activation, parameters);
    const ptrdiff_t element = fnn_element(kernels), panel = kernels->panel;
    const size_t bytes = fnn_size(n_out, panel, element);
    fnn_arena arena = {0};
    fnn_take(&arena, bytes);
    fnn_take(&arena, bytes);
    if (!fnn_arena_allocate(&arena)) return FNN_NO_MEMORY;
    void *Y = fnn_take(&arena, bytes), *dY = fnn_take(&arena, bytes);
    const fnn_matrix inputs = {x, kernels->dtype, n_out * element, element, n, n_out};
    const fnn_matrix gradients = {grad_out, kernels->dtype, n_out * element, element, n, n_out};
    for (ptrdiff_t first = 0; first < n; first = next_rows(first, n, panel)) {
        const ptrdiff_t count = fnn_min(n - first, panel);
        kernels->gather(Y, &inputs, NULL, first, count);
        kernels->gather(dY, &gradients, NULL, first, count);
        kernels->panel_activation(Y, n_out, activation);
        kernels->panel_activation_gradient(dY, Y, n_out, activation);
        kernels->scatter(grad_x, n_out, dY, n_out, NULL, first, count);
    }
    fnn_arena_free(arena.block);
    return FNN_OK;
}
