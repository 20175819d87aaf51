# Rows that a fit evaluates between its epochs, and the targets of rows.

cdef const int64_t *labels_of(object y, Py_ssize_t n_out, const fnn_loss *loss) except? NULL:
    a = y[y != loss.ignored] if loss.ignores else y
    if a.size and (a.min() < 0 or a.max() >= n_out):
        raise ValueError(f"labels must be from 0 to {n_out - 1}, got {a.min()} to {a.max()}")
    return <const int64_t *>cnp.PyArray_DATA(<cnp.ndarray>y)


cdef list list_of(str name, object value, Py_ssize_t count, bint several):
    """Return one entry for each of ``count`` outputs or losses: ``value`` itself, or the entries of a list."""
    if not several:
        return [value] * count
    entries = list(value) if isinstance(value, (list, tuple)) else [value]
    if len(entries) != count:
        raise ValueError(f"{name} must hold {count} arrays, got {len(entries)}")
    return entries


cdef object read_targets(fnn_targets *targets, const fnn_output_loss *loss, object y, Network network, Py_ssize_t rows,
                         str name):
    """Describe the targets of a loss; return the array that owns their memory."""
    cdef Py_ssize_t width = fnn_output_width(network.network, loss.output)
    targets.labels = NULL
    targets.y.data = NULL
    if loss.loss.kind == FNN_CUSTOM:
        return None
    if loss.loss.kind == FNN_SPARSE_CCE:
        y = contiguous(name, y, np.int64, (rows,))
        targets.labels = labels_of(y, width, &loss.loss)
        return y
    columns = fnn_target_columns(&loss.loss, width)
    y = contiguous(name, y, network.dtype, (rows, columns))
    matrix_of(y, &targets.y, columns)
    return y


cdef tuple read_all_targets(fnn_targets *targets, Network network, y, sample_weight, Py_ssize_t n):
    """Describe the targets and the sample weights of all losses; return the arrays that own their memory."""
    cdef fnn_network *native = network.network
    cdef int l
    several = native.n_outputs > 1
    ys = list_of("y", y, native.n_losses, several)
    weights = list_of("sample_weight", sample_weight, native.n_losses, several and isinstance(sample_weight, (list, tuple)))
    for l in range(native.n_losses):
        ys[l] = read_targets(&targets[l], &native.losses[l], ys[l], network, n, "y" if not several else f"y[{l}]")
        targets[l].sample_weight = NULL
        if weights[l] is not None:
            name = "sample_weight" if not several else f"sample_weight[{l}]"
            weights[l] = contiguous(name, weights[l], network.dtype, (n,))
            targets[l].sample_weight = cnp.PyArray_DATA(weights[l])
    return ys, weights


cdef class HeldOut:
    cdef fnn_held_out native
    cdef fnn_matrix[FNN_MOST_BUFFERS] matrices
    cdef fnn_targets[FNN_MOST_OUTPUTS] targets
    cdef void *outputs[FNN_MOST_OUTPUTS]
    cdef unsigned char[FNN_MOST_OPS] skipped
    cdef Network network
    cdef object compilations
    cdef list inputs
    cdef object arrays

    def __cinit__(self, Network network not None, X, y, sample_weight=None, logits=False):
        cdef fnn_network *native = network.network
        cdef int o
        if network.takes_list:
            self.inputs = network.read_inputs(X, self.matrices)
        else:
            self.inputs = [matrix_of(X, self.matrices, native.widths[0])]
        n = self.matrices[0].rows
        if n < 1:
            raise ValueError("X has no rows")
        if network.embeddings:
            check_table_rows(network.embeddings, network.sources, self.inputs)
        if any(native.losses[o].loss.kind == FNN_CUSTOM for o in range(native.n_losses)):
            raise ValueError("a custom loss is computed by the caller")
        ys, weights = read_all_targets(self.targets, network, y, sample_weight, n)
        outputs = [np.empty((n, fnn_output_width(native, o)), network.dtype) for o in range(native.n_outputs)]
        for o in range(native.n_outputs):
            self.outputs[o] = cnp.PyArray_DATA(outputs[o])
        self.network, self.compilations, self.arrays = network, network.compilations, (ys, weights, outputs)
        self.native.prediction.route = native.route
        self.native.prediction.X = self.matrices
        self.native.prediction.out = self.outputs
        self.native.prediction.activity = NULL
        self.native.prediction.skipped = network.skipped_ops(logits, self.skipped)
        self.native.prediction.n_threads = threads_of(0)
        self.native.targets = self.targets
