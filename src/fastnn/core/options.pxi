# Dicts of options become the engine's structures.

# Far below what overflows the sizes of buffers.
cdef Py_ssize_t MOST_FEATURES = 1 << 40
cdef int64_t MOST_ITERATIONS = 1 << 62


cdef int read_parameters(object parameters, str name, double *out) except -1:
    if len(parameters) < N_PARAMETERS.get(name, 0):
        raise ValueError(f"activation {name!r} needs {N_PARAMETERS[name]} parameters, got {len(parameters)}")
    if len(parameters) > 3:
        raise ValueError(f"activation {name!r} has at most 3 parameters, got {len(parameters)}")
    out[0] = out[1] = out[2] = 0.0
    for i, value in enumerate(parameters):
        out[i] = value
    return 0


cdef int read_op(fnn_op *op, str kind, dict options, Py_ssize_t number) except -1:
    op.kind = fnn_kinds[index_of("op", OPS, kind)]
    missing = [option for option in OPTIONS[kind] if option not in options]
    if missing:
        raise ValueError(f"op {number}, {kind!r}, lacks {', '.join(missing)}")
    name = options.get("activation", "linear")
    op.activation = index_of("activation", ACTIVATIONS, name)
    read_parameters(options.get("parameters", ()), name, op.parameters)
    if op.kind.is_product:
        op.n_out = options["n_out"]
        if not 1 <= op.n_out <= MOST_FEATURES:
            raise ValueError(f"n_out must be from 1 to {MOST_FEATURES}, got {options['n_out']}")
    op.use_kernel = options.get("scale", True)
    op.use_bias = len(PARAMETERS[kind]) > 1 and options.get("center", options.get("use_bias", True))
    op.rate = options.get("rate", 0.0)
    op.has_seed = options.get("seed") is not None
    op.seed = options["seed"] if op.has_seed else 0
    op.draw = options.get("draw", 0)
    op.alpha = options.get("alpha", False)
    op.momentum = options.get("momentum", 0.0)
    op.epsilon = options.get("epsilon", 0.0)
    op.rms = options.get("rms_scaling", False)
    op.invert = options.get("invert", False)
    op.missing = options.get("missing") is not None
    op.indicator = options.get("missing") == "indicator"
    op.has_number = options.get("number") is not None
    op.number = options["number"] if op.has_number else 0.0
    op.number_first = bool(options.get("number_first", False))
    op.normalize = bool(options.get("normalize", False))
    if kind == "slice":
        if options["step"] == 0:
            raise ValueError(f"op {number}, 'slice', has the step 0")
        op.start = options["start"]
        op.step = options["step"]
        op.columns = len(range(op.start, options["stop"], op.step))
    elif op.kind.is_table:
        op.table_rows = options["n_rows"]
        op.columns = options["n_columns"]
    op.multiple = options.get("members", options.get("count", 1))
    op.groups = options.get("groups", 1)
    op.function = index_of("function", ACTIVATIONS, options.get("function", "linear"))
    if kind == "parametric_activation":
        if fnn_is_row_activation(op.function):
            function = options["function"]
            raise ValueError(f"op {number}, 'parametric_activation', takes elementwise functions, got {function!r}")
        read_parameters(options.get("parameters", ()), options["function"], op.parameters)
    op.trainable = options.get("trainable", True) and not op.kind.is_fixed
    op.activity_l1, op.activity_l2 = options.get("activity_regularizer") or (0.0, 0.0)
    for i, parameter in enumerate(PARAMETERS[kind]):
        read_rules(&op.rules[i], options.get(f"{parameter}_regularizer"), options.get(f"{parameter}_constraint"))
        read_factors(&op.rules[i], parameter, options.get(f"{parameter}_factors"))
    return 0


cdef int read_rules(fnn_rules *rules, object regularizer, object constraint) except -1:
    rules.l1, rules.l2 = regularizer or (0.0, 0.0)
    if constraint is not None:
        name, bound, axis = constraint
        rules.constraint = 1 + index_of("constraint", CONSTRAINTS, name)
        rules.bound = bound
        rules.axis = index_of("axis", AXES, axis)
    return 0


cdef int read_factors(fnn_rules *rules, str parameter, object factors) except -1:
    """Read the factors of a parameter's learning rate and weight decay."""
    rules.has_factors = factors is not None
    rules.rate_factor, rules.decay_factor = factors or (1.0, 1.0)
    if not (0.0 <= rules.rate_factor < float("inf") and 0.0 <= rules.decay_factor < float("inf")):
        raise ValueError(f"{parameter}_factors must be two finite numbers of at least 0, got {factors}")
    return 0


cdef fnn_loss loss_of(object name, dict options) except *:
    cdef fnn_loss loss
    memset(&loss, 0, sizeof(loss))
    loss.kind = index_of("loss", LOSSES, name)
    loss.from_logits = bool(options.get("from_logits", False))
    loss.label_smoothing = options.get("label_smoothing", 0.0)
    if name == "quantile":
        loss.delta = options["q"]
    elif name == "huber":
        loss.delta = options["delta"]
    elif loss.kind == FNN_BINARY_FOCAL or loss.kind == FNN_CATEGORICAL_FOCAL:
        loss.gamma = options["gamma"]
        loss.alpha = 0.0 if np.ndim(options["alpha"]) else options["alpha"]
    loss.balanced = bool(options.get("apply_class_balancing", False))
    loss.full = bool(options.get("full", False))
    loss.per_row = bool(options.get("per_row", False))
    loss.sum = bool(options.get("sum", False))
    loss.weighted_mean = bool(options.get("weighted_mean", False))
    loss.scaled_penalty = bool(options.get("scaled_penalty", False))
    ignored = options.get("ignore_class")
    loss.ignores = ignored is not None
    loss.ignored = 0 if ignored is None else ignored
    loss.factor = options.get("factor", 1.0)
    return loss


cdef object numbers_of(fnn_loss *loss, dict options, Py_ssize_t n_outputs):
    """Point the loss to its class weights or levels; return the array that owns them, or None."""
    cdef cnp.ndarray weights, levels
    if loss.kind == FNN_GAUSSIAN_NLL and n_outputs % 2:
        raise ValueError(
            "gaussian_nll needs two outputs per target, its mean and the logarithm of its variance; there are "
            f"{n_outputs}"
        )
    if loss.kind == FNN_MULTI_QUANTILE:
        levels = np.ascontiguousarray(options["levels"], np.float64)
        if levels.ndim != 1 or not levels.size or n_outputs % levels.size:
            raise ValueError(
                f"multi_quantile needs an output for each of its levels {options['levels']} per target; there are "
                f"{n_outputs}"
            )
        loss.n_levels = <int>levels.size
        loss.alphas = <const double *>cnp.PyArray_DATA(levels)
        return levels
    if loss.kind != FNN_CATEGORICAL_FOCAL or np.ndim(options["alpha"]) == 0:
        return None
    weights = np.ascontiguousarray(options["alpha"], np.float64)
    if np.shape(weights) != (n_outputs,):
        raise ValueError(f"alpha must hold one weight for each of {n_outputs} classes, got shape {np.shape(weights)}")
    loss.alphas = <const double *>cnp.PyArray_DATA(weights)
    return weights


cdef fnn_optimizer optimizer_of(str optimizer, dict o) except *:
    cdef fnn_optimizer rule
    cdef fnn_update u
    memset(&rule, 0, sizeof(rule))
    memset(&u, 0, sizeof(u))
    index_of("optimizer", OPTIMIZERS, optimizer)
    u.scale = 1.0
    u.clip = o.get("clipvalue") or 0.0
    u.rate = 1.0
    u.decay = o.get("weight_decay") or 0.0
    if optimizer == "sgd":
        u.beta_1 = o.get("momentum", 0.0)
        u.kind = FNN_SGD if not u.beta_1 else FNN_SGD_NESTEROV if o.get("nesterov", False) else FNN_SGD_MOMENTUM
    elif optimizer == "rmsprop":
        u.beta_1 = o.get("momentum", 0.0)
        u.beta_2 = o["rho"]
        u.epsilon = o["epsilon"]
        u.kind = FNN_RMSPROP_CENTERED if o.get("centered", False) else FNN_RMSPROP
    elif optimizer == "adagrad":
        rule.initial = o["initial_accumulator_value"]
        u.epsilon = o["epsilon"]
        u.kind = FNN_ADAGRAD
    elif optimizer == "adadelta":
        u.beta_2 = o["rho"]
        u.epsilon = o["epsilon"]
        u.kind = FNN_ADADELTA
    elif optimizer == "lion":
        u.beta_1 = o["beta_1"]
        u.beta_2 = o["beta_2"]
        u.kind = FNN_LION
    elif optimizer == "adamax":
        u.beta_1 = 1.0 - <double>o["beta_1"]
        u.beta_2 = o["beta_2"]
        u.epsilon = o["epsilon"]
        u.kind = FNN_ADAMAX
    else:
        u.beta_1 = 1.0 - <double>o["beta_1"]
        u.beta_2 = 1.0 - <double>o["beta_2"]
        u.epsilon = o["epsilon"]
        u.kind = FNN_NADAM if optimizer == "nadam" else FNN_AMSGRAD if o.get("amsgrad", False) else FNN_ADAM
    rule.update = u
    rule.corrects_epsilon = bool(o.get("corrects_epsilon", False)) and (u.kind == FNN_ADAM or u.kind == FNN_AMSGRAD)
    rule.clip_norm = o.get("clipnorm") or 0.0
    rule.global_clip_norm = o.get("global_clipnorm") or 0.0
    rule.use_average = bool(o.get("use_ema", False))
    rule.average_momentum = o["ema_momentum"] if rule.use_average else 0.0
    rule.overwrite_every = o.get("ema_overwrite_frequency") or 0
    rule.accumulate = o.get("gradient_accumulation_steps") or 1
    return rule
