"""The table of a model's layers: as rows, and as the text that ``model.summary()`` prints."""

from fastnn.network.stack import LayerStack


def layer_table(model: LayerStack) -> list[tuple[str, str, str]]:
    """Return "name (Type)", output shape and number of weights of every layer; "?" where the model is not built."""
    rows = []
    for place, layer in enumerate(model.layers):
        shape, n_weights = "?", "?"
        if model.built:
            shape, n_weights = f"(None, {model.program.widths[place]})", f"{layer.count_params():,}"
        rows.append((f"{layer.name} ({type(layer).__name__})", shape, n_weights))
    return rows


def summary_text(model: LayerStack) -> str:
    """Return the table with the model's name above it and the total numbers of weights below it."""
    table = [("Layer (type)", "Output Shape", "Param #"), *layer_table(model)]
    widths = [max(len(row[column]) for row in table) + 2 for column in range(3)]
    width = max(sum(widths), 50)
    widths[0] += width - sum(widths)
    head, *body = (f"{name:<{widths[0]}}{shape:<{widths[1]}}{weights:>{widths[2]}}" for name, shape, weights in table)
    lines = [f'Model: "{model.name}"', "_" * width, head, "=" * width, *body, "=" * width]
    return "\n".join([*lines, *_totals(model), "_" * width])


def _totals(model: LayerStack) -> list[str]:
    """Return the lines below the table."""
    if not model.built:
        return ["Total params: not built", "Trainable params: not built"]
    total = model.count_params()
    trained = sum(array.size for array in model.trainable_weights)
    counts = {"Total": total, "Trainable": trained, "Non-trainable": total - trained}
    return [f"{kind} params: {count:,}" for kind, count in counts.items()]
