# A fit: the arrays of one training run, its epochs, steps and gradients.

cdef const int64_t *labels_of(object y, Py_ssize_t n_out, const fnn_loss *loss) except? NULL:
    a = y[y != loss.ignored] if loss.ignores else y
    if a.size and (a.min() < 0 or a.max() >= n_out):
        raise ValueError(f"labels must be from 0 to {n_out - 1}, got {a.min()} to {a.max()}")
    return <const int64_t *>cnp.PyArray_DATA(<cnp.ndarray>y)


cdef bint are_rows(const int64_t *order, Py_ssize_t n) noexcept:
    """True if all n entries lie between 0 and n - 1."""
    cdef uint64_t largest = 0
    for i in range(n):
        largest = max(largest, <uint64_t>order[i])  # a negative entry becomes a huge one
    return largest < <uint64_t>n


cdef class Fit:
    cdef fnn_fit *fit
    cdef Network network
    cdef object arrays
    cdef Py_ssize_t forwarded  # 1 + the step of the last forward pass

    def __cinit__(self, Network network not None, X, y, sample_weight=None, Py_ssize_t batch_size=32, int n_threads=0,
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
            data.labels = labels_of(y, native.n_outputs, &native.loss)
        else:
            columns = fnn_target_columns(&native.loss, native.n_outputs)
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
        cdef fnn_call call
        fnn_call_enter(&call)
        self.fit = fnn_fit_new(native, &data)
        end(&call)
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

    def begin_epoch(self, uint64_t seed, uint64_t epoch, bint shuffle, learning_rates, order=None,
                    Py_ssize_t first_step=0):
        cdef cnp.ndarray rates = contiguous("learning_rates", learning_rates, np.float64, (self.n_steps,))
        cdef cnp.ndarray rows
        cdef const double *values = <const double *>cnp.PyArray_DATA(rates)
        cdef fnn_call call
        n = self.arrays[0].shape[0]
        if order is None and not 0 <= first_step < self.n_steps:
            raise ValueError(f"first_step must be from 0 to {self.n_steps - 1}, got {first_step}")
        if order is not None:
            rows = contiguous("order", order, np.int64, (n,))
            if not are_rows(<const int64_t *>cnp.PyArray_DATA(rows), n):
                raise ValueError(f"order must hold rows from 0 to {n - 1}, got {rows.min()} to {rows.max()}")
            shuffle = False
            first_step = 0
        fnn_call_enter(&call)
        with nogil:
            fnn_fit_begin(self.fit, seed, epoch, shuffle, values)
            if first_step:
                fnn_fit_skip(self.fit, first_step, values)
        end(&call)
        if order is not None:
            fnn_fit_set_order(self.fit, <const int64_t *>cnp.PyArray_DATA(rows))

    def set_learning_rates(self, learning_rates):
        cdef cnp.ndarray rates = contiguous("learning_rates", learning_rates, np.float64, (self.n_steps,))
        cdef fnn_call call
        fnn_call_enter(&call)
        fnn_fit_set_rates(self.fit, <const double *>cnp.PyArray_DATA(rates))
        end(&call)

    def run(self, Py_ssize_t max_steps=-1, double max_seconds=0.05):
        cdef fnn_status status
        if self.network.network.loss.kind == FNN_CUSTOM:
            raise RuntimeError("a custom loss needs forward and backward instead of run")
        self.network.enter(WRITES)
        with nogil:
            status = fnn_fit_run(self.fit, max_steps, max_seconds)
        self.network.leave()
        raise_for(status)
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
        cdef fnn_status status
        if self.step >= self.n_steps:
            raise RuntimeError("the epoch is over: call begin_epoch")
        cdef const int64_t *order
        cdef Py_ssize_t first
        shape = (fnn_fit_batch(self.fit, &order, &first), self.network.n_outputs)
        cdef cnp.ndarray out = np.empty(shape, self.network.dtype)
        cdef void *data = cnp.PyArray_DATA(out)
        self.network.enter(WRITES)
        with nogil:
            status = fnn_fit_forward(self.fit, data)
        self.network.leave()
        raise_for(status)
        self.forwarded = self.step + 1
        return out

    def backward(self, gradient, double loss):
        cdef fnn_status status
        if self.forwarded != self.step + 1:
            raise RuntimeError("backward needs the forward pass of the same step before it")
        cdef const int64_t *order
        cdef Py_ssize_t first
        shape = (fnn_fit_batch(self.fit, &order, &first), self.network.n_outputs)
        cdef cnp.ndarray g = contiguous("gradient", gradient, self.network.dtype, shape)
        cdef const void *data = cnp.PyArray_DATA(g)
        self.network.enter(WRITES)
        with nogil:
            status = fnn_fit_backward(self.fit, data, loss)
        self.network.leave()
        self.forwarded = 0
        raise_for(status)

    def gradients(self, bint training=False):
        cdef fnn_network *native = self.network.network
        cdef cnp.ndarray space = np.zeros(native.n_elements, self.network.dtype)
        cdef void *data = cnp.PyArray_DATA(space)
        cdef char *panels
        cdef double loss, penalty
        cdef fnn_status status
        if native.loss.kind == FNN_CUSTOM:
            raise RuntimeError("a custom loss has no gradients here")
        self.network.enter(READS)
        with nogil:
            status = fnn_fit_gradients(self.fit, data, training, &loss, &penalty)
        self.network.leave()
        raise_for(status)
        result = []
        for op in range(native.n_ops):
            if native.ops[op].rows == 0 or not native.ops[op].trainable:
                continue
            panels = <char *>data + native.ops[op].weights * <Py_ssize_t>self.network.dtype.itemsize
            for parameter, name in enumerate(PARAMETERS[self.network.kinds[op]]):
                if native.ops[op].use_bias if parameter else native.ops[op].use_kernel:
                    result.append((op, name, self.network.unpack(panels, op, name)))
        return result

    def loss_and_gradient(self, parameters, gradient):
        cdef fnn_network *native = self.network.network
        cdef double loss = 0.0, penalty = 0.0
        cdef fnn_status status
        cdef Py_ssize_t size = fnn_flat_size(native)
        cdef cnp.ndarray source = contiguous("parameters", parameters, self.network.dtype, (size,))
        check_output("gradient", gradient, self.network.dtype, (size,))
        cdef cnp.ndarray target = gradient
        cdef cnp.ndarray space = np.zeros(native.n_elements, self.network.dtype)
        cdef void *stored = cnp.PyArray_DATA(space)
        cdef const void *values = cnp.PyArray_DATA(source)
        cdef void *slopes = cnp.PyArray_DATA(target)
        self.network.enter(WRITES)
        with nogil:
            fnn_from_flat(native, native.weights, values)
            status = fnn_fit_gradients(self.fit, stored, False, &loss, &penalty)
            fnn_to_flat(native, slopes, stored)
        self.network.leave()
        raise_for(status)
        return loss, penalty
