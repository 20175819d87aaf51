"""Options for the compiled core, completed with the defaults of Python's descriptions: the core has none."""

from fastnn import layers, ops, optimizers

_LAYERS = {
    "batch_normalization": layers.BatchNormalization,
    "layer_normalization": layers.LayerNormalization,
}


def default_parameters(activation):
    """Parameters of an activation."""
    return tuple(ops.ACTIVATION_OPTIONS.get(activation, {}).values())


def complete_op(kind, options):
    """An op whose activation has its parameters, and whose normalization has its constants."""
    defaults = _LAYERS[kind]().op(1)[1] if kind in _LAYERS else {}
    activation = options.get("function", options.get("activation"))
    return kind, {**defaults, "parameters": default_parameters(activation), **options}


def complete_ops(program):
    """All ops of a network."""
    return [complete_op(kind, options) for kind, options in program]


def complete_rule(name, options):
    """Options of an update rule."""
    rule = optimizers.get(name)
    return {"ema_momentum": rule.ema_momentum, **rule.options(), **options}


def complete_loss(name, options):
    """Options of a loss."""
    return {**ops.LOSS_OPTIONS.get(name, {}), **options}
