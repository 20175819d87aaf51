# Names of ops, parameters, activations, losses and rules, in the order of the enumerations in C.

# In the order of fnn_op_kind.
OPS = (
    "dense", "activation", "dropout", "gaussian_noise", "batch_normalization", "layer_normalization", "prelu", "normalization",
    "add",
)
# What an op trains, a kernel or what stands in its place and a bias; and what it keeps beside that.
cdef dict PARAMETERS = {
    "dense": ("kernel", "bias"),
    "batch_normalization": ("gamma", "beta"),
    "layer_normalization": ("gamma", "beta"),
    "prelu": ("alpha",),
    "normalization": (),
}
cdef dict STATES = {"batch_normalization": ("moving_mean", "moving_variance"), "normalization": ("mean", "variance", "count")}
# In the order of fnn_activation and fnn_loss_kind.
ACTIVATIONS = (
    "linear", "relu", "leaky_relu", "tanh", "sigmoid", "softplus", "elu", "selu", "gelu", "gelu_tanh", "silu", "exponential",
    "relu6", "general_relu", "mish", "softsign", "hard_sigmoid", "hard_silu", "softmax", "log_softmax",
)
LOSSES = (
    "mean_squared_error", "mean_absolute_error", "huber", "mean_absolute_percentage_error",
    "mean_squared_logarithmic_error", "log_cosh", "poisson", "hinge", "squared_hinge", "quantile", "binary_crossentropy",
    "binary_focal_crossentropy", "categorical_crossentropy", "sparse_categorical_crossentropy",
    "categorical_focal_crossentropy", "kl_divergence", "categorical_hinge", "cosine_similarity", "gaussian_nll", "dice",
    "custom",
)
OPTIMIZERS = ("sgd", "adam", "adamw", "nadam", "adamax", "adagrad", "adadelta", "lion", "rmsprop")
# In the order of fnn_constraint_kind, without none, and of fnn_norm_axis.
CONSTRAINTS = ("max_norm", "unit_norm", "non_neg")
cdef tuple AXES = (0, 1, None)
cdef dict DEFAULT_PARAMETERS = {"leaky_relu": (0.2,), "elu": (1.0,), "general_relu": (0.0, np.inf, 0.0)}


cdef int index_of(str what, tuple names, object name) except -1:
    try:
        return names.index(name)
    except ValueError:
        from difflib import get_close_matches

        close = get_close_matches(str(name), names, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"unknown {what} {name!r}; known: {', '.join(names)}{hint}") from None
