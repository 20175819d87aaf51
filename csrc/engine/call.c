/* Calls of the engine from outside: their floating-point environment, and whether they are interrupted. */

#define _GNU_SOURCE
#include <time.h>

#include "team.h"

int64_t fnn_clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

#ifndef POLL_NS /* 0 in tests: at every look */
#define POLL_NS 50000000
#endif

static int (*poll_caller)(void);
static _Thread_local struct {
    fnn_call *call;
    int thread;
} current;

void fnn_set_poll(int (*poll)(void)) { poll_caller = poll; }

void fnn_call_join(fnn_call *call, int thread) {
    current.call = call;
    current.thread = thread;
}

void fnn_call_enter(fnn_call *call) {
    atomic_init(&call->interrupted, 0);
    call->next_poll = 0;
    call->outer = current.call;
    call->outer_thread = current.thread;
    call->environment = fnn_environment_enter();
    fnn_call_join(call, 0);
}

int fnn_call_leave(fnn_call *call) {
    fnn_call_join(call->outer, call->outer_thread);
    fnn_environment_leave(call->environment);
    return atomic_load_explicit(&call->interrupted, memory_order_relaxed);
}

/* The caller's code runs in the caller's environment. */
static void ask_caller(fnn_call *call) {
    fnn_environment_leave(call->environment);
    if (poll_caller && poll_caller()) atomic_store_explicit(&call->interrupted, 1, memory_order_relaxed);
    call->environment = fnn_environment_enter();
}

int fnn_interrupted(void) {
    fnn_call *call = current.call;
    if (!call) return 0;
    if (current.thread == 0 && !atomic_load_explicit(&call->interrupted, memory_order_relaxed)) {
        const int64_t now = fnn_clock_ns();
        if (call->next_poll && now >= call->next_poll) ask_caller(call);
        if (now >= call->next_poll) call->next_poll = now + POLL_NS;
    }
    return atomic_load_explicit(&call->interrupted, memory_order_relaxed);
}
