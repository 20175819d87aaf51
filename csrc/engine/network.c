/* A network: its program, its weights in weight panels, and the moments of its update rule. */

#include <string.h>

#include "kind.h"

/* Numbers that an op keeps but does not train. */
static ptrdiff_t state_elements(const fnn_op *op) {
    const char *const *states = op->kind->states;
    return (states[0] ? op->n_in : 0) + (states[1] ? op->n_in : 0) + (states[2] != NULL);
}

/* The sizes of an op of n_in features, and its places from *elements on; 0 where they overflow. */
static int place_op(const fnn_kernels *kernels, fnn_op *op, ptrdiff_t n_in, ptrdiff_t *elements) {
    const fnn_kind *kind = op->kind;
    op->n_in = n_in;
    op->rows = kind->is_product ? n_in : kind->parameters[FNN_KERNEL] != NULL;
    op->use_kernel |= kind->is_product;
    if (!kind->is_product) op->n_out = kind->outputs ? kind->outputs(op) : n_in;
    /* below this bound on one layer's weights, all products of the layouts stay far from overflow */
    if (op->n_out < 1 || fnn_size(op->n_out + kernels->panel, n_in + 1, kind->is_product ? 64 : 1) == SIZE_MAX) return 0;
    if (fnn_size(op->n_out + kernels->panel, 64, 64) == SIZE_MAX) return 0;
    op->panels = fnn_ceil_div(op->n_out, kernels->panel);
    op->weights = *elements;
    const ptrdiff_t weights = op->rows ? fnn_weight_elements(kernels, op->rows, op->n_out) : 0;
    if (__builtin_add_overflow(*elements, weights, elements)) return 0;
    op->state = *elements;
    return !__builtin_add_overflow(*elements, fnn_round_up(state_elements(op), kernels->panel), elements);
}

/* Branches are nested: each is kept in the slot after those of the branches around it. */
static void place_branches(fnn_network *network) {
    for (int j = 0; j < network->n_ops; j++) {
        fnn_op *op = &network->ops[j];
        if (!op->kind->adds_branch) continue;
        op->slot = 0;
        for (int k = j + 1; k < network->n_ops; k++)
            op->slot += network->ops[k].kind->adds_branch && network->ops[k].source <= op->source;
        if (op->slot >= network->n_branches) network->n_branches = op->slot + 1;
    }
}

/* Copies the program and places its ops; 0 where sizes overflow. */
static int place_ops(fnn_network *network, const fnn_op *ops) {
    ptrdiff_t width = network->n_features;
    network->n_elements = 0;
    network->operations = 0;
    network->widest = width;
    for (int i = 0; i < network->n_ops; i++) {
        fnn_op own = ops[i], *op = network->ops ? &network->ops[i] : &own;
        *op = own;
        if (!place_op(network->kernels, op, width, &network->n_elements)) return 0;
        if (op->kind->is_product) network->operations += 2.0 * (double)width * (double)op->n_out;
        width = op->n_out;
        if (width > network->widest) network->widest = width;
    }
    network->n_outputs = width;
    return 1;
}

static fnn_network *lay_out(fnn_network *plan, fnn_arena *arena) {
    fnn_network *network = fnn_take(arena, sizeof(fnn_network));
    plan->ops = fnn_take(arena, sizeof(fnn_op) * (size_t)plan->n_ops);
    /* one more panel: a narrow one may be read with full vectors */
    plan->weights = fnn_take(arena, fnn_size(plan->n_elements + plan->kernels->panel, (ptrdiff_t)plan->element, 1));
    return network;
}

fnn_network *fnn_network_new(const fnn_kernels *kernels, ptrdiff_t n_features, const fnn_op *ops, int n_ops) {
    fnn_network plan = {.kernels = kernels, .n_ops = n_ops, .n_features = n_features};
    plan.element = (size_t)fnn_element(kernels);
    fnn_arena arena = {0};
    if (!place_ops(&plan, ops)) return NULL;
    lay_out(&plan, &arena);
    if (!fnn_arena_allocate(&arena)) return NULL;
    fnn_network *network = lay_out(&plan, &arena);
    *network = plan;
    place_ops(network, ops);
    place_branches(network);
    return network;
}

void fnn_network_free(fnn_network *network) {
    if (!network) return;
    fnn_arena_free(network->slot_block);
    fnn_arena_free(network);
}

static void set_all(void *array, ptrdiff_t n, size_t element, double value) {
    for (ptrdiff_t i = 0; i < n; i++)
        if (element == 4)
            ((float *)array)[i] = (float)value;
        else
            ((double *)array)[i] = value;
}

/* Moments that each update rule keeps. */
static const int n_moments[FNN_UPDATES] = {
    [FNN_SGD_MOMENTUM] = 1, [FNN_SGD_NESTEROV] = 1, [FNN_ADAM] = 2,     [FNN_AMSGRAD] = 3,
    [FNN_NADAM] = 2,        [FNN_ADAMAX] = 2,       [FNN_ADAGRAD] = 1,  [FNN_ADADELTA] = 2,
    [FNN_LION] = 1,         [FNN_RMSPROP] = 2,      [FNN_RMSPROP_CENTERED] = 3,
};

fnn_status fnn_network_compile(fnn_network *network, const fnn_loss *loss, const fnn_optimizer *optimizer) {
    void *slots[FNN_SLOTS] = {NULL};
    fnn_arena arena = {0};
    const int moments = n_moments[optimizer->update.kind];
    const int n_slots = moments + (optimizer->use_average != 0) + (optimizer->accumulate > 1);
    const size_t bytes = fnn_size(network->n_elements, (ptrdiff_t)network->element, 1);
    for (int s = 0; s < n_slots; s++) fnn_take(&arena, bytes);
    if (n_slots && !fnn_arena_allocate(&arena)) return FNN_NO_MEMORY;
    for (int s = 0; s < n_slots; s++) slots[s] = fnn_take(&arena, bytes);
    fnn_arena_free(network->slot_block);
    network->slot_block = arena.block;
    memcpy(network->slots, slots, sizeof slots);
    network->n_slots = n_slots;
    network->loss = *loss;
    network->optimizer = *optimizer;
    network->n_moments = moments;
    network->iterations = 0;
    if (moments && optimizer->initial != 0)
        set_all(slots[0], network->n_elements, network->element, optimizer->initial);
    return FNN_OK;
}

void *fnn_average_slot(const fnn_network *network) {
    return network->optimizer.use_average ? network->slots[network->n_moments] : NULL;
}

void *fnn_sum_slot(const fnn_network *network) {
    return network->optimizer.accumulate > 1 ? network->slots[network->n_slots - 1] : NULL;
}

void fnn_network_use_average(fnn_network *network) {
    for (int i = 0; i < network->n_ops; i++) {
        const fnn_op *op = &network->ops[i];
        if (!fnn_is_trained(op)) continue;
        const ptrdiff_t first = op->use_kernel ? 0 : op->rows, rows = op->rows + (op->use_bias != 0) - first;
        for (ptrdiff_t q = 0; q < op->panels; q++) {
            ptrdiff_t width;
            const void *A = fnn_rows_at(network, fnn_average_slot(network), op, q, first, &width);
            void *W = fnn_rows_at(network, network->weights, op, q, first, &width);
            memcpy(W, A, (size_t)(rows * width) * network->element);
        }
    }
}

/* ---- flat parameters ---- */

static ptrdiff_t parameter_elements(const fnn_op *op, int parameter) {
    if (!op->rows) return 0;
    return parameter == FNN_KERNEL ? op->rows * op->n_out * (op->use_kernel != 0) : op->n_out * (op->use_bias != 0);
}

ptrdiff_t fnn_flat_size(const fnn_network *network) {
    ptrdiff_t n = 0;
    for (int i = 0; i < network->n_ops; i++)
        n += parameter_elements(&network->ops[i], FNN_KERNEL) + parameter_elements(&network->ops[i], FNN_BIAS);
    return n;
}

void fnn_from_flat(const fnn_network *network, void *weights, const void *flat) {
    const char *from = flat;
    for (int parameter = 0; parameter < FNN_PARAMETERS; parameter++)
        for (int i = 0; i < network->n_ops; i++) {
            const fnn_op *op = &network->ops[i];
            const ptrdiff_t n = parameter_elements(op, parameter);
            char *W = (char *)weights + op->weights * (ptrdiff_t)network->element;
            if (n)
                network->kernels->pack_weights(W, parameter == FNN_KERNEL ? from : NULL, parameter == FNN_BIAS ? from : NULL,
                                               op->rows, op->n_out);
            from += n * (ptrdiff_t)network->element;
        }
}

void fnn_to_flat(const fnn_network *network, void *flat, const void *weights) {
    char *to = flat;
    for (int parameter = 0; parameter < FNN_PARAMETERS; parameter++)
        for (int i = 0; i < network->n_ops; i++) {
            const fnn_op *op = &network->ops[i];
            const ptrdiff_t n = parameter_elements(op, parameter);
            const char *W = (const char *)weights + op->weights * (ptrdiff_t)network->element;
            if (n)
                network->kernels->unpack_weights(parameter == FNN_KERNEL ? to : NULL, parameter == FNN_BIAS ? to : NULL, W,
                                                 op->rows, op->n_out);
            to += n * (ptrdiff_t)network->element;
        }
}

/* ---- inputs, targets and outputs ---- */

int fnn_takes_missing(const fnn_network *network) {
    return network->n_ops && network->ops[0].kind->takes_missing && network->ops[0].missing;
}

ptrdiff_t fnn_target_columns(const fnn_loss *loss, ptrdiff_t n_outputs) {
    return loss->kind == FNN_GAUSSIAN_NLL ? n_outputs / 2 : n_outputs;
}

int fnn_skipped_activation(const fnn_network *network) {
    if (!network->loss.from_logits || !network->n_ops) return -1;
    const int last = network->n_ops - 1;
    const int binary = network->loss.kind == FNN_BCE || network->loss.kind == FNN_BINARY_FOCAL;
    const int expected = binary ? FNN_SIGMOID : network->loss.kind == FNN_POISSON ? FNN_EXPONENTIAL : FNN_SOFTMAX;
    /* a penalty on the outputs needs them activated */
    if (fnn_penalizes_outputs(&network->ops[last])) return -1;
    return network->ops[last].activation == expected ? last : -1;
}
