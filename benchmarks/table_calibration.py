"""Calibration errors of ``TabularClassifier`` before and after its temperature, on the tables of ``tables.py``.

For every table with classes: the expected calibration error (15 bins) of out-of-fold rows and of test rows, with the
same networks. "chance" is the error that faultless probabilities would have: the mean over labels that are drawn from
them. It is large for few rows, and no calibration can be expected to get below it.
"""

import argparse
import json
import warnings

import numpy as np
from tables import DATA, Table, splits

import fastnn
from fastnn._command_line import output_file, positive_count
from fastnn.metrics import expected_calibration_error

COLUMNS = ("table", "rows", "T", "oof before", "oof after", "test before", "test after", "chance")


def error_of(codes: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the calibration error of the predicted classes; codes (n,), probabilities (n, n_classes)."""
    labels = np.arange(probabilities.shape[1])
    return float(expected_calibration_error(codes, probabilities, labels=labels))


def error_by_chance(probabilities: np.ndarray, draws: int = 100) -> float:
    """Return the mean calibration error of labels that are drawn from the probabilities (n, n_classes)."""
    random = np.random.default_rng(0)
    sums = probabilities.cumsum(axis=1)[:, :-1]
    drawn = ((random.random((len(sums), 1)) > sums).sum(axis=1) for _ in range(draws))
    return float(np.mean([error_of(codes, probabilities) for codes in drawn]))


def row_of(name: str, table: Table, options: argparse.Namespace) -> dict[str, float | str]:
    """Return a row of the table of results: the networks are trained twice, with calibration and without."""
    X, y, _, _ = table
    train, test = next(splits(table, 1))
    found: dict[str, float | str] = {"table": name, "rows": len(train)}
    for when, calibrates in (("before", False), ("after", True)):
        model = fastnn.TabularClassifier(
            options.recipe, calibrate=calibrates, random_state=0, n_threads=options.threads
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(X.iloc[train], y[train])
        codes = np.searchsorted(model.classes_, y)
        p = model.predict_proba(X.iloc[test])
        found[f"oof {when}"] = error_of(codes[train], model.oof_predictions_)
        found[f"test {when}"] = error_of(codes[test], p)
    return found | {"T": model.temperature_, "chance": error_by_chance(p)}


def table_of(rows: list[dict[str, float | str]]) -> str:
    """Return the rows as Markdown, with their means."""
    means = {name: float(np.mean([row[name] for row in rows])) for name in COLUMNS[3:]}
    lines = [[*COLUMNS], ["---"] * len(COLUMNS)]
    for row in [*rows, {"table": "mean", "rows": "", "T": "", **means}]:
        lines.append([f"{row[name]:.3f}" if isinstance(row[name], float) else str(row[name]) for name in COLUMNS])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", nargs="+", choices=list(DATA), default=list(DATA), help="those of numbers are left out"
    )
    parser.add_argument("--recipe", default="realmlp", help="recipe of TabularClassifier")
    parser.add_argument("--threads", type=positive_count, default=1)
    parser.add_argument("--json", type=output_file, help="file of results; those in it are not computed again")
    options = parser.parse_args()
    path = options.json
    rows = json.loads(path.read_text()) if path and path.exists() else []
    for name in options.data:
        if name in {row["table"] for row in rows}:
            continue
        table = DATA[name]()
        if table[2] == "rmse":
            continue
        rows.append(row_of(name, table, options))
        if path:
            path.write_text(json.dumps(rows, indent=0))
    print(table_of([row for row in rows if row["table"] in options.data]))


if __name__ == "__main__":
    main()
