# Instruction set, threads and peak of this machine.

def _choose_isa():
    cdef int i = 0
    names = []
    available = []
    while fnn_isa_names[i] != NULL:
        names.append(fnn_isa_names[i].decode())
        if fnn_find_kernels(fnn_isa_names[i], FNN_F32) != NULL:
            available.append(names[-1])
        i += 1
    asked = os.environ.get("FASTNN_ISA", "")
    if not asked:
        return fnn_default_isa().decode(), tuple(available)
    if asked not in names:
        raise ImportError(f"FASTNN_ISA={asked!r} is not an instruction set that fastnn knows; known: {', '.join(names)}")
    if asked not in available:
        raise ImportError(f"FASTNN_ISA={asked!r} is not supported by this CPU or build; available: {', '.join(available)}")
    return asked, tuple(available)


_isa, _available_isas = _choose_isa()
cdef bytes _isa_bytes = _isa.encode()
cdef const fnn_kernels *KERNELS_F32 = fnn_find_kernels(_isa_bytes, FNN_F32)
cdef const fnn_kernels *KERNELS_F64 = fnn_find_kernels(_isa_bytes, FNN_F64)
cdef int default_threads = 1  # as set
cdef int used_threads = 1  # not more than there are processors


def set_num_threads(n):
    global default_threads, used_threads
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or not 1 <= n <= 1024:
        raise ValueError(f"n must be an integer from 1 to 1024, got {n!r}")
    default_threads = n
    used_threads = min(default_threads, fnn_processors())


def get_num_threads():
    return default_threads


def limit_own_threads(int most):
    fnn_limit_own_threads(most)


def most_own_threads():
    return min(default_threads, fnn_thread_limit())


cdef inline int threads_of(int n_threads) noexcept:
    return n_threads if n_threads > 0 else min(used_threads, fnn_thread_limit())


def config():
    return {
        "isa": _isa,
        "isas": _available_isas,
        "compiler": _COMPILER,
        "openmp": fnn_openmp_version(),
        "wide_rate": fnn_wide_rate(),
        "threads": default_threads,
        "machine": platform.machine(),
    }


cdef extern from *:
    """
    #if defined(__clang__)
    #define FNN_COMPILER "clang " __clang_version__
    #else
    #define FNN_COMPILER "gcc " __VERSION__
    #endif
    """
    const char *FNN_COMPILER

_COMPILER = FNN_COMPILER.decode()


def fma_peak(double seconds=0.2):
    cdef cnp.ndarray[float, ndim=1] numbers = np.ones(16, dtype=np.float32)
    cdef void *sink = cnp.PyArray_DATA(numbers)
    cdef double operations = 0.0
    start = _time.perf_counter()
    elapsed = 0.0
    while elapsed < seconds:
        with nogil:
            operations += KERNELS_F32.fma_peak(1000000, sink)
        elapsed = _time.perf_counter() - start
    return operations / elapsed / 1e9


def enter_environment():
    return fnn_environment_enter()


def leave_environment(uint64_t environment):
    fnn_environment_leave(environment)
