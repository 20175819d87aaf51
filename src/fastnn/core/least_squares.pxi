# Sums of squared residuals of a chain of dense layers, and what Levenberg-Marquardt does with them.

cdef class LeastSquares:
    cdef fnn_least_squares *native
    cdef Py_ssize_t n_weights, n_residuals
    cdef tuple arrays

    def __cinit__(self, layers, X, targets, factors, Py_ssize_t block):
        cdef fnn_chain_layer described[FNN_MOST_OPS]
        cdef fnn_chain chain
        cdef int l
        if not 1 <= len(layers) <= FNN_MOST_OPS:
            raise ValueError(f"layers must be 1 to {FNN_MOST_OPS}, got {len(layers)}")
        if block < 16 or block % 16:
            raise ValueError(f"block must be a multiple of 16, got {block}")
        rows, width = np.shape(X)
        for l, (n_out, use_bias, name, parameters) in enumerate(layers):
            if not 1 <= n_out <= MOST_FEATURES:
                raise ValueError(f"outputs of a layer must be from 1 to {MOST_FEATURES}, got {n_out}")
            described[l].n_in, described[l].n_out = width, n_out
            described[l].activation = index_of("activation", ACTIVATIONS, name)
            if fnn_is_row_activation(described[l].activation):
                raise ValueError(f"{name} is not elementwise")
            read_parameters(parameters, name, described[l].parameters)
            described[l].kernel = self.n_weights
            self.n_weights += width * n_out
            described[l].bias = self.n_weights if use_bias else -1
            self.n_weights += n_out if use_bias else 0
            width = n_out
        if rows < 1 or np.shape(X)[1] < 1:
            raise ValueError(f"X is empty: shape {np.shape(X)}")
        X = contiguous("X", X, np.float64, np.shape(X))
        targets = contiguous("targets", targets, np.float64, (width, rows))
        factors = contiguous("factors", factors, np.float64, (width, rows))
        self.arrays = X, targets, factors
        self.n_residuals = width * rows
        chain.layers, chain.n_layers, chain.n_threads = described, len(layers), threads_of(0)
        chain.X = <const double *>cnp.PyArray_DATA(<cnp.ndarray>X)
        chain.targets = <const double *>cnp.PyArray_DATA(<cnp.ndarray>targets)
        chain.factors = <const double *>cnp.PyArray_DATA(<cnp.ndarray>factors)
        chain.rows, chain.block = rows, block
        cdef fnn_call call
        fnn_call_enter(&call)
        self.native = fnn_least_squares_new(KERNELS_F64, &chain)
        end(&call)
        if self.native == NULL:
            raise MemoryError(f"not enough memory for the Jacobian of {self.n_weights} weights")

    def __dealloc__(self):
        fnn_least_squares_free(self.native)

    cdef const double *read(self, cnp.ndarray weights) except NULL:
        if not is_plain(weights, 1, cnp.NPY_FLOAT64) or cnp.PyArray_SIZE(weights) != self.n_weights:
            raise ValueError(f"weights must be contiguous float64 of shape ({self.n_weights},)")
        return <const double *>cnp.PyArray_DATA(weights)

    def error(self, cnp.ndarray weights not None):
        cdef const double *w = self.read(weights)
        cdef double value = 0
        cdef fnn_status status
        cdef fnn_call call
        fnn_call_enter(&call)
        with nogil:
            status = fnn_squared_error(self.native, w, &value)
        end(&call)
        raise_for(status)
        return value

    def normal_equations(self, cnp.ndarray weights not None):
        cdef const double *w = self.read(weights)
        cdef cnp.ndarray matrix = np.zeros((self.n_weights, self.n_weights))
        cdef cnp.ndarray gradient = np.empty(self.n_weights)
        cdef double *products = <double *>cnp.PyArray_DATA(matrix)
        cdef double *slopes = <double *>cnp.PyArray_DATA(gradient)
        cdef fnn_status status
        cdef fnn_call call
        fnn_call_enter(&call)
        with nogil:
            status = fnn_normal_equations(self.native, w, products, slopes)
        end(&call)
        raise_for(status)
        return matrix, gradient

    def jacobian(self, cnp.ndarray weights not None):
        cdef const double *w = self.read(weights)
        cdef cnp.ndarray J = np.empty((self.n_weights, self.n_residuals))
        cdef cnp.ndarray residuals = np.empty(self.n_residuals)
        cdef double *slopes = <double *>cnp.PyArray_DATA(J)
        cdef double *r = <double *>cnp.PyArray_DATA(residuals)
        cdef fnn_status status
        cdef fnn_call call
        fnn_call_enter(&call)
        with nogil:
            status = fnn_whole_jacobian(self.native, w, slopes, r)
        end(&call)
        raise_for(status)
        return J, residuals


def damped_step(cnp.ndarray A not None, cnp.ndarray gradient not None, double damping):
    cdef Py_ssize_t n = cnp.PyArray_SIZE(gradient), i
    if not (is_plain(A, 2, cnp.NPY_FLOAT64) and A.shape[0] == n == A.shape[1] and is_plain(gradient, 1, cnp.NPY_FLOAT64)):
        raise ValueError(f"A and gradient must be contiguous float64 of shapes (n, n) and (n,), got {np.shape(A)} and "
                         f"{np.shape(gradient)}")
    cdef cnp.ndarray factor = A.copy(), step = gradient.copy(), slope = gradient.copy()
    cdef double *U = <double *>cnp.PyArray_DATA(factor)
    cdef double *d = <double *>cnp.PyArray_DATA(step)
    cdef double *g = <double *>cnp.PyArray_DATA(slope)
    cdef double gain = 0
    cdef int good
    cdef fnn_status status = FNN_OK
    cdef fnn_dense_arrays product
    memset(&product, 0, sizeof(product))  # a linear layer
    product.x, product.kernel, product.n, product.n_in, product.n_out = d, g, 1, n, 1
    cdef fnn_call call
    fnn_call_enter(&call)
    with nogil:
        for i in range(n):
            U[i * n + i] += damping
        good = KERNELS_F64.cholesky(U, n)
        if good:
            KERNELS_F64.cholesky_solve(U, n, d)
            for i in range(n):
                d[i] = -d[i]
                g[i] = damping * d[i] - g[i]
            status = fnn_dense_forward(KERNELS_F64, &gain, &product, 1)
    end(&call)
    raise_for(status)
    return (step, gain) if good else None
