# The compiled network: its weights, its parameters by name, its predictions, and the lock on it.

# Access of a call to the weights. Copies are allowed even while another thread trains.
cdef enum:
    COPIES, READS, WRITES


@cython.final
cdef class Network:
    cdef fnn_network *network
    cdef readonly object dtype
    cdef readonly long compilations
    cdef object kinds
    cdef object class_weights  # the loss points to them
    cdef int users  # calls that read the weights now; -1: one call that writes them
    cdef unsigned long owner  # thread that has reserved the network; 0: none
    cdef str refusal  # the message for other threads then
    cdef object __weakref__

    def __cinit__(self, Py_ssize_t n_features, ops, dtype="float32"):
        cdef Py_ssize_t count = len(ops)
        cdef const fnn_kernels *kernels
        cdef fnn_op *native
        cdef cnp.ndarray space
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float32, np.float64):
            raise ValueError(f"dtype must be 'float32' or 'float64', got {dtype!r}")
        kernels = KERNELS_F32 if self.dtype == np.float32 else KERNELS_F64
        if not 1 <= n_features <= MOST_FEATURES:
            raise ValueError(f"n_features must be from 1 to {MOST_FEATURES}, got {n_features}")
        if count > 255:
            raise ValueError(f"a network has at most 255 ops, got {count}")
        space = np.zeros((count + 1) * sizeof(fnn_op), dtype=np.uint8)
        native = <fnn_op *>cnp.PyArray_DATA(space)
        for i, (kind, options) in enumerate(ops):
            read_op(&native[i], kind, options, i)
        _forget_in_child(self)
        self.kinds = tuple(kind for kind, _ in ops)
        cdef fnn_call call
        fnn_call_enter(&call)
        self.network = fnn_network_new(kernels, n_features, native, <int>count)
        end(&call)
        if self.network == NULL:
            raise MemoryError("not enough memory for the weights of this network")
        for i, (kind, options) in enumerate(ops):
            for name in PARAMETERS[kind] + STATES[kind]:
                if name in ("mean", "variance") and name in options:
                    self.set_parameter(i, name, options[name])
                elif name in ("gamma", "moving_variance", "variance"):
                    self.set_parameter(i, name, np.ones(self.network.ops[i].n_in))
            source = self.network.ops[i].source
            if kind == "add" and self.network.ops[source].n_in != self.network.ops[i].n_in:
                raise ValueError(f"op {i} adds {self.network.ops[source].n_in} features to {self.network.ops[i].n_in}")

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
    def iterations(self, value):
        if not 0 <= value <= MOST_ITERATIONS:
            raise ValueError(f"iterations must be from 0 to {MOST_ITERATIONS}, got {value}")
        self.network.iterations = value


    def forget_other_threads(self):
        """Forget the calls of other threads, in a forked child: only the thread that forked lives on."""
        self.users = 0
        if self.owner != PyThread_get_thread_ident():
            self.owner = 0

    cdef int check(self, int access) except -1:
        """Raise RuntimeError if the calls that are running exclude this one."""
        if self.owner != 0 and self.owner != PyThread_get_thread_ident():
            raise RuntimeError(self.refusal)
        if access == WRITES and self.users != 0:
            raise RuntimeError("the network is in use by another thread")
        if access == READS and self.users < 0:
            raise RuntimeError("the network is being trained by another thread")
        return 0

    cdef int enter(self, int access) except -1:
        """Count a call that releases the GIL; ``leave`` ends it."""
        self.check(access)
        self.users = -1 if access == WRITES else self.users + 1
        return 0

    cdef void leave(self) noexcept:
        self.users = 0 if self.users < 0 else self.users - 1

    cdef tuple known_parameters(self, int op):
        known = PARAMETERS[self.kinds[op]] + STATES[self.kinds[op]] if 0 <= op < self.network.n_ops else ()
        if not known:
            raise IndexError(f"op {op} has no parameters")
        return known

    cdef char *panels(self, int op, str name, int slot) except NULL:
        known = self.known_parameters(op)
        if name not in known:
            raise ValueError(f"unknown parameter {name!r}; known: {', '.join(known)}")
        if not 0 <= slot <= self.network.n_slots:
            raise IndexError(f"slot must be from 0 to {self.network.n_slots}, got {slot}")
        base = <char *>(self.network.weights if slot == 0 else self.network.slots[slot - 1])
        states = STATES[self.kinds[op]]
        if name in states:
            at = self.network.ops[op].state + <Py_ssize_t>states.index(name) * self.network.ops[op].n_in
            return base + <Py_ssize_t>at * <Py_ssize_t>self.dtype.itemsize
        return base + self.network.ops[op].weights * <Py_ssize_t>self.dtype.itemsize

    cdef tuple shape_of(self, int op, str name):
        if name == "count":
            return ()
        if name == "kernel":
            return (self.network.ops[op].n_in, self.network.ops[op].n_out)
        return (self.network.ops[op].n_in if name in STATES[self.kinds[op]] else self.network.ops[op].n_out,)

    cdef cnp.ndarray unpack(self, char *panels, int op, str name):
        cdef cnp.ndarray out = np.empty(self.shape_of(op, name), self.dtype)
        cdef void *data = cnp.PyArray_DATA(out)
        if name in STATES[self.kinds[op]]:
            memcpy(data, panels, cnp.PyArray_NBYTES(out))
            return out
        cdef bint is_kernel = name == PARAMETERS[self.kinds[op]][0]
        self.network.kernels.unpack_weights(
            data if is_kernel else NULL, NULL if is_kernel else data, panels, self.network.ops[op].rows,
            self.network.ops[op].n_out)
        return out

    def get_parameter(self, int op, str name, int slot=0):
        self.check(COPIES)
        return self.unpack(self.panels(op, name, slot), op, name)

    def set_parameter(self, int op, str name, value, int slot=0):
        self.set_parameters([(op, name, slot)], [value])

    def set_parameters(self, places, values):
        checked = []
        for (op, name, slot), value in zip(places, values, strict=True):
            self.panels(op, name, slot)  # raises for what does not exist
            checked.append((op, name, slot, contiguous(name, value, self.dtype, self.shape_of(op, name))))
        self.check(WRITES)
        for op, name, slot, array in checked:
            self.store(op, name, slot, array)

    cdef int store(self, int op, str name, int slot, cnp.ndarray a) except -1:
        cdef char *panels = self.panels(op, name, slot)
        cdef const void *data = cnp.PyArray_DATA(a)
        cdef bint is_kernel
        if name in STATES[self.kinds[op]]:
            memcpy(panels, data, cnp.PyArray_NBYTES(a))
            return 0
        is_kernel = name == PARAMETERS[self.kinds[op]][0]
        self.network.kernels.pack_weights(
            panels, data if is_kernel else NULL, NULL if is_kernel else data, self.network.ops[op].rows,
            self.network.ops[op].n_out)
        return 0

    def compile(self, str loss, dict loss_options, str optimizer, dict optimizer_options):
        cdef fnn_loss l = loss_of(loss, loss_options)
        cdef fnn_optimizer rule = optimizer_of(optimizer, optimizer_options)
        if l.kind == FNN_GAUSSIAN_NLL and self.network.n_outputs % 2:
            raise ValueError(
                "gaussian_nll needs two outputs per target, its mean and the logarithm of its variance; "
                f"the network has {self.network.n_outputs}"
            )
        weights = class_weights(&l, loss_options, self.network.n_outputs)
        excluded = optimizer_options.get("no_weight_decay") or ()
        for op, name in excluded:
            self.panels(op, name, 0)
        self.check(WRITES)
        cdef fnn_call call
        fnn_call_enter(&call)
        cdef fnn_status status = fnn_network_compile(self.network, &l, &rule)
        end(&call)
        raise_for(status)
        self.compilations += 1
        self.class_weights = weights
        for op in range(self.network.n_ops):
            for parameter, name in enumerate(PARAMETERS[self.kinds[op]]):
                self.network.ops[op].rules[parameter].no_decay = (op, name) in excluded

    def set_trainable(self, int op, bint trainable):
        self.known_parameters(op)
        self.check(WRITES)
        self.network.ops[op].trainable = trainable

    @property
    def penalty(self):
        cdef fnn_call call
        fnn_call_enter(&call)
        penalty = fnn_network_penalty(self.network)
        fnn_call_leave(&call)
        return penalty

    def use_average(self):
        if not self.network.optimizer.use_average:
            raise RuntimeError("the update rule keeps no moving average of the weights")
        self.check(WRITES)
        if self.network.iterations:
            fnn_network_use_average(self.network)

    def predict(self, X, out=None, int n_threads=0, bint logits=False, activity=None):
        cdef fnn_matrix m
        cdef Py_ssize_t bad_row = -1
        cdef cnp.npy_intp shape[2]
        cdef int dtype, skip = 0
        cdef fnn_status status
        cdef cnp.ndarray result
        owner = matrix_of(X, &m, self.network.n_features)
        shape[0] = m.rows
        shape[1] = self.network.n_outputs
        if out is None:
            dtype = cnp.NPY_FLOAT32 if self.network.kernels.dtype == FNN_F32 else cnp.NPY_FLOAT64
            result = cnp.PyArray_EMPTY(2, shape, dtype, 0)
        else:
            check_output("out", out, self.dtype, (m.rows, self.network.n_outputs))
            if fnn_bad_row(self.network, &m) >= 0:
                self.raise_for_nonfinite(X)
            result = out
            if overlap(owner, result):
                owner = matrix_of(np.array(X), &m, self.network.n_features)
        cdef double *penalties = NULL
        if activity is not None:
            check_output("activity", activity, np.dtype(np.float64), (m.rows,))
            penalties = <double *>cnp.PyArray_DATA(activity)
        if m.rows == 0:
            return result
        if logits:
            skip = self.network.ops[self.network.n_ops - 1].activation in (FNN_SOFTMAX, SIGMOID)
        self.enter(READS)
        cdef void *target = cnp.PyArray_DATA(result)
        cdef int threads = threads_of(n_threads)
        with nogil:
            status = fnn_predict(self.network, &m, target, penalties, skip, threads, &bad_row)
        self.leave()
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
