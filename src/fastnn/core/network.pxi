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
    cdef list inputs      # of each op: buffers
    cdef list embeddings  # of each: the rows of its table, and the columns of inputs that name them
    cdef object sources   # of each input: its name and the numbers of its columns in messages; or None
    cdef bint takes_list  # the inputs were described by a list
    cdef object loss_numbers  # the losses point to them
    cdef int users  # calls that read the weights now; -1: one call that writes them
    cdef unsigned long owner  # thread that has reserved the network; 0: none
    cdef str refusal  # the message for other threads then
    cdef object __weakref__

    def __cinit__(self, n_features, ops, dtype="float32", outputs=None, sources=None):
        cdef Py_ssize_t count = len(ops)
        cdef Py_ssize_t[FNN_MOST_BUFFERS] widths
        cdef int[FNN_MOST_OUTPUTS] wanted
        cdef fnn_program program
        cdef cnp.ndarray space
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float32, np.float64):
            raise ValueError(f"dtype must be 'float32' or 'float64', got {dtype!r}")
        sizes = [n_features] if np.ndim(n_features) == 0 else list(n_features)
        if not 1 <= len(sizes) <= FNN_MOST_OPS:
            raise ValueError(f"a network has 1 to {FNN_MOST_OPS} inputs, got {len(sizes)}")
        for i, size in enumerate(sizes):
            if not 1 <= size <= MOST_FEATURES:
                raise ValueError(f"n_features must be from 1 to {MOST_FEATURES}, got {size}")
            widths[i] = size
        if count > FNN_MOST_OPS:
            raise ValueError(f"a network has at most {FNN_MOST_OPS} ops, got {count}")
        buffers = (len(sizes) + count - 1,) if outputs is None else tuple(outputs)
        if not 1 <= len(buffers) <= FNN_MOST_OUTPUTS:
            raise ValueError(f"a network has 1 to {FNN_MOST_OUTPUTS} outputs, got {len(buffers)}")
        for i, buffer in enumerate(buffers):
            if not 0 <= buffer < len(sizes) + count:
                raise ValueError(f"outputs must be buffers from 0 to {len(sizes) + count - 1}, got {buffer}")
            wanted[i] = buffer
        self.kinds = tuple(kind for kind, _ in ops)
        self.takes_list = np.ndim(n_features) > 0
        self.inputs = inputs_of_ops(ops, len(sizes))
        space = np.zeros((count + 1) * sizeof(fnn_op), dtype=np.uint8)
        cdef fnn_op *native = <fnn_op *>cnp.PyArray_DATA(space)
        program.ops = native
        program.n_ops = <int>count
        program.n_inputs = <int>len(sizes)
        program.n_outputs = <int>len(buffers)
        program.input_widths = widths
        program.outputs = wanted
        _forget_in_child(self)
        kept = read_ops(native, ops, self.inputs, sizes, self.dtype)
        self.sources = sources
        self.embeddings = columns_of_embeddings(ops, self.inputs, sizes, program.n_inputs)
        cdef fnn_call call
        fnn_call_enter(&call)
        self.network = fnn_network_new(KERNELS_F32 if self.dtype == np.float32 else KERNELS_F64, &program)
        end(&call)
        if self.network == NULL:
            raise MemoryError("not enough memory for the weights of this network")
        for i, (kind, options) in enumerate(ops):
            for name in PARAMETERS[kind] + STATES[kind]:
                if self.network.ops[i].shares:
                    continue
                if name in ("mean", "variance") and name in options:
                    self.set_parameter(i, name, options[name])
                elif name in ("gamma", "moving_variance", "variance", "scale", "mix"):
                    self.set_parameter(i, name, np.ones(self.shape_of(i, name)))

    def __dealloc__(self):
        fnn_network_free(self.network)

    @property
    def widths(self):
        return tuple(self.network.widths[b] for b in range(self.network.n_inputs + self.network.n_ops))

    @property
    def output_widths(self):
        return tuple(fnn_output_width(self.network, output) for output in range(self.network.n_outputs))

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

    def weights_are_finite(self):
        self.check(COPIES)
        return bool(self.network.kernels.all_finite(self.network.weights, self.network.n_elements))

    def weights_checksum(self):
        self.check(COPIES)
        return fnn_weights_checksum(self.network)

    def copy_slots(self, int count, cnp.ndarray out=None):
        cdef Py_ssize_t bytes_of_slot = self.network.n_elements * <Py_ssize_t>self.dtype.itemsize
        cdef int slot
        if not 1 <= count <= self.network.n_slots + 1:
            raise ValueError(f"count must be from 1 to {self.network.n_slots + 1}, got {count}")
        shape = (count, self.network.n_elements)
        if out is None:
            out = np.empty(shape, self.dtype)
        check_output("out", out, self.dtype, shape)
        self.check(COPIES)
        for slot in range(count):
            memcpy(<char *>cnp.PyArray_DATA(out) + slot * bytes_of_slot, self.slot_values(slot), bytes_of_slot)
        return out

    def restore_slots(self, copy):
        cdef Py_ssize_t bytes_of_slot = self.network.n_elements * <Py_ssize_t>self.dtype.itemsize
        cdef Py_ssize_t slot, count = len(copy)
        if not 1 <= count <= self.network.n_slots + 1:
            raise ValueError(f"copy must have from 1 to {self.network.n_slots + 1} rows, got {count}")
        cdef cnp.ndarray slots = contiguous("copy", copy, self.dtype, (count, self.network.n_elements))
        self.check(WRITES)
        for slot in range(count):
            memcpy(self.slot_values(<int>slot), <char *>cnp.PyArray_DATA(slots) + slot * bytes_of_slot, bytes_of_slot)

    cdef char *slot_values(self, int slot):
        """Return the weights (slot 0) or moments of the whole network."""
        return <char *>(self.network.weights if slot == 0 else self.network.slots[slot - 1])

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
        base = self.slot_values(slot)
        states = STATES[self.kinds[op]]
        op = self.network.ops[op].owner
        if name in states:
            at = self.network.ops[op].state + <Py_ssize_t>states.index(name) * self.network.ops[op].n_in
            return base + <Py_ssize_t>at * <Py_ssize_t>self.dtype.itemsize
        return base + self.network.ops[op].weights * <Py_ssize_t>self.dtype.itemsize

    cdef tuple shape_of(self, int op, str name):
        if name == "count":
            return ()
        if name == "kernel":
            op = self.network.ops[op].owner
            return (self.network.ops[op].rows, self.network.ops[op].columns)
        return (self.network.ops[op].n_in if name in STATES[self.kinds[op]] else self.network.ops[op].columns,)

    cdef cnp.ndarray unpack(self, char *panels, int op, str name):
        cdef cnp.ndarray out = np.empty(self.shape_of(op, name), self.dtype)
        cdef void *data = cnp.PyArray_DATA(out)
        if name in STATES[self.kinds[op]]:
            memcpy(data, panels, cnp.PyArray_NBYTES(out))
            return out
        cdef bint is_kernel = name == PARAMETERS[self.kinds[op]][0]
        self.network.kernels.unpack_weights(
            data if is_kernel else NULL, NULL if is_kernel else data, panels,
            self.network.ops[self.network.ops[op].owner].rows, self.network.ops[op].columns)
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
            panels, data if is_kernel else NULL, NULL if is_kernel else data,
            self.network.ops[self.network.ops[op].owner].rows, self.network.ops[op].columns)
        return 0

    def compile(self, loss, loss_options, str optimizer, dict optimizer_options):
        cdef fnn_output_loss[FNN_MOST_OUTPUTS] losses
        cdef int count = 0
        cdef fnn_optimizer rule = optimizer_of(optimizer, optimizer_options)
        each = [(loss, loss_options, 1.0)] if isinstance(loss, str) else list(loss)
        if len(each) != self.network.n_outputs:
            raise ValueError(f"the network has {self.network.n_outputs} outputs, but {len(each)} losses are given")
        numbers = []
        for output, entry in enumerate(each):
            if entry is None:
                continue
            name, options, weight = entry
            if not np.isfinite(weight):
                raise ValueError(f"the weight of loss {output} must be finite, got {weight}")
            width = fnn_output_width(self.network, output)
            losses[count].loss = loss_of(name, options)
            losses[count].output = output
            losses[count].weight = weight
            numbers.append(numbers_of(&losses[count].loss, options, width))
            count += 1
        if not count:
            raise ValueError("at least one output must have a loss")
        excluded = optimizer_options.get("no_weight_decay") or ()
        for op, name in excluded:
            self.panels(op, name, 0)
        self.check(WRITES)
        cdef fnn_call call
        fnn_call_enter(&call)
        cdef fnn_status status = fnn_network_compile(self.network, losses, count, &rule)
        end(&call)
        raise_for(status)
        self.compilations += 1
        self.loss_numbers = numbers
        for op in range(self.network.n_ops):
            for parameter, name in enumerate(PARAMETERS[self.kinds[op]]):
                self.network.ops[op].rules[parameter].no_decay = (op, name) in excluded

    def set_trainable(self, int op, bint trainable):
        self.known_parameters(op)
        self.check(WRITES)
        op = self.network.ops[op].owner
        while True:
            self.network.ops[op].trainable = trainable and not self.network.ops[op].kind.is_fixed
            op = self.network.ops[op].next_call
            if op == 0:
                break

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

    def predict(self, X, out=None, int n_threads=0, logits=False, activity=None, buffers=None):
        cdef fnn_matrix m
        cdef cnp.npy_intp shape[2]
        cdef int dtype
        cdef fnn_prediction what
        cdef unsigned char[FNN_MOST_OPS] skipped
        cdef void *target
        cdef cnp.ndarray result
        if self.takes_list or buffers is not None or self.network.n_outputs > 1:
            return self.predict_several(X, out, n_threads, logits, activity, buffers)
        owner = matrix_of(X, &m, self.network.widths[0])
        if self.embeddings:
            check_table_rows(self.embeddings, self.sources, [owner])
        shape[0] = m.rows
        shape[1] = self.network.widths[self.network.outputs[0]]
        if out is None:
            dtype = cnp.NPY_FLOAT32 if self.network.kernels.dtype == FNN_F32 else cnp.NPY_FLOAT64
            result = cnp.PyArray_EMPTY(2, shape, dtype, 0)
        else:
            check_output("out", out, self.dtype, (m.rows, shape[1]))
            if fnn_bad_row(self.network, 0, &m) >= 0:
                self.raise_for_nonfinite([X])
            result = out
            if overlap(owner, result):
                owner = matrix_of(np.array(X), &m, self.network.widths[0])
        what.route = self.network.route
        what.X = &m
        target = cnp.PyArray_DATA(result)
        what.out = &target
        what.skipped = self.skipped_ops(logits, skipped)
        what.activity = NULL
        if activity is not None:
            check_output("activity", activity, np.dtype(np.float64), (m.rows,))
            what.activity = <double *>cnp.PyArray_DATA(activity)
        if m.rows:
            self.run_prediction(&what, n_threads, X, False)
        return result

    cdef list read_inputs(self, object X, fnn_matrix *matrices):
        """Describe the inputs in ``matrices``; return the arrays that own their memory."""
        cdef int i, count = self.network.n_inputs
        is_list = isinstance(X, (list, tuple)) and (count > 1 or (len(X) == 1 and np.ndim(X[0]) == 2))
        arrays = list(X) if is_list else [X]
        if len(arrays) != count:
            raise ValueError(f"the network takes {count} inputs, got {len(arrays)}")
        for i in range(count):
            name = "X" if count == 1 else f"X[{i}]"
            arrays[i] = matrix_of(arrays[i], &matrices[i], self.network.widths[i], name)
            if matrices[i].rows != matrices[0].rows:
                raise ValueError(f"{name} has {matrices[i].rows} rows, but X[0] has {matrices[0].rows}")
        return arrays

    cdef object predict_several(self, X, out, int n_threads, logits, activity, buffers):
        cdef fnn_matrix[FNN_MOST_BUFFERS] matrices
        cdef void *targets[FNN_MOST_BUFFERS]
        cdef int[FNN_MOST_BUFFERS] wanted
        cdef unsigned char[FNN_MOST_OPS] skipped
        cdef fnn_route route
        cdef fnn_prediction what
        cdef int i
        arrays = self.read_inputs(X, matrices)
        if self.embeddings:
            check_table_rows(self.embeddings, self.sources, arrays)
        places = self.outputs_or(buffers)
        rows = matrices[0].rows
        if out is not None:
            given = [out] if isinstance(out, np_ndarray) else list(out)
            if len(given) != len(places):
                raise ValueError(f"out must hold {len(places)} arrays, got {len(given)}")
        results = []
        for i, buffer in enumerate(places):
            size = (rows, self.network.widths[buffer])
            if out is None:
                results.append(np.empty(size, self.dtype))
            else:
                check_output("out" if len(places) == 1 else f"out[{i}]", given[i], self.dtype, size)
                results.append(given[i])
            wanted[i] = buffer
            targets[i] = cnp.PyArray_DATA(results[i])
        if out is not None:
            for i in range(self.network.n_inputs):
                if fnn_bad_row(self.network, i, &matrices[i]) >= 0:
                    self.raise_for_nonfinite(arrays)
                if any(overlap(arrays[i], result) for result in results):
                    arrays[i] = matrix_of(np.array(arrays[i]), &matrices[i], self.network.widths[i])
        what.route = self.network.route
        if buffers is not None:
            fnn_plan_route(self.network, &route, wanted, <int>len(places))
            what.route = &route
        what.X = matrices
        what.out = targets
        what.skipped = self.skipped_ops(logits, skipped)
        what.activity = NULL
        if activity is not None:
            check_output("activity", activity, np.dtype(np.float64), (rows,))
            what.activity = <double *>cnp.PyArray_DATA(activity)
        if rows:
            self.run_prediction(&what, n_threads, arrays, True)
        return results[0] if buffers is None and len(results) == 1 else results

    cdef list outputs_or(self, object buffers):
        """Return the wanted buffers: those that are given, or the outputs."""
        cdef int i, most = self.network.n_inputs + self.network.n_ops
        if buffers is None:
            return [self.network.outputs[i] for i in range(self.network.n_outputs)]
        if not 1 <= len(buffers) <= most:
            raise ValueError(f"buffers must hold from 1 to {most} numbers, got {len(buffers)}")
        for buffer in buffers:
            if not 0 <= buffer < most:
                raise ValueError(f"buffers must be from 0 to {most - 1}, got {buffer}")
        return list(buffers)

    cdef const unsigned char *skipped_ops(self, object logits, unsigned char *skipped) except? NULL:
        """Mark the ops whose activations are left out; NULL for none of them."""
        cdef int output, op
        if logits is False:
            return NULL
        flags = [logits] * self.network.n_outputs if np.ndim(logits) == 0 else list(logits)
        if len(flags) != self.network.n_outputs:
            raise ValueError(f"logits must hold {self.network.n_outputs} values, got {len(flags)}")
        memset(skipped, 0, self.network.n_ops)
        for output in range(self.network.n_outputs):
            op = self.network.outputs[output] - self.network.n_inputs
            if not flags[output] or op < 0 or self.network.ops[op].activation not in (FNN_SOFTMAX, FNN_SIGMOID):
                continue
            if not fnn_skips_activation(self.network, output):
                raise ValueError(f"output {output} has no logits: something else uses it, or it has an activity regularizer")
            skipped[op] = 1
        return skipped

    cdef int run_prediction(self, fnn_prediction *what, int n_threads, object X, bint is_list) except -1:
        cdef fnn_status status
        self.enter(READS)
        what.n_threads = threads_of(n_threads)
        with nogil:
            status = fnn_predict(self.network, what)
        self.leave()
        raise_for(status)
        if status == FNN_BAD_INPUT:
            self.raise_for_nonfinite(X if is_list else [X])
        return 0

    cdef object raise_for_nonfinite(self, object inputs):
        for i, X in enumerate(inputs):
            self.raise_for_nonfinite_in("X" if len(inputs) == 1 else f"X[{i}]", i, np.asarray(X))
        raise AssertionError("the core refused an input that is in order")

    cdef int raise_for_nonfinite_in(self, str name, int i, X) except -1:
        # extended precision is read as float64
        values = X if X.dtype.itemsize <= 8 else X.astype(np.float64)
        limit = np.finfo(self.dtype).max
        for start in range(0, len(X), 65536):
            block = values[start : start + 65536]
            bad = ~(np.abs(block) <= limit)
            if self.network.takes_missing[i]:
                bad &= ~np.isnan(block)
            if not bad.any():
                continue
            row, column = (int(i) for i in np.argwhere(bad)[0])
            value = X[start + row, column]
            what = f"too large for {self.dtype}" if np.isfinite(value) else "not finite"
            raise ValueError(f"{name} has a value that is {what} in row {start + row}, column {column}: {value}")
        return 0
