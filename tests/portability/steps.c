/* Trains small networks on one instruction set (-DISA=<name>) without Python and prints a hash of the results, one line
 * per network: every activation, loss and update rule, ragged panels, one to three threads; then kernels alone (kernels.h),
 * layers for tables (tabular.h) and ranks (ranks.h). check.py compares the lines. */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chain.h"

#define TABLE_(isa, type) fnn_kernels_##isa##_##type
#define TABLE(isa, type) TABLE_(isa, type)
extern const fnn_kernels TABLE(ISA, f32), TABLE(ISA, f64);

#define MOST 500000 /* elements of any array here */

static const struct {
    int kind, last, from_logits;
} losses[] = {
    {FNN_MSE, FNN_LINEAR, 0},
    {FNN_BCE, FNN_SIGMOID, 1},
    {FNN_SPARSE_CCE, FNN_SOFTMAX, 1},
    {FNN_HUBER, FNN_TANH, 0},
    {FNN_CCE, FNN_SOFTMAX, 0},
    {FNN_POISSON, FNN_SOFTPLUS, 0},
    {FNN_GAUSSIAN_NLL, FNN_LINEAR, 0},
    {FNN_BINARY_FOCAL, FNN_SIGMOID, 1},
    {FNN_MAE, FNN_LINEAR, 0},
    {FNN_CATEGORICAL_FOCAL, FNN_SOFTMAX, 1},
    {FNN_MAPE, FNN_LINEAR, 0},
    {FNN_MSLE, FNN_SIGMOID, 0},
    {FNN_LOG_COSH, FNN_LINEAR, 0},
    {FNN_HINGE, FNN_LINEAR, 0},
    {FNN_SQUARED_HINGE, FNN_LINEAR, 0},
    {FNN_QUANTILE, FNN_LINEAR, 0},
    {FNN_KL_DIVERGENCE, FNN_SOFTMAX, 0},
    {FNN_CATEGORICAL_HINGE, FNN_LINEAR, 0},
    {FNN_COSINE_SIMILARITY, FNN_LINEAR, 0},
    {FNN_DICE, FNN_SIGMOID, 0},
    {FNN_CCE, FNN_LOG_SOFTMAX, 0},
    {FNN_BCE, FNN_SIGMOID, 0},
    {FNN_BINARY_FOCAL, FNN_SIGMOID, 0},
    {FNN_CATEGORICAL_FOCAL, FNN_SOFTMAX, 0},
    {FNN_SPARSE_CCE, FNN_SOFTMAX, 0},
    {FNN_DICE, FNN_SOFTMAX, 0},
};
#define N_LOSSES (int)(sizeof losses / sizeof *losses)

/* inputs, two hidden layers, outputs, batch: 16 and 8 rows are a panel of float32 and of float64 */
static const ptrdiff_t shapes[][5] = {
    {5, 32, 32, 4, 32},   {4, 16, 7, 2, 10},     {64, 100, 24, 10, 64}, {1, 1, 1, 2, 1},    {33, 17, 9, 6, 7},
    {13, 15, 31, 18, 16}, {820, 20, 5, 34, 270}, {2, 3, 65, 8, 33},     {40, 8, 8, 12, 600}, {7, 6, 5, 2, 97},
};
#define N_SHAPES (int)(sizeof shapes / sizeof *shapes)

#define N_TRAINED 120 /* recipes; those of larger numbers train no weight */

static uint64_t hash;

static void add(const void *data, size_t bytes) {
    for (size_t i = 0; i < bytes; i += 4) {
        uint32_t word;
        memcpy(&word, (const char *)data + i, 4);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 32;
    }
}

#define GUARD 64 /* zeros behind an array, which must stay zeros */

static void clear(void *data, ptrdiff_t count, size_t element) { memset(data, 0, (size_t)(count + GUARD) * element); }

static void add_guarded(const void *data, ptrdiff_t count, size_t element) {
    add(data, (size_t)(count + GUARD) * element);
}

static void fail(const char *message) {
    fprintf(stderr, "%s\n", message);
    exit(1);
}

/* `count` numbers of the element type, uniform in [low, high) */
static void fill(void *out, size_t element, ptrdiff_t count, double low, double high, uint64_t stream) {
    static double uniform[MOST];
    for (ptrdiff_t i = 0; i < count; i++) {
        if (i % MOST == 0) fnn_random_uniform(uniform, fnn_min(MOST, count - i), 7, stream + ((uint64_t)i << 20));
        const double x = low + (high - low) * uniform[i % MOST];
        if (element == 4)
            ((float *)out)[i] = (float)x;
        else
            ((double *)out)[i] = x;
    }
}

static const fnn_kind *kind_named(const char *name) {
    int i = 0;
    while (fnn_kinds[i] && strcmp(fnn_kinds[i]->name, name)) i++;
    return fnn_kinds[i];
}

static fnn_op dense(ptrdiff_t n_out, int activation) {
    return (fnn_op){.kind = kind_named("dense"),
                    .n_out = n_out,
                    .activation = activation,
                    .use_bias = 1,
                    .trainable = 1,
                    .parameters = {0.2, 6.0, 0.1}};
}

/* A layer between dense ones. */
static fnn_op between(const char *kind) {
    return (fnn_op){.kind = kind_named(kind), .trainable = 1, .use_kernel = 1, .use_bias = 1, .momentum = 0.9,
                    .epsilon = 1e-3, .rate = 0.2, .activation = FNN_SOFTMAX};
}

/* Options that change with the recipe, each with a period of its own. */
static void vary(int recipe, fnn_op *ops, int n, fnn_loss *loss, fnn_optimizer *o) {
    static const double alphas[] = {0.1, 0.9, 0.3, 0.2, 0.8, 0.25, 0.5, 0.7, 0.4, 0.6, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7,
                                    0.8, 0.9, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6};
    for (int i = 0; i < n; i++) {
        fnn_rules *rules = ops[i].rules;
        if (recipe % 4 == 1) rules[FNN_KERNEL] = (fnn_rules){.l1 = 1e-3, .l2 = 2e-3};
        if (recipe % 5 == 2) rules[FNN_BIAS] = (fnn_rules){.l2 = 1e-2, .no_decay = 1};
        rules[FNN_KERNEL].constraint = recipe / 2 % 7 < FNN_CONSTRAINTS ? recipe / 2 % 7 : FNN_NO_CONSTRAINT;
        rules[FNN_KERNEL].axis = recipe % FNN_AXES;
        rules[FNN_KERNEL].bound = 0.7;
        if (recipe % 6 == 3) ops[i].activity_l1 = 1e-3, ops[i].activity_l2 = 1e-2;
        ops[i].alpha = ops[i].rms = recipe / 6 % 2;
        ops[i].invert = recipe / 3 % 2;
        ops[i].missing = ops[i].indicator = ops[i].kind == kind_named("normalization") && recipe / 9 % 2;
    }
    loss->sum = recipe % 9 == 4;
    loss->full = recipe % 2;
    loss->per_row = loss->balanced = recipe / 2 % 2;
    loss->alphas = recipe % 2 && loss->kind == FNN_CATEGORICAL_FOCAL ? alphas : NULL;
    loss->ignores = recipe % 8 == 2;
    loss->ignored = 1;
    o->update.decay = recipe % 3 == 1 ? 0.01 : 0;
    o->update.clip = recipe % 10 == 7 ? 1e-3 : 0;
    o->clip_norm = recipe % 10 == 8 ? 0.1 : 0;
    o->global_clip_norm = recipe % 10 == 9 ? 0.1 : 0;
    o->use_average = recipe % 7 == 5;
    o->average_momentum = 0.9;
    o->overwrite_every = recipe % 14 == 5 ? 4 : 0;
    o->accumulate = 1 + (recipe % 11 == 6);
}

static fnn_optimizer optimizer(int kind) {
    fnn_optimizer o = {.update = {.kind = kind, .rate = 1, .epsilon = 1e-7, .scale = 1}, .accumulate = 1};
    o.initial = kind == FNN_ADAGRAD ? 0.1 : 0;
    const int complement = kind == FNN_ADAM || kind == FNN_AMSGRAD || kind == FNN_NADAM || kind == FNN_ADAMAX;
    o.update.beta_1 = complement ? 1 - 0.9 : kind == FNN_SGD ? 0 : 0.9;
    o.update.beta_2 = kind == FNN_ADAM || kind == FNN_AMSGRAD || kind == FNN_NADAM ? 1 - 0.999 : 0.95;
    return o;
}

/* kernels and biases, the same whatever the layout of the weights */
static void add_weights(const fnn_network *network, const void *weights) {
    static double kernel[MOST], bias[MOST];
    for (int i = 0; i < network->n_ops; i++) {
        const fnn_op *op = &network->ops[i];
        if (!op->rows) continue;
        network->kernels->unpack_weights(kernel, bias, (const char *)weights + (size_t)op->weights * network->element,
                                         op->rows, op->columns);
        add(kernel, (size_t)(op->rows * op->n_out) * network->element);
        if (op->use_bias) add(bias, (size_t)op->n_out * network->element);
    }
}

/* Random weights, the same whatever the layout. */
static void fill_weights(const fnn_network *network) {
    static double kernel[MOST], bias[MOST];
    const size_t element = network->element;
    for (int i = 0; i < network->n_ops; i++) {
        const fnn_op *op = &network->ops[i];
        if (!op->rows) continue;
        const double bound = op->kind->is_product ? sqrt(3 / (double)op->n_in) : 1;
        fill(kernel, element, op->rows * op->columns, -bound, bound, (uint64_t)(100 + i));
        fill(bias, element, op->columns, -0.3, 0.3, (uint64_t)(200 + i));
        network->kernels->pack_weights((char *)network->weights + (size_t)op->weights * element, kernel, bias, op->rows,
                                       op->columns);
    }
}

/* The compiled network of a recipe, and its loss. */
static fnn_network *network_of(const fnn_kernels *kernels, int recipe, fnn_loss *loss) {
    const ptrdiff_t *s = shapes[recipe % N_SHAPES];
    const int l = recipe % N_LOSSES;
    static const char *const layers[] = {NULL,    "dropout",        "batch_normalization", "layer_normalization",
                                         "prelu", "gaussian_noise", "normalization",       "activation"};
    fnn_op ops[5];
    int n = 0;
    ops[n++] = dense(s[1], recipe % FNN_SOFTMAX);
    if (layers[recipe % 8]) ops[n++] = between(layers[recipe % 8]);
    ops[n++] = dense(s[2], (recipe / 2) % FNN_SOFTMAX);
    ops[n++] = dense(s[3], losses[l].last);
    *loss = (fnn_loss){.kind = losses[l].kind, .from_logits = losses[l].from_logits, .delta = 0.3, .alpha = 0.25,
                       .gamma = 2, .factor = 1, .label_smoothing = recipe % 4 ? 0 : 0.1};
    fnn_optimizer o = optimizer(FNN_SGD + recipe % (FNN_UPDATES - FNN_SGD));
    vary(recipe, ops, n, loss, &o);
    fnn_network *network = new_chain(kernels, s[0], ops, n);
    if (!network) fail("no network");
    const size_t element = network->element;
    fill_weights(network);
    for (int i = 0; i < n; i++)
        if (network->ops[i].kind->takes_missing)
            fill((char *)network->weights + (size_t)network->ops[i].state * element, element, 2 * network->ops[i].n_in,
                 0.5, 1.5, 3);
    if (compile_chain(network, loss, &o) != FNN_OK) fail("no compiled network");
    for (int i = 0; i < n && recipe >= N_TRAINED; i++) network->ops[i].trainable = 0;
    return network;
}

/* The arrays of a recipe: rows or columns in order; weights of rows. */
static chain_data data_of(const fnn_kernels *kernels, int recipe, const fnn_loss *loss) {
    static double X[MOST], y[MOST], weight[MOST];
    static int64_t labels[MOST];
    const ptrdiff_t *s = shapes[recipe % N_SHAPES], rows = 2 * s[4] + 3, columns = fnn_target_columns(loss, s[3]);
    const size_t element = (size_t)fnn_element(kernels);
    const int in_rows = recipe / 4 % 2;
    fill(X, 8, rows * s[0], -1.5, 1.5, 1);
    fill(y, element, rows * columns, 0.05, 0.95, 2);
    for (ptrdiff_t i = 0; i < rows; i++) labels[i] = i * 7 % s[3];
    chain_data data = {.X = {X, FNN_F64, in_rows ? 8 * s[0] : 8, in_rows ? 8 : 8 * rows, rows, s[0]},
                       .batch_size = s[4], .n_threads = 1 + recipe % 3};
    fill(weight, element, rows, 0.5, 2, 4);
    if (recipe / 3 % 2) data.targets.sample_weight = weight;
    data.targets.y = (fnn_matrix){y, kernels->dtype, (ptrdiff_t)element * columns, (ptrdiff_t)element, rows, columns};
    if (loss->kind == FNN_SPARSE_CCE) {
        data.targets.y.data = NULL;
        data.targets.labels = labels;
    }
    return data;
}

static void train(const fnn_kernels *kernels, int recipe) {
    static double out[MOST], penalties[MOST];
    const ptrdiff_t *s = shapes[recipe % N_SHAPES], rows = 2 * s[4] + 3;
    fnn_loss loss;
    fnn_network *network = network_of(kernels, recipe, &loss);
    chain_data data = data_of(kernels, recipe, &loss);
    const size_t element = network->element;
    clear(out, rows * s[3], element);
    if (recipe / 5 % 2) data.predictions = out;
    fnn_fit *fit = new_fit(network, &data);
    if (!fit) fail("no fit");
    double rates[16];
    for (int i = 0; i < 16; i++) rates[i] = 1e-3;
    if (fnn_fit_steps(fit) > 16) fail("too many steps");
    fnn_status status = FNN_OK;
    for (uint64_t epoch = 0; epoch < 3 && status == FNN_OK; epoch++) {
        fnn_fit_begin(fit, 3, epoch, 1, rates);
        do status = fnn_fit_run(fit, -1, 1e9);
        while (status == FNN_MORE);
        const double sum = fnn_fit_loss_sum(fit);
        add(&sum, sizeof sum);
    }
    if (status != FNN_OK) fail("the fit did not end");
    fnn_fit_free(fit);
    add_guarded(out, rows * s[3], element);
    add_weights(network, network->weights);
    for (int slot = 0; slot < network->n_slots; slot++) add_weights(network, network->slots[slot]);
    for (ptrdiff_t count = 1; count <= rows; count = count < rows ? fnn_min(2 * count + 1, rows) : count + 1) {
        data.X.rows = count;
        double *activity = recipe / 2 % 2 ? penalties : NULL;
        clear(out, count * s[3], element);
        if (predict_rows(network, &data.X, out, activity, recipe % 2, data.n_threads) != FNN_OK) fail("no prediction");
        add_guarded(out, count * s[3], element);
        if (activity) add(activity, (size_t)count * 8);
    }
    fnn_network_free(network);
    printf("network %d", recipe);
}

/* products and their gradients on arrays, of m rows from k to n features */
static void multiply(const fnn_kernels *kernels, ptrdiff_t m, ptrdiff_t k, ptrdiff_t n, int activation, int with_bias) {
    static double x[MOST], kernel[MOST], bias[MOST], y[MOST], dx[MOST], dw[MOST], db[MOST];
    const size_t element = kernels->dtype == FNN_F32 ? 4 : 8;
    const fnn_dense_arrays arrays = {x, kernel, with_bias ? bias : NULL, m, k, n, activation, {0.2, 6.0, 0.1}};
    fill(x, element, m * k, -1, 1, 1);
    fill(kernel, element, k * n, -1, 1, 2);
    fill(bias, element, n, -1, 1, 3);
    clear(y, m * n, element), clear(dx, m * k, element), clear(dw, k * n, element), clear(db, n, element);
    if (fnn_dense_forward(kernels, y, &arrays, 1) != FNN_OK) fail("no product");
    if (fnn_dense_backward(kernels, dx, dw, db, y, &arrays, 1) != FNN_OK) fail("no gradient");
    add_guarded(y, m * n, element);
    add_guarded(dx, m * k, element);
    add_guarded(dw, k * n, element);
    add_guarded(db, n, element);
    printf("product %td %td %td", m, k, n);
}

/* every elementwise function, over magnitudes from 2^-20 to 2^12 */
static void apply(const fnn_kernels *kernels, int activation) {
    static double x[4095 + GUARD], y[4095 + GUARD], d[4095 + GUARD];
    static const double parameters[3] = {0.2, 6.0, 0.1};
    for (int i = 0; i < 4095; i++) {
        const double value = ldexp((i & 1 ? -1.0 : 1.0) * (1 + i * 0x1p-12), i % 33 - 20);
        if (kernels->dtype == FNN_F32)
            ((float *)x)[i] = (float)value;
        else
            x[i] = value;
    }
    kernels->activate(y, d, x, 4095, activation, parameters);
    add_guarded(y, 4095, kernels->dtype == FNN_F32 ? 4 : 8);
    add_guarded(d, 4095, kernels->dtype == FNN_F32 ? 4 : 8);
    printf("activation %d", activation);
}

#include "kernels.h"
#include "ranks.h"
#include "tabular.h"

#define LINE(call)                                              \
    {                                                           \
        hash = 0xcbf29ce484222325u;                             \
        call;                                                   \
        printf(" %s %016llx\n", type, (unsigned long long)hash); \
    }

int main(void) {
    for (int wide = 0; wide < 2; wide++) {
        const fnn_kernels *kernels = wide ? &TABLE(ISA, f64) : &TABLE(ISA, f32);
        const char *type = wide ? "float64" : "float32";
        for (int i = 0; i < N_TRAINED; i++) LINE(train(kernels, i))
        for (int i = 0; i < FNN_SOFTMAX; i++) LINE(apply(kernels, i))
        static const ptrdiff_t sizes[][3] = {{1, 1, 1},     {1, 70, 33},   {6, 40, 40}, {17, 9, 31},
                                             {33, 100, 10}, {5, 900, 3},   {7, 20, 1100}, {2, 3, 48},
                                             {64, 64, 64},  {97, 33, 129}, {600, 5, 3}, {600, 21, 1}};
        for (int i = 0; i < (int)(sizeof sizes / sizeof *sizes); i++)
            LINE(multiply(kernels, sizes[i][0], sizes[i][1], sizes[i][2], i % FNN_SOFTMAX, 1))
        for (int m = 1; m <= 14; m++) LINE(multiply(kernels, m, m % 5 ? 11 + m : 700, 51 - m, FNN_LINEAR, m % 2))
        static const ptrdiff_t cut[][2] = {{1, 5}, {2, 5}, {3, 5}, {4, 5}, {5, 5}, {6, 5}, {33, 40}, {200, 9}};
        for (int i = 0; i < 8; i++) LINE(multiply(kernels, cut[i][0], 900, cut[i][1], FNN_RELU, 1))
        for (int i = 0; i < FNN_CUSTOM; i++) LINE(lose(kernels, i, 0))
        static const int of_logits[] = {FNN_POISSON, FNN_BCE,        FNN_BINARY_FOCAL,
                                        FNN_CCE,     FNN_SPARSE_CCE, FNN_CATEGORICAL_FOCAL};
        for (int i = 0; i < 6; i++) LINE(lose(kernels, of_logits[i], 1))
        for (int i = FNN_F32; i <= FNN_U64; i++) LINE(move(kernels, i))
        for (int i = 0; i < 30; i++) LINE(differentiate(kernels, i))
        for (int i = FNN_STORE; i < FNN_UPDATES; i++) LINE(update(kernels, i))
        LINE(look(kernels))
        LINE(draw(kernels))
        for (int i = 0; i < 60; i++) LINE(train_tabular(kernels, i))
        for (int most = 0; most <= 40; most += 10) LINE(turn(kernels, most))
        for (int i = FNN_ADD; i <= FNN_MINIMUM; i++) LINE(combine(kernels, i))
        LINE(multiply_rows(kernels))
        LINE(look_up(kernels))
        LINE(factorize(kernels))
        LINE(do_without(kernels))
        keep_zeros(kernels);
        LINE(gather_columns(kernels))
        for (int i = FNN_SGD; i <= FNN_ADAM; i++) LINE(train_wide(kernels, i))
        LINE(skip_derivatives(kernels))
        for (int i = 0; i < 30; i++) LINE(train(kernels, N_TRAINED + 7 * i))
        for (int i = 0; i < 24; i++) LINE(train_in_ranks(kernels, 7 * i % N_TRAINED))
        for (int i = 0; i < 6; i++) LINE(train_in_ranks(kernels, N_TRAINED + 7 * i))
        LINE(lose_ranks(kernels, 0))
        lose_ranks(kernels, 1);
        part_ranks(kernels, 7);
        part_ranks(kernels, 19);
        add_chunks(kernels);
        update_panels(kernels);
    }
    return 0;
}
