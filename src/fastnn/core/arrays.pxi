# NumPy arrays for the engine: their types, shapes and strides are checked, their memory is borrowed.

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


cdef int refuse_masked(str name, object a) except -1:
    if isinstance(a, np.ma.MaskedArray) and np.ma.is_masked(a):
        raise ValueError(f"{name} has masked entries; fill them first, for instance with {name}.filled(0.0)")
    return 0


cdef inline object matrix_of(object X, fnn_matrix *m, Py_ssize_t cols, str name="X"):
    """Describe X in ``m``; return the array that owns the memory."""
    cdef cnp.ndarray a
    if type(X) is not np_ndarray:
        refuse_masked(name, X)
        X = np.asarray(X)
    a = X
    if not cnp.PyArray_ISALIGNED(a):
        a = a.copy()
    m.dtype = dtype_of(a)
    if m.dtype < 0:
        a = np.asarray(real_numbers(name, a), dtype=np.float64)
        m.dtype = FNN_F64
    if cnp.PyArray_NDIM(a) != 2:
        raise ValueError(f"{name} must have 2 dimensions (rows, features), got shape {np.shape(X)}")
    m.data = cnp.PyArray_DATA(a)
    m.rows = cnp.PyArray_DIM(a, 0)
    m.cols = cnp.PyArray_DIM(a, 1)
    m.row_stride = cnp.PyArray_STRIDE(a, 0)
    m.col_stride = cnp.PyArray_STRIDE(a, 1)
    if cols >= 0 and m.cols != cols:
        raise ValueError(f"{name} has {m.cols} features, but the network takes {cols}")
    return a


cdef cnp.ndarray real_numbers(str name, object a):
    if type(a) is not np_ndarray:
        refuse_masked(name, a)
    a = np.asarray(a)
    if a.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, got dtype {a.dtype}")
    return a


cdef cnp.ndarray contiguous(str name, object a, object dtype, tuple shape):
    cdef cnp.ndarray result = np.asarray(real_numbers(name, a), dtype=dtype, order="C")
    if np.shape(result) != shape:
        raise ValueError(f"{name} must have shape {shape}, got {np.shape(result)}")
    return result if cnp.PyArray_ISALIGNED(result) else result.copy()


cdef bint overlap(cnp.ndarray a, cnp.ndarray b) noexcept:
    """True if the ranges of memory of two arrays, from first to last byte, overlap."""
    cdef char *first[2]
    cdef char *last[2]
    cdef cnp.ndarray each
    cdef Py_ssize_t span
    cdef int i, axis
    for i in range(2):
        each = b if i else a
        first[i] = last[i] = <char *>cnp.PyArray_DATA(each)
        for axis in range(cnp.PyArray_NDIM(each)):
            if cnp.PyArray_DIM(each, axis) == 0:
                return False
            span = cnp.PyArray_STRIDE(each, axis) * (cnp.PyArray_DIM(each, axis) - 1)
            if span < 0:
                first[i] += span
            else:
                last[i] += span
        last[i] += cnp.PyArray_ITEMSIZE(each)
    return first[0] < last[1] and first[1] < last[0]


cdef inline object apart(object a, cnp.ndarray out):
    """``a``, or a copy of it where the memory of ``out`` overlaps."""
    return a.copy() if a is not None and overlap(a, out) else a


cdef void check_output(str name, object out, object dtype, tuple shape) except *:
    if not isinstance(out, np_ndarray):
        raise TypeError(f"{name} must be a NumPy array, got {type(out).__name__}")
    cdef cnp.ndarray a = out
    if not cnp.PyArray_ISCARRAY(a) or a.dtype != dtype or out.shape != shape:
        raise ValueError(
            f"{name} must be a writeable, aligned, C-contiguous {dtype} array of shape {shape}, "
            f"got {out.dtype} of shape {out.shape}"
        )


cdef int raise_for(fnn_status status) except -1:
    if status == FNN_NO_MEMORY:
        raise MemoryError("not enough memory for the buffers of this call")
    return -1 if status == FNN_INTERRUPTED else 0  # the signal handler's exception is set


cdef int poll_signals() noexcept with gil:
    return PyErr_CheckSignals()


fnn_set_poll(poll_signals)


cdef int end(fnn_call *call) except -1:
    """Leave a call; its interruption is raised."""
    return -1 if fnn_call_leave(call) else 0
