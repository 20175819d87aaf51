/* Which ops a step runs, and where it keeps gradients.
 *
 * Design: backward runs the ops from last to first. The gradient of a value lives from the op that uses it to the one that
 * computes it, in a slot that is used again afterwards; a chain needs two. An op that works in place hands its slot on. A
 * value that several ops use has one gradient from each of them, which are added in the order of the ops, losses last. */

#include "kind.h"

/* A gradient: the slot, or -1, and the features before it there. */
typedef struct {
    int slot;
    ptrdiff_t offset;
} place;

/* The places of gradients, by use: the inputs of all ops in order, then the losses. */
typedef struct {
    place *uses;
    int *references; /* gradients that are kept in a slot */
    int n_slots;
} slot_plan;

/* ---- the ops of a step ---- */

/* 1 where nothing but op i, which runs, needs a buffer. */
static int needs_alone(const fnn_fit *fit, int i, int b) {
    const fnn_network *network = fit->network;
    int others = 0;
    for (int l = 0; l < fit->n_losses; l++) others |= network->outputs[network->losses[l].output] == b;
    for (int k = 0; k < fit->n_kept; k++) others |= fit->kept[k].buffer == b;
    for (int o = 0; o < network->n_ops; o++)
        for (int j = 0; fit->parts[o] && j < network->ops[o].n_inputs; j++)
            others |= o != i && network->ops[o].inputs[j] == b;
    return !others;
}

void fnn_plan_parts(fnn_fit *fit) {
    const fnn_network *network = fit->network;
    int buffers[FNN_MOST_BUFFERS], n = 0;
    for (int l = 0; l < fit->n_losses; l++) buffers[n++] = fit->losses[l].buffer;
    for (int k = 0; k < fit->n_kept; k++) buffers[n++] = fit->kept[k].buffer;
    fnn_mark_needed(network, fit->parts, buffers, n);
    for (int l = 0; l < fit->n_losses; l++) {
        fit_loss *loss = &fit->losses[l];
        const int i = loss->skipped;
        if (i < 0) continue;
        const int input = network->ops[i].inputs[0];
        const int passed = network->ops[i].kind->only_activates && needs_alone(fit, i, input);
        fit->parts[i] = passed ? FNN_IS_PASSED : FNN_IS_LINEAR;
        if (passed) loss->buffer = input;
    }
}

void fnn_find_gradients(const fnn_fit *fit, unsigned char *reached) {
    const fnn_network *network = fit->network;
    memset(reached, 0, (size_t)(network->n_inputs + network->n_ops));
    for (int i = 0; i < network->n_ops; i++) {
        const fnn_op *op = &network->ops[i];
        int any = fnn_is_trained(&network->ops[op->owner]);
        for (int j = 0; j < op->n_inputs && !op->kind->stops_gradient; j++) any |= reached[op->inputs[j]];
        reached[fnn_buffer_of(network, i)] = any && op->is_live && fnn_runs(fit, i);
    }
}

int fnn_last_call(const fnn_fit *fit, int o) {
    int last = -1;
    do {
        if (fnn_buffers_of(fit, o)->dY) last = o;
        o = fit->network->ops[o].next_call;
    } while (o);
    return last;
}

int fnn_fit_trains(const fnn_fit *fit, int o) {
    return fnn_is_trained(&fit->network->ops[o]) && fnn_last_call(fit, o) >= 0;
}

/* ---- the slots of gradients ---- */

static place take_slot(slot_plan *plan) {
    int slot = 0;
    while (slot < plan->n_slots && plan->references[slot]) slot++;
    if (slot == plan->n_slots) plan->n_slots++;
    plan->references[slot] = 1;
    return (place){slot, 0};
}

/* Collects the gradients of buffer b, which one reaches, in the order of what uses it; their number. */
static int collect(const fnn_fit *fit, const slot_plan *plan, int b, place *parts) {
    const fnn_network *network = fit->network;
    int n = 0;
    for (int u = 0; u < network->n_uses; u++)
        if (network->op_inputs[u] == b && plan->uses[u].slot >= 0) parts[n++] = plan->uses[u];
    for (int l = 0; l < fit->n_losses; l++)
        if (fit->losses[l].buffer == b) parts[n++] = plan->uses[network->n_uses + l];
    return n;
}

/* The places of the gradients of an op's inputs, from that of its outputs. */
static void place_inputs(const fnn_network *network, slot_plan *plan, const fnn_op *op, const unsigned char *reached,
                         place dY) {
    place *uses = plan->uses + (op->inputs - network->op_inputs);
    int handed_on = 0;
    ptrdiff_t offset = dY.offset;
    for (int j = 0; j < op->n_inputs && !op->kind->stops_gradient; j++) {
        const int b = op->inputs[j];
        const ptrdiff_t width = network->widths[b];
        const int in_place = op->kind->gradient_place == FNN_IN_PLACE && !handed_on &&
                             (op->n_inputs == 1 || width == op->n_out);
        const int is_part = op->kind->gradient_place == FNN_PARTS;
        if (reached[b]) {
            uses[j] = is_part ? (place){dY.slot, offset} : in_place ? dY : take_slot(plan);
            handed_on += is_part || in_place;
        }
        offset += width;
    }
    plan->references[dY.slot] += handed_on - 1;
}

/* Plans all gradients from the last op to the first; with the fit's slots at hand it sets the pointers of the buffers. */
static void plan_slots(fnn_fit *fit, slot_plan *plan, place *parts) {
    const fnn_network *network = fit->network;
    const ptrdiff_t panel = network->kernels->panel;
    unsigned char reached[FNN_MOST_BUFFERS];
    void **pointers = fit->pointers;
    fnn_find_gradients(fit, reached);
    for (int u = 0; u < network->n_uses + fit->n_losses; u++) plan->uses[u].slot = -1;
    for (int l = 0; l < fit->n_losses; l++)
        if (reached[fit->losses[l].buffer]) plan->uses[network->n_uses + l] = take_slot(plan);
    for (int i = network->n_ops - 1; i >= 0; i--) {
        const fnn_op *op = &network->ops[i];
        const int b = fnn_buffer_of(network, i);
        if (!reached[b]) continue;
        const int n = collect(fit, plan, b, parts);
        for (int part = 1; part < n; part++) plan->references[parts[part].slot]--;
        place_inputs(network, plan, op, reached, parts[0]);
        if (!fit->buffers) continue;
        op_buffers *buffers = &fit->buffers[b];
        const place *uses = plan->uses + (op->inputs - network->op_inputs);
        buffers->n_parts = n;
        buffers->parts = pointers;
        for (int part = 0; part < n; part++)
            *pointers++ = fnn_at(fit, fit->gradient_slots[parts[part].slot], parts[part].offset * panel);
        buffers->dY = buffers->parts[0];
        buffers->dX = pointers;
        for (int j = 0; j < op->n_inputs; j++)
            *pointers++ = uses[j].slot < 0 ? NULL : fnn_at(fit, fit->gradient_slots[uses[j].slot], uses[j].offset * panel);
    }
    for (int l = 0; fit->buffers && l < fit->n_losses; l++) {
        const place *at = &plan->uses[network->n_uses + l];
        fit->losses[l].dY = at->slot < 0 ? NULL : fit->gradient_slots[at->slot];
    }
}

int fnn_plan_gradients(fnn_fit *fit) {
    slot_plan plan = {.n_slots = 0};
    place *parts = NULL;
    fnn_arena arena = {0};
    for (int pass = 0; pass < 2; pass++) {
        const size_t n = (size_t)(fit->network->n_uses + fit->n_losses);
        plan.uses = fnn_take(&arena, sizeof(place) * n);
        parts = fnn_take(&arena, sizeof(place) * n);
        plan.references = fnn_take(&arena, sizeof(int) * n);
        if (pass) break;
        arena.block = fnn_scratch_new(arena.used);
        if (!arena.block) return 0;
        arena.used = 0;
    }
    memset(plan.references, 0, sizeof(int) * (size_t)(fit->network->n_uses + fit->n_losses));
    plan_slots(fit, &plan, parts);
    fit->n_gradients = plan.n_slots;
    fnn_scratch_free(arena.block);
    return 1;
}
