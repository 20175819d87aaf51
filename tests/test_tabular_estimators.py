"""TabularClassifier and TabularRegressor: scikit-learn's checks, kinds of columns, folds, limits, warnings."""

import tracemalloc
from functools import partialmethod

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn import metrics
from sklearn.base import clone

import fastnn
from fastnn.layers import QuantileTransform
from fastnn.tabular import bags, recipes
from fastnn.tabular.calibration import least_loss
from fastnn.tabular.scores import METRICS

RNG = np.random.default_rng(0)
N = 120
SIZE = RNG.normal(size=N)
COLOUR = RNG.choice(["red", "green", "blue"], N)
TOWN = RNG.choice([f"town {i}" for i in range(15)], N)
Y = SIZE + (COLOUR == "red") + 0.1 * RNG.normal(size=N)
QUICK = {"n_bags": 2, "random_state": 0}


@pytest.fixture(autouse=True)
def few_epochs(monkeypatch):
    """Train 8 epochs."""
    monkeypatch.setattr("fastnn.tabular.estimators._EPOCHS", 8)


def frame():
    """A table with all kinds of columns."""
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"size": SIZE, "colour": COLOUR, "town": TOWN, "new": SIZE > 0.3, "same": 1.0})
    table.loc[3, "size"] = np.nan
    table.loc[5, "colour"] = None
    table["new"] = table["new"].astype("boolean")
    table.loc[7, "new"] = pandas.NA
    return table


@pytest.mark.parametrize("recipe", recipes.RECIPES)
@pytest.mark.parametrize("task", ["regression", "two classes", "three classes"])
def test_recipes_learn_from_all_kinds_of_columns(recipe, task, monkeypatch):
    monkeypatch.setattr("fastnn.tabular.estimators._EPOCHS", 30)
    monkeypatch.setattr(recipes.Task, "__init__", partialmethod(recipes.Task.__init__, n_members=3))
    table = frame()
    y = {"regression": Y, "two classes": Y > 0.5, "three classes": np.digitize(Y, [0.0, 1.0])}[task]
    cls = fastnn.TabularRegressor if task == "regression" else fastnn.TabularClassifier
    with pytest.warns(UserWarning, match="'same' is constant"):
        model = cls(recipe, **QUICK).fit(table, y)
    assert list(model.feature_names_in_) == list(table.columns)
    assert len(model.models_) == 4
    assert model.score(table, y) > (0.3 if recipe == "tabm" else 0.5)
    oof = model.oof_predictions_
    assert np.isfinite(oof).all()
    if task != "regression":
        np.testing.assert_allclose(oof.sum(axis=1), 1.0, rtol=1e-5)
        np.testing.assert_allclose(model.predict_proba(table).sum(axis=1), 1.0, rtol=1e-5)
    unknown = table.copy()
    unknown.loc[0, ["colour", "town"]] = "elsewhere"
    assert np.isfinite(np.asarray(model.predict(unknown), float)).all()


@pytest.mark.parametrize("package", ["polars", "pyarrow"])
def test_other_frames_give_the_same(package):
    module, table = pytest.importorskip(package), frame().drop(columns="same")
    other = module.from_pandas(table) if package == "polars" else module.Table.from_pandas(table)
    first = fastnn.TabularRegressor("plain", **QUICK).fit(table, Y)
    second = fastnn.TabularRegressor("plain", **QUICK).fit(other, Y)
    np.testing.assert_array_equal(first.predict(table), second.predict(other))


def test_arrays_of_objects_and_chosen_categories():
    table = np.column_stack([SIZE.astype(object), COLOUR.astype(object)])
    model = fastnn.TabularRegressor("plain", **QUICK).fit(table, Y)
    assert model.predict(table).shape == (N,)
    codes = np.unique(COLOUR, return_inverse=True)[1]
    numbers = np.column_stack([SIZE, codes])
    chosen = fastnn.TabularRegressor("plain", categorical_features=[1], **QUICK).fit(numbers, Y)
    assert chosen._encoder.levels == {"x1": [0.0, 1.0, 2.0]}


def test_equal_seeds_give_equal_bits_with_any_threads():
    table = np.column_stack([SIZE, SIZE**2])
    found = [fastnn.TabularRegressor("realmlp", n_threads=n, **QUICK).fit(table, Y).predict(table) for n in (1, 2, 1)]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    again = clone(fastnn.TabularRegressor("realmlp", n_bags=2, random_state=1)).fit(table, Y)
    assert (again.predict(table) != found[0]).any()


@pytest.mark.parametrize("recipe", recipes.RECIPES)
@pytest.mark.parametrize("metric", [None, "accuracy", "roc_auc", "brier"])
def test_labels_are_smoothed_for_realmlp_and_for_accuracy(recipe, metric, monkeypatch):
    monkeypatch.setattr("fastnn.tabular.estimators._EPOCHS", 1)
    monkeypatch.setattr(recipes.Task, "__init__", partialmethod(recipes.Task.__init__, n_members=2))
    X = SIZE[:20, None]
    model = fastnn.TabularClassifier(recipe, metric=metric, **QUICK).fit(X, X[:, 0] > 0.0)
    expected = 0.1 if recipe == "realmlp" or metric == "accuracy" else 0.0
    assert [each.loss.label_smoothing for each in model.models_] == [expected] * len(model.models_)


def test_frequencies_start_wider_for_regressions():
    given = {fastnn.TabularRegressor: 0.3, fastnn.TabularClassifier: 0.1}
    for cls, sigma in given.items():
        model = cls(**QUICK).fit(SIZE[:, None], SIZE > 0.3)
        assert {each.layers[1].cosines.sigma for each in model.models_} == {sigma}


@pytest.mark.parametrize(("most", "chooses"), [(30, "roc_auc"), (31, "log_loss")])
def test_the_area_chooses_epochs_where_each_class_has_enough_rows(most, chooses, monkeypatch):
    monkeypatch.setattr("fastnn.tabular.estimators._FEW_RANKED_ROWS", most)
    scores, train = [], bags.train_member
    monkeypatch.setattr(bags, "train_member", lambda *given: scores.append(given[4]) or train(*given))
    labels = np.arange(N) % 4 == 0
    model = fastnn.TabularClassifier("plain", metric="roc_auc", **QUICK).fit(SIZE[:, None], labels)
    assert set(scores) == {METRICS["classifier"][chooses]}
    assert model.oof_score_ == pytest.approx(metrics.roc_auc_score(labels, model.oof_predictions_[:, 1]))


@pytest.mark.parametrize("lowers", [False, True])
def test_short_trainings_choose_whether_labels_are_smoothed(lowers, monkeypatch):
    monkeypatch.setattr("fastnn.tabular.classifier._FEW_TO_CHOOSE_SMOOTHING", N)
    monkeypatch.setattr("fastnn.tabular.estimators._EPOCHS", 33)
    asked, trained, train = [], [], bags.train_member
    monkeypatch.setattr("fastnn.tabular.classifier.lowers_loss", lambda *given: asked.append(given) or lowers)
    monkeypatch.setattr(bags, "train_member", lambda *given: trained.append(given) or train(*given))
    X, codes = SIZE[:, None], np.digitize(Y, [0.0, 1.0])
    options = {"n_bags": 4, "random_state": 0, "calibrate": False}
    one_thread = fastnn.TabularClassifier(**options, n_threads=1).fit(X, codes)
    smoothing = 0.0 if lowers else 0.1
    assert [each.loss.label_smoothing for each in one_thread.models_] == [smoothing] * 8
    assert one_thread.label_smoothing_ == smoothing
    # Each of eight networks with both smoothings for 3 epochs, then with the chosen one for 33: task and epochs.
    found = [(given[0].label_smoothing, given[5]) for given in trained if given[0].recipe == "realmlp"]
    assert found == [(0.1, 3)] * 8 + [(0.0, 3)] * 8 + [(smoothing, 33)] * 8
    known, smoothed, others, weight = asked[0]
    assert known.tolist() == codes.tolist() and weight is None
    assert np.abs(smoothed - others).max() > 0.0
    assert smoothed.shape == others.shape == (N, 3)
    two_threads = fastnn.TabularClassifier(**options, n_threads=2).fit(X, codes)
    monkeypatch.setattr("fastnn.tabular.classifier._FEW_TO_CHOOSE_SMOOTHING", N + 1)
    monkeypatch.setattr("fastnn.tabular.classifier._SMOOTHING", smoothing)
    alone = fastnn.TabularClassifier(**options).fit(X, codes)
    for each in (two_threads, alone):
        np.testing.assert_array_equal(each.predict_proba(X), one_thread.predict_proba(X))
    assert len(asked) == 2


def test_one_network_chooses_by_its_held_out_rows(monkeypatch):
    monkeypatch.setattr("fastnn.tabular.classifier._FEW_TO_CHOOSE_SMOOTHING", N)
    asked = []
    monkeypatch.setattr("fastnn.tabular.classifier.lowers_loss", lambda *given: asked.append(given) or True)
    model = fastnn.TabularClassifier(n_bags=1, random_state=0, calibrate=False).fit(SIZE[:, None], Y > 0.5)
    held_out = model._bag.held_out[0]
    assert asked[0][0].tolist() == (Y > 0.5)[held_out].tolist()
    assert model.label_smoothing_ == 0.0


def test_smoothing_is_not_chosen_where_time_is_limited(monkeypatch):
    monkeypatch.setattr("fastnn.tabular.classifier._FEW_TO_CHOOSE_SMOOTHING", N)
    monkeypatch.setattr("fastnn.tabular.classifier.lowers_loss", lambda *given: True)
    X, labels = SIZE[:, None], Y > 0.5
    for options in ({"time_limit": 60.0}, {"recipe": "plain"}):
        model = fastnn.TabularClassifier(n_bags=4, random_state=0, **options).fit(X, labels)
        assert model.label_smoothing_ == (0.0 if "recipe" in options else 0.1)


def test_out_of_fold_predictions_are_those_of_the_networks():
    table = np.column_stack([SIZE, SIZE**2])
    model = fastnn.TabularRegressor("plain", **QUICK).fit(table, Y)
    residual = float(np.sqrt(((model.oof_predictions_ - Y) ** 2).mean()))
    assert abs(model.oof_score_ - residual) < 0.05 * residual
    single = fastnn.TabularRegressor("plain", n_bags=1, random_state=0).fit(table, Y)
    assert len(single.models_) == 1
    assert np.isfinite(single.oof_predictions_).sum() == N // 5


def test_few_rows_and_time_limit():
    model = fastnn.TabularRegressor(random_state=0).fit(np.arange(6.0)[:, None], np.arange(6.0))
    assert np.isfinite(model.predict([[2.5]])).all()
    limited = fastnn.TabularRegressor("plain", time_limit=1e-3, **QUICK)
    with pytest.warns(UserWarning, match="one epoch"):
        limited.fit(SIZE[:, None], Y)
    assert limited.n_epochs_ == 1


def test_a_time_limit_ends_within_an_epoch():
    X = RNG.normal(size=(30_000, 2))
    limited = fastnn.TabularRegressor("plain", time_limit=1e-3, **QUICK)
    with pytest.warns(UserWarning, match="one epoch: each network is trained for a part of it"):
        limited.fit(X, X.sum(axis=1))
    task = recipes.Task("plain", 1, False, 0.0, 64)
    n_steps = -(-15_000 // recipes.plan_of(task, 15_000, 1).batch_size)
    assert {each.network.iterations for each in limited.models_} == {-(-n_steps // 50)}


@pytest.mark.parametrize("seconds, steps", [(500.0, 475), (100.0, 95), (7.0, 6), (1e9, 8 * 8)])
def test_schedules_reach_their_end_in_the_time_that_a_limit_leaves(seconds, steps, monkeypatch):
    """A step takes a second; the plan is 8 epochs of 8 steps, or 1,000 of them."""
    from fastnn.tabular import training

    now, rates, run_steps = [0.0], [], training.run_steps

    def second_by_second(fit, callbacks, mean_loss, *, last):
        for step in range(fit.step, last):
            now[0] += 1.0
            assert run_steps(fit, callbacks, mean_loss, last=step + 1)
        return True

    class Fit:
        """A native fit that records the learning rates of its steps."""

        def __init__(self, fit):
            self._fit = fit

        def __getattr__(self, name):
            return getattr(self._fit, name)

        def begin_epoch(self, seed, number, shuffle, values):
            self._values = values
            self._fit.begin_epoch(seed, number, shuffle, values)

        def set_learning_rates(self, values):
            self._values = values
            self._fit.set_learning_rates(values)

        def run(self, *given):
            rates.append(self._values[self._fit.step])
            return self._fit.run(*given)

    if seconds < 1e9:
        monkeypatch.setattr("fastnn.tabular.estimators._EPOCHS", 1000)
    make_fit = training.make_fit
    monkeypatch.setattr(training, "make_fit", lambda *given: Fit(make_fit(*given)))
    monkeypatch.setattr(training, "run_steps", second_by_second)
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    X = RNG.normal(size=(1300, 2))
    limited = fastnn.TabularRegressor("realmlp", n_bags=1, random_state=0, n_threads=1, time_limit=seconds)
    if steps < 8:
        with pytest.warns(UserWarning, match="does not suffice for one epoch"):
            limited.fit(X, X.sum(axis=1))
    else:
        limited.fit(X, X.sum(axis=1))
    (model,) = limited.models_
    assert model.network.iterations == pytest.approx(steps, abs=1)
    assert limited.n_epochs_ == -(-model.network.iterations // 8)
    assert len(rates) == model.network.iterations
    assert max(rates) > 0.14 and rates[-1] < 0.002  # four waves between 0 and 0.2


def test_first_weights_need_few_rows(monkeypatch):
    from fastnn.tabular import training

    monkeypatch.setattr(training, "_ROWS_OF_FIRST_VALUES", 40)
    built = []

    def build(task, encoder, X, seed):
        built.append(X)
        return recipes.build(task, encoder, X, seed)

    monkeypatch.setattr(training, "build", build)
    X = RNG.normal(size=(200, 2))
    fit = [fastnn.TabularRegressor("realmlp", n_threads=1, **QUICK).fit(X, X.sum(axis=1)) for _ in range(2)]
    np.testing.assert_array_equal(fit[0].predict(X), fit[1].predict(X))
    given = [rows for rows in built if len(rows) == 40]
    assert len(given) == len(built) >= 8
    assert not np.array_equal(given[0], given[1])
    assert len(np.unique(given[0], axis=0)) == 40


def test_importances():
    table = np.column_stack([SIZE, RNG.normal(size=N)])
    model = fastnn.TabularRegressor("plain", **QUICK).fit(table, SIZE)
    importances = model.permutation_importances(table, SIZE, random_state=0)
    assert importances.shape == (2,)
    assert importances[0] > importances[1]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([f"name {i}" for i in range(N)], "identifiers"),
        (2.0 * Y + 3.0, "gives the target away"),
        (np.arange(N), "counts the rows"),
        ([None] * N, "no values"),
    ],
)
def test_warnings_of_columns(column, message):
    pandas = pytest.importorskip("pandas")
    with pytest.warns(UserWarning, match=message):
        fastnn.TabularRegressor("plain", **QUICK).fit(pandas.DataFrame({"size": SIZE, "other": column}), Y)


def test_a_category_that_names_the_class():
    pandas = pytest.importorskip("pandas")
    y = Y > 0
    with pytest.warns(UserWarning, match="belongs to one class"):
        fastnn.TabularClassifier("plain", **QUICK).fit(pandas.DataFrame({"a": SIZE, "b": np.where(y, "p", "q")}), y)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "rmsle"}, "metric must be 'rmse', 'mae', 'r2' or None, got 'rmsle'. Did you mean 'rmse'"),
        ({"recipe": "mlp"}, "recipe"),
        ({"n_bags": 0}, "n_bags"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(ValueError, match=message):
        fastnn.TabularRegressor(**options).fit(SIZE[:, None], Y)


def test_other_columns_are_refused():
    table = frame().drop(columns="same")
    model = fastnn.TabularRegressor("plain", **QUICK).fit(table, Y)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(table.rename(columns={"size": "length"}))
    changed = table.assign(size=COLOUR)
    with pytest.raises(ValueError, match="held numbers in fit"):
        model.predict(changed)
    with pytest.raises(ValueError, match="held categories in fit and holds numbers now"):
        model.predict(table.assign(colour=SIZE))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["TabularClassifier", "TabularRegressor"])
def test_check_estimator(name, monkeypatch):
    from sklearn.utils.estimator_checks import check_estimator

    monkeypatch.setattr("fastnn.tabular.estimators._EPOCHS", 60)
    results = check_estimator(getattr(fastnn, name)("plain", n_bags=2), on_fail=None, on_skip=None)
    failed = {result["check_name"]: result["exception"] for result in results if result["status"] == "failed"}
    assert failed == {}
    assert sum(result["status"] == "passed" for result in results) >= 50


@pytest.mark.parametrize("n", [60, 1200])
def test_means_have_the_bits_of_all_outputs_in_the_memory_of_few(n):
    X = RNG.normal(size=(n, 2))
    model = fastnn.TabularClassifier("plain", n_bags=8, random_state=0).fit(X, np.arange(n) % 30)
    rows = RNG.normal(size=(20_000, 2))
    encoded = model._encoded(rows)
    tracemalloc.start()
    mean = model._bag.mean(encoded)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(mean, model._bag.outputs(encoded).mean(axis=0, dtype=np.float64))
    assert most < 4.0 * mean.nbytes  # a sum in float64 and some outputs in float32; all at once are 5 times the mean


def test_few_rows_are_averaged_with_linear_models():
    X = np.random.default_rng(5).normal(size=(150, 6))
    y = X @ np.arange(1.0, 7.0) + np.random.default_rng(6).normal(size=150)
    model = fastnn.TabularRegressor("plain", **QUICK).fit(X, y)
    assert 0.0 < model.linear_share_ <= 0.5
    bag = model._bag
    own, linear = (np.stack([each.network.predict(model._encoded(X)) for each in b.models]) for b in (bag, bag.linear))
    mixed = (1.0 - bag.share) * own.astype(float) + bag.share * linear.astype(float)
    wanted = np.clip(mixed.mean(axis=0)[:, 0] * model._scale + model._center, y.min(), y.max())
    np.testing.assert_allclose(model.predict(X), wanted, rtol=1e-5)
    of_linear = bag.linear.out_of_fold[:, 0]
    of_networks = (bag.out_of_fold[:, 0] - bag.share * of_linear) / (1.0 - bag.share)
    shares = np.arange(6) / 10.0
    scaled = (y - y.mean()) / y.std()
    errors = [np.mean(((1.0 - s) * of_networks + s * of_linear - scaled) ** 2) for s in shares]
    assert shares[np.argmin(errors)] == pytest.approx(bag.share)
    many = fastnn.TabularRegressor("plain", n_bags=1, random_state=0).fit(np.tile(X, (7, 1)), np.tile(y, 7))
    assert many.linear_share_ == 0.0


@pytest.mark.parametrize(
    ("recipe", "n", "n_bags", "taking"),
    [
        ("realmlp", 120, 2, [False, False, True, True]),
        ("realmlp", 120, 1, [False]),
        ("realmlp", 500, 2, [False, False]),
        ("plain", 120, 2, [False] * 4),
    ],
)
def test_of_few_rows_half_of_the_networks_and_the_linear_models_take_quantiles(recipe, n, n_bags, taking):
    X = np.random.default_rng(8).lognormal(size=(n, 2))
    table = np.column_stack([X.astype(object), np.where(X[:, 0] > X[:, 1], "yes", "no")])
    model = fastnn.TabularRegressor(recipe, n_bags=n_bags, random_state=0).fit(table, np.log(X).sum(axis=1))
    encoded = model._encoded(table)
    has_quantiles = recipe == "realmlp" and n < 500
    assert encoded.shape == (n, 5 if has_quantiles else 3)
    if has_quantiles:
        quantiles = QuantileTransform(seed=model._encoder.seed)
        quantiles.adapt(X)
        np.testing.assert_array_equal(encoded[:, 2:4], quantiles.compute(X).astype(np.float32))
    others = encoded.copy()
    others[:, 2:-1] += 1.0

    def takes(network):
        return bool((network.network.predict(encoded) != network.network.predict(others)).any())

    assert [takes(each) for each in model.models_] == taking
    if model._bag.linear is not None:
        assert [takes(each) for each in model._bag.linear.models] == [has_quantiles] * len(taking)


def test_classifiers_with_more_rows_are_averaged_with_linear_models_at_their_best_temperature():
    random = np.random.default_rng(7)
    X = random.normal(size=(1050, 12))
    y = X @ np.linspace(0.2, 1.0, 12) + random.logistic(size=1050) > 0.0
    model = fastnn.TabularClassifier("realmlp", **QUICK).fit(X, y)
    bag = model._bag
    assert 0.0 < model.linear_share_ == bag.share
    of_linear = bag.linear.out_of_fold[:, 0]
    of_networks = (bag.out_of_fold[:, 0] - bag.share * of_linear) / (1.0 - bag.share)
    losses = []
    for share in np.arange(6) / 10.0:
        p = (1.0 - share) * of_networks + share * of_linear
        both = np.column_stack([1.0 - p, p])
        losses.append(-np.log(least_loss(y.astype(int), both).apply(both)[np.arange(1050), y.astype(int)]).mean())
    assert np.argmin(losses) == round(10.0 * bag.share)
    limited = fastnn.TabularClassifier("plain", time_limit=600.0, **QUICK).fit(X, y)
    assert limited.linear_share_ == 0.0


@pytest.mark.parametrize(("best", "trained"), [(0, 42), (5, 57), (60, 100)])
def test_realmlp_ends_40_and_twice_the_best_epoch_after_it(best, trained, monkeypatch):
    from fastnn.tabular import training

    monkeypatch.setattr("fastnn.tabular.estimators._EPOCHS", 100)
    seen, outputs_of = [], training.outputs_of
    monkeypatch.setattr(training, "outputs_of", lambda *given: seen.append(None) or outputs_of(*given))
    monkeypatch.setattr("fastnn.tabular.estimators.score_of", lambda *given: lambda *rows: abs(len(seen) - 1.0 - best))
    random = np.random.default_rng(2)
    X, y = random.normal(size=(1000, 2)), random.normal(size=1000)
    model = fastnn.TabularRegressor(n_bags=1, random_state=0, n_threads=1).fit(X, y)
    assert model.best_epochs_ == [best + 1]
    assert (len(seen), model.n_epochs_) == (trained, 100)


def test_categories_with_numbers_in_their_names_have_an_order():
    from fastnn.tabular.columns import places_by_number

    assert places_by_number(["A11", "A12", "A13"]) == [0.0, 1.0, 2.0]
    assert places_by_number(["10 to 20", "5 to 10", "20 to 200"]) == [1.0, 0.0, 2.0]
    assert places_by_number(["007", "70", "8"]) == [0.0, 2.0, 1.0]
    assert places_by_number(["A" + digit * 5000 for digit in "231"]) == [1.0, 2.0, 0.0]
    for others in (["a", "b", "c"], ["x1", "y2", "z3"], [1, 2, 3], ["A1", "A2"], ["1a", "2", "3"]):
        assert places_by_number(others) == []
    pandas = pytest.importorskip("pandas")
    grade = RNG.integers(1, 6, N)
    table = pandas.DataFrame({"grade": [f"g{i}" for i in grade], "size": SIZE})
    model = fastnn.TabularRegressor("plain", **QUICK).fit(table, grade + SIZE)
    numbers, others, _ = model._encoder.parts(table)
    np.testing.assert_array_equal(numbers[:, 1], grade - 1.0)
    assert others.shape[1] == 5
    assert model._encoder.parts(table.assign(grade="other"))[0][0, 1] == 2.0


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["TabularClassifier", "TabularRegressor"])
def test_check_estimator_of_the_default_recipe(name, monkeypatch):
    from sklearn.utils.estimator_checks import check_estimator

    monkeypatch.setattr("fastnn.tabular.estimators._EPOCHS", 12)
    results = check_estimator(getattr(fastnn, name)(n_bags=2, random_state=0), on_fail=None, on_skip=None)
    failed = {result["check_name"]: result["exception"] for result in results if result["status"] == "failed"}
    assert failed == {}
