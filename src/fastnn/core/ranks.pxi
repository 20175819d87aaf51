# The exchange between ranks: the engine calls it on the thread that called it.

from cpython.buffer cimport PyBUF_WRITE
from cpython.memoryview cimport PyMemoryView_FromMemory


cdef class _Exchange:
    """The ranks of a fit, and what went wrong between them."""

    cdef object ranks
    cdef object failure
    cdef fnn_ranks native

    def __cinit__(self, ranks):
        self.ranks = ranks
        self.native.rank = ranks.rank
        self.native.n_ranks = ranks.size
        self.native.least_operations = ranks.least_operations
        self.native.gather = gather_parts
        self.native.context = <void *>self

    cdef int check(self) except -1:
        """Raise what an exchange has raised."""
        if self.failure is not None:
            raise self.failure
        return 0


cdef int gather_parts(void *context, void *buffer, const Py_ssize_t *first) noexcept with gil:
    cdef _Exchange exchange = <_Exchange>context
    cdef int r, n = exchange.native.n_ranks
    try:
        if first[n] > first[0]:
            memory = PyMemoryView_FromMemory(<char *>buffer, first[n], PyBUF_WRITE)
            exchange.ranks.gather(memory, [first[r] for r in range(n + 1)])
        return 1
    except BaseException as error:
        exchange.failure = error
        return 0
