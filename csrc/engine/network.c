/* A network: its program, its weights in weight panels, and the moments of its update rule. */

#include <string.h>

#include "engine.h"

fnn_network *fnn_network_new(const fnn_kernels *kernels, ptrdiff_t n_features, const fnn_op *ops, int n_ops) {
    const size_t element = kernels->dtype == FNN_F32 ? 4 : 8;
    /* everything the layouts multiply stays far from overflow below this bound on one layer's weights */
    ptrdiff_t elements = 0, width = n_features;
    for (int i = 0; i < n_ops; i++) {
        if (ops[i].kind != FNN_OP_DENSE) continue;
        if (fnn_size(ops[i].n_out + kernels->panel, width + 1, 64) == SIZE_MAX) return NULL;
        if (__builtin_add_overflow(elements, fnn_weight_elements(kernels, width, ops[i].n_out), &elements)) return NULL;
        width = ops[i].n_out;
    }
    /* one spare line: a narrow panel may be read with full vectors */
    const size_t sizes[3] = {sizeof(fnn_network), sizeof(fnn_op) * (size_t)n_ops,
                             fnn_size(elements + kernels->panel, (ptrdiff_t)element, 1)};
    void *parts[3];
    size_t total;
    void *arena = fnn_arena_new(parts, sizes, 3, &total);
    if (!arena) return NULL;
    fnn_network *network = parts[0];
    network->kernels = kernels;
    network->element = element;
    network->n_ops = n_ops;
    network->ops = parts[1];
    network->weights = parts[2];
    network->arena = arena;
    network->arena_size = total;
    network->n_features = network->widest = n_features;
    ptrdiff_t at = 0;
    width = n_features;
    for (int i = 0; i < n_ops; i++) {
        fnn_op *op = &network->ops[i];
        *op = ops[i];
        op->n_in = width;
        if (op->kind == FNN_OP_DENSE) {
            op->weights = at;
            at += fnn_weight_elements(kernels, width, op->n_out);
            network->operations += 2.0 * (double)width * (double)op->n_out;
            width = op->n_out;
        } else {
            op->n_out = width;
        }
        if (width > network->widest) network->widest = width;
    }
    network->n_elements = at;
    network->n_outputs = width;
    return network;
}

void fnn_network_free(fnn_network *network) {
    if (!network) return;
    fnn_arena_free(network->slot_arena, network->slot_arena_size);
    fnn_arena_free(network->arena, network->arena_size);
}

fnn_status fnn_network_compile(fnn_network *network, const fnn_loss *loss, const fnn_update *update, int n_slots) {
    void *slots[3] = {NULL, NULL, NULL}, *arena = NULL;
    size_t total = 0;
    if (n_slots) {
        const size_t bytes = fnn_size(network->n_elements, (ptrdiff_t)network->element, 1);
        const size_t sizes[3] = {bytes, bytes, bytes};
        arena = fnn_arena_new(slots, sizes, n_slots, &total);
        if (!arena) return FNN_NO_MEMORY;
    }
    fnn_arena_free(network->slot_arena, network->slot_arena_size);
    network->slot_arena = arena;
    network->slot_arena_size = total;
    memcpy(network->slots, slots, sizeof slots);
    network->n_slots = n_slots;
    network->loss = *loss;
    network->update = *update;
    network->iterations = 0;
    return FNN_OK;
}

int fnn_skipped_activation(const fnn_network *network) {
    if (!network->loss.from_logits || !network->n_ops) return -1;
    const int last = network->n_ops - 1, activation = network->ops[last].activation;
    const int expected = network->loss.kind == FNN_BCE ? FNN_SIGMOID : FNN_SOFTMAX;
    return network->ops[last].kind != FNN_OP_DROPOUT && activation == expected ? last : -1;
}
