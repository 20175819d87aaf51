# A program as a graph: the inputs of ops, the widths of buffers, and the columns that embeddings read.

# Rows of a table that a floating-point number can name, by dtype.
cdef dict MOST_TABLE_ROWS = {"float32": 1 << 24, "float64": 1 << 53}


cdef list inputs_of_ops(object ops, int n_inputs):
    """Return the buffers that each op reads; raise ValueError for one that comes later."""
    result = []
    for number, (kind, options) in enumerate(ops):
        before = n_inputs + number - 1 if number else 0
        inputs = options.get("inputs")
        if inputs is None:
            inputs = (before,)
        for buffer in inputs:
            if not 0 <= buffer < n_inputs + number:
                raise ValueError(
                    f"op {number}, {kind!r}, reads buffer {buffer}, but only 0 to {n_inputs + number - 1} come before it"
                )
        result.append(tuple(int(buffer) for buffer in inputs))
    return result


cdef int check_inputs(const fnn_op *op, Py_ssize_t number, str kind, list widths) except -1:
    """Raise ValueError for a number of inputs, or widths of them, that an op does not take."""
    cdef Py_ssize_t count = len(widths)
    cdef Py_ssize_t least = op.kind.least_inputs or 1
    cdef Py_ssize_t most = op.kind.most_inputs or 1
    if op.has_number:
        if not op.kind.takes_number or kind == "average":
            raise ValueError(f"op {number}, {kind!r}, takes no number")
        least = most = 1
    if not least <= count <= most:
        takes = f"{least} to {most}" if least < most else least
        raise ValueError(f"op {number}, {kind!r}, takes {takes} inputs, got {count}")
    if op.kind.takes_number and len({width for width in widths if width != 1}) > 1:
        raise ValueError(f"op {number}, {kind!r}, takes inputs of equal width, or of width 1, got widths {widths}")
    if kind == "dot" and widths[0] != widths[1]:
        raise ValueError(f"op {number}, 'dot', takes two inputs of equal width, got widths {widths}")
    return 0


cdef list read_ops(fnn_op *native, object ops, list inputs, list widths, object dtype):
    """Describe the ops; append the widths of their outputs to ``widths``; return what owns the numbers of their inputs."""
    cdef cnp.ndarray numbers = np.array([buffer for buffers in inputs for buffer in buffers] + [0], dtype=np.intc)
    cdef const int *at = <const int *>cnp.PyArray_DATA(numbers)
    for number, (kind, options) in enumerate(ops):
        read_op(&native[number], kind, options, number)
        sizes = [widths[buffer] for buffer in inputs[number]]
        native[number].n_inputs = <int>len(sizes)
        native[number].inputs = at
        at += len(sizes)
        check_inputs(&native[number], number, kind, sizes)
        if kind == "slice":
            check_slice(options, number, sizes[0])
        elif native[number].kind.is_table:
            check_table(options, number, kind, dtype)
            check_groups(&native[number], number, kind, sizes[0])
        if native[number].multiple < 1 or native[number].multiple > MOST_FEATURES:
            raise ValueError(f"op {number}, {kind!r}, needs at least one output for each input")
        widths.append(width_of(&native[number], kind, options, sizes))
        read_sharing(native, number, ops, options.get("weights_of"), inputs, widths)
    return [numbers]


cdef object width_of(const fnn_op *op, str kind, dict options, list sizes):
    """Return the width of an op's outputs, with Python's unlimited integers."""
    if op.kind.is_product:
        return options["n_out"]
    if kind == "normalization":
        return sizes[0] * (2 if op.indicator else 1)
    if kind == "embedding":
        return sizes[0] * options["n_columns"]
    if kind == "member_product":
        return options["groups"] * options["n_columns"]
    if op.kind.is_table:
        return options["n_columns"]
    if kind == "feature_scale" or kind == "cosine_features":
        return sizes[0] * op.multiple
    if kind == "concatenate":
        return sum(sizes)
    if kind == "slice":
        return op.columns
    return 1 if kind == "dot" else max(sizes) if op.kind.takes_number else sizes[0]


cdef int read_sharing(fnn_op *native, Py_ssize_t number, object ops, object shared, list inputs, list widths) except -1:
    """Op ``number`` uses the weights of op ``shared``, unless that is None."""
    cdef fnn_op *op = &native[number]
    if shared is None:
        return 0
    if not 0 <= shared < number:
        raise ValueError(f"weights_of of op {number} must be an earlier op, got {shared}")
    n_inputs = len(widths) - 1 - number
    kind, other = ops[number][0], ops[shared][0]
    same_out = op.columns == native[shared].columns if op.kind.is_table else widths[-1] == widths[n_inputs + shared]
    same_in = op.table_rows == native[shared].table_rows if op.kind.is_table else (
        widths[inputs[number][0]] == widths[inputs[shared][0]]
    )
    if kind != other or not same_in or not same_out or not (PARAMETERS[kind] or STATES[kind]):
        raise ValueError(f"op {number}, {kind!r}, cannot use the weights of op {shared}, {other!r}: kinds or sizes differ")
    op.shares = 1 + <int>shared
    op.use_kernel, op.use_bias = native[shared].use_kernel, native[shared].use_bias
    return 0


cdef int check_slice(dict options, Py_ssize_t number, Py_ssize_t width) except -1:
    columns = range(options["start"], options["stop"], options["step"])
    if not columns or not (0 <= columns[0] < width and 0 <= columns[-1] < width):
        raise ValueError(f"op {number}, 'slice', must take at least one of {width} columns, got {columns}")
    return 0


cdef int check_table(dict options, Py_ssize_t number, str kind, object dtype) except -1:
    most = MOST_TABLE_ROWS[dtype.name]
    if not 1 <= options["n_rows"] <= most:
        raise ValueError(f"n_rows of op {number}, {kind!r}, must be from 1 to {most} in {dtype}, got {options['n_rows']}")
    if not 1 <= options["n_columns"] <= MOST_FEATURES:
        raise ValueError(
            f"n_columns of op {number}, {kind!r}, must be from 1 to {MOST_FEATURES}, got {options['n_columns']}"
        )
    return 0


cdef int check_groups(const fnn_op *op, Py_ssize_t number, str kind, Py_ssize_t width) except -1:
    """Raise ValueError for sizes of a matrix that do not suit the inputs."""
    if kind == "bounded_lines" and (op.table_rows != 3 or op.columns % width):
        raise ValueError(f"op {number}, 'bounded_lines', takes 3 rows and a multiple of {width} columns")
    if not op.kind.is_multiplied:
        return 0
    if op.groups < 1 or op.groups * op.table_rows != width or (kind == "grouped_product" and op.columns % op.groups):
        raise ValueError(
            f"op {number}, {kind!r}, has {op.groups} groups of {op.table_rows} inputs and {op.columns} columns for "
            f"{width} inputs"
        )
    return 0


cdef list columns_of_buffers(object ops, list inputs, list widths, Py_ssize_t n_inputs):
    """Return, by buffer, the (input, column) of each column that is one of an input; None for what is computed."""
    columns = [[(i, column) for column in range(widths[i])] for i in range(n_inputs)]
    for number, (kind, options) in enumerate(ops):
        known = [columns[buffer] for buffer in inputs[number]]
        if any(each is None for each in known):
            columns.append(None)
        elif kind == "concatenate":
            columns.append([place for each in known for place in each])
        elif kind == "slice":
            columns.append([known[0][i] for i in range(options["start"], options["stop"], options["step"])])
        elif kind == "activation" and options["activation"] == "linear":
            columns.append(known[0])
        else:
            columns.append(None)
    return columns


cdef list columns_of_embeddings(object ops, list inputs, list widths, Py_ssize_t n_inputs):
    """Return (rows of the table, columns that name them) of each embedding."""
    if all(kind != "embedding" for kind, _ in ops):
        return []
    columns = columns_of_buffers(ops, inputs, widths, n_inputs)
    result = []
    for number, (kind, options) in enumerate(ops):
        if kind == "embedding":
            named = columns[inputs[number][0]]
            if named is None:
                raise ValueError(f"op {number}, 'embedding', must read columns of an input, but what it reads is computed")
            result.append((options["n_rows"], named))
    return result


cdef int check_table_rows(list embeddings, object sources, list arrays) except -1:
    """Raise ValueError for the first number that names no row of a table.

    ``sources``: the name of each input, and where its columns are in what the caller has; or None.
    """
    for n_rows, columns in embeddings:
        for i, column in columns:
            values = arrays[i][:, column]
            with np.errstate(invalid="ignore"):
                bad = ~((values >= 0) & (values < n_rows) & (values == np.floor(values)))
            if bad.any():
                row = int(bad.argmax())
                name = "X" if len(arrays) == 1 else f"X[{i}]"
                if sources is not None:
                    name, places = sources[i]
                    column = places[column]
                raise ValueError(
                    f"{name} has {values[row]} in row {row}, column {column}, where an embedding takes integers "
                    f"from 0 to {n_rows - 1}"
                )
    return 0
