/* The engine at its limits, without Python: an interruption at each look for one, in every kind of long call; sizes that
 * overflow; memory and threads that are not there; a forked child. Built with -DPOLL_NS=0 and a small FNN_PIECE_OPERATIONS,
 * so that small calls are long ones. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <math.h>
#include <omp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "chain.h"
#include "../../csrc/engine/least_squares.h"
#include "../../csrc/engine/team.h"
#include "../../csrc/engine/trials.h"

#define TABLE_(isa, type) fnn_kernels_##isa##_##type
#define TABLE(isa, type) TABLE_(isa, type)
extern const fnn_kernels TABLE(ISA, f32), TABLE(ISA, f64);

#define ROWS 700
#define WIDTH 150
#define MOST (ROWS * 1200)

static void fail(const char *what, const char *why) {
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

/* ---- interruptions ---- */

static long looks, interrupted_at;
static int poll(void) { return ++looks == interrupted_at; }

static const fnn_kernels *kernels;
static fnn_network *network;
static fnn_fit *fit;
static double X[MOST], Y[MOST], out[MOST], gradients[MOST], before[MOST], after[MOST];
static int n_threads;

static fnn_matrix matrix(const void *data, ptrdiff_t rows, ptrdiff_t cols) {
    const ptrdiff_t element = fnn_element(kernels);
    return (fnn_matrix){data, kernels->dtype, element * cols, element, rows, cols};
}

static fnn_op layer(const char *kind, ptrdiff_t n_out) {
    int i = 0;
    while (strcmp(fnn_kinds[i]->name, kind)) i++;
    return (fnn_op){.kind = fnn_kinds[i], .n_out = n_out, .activation = FNN_TANH, .use_kernel = 1, .use_bias = 1,
                    .trainable = 1, .momentum = 0.9, .epsilon = 1e-3, .rate = 0.1,
                    .rules = {{.l2 = 1e-3, .constraint = FNN_MAX_NORM, .bound = 3, .axis = FNN_OVER_INPUTS}}};
}

static const fnn_ranks *ranks; /* of the next fit, or NULL */
static ptrdiff_t batch = ROWS;

/* A fit of the network, in place of the one that there is. */
static fnn_status make_fit(void) {
    const fnn_matrix rows = matrix(X, ROWS, network->widths[0]);
    const fnn_targets targets = {.y = matrix(Y, ROWS, network->widths[network->n_ops])};
    fnn_fit_free(fit);
    fit = fnn_fit_new(network, &(fnn_fit_data){.X = &rows, .targets = &targets, .predictions = (void *[]){NULL},
                                               .batch_size = batch, .n_threads = n_threads, .ranks = ranks});
    return fit ? FNN_OK : FNN_NO_MEMORY;
}

static fnn_status make_network(void) {
    const fnn_op ops[] = {layer("dense", WIDTH), layer("dense", 3)};
    fnn_network *made = new_chain(kernels, WIDTH, ops, 2);
    fnn_network_free(made);
    return made ? FNN_OK : FNN_NO_MEMORY;
}

static fnn_status compile_again(void) {
    const fnn_loss loss = {.kind = FNN_MSE, .factor = 1};
    const fnn_optimizer o = {.update = {.kind = FNN_ADAM, .rate = 1, .scale = 1}, .accumulate = 1};
    return compile_chain(network, &loss, &o);
}

/* A fit of one batch, whose norms are clipped or whose gradients are summed, with a loss that couples rows or does not. */
static void start(int loss_kind, double clip_norm, int accumulate) {
    const fnn_op ops[] = {layer("dense", WIDTH), layer("batch_normalization", 0), layer("dropout", 0), layer("dense", 3)};
    const fnn_loss loss = {.kind = loss_kind, .factor = 1};
    fnn_optimizer o = {.update = {.kind = FNN_ADAM, .rate = 1, .epsilon = 1e-7, .scale = 1, .beta_1 = 0.1, .beta_2 = 0.001},
                       .clip_norm = clip_norm, .accumulate = accumulate};
    network = new_chain(kernels, WIDTH, ops, 4);
    if (!network || compile_chain(network, &loss, &o) != FNN_OK) fail("network", "not made");
    fnn_random_uniform(X, MOST, 1, 2), fnn_random_uniform(Y, MOST, 1, 3);
    if (kernels->dtype == FNN_F32)
        for (ptrdiff_t i = 0; i < MOST; i++) ((float *)X)[i] = (float)X[i], ((float *)Y)[i] = (float)Y[i];
    kernels->convert(network->weights, network->n_elements, &(fnn_matrix){X, kernels->dtype, 0, fnn_element(kernels), 1,
                     network->n_elements}, 0, 1);
    fit = NULL;
    if (make_fit() != FNN_OK) fail("fit", "not made");
}

static void end(void) {
    fnn_fit_free(fit);
    fnn_network_free(network);
}

static fnn_status run(void) {
    const double rates[] = {0.01, 0.01};
    fnn_fit_begin(fit, 1, 1, 1, rates);
    return fnn_fit_run(fit, -1, 1e9);
}

static fnn_status run_custom(void) {
    const double rate = 0.01;
    fnn_fit_begin(fit, 1, 1, 0, &rate);
    const double loss = 1.0;
    const fnn_status status = fnn_fit_forward(fit, (void *[]){out});
    return status == FNN_OK ? fnn_fit_backward(fit, (const void *[]){Y}, &loss) : status;
}

static fnn_status differentiate(void) {
    double loss, penalty;
    return fnn_fit_gradients(fit, gradients, 1, &loss, &penalty);
}

static fnn_status predict(void) {
    const fnn_matrix rows = matrix(X, ROWS, WIDTH);
    return predict_rows(network, &rows, out, NULL, 0, n_threads);
}

static ptrdiff_t product_rows;

static fnn_status multiply(void) {
    const fnn_dense_arrays arrays = {X, Y, NULL, product_rows, WIDTH, WIDTH, FNN_SOFTMAX, {0}};
    return fnn_dense_forward(kernels, out, &arrays, n_threads);
}

static fnn_status multiply_back(void) {
    static double dx[MOST], dw[MOST], db[MOST];
    const fnn_dense_arrays arrays = {X, Y, NULL, product_rows, WIDTH, WIDTH, FNN_TANH, {0}};
    return fnn_dense_backward(kernels, dx, dw, db, out, &arrays, n_threads);
}

static fnn_status lose(void) {
    double value;
    const fnn_loss loss = {.kind = FNN_MSE, .factor = 1};
    const fnn_loss_arrays arrays = {X, Y, NULL, NULL, ROWS, WIDTH};
    return fnn_loss_and_gradient(kernels, &value, gradients, &arrays, &loss);
}

static fnn_status activate(void) {
    fnn_activate(kernels, out, X, ROWS, WIDTH, FNN_LOG_SOFTMAX, NULL);
    fnn_activate(kernels, out, X, ROWS, WIDTH, FNN_GELU, NULL);
    return FNN_OK;
}

static fnn_status activation_gradient(void) {
    const fnn_status status = fnn_activation_gradient(kernels, out, Y, X, ROWS, WIDTH, FNN_SOFTMAX, NULL);
    return status != FNN_OK ? status : fnn_activation_gradient(kernels, gradients, Y, X, ROWS, WIDTH, FNN_GELU, NULL);
}

static fnn_status allocate(void) {
    fnn_arena arena = {0};
    fnn_take(&arena, (size_t)70 << 20);
    const int made = fnn_arena_allocate(&arena);
    if (made) fnn_arena_free(arena.block);
    return made ? FNN_OK : FNN_NO_MEMORY;
}

static size_t bytes_of_weights(void) { return (size_t)network->n_elements * network->element; }

/* The network as it was compiled. */
static void reset(void) {
    memcpy(network->weights, before, bytes_of_weights());
    for (int i = 0; i < network->n_slots; i++) memset(network->slots[i], 0, bytes_of_weights());
    network->iterations = 0;
}

/* Calls a function again and again, interrupted at each of its first looks and at some later ones, until it ends before.
 * `trains`: where it is interrupted, it leaves the weights as they were before its step, or as they are after it. */
static void interrupt(const char *name, fnn_status (*call)(void), int trains, long least) {
    fnn_set_poll(poll);
    if (trains) {
        memcpy(before, network->weights, bytes_of_weights());
        interrupted_at = 0;
        if (call() != FNN_OK) fail(name, "fails");
        memcpy(after, network->weights, bytes_of_weights());
    }
    for (interrupted_at = 1;; interrupted_at += 1 + interrupted_at / 8) {
        if (trains) reset();
        looks = 0;
        fnn_call whole;
        fnn_call_enter(&whole);
        const fnn_status status = call();
        const int stopped = looks >= interrupted_at;
        fnn_call_leave(&whole);
        if (!stopped) {
            if (status != FNN_OK) fail(name, "fails without an interruption");
            break;
        }
        if (trains && memcmp(network->iterations ? after : before, network->weights, bytes_of_weights()))
            fail(name, "is interrupted within a step");
    }
    if (looks < least) fail(name, "looks too seldom");
    printf("%s %s: %ld looks\n", name, kernels->dtype == FNN_F32 ? "float32" : "float64", looks);
    fnn_set_poll(NULL);
}

static fnn_least_squares *squares;
static fnn_status square(void) { return fnn_squared_error(squares, Y, out); }
static fnn_status make_normal_equations(void) { return fnn_normal_equations(squares, Y, out, gradients); }
static fnn_status make_jacobian(void) { return fnn_whole_jacobian(squares, Y, out, gradients); }

static void interrupt_least_squares(void) {
    const fnn_chain_layer layers[] = {{3, 5, FNN_TANH, {0}, 0, 15}, {5, 2, FNN_LINEAR, {0}, 20, 30}};
    squares = fnn_least_squares_new(kernels, &(fnn_chain){layers, 2, n_threads, X, Y, Y, ROWS, 64});
    if (!squares) fail("least squares", "not made");
    interrupt("squared error", square, 0, 4);
    interrupt("normal equations", make_normal_equations, 0, 4);
    interrupt("whole Jacobian", make_jacobian, 0, 4);
    fnn_least_squares_free(squares);
}

static void interrupt_all(void) {
    start(FNN_MSE, 0, 1);
    interrupt("gradients", differentiate, 1, 4);
    interrupt("predict", predict, 0, 4);
    end();
    for (int i = 0; i < 4; i++) {
        start(i == 1 ? FNN_DICE : FNN_MSE, i == 2 ? 0.5 : 0, i == 3 ? 2 : 1);
        interrupt("fit", run, 1, 4);
        end();
        start(FNN_CUSTOM, i == 2 ? 0.5 : 0, i == 3 ? 2 : 1);
        interrupt("fit of a custom loss", run_custom, 1, 4);
        end();
    }
    const ptrdiff_t rows[] = {1, 5, 20, ROWS};
    for (int i = 0; i < 4; i++) {
        product_rows = rows[i];
        interrupt("product", multiply, 0, i / 2);
        interrupt("gradient of a product", multiply_back, 0, i / 2);
    }
    interrupt("loss", lose, 0, 1);
    interrupt("activation", activate, 0, 1);
    interrupt("gradient of an activation", activation_gradient, 0, 1);
    interrupt("memory", allocate, 0, 1);
    if (kernels->dtype == FNN_F64) interrupt_least_squares();
}

/* ---- memory and threads that are not there: the system's functions, replaced in this program ---- */

static long allocations_left = -1; /* -1: no end */
static int no_threads;

void *aligned_alloc(size_t alignment, size_t bytes) {
    static void *(*real)(size_t, size_t);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "aligned_alloc");
    if (allocations_left == 0) return NULL;
    allocations_left -= allocations_left > 0;
    return real(alignment, bytes);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*work)(void *), void *argument) {
    static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
    return no_threads ? 11 : real(thread, attributes, work, argument);
}

/* Each allocation of a call fails, until it ends without a fault. */
static void starve(const char *name, fnn_status (*call)(void)) {
    fnn_status status = FNN_NO_MEMORY;
    for (long n = 0; status != FNN_OK; n++) {
        fnn_scratch_free(fnn_scratch_new((size_t)40 << 20)); /* nothing is kept from earlier calls */
        allocations_left = n;
        status = call();
        allocations_left = -1;
        if (n == 20 || (status != FNN_OK && status != FNN_NO_MEMORY)) fail(name, "does not survive a lack of memory");
    }
}

static fnn_status predict_nested(void) {
    static int nested;
    return nested++ ? FNN_OK : predict();
}

static int call_again(void) {
    predict_nested();
    return 0;
}

/* A thread of its own: without workers, then with them, then in a call within a call, as a signal handler makes. */
static void *run_alone(void *expected) {
    static double mine[ROWS * 3];
    starve("predict", predict); /* also of the memory of its team */
    for (int i = 0; i < 3; i++) {
        no_threads = i < 2;
        if (predict() != FNN_OK) fail("predict", "without threads");
        memcpy(mine, out, ROWS * 3 * network->element);
        if (memcmp(mine, expected, ROWS * 3 * network->element)) fail("predict", "other numbers without threads");
        if (i == 1) usleep(20000); /* before that it does not try again */
    }
    fnn_set_poll(call_again);
    if (predict() != FNN_OK || memcmp(out, expected, ROWS * 3 * network->element)) fail("predict", "within a call");
    fnn_set_poll(NULL);
    return NULL;
}

static void do_without(void) {
    start(FNN_MSE, 0, 1);
    n_threads = 1;
    if (predict() != FNN_OK) fail("predict", "fails");
    memcpy(before, out, ROWS * 3 * network->element);
    n_threads = 2;
    pthread_t thread;
    if (pthread_create(&thread, NULL, run_alone, before)) fail("thread", "not made");
    pthread_join(thread, NULL);
    starve("predict", predict);
    starve("network", make_network);
    starve("fit", make_fit);
    starve("compiled network", compile_again);
    product_rows = ROWS;
    starve("product", multiply);
    starve("gradient of a product", multiply_back);
    starve("loss", lose);
    starve("gradient of an activation", activation_gradient);
    end();
    printf("without memory and threads\n");
}

/* ---- sizes ---- */

static void refuse_sizes(void) {
    const ptrdiff_t most = PTRDIFF_MAX;
    const ptrdiff_t wrong[][3] = {{-1, 1, 1}, {1, -1, 1}, {1, 1, -1}, {most, 3, 1}, {most, 1, 3}, {most, 2, 1}};
    for (int i = 0; i < 6; i++)
        if (fnn_size(wrong[i][0], wrong[i][1], wrong[i][2]) != SIZE_MAX) fail("size", "overflows");
    for (int i = 0; i < 2; i++) {
        fnn_arena arena = {0};
        fnn_take(&arena, i ? SIZE_MAX : (size_t)most - 100);
        fnn_take(&arena, (size_t)most);
        fnn_take(&arena, 1);
        if (fnn_arena_allocate(&arena)) fail("arena", "of all memory");
    }
    if (fnn_scratch_new(SIZE_MAX)) fail("scratch", "of all memory");
    void *large = fnn_scratch_new((size_t)40 << 20);
    if (!large) fail("scratch", "not made");
    fnn_scratch_free(large), fnn_scratch_free(NULL);
    fnn_op ops[] = {layer("dense", 0), layer("dense", 1)};
    const ptrdiff_t widths[] = {0, -1, most, most / 64, (ptrdiff_t)1 << 56, (ptrdiff_t)1 << 40};
    for (int i = 0; i < 6; i++) {
        ops[0].n_out = widths[i];
        if (new_chain(kernels, (ptrdiff_t)1 << 20, ops, 2)) fail("network", "of all memory");
    }
    fnn_op scaled = layer("normalization", 0);
    scaled.indicator = 1;
    if (new_chain(kernels, most / 2 + 2, &scaled, 1)) fail("network", "of all memory");
    const char *const wide[] = {"cosine_features", "feature_scale", "embedding", "member_product"};
    for (int i = 0; i < 4; i++) {
        fnn_op op = layer(wide[i], 0);
        op.multiple = op.columns = op.groups = op.table_rows = most / 4;
        if (new_chain(kernels, 9, &op, 1)) fail(wide[i], "of all memory");
    }
    fnn_op both = layer("concatenate", 0);
    both.n_inputs = 2, both.inputs = (const int[]){0, 1};
    const fnn_program beside = {(const ptrdiff_t[]){most - 9, most - 9}, 2, 1, 1, &both, (const int[]){2}};
    if (fnn_network_new(kernels, &beside)) fail("network", "of all memory");
    static const int first[] = {0};
    fnn_op tables[FNN_MOST_OPS];
    for (int i = 0; i < FNN_MOST_OPS; i++) {
        tables[i] = layer("embedding", 0);
        tables[i].n_inputs = 1, tables[i].inputs = first;
        tables[i].table_rows = (ptrdiff_t)1 << 36, tables[i].columns = (ptrdiff_t)1 << 20;
    }
    if (new_chain(kernels, 1, tables, FNN_MOST_OPS)) fail("tables", "of all memory");
    tables[0].table_rows = (ptrdiff_t)1 << 61;
    if (new_chain(kernels, 1, tables, 1)) fail("table", "of all memory");
    fnn_op many[] = {layer("batch_normalization", 0), layer("batch_normalization", 0), layer("batch_normalization", 0)};
    if (new_chain(kernels, most / 128, many, 3)) fail("network", "of all memory");
    printf("sizes\n");
}

#include "options.h"

/* ---- a forked child, and a call in a parallel region ---- */

static void run_in_a_child(void) {
    n_threads = 2;
    start(FNN_MSE, 0, 1);
    if (predict() != FNN_OK) fail("predict", "on two threads");
    memcpy(before, out, ROWS * 3 * network->element);
    fflush(stdout);
    const pid_t child = fork();
    if (!child) {
        memset(out, 0, ROWS * 3 * network->element);
        exit(predict() != FNN_OK || memcmp(before, out, ROWS * 3 * network->element));
    }
    int status;
    waitpid(child, &status, 0);
    if (status) fail("child", "other numbers");
    int different = 0;
#pragma omp parallel num_threads(2) reduction(+ : different)
    {
#pragma omp single
        different += predict() != FNN_OK || memcmp(before, out, ROWS * 3 * network->element);
    }
    if (different) fail("parallel region", "other numbers");
    const int most = omp_get_max_threads();
    for (int own = 0; own < 3; own++) {
        omp_set_num_threads(1);
        fnn_limit_own_threads(own);
        if (predict() != FNN_OK || memcmp(before, out, ROWS * 3 * network->element)) fail("limits", "other numbers");
    }
    omp_set_num_threads(most), fnn_limit_own_threads(0);
    if (fnn_fit_run(fit, 0, 1e9) != FNN_MORE || run() != FNN_OK || fnn_fit_run(fit, 1, 1e9) != FNN_OK)
        fail("fit", "does not end");
    end();
    printf("child\n");
}

int main(void) {
    for (int wide = 0; wide < 2; wide++) {
        kernels = wide ? &TABLE(ISA, f64) : &TABLE(ISA, f32);
        for (n_threads = 1; n_threads <= 2; n_threads++) interrupt_all();
        for (n_threads = 1; n_threads <= 2; n_threads++) try_options();
        do_without();
        refuse_sizes();
        run_in_a_child();
    }
    return 0;
}
