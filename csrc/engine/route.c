/* Which ops some buffers depend on, and where prediction keeps what they compute: in slots, each used again as soon as no
 * later op reads it. A chain needs two. */

#include "kind.h"

void fnn_mark_needed(const fnn_network *network, unsigned char *needed, const int *buffers, int n) {
    memset(needed, 0, (size_t)network->n_ops);
    for (int w = 0; w < n; w++)
        if (fnn_op_of(network, buffers[w]) >= 0) needed[fnn_op_of(network, buffers[w])] = 1;
    for (int i = network->n_ops - 1; i >= 0; i--)
        for (int j = 0; needed[i] && j < network->ops[i].n_inputs; j++) {
            const int op = fnn_op_of(network, network->ops[i].inputs[j]);
            if (op >= 0) needed[op] = 1;
        }
}

/* The op after which a buffer is no longer read: an op number, n_ops for a wanted one, -1 for one that is not needed. An op
 * that may pass its input on leaves it where it is. */
static void find_last_uses(const fnn_network *network, const unsigned char *needed, short *last) {
    for (int i = network->n_ops - 1; i >= 0; i--) {
        const fnn_op *op = &network->ops[i];
        const int passes = !op->kind->predict_rows || op->kind->only_activates, b = fnn_buffer_of(network, i);
        for (int j = 0; needed[i] && j < op->n_inputs; j++) {
            const short use = passes ? last[b] : (short)i;
            if (use > last[op->inputs[j]]) last[op->inputs[j]] = use;
        }
    }
}

void fnn_plan_route(const fnn_network *network, fnn_route *route, const int *wanted, int n) {
    const int buffers = network->n_inputs + network->n_ops;
    unsigned char needed[FNN_MOST_OPS], taken[FNN_MOST_BUFFERS] = {0};
    short last[FNN_MOST_BUFFERS];
    route->n_ops = route->n_slots = 0;
    route->n_wanted = n;
    route->wanted = wanted;
    for (int b = 0; b < buffers; b++) last[b] = route->slots[b] = route->targets[b] = -1;
    for (int w = n - 1; w >= 0; w--) {
        route->targets[wanted[w]] = (short)w;
        last[wanted[w]] = (short)network->n_ops;
    }
    fnn_mark_needed(network, needed, wanted, n);
    find_last_uses(network, needed, last);
    for (int b = 0; b < buffers; b++) {
        const int i = fnn_op_of(network, b);
        if (last[b] < 0) continue;
        short slot = 0;
        while (taken[slot]) slot++;
        taken[slot] = 1;
        route->slots[b] = slot;
        if (slot >= route->n_slots) route->n_slots = slot + 1;
        if (i < 0) continue;
        route->ops[route->n_ops++] = i;
        for (int k = 0; k < b; k++)
            if (last[k] == i) taken[route->slots[k]] = 0;
    }
}
