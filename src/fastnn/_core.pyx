# cython: language_level=3, embedsignature=True
"""Types, shapes and the GIL: everything else is in csrc/."""

import os
import platform

import numpy as np

cimport numpy as cnp
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy, strcmp

cnp.import_array()
cdef object np_ndarray = np.ndarray


cdef extern from "fnn.h" nogil:
    enum: FNN_LINEAR, FNN_LEAKY_RELU, FNN_ELU, FNN_SOFTMAX, FNN_ACTIVATIONS
    enum: FNN_SPARSE_CCE, FNN_CCE, FNN_BCE, FNN_GAUSSIAN_NLL, FNN_DICE, FNN_CUSTOM
    enum: FNN_SGD, FNN_SGD_MOMENTUM, FNN_SGD_NESTEROV, FNN_ADAM, FNN_AMSGRAD, FNN_NADAM, FNN_ADAMAX, FNN_ADAGRAD
    enum: FNN_ADADELTA, FNN_LION, FNN_RMSPROP, FNN_RMSPROP_CENTERED
    enum: FNN_F32, FNN_F64, FNN_I8, FNN_U8, FNN_I16, FNN_U16, FNN_I32, FNN_U32, FNN_I64, FNN_U64
    ctypedef struct fnn_loss:
        int kind, from_logits
        double label_smoothing, delta, alpha, gamma
        int balanced, full, per_row, sum, weighted_mean
        double factor
    ctypedef struct fnn_update:
        int kind
        double rate, decay, beta_1, beta_2, epsilon, scale, clip
    ctypedef struct fnn_matrix:
        const void *data
        int dtype
        Py_ssize_t row_stride, col_stride, rows, cols
    ctypedef struct fnn_kernels:
        const char *isa
        int dtype, panel, narrow
        void (*activate)(void *, void *, const void *, Py_ssize_t, int, const double *) noexcept nogil
        void (*row_activation)(void *, Py_ssize_t, Py_ssize_t, Py_ssize_t, int) noexcept nogil
        void (*pack_weights)(void *, const void *, const void *, Py_ssize_t, Py_ssize_t) noexcept nogil
        void (*unpack_weights)(void *, void *, const void *, Py_ssize_t, Py_ssize_t) noexcept nogil
        int (*all_finite)(const void *, Py_ssize_t) noexcept nogil
        double (*fma_peak)(int64_t, void *) noexcept nogil
    const fnn_kernels *fnn_find_kernels(const char *isa, int dtype)
    const char *fnn_default_isa()
    const char *fnn_isa_names[]
    void fnn_random_uniform(double *, Py_ssize_t, uint64_t, uint64_t)
    void fnn_random_normal(double *, Py_ssize_t, uint64_t, uint64_t)


cdef extern from "engine/engine.h" nogil:
    ctypedef enum fnn_status:
        FNN_OK, FNN_MORE, FNN_NONFINITE, FNN_NO_MEMORY, FNN_BAD_INPUT
    enum: FNN_OP_DENSE, FNN_OP_BATCH_NORM, FNN_OP_LAYER_NORM, FNN_OP_STANDARDIZE
    ctypedef void (*fnn_phase)(void *, int, int) noexcept nogil
    void fnn_team_run(fnn_phase, void *, int, void *)
    void fnn_team_release()
    int fnn_openmp_version()
    ctypedef struct fnn_rules:
        double l1, l2
        int no_decay, constraint, axis
        double bound
    ctypedef struct fnn_op:
        int kind, activation, use_kernel, use_bias, trainable, alpha, rms, invert, missing, indicator, source
        double parameters[3]
        double rate, momentum, epsilon
        Py_ssize_t n_in, n_out, weights, rows, state
        fnn_rules rules[2]
        double activity_l1, activity_l2
    ctypedef struct fnn_optimizer:
        fnn_update update
        int n_slots
        double initial, clip_norm, global_clip_norm
        int use_average
        double average_momentum
        int64_t overwrite_every, accumulate
    ctypedef struct fnn_network:
        const fnn_kernels *kernels
        int n_ops
        fnn_op *ops
        Py_ssize_t n_features, n_outputs, n_elements
        void *weights
        void *slots[5]
        int n_slots
        fnn_loss loss
        fnn_optimizer optimizer
        int64_t iterations
    fnn_network *fnn_network_new(const fnn_kernels *, Py_ssize_t, const fnn_op *, int)
    void fnn_network_free(fnn_network *)
    fnn_status fnn_network_compile(fnn_network *, const fnn_loss *, const fnn_optimizer *)
    void fnn_network_use_average(fnn_network *)
    double fnn_network_penalty(const fnn_network *)
    Py_ssize_t fnn_target_columns(const fnn_network *)
    fnn_status fnn_predict(const fnn_network *, const fnn_matrix *, void *, int, int, Py_ssize_t *)
    Py_ssize_t fnn_bad_row(const fnn_network *, const fnn_matrix *)
    int fnn_takes_missing(const fnn_network *)
    int fnn_skipped_activation(const fnn_network *)
    ctypedef struct fnn_fit
    ctypedef struct fnn_fit_data:
        fnn_matrix X, y
        const int64_t *labels
        const void *sample_weight
        const void *predictions
        Py_ssize_t batch_size
        int n_threads
    fnn_fit *fnn_fit_new(fnn_network *, const fnn_fit_data *)
    void fnn_fit_free(fnn_fit *)
    Py_ssize_t fnn_fit_steps(const fnn_fit *)
    Py_ssize_t fnn_fit_step(const fnn_fit *)
    double fnn_fit_loss_sum(const fnn_fit *)
    double fnn_fit_penalty_sum(const fnn_fit *)
    void fnn_fit_set_order(fnn_fit *, const int64_t *)
    void fnn_fit_begin(fnn_fit *, uint64_t, uint64_t, int, const double *)
    void fnn_fit_set_rates(fnn_fit *fit, const double *rates)
    void fnn_fit_time_phases(fnn_fit *fit)
    int64_t fnn_fit_phase_ns(const fnn_fit *fit, int phase)
    fnn_status fnn_fit_run(fnn_fit *, Py_ssize_t, double)
    double fnn_fit_gradients(fnn_fit *, void *, int, double *)
    void fnn_fit_forward(fnn_fit *, void *)
    void fnn_fit_backward(fnn_fit *, const void *, double)
    Py_ssize_t fnn_fit_batch(const fnn_fit *, const int64_t **, Py_ssize_t *)
    fnn_status fnn_dense_forward(const fnn_kernels *, void *, const void *, const void *, const void *, Py_ssize_t, Py_ssize_t,
                                 Py_ssize_t, int, const double *, int)
    fnn_status fnn_dense_backward(const fnn_kernels *, void *, void *, void *, const void *, const void *, const void *,
                                  const void *, Py_ssize_t, Py_ssize_t, Py_ssize_t, int, const double *, int)
    fnn_status fnn_loss_arrays(const fnn_kernels *, double *, void *, const void *, const void *, const int64_t *,
                               const void *, Py_ssize_t, Py_ssize_t, const fnn_loss *)
    fnn_status fnn_activation_gradient(const fnn_kernels *, void *, const void *, const void *, Py_ssize_t, Py_ssize_t, int,
                                       const double *)


# In the order of fnn_op_kind.
OPS = (
    "dense", "activation", "dropout", "gaussian_noise", "batch_normalization", "layer_normalization", "prelu", "normalization",
    "add",
)
# What an op trains, a kernel or what stands in its place and a bias; and what it keeps beside that.
cdef dict PARAMETERS = {
    "dense": ("kernel", "bias"),
    "batch_normalization": ("gamma", "beta"),
    "layer_normalization": ("gamma", "beta"),
    "prelu": ("alpha",),
    "normalization": (),
}
cdef dict STATES = {"batch_normalization": ("moving_mean", "moving_variance"), "normalization": ("mean", "variance", "count")}
# In the order of fnn_activation and fnn_loss_kind.
ACTIVATIONS = (
    "linear", "relu", "leaky_relu", "tanh", "sigmoid", "softplus", "elu", "selu", "gelu", "gelu_tanh", "silu", "exponential",
    "relu6", "general_relu", "mish", "softsign", "hard_sigmoid", "hard_silu", "softmax", "log_softmax",
)
LOSSES = (
    "mean_squared_error", "mean_absolute_error", "huber", "mean_absolute_percentage_error",
    "mean_squared_logarithmic_error", "log_cosh", "poisson", "hinge", "squared_hinge", "quantile", "binary_crossentropy",
    "binary_focal_crossentropy", "categorical_crossentropy", "sparse_categorical_crossentropy",
    "categorical_focal_crossentropy", "kl_divergence", "categorical_hinge", "cosine_similarity", "gaussian_nll", "dice",
    "custom",
)
OPTIMIZERS = ("sgd", "adam", "adamw", "nadam", "adamax", "adagrad", "adadelta", "lion", "rmsprop")
# In the order of fnn_constraint_kind, without none, and of fnn_norm_axis.
CONSTRAINTS = ("max_norm", "unit_norm", "non_neg")
cdef tuple AXES = (0, 1, None)
cdef dict DEFAULT_PARAMETERS = {"leaky_relu": (0.2,), "elu": (1.0,), "general_relu": (0.0, np.inf, 0.0)}


cdef int index_of(str what, tuple names, object name) except -1:
    try:
        return names.index(name)
    except ValueError:
        from difflib import get_close_matches

        close = get_close_matches(str(name), names, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"unknown {what} {name!r}; known: {', '.join(names)}{hint}") from None


# ---- instruction set and threads ----

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
        raise ImportError(f"FASTNN_ISA={asked!r} is not an instruction set fastnn knows; known: {', '.join(names)}")
    if asked not in available:
        raise ImportError(f"FASTNN_ISA={asked!r} is not supported by this CPU or build; available: {', '.join(available)}")
    return asked, tuple(available)


_isa, _available_isas = _choose_isa()
cdef bytes _isa_bytes = _isa.encode()
cdef const fnn_kernels *KERNELS_F32 = fnn_find_kernels(_isa_bytes, FNN_F32)
cdef const fnn_kernels *KERNELS_F64 = fnn_find_kernels(_isa_bytes, FNN_F64)
cdef int default_threads = 1


def set_num_threads(n):
    global default_threads
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or not 1 <= n <= 1024:
        raise ValueError(f"n must be an integer from 1 to 1024, got {n!r}")
    default_threads = n


def get_num_threads():
    return default_threads


cdef inline int threads_of(int n_threads) noexcept:
    return n_threads if n_threads > 0 else default_threads


def config():
    return {
        "isa": _isa,
        "isas": _available_isas,
        "compiler": _COMPILER,
        "openmp": fnn_openmp_version(),
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


cdef void peak_phase(void *context, int thread, int n_threads) noexcept nogil:
    cdef double *out = <double *>context
    out[8 * thread] = KERNELS_F32.fma_peak(2000000, &out[8 * 1024 + 8 * thread])


def fma_peak(int n_threads=0, double seconds=0.2):
    """Fused multiply-add peak of the chosen kernels in float32, GFLOP/s over ``n_threads`` threads: best of repeats."""
    import time

    cdef cnp.ndarray[double, ndim=1] space = np.zeros(16 * 1024)
    cdef double *data = &space[0]
    cdef int n = threads_of(n_threads)
    best = 0.0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        with nogil:
            fnn_team_run(peak_phase, data, n, NULL)
        elapsed = time.perf_counter() - start
        best = max(best, float(space[: 8 * n : 8].sum()) / elapsed / 1e9)
    return best


# ---- arrays ----

cdef int dtype_of(cnp.ndarray a) noexcept:
    cdef int t = cnp.PyArray_TYPE(a)
    if not cnp.PyArray_ISNOTSWAPPED(a):
        return -1
    if t == cnp.NPY_FLOAT32: return FNN_F32
    if t == cnp.NPY_FLOAT64: return FNN_F64
    if t == cnp.NPY_BOOL: return FNN_U8
    if cnp.PyTypeNum_ISINTEGER(t):
        size = cnp.PyArray_ITEMSIZE(a)
        if cnp.PyTypeNum_ISUNSIGNED(t):
            return FNN_U8 if size == 1 else FNN_U16 if size == 2 else FNN_U32 if size == 4 else FNN_U64
        return FNN_I8 if size == 1 else FNN_I16 if size == 2 else FNN_I32 if size == 4 else FNN_I64
    return -1


cdef inline object matrix_of(object X, fnn_matrix *m, Py_ssize_t cols):
    """Describes X in ``m``; returns the array that owns the memory."""
    cdef cnp.ndarray a
    if not isinstance(X, np.ndarray):
        X = np.asarray(X)
    a = X
    m.dtype = dtype_of(a)
    if m.dtype < 0:
        if a.dtype.kind not in "biuf":
            raise TypeError(f"X must hold real numbers, got dtype {a.dtype}")
        a = np.asarray(a, dtype=np.float64)
        m.dtype = FNN_F64
    if cnp.PyArray_NDIM(a) != 2:
        raise ValueError(f"X must have 2 dimensions (rows, features), got shape {np.shape(X)}")
    m.data = cnp.PyArray_DATA(a)
    m.rows = cnp.PyArray_DIM(a, 0)
    m.cols = cnp.PyArray_DIM(a, 1)
    m.row_stride = cnp.PyArray_STRIDE(a, 0)
    m.col_stride = cnp.PyArray_STRIDE(a, 1)
    if cols >= 0 and m.cols != cols:
        raise ValueError(f"X has {m.cols} features, but the network takes {cols}")
    return a


cdef cnp.ndarray contiguous(str name, object a, object dtype, tuple shape):
    cdef cnp.ndarray result = np.asarray(a, dtype=dtype, order="C")
    if np.shape(result) != shape:
        raise ValueError(f"{name} must have shape {shape}, got {np.shape(result)}")
    return result


cdef void check_output(str name, object out, object dtype, tuple shape) except *:
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array, got {type(out).__name__}")
    if out.shape != shape or out.dtype != dtype or not out.flags.c_contiguous or not out.flags.writeable:
        raise ValueError(
            f"{name} must be a writeable C-contiguous {dtype} array of shape {shape}, "
            f"got {out.dtype} of shape {out.shape}"
        )


def first_nonfinite(X):
    X = np.asarray(X)
    if X.dtype.kind != "f":
        return None
    if X.size == 0:
        return None
    # a block at a time: the mask of a large X would be as large as its rows
    for start in range(0, X.shape[0], 65536):
        finite = np.isfinite(X[start : start + 65536])
        if not finite.all():
            row, column = np.argwhere(~finite)[0]
            return int(row) + start, int(column)
    return None


cdef int raise_for(fnn_status status) except -1:
    if status == FNN_NO_MEMORY:
        raise MemoryError("not enough memory for the buffers of this call")
    return 0


# ---- networks ----

cdef class Network:
    cdef fnn_network *network
    cdef readonly object dtype
    cdef object kinds
    cdef int users  # calls that read the weights; -1: one call that writes them

    def __cinit__(self, Py_ssize_t n_features, ops, dtype="float32"):
        cdef Py_ssize_t count = len(ops)
        cdef const fnn_kernels *kernels
        cdef fnn_op *native
        cdef cnp.ndarray space
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float32, np.float64):
            raise ValueError(f"dtype must be 'float32' or 'float64', got {dtype!r}")
        kernels = KERNELS_F32 if self.dtype == np.float32 else KERNELS_F64
        if n_features < 1:
            raise ValueError(f"n_features must be at least 1, got {n_features}")
        if count > 255:
            raise ValueError(f"a network has at most 255 ops, got {count}")
        space = np.zeros((count + 1) * sizeof(fnn_op), dtype=np.uint8)
        native = <fnn_op *>cnp.PyArray_DATA(space)
        for i, (kind, options) in enumerate(ops):
            native[i].kind = index_of("op", OPS, kind)
            if kind not in ("dense", "activation"):
                read_op(&native[i], kind, options, i)
                continue
            name = options.get("activation", "linear")
            native[i].activation = index_of("activation", ACTIVATIONS, name)
            for j, value in enumerate(options.get("parameters") or DEFAULT_PARAMETERS.get(name, ())):
                native[i].parameters[j] = value
            if kind == "dense":
                native[i].n_out = options["n_out"]
                native[i].use_bias = options.get("use_bias", True)
                native[i].trainable = options.get("trainable", True)
                native[i].activity_l1, native[i].activity_l2 = options.get("activity_regularizer") or (0.0, 0.0)
                for part, parameter in enumerate(("kernel", "bias")):
                    read_rules(&native[i].rules[part], options.get(f"{parameter}_regularizer"),
                               options.get(f"{parameter}_constraint"))
                if native[i].n_out < 1:
                    raise ValueError(f"n_out must be at least 1, got {options['n_out']}")
        self.kinds = tuple(kind for kind, _ in ops)
        self.network = fnn_network_new(kernels, n_features, native, <int>count)
        if self.network == NULL:
            raise MemoryError("not enough memory for the weights of this network")
        for i in range(count):
            op = self.network.ops[i]
            if op.kind in (FNN_OP_BATCH_NORM, FNN_OP_LAYER_NORM, FNN_OP_STANDARDIZE):
                for name in ("gamma", "moving_variance", "variance"):
                    if name in PARAMETERS[self.kinds[i]] + STATES.get(self.kinds[i], ()):
                        self.set_parameter(i, name, np.ones(op.n_in))
                for name in ("mean", "variance"):
                    if name in ops[i][1]:
                        self.set_parameter(i, name, ops[i][1][name])
            if self.kinds[i] == "add" and self.network.ops[op.source].n_in != op.n_in:
                raise ValueError(f"op {i} adds {self.network.ops[op.source].n_in} features to {op.n_in}")

    def __dealloc__(self):
        fnn_network_free(self.network)

    @property
    def n_features(self):
        return self.network.n_features

    @property
    def n_outputs(self):
        return self.network.n_outputs

    @property
    def n_slots(self):
        return self.network.n_slots

    @property
    def iterations(self):
        return self.network.iterations

    @iterations.setter
    def iterations(self, int64_t value):
        self.network.iterations = value

    cdef char *panels(self, int op, str name, int slot) except NULL:
        if not 0 <= op < self.network.n_ops or self.kinds[op] not in PARAMETERS:
            raise IndexError(f"op {op} has no parameters")
        known = PARAMETERS[self.kinds[op]] + STATES.get(self.kinds[op], ())
        if name not in known:
            raise ValueError(f"unknown parameter {name!r}; known: {', '.join(known)}")
        if not 0 <= slot <= self.network.n_slots:
            raise IndexError(f"slot must be from 0 to {self.network.n_slots}, got {slot}")
        base = <char *>(self.network.weights if slot == 0 else self.network.slots[slot - 1])
        states = STATES.get(self.kinds[op], ())
        if name in states:
            at = self.network.ops[op].state + <Py_ssize_t>states.index(name) * self.network.ops[op].n_in
            return base + <Py_ssize_t>at * <Py_ssize_t>self.dtype.itemsize
        return base + self.network.ops[op].weights * <Py_ssize_t>self.dtype.itemsize

    cdef tuple shape_of(self, int op, str name):
        if name == "count":
            return ()
        if name == "kernel":
            return (self.network.ops[op].n_in, self.network.ops[op].n_out)
        return (self.network.ops[op].n_in if name in STATES.get(self.kinds[op], ()) else self.network.ops[op].n_out,)

    cdef cnp.ndarray unpack(self, char *panels, int op, str name):
        cdef cnp.ndarray out = np.empty(self.shape_of(op, name), self.dtype)
        cdef int part = PARAMETERS[self.kinds[op]].index(name) if name in PARAMETERS[self.kinds[op]] else -1
        if part < 0:
            memcpy(cnp.PyArray_DATA(out), panels, cnp.PyArray_NBYTES(out))
            return out
        self.network.kernels.unpack_weights(
            cnp.PyArray_DATA(out) if part == 0 else NULL, cnp.PyArray_DATA(out) if part == 1 else NULL,
            panels, self.network.ops[op].rows, self.network.ops[op].n_out)
        return out

    def get_parameter(self, int op, str name, int slot=0):
        return self.unpack(self.panels(op, name, slot), op, name)

    def set_parameter(self, int op, str name, value, int slot=0):
        cdef char *panels = self.panels(op, name, slot)
        cdef cnp.ndarray a = contiguous(name, value, self.dtype, self.shape_of(op, name))
        cdef int part = PARAMETERS[self.kinds[op]].index(name) if name in PARAMETERS[self.kinds[op]] else -1
        if self.users != 0:
            raise RuntimeError("the network is in use by another thread")
        if part < 0:
            memcpy(panels, cnp.PyArray_DATA(a), cnp.PyArray_NBYTES(a))
            return
        self.network.kernels.pack_weights(
            panels, cnp.PyArray_DATA(a) if part == 0 else NULL, cnp.PyArray_DATA(a) if part == 1 else NULL,
            self.network.ops[op].rows, self.network.ops[op].n_out)

    def compile(self, str loss, dict loss_options, str optimizer, dict optimizer_options):
        cdef fnn_loss l = loss_of(loss, loss_options)
        cdef fnn_optimizer rule
        cdef fnn_update u
        cdef int slots
        o = optimizer_options
        index_of("optimizer", OPTIMIZERS, optimizer)
        if l.kind == FNN_GAUSSIAN_NLL and self.network.n_outputs % 2:
            raise ValueError(
                "gaussian_nll needs two outputs per target, its mean and the logarithm of its variance; "
                f"the network has {self.network.n_outputs}"
            )
        rule.initial = 0.0
        u.scale = 1.0
        u.clip = o.get("clipvalue") or 0.0
        u.rate = 1.0
        u.decay = o.get("weight_decay") or 0.0
        u.epsilon = o.get("epsilon", 1e-7)
        u.beta_1 = u.beta_2 = 0.0
        if optimizer == "sgd":
            u.beta_1 = o.get("momentum", 0.0)
            slots = 1 if u.beta_1 else 0
            u.kind = FNN_SGD if not slots else FNN_SGD_NESTEROV if o.get("nesterov", False) else FNN_SGD_MOMENTUM
        elif optimizer == "rmsprop":
            u.beta_1 = o.get("momentum", 0.0)
            u.beta_2 = o.get("rho", 0.9)
            u.kind = FNN_RMSPROP_CENTERED if o.get("centered", False) else FNN_RMSPROP
            slots = 3 if u.kind == FNN_RMSPROP_CENTERED else 2
        elif optimizer == "adagrad":
            rule.initial = o.get("initial_accumulator_value", 0.1)
            u.kind = FNN_ADAGRAD
            slots = 1
        elif optimizer == "adadelta":
            u.beta_2 = o.get("rho", 0.95)
            u.kind = FNN_ADADELTA
            slots = 2
        elif optimizer == "lion":
            u.beta_1 = o.get("beta_1", 0.9)
            u.beta_2 = o.get("beta_2", 0.99)
            u.kind = FNN_LION
            slots = 1
        else:
            u.beta_1 = 1.0 - <double>o.get("beta_1", 0.9)
            u.beta_2 = 1.0 - <double>o.get("beta_2", 0.999)
            u.kind = FNN_NADAM if optimizer == "nadam" else FNN_ADAM
            slots = 2
            if optimizer == "adamax":
                u.beta_2 = o.get("beta_2", 0.999)
                u.kind = FNN_ADAMAX
            elif optimizer != "nadam" and o.get("amsgrad", False):
                u.kind = FNN_AMSGRAD
                slots = 3
        rule.update = u
        rule.n_slots = slots
        rule.clip_norm = o.get("clipnorm") or 0.0
        rule.global_clip_norm = o.get("global_clipnorm") or 0.0
        rule.use_average = bool(o.get("use_ema", False))
        rule.average_momentum = o.get("ema_momentum", 0.99)
        rule.overwrite_every = o.get("ema_overwrite_frequency") or 0
        rule.accumulate = o.get("gradient_accumulation_steps") or 1
        excluded = o.get("no_weight_decay") or ()
        for op, name in excluded:
            self.panels(op, name, 0)
        if self.users != 0:
            raise RuntimeError("the network is in use by another thread")
        raise_for(fnn_network_compile(self.network, &l, &rule))
        for op in range(self.network.n_ops):
            for part, name in enumerate(PARAMETERS.get(self.kinds[op], ())):
                self.network.ops[op].rules[part].no_decay = (op, name) in excluded

    def set_trainable(self, int op, bint trainable):
        if not 0 <= op < self.network.n_ops or self.kinds[op] not in PARAMETERS:
            raise IndexError(f"op {op} has no parameters")
        if self.users != 0:
            raise RuntimeError("the network is in use by another thread")
        self.network.ops[op].trainable = trainable

    @property
    def penalty(self):
        return fnn_network_penalty(self.network)

    def use_average(self):
        if not self.network.optimizer.use_average:
            raise RuntimeError("the update rule keeps no moving average of the weights")
        if self.users != 0:
            raise RuntimeError("the network is in use by another thread")
        if self.network.iterations:
            fnn_network_use_average(self.network)

    def predict(self, X, out=None, int n_threads=0, bint logits=False):
        cdef fnn_matrix m
        cdef Py_ssize_t bad_row = -1
        cdef cnp.npy_intp shape[2]
        cdef int skip = 0
        cdef fnn_status status
        cdef cnp.ndarray result
        owner = matrix_of(X, &m, self.network.n_features)
        shape[0] = m.rows
        shape[1] = self.network.n_outputs
        if out is None:
            result = cnp.PyArray_EMPTY(2, shape, cnp.NPY_FLOAT32 if self.network.kernels.dtype == FNN_F32 else cnp.NPY_FLOAT64, 0)
        else:
            check_output("out", out, self.dtype, (m.rows, self.network.n_outputs))
            if fnn_bad_row(self.network, &m) >= 0:
                self.raise_for_nonfinite(X)
            result = out
        if m.rows == 0:
            return result
        if logits:
            skip = self.network.ops[self.network.n_ops - 1].activation in (FNN_SOFTMAX, SIGMOID)
        if self.users < 0:
            raise RuntimeError("the network is being trained by another thread")
        self.users += 1
        cdef void *target = cnp.PyArray_DATA(result)
        cdef int threads = threads_of(n_threads)
        with nogil:
            status = fnn_predict(self.network, &m, target, skip, threads, &bad_row)
        self.users -= 1
        raise_for(status)
        if status == FNN_BAD_INPUT:
            self.raise_for_nonfinite(X)
        return result

    cdef object raise_for_nonfinite(self, X):
        X = np.asarray(X)
        # extended precision is read as float64
        values = X if X.dtype.itemsize <= 8 else X.astype(np.float64)
        limit = np.finfo(self.dtype).max
        for start in range(0, len(X), 65536):
            block = values[start : start + 65536]
            bad = ~(np.abs(block) <= limit)
            if fnn_takes_missing(self.network):
                bad &= ~np.isnan(block)
            if not bad.any():
                continue
            row, column = (int(i) for i in np.argwhere(bad)[0])
            value = X[start + row, column]
            what = f"too large for {self.dtype}" if np.isfinite(value) else "not finite"
            raise ValueError(f"X has a value that is {what} in row {start + row}, column {column}: {value}")
        raise AssertionError("the core refused an input that is in order")


cdef int SIGMOID = ACTIVATIONS.index("sigmoid")


cdef int read_op(fnn_op *op, str kind, dict options, Py_ssize_t number) except -1:
    op.trainable = options.get("trainable", True)
    op.use_kernel = kind == "prelu" or (kind in PARAMETERS and options.get("scale", True))
    op.use_bias = kind in PARAMETERS and len(PARAMETERS[kind]) > 1 and options.get("center", True)
    op.rate = options.get("rate", 0.0)
    op.alpha = options.get("alpha", False)
    op.momentum = options.get("momentum", 0.99)
    op.epsilon = options.get("epsilon", 1e-3)
    op.rms = options.get("rms_scaling", False)
    op.invert = options.get("invert", False)
    op.missing = options.get("missing") is not None
    op.indicator = options.get("missing") == "indicator"
    op.source = options.get("source", 0)
    if kind == "add" and not 0 <= op.source < number:
        raise ValueError(f"source of op {number} must be an earlier op, got {op.source}")
    for part, parameter in enumerate(PARAMETERS.get(kind, ())):
        read_rules(&op.rules[part], options.get(f"{parameter}_regularizer"), options.get(f"{parameter}_constraint"))
    return 0


cdef int read_rules(fnn_rules *rules, object regularizer, object constraint) except -1:
    rules.l1, rules.l2 = regularizer or (0.0, 0.0)
    if constraint is not None:
        name, bound, axis = constraint
        rules.constraint = 1 + index_of("constraint", CONSTRAINTS, name)
        rules.bound = bound
        rules.axis = index_of("axis", AXES, axis)
    return 0


cdef fnn_loss loss_of(object name, dict options) except *:
    cdef fnn_loss loss
    loss.kind = index_of("loss", LOSSES, name)
    loss.from_logits = bool(options.get("from_logits", False))
    loss.label_smoothing = options.get("label_smoothing", 0.0)
    loss.delta = options.get("q", 0.5) if name == "quantile" else options.get("delta", 1.0)
    loss.alpha = options.get("alpha", 0.25)
    loss.gamma = options.get("gamma", 2.0)
    loss.balanced = bool(options.get("apply_class_balancing", False))
    loss.full = bool(options.get("full", False))
    loss.per_row = bool(options.get("per_row", False))
    loss.sum = bool(options.get("sum", False))
    loss.weighted_mean = bool(options.get("weighted_mean", False))
    loss.factor = options.get("factor", 1.0)
    return loss


cdef const int64_t *labels_of(object y, Py_ssize_t rows, Py_ssize_t n_out) except? NULL:
    cdef cnp.ndarray a = y
    if a.size and (a.min() < 0 or a.max() >= n_out):
        raise ValueError(f"labels must be from 0 to {n_out - 1}, got {a.min()} to {a.max()}")
    return <const int64_t *>cnp.PyArray_DATA(a)


cdef class Fit:
    cdef fnn_fit *fit
    cdef Network network
    cdef object arrays
    cdef Py_ssize_t forwarded  # 1 + the step whose forward pass was made

    def __cinit__(self, Network network, X, y, sample_weight=None, Py_ssize_t batch_size=32, int n_threads=0,
                  predictions=None):
        cdef fnn_fit_data data
        cdef fnn_network *native = network.network
        owner = matrix_of(X, &data.X, native.n_features)
        if data.X.rows < 1:
            raise ValueError("X has no rows")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        shape = (data.X.rows, native.n_outputs)
        data.labels = NULL
        data.y.data = NULL
        if native.loss.kind == FNN_CUSTOM:
            y = None
        elif native.loss.kind == FNN_SPARSE_CCE:
            y = contiguous("y", y, np.int64, (data.X.rows,))
            data.labels = labels_of(y, data.X.rows, native.n_outputs)
        else:
            columns = fnn_target_columns(native)
            y = contiguous("y", y, network.dtype, (data.X.rows, columns))
            matrix_of(y, &data.y, columns)
        data.sample_weight = data.predictions = NULL
        if sample_weight is not None:
            sample_weight = contiguous("sample_weight", sample_weight, network.dtype, (data.X.rows,))
            data.sample_weight = cnp.PyArray_DATA(sample_weight)
        if predictions is not None:
            check_output("predictions", predictions, network.dtype, shape)
            data.predictions = cnp.PyArray_DATA(predictions)
        data.batch_size = batch_size
        data.n_threads = threads_of(n_threads)
        self.network = network
        self.arrays = (owner, y, sample_weight, predictions)
        self.fit = fnn_fit_new(native, &data)
        if self.fit == NULL:
            raise MemoryError("not enough memory for the buffers of this fit")

    def __dealloc__(self):
        fnn_fit_free(self.fit)

    @property
    def n_steps(self):
        return fnn_fit_steps(self.fit)

    @property
    def step(self):
        return fnn_fit_step(self.fit)

    @property
    def loss_sum(self):
        return fnn_fit_loss_sum(self.fit)

    @property
    def penalty_sum(self):
        return fnn_fit_penalty_sum(self.fit)

    def begin_epoch(self, uint64_t seed, uint64_t epoch, bint shuffle, learning_rates, order=None):
        cdef cnp.ndarray rates = contiguous("learning_rates", learning_rates, np.float64, (self.n_steps,))
        cdef cnp.ndarray rows
        if order is None:
            fnn_fit_begin(self.fit, seed, epoch, shuffle, <const double *>cnp.PyArray_DATA(rates))
            return
        n = self.arrays[0].shape[0]
        rows = contiguous("order", order, np.int64, (n,))
        if rows.min() < 0 or rows.max() >= n:
            raise ValueError(f"order must hold rows from 0 to {n - 1}, got {rows.min()} to {rows.max()}")
        fnn_fit_begin(self.fit, seed, epoch, False, <const double *>cnp.PyArray_DATA(rates))
        fnn_fit_set_order(self.fit, <const int64_t *>cnp.PyArray_DATA(rows))

    def set_learning_rates(self, learning_rates):
        cdef cnp.ndarray rates = contiguous("learning_rates", learning_rates, np.float64, (self.n_steps,))
        fnn_fit_set_rates(self.fit, <const double *>cnp.PyArray_DATA(rates))

    def run(self, Py_ssize_t max_steps=-1, double max_seconds=0.05):
        cdef fnn_status status
        if self.network.users != 0:
            raise RuntimeError("the network is in use by another thread")
        self.network.users = -1
        with nogil:
            status = fnn_fit_run(self.fit, max_steps, max_seconds)
        self.network.users = 0
        return "finished" if status == FNN_OK else "more" if status == FNN_MORE else "nonfinite"

    def time_phases(self):
        fnn_fit_time_phases(self.fit)

    @property
    def phases(self):
        names = ("gather", "forward", "loss", "backward", "update", "wait")
        return {name: 1e-9 * fnn_fit_phase_ns(self.fit, phase) for phase, name in enumerate(names)}

    def batch_rows(self):
        cdef const int64_t *order
        cdef Py_ssize_t first
        cdef Py_ssize_t count = fnn_fit_batch(self.fit, &order, &first)
        if order == NULL:
            return np.arange(first, first + count)
        result = np.empty(count, np.int64)
        memcpy(cnp.PyArray_DATA(result), order, count * sizeof(int64_t))
        return result

    def forward(self):
        if self.step >= self.n_steps:
            raise RuntimeError("the epoch is over: call begin_epoch")
        if self.network.users != 0:
            raise RuntimeError("the network is in use by another thread")
        cdef const int64_t *order
        cdef Py_ssize_t first
        shape = (fnn_fit_batch(self.fit, &order, &first), self.network.n_outputs)
        cdef cnp.ndarray out = np.empty(shape, self.network.dtype)
        cdef void *data = cnp.PyArray_DATA(out)
        with nogil:
            fnn_fit_forward(self.fit, data)
        self.forwarded = self.step + 1
        return out

    def backward(self, gradient, double loss):
        if self.forwarded != self.step + 1:
            raise RuntimeError("backward needs the forward pass of the same step before it")
        if self.network.users != 0:
            raise RuntimeError("the network is in use by another thread")
        cdef const int64_t *order
        cdef Py_ssize_t first
        shape = (fnn_fit_batch(self.fit, &order, &first), self.network.n_outputs)
        cdef cnp.ndarray g = contiguous("gradient", gradient, self.network.dtype, shape)
        cdef const void *data = cnp.PyArray_DATA(g)
        self.network.users = -1
        with nogil:
            fnn_fit_backward(self.fit, data, loss)
        self.network.users = 0
        self.forwarded = 0

    def gradients(self, bint training=False):
        cdef fnn_network *native = self.network.network
        cdef cnp.ndarray space = np.zeros(native.n_elements, self.network.dtype)
        cdef void *data = cnp.PyArray_DATA(space)
        cdef char *panels
        cdef double penalty
        with nogil:
            fnn_fit_gradients(self.fit, data, training, &penalty)
        result = []
        for op in range(native.n_ops):
            if native.ops[op].rows == 0 or not native.ops[op].trainable:
                continue
            panels = <char *>data + native.ops[op].weights * <Py_ssize_t>self.network.dtype.itemsize
            for part, name in enumerate(PARAMETERS[self.network.kinds[op]]):
                if native.ops[op].use_kernel if part == 0 else native.ops[op].use_bias:
                    result.append((op, name, self.network.unpack(panels, op, name)))
        return result

    def loss_and_gradient(self, parameters, gradient):
        cdef fnn_network *native = self.network.network
        cdef Py_ssize_t element = self.network.dtype.itemsize, at = 0, size, n_elements = native.n_elements
        cdef double loss, penalty
        cdef char *values
        cdef char *slopes
        cdef char *panels
        cdef int op, part, direction
        total = sum((native.ops[op].rows * native.ops[op].use_kernel + native.ops[op].use_bias) * native.ops[op].n_out
                    for op in range(native.n_ops) if native.ops[op].rows)
        cdef cnp.ndarray source = contiguous("parameters", parameters, self.network.dtype, (total,))
        check_output("gradient", gradient, self.network.dtype, (total,))
        cdef cnp.ndarray target = gradient
        cdef cnp.ndarray space = np.zeros(n_elements, self.network.dtype)
        cdef char *stored = <char *>cnp.PyArray_DATA(space)
        values = <char *>cnp.PyArray_DATA(source)
        slopes = <char *>cnp.PyArray_DATA(target)
        if self.network.users != 0:
            raise RuntimeError("the network is in use by another thread")
        self.network.users = -1
        with nogil:
            for direction in range(2):
                at = 0
                if direction == 1:
                    loss = fnn_fit_gradients(self.fit, stored, False, &penalty)
                for part in range(2):
                    for op in range(native.n_ops):
                        if native.ops[op].rows == 0:
                            continue
                        if not (native.ops[op].use_kernel if part == 0 else native.ops[op].use_bias):
                            continue
                        size = native.ops[op].n_out * (native.ops[op].rows if part == 0 else 1)
                        panels = (<char *>native.weights if direction == 0 else stored) + native.ops[op].weights * element
                        if direction == 0:
                            native.kernels.pack_weights(panels, values + at if part == 0 else NULL,
                                                        values + at if part == 1 else NULL,
                                                        native.ops[op].rows, native.ops[op].n_out)
                        else:
                            native.kernels.unpack_weights(slopes + at if part == 0 else NULL,
                                                          slopes + at if part == 1 else NULL, panels,
                                                          native.ops[op].rows, native.ops[op].n_out)
                        at += size * element
        self.network.users = 0
        return loss, penalty


def release_threads():
    """Let go of the threads that wait in the OpenMP runtime after a call."""
    fnn_team_release()


# ---- kernels on arrays ----

cdef const fnn_kernels *kernels_for(object dtype) except NULL:
    if dtype == np.float32:
        return KERNELS_F32
    if dtype == np.float64:
        return KERNELS_F64
    raise TypeError(f"arrays must be float32 or float64, got {dtype}")


cdef void read_parameters(object parameters, str name, double *out) except *:
    out[0] = out[1] = out[2] = 0.0
    for i, value in enumerate(parameters or DEFAULT_PARAMETERS.get(name, ())):
        out[i] = value


cdef tuple as_real(str name, object x):
    x = np.asarray(x)
    if x.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, got dtype {x.dtype}")
    dtype = x.dtype if x.dtype in (np.float32, np.float64) else np.dtype(np.float64)
    return np.ascontiguousarray(x, dtype=dtype).reshape(x.shape), dtype


def activation(name, x, out=None, parameters=()):
    cdef double p[3]
    cdef int kind = index_of("activation", ACTIVATIONS, name)
    read_parameters(parameters, name, p)
    x, dtype = as_real("x", x)
    if out is None:
        out = np.empty(x.shape, dtype)
    else:
        check_output("out", out, dtype, x.shape)
    cdef const fnn_kernels *kernels = kernels_for(dtype)
    cdef cnp.ndarray source = x
    cdef cnp.ndarray target = out
    if x.size == 0:
        return out
    if kind < FNN_SOFTMAX:
        kernels.activate(cnp.PyArray_DATA(target), NULL, cnp.PyArray_DATA(source), x.size, kind, p)
    else:
        if x.ndim < 1:
            raise ValueError(f"{name} needs rows, got a scalar")
        target[...] = source
        kernels.row_activation(cnp.PyArray_DATA(target), x.size // x.shape[-1], x.shape[-1], x.shape[-1], kind)
    return out


def activation_gradient(name, x, grad_out, parameters=()):
    cdef double p[3]
    cdef int kind = index_of("activation", ACTIVATIONS, name)
    read_parameters(parameters, name, p)
    x, dtype = as_real("x", x)
    cdef cnp.ndarray source = x
    cdef cnp.ndarray gradient = contiguous("grad_out", grad_out, dtype, x.shape)
    cdef cnp.ndarray out = np.empty(x.shape, dtype)
    if x.size == 0:
        return out
    columns = x.shape[-1] if x.ndim else 1
    raise_for(fnn_activation_gradient(kernels_for(dtype), cnp.PyArray_DATA(out), cnp.PyArray_DATA(gradient),
                                      cnp.PyArray_DATA(source), x.size // columns, columns, kind, p))
    return out


def loss_and_gradient(name, y_true, y_pred, sample_weight=None, bint gradient=True, **options):
    cdef fnn_loss loss = loss_of(name, options)
    cdef double value = 0
    cdef const int64_t *labels = NULL
    cdef void *truth = NULL
    cdef void *weights = NULL
    cdef void *grad = NULL
    y_pred, dtype = as_real("y_pred", y_pred)
    if y_pred.ndim != 2:
        raise ValueError(f"y_pred must have shape (rows, outputs), got {y_pred.shape}")
    n, n_out = y_pred.shape
    if n == 0 or n_out == 0:
        raise ValueError(f"y_pred is empty: shape {y_pred.shape}")
    if loss.kind == FNN_SPARSE_CCE:
        y_true = contiguous("y_true", np.reshape(y_true, -1), np.int64, (n,))
        labels = labels_of(y_true, n, n_out)
    elif loss.kind == FNN_GAUSSIAN_NLL:
        if n_out % 2:
            raise ValueError(f"y_pred must have two columns per target, means and logarithms of variances, got {n_out}")
        padded = np.zeros((n, n_out), dtype)
        padded[:, : n_out // 2] = contiguous("y_true", y_true, dtype, (n, n_out // 2))
        y_true = padded
        truth = cnp.PyArray_DATA(<cnp.ndarray>y_true)
    elif loss.kind == FNN_CUSTOM:
        raise ValueError("a loss of the caller's own is computed by the caller")
    else:
        y_true = contiguous("y_true", y_true, dtype, (n, n_out))
        truth = cnp.PyArray_DATA(<cnp.ndarray>y_true)
    if loss.kind == FNN_DICE and not loss.per_row:
        # one row that is the whole batch; its weight is what the rows' weights sum to
        if sample_weight is not None:
            weight = np.sum(contiguous("sample_weight", sample_weight, dtype, (n,)), dtype=np.float64)
            sample_weight = np.array([weight if loss.sum else weight / n])
        n, n_out, loss.per_row = 1, n * n_out, 1
    if sample_weight is not None:
        sample_weight = contiguous("sample_weight", sample_weight, dtype, (n,))
        weights = cnp.PyArray_DATA(<cnp.ndarray>sample_weight)
    result = np.empty_like(y_pred) if gradient else None
    if gradient:
        grad = cnp.PyArray_DATA(<cnp.ndarray>result)
    raise_for(fnn_loss_arrays(kernels_for(dtype), &value, grad, cnp.PyArray_DATA(<cnp.ndarray>y_pred), truth, labels, weights,
                              n, n_out, &loss))
    return value, result


cdef bint is_plain(object a, int dimensions, int dtype) noexcept:
    """A C-contiguous array of this type in native order."""
    return (
        type(a) is np_ndarray
        and cnp.PyArray_NDIM(<cnp.ndarray>a) == dimensions
        and cnp.PyArray_TYPE(<cnp.ndarray>a) == dtype
        and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>a)
    )


cdef bint are_dense_arrays(object x, object kernel, object bias) noexcept:
    """The usual case, told without Python calls."""
    cdef int dtype
    if type(x) is not np_ndarray:
        return False
    dtype = cnp.PyArray_TYPE(<cnp.ndarray>x)
    return (
        (dtype == cnp.NPY_FLOAT32 or dtype == cnp.NPY_FLOAT64)
        and is_plain(x, 2, dtype)
        and is_plain(kernel, 2, dtype)
        and cnp.PyArray_DIM(<cnp.ndarray>kernel, 0) == cnp.PyArray_DIM(<cnp.ndarray>x, 1)
        and cnp.PyArray_SIZE(<cnp.ndarray>kernel) > 0
        and (
            bias is None
            or (
                is_plain(bias, 1, dtype)
                and cnp.PyArray_DIM(<cnp.ndarray>bias, 0) == cnp.PyArray_DIM(<cnp.ndarray>kernel, 1)
            )
        )
    )


cdef tuple dense_arrays(object x, object kernel, object bias):
    if are_dense_arrays(x, kernel, bias):
        return x, kernel, bias, (<cnp.ndarray>x).dtype
    x, dtype = as_real("x", x)
    if x.ndim != 2:
        raise ValueError(f"x must have shape (rows, n_in), got {x.shape}")
    kernel = np.ascontiguousarray(kernel, dtype=dtype)
    if kernel.ndim != 2 or kernel.shape[0] != x.shape[1] or 0 in kernel.shape:
        raise ValueError(f"kernel must have shape ({x.shape[1]}, n_out), got {kernel.shape}")
    if bias is not None:
        bias = contiguous("bias", bias, dtype, (kernel.shape[1],))
    return x, kernel, bias, dtype


def dense_forward(x, kernel, bias, activation, out, int n_threads=0):
    cdef double p[3]
    cdef int kind = index_of("activation", ACTIVATIONS, activation)
    cdef fnn_status status
    read_parameters((), activation, p)
    x, kernel, bias, dtype = dense_arrays(x, kernel, bias)
    cdef Py_ssize_t n = cnp.PyArray_DIM(<cnp.ndarray>x, 0), n_in = cnp.PyArray_DIM(<cnp.ndarray>x, 1)
    cdef Py_ssize_t n_out = cnp.PyArray_DIM(<cnp.ndarray>kernel, 1)
    cdef cnp.npy_intp shape[2]
    if out is None:
        shape[0] = n
        shape[1] = n_out
        out = cnp.PyArray_EMPTY(2, shape, cnp.PyArray_TYPE(<cnp.ndarray>x), 0)
    else:
        check_output("out", out, dtype, (n, n_out))
    if n == 0:
        return out
    cdef const fnn_kernels *kernels = KERNELS_F32 if cnp.PyArray_TYPE(<cnp.ndarray>x) == cnp.NPY_FLOAT32 else KERNELS_F64
    cdef void *o = cnp.PyArray_DATA(<cnp.ndarray>out)
    cdef void *a = cnp.PyArray_DATA(<cnp.ndarray>x)
    cdef void *w = cnp.PyArray_DATA(<cnp.ndarray>kernel)
    cdef void *b = cnp.PyArray_DATA(<cnp.ndarray>bias) if bias is not None else NULL
    cdef int threads = threads_of(n_threads)
    with nogil:
        status = fnn_dense_forward(kernels, o, a, w, b, n, n_in, n_out, kind, p, threads)
    raise_for(status)
    return out


def dense_backward(grad_out, x, kernel, bias, out, activation, int n_threads=0):
    cdef double p[3]
    cdef int kind = index_of("activation", ACTIVATIONS, activation)
    cdef fnn_status status
    read_parameters((), activation, p)
    x, kernel, bias, dtype = dense_arrays(x, kernel, bias)
    cdef Py_ssize_t n = x.shape[0], n_in = x.shape[1], n_out = kernel.shape[1]
    grad_out = contiguous("grad_out", grad_out, dtype, (n, n_out))
    if np.shape(out) != (n, n_out):
        raise ValueError(f"out must have shape {(n, n_out)}, got {np.shape(out)}")
    grad_x, grad_kernel, grad_bias = np.empty((n, n_in), dtype), np.zeros((n_in, n_out), dtype), np.zeros(n_out, dtype)
    if n == 0:
        return grad_x, grad_kernel, grad_bias
    cdef const fnn_kernels *kernels = kernels_for(dtype)
    cdef void *gx = cnp.PyArray_DATA(<cnp.ndarray>grad_x)
    cdef void *gw = cnp.PyArray_DATA(<cnp.ndarray>grad_kernel)
    cdef void *gb = cnp.PyArray_DATA(<cnp.ndarray>grad_bias)
    cdef void *g = cnp.PyArray_DATA(<cnp.ndarray>grad_out)
    cdef void *a = cnp.PyArray_DATA(<cnp.ndarray>x)
    cdef void *w = cnp.PyArray_DATA(<cnp.ndarray>kernel)
    cdef void *b = cnp.PyArray_DATA(<cnp.ndarray>bias) if bias is not None else NULL
    cdef int threads = threads_of(n_threads)
    with nogil:
        status = fnn_dense_backward(kernels, gx, gw, gb, g, a, w, b, n, n_in, n_out, kind, p, threads)
    raise_for(status)
    return grad_x, grad_kernel, grad_bias


# ---- random numbers ----

def random_uniform(uint64_t seed, uint64_t stream, Py_ssize_t n):
    cdef cnp.ndarray out = np.empty(n)
    fnn_random_uniform(<double *>cnp.PyArray_DATA(out), n, seed, stream)
    return out


def random_normal(uint64_t seed, uint64_t stream, Py_ssize_t n):
    cdef cnp.ndarray out = np.empty(n)
    fnn_random_normal(<double *>cnp.PyArray_DATA(out), n, seed, stream)
    return out
