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

size_t fnn_size(ptrdiff_t count, ptrdiff_t size, ptrdiff_t more) {
    size_t total;
    if (count < 0 || size < 0 || more < 0) return SIZE_MAX;
    if (__builtin_mul_overflow((size_t)count, (size_t)size, &total)) return SIZE_MAX;
    if (__builtin_mul_overflow(total, (size_t)more, &total)) return SIZE_MAX;
    return total > PTRDIFF_MAX ? SIZE_MAX : total;
}

static void *new_block(void **out, const size_t *sizes, int parts, int zeroed) {
    size_t bytes = LINE;
    for (int i = 0; i < parts; i++) {
        if (sizes[i] > PTRDIFF_MAX - 2 * LINE || bytes > PTRDIFF_MAX - sizes[i] - 2 * LINE) return NULL;
        bytes += (sizes[i] + LINE - 1) / LINE * LINE;
    }
    char *block;
    if (bytes >= HUGE_FROM) {
        bytes = (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
        block = aligned_alloc(HUGE_PAGE, bytes);
#if defined(__linux__)
        if (block) madvise(block, bytes, MADV_HUGEPAGE);
#endif
    } else {
        block = aligned_alloc(LINE, bytes);
    }
    if (!block) return NULL;
    if (zeroed) memset(block, 0, bytes);
    char *at = block;
    for (int i = 0; i < parts; i++) {
        out[i] = at;
        at += (sizes[i] + LINE - 1) / LINE * LINE;
    }
    return block;
}

void *fnn_arena_new(void **out, const size_t *sizes, int parts) { return new_block(out, sizes, parts, 1); }

void *fnn_scratch_new(void **out, const size_t *sizes, int parts) { return new_block(out, sizes, parts, 0); }

void fnn_arena_free(void *arena) { free(arena); }
