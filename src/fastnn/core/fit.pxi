# A fit: the arrays of one training run, its epochs, steps and gradients.

cdef bint are_rows(const int64_t *order, Py_ssize_t count, Py_ssize_t n) noexcept:
    """True if all ``count`` entries lie between 0 and n - 1."""
    cdef uint64_t largest = 0
    for i in range(count):
        largest = max(largest, <uint64_t>order[i])  # a negative entry becomes a huge one
    return largest < <uint64_t>n


cdef str ending_of(fnn_status status):
    """Return what ended a run of steps or epochs."""
    return "finished" if status == FNN_OK else "more" if status == FNN_MORE else "nonfinite"


@cython.no_gc_clear  # the end of a fit gives the network its weights back
cdef class Fit:
    cdef fnn_fit *fit
    cdef Network network
    cdef object arrays
    cdef list losses  # of each: whether the caller computes it, and the width of its output
    cdef Py_ssize_t n_rows
    cdef Py_ssize_t forwarded  # 1 + the step of the last forward pass
    cdef fnn_epochs epochs
    cdef object epoch_arrays  # learning rates, orders and sums of the epochs
    cdef HeldOut held_out  # what is evaluated between them, or None
    cdef object evaluations  # after which of them, or None; the losses
    cdef fnn_watch watch
    cdef object best_weights

    cdef _Exchange exchange  # between ranks, or None
    cdef readonly tuple loss_of_gradients

    def __cinit__(self, Network network not None, X, y, sample_weight=None, Py_ssize_t batch_size=32, int n_threads=0,
                  predictions=None, rows=None, ranks=None):
        cdef fnn_matrix[FNN_MOST_BUFFERS] matrices
        cdef fnn_targets[FNN_MOST_OUTPUTS] targets
        cdef void *kept[FNN_MOST_OUTPUTS]
        cdef fnn_fit_data data
        cdef fnn_network *native = network.network
        cdef int l
        if not native.n_losses:
            raise RuntimeError("the network has no loss: call compile")
        owners = network.read_inputs(X, matrices) if network.takes_list else [matrix_of(X, matrices, native.widths[0])]
        n = matrices[0].rows
        if n < 1:
            raise ValueError("X has no rows")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if network.embeddings:
            check_table_rows(network.embeddings, network.sources, owners)
        ys, weights = read_all_targets(targets, network, y, sample_weight, n)
        outputs = list_of("predictions", predictions, native.n_outputs, native.n_outputs > 1 and predictions is not None)
        for l in range(native.n_outputs):
            kept[l] = NULL
            if outputs[l] is not None:
                name = "predictions" if native.n_outputs == 1 else f"predictions[{l}]"
                check_output(name, outputs[l], network.dtype, (n, fnn_output_width(native, l)))
                kept[l] = cnp.PyArray_DATA(outputs[l])
        data.X = matrices
        data.targets = targets
        data.predictions = kept
        data.rows, data.n_rows = NULL, n
        if rows is not None:
            rows = contiguous("rows", rows, np.int64, (len(rows),))
            data.rows, data.n_rows = <const int64_t *>cnp.PyArray_DATA(rows), len(rows)
            if not data.n_rows or not are_rows(data.rows, data.n_rows, n):
                raise ValueError(f"rows must hold at least one number, from 0 to {n - 1}, got {rows}")
        data.batch_size = batch_size
        data.n_threads = threads_of(n_threads)
        data.ranks = NULL
        if ranks is not None:
            self.exchange = _Exchange(ranks)
            data.ranks = &self.exchange.native
        self.network = network
        self.n_rows = data.n_rows
        self.losses = [
            (native.losses[l].loss.kind == FNN_CUSTOM, fnn_output_width(native, native.losses[l].output))
            for l in range(native.n_losses)
        ]
        self.arrays = (owners, ys, weights, outputs, network.loss_numbers, rows)
        cdef fnn_call call
        fnn_call_enter(&call)
        self.fit = fnn_fit_new(native, &data)
        end(&call)
        self.check_exchange()
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
    def loss_sums(self):
        return [fnn_fit_output_loss_sum(self.fit, <int>l) for l in range(len(self.losses))]

    @property
    def penalty_sum(self):
        return fnn_fit_penalty_sum(self.fit)

    def begin_epoch(self, uint64_t seed, uint64_t epoch, bint shuffle, learning_rates, order=None,
                    Py_ssize_t first_step=0):
        cdef cnp.ndarray rates = contiguous("learning_rates", learning_rates, np.float64, (self.n_steps,))
        cdef cnp.ndarray rows
        cdef const double *values = <const double *>cnp.PyArray_DATA(rates)
        cdef fnn_call call
        n = self.n_rows
        if order is None and not 0 <= first_step < self.n_steps:
            raise ValueError(f"first_step must be from 0 to {self.n_steps - 1}, got {first_step}")
        if order is not None:
            rows = contiguous("order", order, np.int64, (n,))
            if not are_rows(<const int64_t *>cnp.PyArray_DATA(rows), n, n):
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

    def set_factors(self, str name, factors=None):
        cdef int factor = index_of("factor", FIT_FACTORS, name)
        cdef cnp.ndarray values
        if factors is None:
            fnn_fit_set_factors(self.fit, factor, NULL)
            return
        values = contiguous("factors", factors, np.float64, (self.n_steps,))
        if not (np.isfinite(values).all() and values.min() >= 0.0):
            raise ValueError(f"factors of {name} must be finite and at least 0")
        fnn_fit_set_factors(self.fit, factor, <const double *>cnp.PyArray_DATA(values))

    def set_learning_rates(self, learning_rates):
        cdef cnp.ndarray rates = contiguous("learning_rates", learning_rates, np.float64, (self.n_steps,))
        cdef fnn_call call
        fnn_call_enter(&call)
        fnn_fit_set_rates(self.fit, <const double *>cnp.PyArray_DATA(rates))
        end(&call)

    def run(self, Py_ssize_t max_steps=-1, double max_seconds=0.05):
        cdef fnn_status status
        if any(is_custom for is_custom, _ in self.losses):
            raise RuntimeError("a custom loss needs forward and backward instead of run")
        self.network.enter(WRITES)
        with nogil:
            status = fnn_fit_run(self.fit, max_steps, max_seconds)
        self.network.leave()
        self.check_exchange()
        raise_for(status)
        return ending_of(status)

    def begin_epochs(self, uint64_t seed, uint64_t first, Py_ssize_t count, bint shuffle, learning_rates, orders=None,
                     uint64_t between=1):
        cdef cnp.ndarray rates = contiguous("learning_rates", learning_rates, np.float64, (self.n_steps,)).copy()
        cdef cnp.ndarray rows
        cdef cnp.ndarray sums = np.empty((count, 2 + len(self.losses)))
        self.epochs.orders = NULL
        if orders is not None:
            rows = contiguous("orders", orders, np.int64, (count, self.n_rows))
            if not are_rows(<const int64_t *>cnp.PyArray_DATA(rows), rows.size, self.n_rows):
                raise ValueError(f"orders must hold rows from 0 to {self.n_rows - 1}, got {rows.min()} to {rows.max()}")
            self.epochs.orders = <const int64_t *>cnp.PyArray_DATA(rows)
            orders = rows
        self.epochs.seed, self.epochs.first, self.epochs.between = seed, first, between
        self.epochs.shuffle = shuffle
        self.epochs.rates = <const double *>cnp.PyArray_DATA(rates)
        self.epochs.sums = <double *>cnp.PyArray_DATA(sums)
        self.epochs.count, self.epochs.done, self.epochs.looked, self.epochs.begun = count, 0, False, False
        self.epoch_arrays = (rates, orders, sums)
        self.epochs.held_out, self.epochs.watch = NULL, NULL

    def evaluate_between(self, HeldOut held_out not None, due=None):
        count = self.epochs.count
        cdef cnp.ndarray values = np.full((count, 1 + len(self.losses)), np.nan)
        cdef cnp.ndarray flags
        if held_out.network is not self.network or held_out.compilations != self.network.compilations:
            raise ValueError("held_out belongs to another network, or to losses of an earlier compile")
        self.epochs.due = NULL
        if due is not None:
            flags = contiguous("due", due, np.uint8, (count,))
            self.epochs.due = <const unsigned char *>cnp.PyArray_DATA(flags)
            due = flags
        self.epochs.values = <double *>cnp.PyArray_DATA(values)
        self.epochs.held_out = &held_out.native
        self.held_out, self.evaluations = held_out, (due, values)

    def stop_early(self, *, bint held_out, double min_delta, Py_ssize_t patience, baseline=None, best=None,
                   Py_ssize_t wait=0, Py_ssize_t epoch=0, Py_ssize_t start=0, bint keep_weights=False):
        cdef cnp.ndarray weights
        cdef fnn_watch *watch = &self.watch
        if held_out and self.epochs.held_out == NULL:
            raise ValueError("no rows are evaluated: call evaluate_between before")
        watch.held_out, watch.min_delta, watch.patience = held_out, min_delta, patience
        watch.baseline = np.nan if baseline is None else baseline
        watch.has_best, watch.best, watch.best_epoch = best is not None, best or 0.0, -1
        watch.wait, watch.epoch, watch.start, watch.weights = wait, epoch, start, NULL
        if keep_weights:
            weights = np.empty(self.network.network.n_elements, self.network.dtype)
            watch.weights = cnp.PyArray_DATA(weights)
            self.best_weights = weights
        self.epochs.watch = watch

    @property
    def stopping(self):
        return self.watch.wait, self.watch.best if self.watch.has_best else None, self.watch.best_epoch

    def best_parameter(self, int op, str name):
        if self.watch.weights == NULL or self.watch.best_epoch < 0:
            raise RuntimeError("no weights were kept: call stop_early with keep_weights=True, then run_epochs")
        cdef char *start = self.network.panels(op, name, 0)
        cdef char *base = <char *>self.network.network.weights
        return self.network.unpack(<char *>self.watch.weights + (start - base), op, name)

    @property
    def held_out_losses(self):
        return self.evaluations[1][:self.epochs.done]

    def run_epochs(self, double max_seconds=0.05):
        cdef fnn_status status
        if any(is_custom for is_custom, _ in self.losses):
            raise RuntimeError("a custom loss needs forward and backward instead of run_epochs")
        if self.epoch_arrays is None:
            raise RuntimeError("run_epochs needs begin_epochs before it")
        self.network.enter(WRITES)
        with nogil:
            status = fnn_fit_run_epochs(self.fit, &self.epochs, max_seconds)
        self.network.leave()
        raise_for(status)
        if status == FNN_BAD_INPUT:
            self.network.raise_for_nonfinite(self.held_out.inputs)
        return ending_of(status)

    def end_after_epoch(self):
        self.epochs.count = self.epochs.done + (1 if self.epochs.begun else 0)

    @property
    def epochs_begun(self):
        return self.epochs.done + (1 if self.epochs.begun else 0)

    @property
    def epoch_sums(self):
        sums = np.empty((0, 2 + len(self.losses))) if self.epoch_arrays is None else self.epoch_arrays[2]
        return sums[:self.epochs.done]

    cdef int check_exchange(self) except -1:
        return self.exchange.check() if self.exchange is not None else 0

    def settle(self):
        self.network.enter(WRITES)
        with nogil:
            fnn_fit_settle(self.fit)
        self.network.leave()
        self.check_exchange()

    def time_phases(self):
        fnn_fit_time_phases(self.fit)

    @property
    def phases(self):
        names = ["gather", "forward", "loss", "backward", "update", "wait"] + ["exchange"] * fnn_fit_is_divided(self.fit)
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
        cdef void *out[FNN_MOST_OUTPUTS]
        cdef const int64_t *order
        cdef Py_ssize_t first
        if self.step >= self.n_steps:
            raise RuntimeError("the epoch is over: call begin_epoch")
        rows = fnn_fit_batch(self.fit, &order, &first)
        outputs = [np.empty((rows, width), self.network.dtype) for _, width in self.losses]
        for l, (is_custom, _) in enumerate(self.losses):
            out[l] = cnp.PyArray_DATA(outputs[l]) if is_custom or len(self.losses) == 1 else NULL
        self.network.enter(WRITES)
        with nogil:
            status = fnn_fit_forward(self.fit, out)
        self.network.leave()
        self.check_exchange()
        raise_for(status)
        self.forwarded = self.step + 1
        if len(self.losses) == 1:
            return outputs[0]
        return [output for output, (is_custom, _) in zip(outputs, self.losses, strict=True) if is_custom]

    def backward(self, gradient, loss):
        cdef fnn_status status
        cdef const void *gradients[FNN_MOST_OUTPUTS]
        cdef double[FNN_MOST_OUTPUTS] values
        cdef const int64_t *order
        cdef Py_ssize_t first
        if self.forwarded != self.step + 1:
            raise RuntimeError("backward needs the forward pass of the same step before it")
        rows = fnn_fit_batch(self.fit, &order, &first)
        count = max(1, sum(is_custom for is_custom, _ in self.losses))
        given = list_of("gradient", gradient, count, len(self.losses) > 1)
        losses = list_of("loss", loss, count, len(self.losses) > 1)
        kept = []
        for l, (is_custom, width) in enumerate(self.losses):
            gradients[l] = NULL
            values[l] = 0.0
            if is_custom or len(self.losses) == 1:
                name = "gradient" if len(self.losses) == 1 else f"gradient[{len(kept)}]"
                values[l] = losses[len(kept)]
                kept.append(contiguous(name, given[len(kept)], self.network.dtype, (rows, width)))
                gradients[l] = cnp.PyArray_DATA(kept[-1])
        self.network.enter(WRITES)
        with nogil:
            status = fnn_fit_backward(self.fit, gradients, values)
        self.network.leave()
        self.check_exchange()
        self.forwarded = 0
        raise_for(status)
        return status == FNN_OK

    def gradients(self, bint training=False):
        cdef fnn_network *native = self.network.network
        cdef cnp.ndarray space = np.zeros(native.n_elements, self.network.dtype)
        cdef void *data = cnp.PyArray_DATA(space)
        cdef char *panels
        cdef double loss, penalty
        cdef fnn_status status
        if any(is_custom for is_custom, _ in self.losses):
            raise RuntimeError("a custom loss has no gradients here")
        self.network.enter(READS)
        with nogil:
            status = fnn_fit_gradients(self.fit, data, training, &loss, &penalty)
        self.network.leave()
        raise_for(status)
        self.loss_of_gradients = (loss, penalty)
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
