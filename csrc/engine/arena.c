/* The only allocator: one block per owner, cut into cache-line aligned parts. */

#define _GNU_SOURCE
#include <stdatomic.h>
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

/* Sizes up to which whole lines and pages can be added without overflow. */
#define MOST_BYTES ((size_t)PTRDIFF_MAX - 4 * HUGE_PAGE)

static size_t round_up(size_t bytes, size_t multiple) { return (bytes + multiple - 1) / multiple * multiple; }

void *fnn_take(fnn_arena *arena, size_t bytes) {
    void *part = arena->block ? arena->block + arena->used : NULL;
    if (arena->used > MOST_BYTES || bytes > MOST_BYTES - arena->used)
        arena->used = SIZE_MAX;
    else
        arena->used += round_up(bytes, LINE);
    return part;
}

/* A block of at least *bytes and one more line, because vectors may be read across the end of the last part. */
static void *new_block(size_t *bytes) {
    if (*bytes > MOST_BYTES) return NULL;
    *bytes = round_up(*bytes, LINE) + LINE;
    if (*bytes < HUGE_FROM) return aligned_alloc(LINE, *bytes);
    *bytes = round_up(*bytes, HUGE_PAGE);
    void *block = aligned_alloc(HUGE_PAGE, *bytes);
#if defined(__linux__)
    if (block) madvise(block, *bytes, MADV_HUGEPAGE);
#endif
    return block;
}

/* Between two looks for an interruption; new pages cost up to a second per gigabyte. */
#define ZEROED_BYTES ((size_t)16 << 20)

int fnn_arena_allocate(fnn_arena *arena) {
    size_t bytes = arena->used;
    arena->block = new_block(&bytes);
    if (!arena->block) return 0;
    for (size_t at = 0; at < bytes; at += ZEROED_BYTES) {
        if (at && fnn_interrupted()) {
            free(arena->block);
            return 0;
        }
        memset(arena->block + at, 0, bytes - at < ZEROED_BYTES ? bytes - at : ZEROED_BYTES);
    }
    arena->used = 0;
    return 1;
}

void fnn_arena_free(void *block) { free(block); }

/* ---- scratch: a block whose first line holds its size ---- */

/* The last block that was given back. */
static _Atomic(void *) kept;

static size_t *size_of(void *block) { return block; }

void *fnn_scratch_new(size_t bytes) {
    if (bytes > MOST_BYTES) return NULL;
    bytes += LINE;
    void *block = atomic_exchange(&kept, NULL);
    if (!block || *size_of(block) < bytes + LINE) {
        free(block);
        block = new_block(&bytes);
        if (!block) return NULL;
        *size_of(block) = bytes;
    }
    return (char *)block + LINE;
}

void fnn_scratch_free(void *scratch) {
    if (!scratch) return;
    void *block = (char *)scratch - LINE;
    if (*size_of(block) <= KEPT_BYTES) block = atomic_exchange(&kept, block);
    free(block);
}
