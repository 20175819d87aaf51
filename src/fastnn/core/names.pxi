# Names of ops, of their parameters and options, read from the kinds of layers in C; and names of activations, losses and
# the like, in the order of C's enumerations.

cdef tuple strings(const char *const *names, int most):
    return tuple(names[i].decode() for i in range(most) if names[i] != NULL)


# By op: the kernel, or gamma or alpha instead, and the bias; states, which are kept but not trained; required options.
cdef dict PARAMETERS = {}
cdef dict STATES = {}
cdef dict OPTIONS = {}


cdef tuple read_kinds():
    cdef int i = 0
    while fnn_kinds[i] != NULL:
        name = fnn_kinds[i].name.decode()
        PARAMETERS[name] = strings(fnn_kinds[i].parameters, 2)
        STATES[name] = strings(fnn_kinds[i].states, 3)
        OPTIONS[name] = strings(fnn_kinds[i].options, 3)
        i += 1
    return tuple(PARAMETERS)


OPS = read_kinds()
ACTIVATIONS = (
    "linear", "relu", "leaky_relu", "tanh", "sigmoid", "softplus", "elu", "selu", "gelu", "gelu_tanh", "silu", "exponential",
    "relu6", "general_relu", "mish", "softsign", "hard_sigmoid", "hard_silu", "softmax", "log_softmax",
)
LOSSES = (
    "mean_squared_error", "mean_absolute_error", "huber", "mean_absolute_percentage_error",
    "mean_squared_logarithmic_error", "log_cosh", "poisson", "hinge", "squared_hinge", "quantile", "binary_crossentropy",
    "binary_focal_crossentropy", "categorical_crossentropy", "sparse_categorical_crossentropy",
    "categorical_focal_crossentropy", "kl_divergence", "categorical_hinge", "cosine_similarity", "gaussian_nll", "dice",
    "multi_quantile", "custom",
)
OPTIMIZERS = ("sgd", "adam", "adamw", "nadam", "adamax", "adagrad", "adadelta", "lion", "rmsprop")
# Without "none", which comes first in C.
cdef tuple CONSTRAINTS = ("max_norm", "unit_norm", "non_neg")
cdef tuple AXES = (0, 1, None)
cdef tuple FIT_FACTORS = ("weight_decay", "dropout", "label_smoothing")
if (len(ACTIVATIONS), len(LOSSES), 1 + len(CONSTRAINTS), len(AXES), len(FIT_FACTORS)) != (
    FNN_ACTIVATIONS, FNN_LOSSES, FNN_CONSTRAINTS, FNN_AXES, FNN_FIT_FACTORS
):
    raise ImportError("the names in core/names.pxi are not those of the enumerations in csrc/")
cdef dict N_PARAMETERS = {"leaky_relu": 1, "elu": 1, "general_relu": 3}  # that activations need; others need none


cdef int index_of(str what, tuple names, object name) except -1:
    try:
        return names.index(name)
    except ValueError:
        from difflib import get_close_matches

        close = get_close_matches(str(name), names, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"unknown {what} {name!r}; known: {', '.join(names)}{hint}") from None
