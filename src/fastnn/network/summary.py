"""The table that ``model.summary()`` prints."""

from collections.abc import Sequence


def format_summary(name: str, rows: Sequence[tuple[str, str, str]], totals: Sequence[tuple[str, str]]) -> str:
    """Return the table.

    Parameters
    ----------
    name : the model's name.
    rows : per layer "name (Type)", output shape and number of weights.
    totals : labels and figures below the table.
    """
    table = [("Layer (type)", "Output Shape", "Param #"), *rows]
    widths = [max(len(row[column]) for row in table) + 2 for column in range(3)]
    width = max(sum(widths), 50)
    widths[0] += width - sum(widths)

    def line(row: tuple[str, str, str]) -> str:
        return f"{row[0]:<{widths[0]}}{row[1]:<{widths[1]}}{row[2]:>{widths[2]}}"

    head, *body = (line(row) for row in table)
    lines = [f'Model: "{name}"', "_" * width, head, "=" * width, *body, "=" * width]
    return "\n".join([*lines, *(f"{label}: {figure}" for label, figure in totals), "_" * width])
