/* Kernels on the caller's arrays: packs them into the layouts of the kernels, runs one kernel, unpacks. */

#include <string.h>

#include "engine.h"

static ptrdiff_t elements_of(const fnn_kernels *kernels) { return kernels->dtype == FNN_F32 ? 4 : 8; }
static ptrdiff_t round_up(ptrdiff_t n, ptrdiff_t multiple) { return (n + multiple - 1) / multiple * multiple; }

/* ---- dense, forward: blocks of rows or of panels ---- */

#define ROWS_AT_A_TIME 192

typedef struct {
    const fnn_kernels *kernels;
    char *out, *W, *scratch;
    const char *x;
    ptrdiff_t n, n_in, n_out, ld_out, rows, element; /* rows: of a block of scratch */
    int activation;
    const double *parameters;
} dense_call;

static void forward_panels(void *context, int thread, int n_threads) {
    const dense_call *c = context;
    const fnn_kernels *kernels = c->kernels;
    const ptrdiff_t panel = kernels->panel;
    const ptrdiff_t x_stride = fnn_panel_stride(kernels, c->n_in), y_stride = fnn_panel_stride(kernels, c->n_out);
    const fnn_matrix x = {c->x, kernels->dtype, c->n_in * c->element, c->element, c->n, c->n_in};
    char *X = c->scratch + thread * FNN_BLOCK_PANELS * (x_stride + y_stride) * c->element;
    char *Y = X + FNN_BLOCK_PANELS * x_stride * c->element;
    const fnn_dense layer = {Y, NULL, X, c->W, c->n_in, c->n_out, x_stride, y_stride, c->activation,
                             {c->parameters[0], c->parameters[1], c->parameters[2]}};
    ptrdiff_t p0, p1;
    fnn_share((c->n + panel - 1) / panel, thread, n_threads, &p0, &p1);
    for (; p0 < p1; p0 += FNN_BLOCK_PANELS) {
        const ptrdiff_t panels = fnn_part(p1 - p0, FNN_BLOCK_PANELS);
        for (ptrdiff_t p = 0; p < panels; p++) {
            const ptrdiff_t first = (p0 + p) * panel;
            kernels->gather(X + p * x_stride * c->element, &x, NULL, first, fnn_part(c->n - first, panel));
        }
        kernels->dense_forward(&layer, 0, panels, 0, (c->n_out + panel - 1) / panel);
        for (ptrdiff_t p = 0; p < panels; p++) {
            const ptrdiff_t first = (p0 + p) * panel;
            char *y = Y + p * y_stride * c->element;
            if (c->activation >= FNN_SOFTMAX) kernels->panel_activation(y, c->n_out, c->activation);
            kernels->scatter(c->out, c->ld_out, y, c->n_out, NULL, first, fnn_part(c->n - first, panel));
        }
    }
}

static void forward_rows(void *context, int thread, int n_threads) {
    const dense_call *c = context;
    const ptrdiff_t ld = round_up(c->n_out, c->kernels->panel);
    const size_t bytes = (size_t)(c->n_out * c->element);
    ptrdiff_t first, last;
    fnn_share(c->n, thread, n_threads, &first, &last);
    char *scratch = c->scratch + thread * c->rows * ld * c->element;
    for (; first < last; first += c->rows) {
        const ptrdiff_t rows = fnn_part(last - first, c->rows);
        char *target = c->out + first * c->ld_out * c->element, *Y = ld == c->ld_out ? target : scratch;
        c->kernels->dense_rows(Y, c->x + first * c->n_in * c->element, c->W, rows, c->n_in, c->n_out, c->n_in, ld,
                               c->activation, c->parameters);
        if (c->activation >= FNN_SOFTMAX) c->kernels->row_activation(Y, rows, c->n_out, ld, c->activation);
        if (Y != target)
            for (ptrdiff_t r = 0; r < rows; r++) memcpy(target + r * c->ld_out * c->element, Y + r * ld * c->element, bytes);
    }
}

/* Packing a kernel costs about as much as its product with FEW_ROWS, or with SOME_ROWS where its rows stay in the
 * second-level cache meanwhile; a small one is as fast unpacked. */
#define FEW_ROWS 6
#define SOME_ROWS 24
#define CACHED_BYTES ((ptrdiff_t)768 << 10)
#define SMALL_ELEMENTS (128 * 128)
#define SMALL_ROWS 128

static int stays_unpacked(ptrdiff_t n, ptrdiff_t elements, ptrdiff_t element) {
    if (n <= FEW_ROWS) return 1;
    return n <= SOME_ROWS ? elements <= CACHED_BYTES / element : n <= SMALL_ROWS && elements <= SMALL_ELEMENTS;
}

/* Small products need no allocation. */
#define STACK_BYTES 16384

fnn_status fnn_dense_forward(const fnn_kernels *kernels, void *out, const void *x, const void *kernel, const void *bias,
                             ptrdiff_t n, ptrdiff_t n_in, ptrdiff_t n_out, int activation, const double *parameters,
                             int n_threads) {
    const ptrdiff_t element = elements_of(kernels);
    ptrdiff_t direct = 0; /* outputs that are done without packing */
    if (activation < FNN_SOFTMAX && stays_unpacked(n, n_in * n_out, element)) {
        kernels->dense_rows_unpacked(out, x, kernel, bias, n, n_in, n_out, activation, parameters);
        direct = n_out / kernels->panel * kernels->panel;
        if (direct == n_out) return FNN_OK;
    }
    const ptrdiff_t rest = n_out - direct, ld = round_up(rest, kernels->panel);
    const double operations = 2.0 * (double)n * (double)n_in * (double)n_out;
    const int threads = direct ? 1 : fnn_threads_for(operations, n / SOME_ROWS, n_threads);
    const ptrdiff_t rows = fnn_part(n, ROWS_AT_A_TIME);
    const int by_panels = !direct && fnn_panels_pay(n_in, n / threads);
    const ptrdiff_t in_stride = fnn_panel_stride(kernels, n_in), out_stride = fnn_panel_stride(kernels, n_out);
    size_t scratch = ld == n_out ? 0 : fnn_size(threads * rows, ld, element);
    if (by_panels) scratch = fnn_size(threads * FNN_BLOCK_PANELS, in_stride + out_stride, element);
    const size_t sizes[2] = {fnn_size(fnn_weight_elements(kernels, n_in, rest), element, 1), scratch};
    _Alignas(64) char stack[STACK_BYTES];
    void *parts[2] = {stack, stack + sizes[0]}, *arena = NULL;
    if (sizes[0] >= STACK_BYTES || sizes[1] > STACK_BYTES - sizes[0]) {
        arena = fnn_scratch_new(parts, sizes, 2);
        if (!arena) return FNN_NO_MEMORY;
    }
    kernels->pack_columns(parts[0], kernel, bias, n_in, n_out, direct, rest);
    dense_call call = {kernels, (char *)out + direct * element, parts[0], parts[1], x, n, n_in, rest, n_out, rows, element,
                       activation, parameters};
    fnn_team_run(by_panels ? forward_panels : forward_rows, &call, threads, NULL);
    fnn_scratch_free(arena);
    return FNN_OK;
}

/* ---- dense, backward: panels, as in a training step ---- */

typedef struct {
    const fnn_kernels *kernels;
    fnn_dense layer;
    fnn_matrix x, grad_out;
    char *grad_x, *dY, *dX, *dZt, *gradient;
    ptrdiff_t n, n_in, n_out, panels, element, dy_stride, dx_stride;
    fnn_barrier barrier;
} backward_call;

static void backward_arrays(void *context, int thread, int n_threads) {
    backward_call *c = context;
    const fnn_kernels *kernels = c->kernels;
    const ptrdiff_t panel = kernels->panel, weight_panels = (c->n_out + panel - 1) / panel;
    const int activation = c->layer.activation;
    ptrdiff_t p0, p1, q0, q1;
    fnn_share(c->panels, thread, n_threads, &p0, &p1);
    for (ptrdiff_t p = p0; p < p1; p++) {
        const ptrdiff_t count = fnn_part(c->n - p * panel, panel);
        char *X = (char *)(uintptr_t)c->layer.X + p * c->layer.x_stride * c->element;
        kernels->gather(X, &c->x, NULL, p * panel, count);
        char *dY = c->dY + p * c->dy_stride * c->element;
        kernels->gather(dY, &c->grad_out, NULL, p * panel, count);
        fnn_clear_padding(dY, panel, c->n_out, count, (size_t)c->element);
    }
    kernels->dense_forward(&c->layer, p0, p1, 0, weight_panels);
    for (ptrdiff_t p = p0; p < p1; p++) {
        void *Y = (char *)c->layer.Y + p * c->layer.y_stride * c->element;
        void *D = c->layer.D ? (char *)c->layer.D + p * c->n_out * panel * c->element : Y;
        void *dY = c->dY + p * c->dy_stride * c->element;
        if (activation >= FNN_SOFTMAX) {
            kernels->panel_activation(Y, c->n_out, activation);
            kernels->panel_activation_gradient(dY, Y, c->n_out, activation);
        }
        kernels->dense_backward_output(dY, c->dZt, D, activation < FNN_SOFTMAX ? activation : FNN_LINEAR, c->n_out,
                                       c->panels * panel, p);
    }
    kernels->dense_backward_input(c->dX, c->dY, c->layer.W, c->n_in, c->n_out, c->dx_stride, c->dy_stride, p0, p1, 0,
                                  c->n_in);
    for (ptrdiff_t p = p0; p < p1; p++) {
        const ptrdiff_t count = fnn_part(c->n - p * panel, panel);
        kernels->scatter(c->grad_x, c->n_in, c->dX + p * c->dx_stride * c->element, c->n_in, NULL, p * panel, count);
    }
    fnn_barrier_wait(&c->barrier);
    fnn_share(weight_panels, thread, n_threads, &q0, &q1);
    const fnn_update store = {.kind = FNN_STORE};
    for (ptrdiff_t q = q0; q < q1; q++)
        kernels->dense_update(c->gradient, c->gradient, NULL, NULL, c->layer.X, c->dZt, c->n_in, c->n_out,
                              c->layer.x_stride, c->panels * panel, q, q + 1, 0, c->n_in + 1, &store);
}

fnn_status fnn_dense_backward(const fnn_kernels *kernels, void *grad_x, void *grad_kernel, void *grad_bias,
                              const void *grad_out, const void *x, const void *kernel, const void *bias, ptrdiff_t n,
                              ptrdiff_t n_in, ptrdiff_t n_out, int activation, const double *parameters, int n_threads) {
    const ptrdiff_t element = elements_of(kernels), panel = kernels->panel, panels = (n + panel - 1) / panel;
    const ptrdiff_t x_stride = fnn_panel_stride(kernels, n_in + 1), y_stride = fnn_panel_stride(kernels, n_out);
    const size_t weights = fnn_size(fnn_weight_elements(kernels, n_in, n_out) + panel, element, 1);
    const size_t inputs = fnn_size(panels, x_stride, element), outputs = fnn_size(panels, y_stride, element);
    const size_t sizes[8] = {weights, weights, inputs,  inputs,
                             outputs, outputs, outputs, fnn_size(panels * panel, round_up(n_out, panel), element)};
    void *parts[8];
    void *arena = fnn_arena_new(parts, sizes, 8);
    if (!arena) return FNN_NO_MEMORY;
    kernels->pack_weights(parts[0], kernel, bias, n_in, n_out);
    const double one = 1.0;
    const fnn_matrix ones = {&one, FNN_F64, 0, 0, 0, 1};
    for (ptrdiff_t p = 0; p < panels; p++)
        kernels->gather((char *)parts[2] + (p * x_stride + n_in * panel) * element, &ones, NULL, 0, panel);
    const int dtype = kernels->dtype;
    backward_call call = {.kernels = kernels,
                          .layer = {parts[4], parts[5], parts[2], parts[0], n_in, n_out, x_stride, y_stride, activation,
                                    {parameters[0], parameters[1], parameters[2]}},
                          .x = {x, dtype, n_in * element, element, n, n_in},
                          .grad_out = {grad_out, dtype, n_out * element, element, n, n_out},
                          .grad_x = grad_x,
                          .dY = parts[6],
                          .dX = parts[3],
                          .dZt = parts[7],
                          .gradient = parts[1],
                          .n = n,
                          .n_in = n_in,
                          .n_out = n_out,
                          .panels = panels,
                          .element = element,
                          .dy_stride = y_stride,
                          .dx_stride = x_stride};
    if (activation == FNN_LINEAR || activation == FNN_RELU || activation >= FNN_SOFTMAX) call.layer.D = NULL;
    fnn_team_run(backward_arrays, &call, fnn_threads_for(6.0 * (double)n * (double)n_in * (double)n_out, panels, n_threads),
                 &call.barrier);
    kernels->unpack_weights(grad_kernel, grad_bias, parts[1], n_in, n_out);
    fnn_arena_free(arena);
    return FNN_OK;
}

/* ---- losses and activations ---- */

fnn_status fnn_loss_arrays(const fnn_kernels *kernels, double *value, void *gradient, const void *y_pred,
                           const void *y_true, const int64_t *labels, const void *sample_weight, ptrdiff_t n,
                           ptrdiff_t n_out, const fnn_loss *loss) {
    const ptrdiff_t element = elements_of(kernels), panel = kernels->panel;
    const size_t bytes = fnn_size(n_out, panel, element);
    const size_t sizes[6] = {bytes, bytes, bytes, 512, 512, 512};
    void *parts[6];
    void *arena = fnn_arena_new(parts, sizes, 6);
    if (!arena) return FNN_NO_MEMORY;
    double *values = parts[3], *scale = parts[4], *label = parts[5], result = 0;
    const fnn_matrix predicted = {y_pred, kernels->dtype, n_out * element, element, n, n_out};
    const fnn_matrix targets = {y_true, kernels->dtype, n_out * element, element, n, n_out};
    const double divisor = loss->sum ? 1.0 : fnn_divisor(loss, labels, sample_weight, (size_t)element, NULL, 0, n);
    for (ptrdiff_t first = 0; first < n; first += panel) {
        const ptrdiff_t count = fnn_part(n - first, panel);
        kernels->gather(parts[0], &predicted, NULL, first, count);
        if (y_true) kernels->gather(parts[1], &targets, NULL, first, count);
        for (ptrdiff_t i = 0; i < panel; i++) {
            const int counts = i < count && divisor != 0 && fnn_counts(loss, labels, first + i);
            scale[i] = counts ? loss->factor * (fnn_weight(sample_weight, (size_t)element, first + i) / divisor) : 0.0;
            label[i] = counts && labels ? (double)labels[first + i] : 0.0;
        }
        kernels->loss(values, gradient ? parts[2] : NULL, parts[0], parts[1], label, n_out, scale, loss, 0);
        for (ptrdiff_t i = 0; i < count; i++) result += values[i] * scale[i];
        if (gradient) kernels->scatter(gradient, n_out, parts[2], n_out, NULL, first, count);
    }
    fnn_arena_free(arena);
    *value = result;
    return FNN_OK;
}

fnn_status fnn_activation_gradient(const fnn_kernels *kernels, void *grad_x, const void *grad_out, const void *x,
                                   ptrdiff_t n, ptrdiff_t n_out, int activation, const double *parameters) {
    const ptrdiff_t element = elements_of(kernels), panel = kernels->panel;
    if (activation < FNN_SOFTMAX) {
        void *y;
        const size_t size = fnn_size(n, n_out, element);
        void *arena = fnn_arena_new(&y, &size, 1);
        if (!arena) return FNN_NO_MEMORY;
        kernels->activate(y, grad_x, x, n * n_out, activation, parameters);
        kernels->multiply(grad_x, grad_out, n * n_out);
        fnn_arena_free(arena);
        return FNN_OK;
    }
    const size_t bytes = fnn_size(n_out, panel, element), sizes[2] = {bytes, bytes};
    void *parts[2];
    void *arena = fnn_arena_new(parts, sizes, 2);
    if (!arena) return FNN_NO_MEMORY;
    const fnn_matrix inputs = {x, kernels->dtype, n_out * element, element, n, n_out};
    const fnn_matrix gradients = {grad_out, kernels->dtype, n_out * element, element, n, n_out};
    for (ptrdiff_t first = 0; first < n; first += panel) {
        const ptrdiff_t count = fnn_part(n - first, panel);
        kernels->gather(parts[0], &inputs, NULL, first, count);
        kernels->gather(parts[1], &gradients, NULL, first, count);
        kernels->panel_activation(parts[0], n_out, activation);
        kernels->panel_activation_gradient(parts[1], parts[0], n_out, activation);
        kernels->scatter(grad_x, n_out, parts[1], n_out, NULL, first, count);
    }
    fnn_arena_free(arena);
    return FNN_OK;
}
