/* Phase 2 of a training step: gradients of the weights and the update rule.
 *
 * Design:
 * a) Without norms of gradients and accumulation the update rule runs on each tile right after its gradient. With them,
 *    and where an interruption would have to wait long, the gradients are stored, one more barrier follows where a norm is
 *    needed, and the rule runs on the stored gradients.
 * b) Kernel and bias of an op are separate parameters, each with its rules; where that matters they are in different
 *    strips. A penalty on the kernel alone does not: the kernels of dense layers spare the bias. */

#include <string.h>

#include "kind.h"

/* ---- the update of one strip ---- */

/* The update rule with the constants of a step. */
static fnn_update update_of(const fnn_fit *fit, ptrdiff_t step) {
    fnn_update u = fit->network->optimizer.update;
    u.decay *= fit->rates[FNN_RAW * fit->n_steps + step];
    u.decay *= fit->rates[((int)FNN_FACTORS + (int)FNN_DECAY_FACTOR) * fit->n_steps + step];
    u.rate = fit->rates[FNN_RATE * fit->n_steps + step];
    u.rate_2 = fit->rates[FNN_RATE_2 * fit->n_steps + step];
    u.correction = fit->rates[FNN_CORRECTION * fit->n_steps + step];
    u.prepare = u.clip > 0;
    if (fit->network->optimizer.corrects_epsilon) u.epsilon *= u.correction;
    return u;
}

static const fnn_rules *rules_of(const fnn_network *network, const fnn_strip *strip) {
    return &network->ops[strip->op].rules[fnn_parameter_of(network, strip)];
}

/* The update of a strip whose parameter has rules; penalty_scale: of its penalties. */
static fnn_update ruled_update(const fnn_network *network, const fnn_strip *strip, const fnn_update *update,
                               double penalty_scale) {
    const fnn_rules *r = rules_of(network, strip);
    fnn_update own = *update;
    own.l1 = r->l1 * penalty_scale;
    own.l2 = r->l2 * penalty_scale;
    if (r->no_decay) own.decay = 0;
    if (r->has_factors) {
        own.rate *= r->rate_factor;
        own.rate_2 *= r->rate_factor;
        own.decay *= r->rate_factor * r->decay_factor;
    }
    const int is_penalized = own.l1 != 0 || own.l2 != 0;
    const ptrdiff_t bias = network->ops[strip->op].rows;
    own.spares_bias = is_penalized && strip->rows.first < bias && bias < strip->rows.last;
    own.prepare = is_penalized || own.clip > 0;
    return own;
}

static void *strip_at(const fnn_network *network, const void *base, const fnn_strip *strip, ptrdiff_t *elements) {
    ptrdiff_t width;
    const fnn_op *owner = &network->ops[network->ops[strip->op].owner];
    void *at = fnn_rows_at(network, base, owner, strip->q, strip->rows.first, &width);
    *elements = (strip->rows.last - strip->rows.first) * width;
    return at;
}

/* The weights at an offset, with the moments of the update rule: filled where they stay, as in layers/dense.c. */
static void find_weights(fnn_weights *weights, const fnn_network *network, ptrdiff_t elements) {
    const ptrdiff_t bytes = elements * (ptrdiff_t)network->element;
    weights->W = (char *)network->weights + bytes;
    for (int m = 0; m < FNN_MOMENTS; m++)
        weights->moments[m] = m < network->n_moments ? (char *)network->slots[m] + bytes : NULL;
}

/* A strip's weights with their moments. */
static fnn_weights strip_weights(const fnn_network *network, const fnn_strip *strip, ptrdiff_t *elements) {
    const char *at = strip_at(network, network->weights, strip, elements);
    fnn_weights weights;
    find_weights(&weights, network, (at - (const char *)network->weights) / (ptrdiff_t)network->element);
    return weights;
}

/* After the update of a strip: the moving average of its weights, and their sign. */
static void follow_update(const fnn_step *s, const fnn_strip *strip) {
    const fnn_fit *fit = s->fit;
    const fnn_network *network = fit->network;
    const fnn_optimizer *optimizer = &network->optimizer;
    ptrdiff_t n;
    void *W = strip_at(network, network->weights, strip, &n);
    if (optimizer->use_average) {
        const int64_t updates = (fit->first_iteration + s->step) / optimizer->accumulate;
        void *A = strip_at(network, fnn_average_slot(network), strip, &n);
        network->kernels->average(A, W, n, updates ? optimizer->average_momentum : 0.0);
        if (optimizer->overwrite_every && (updates + 1) % optimizer->overwrite_every == 0)
            memcpy(W, A, (size_t)n * network->element);
    }
    if (fit->has_rules && rules_of(network, strip)->constraint == FNN_NON_NEGATIVE)
        network->kernels->activate(W, NULL, W, n, FNN_RELU, NULL);
}

/* The update rule on stored gradients; scale: of the gradient. */
static void apply_stored(fnn_fit *fit, const fnn_strip *strip, const fnn_update *update, double scale) {
    const fnn_network *network = fit->network;
    fnn_update own = ruled_update(network, strip, update, 1.0);
    own.l1 = own.l2 = 0;
    own.scale = scale;
    own.prepare = 1;
    ptrdiff_t n;
    const fnn_weights weights = strip_weights(network, strip, &n);
    void *G = strip_at(network, fit->stored, strip, &n);
    network->kernels->update(&weights, G, n, &own);
    if (network->optimizer.accumulate > 1) memset(G, 0, (size_t)n * network->element);
}

/* ---- the phase ---- */

static void apply_all_stored(const fnn_step *s, fnn_range strips) {
    fnn_fit *fit = s->fit;
    const fnn_optimizer *optimizer = &fit->network->optimizer;
    const fnn_update update = update_of(fit, s->step);
    const double mean = 1.0 / (double)optimizer->accumulate;
    double factors[FNN_PARAMETERS] = {1.0, 1.0};
    if (optimizer->global_clip_norm > 0) {
        double squares = 0;
        for (int o = 0; o < fit->network->n_ops; o++)
            if (fnn_fit_trains(fit, o)) {
                squares += fnn_gradient_squares(fit, o, FNN_KERNEL);
                if (fit->network->ops[o].use_bias) squares += fnn_gradient_squares(fit, o, FNN_BIAS);
            }
        factors[FNN_KERNEL] = factors[FNN_BIAS] = fnn_clip_factor(squares, mean, optimizer->global_clip_norm);
    }
    int at = -1;
    for (ptrdiff_t i = strips.first; i < strips.last; i++) {
        const fnn_strip *strip = &fit->strips[i];
        if (optimizer->clip_norm > 0 && strip->op != at)
            for (int parameter = 0; parameter < FNN_PARAMETERS; parameter++)
                factors[parameter] =
                    fnn_clip_factor(fnn_gradient_squares(fit, strip->op, parameter), mean, optimizer->clip_norm);
        at = strip->op;
        apply_stored(fit, strip, &update, mean * factors[fnn_parameter_of(fit->network, strip)]);
        follow_update(s, strip);
    }
}

/* A strip of an op with one number per feature: its gradient, then the update rule, or a place to store it. */
static void update_features(const fnn_step *s, const fnn_strip *strip, void *stored, const fnn_update *update) {
    const fnn_network *network = s->fit->network;
    _Alignas(64) char G[2 * FNN_MOST_LANES * sizeof(double)];
    ptrdiff_t n;
    fnn_weights weights = strip_weights(network, strip, &n);
    if (stored) weights.moments[0] = strip_at(network, stored, strip, &n);
    network->ops[strip->op].kind->gradient(s, strip, G);
    const ptrdiff_t width = n / (strip->rows.last - strip->rows.first);
    network->kernels->update(&weights, fnn_at(s->fit, G, strip->rows.first * width), n, update);
}

/* Elements of a gradient that are added up at a time. */
#define SUMMED 2048

/* The gradient is what the ranks have sent. */
static void update_from_sums(const fnn_step *s, const fnn_strip *strip, void *stored, const fnn_update *update) {
    const fnn_network *network = s->fit->network;
    _Alignas(64) char G[SUMMED * sizeof(double)];
    ptrdiff_t n;
    fnn_weights weights = strip_weights(network, strip, &n);
    const ptrdiff_t at = ((char *)weights.W - (char *)network->weights) / (ptrdiff_t)network->element;
    if (stored) weights.moments[0] = strip_at(network, stored, strip, &n);
    for (ptrdiff_t k = 0; k < n; k += SUMMED) {
        const ptrdiff_t count = fnn_min(SUMMED, n - k);
        const fnn_weights own = fnn_weights_from(s->fit, &weights, k);
        fnn_add_sums(s, strip, G, at + k, count);
        network->kernels->update(&own, G, count, update);
    }
}

/* The gradient of `count` strips together, from one op that has the weights, followed by an update. */
static void update_from(const fnn_step *s, const fnn_strip *strip, ptrdiff_t count, void *stored, const fnn_update *update) {
    const fnn_network *network = s->fit->network;
    const fnn_op *op = &network->ops[strip->op];
    if (!op->kind->update) {
        update_features(s, strip, stored, update);
        return;
    }
    if (fnn_receives_sums(s, strip->op)) {
        fnn_strip own = *strip;
        for (ptrdiff_t j = 0; j < count; j++, own.q++) update_from_sums(s, &own, stored, update);
        return;
    }
    fnn_weights weights;
    find_weights(&weights, network, op->weights);
    if (stored) weights.moments[0] = fnn_at(s->fit, stored, op->weights);
    op->kind->update(s, strip, count, &weights, update);
}

/* The same for weights that several ops share: their gradients are added in the order of the ops. The penalty, which the
 * update adds to a gradient, comes with the last of them. */
static void update_shared(const fnn_step *s, const fnn_strip *strip, ptrdiff_t count, void *stored,
                          const fnn_update *update) {
    fnn_fit *fit = s->fit;
    const fnn_network *network = fit->network;
    const fnn_op *ops = network->ops;
    void *sums = stored ? stored : fit->shared_sums;
    const int last = fnn_last_call(fit, strip->op);
    int kind = stored ? update->kind : FNN_STORE;
    for (int call = strip->op;; call = ops[call].next_call) {
        fnn_strip own = *strip;
        own.op = call;
        fnn_update add = {.scale = 1.0};
        if (stored && call == last) add = *update;
        add.kind = kind;
        if (fnn_buffers_of(fit, call)->dY) {
            update_from(s, &own, count, sums, &add);
            kind = FNN_ACCUMULATE;
        }
        if (call == last) break;
    }
    fnn_strip own = *strip;
    for (ptrdiff_t j = 0; !stored && j < count; j++, own.q++) {
        ptrdiff_t n;
        const fnn_weights weights = strip_weights(network, &own, &n);
        network->kernels->update(&weights, strip_at(network, sums, &own, &n), n, update);
    }
}

typedef void strip_function(const fnn_step *s, const fnn_strip *strip);

/* The gradients of a thread's strips, each followed by `update`, which may store it, and then by `after` or NULL. */
static void update_strips(const fnn_step *s, fnn_range strips, void *stored, const fnn_update *update,
                          strip_function *after) {
    const fnn_fit *fit = s->fit;
    const fnn_network *network = fit->network;
    for (ptrdiff_t i = strips.first, apart, count; i < strips.last; i += apart * count) {
        apart = fnn_strips_apart(&fit->strips[i], strips.last - i);
        count = fnn_strips_together(s, i, strips.last, apart);
        for (ptrdiff_t part = 0; part < apart; part++) {
            const fnn_strip *strip = &fit->strips[i + part];
            const fnn_op *op = &network->ops[strip->op];
            fnn_update own;
            if (fit->has_rules) own = ruled_update(network, strip, update, fnn_penalty_scale(s));
            (op->next_call ? update_shared : update_from)(s, strip, count, stored, fit->has_rules ? &own : update);
            for (ptrdiff_t j = 0; after && j < count; j++) after(s, &strip[j * apart]);
        }
    }
}

static void move_statistics(const fnn_step *s) {
    const fnn_op *ops = s->fit->network->ops;
    for (int i = 0; i < s->fit->network->n_ops; i++)
        if (ops[i].kind->move_statistics && ops[i].is_live) ops[i].kind->move_statistics(s, i);
}

int fnn_update_weights(const fnn_step *s) {
    fnn_fit *fit = s->fit;
    const int64_t accumulate = fit->network->optimizer.accumulate;
    const fnn_range strips = fnn_strips_of(s);
    if (fit->exchange && !fnn_exchange_sums(s)) return 0;
    strip_function *const follow = fit->has_rules || fit->has_moving_average ? follow_update : NULL;
    if (fit->gradients) {
        const fnn_update store = {.kind = FNN_STORE, .scale = 1.0};
        update_strips(s, strips, fit->gradients, &store, NULL);
        return 1;
    }
    const int is_due = accumulate <= 1 || (fit->first_iteration + s->step + 1) % accumulate == 0;
    if (fit->stored && (fit->stores || !fit->may_store)) {
        const fnn_update store = {.kind = accumulate > 1 ? FNN_ACCUMULATE : FNN_STORE, .scale = 1.0};
        update_strips(s, strips, fit->stored, &store, !is_due ? follow : fit->clips_norms ? fnn_sum_strip_squares : NULL);
        if (is_due && (fit->clips_norms || fit->stores)) {
            if (s->thread == 0) fit->cut[1] = fit->stores && fnn_interrupted();
            fnn_barrier_wait(&fit->barrier);
            if (fit->cut[1]) return 0;
            if (fit->exchange && fit->clips_norms) {
                if (s->thread == 0) fnn_gather_norm_sums(s);
                fnn_barrier_wait(&fit->barrier);
            }
        }
        if (is_due) apply_all_stored(s, strips);
    } else {
        const fnn_update update = update_of(fit, s->step);
        update_strips(s, strips, NULL, &update, follow);
    }
    if (fit->exchange) {
        fnn_mark(fit, s->thread, FNN_UPDATE);
        fnn_barrier_wait(&fit->barrier);
        if (s->thread == 0) fnn_gather_weights(s);
        fnn_mark(fit, s->thread, FNN_EXCHANGE);
    }
    /* moving statistics lie among the weights that the ranks exchange */
    if (fit->constrains_norms || (fit->exchange && fit->has_moving_statistics)) fnn_barrier_wait(&fit->barrier);
    if (fit->constrains_norms) fnn_constrain(s);
    if (fit->has_moving_statistics) move_statistics(s);
    return 1;
}
