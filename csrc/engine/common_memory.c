/* Memory that the ranks of one machine have in common: what they exchange lies there, and an exchange is a meeting.
 *
 * Design:
 * a) A step has the two barriers that threads have: before phase 2, in which a rank reads the rows of all, and after it.
 * b) While steps run the weights are in common memory too: each rank writes its share there and reads all others. Between
 *    the calls of the caller every rank has its own copy, which the caller may change. Weights that all ranks change, by a
 *    constraint on norms or as moving statistics, stay where they are and travel.
 * c) A rank that has begun an exchange which another one, waiting at a meeting, has not begun makes other calls: the
 *    meeting fails instead of lasting for ever. */

#define _GNU_SOURCE
#include <sched.h>
#include <string.h>

#include "exchange.h"

/* Where ranks wait for each other. */
struct fnn_meeting {
    _Alignas(64) atomic_int arrived;
    _Alignas(64) atomic_uint generation;
};

/* ---- what lies where ---- */

static int shares_weights(const fnn_fit *fit) { return !fit->constrains_norms && !fit->has_moving_statistics; }

static size_t weight_bytes(const fnn_fit *fit) {
    return fnn_size(fit->network->n_elements, (ptrdiff_t)fit->network->element, 1);
}

/* The last message of a step: a byte of each rank and three numbers of each row and loss. */
static size_t message_bytes(const fnn_fit *fit) {
    const ptrdiff_t rows = fit->n_panels * fit->network->kernels->panel;
    return fnn_size(rows, sizeof(double), 3 * fit->n_losses) + (size_t)fit->n_ranks;
}

void fnn_take_common(fnn_fit *fit, fnn_arena *arena) {
    fnn_common *common = &fit->common;
    common->meeting = fnn_take(arena, sizeof *common->meeting);
    common->message = fnn_take(arena, message_bytes(fit));
    common->weights = shares_weights(fit) ? fnn_take(arena, weight_bytes(fit)) : NULL;
}

int fnn_is_common(const fnn_fit *fit, const void *buffer) {
    const uintptr_t at = (uintptr_t)buffer, first = (uintptr_t)fit->common.block;
    return first && at >= first && at < first + fit->common.bytes;
}

/* ---- meetings ---- */

/* 1 where a rank has begun an exchange that this one has not. */
static int have_parted(const fnn_ranks *ranks) {
    const int64_t own = atomic_load_explicit(&ranks->n_exchanges[ranks->rank], memory_order_relaxed);
    int parted = 0;
    for (int r = 0; r < ranks->n_ranks; r++)
        parted |= atomic_load_explicit(&ranks->n_exchanges[r], memory_order_acquire) > own;
    return parted;
}

/* Returns 0 where it is not worth waiting for the others. */
static int wait_for_ranks(const fnn_ranks *ranks, struct fnn_meeting *meeting, unsigned generation) {
    for (int spins = ranks->n_waits; spins > 0; spins--) {
        if (atomic_load_explicit(&meeting->generation, memory_order_acquire) != generation) return 1;
        fnn_pause();
    }
    while (atomic_load_explicit(&meeting->generation, memory_order_acquire) == generation) {
        if (fnn_interrupted()) return 0;
        if (have_parted(ranks) && atomic_load_explicit(&meeting->generation, memory_order_acquire) == generation) {
            ranks->part(ranks->context);
            return 0;
        }
        sched_yield();
    }
    return 1;
}

void fnn_meet_ranks(fnn_fit *fit) {
    struct fnn_meeting *meeting = fit->common.meeting;
    if (fit->failed) return;
    const unsigned generation = atomic_load_explicit(&meeting->generation, memory_order_acquire);
    if (atomic_fetch_add_explicit(&meeting->arrived, 1, memory_order_acq_rel) == fit->n_ranks - 1) {
        atomic_store_explicit(&meeting->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&meeting->generation, generation + 1, memory_order_release);
    } else if (!wait_for_ranks(&fit->exchange->ranks, meeting, generation)) {
        fit->failed = 1;
    }
}

/* ---- the weights ---- */

/* The network's weights are elsewhere from now on. */
static void set_weights(fnn_fit *fit, void *weights) {
    fit->network->weights = weights;
    fnn_prepare_ops(fit);
}

void fnn_enter_common(fnn_fit *fit) {
    const ptrdiff_t *shares = fit->exchange->weights;
    fnn_common *common = &fit->common;
    const char *own = fit->network->weights;
    if (!common->weights || common->own) return;
    fnn_call call;
    fnn_call_enter(&call);
    /* the others have their copies of the last call's weights */
    fnn_meet_ranks(fit);
    if (!fit->failed) {
        const ptrdiff_t first = fit->rank ? shares[fit->rank] : 0;
        const ptrdiff_t last = fit->rank + 1 < fit->n_ranks ? shares[fit->rank + 1] : (ptrdiff_t)weight_bytes(fit);
        memcpy((char *)common->weights + first, own + first, (size_t)(last - first));
        common->own = fit->network->weights;
        set_weights(fit, common->weights);
        fnn_meet_ranks(fit);
    }
    if (fnn_call_leave(&call)) fit->failed = 1;
}

void fnn_leave_common(fnn_fit *fit) {
    fnn_common *common = &fit->common;
    if (!common->own) return;
    memcpy(common->own, common->weights, weight_bytes(fit));
    set_weights(fit, common->own);
    common->own = NULL;
}
