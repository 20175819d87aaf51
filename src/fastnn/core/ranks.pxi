# The exchange between ranks: the engine calls it on the thread that called it.

from cpython.buffer cimport PyBUF_WRITE
from cpython.memoryview cimport PyMemoryView_FromMemory


cdef class _Exchange:
    """The ranks of a fit, and what went wrong between them."""

    cdef object ranks
    cdef object failure
    cdef const int64_t[::1] counts  # exchanges that each rank has begun, where they share memory
    cdef unsigned char[::1] common
    cdef fnn_ranks native

    def __cinit__(self, ranks):
        self.ranks = ranks
        self.native.rank = ranks.rank
        self.native.n_ranks = ranks.size
        self.native.least_operations = ranks.least_operations
        self.native.gather = gather_parts
        self.native.start_gather = start_gather
        self.native.start_scatter = start_scatter
        self.native.finish = finish_exchanges
        self.native.context = <void *>self
        counts = getattr(ranks, "n_begun", None)
        if counts is not None:
            self.counts = counts
            self.native.n_exchanges = &self.counts[0]
            self.native.n_waits = ranks.n_waits
            self.native.share = share_memory
            self.native.part = note_parting

    cdef int check(self) except -1:
        """Raise what an exchange has raised."""
        if self.failure is not None:
            raise self.failure
        return 0


cdef object memory_of(const void *buffer, Py_ssize_t n_bytes):
    return PyMemoryView_FromMemory(<char *>buffer, n_bytes, PyBUF_WRITE) if n_bytes else memoryview(bytearray())


cdef list marks_of(const Py_ssize_t *first, int n_ranks):
    return [first[r] for r in range(n_ranks + 1)]


cdef int gather_parts(void *context, void *buffer, const Py_ssize_t *first) noexcept with gil:
    cdef _Exchange exchange = <_Exchange>context
    cdef int n = exchange.native.n_ranks
    try:
        if first[n] > first[0]:
            exchange.ranks.gather(memory_of(buffer, first[n]), marks_of(first, n))
        return 1
    except BaseException as error:
        exchange.failure = error
        return 0


cdef int start_gather(void *context, void *buffer, const Py_ssize_t *first) noexcept with gil:
    cdef _Exchange exchange = <_Exchange>context
    cdef int n = exchange.native.n_ranks
    try:
        exchange.ranks.start_gather(memory_of(buffer, first[n]), marks_of(first, n))
        return 1
    except BaseException as error:
        exchange.failure = error
        return 0


cdef int start_scatter(void *context, const void *parts, const Py_ssize_t *first, void *received,
                       const Py_ssize_t *received_first) noexcept with gil:
    cdef _Exchange exchange = <_Exchange>context
    cdef int n = exchange.native.n_ranks
    try:
        exchange.ranks.start_scatter(memory_of(parts, first[n]), marks_of(first, n),
                                     memory_of(received, received_first[n]), marks_of(received_first, n))
        return 1
    except BaseException as error:
        exchange.failure = error
        return 0


cdef int finish_exchanges(void *context) noexcept with gil:
    cdef _Exchange exchange = <_Exchange>context
    try:
        exchange.ranks.finish()
        return 1
    except BaseException as error:
        exchange.failure = error
        return 0


cdef void *share_memory(void *context, size_t n_bytes) noexcept with gil:
    cdef _Exchange exchange = <_Exchange>context
    try:
        memory = exchange.ranks.share(n_bytes)
        if memory is None:
            return NULL
        exchange.common = memory
        return &exchange.common[0]
    except BaseException as error:
        exchange.failure = error
        return NULL


cdef void note_parting(void *context) noexcept with gil:
    cdef _Exchange exchange = <_Exchange>context
    exchange.failure = RuntimeError(
        f"the ranks do different things: rank {exchange.native.rank} is in a step of fit, another one has left it. Every "
        "rank must make the same calls of fit and save"
    )
