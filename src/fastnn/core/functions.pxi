# Functions of arrays: single kernels, and random numbers.

cdef const fnn_kernels *kernels_for(object dtype) except NULL:
    if dtype == np.float32:
        return KERNELS_F32
    if dtype == np.float64:
        return KERNELS_F64
    raise TypeError(f"arrays must be float32 or float64, got {dtype}")


cdef tuple as_real(str name, object x):
    x = real_numbers(name, x)
    dtype = x.dtype if x.dtype in (np.float32, np.float64) else np.dtype(np.float64)
    return np.require(x, dtype, ["C", "A"]).reshape(x.shape), dtype


def activation(name, x, out=None, parameters=()):
    cdef double p[3]
    cdef int kind = index_of("activation", ACTIVATIONS, name)
    read_parameters(parameters, name, p)
    x, dtype = as_real("x", x)
    if out is None:
        out = np.empty(x.shape, dtype)
    else:
        check_output("out", out, dtype, x.shape)
        if cnp.PyArray_DATA(<cnp.ndarray>x) != cnp.PyArray_DATA(<cnp.ndarray>out):
            x = apart(x, out)
    cdef const fnn_kernels *kernels = kernels_for(dtype)
    cdef cnp.ndarray source = x
    cdef cnp.ndarray target = out
    if x.size == 0:
        return out
    if x.ndim < 1 and fnn_is_row_activation(kind):
        raise ValueError(f"{name} needs rows, got a scalar")
    cdef Py_ssize_t columns = x.shape[-1] if x.ndim else 1
    cdef Py_ssize_t rows = cnp.PyArray_SIZE(source) // columns
    cdef void *result = cnp.PyArray_DATA(target)
    cdef const void *values = cnp.PyArray_DATA(source)
    cdef fnn_call call
    fnn_call_enter(&call)
    with nogil:
        fnn_activate(kernels, result, values, rows, columns, kind, p)
    end(&call)
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
    cdef Py_ssize_t columns = x.shape[-1] if x.ndim else 1
    cdef const fnn_kernels *kernels = kernels_for(dtype)
    cdef Py_ssize_t rows = cnp.PyArray_SIZE(source) // columns
    cdef void *result = cnp.PyArray_DATA(out)
    cdef const void *slopes = cnp.PyArray_DATA(gradient)
    cdef const void *values = cnp.PyArray_DATA(source)
    cdef fnn_status status
    cdef fnn_call call
    fnn_call_enter(&call)
    with nogil:
        status = fnn_activation_gradient(kernels, result, slopes, values, rows, columns, kind, p)
    end(&call)
    raise_for(status)
    return out


def loss_and_gradient(name, y_true, y_pred, sample_weight=None, bint gradient=True, **options):
    cdef fnn_loss loss = loss_of(name, options)
    cdef fnn_loss_arrays arrays
    cdef double value = 0
    cdef void *grad = NULL
    memset(&arrays, 0, sizeof(arrays))
    y_pred, dtype = as_real("y_pred", y_pred)
    if y_pred.ndim != 2:
        raise ValueError(f"y_pred must have shape (rows, outputs), got {y_pred.shape}")
    n, n_out = y_pred.shape
    if n == 0 or n_out == 0:
        raise ValueError(f"y_pred is empty: shape {y_pred.shape}")
    if loss.kind == FNN_CUSTOM:
        raise ValueError("a custom loss is computed by the caller")
    kept = numbers_of(&loss, options, n_out)  # alive while the loss points to it
    if loss.kind == FNN_SPARSE_CCE:
        y_true = contiguous("y_true", np.reshape(y_true, -1), np.int64, (n,))
        arrays.labels = labels_of(y_true, n_out, &loss)
    else:
        y_true = contiguous("y_true", y_true, dtype, (n, fnn_target_columns(&loss, n_out)))
        arrays.y_true = cnp.PyArray_DATA(<cnp.ndarray>y_true)
    if sample_weight is not None:
        sample_weight = contiguous("sample_weight", sample_weight, dtype, (n,))
        arrays.sample_weight = cnp.PyArray_DATA(<cnp.ndarray>sample_weight)
    arrays.y_pred = cnp.PyArray_DATA(<cnp.ndarray>y_pred)
    arrays.n = n
    arrays.n_out = n_out
    result = np.empty_like(y_pred) if gradient else None
    if gradient:
        grad = cnp.PyArray_DATA(<cnp.ndarray>result)
    cdef const fnn_kernels *kernels = kernels_for(dtype)
    cdef fnn_status status
    cdef fnn_call call
    fnn_call_enter(&call)
    with nogil:
        status = fnn_loss_and_gradient(kernels, &value, grad, &arrays, &loss)
    end(&call)
    raise_for(status)
    return value, result


cdef bint is_plain(object a, int dimensions, int dtype) noexcept:
    """True for a C-contiguous array of this type in native byte order."""
    return (
        type(a) is np_ndarray
        and cnp.PyArray_NDIM(<cnp.ndarray>a) == dimensions
        and cnp.PyArray_TYPE(<cnp.ndarray>a) == dtype
        and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>a)
    )


cdef bint are_dense_arrays(object x, object kernel, object bias) noexcept:
    """True for arrays that need no conversion; the usual case, which is found without Python calls."""
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
        return x, kernel, bias
    x, dtype = as_real("x", x)
    if x.ndim != 2:
        raise ValueError(f"x must have shape (rows, n_in), got {x.shape}")
    kernel = np.require(real_numbers("kernel", kernel), dtype, ["C", "A"])
    if kernel.ndim != 2 or kernel.shape[0] != x.shape[1] or 0 in kernel.shape:
        raise ValueError(f"kernel must have shape ({x.shape[1]}, n_out), got {kernel.shape}")
    if bias is not None:
        bias = contiguous("bias", bias, dtype, (kernel.shape[1],))
    return x, kernel, bias


cdef int describe_dense(
    fnn_dense_arrays *a, object x, object kernel, object bias, object activation, object parameters
) except -1:
    a.activation = index_of("activation", ACTIVATIONS, activation)
    read_parameters(parameters, activation, a.parameters)
    a.x = cnp.PyArray_DATA(<cnp.ndarray>x)
    a.kernel = cnp.PyArray_DATA(<cnp.ndarray>kernel)
    a.bias = cnp.PyArray_DATA(<cnp.ndarray>bias) if bias is not None else NULL
    a.n = cnp.PyArray_DIM(<cnp.ndarray>x, 0)
    a.n_in = cnp.PyArray_DIM(<cnp.ndarray>x, 1)
    a.n_out = cnp.PyArray_DIM(<cnp.ndarray>kernel, 1)
    return 0


def dense_forward(x, kernel, bias, activation, out, parameters=()):
    cdef fnn_dense_arrays arrays
    cdef fnn_status status
    cdef cnp.npy_intp shape[2]
    x, kernel, bias = dense_arrays(x, kernel, bias)
    cdef int dtype = cnp.PyArray_TYPE(<cnp.ndarray>x)
    shape[0] = cnp.PyArray_DIM(<cnp.ndarray>x, 0)
    shape[1] = cnp.PyArray_DIM(<cnp.ndarray>kernel, 1)
    if out is None:
        out = cnp.PyArray_EMPTY(2, shape, dtype, 0)
    else:
        if not (
            is_plain(out, 2, dtype)
            and cnp.PyArray_ISWRITEABLE(<cnp.ndarray>out)
            and cnp.PyArray_DIM(<cnp.ndarray>out, 0) == shape[0]
            and cnp.PyArray_DIM(<cnp.ndarray>out, 1) == shape[1]
        ):
            check_output("out", out, x.dtype, (shape[0], shape[1]))
        x, kernel, bias = apart(x, out), apart(kernel, out), apart(bias, out)
    describe_dense(&arrays, x, kernel, bias, activation, parameters)
    if arrays.n == 0:
        return out
    cdef const fnn_kernels *kernels = KERNELS_F32 if dtype == cnp.NPY_FLOAT32 else KERNELS_F64
    cdef void *o = cnp.PyArray_DATA(<cnp.ndarray>out)
    cdef int threads = threads_of(0)
    cdef fnn_call call
    fnn_call_enter(&call)
    with nogil:
        status = fnn_dense_forward(kernels, o, &arrays, threads)
    end(&call)
    raise_for(status)
    return out


def dense_backward(grad_out, x, kernel, bias, out, activation, parameters=()):
    cdef fnn_dense_arrays arrays
    cdef fnn_status status
    x, kernel, bias = dense_arrays(x, kernel, bias)
    describe_dense(&arrays, x, kernel, bias, activation, parameters)
    dtype = x.dtype
    grad_out = contiguous("grad_out", grad_out, dtype, (arrays.n, arrays.n_out))
    if np.shape(out) != (arrays.n, arrays.n_out):
        raise ValueError(f"out must have shape {(arrays.n, arrays.n_out)}, got {np.shape(out)}")
    grad_x = np.empty((arrays.n, arrays.n_in), dtype)
    grad_kernel, grad_bias = np.zeros((arrays.n_in, arrays.n_out), dtype), np.zeros(arrays.n_out, dtype)
    if arrays.n == 0:
        return grad_x, grad_kernel, grad_bias
    cdef const fnn_kernels *kernels = kernels_for(dtype)
    cdef void *gx = cnp.PyArray_DATA(<cnp.ndarray>grad_x)
    cdef void *gw = cnp.PyArray_DATA(<cnp.ndarray>grad_kernel)
    cdef void *gb = cnp.PyArray_DATA(<cnp.ndarray>grad_bias)
    cdef void *g = cnp.PyArray_DATA(<cnp.ndarray>grad_out)
    cdef int threads = threads_of(0)
    cdef fnn_call call
    fnn_call_enter(&call)
    with nogil:
        status = fnn_dense_backward(kernels, gx, gw, gb, g, &arrays, threads)
    end(&call)
    raise_for(status)
    return grad_x, grad_kernel, grad_bias


def all_finite(cnp.ndarray x not None):
    cdef int dtype = cnp.PyArray_TYPE(x)
    cdef Py_ssize_t n = cnp.PyArray_SIZE(x), first = 0, count = 1 << 20, element = cnp.PyArray_ITEMSIZE(x)
    cdef const char *numbers = <const char *>cnp.PyArray_DATA(x)
    cdef const fnn_kernels *kernels = KERNELS_F32 if dtype == cnp.NPY_FLOAT32 else KERNELS_F64
    cdef bint finite = True
    cdef fnn_call call
    if dtype not in (cnp.NPY_FLOAT32, cnp.NPY_FLOAT64) or not cnp.PyArray_ISCARRAY_RO(x):
        return None
    fnn_call_enter(&call)
    with nogil:
        while finite and first < n and not fnn_interrupted():
            finite = kernels.all_finite(numbers + first * element, min(count, n - first))
            first += count
    end(&call)
    return finite


def cholesky(A not None):
    check_output("A", A, np.dtype(np.float64), (len(A), len(A)))
    cdef void *data = cnp.PyArray_DATA(<cnp.ndarray>A)
    cdef Py_ssize_t n = len(A)
    cdef int good
    cdef fnn_call call
    fnn_call_enter(&call)
    with nogil:
        good = KERNELS_F64.cholesky(data, n)
    end(&call)
    return bool(good)


def cholesky_inverse_trace(U not None):
    cdef Py_ssize_t n = len(U)
    check_output("U", U, np.dtype(np.float64), (n, n))
    scratch = np.empty(n)
    cdef void *space = cnp.PyArray_DATA(<cnp.ndarray>scratch)
    cdef const void *factor = cnp.PyArray_DATA(<cnp.ndarray>U)
    cdef double trace
    cdef fnn_call call
    fnn_call_enter(&call)
    with nogil:
        trace = KERNELS_F64.cholesky_inverse_trace(factor, n, space)
    end(&call)
    return trace


def random_uniform(uint64_t seed, uint64_t stream, Py_ssize_t n):
    cdef cnp.ndarray out = np.empty(n)
    cdef double *numbers = <double *>cnp.PyArray_DATA(out)
    cdef fnn_call call
    fnn_call_enter(&call)
    with nogil:
        fnn_random_uniform(numbers, n, seed, stream)
    end(&call)
    return out


def random_normal(uint64_t seed, uint64_t stream, Py_ssize_t n):
    cdef cnp.ndarray out = np.empty(n)
    cdef double *numbers = <double *>cnp.PyArray_DATA(out)
    cdef fnn_call call
    fnn_call_enter(&call)
    with nogil:
        fnn_random_normal(numbers, n, seed, stream)
    end(&call)
    return out


def random_order(uint64_t seed, uint64_t epoch, Py_ssize_t n):
    cdef cnp.ndarray order = np.empty(n, np.int64)
    cdef int64_t *rows = <int64_t *>cnp.PyArray_DATA(order)
    cdef fnn_call call
    fnn_call_enter(&call)
    with nogil:
        fnn_shuffle(rows, n, seed, epoch | <uint64_t>1 << 63)
    end(&call)
    return order
