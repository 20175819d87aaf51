/* A network: its program, its weights in weight panels, and the moments of its update rule. */

#include <string.h>

#include "kind.h"

/* Numbers that an op keeps but does not train. */
static ptrdiff_t state_elements(const fnn_op *op) {
    const char *const *states = op->kind->states;
    return (states[0] ? op->n_in : 0) + (states[1] ? op->n_in : 0) + (states[2] != NULL);
}

/* The sizes of an op whose inputs have these widths, and its places from *elements on; 0 where they overflow. */
static int place_op(const fnn_kernels *kernels, fnn_op *op, const ptrdiff_t *widths, ptrdiff_t *elements) {
    const fnn_kind *kind = op->kind;
    const ptrdiff_t n_in = op->n_in = widths[op->inputs[0]];
    op->rows = kind->is_product ? n_in : kind->is_table ? op->table_rows : kind->parameters[FNN_KERNEL] != NULL;
    op->use_kernel |= kind->is_product || kind->is_table;
    if (!kind->is_product) op->n_out = kind->outputs ? kind->outputs(op, widths) : n_in;
    if (!kind->is_table) op->columns = op->n_out;
    /* below this bound on one layer's weights, all products of the layouts stay far from overflow */
    if (op->n_out < 1 || fnn_size(op->n_out + kernels->panel, n_in + 1, kind->is_product ? 64 : 1) == SIZE_MAX) return 0;
    if (fnn_size(op->n_out + kernels->panel, 64, 64) == SIZE_MAX) return 0;
    if (fnn_size(op->columns + kernels->panel, op->rows + 1, 64) == SIZE_MAX) return 0;
    op->panels = fnn_ceil_div(op->columns, kernels->panel);
    op->out_panels = fnn_ceil_div(op->n_out, kernels->panel);
    op->weights = *elements;
    const ptrdiff_t used = op->rows ? fnn_weight_elements(kernels, op->rows, op->columns) : 0;
    const ptrdiff_t weights = fnn_round_up(used, kernels->panel);
    if (__builtin_add_overflow(*elements, weights, elements)) return 0;
    op->state = *elements;
    return !__builtin_add_overflow(*elements, fnn_round_up(state_elements(op), kernels->panel), elements);
}

/* Op i uses the weights of an earlier one. */
static void share_weights(fnn_op *ops, int i) {
    fnn_op *op = &ops[i];
    int last = op->owner = ops[op->shares - 1].owner;
    const fnn_op *owner = &ops[op->owner];
    while (ops[last].next_call) last = ops[last].next_call;
    ops[last].next_call = i;
    op->weights = owner->weights;
    op->state = owner->state;
    op->trainable = owner->trainable;
    op->rows = 0;
}

/* Places the ops; 0 where sizes overflow. */
static int place_ops(fnn_network *network) {
    const int k = network->n_inputs;
    for (int i = 0; i < network->n_ops; i++) {
        fnn_op *op = &network->ops[i];
        ptrdiff_t elements = network->n_elements;
        if (!place_op(network->kernels, op, network->widths, &elements)) return 0;
        op->owner = i;
        op->next_call = 0;
        op->is_live = op->is_used = 1;
        if (op->shares)
            share_weights(network->ops, i);
        else
            network->n_elements = elements;
        if (op->kind->is_product || op->kind->is_multiplied)
            network->operations += 2.0 * (double)(op->kind->is_product ? op->n_in : op->table_rows) * (double)op->n_out;
        network->widths[k + i] = op->n_out;
        network->n_uses += op->n_inputs;
    }
    for (int b = 0; b < k + network->n_ops; b++)
        if (network->widths[b] > network->widest) network->widest = network->widths[b];
    return 1;
}

/* NaN in an input stands for missing values where all ops that read it say so. */
static void look_for_missing(fnn_network *network) {
    int uses[FNN_MOST_BUFFERS] = {0}, refused[FNN_MOST_BUFFERS] = {0};
    for (int i = 0; i < network->n_ops; i++)
        for (int j = 0; j < network->ops[i].n_inputs; j++) {
            const fnn_op *op = &network->ops[i];
            uses[op->inputs[j]]++;
            refused[op->inputs[j]] |= !(op->kind->takes_missing && op->missing);
        }
    for (int o = 0; o < network->n_outputs; o++) refused[network->outputs[o]] = 1;
    for (int b = 0; b < network->n_inputs; b++) network->takes_missing[b] = uses[b] && !refused[b];
}

static fnn_network *lay_out(fnn_network *plan, fnn_arena *arena) {
    const int buffers = plan->n_inputs + plan->n_ops;
    fnn_network *network = fnn_take(arena, sizeof(fnn_network));
    plan->ops = fnn_take(arena, sizeof(fnn_op) * (size_t)plan->n_ops);
    plan->op_inputs = fnn_take(arena, sizeof(int) * (size_t)plan->n_uses);
    plan->widths = fnn_take(arena, sizeof(ptrdiff_t) * (size_t)buffers);
    plan->outputs = fnn_take(arena, sizeof(int) * (size_t)plan->n_outputs);
    plan->takes_missing = fnn_take(arena, (size_t)plan->n_inputs);
    plan->route = fnn_take(arena, sizeof(fnn_route));
    /* one more panel: a narrow one may be read with full vectors */
    plan->weights = fnn_take(arena, fnn_size(plan->n_elements + plan->kernels->panel, (ptrdiff_t)plan->element, 1));
    return network;
}

/* Copies what is known without memory into what there is. */
static void copy_program(fnn_network *to, const fnn_network *from) {
    int *inputs = to->op_inputs;
    memcpy(to->ops, from->ops, sizeof(fnn_op) * (size_t)to->n_ops);
    memcpy(to->widths, from->widths, sizeof(ptrdiff_t) * (size_t)(to->n_inputs + to->n_ops));
    memcpy(to->outputs, from->outputs, sizeof(int) * (size_t)to->n_outputs);
    for (int i = 0; i < to->n_ops; i++) {
        fnn_op *op = &to->ops[i];
        memcpy(inputs, op->inputs, sizeof(int) * (size_t)op->n_inputs);
        op->inputs = inputs;
        inputs += op->n_inputs;
    }
}

/* A network from the description of its ops, in *described. */
static fnn_network *network_of(const fnn_network *described) {
    fnn_network plan = *described;
    fnn_arena arena = {0};
    lay_out(&plan, &arena);
    if (!fnn_arena_allocate(&arena)) return NULL;
    fnn_network *network = lay_out(&plan, &arena);
    copy_program(&plan, described);
    *network = plan;
    look_for_missing(network);
    fnn_plan_route(network, network->route, network->outputs, network->n_outputs);
    return network;
}

fnn_network *fnn_network_new(const fnn_kernels *kernels, const fnn_program *program) {
    const int k = program->n_inputs;
    ptrdiff_t widths[FNN_MOST_BUFFERS];
    int before[FNN_MOST_OPS], outputs[FNN_MOST_OUTPUTS];
    fnn_op *ops = fnn_scratch_new(sizeof(fnn_op) * (size_t)program->n_ops);
    if (!ops) return NULL;
    fnn_network described = {.kernels = kernels, .n_inputs = k, .n_ops = program->n_ops, .n_outputs = program->n_outputs,
                             .ops = ops, .widths = widths, .outputs = outputs, .element = (size_t)fnn_element(kernels)};
    memcpy(widths, program->input_widths, sizeof(ptrdiff_t) * (size_t)k);
    memcpy(outputs, program->outputs, sizeof(int) * (size_t)program->n_outputs);
    for (int i = 0; i < program->n_ops; i++) {
        ops[i] = program->ops[i];
        before[i] = i ? k + i - 1 : 0;
        if (ops[i].n_inputs) continue;
        ops[i].n_inputs = 1;
        ops[i].inputs = &before[i];
    }
    fnn_network *network = place_ops(&described) ? network_of(&described) : NULL;
    fnn_scratch_free(ops);
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

/* Marks the ops that some loss depends on. */
static void mark_live(fnn_network *network) {
    unsigned char live[FNN_MOST_OPS];
    int buffers[FNN_MOST_BUFFERS];
    for (int l = 0; l < network->n_losses; l++) buffers[l] = network->outputs[network->losses[l].output];
    fnn_mark_needed(network, live, buffers, network->n_losses);
    for (int i = 0; i < network->n_ops; i++) {
        network->ops[i].is_live = network->ops[i].is_used = live[i];
        if (live[i]) network->ops[network->ops[i].owner].is_used = 1;
    }
}

fnn_status fnn_network_compile(fnn_network *network, const fnn_output_loss *losses, int n_losses,
                               const fnn_optimizer *optimizer) {
    void *slots[FNN_SLOTS] = {NULL};
    fnn_arena arena = {0};
    const int moments = n_moments[optimizer->update.kind];
    const int n_slots = moments + (optimizer->use_average != 0) + (optimizer->accumulate > 1);
    const size_t bytes = fnn_size(network->n_elements, (ptrdiff_t)network->element, 1);
    const size_t loss_bytes = sizeof(fnn_output_loss) * (size_t)n_losses;
    for (int s = 0; s < n_slots; s++) fnn_take(&arena, bytes);
    fnn_take(&arena, loss_bytes);
    if (!fnn_arena_allocate(&arena)) return FNN_NO_MEMORY;
    for (int s = 0; s < n_slots; s++) slots[s] = fnn_take(&arena, bytes);
    network->losses = fnn_take(&arena, loss_bytes);
    memcpy(network->losses, losses, loss_bytes);
    fnn_arena_free(network->slot_block);
    network->slot_block = arena.block;
    memcpy(network->slots, slots, sizeof slots);
    network->n_slots = n_slots;
    network->n_losses = n_losses;
    network->optimizer = *optimizer;
    network->n_moments = moments;
    network->iterations = 0;
    if (moments && optimizer->initial != 0)
        set_all(slots[0], network->n_elements, network->element, optimizer->initial);
    mark_live(network);
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
        const fnn_range rows = fnn_trained_rows(op);
        for (ptrdiff_t q = 0; q < op->panels; q++) {
            ptrdiff_t width;
            const void *A = fnn_rows_at(network, fnn_average_slot(network), op, q, rows.first, &width);
            void *W = fnn_rows_at(network, network->weights, op, q, rows.first, &width);
            memcpy(W, A, (size_t)((rows.last - rows.first) * width) * network->element);
        }
    }
}

/* ---- the checksum of the weights ---- */

#define CHAINS 8 /* independent of each other, so that memory sets the pace */

/* A bijection of the sum for each word, and of the word for each sum: a sum shows every change of a single word. */
static uint64_t add_word(uint64_t sum, uint64_t word) {
    const uint64_t product = (sum ^ word) * UINT64_C(0x9e3779b97f4a7c15); /* 2^64 / golden ratio */
    return product << 29 | product >> 35;
}

static void add_words(uint64_t chains[CHAINS], const void *words) {
    uint64_t own[CHAINS];
    memcpy(own, words, sizeof own);
    for (int j = 0; j < CHAINS; j++) chains[j] = add_word(chains[j], own[j]);
}

uint64_t fnn_weights_checksum(const fnn_network *network) {
    const size_t bytes = (size_t)network->n_elements * network->element;
    uint64_t chains[CHAINS] = {0}, last[CHAINS] = {0}, sum = 0;
    const size_t rest = bytes % sizeof last;
    for (size_t at = 0; at < bytes - rest; at += sizeof last) add_words(chains, (const char *)network->weights + at);
    memcpy(last, (const char *)network->weights + bytes - rest, rest);
    add_words(chains, last);
    for (int j = 0; j < CHAINS; j++) sum = add_word(sum, chains[j]);
    return sum;
}

/* ---- flat parameters ---- */

static ptrdiff_t parameter_elements(const fnn_op *op, int parameter) {
    if (!op->rows) return 0;
    return parameter == FNN_KERNEL ? op->rows * op->columns * (op->use_kernel != 0) : op->columns * (op->use_bias != 0);
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
                                               op->rows, op->columns);
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
                                                 op->rows, op->columns);
            to += n * (ptrdiff_t)network->element;
        }
}

/* ---- inputs, targets and outputs ---- */

ptrdiff_t fnn_target_columns(const fnn_loss *loss, ptrdiff_t n_outputs) {
    if (loss->kind == FNN_MULTI_QUANTILE) return n_outputs / loss->n_levels;
    return loss->kind == FNN_GAUSSIAN_NLL ? n_outputs / 2 : n_outputs;
}

int fnn_skips_activation(const fnn_network *network, int output) {
    const int b = network->outputs[output], op = fnn_op_of(network, b);
    int uses = 0;
    for (int o = 0; o < network->n_outputs; o++) uses += network->outputs[o] == b;
    for (int i = 0; i < network->n_ops; i++)
        for (int j = 0; j < network->ops[i].n_inputs; j++) uses += network->ops[i].inputs[j] == b;
    /* a penalty on the outputs needs them activated */
    return op >= 0 && uses == 1 && !fnn_penalizes_outputs(&network->ops[op]);
}

int fnn_skipped_activation(const fnn_network *network, int l) {
    const fnn_loss *loss = &network->losses[l].loss;
    const int output = network->losses[l].output;
    if (!loss->from_logits || !fnn_skips_activation(network, output)) return -1;
    const int op = fnn_op_of(network, network->outputs[output]);
    const int binary = loss->kind == FNN_BCE || loss->kind == FNN_BINARY_FOCAL;
    const int expected = binary ? FNN_SIGMOID : loss->kind == FNN_POISSON ? FNN_EXPONENTIAL : FNN_SOFTMAX;
    return network->ops[op].activation == expected ? op : -1;
}
