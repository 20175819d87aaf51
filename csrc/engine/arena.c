/* The only allocator: one block per owner, cut into cache-line aligned parts. */

#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "engine.h"

#define LINE ((size_t)64)
#define HUGE_PAGE ((size_t)2 << 20)
/* Blocks from here on ask for huge pages: 2-6 % of a step on the widest networks. */
#define HUGE_FROM ((size_t)4 << 20)
/* Scratch up to this size is kept for the next call: its pages cost as much as the product of a few rows. */
#define KEPT_BYTES ((size_t)32 << 20)

size_t fnn_size(ptrdiff_t count, ptrdiff_t size, ptrdiff_t more) {
    size_t total;
    if (count < 0 || size < 0 || more < 0) return SIZE_MAX;
    if (__builtin_mul_overflow((size_t)count, (size_t)size, &total)) return SIZE_MAX;
    if (__builtin_mul_overflow(total, (size_t)more, &total)) return SIZE_MAX;
    return total > PTRDIFF_MAX ? SIZE_MAX : total;
}

/* Bytes of all parts, each of whole cache lines, and of one line more; SIZE_MAX: too many. */
static size_t bytes_of(const size_t *sizes, int parts) {
    size_t bytes = LINE;
    for (int i = 0; i < parts; i++) {
        if (sizes[i] > PTRDIFF_MAX - 2 * LINE || bytes > PTRDIFF_MAX - sizes[i] - 2 * LINE) return SIZE_MAX;
        bytes += (sizes[i] + LINE - 1) / LINE * LINE;
    }
    return bytes;
}

static void cut(void **out, const size_t *sizes, int parts, char *at) {
    for (int i = 0; i < parts; i++) {
        out[i] = at;
        at += (sizes[i] + LINE - 1) / LINE * LINE;
    }
}

static void *new_block(size_t *bytes) {
    if (*bytes == SIZE_MAX) return NULL;
    if (*bytes < HUGE_FROM) return aligned_alloc(LINE, *bytes);
    *bytes = (*bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    void *block = aligned_alloc(HUGE_PAGE, *bytes);
#if defined(__linux__)
    if (block) madvise(block, *bytes, MADV_HUGEPAGE);
#endif
    return block;
}

void *fnn_arena_new(void **out, const size_t *sizes, int parts) {
    size_t bytes = bytes_of(sizes, parts);
    void *block = new_block(&bytes);
    if (!block) return NULL;
    memset(block, 0, bytes);
    cut(out, sizes, parts, block);
    return block;
}

void fnn_arena_free(void *arena) { free(arena); }

/* Scratch starts with a line that holds its size. */
static size_t *size_of(void *scratch) { return scratch; }

/* The last one that was given back. */
static _Atomic(void *) kept;

void *fnn_scratch_new(void **out, const size_t *sizes, int parts) {
    size_t bytes = bytes_of(sizes, parts);
    void *scratch = atomic_exchange(&kept, NULL);
    if (!scratch || *size_of(scratch) < bytes) {
        free(scratch);
        scratch = new_block(&bytes);
        if (!scratch) return NULL;
        *size_of(scratch) = bytes;
    }
    cut(out, sizes, parts, (char *)scratch + LINE);
    return scratch;
}

void fnn_scratch_free(void *scratch) {
    if (scratch && *size_of(scratch) <= KEPT_BYTES) scratch = atomic_exchange(&kept, scratch);
    free(scratch);
}
