# The interface of csrc/: the kernel table of fnn.h and the engine of engine/engine.h.

cdef extern from "Python.h":
    int PyErr_CheckSignals() noexcept


cdef extern from "pythread.h":
    unsigned long PyThread_get_thread_ident()


cdef extern from "fnn.h" nogil:
    enum: FNN_SIGMOID, FNN_SOFTMAX, FNN_ACTIVATIONS
    enum: FNN_SPARSE_CCE, FNN_BINARY_FOCAL, FNN_CATEGORICAL_FOCAL, FNN_GAUSSIAN_NLL, FNN_MULTI_QUANTILE, FNN_CUSTOM
    enum: FNN_LOSSES
    enum: FNN_SGD, FNN_SGD_MOMENTUM, FNN_SGD_NESTEROV, FNN_ADAM, FNN_AMSGRAD, FNN_NADAM, FNN_ADAMAX, FNN_ADAGRAD
    enum: FNN_ADADELTA, FNN_LION, FNN_RMSPROP, FNN_RMSPROP_CENTERED
    int fnn_is_row_activation(int)
    enum: FNN_F32, FNN_F64, FNN_I8, FNN_U8, FNN_I16, FNN_U16, FNN_I32, FNN_U32, FNN_I64, FNN_U64
    ctypedef struct fnn_loss:
        int kind, from_logits
        double label_smoothing, delta, alpha, gamma
        const double *alphas
        int n_levels, balanced, full, per_row, sum, weighted_mean, scaled_penalty, ignores
        int64_t ignored
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
        int (*cholesky)(void *, Py_ssize_t) noexcept nogil
        void (*cholesky_solve)(const void *, Py_ssize_t, void *) noexcept nogil
        double (*cholesky_inverse_trace)(const void *, Py_ssize_t, void *) noexcept nogil
        double (*fma_peak)(int64_t, void *) noexcept nogil
    const fnn_kernels *fnn_find_kernels(const char *isa, int dtype)
    const char *fnn_default_isa()
    double fnn_wide_rate()
    const char *fnn_isa_names[]
    void fnn_random_uniform(double *, Py_ssize_t, uint64_t, uint64_t)
    void fnn_shuffle(int64_t *, Py_ssize_t, uint64_t, uint64_t)
    void fnn_random_normal(double *, Py_ssize_t, uint64_t, uint64_t)


cdef extern from "engine/kind.h" nogil:
    ctypedef struct fnn_kind:
        const char *name
        const char *parameters[2]
        const char *states[3]
        const char *options[3]
        int least_inputs, most_inputs, takes_number
        int is_product, is_table, is_multiplied, is_fixed
    const fnn_kind *fnn_kinds[]


cdef extern from "engine/engine.h" nogil:
    ctypedef enum fnn_status:
        FNN_OK, FNN_MORE, FNN_NONFINITE, FNN_NO_MEMORY, FNN_BAD_INPUT, FNN_INTERRUPTED
    enum: FNN_CONSTRAINTS, FNN_AXES, FNN_MOST_OPS, FNN_MOST_BUFFERS, FNN_MOST_OUTPUTS
    uint64_t fnn_environment_enter()
    void fnn_environment_leave(uint64_t)
    ctypedef struct fnn_call:
        pass
    void fnn_call_enter(fnn_call *)
    int fnn_call_leave(fnn_call *)
    int fnn_interrupted()
    void fnn_set_poll(int (*)() noexcept)
    int fnn_openmp_version()
    int fnn_processors()
    void fnn_limit_own_threads(int most)
    int fnn_thread_limit()
    ctypedef struct fnn_rules:
        double l1, l2
        int no_decay, constraint, axis
        double bound
        int has_factors
        double rate_factor, decay_factor
    ctypedef struct fnn_op:
        const fnn_kind *kind
        int activation, use_kernel, use_bias, trainable, alpha, rms, invert, missing, indicator
        int n_inputs
        const int *inputs
        int shares, owner, next_call, has_number, number_first, normalize
        double number
        Py_ssize_t start, step, table_rows, columns, multiple, groups
        int function
        double parameters[3]
        double rate, momentum, epsilon
        int has_seed, draw
        uint64_t seed
        Py_ssize_t n_in, n_out, weights, rows, state
        fnn_rules rules[2]
        double activity_l1, activity_l2
    ctypedef struct fnn_optimizer:
        fnn_update update
        double initial, clip_norm, global_clip_norm
        int corrects_epsilon
        int use_average
        double average_momentum
        int64_t overwrite_every, accumulate
    ctypedef struct fnn_output_loss:
        fnn_loss loss
        int output
        double weight
    ctypedef struct fnn_route:
        int n_ops
    ctypedef struct fnn_network:
        const fnn_kernels *kernels
        int n_ops, n_inputs, n_outputs, n_losses
        fnn_op *ops
        int *outputs
        Py_ssize_t *widths
        unsigned char *takes_missing
        fnn_route *route
        Py_ssize_t n_elements
        void *weights
        void *slots[5]
        int n_slots
        fnn_output_loss *losses
        fnn_optimizer optimizer
        int64_t iterations
    ctypedef struct fnn_program:
        const Py_ssize_t *input_widths
        int n_inputs, n_ops, n_outputs
        const fnn_op *ops
        const int *outputs
    fnn_network *fnn_network_new(const fnn_kernels *, const fnn_program *)
    void fnn_network_free(fnn_network *)
    fnn_status fnn_network_compile(fnn_network *, const fnn_output_loss *, int, const fnn_optimizer *)
    Py_ssize_t fnn_output_width(const fnn_network *, int)
    int fnn_skips_activation(const fnn_network *, int)
    void fnn_plan_route(const fnn_network *, fnn_route *, const int *, int)
    void fnn_network_use_average(fnn_network *)
    double fnn_network_penalty(const fnn_network *)
    uint64_t fnn_weights_checksum(const fnn_network *)
    Py_ssize_t fnn_flat_size(const fnn_network *)
    void fnn_from_flat(const fnn_network *, void *, const void *)
    void fnn_to_flat(const fnn_network *, void *, const void *)
    Py_ssize_t fnn_target_columns(const fnn_loss *, Py_ssize_t)
    ctypedef struct fnn_prediction:
        const fnn_route *route
        const fnn_matrix *X
        void **out
        double *activity
        const unsigned char *skipped
        int n_threads
    fnn_status fnn_predict(const fnn_network *, const fnn_prediction *)
    Py_ssize_t fnn_bad_row(const fnn_network *, int, const fnn_matrix *)
    ctypedef struct fnn_fit
    ctypedef struct fnn_targets:
        fnn_matrix y
        const int64_t *labels
        const void *sample_weight
    ctypedef struct fnn_ranks:
        int rank
        int n_ranks
        int n_waits
        const void *n_exchanges
        double least_operations
        int (*gather)(void *, void *, const Py_ssize_t *) noexcept
        int (*start_gather)(void *, void *, const Py_ssize_t *) noexcept
        int (*start_scatter)(void *, const void *, const Py_ssize_t *, void *, const Py_ssize_t *) noexcept
        int (*finish)(void *) noexcept
        void *(*share)(void *, size_t) noexcept
        void (*part)(void *) noexcept
        void *context
    ctypedef struct fnn_fit_data:
        const fnn_ranks *ranks
        const fnn_matrix *X
        const fnn_targets *targets
        void **predictions
        const int64_t *rows
        Py_ssize_t n_rows
        Py_ssize_t batch_size
        int n_threads
    fnn_fit *fnn_fit_new(fnn_network *, const fnn_fit_data *)
    void fnn_fit_free(fnn_fit *)
    Py_ssize_t fnn_fit_steps(const fnn_fit *)
    Py_ssize_t fnn_fit_step(const fnn_fit *)
    double fnn_fit_loss_sum(const fnn_fit *)
    double fnn_fit_output_loss_sum(const fnn_fit *, int)
    double fnn_fit_penalty_sum(const fnn_fit *)
    void fnn_fit_set_order(fnn_fit *, const int64_t *)
    void fnn_fit_begin(fnn_fit *, uint64_t, uint64_t, int, const double *)
    void fnn_fit_skip(fnn_fit *, Py_ssize_t, const double *)
    enum: FNN_FIT_FACTORS
    void fnn_fit_set_factors(fnn_fit *, int, const double *)
    void fnn_fit_set_rates(fnn_fit *fit, const double *rates)
    void fnn_fit_time_phases(fnn_fit *)
    int64_t fnn_fit_phase_ns(const fnn_fit *, int)
    fnn_status fnn_fit_run(fnn_fit *, Py_ssize_t, double)
    ctypedef struct fnn_held_out:
        fnn_prediction prediction
        const fnn_targets *targets
    ctypedef struct fnn_watch:
        int held_out
        double min_delta
        double baseline
        Py_ssize_t patience
        Py_ssize_t epoch
        Py_ssize_t start
        int has_best
        double best
        Py_ssize_t best_epoch
        Py_ssize_t wait
        void *weights
    ctypedef struct fnn_epochs:
        uint64_t seed
        uint64_t first
        uint64_t between
        int shuffle
        const int64_t *orders
        const double *rates
        Py_ssize_t count
        Py_ssize_t done
        int looked
        int begun
        double *sums
        const fnn_held_out *held_out
        const unsigned char *due
        double *values
        fnn_watch *watch
    fnn_status fnn_fit_run_epochs(fnn_fit *, fnn_epochs *, double)
    void fnn_fit_settle(fnn_fit *)
    int fnn_fit_is_divided(const fnn_fit *)
    fnn_status fnn_fit_gradients(fnn_fit *, void *, int, double *, double *)
    fnn_status fnn_fit_forward(fnn_fit *, void **)
    fnn_status fnn_fit_backward(fnn_fit *, const void **, const double *)
    Py_ssize_t fnn_fit_batch(const fnn_fit *, const int64_t **, Py_ssize_t *)
    ctypedef struct fnn_dense_arrays:
        const void *x
        const void *kernel
        const void *bias
        Py_ssize_t n, n_in, n_out
        int activation
        double parameters[3]
    fnn_status fnn_dense_forward(const fnn_kernels *, void *, const fnn_dense_arrays *, int)
    fnn_status fnn_dense_backward(const fnn_kernels *, void *, void *, void *, const void *, const fnn_dense_arrays *, int)
    ctypedef struct fnn_loss_arrays:
        const void *y_pred
        const void *y_true
        const int64_t *labels
        const void *sample_weight
        Py_ssize_t n, n_out
    fnn_status fnn_loss_and_gradient(const fnn_kernels *, double *, void *, const fnn_loss_arrays *, const fnn_loss *)
    void fnn_activate(const fnn_kernels *, void *, const void *, Py_ssize_t, Py_ssize_t, int, const double *)
    fnn_status fnn_activation_gradient(const fnn_kernels *, void *, const void *, const void *, Py_ssize_t, Py_ssize_t, int,
                                       const double *)


cdef extern from "engine/least_squares.h" nogil:
    ctypedef struct fnn_least_squares
    ctypedef struct fnn_chain_layer:
        Py_ssize_t n_in, n_out
        int activation
        double parameters[3]
        Py_ssize_t kernel, bias
    ctypedef struct fnn_chain:
        const fnn_chain_layer *layers
        int n_layers, n_threads
        const double *X
        const double *targets
        const double *factors
        Py_ssize_t rows, block
    fnn_least_squares *fnn_least_squares_new(const fnn_kernels *, const fnn_chain *)
    void fnn_least_squares_free(fnn_least_squares *)
    fnn_status fnn_squared_error(fnn_least_squares *, const double *, double *)
    fnn_status fnn_normal_equations(fnn_least_squares *, const double *, double *, double *)
    fnn_status fnn_whole_jacobian(fnn_least_squares *, const double *, double *, double *)
