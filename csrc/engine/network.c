/* A network: its program, its weights in weight panels, and the moments of its update rule. */

#include <string.h>

#include "engine.h"

/* Sizes of an op behind `n_in` features and its places from *elements on; 0 where they overflow. */
static int place_op(const fnn_kernels *kernels, fnn_op *op, ptrdiff_t n_in, ptrdiff_t *elements) {
    op->n_in = n_in;
    op->rows = 0;
    ptrdiff_t more = 0;
    if (op->kind == FNN_OP_DENSE) {
        op->use_kernel = 1;
        op->rows = n_in;
    } else {
        op->n_out = n_in;
        if (op->kind == FNN_OP_STANDARDIZE && op->indicator && __builtin_mul_overflow(n_in, 2, &op->n_out)) return 0;
        if (op->kind == FNN_OP_BATCH_NORM || op->kind == FNN_OP_LAYER_NORM || op->kind == FNN_OP_PRELU) op->rows = 1;
    }
    /* everything the layouts multiply stays far from overflow below this bound on one layer's weights */
    if (fnn_size(op->n_out + kernels->panel, n_in + 1, op->kind == FNN_OP_DENSE ? 64 : 1) == SIZE_MAX) return 0;
    if (fnn_size(op->n_out + kernels->panel, 64, 64) == SIZE_MAX) return 0;
    op->panels = (op->n_out + kernels->panel - 1) / kernels->panel;
    op->weights = *elements;
    if (op->rows && __builtin_add_overflow(*elements, fnn_weight_elements(kernels, op->rows, op->n_out), elements)) return 0;
    op->state = *elements;
    if (op->kind == FNN_OP_BATCH_NORM || op->kind == FNN_OP_STANDARDIZE)
        more = (2 * n_in + 1 + kernels->panel - 1) / kernels->panel * kernels->panel;
    return !__builtin_add_overflow(*elements, more, elements);
}

/* Branches are nested: one is kept behind those around it. */
static void place_branches(fnn_network *network) {
    for (int j = 0; j < network->n_ops; j++) {
        fnn_op *op = &network->ops[j];
        if (op->kind != FNN_OP_ADD) continue;
        op->slot = 0;
        for (int k = j + 1; k < network->n_ops; k++)
            op->slot += network->ops[k].kind == FNN_OP_ADD && network->ops[k].source <= op->source;
        if (op->slot >= network->n_branches) network->n_branches = op->slot + 1;
    }
}

fnn_network *fnn_network_new(const fnn_kernels *kernels, ptrdiff_t n_features, const fnn_op *ops, int n_ops) {
    const size_t element = kernels->dtype == FNN_F32 ? 4 : 8;
    ptrdiff_t elements = 0, width = n_features;
    for (int i = 0; i < n_ops; i++) {
        fnn_op op = ops[i];
        if (!place_op(kernels, &op, width, &elements)) return NULL;
        width = op.n_out;
    }
    /* one spare line: a narrow panel may be read with full vectors */
    const size_t sizes[3] = {sizeof(fnn_network), sizeof(fnn_op) * (size_t)n_ops,
                             fnn_size(elements + kernels->panel, (ptrdiff_t)element, 1)};
    void *parts[3];
    void *arena = fnn_arena_new(parts, sizes, 3);
    if (!arena) return NULL;
    fnn_network *network = parts[0];
    network->kernels = kernels;
    network->element = element;
    network->n_ops = n_ops;
    network->ops = parts[1];
    network->weights = parts[2];
    network->arena = arena;
    network->n_features = network->widest = n_features;
    ptrdiff_t at = 0;
    width = n_features;
    for (int i = 0; i < n_ops; i++) {
        fnn_op *op = &network->ops[i];
        *op = ops[i];
        place_op(kernels, op, width, &at);
        if (op->kind == FNN_OP_DENSE) network->operations += 2.0 * (double)width * (double)op->n_out;
        width = op->n_out;
        if (width > network->widest) network->widest = width;
    }
    network->n_elements = at;
    network->n_outputs = width;
    place_branches(network);
    return network;
}

void fnn_network_free(fnn_network *network) {
    if (!network) return;
    fnn_arena_free(network->slot_arena);
    fnn_arena_free(network->arena);
}

fnn_status fnn_network_compile(fnn_network *network, const fnn_loss *loss, const fnn_optimizer *optimizer) {
    void *slots[FNN_SLOTS] = {NULL}, *arena = NULL;
    const int n_slots = optimizer->n_slots + (optimizer->use_average != 0) + (optimizer->accumulate > 1);
    if (n_slots) {
        const size_t bytes = fnn_size(network->n_elements, (ptrdiff_t)network->element, 1);
        const size_t sizes[FNN_SLOTS] = {bytes, bytes, bytes, bytes, bytes};
        arena = fnn_arena_new(slots, sizes, n_slots);
        if (!arena) return FNN_NO_MEMORY;
    }
    fnn_arena_free(network->slot_arena);
    network->slot_arena = arena;
    memcpy(network->slots, slots, sizeof slots);
    network->n_slots = n_slots;
    network->loss = *loss;
    network->optimizer = *optimizer;
    network->iterations = 0;
    for (ptrdiff_t i = 0; i < network->n_elements && optimizer->n_slots && optimizer->initial != 0; i++) {
        if (network->element == 4)
            ((float *)slots[0])[i] = (float)optimizer->initial;
        else
            ((double *)slots[0])[i] = optimizer->initial;
    }
    return FNN_OK;
}

void *fnn_average_slot(const fnn_network *network) {
    return network->optimizer.use_average ? network->slots[network->optimizer.n_slots] : NULL;
}

void *fnn_sum_slot(const fnn_network *network) {
    return network->optimizer.accumulate > 1 ? network->slots[network->n_slots - 1] : NULL;
}

void fnn_network_use_average(fnn_network *network) {
    for (int i = 0; i < network->n_ops; i++) {
        const fnn_op *op = &network->ops[i];
        if (!fnn_is_trained(op)) continue;
        const ptrdiff_t panel = network->kernels->panel, first = op->use_kernel ? 0 : op->rows;
        for (ptrdiff_t q = 0; q < op->panels; q++) {
            const ptrdiff_t width = op->n_out - q * panel <= network->kernels->narrow ? network->kernels->narrow : panel;
            const ptrdiff_t rows = op->rows + (op->use_bias != 0) - first;
            const size_t at = (size_t)(op->weights + q * panel * (op->rows + 1) + first * width) * network->element;
            memcpy((char *)network->weights + at, (char *)fnn_average_slot(network) + at, (size_t)(rows * width) * network->element);
        }
    }
}

ptrdiff_t fnn_target_columns(const fnn_network *network) {
    return network->loss.kind == FNN_GAUSSIAN_NLL ? network->n_outputs / 2 : network->n_outputs;
}

int fnn_skipped_activation(const fnn_network *network) {
    if (!network->loss.from_logits || !network->n_ops) return -1;
    const int last = network->n_ops - 1, activation = network->ops[last].activation;
    const int binary = network->loss.kind == FNN_BCE || network->loss.kind == FNN_BINARY_FOCAL;
    const int expected = binary ? FNN_SIGMOID : network->loss.kind == FNN_POISSON ? FNN_EXPONENTIAL : FNN_SOFTMAX;
    /* a penalty on the outputs needs them activated */
    if (fnn_has_activity(&network->ops[last])) return -1;
    return network->ops[last].kind != FNN_OP_DROPOUT && activation == expected ? last : -1;
}
