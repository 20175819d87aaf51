"""Metrics given to compile: values by hand, values of scikit-learn, and what users may pass."""

import numpy as np
import pytest

import fastnn
from fastnn import layers, metrics
from fastnn.training.metrics import compile_metrics

RNG = np.random.default_rng(0)
WEIGHT = RNG.uniform(0.5, 2.0, 200)
BINARY = (RNG.random((200, 1)) > 0.4).astype(np.float64)
SCORE = np.round(np.clip(BINARY * 0.3 + RNG.random((200, 1)) * 0.7, 0.0, 1.0), 2)
LABELS = RNG.integers(0, 4, 200)
PROBABILITIES = RNG.dirichlet(np.ones(4), 200) * 0.5 + 0.5 * np.eye(4)[np.where(RNG.random(200) < 0.6, LABELS, 0)]
NUMBERS, GUESSES = RNG.normal(size=(200, 2)), RNG.normal(size=(200, 2))


def value(name, y_true, y_pred, weight=None):
    metric = compile_metrics(None, [name])[0] if weight is not None else compile_metrics([name])[0]
    return metric(y_true, y_pred, weight)


def test_worked_example():
    # 998 dogs and 2 cats, one of which is called a dog: accuracy 99.9 %, precision 100 %, recall 50 %.
    cats = np.zeros((1000, 1))
    cats[:2] = 1.0
    called = np.zeros((1000, 1))
    called[0] = 0.9
    assert value("accuracy", cats, called) == pytest.approx(0.999)
    assert value("precision", cats, called) == 1.0
    assert value("recall", cats, called) == 0.5
    assert value("f1_score", cats, called) == pytest.approx(2 / 3, rel=1e-6)
    assert value("iou", cats, called) == pytest.approx(0.5)
    assert value("auc", cats, called) == pytest.approx((998 + 998 / 2) / (2 * 998))


def test_accuracy_is_resolved_by_shapes():
    assert value("accuracy", np.array([[1.0], [0.0]]), np.array([[0.6], [0.7]])) == 0.5
    assert value("accuracy", np.array([1, 0, 2]), np.eye(3)[[1, 0, 0]]) == pytest.approx(2 / 3)
    assert value("accuracy", np.eye(3)[[1, 0, 2]], np.eye(3)[[1, 0, 0]]) == pytest.approx(2 / 3)
    assert value("binary_accuracy", np.array([[1.0, 0.0]]), np.array([[0.9, 0.9]])) == 0.5


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_equal_to_scikit_learn(weight):
    metrics = pytest.importorskip("sklearn.metrics")
    called, truth, best = SCORE[:, 0] > 0.5, BINARY[:, 0] > 0.5, PROBABILITIES.argmax(axis=1)
    for name, expected in {
        "accuracy": metrics.accuracy_score(truth, called, sample_weight=weight),
        "precision": metrics.precision_score(truth, called, sample_weight=weight),
        "recall": metrics.recall_score(truth, called, sample_weight=weight),
        "f1_score": metrics.f1_score(truth, called, sample_weight=weight),
        "iou": metrics.jaccard_score(truth, called, sample_weight=weight),
        "auc": metrics.roc_auc_score(truth, SCORE[:, 0], sample_weight=weight),
    }.items():
        # Keras's F score and intersection over union have 1e-7 in their denominators.
        assert value(name, BINARY, SCORE, weight) == pytest.approx(expected, rel=1e-6), name
    for name, expected in {
        "accuracy": metrics.accuracy_score(LABELS, best, sample_weight=weight),
        "f1_score": metrics.f1_score(LABELS, best, average=None, sample_weight=weight),
        "iou": metrics.jaccard_score(LABELS, best, average="macro", sample_weight=weight),
    }.items():
        assert value(name, LABELS, PROBABILITIES, weight) == pytest.approx(expected, rel=1e-6), name
        assert value(name, np.eye(4)[LABELS], PROBABILITIES, weight) == pytest.approx(expected, rel=1e-6), name
    # Over all entries, at 200 thresholds.
    expected = metrics.roc_auc_score(
        np.eye(4)[LABELS].ravel(),
        PROBABILITIES.ravel(),
        sample_weight=None if weight is None else np.repeat(weight, 4),
    )
    assert value("auc", LABELS, PROBABILITIES, weight) == pytest.approx(expected, abs=2e-3)
    assert value("auc", np.eye(4)[LABELS], PROBABILITIES, weight) == pytest.approx(expected, abs=2e-3)
    for name, expected in {
        "mae": metrics.mean_absolute_error(NUMBERS, GUESSES, sample_weight=weight),
        "mse": metrics.mean_squared_error(NUMBERS, GUESSES, sample_weight=weight),
    }.items():
        assert value(name, NUMBERS, GUESSES, weight) == pytest.approx(expected, rel=1e-12), name
    assert value("rmse", NUMBERS, GUESSES, weight) == pytest.approx(
        np.sqrt(metrics.mean_squared_error(NUMBERS, GUESSES, sample_weight=weight)), rel=1e-12
    )


def test_a_single_class_has_a_defined_result():
    ones, scores = np.ones((3, 1)), np.array([[0.1], [0.6], [0.9]])
    assert value("auc", ones, scores) == 0.0
    assert value("precision", ones, np.zeros((3, 1))) == 0.0
    assert value("recall", 0.0 * ones, scores) == 0.0


def test_functions_and_objects():
    def worst(y_true, y_pred):
        return np.max(np.abs(y_true - y_pred))

    class Count:
        name = "rows"

        def reset_state(self):
            self.rows = 0

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.rows += len(y_true)

        def result(self):
            return self.rows

    X, y = RNG.normal(size=(50, 3)), RNG.normal(size=50)
    model = fastnn.Sequential([layers.Dense(1)], seed=0)
    model.compile("sgd", "mse", metrics=[worst, Count(), lambda y_true, y_pred: np.square(y_true - y_pred), "mse"])
    history = model.fit(X, y, epochs=2, validation_split=0.2, verbose=0).history
    assert history["rows"] == [40.0, 40.0] and history["val_rows"] == [10.0, 10.0]
    assert history["<lambda>"] == pytest.approx(history["mse"], rel=1e-6)
    expected = np.abs(y[40:, None] - model.predict(X[40:])).max()
    assert history["val_worst"][-1] == pytest.approx(expected, rel=1e-6)


def test_weighted_metrics():
    X, y, weight = RNG.normal(size=(30, 3)), RNG.normal(size=30), RNG.uniform(0.5, 2.0, 30)
    model = fastnn.Sequential([layers.Dense(1)], seed=0)
    model.compile("sgd", "mse", metrics=["mae"], weighted_metrics=["mse"])
    results = model.evaluate(X, y, sample_weight=weight, verbose=0, return_dict=True)
    error = y - model.predict(X)[:, 0]
    assert results["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-5)
    assert results["mse"] == pytest.approx(np.average(error**2, weights=weight), rel=1e-5)
    # The loss is divided by the number of rows, not by the sum of the weights.
    assert results["loss"] == pytest.approx(np.mean(weight * error**2), rel=1e-5)


def test_bad_metrics():
    for wrong in (["mae", "mae"], ["loss_"], "maee"):
        with pytest.raises(ValueError):
            compile_metrics(wrong)
    with pytest.raises(TypeError, match="a metric must be a name, a function"):
        compile_metrics([3])
    assert [metric.name for metric in compile_metrics("acc")] == ["acc"]


def test_metrics_compare_targets_with_the_means_of_normal_distributions():
    model = fastnn.Sequential([layers.Dense(4)], seed=0)
    model.compile("sgd", fastnn.losses.GaussianNLL(), metrics=["mae"])
    X, y = RNG.normal(size=(40, 3)), RNG.normal(size=(40, 2))
    model.build((None, 3))
    expected = np.abs(y - model.predict(X, verbose=0)[:, :2]).mean()
    assert model.evaluate(X, y, verbose=0, return_dict=True)["mae"] == pytest.approx(expected, rel=1e-5)
    assert model.train_on_batch(X, y, return_dict=True)["mae"] == pytest.approx(expected, rel=1e-5)


def test_mean_and_sum_of_values_are_not_metrics_of_predictions():
    for name in ("mean", "Mean", "sum", "Sum"):
        with pytest.raises(ValueError, match=f"^unknown metric {name!r}") as raised:
            compile_metrics([name])
        known = str(raised.value).split("Known: ")[1].split(", ")
        assert "mean_squared_error" in known and not {"mean", "sum"} & set(known)

    class OwnMean(metrics.Mean):
        def update_state(self, y_true, y_pred, sample_weight=None):
            super().update_state(np.abs(y_true - y_pred), sample_weight)

    for metric in (metrics.Mean, metrics.Mean("mae"), metrics.Sum()):
        with pytest.raises(TypeError, match=r"^a metric compares y_true and y_pred, but .* takes values: give"):
            compile_metrics([metric])
    assert compile_metrics([OwnMean()])[0](NUMBERS, GUESSES) == pytest.approx(np.abs(NUMBERS - GUESSES).mean())


def broken(y_true, y_pred):
    return {}[len(y_true)]


def full(y_true, y_pred):
    raise MemoryError


def wordy(y_true, y_pred):
    return "good"


@pytest.mark.parametrize(
    ("metric", "kind", "message"),
    [
        (broken, KeyError, r"metric 'broken' failed with y_true of shape \(8, 2\) and y_pred of shape \(8, 2\)$"),
        (full, MemoryError, "metric 'full' failed with y_true of shape"),
        (wordy, TypeError, "metric 'wordy' failed with y_true of shape"),
        (
            "sparse_categorical_accuracy",
            ValueError,
            "metric 'sparse_categorical_accuracy' failed with .*: ValueError: ",
        ),
    ],
)
def test_an_error_within_a_metric_names_it(metric, kind, message):
    model = fastnn.Sequential([fastnn.Input((3,)), layers.Dense(2)], seed=0)
    model.compile("sgd", "mse", metrics=["mae", metric])
    X = np.zeros((8, 3))
    for method in (model.fit, model.evaluate):
        with pytest.raises(kind, match=message) as raised:
            method(X, X[:, :2], verbose=0)
        assert (raised.value.__cause__ is None) == hasattr(raised.value, "__notes__")


class OwnError(metrics.Metric):
    """Mean absolute error in NumPy, without weights."""

    def __init__(self, name="own"):
        super().__init__(name=name)
        self.reset_state()

    def update_state(self, y_true, y_pred):
        self.total += np.abs(y_true - y_pred).sum()
        self.count += y_true.size

    def result(self):
        return self.total / self.count

    def reset_state(self):
        self.total, self.count = 0.0, 0


class WeightedHits(metrics.Metric):
    """Weight of the rows above 0.5, with Keras's variables and operators."""

    def __init__(self, name="hits", **options):
        super().__init__(name=name, **options)
        self.hits = self.add_weight(name="hits", initializer="zeros", dtype=self.dtype)
        self.rows = self.add_variable(shape=(2,), initializer="zeros", aggregation="sum")

    def update_state(self, y_true, y_pred, sample_weight=None):
        hits = np.ravel(y_pred > 0.5).astype(self.dtype)
        self.hits.assign(self.hits + np.sum(hits if sample_weight is None else hits * sample_weight))
        self.rows += len(y_true)

    def result(self):
        return 1.0 - (len(self.rows.shape) - self.hits / self.rows[0]) if self.rows[0] > 0 else 0.0


def test_own_metric_classes_in_compile():
    X = np.linspace(-1.0, 1.0, 40).reshape(-1, 1)
    weight = np.arange(40.0)
    model = fastnn.Sequential([layers.Dense(1)], seed=0)
    model.compile("sgd", "mse", metrics=[OwnError(), WeightedHits], weighted_metrics=[WeightedHits("weighted")])
    history = model.fit(X, X, epochs=2, validation_data=(X, X, weight), sample_weight=weight, verbose=0).history
    p = model.predict(X, verbose=0)
    assert history["val_own"][-1] == pytest.approx(np.abs(X - p).mean(), rel=1e-6)
    assert history["val_hits"][-1] == pytest.approx(np.mean(p > 0.5))
    assert history["val_weighted"][-1] == pytest.approx(np.sum((p[:, 0] > 0.5) * weight) / 40)
    assert len(history["own"]) == len(history["hits"]) == len(history["weighted"]) == 2
    assert model.evaluate(X, X, verbose=0, return_dict=True)["own"] == pytest.approx(np.abs(X - p).mean(), rel=1e-6)


class DictionaryError(OwnError):
    """A dict of results: the mean error under the metric's own name, the largest error, and a dict within."""

    def __init__(self, name="own", largest="largest"):
        super().__init__(name)
        self.largest_name = largest

    def update_state(self, y_true, y_pred):
        super().update_state(y_true, y_pred)
        self.largest = max(self.largest, np.abs(y_true - y_pred).max())

    def result(self):
        return {"own": super().result(), self.largest_name: self.largest, "more": {"columns": np.array([1.0, 2.0])}}

    def reset_state(self):
        super().reset_state()
        self.largest = 0.0


def test_a_dict_of_results_is_spread_into_the_logs():
    X = np.linspace(-1.0, 1.0, 40).reshape(-1, 1)
    model = fastnn.Sequential([layers.Dense(1)], seed=0)
    model.compile("sgd", "mse", metrics=[DictionaryError(), "mae"])
    batches = []
    watch = [
        fastnn.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: batches.append(dict(logs))),
        fastnn.callbacks.EarlyStopping("val_largest", mode="min"),
    ]
    history = model.fit(X, X, epochs=2, validation_data=(X, X), verbose=0, callbacks=watch).history
    names = ["loss", "mae", "columns", "largest", "own"]
    assert list(history) == [*names, *(f"val_{name}" for name in names)]
    assert list(batches[-1]) == names and batches[-1]["columns"].tolist() == [1.0, 2.0]
    error = np.abs(X - model.predict(X))
    results = model.evaluate(X, X, verbose=0, return_dict=True)
    assert list(results) == names and results["mae"] == pytest.approx(error.mean())
    assert results["own"] == pytest.approx(error.mean()) and results["largest"] == pytest.approx(error.max())
    values = model.evaluate(X, X, verbose=0)
    assert values[1] == results["mae"] and values[3:] == [results["largest"], results["own"]]
    assert list(model.train_on_batch(X, X, return_dict=True)) == names


@pytest.mark.parametrize("taken", ["loss", "mae"])
def test_a_dict_of_results_with_a_name_that_is_taken_is_refused(taken):
    model = fastnn.Sequential([layers.Dense(1)], seed=0)
    model.compile("sgd", "mse", metrics=[DictionaryError(largest=taken), "mae"])
    with pytest.raises(ValueError, match=f"metric 'own' has a result of the name '{taken}', which is taken"):
        model.fit(np.ones((4, 1)), np.ones(4), verbose=0)


class Forgetful(WeightedHits):
    def __init__(self):
        self.hits = 0.0


class Unfinished(metrics.Metric):
    def update_state(self, y_true, y_pred):
        pass


class WordyError(OwnError):
    def result(self):
        return {"own": 1.0, "unit": "K"}


def test_own_metric_classes_that_cannot_work():
    for metric, message in (
        (Forgetful(), r"a Forgetful has no name: call super\(\).__init__"),
        (Unfinished(), "the metric class Unfinished must define result"),
        (metrics.Metric(), "the metric class Metric must define update_state"),
    ):
        with pytest.raises(TypeError, match=message):
            compile_metrics([metric])
    with pytest.raises(
        TypeError, match=r"'own' failed .* must return a number, an array of numbers or a dict of these, got 'K'"
    ):
        compile_metrics([WordyError()])[0](NUMBERS, GUESSES)
    with pytest.raises(TypeError, match=r"the first argument is the shape .*; pass name='total'"):
        OwnError().add_weight("total")
    with pytest.raises(
        ValueError, match=r"dtype must be the name of a number type.*; pass a metric's name as name='own'"
    ):
        metrics.Metric("own")


def test_variables_of_metrics():
    metric = metrics.Metric(name="m")
    count = metric.add_variable((2,), name="count")
    count.assign([1, 2])
    count.assign_add(1)
    count.assign_sub([0, 1])
    np.testing.assert_array_equal(count, [2, 2])
    same = count
    count += 1
    assert count is same and count.shape == (2,) and count.dtype == np.float64
    np.testing.assert_array_equal(1 - count / 2 + (-count) ** 2, [8.5, 8.5])
    assert np.sum(count) == 6 and (count > 2).all() and count[0] == 3
    metric.reset_state()
    assert not count.numpy().any()
    flag = metric.add_weight()
    assert not flag and int(flag) == 0 and float(flag + 2) == 2.0


def test_a_metric_with_and_without_weights_has_two_names():
    X, y = np.zeros((2, 1), "float32"), np.array([[1.0], [3.0]], "float32")
    model = fastnn.Sequential([fastnn.Input((1,)), layers.Dense(1, use_bias=False)])
    model.compile("sgd", "mse", metrics=["mae"], weighted_metrics=["mae"])
    found = model.evaluate(X, y, sample_weight=np.array([3.0, 1.0]), verbose=0, return_dict=True)
    assert found == {"loss": 6.0, "mae": 2.0, "weighted_mae": 1.5}


@pytest.mark.parametrize("result", [None, "good"])
def test_a_metric_function_returns_numbers(result):
    X, y = np.zeros((2, 1), "float32"), np.zeros((2, 1), "float32")
    model = fastnn.Sequential([fastnn.Input((1,)), layers.Dense(1)])

    def quality(y_true, y_pred):
        return result

    model.compile("sgd", "mse", metrics=[quality])
    with pytest.raises(TypeError, match=f"metric 'quality' failed .* must return a number or .*, got {result!r}"):
        model.evaluate(X, y, verbose=0)
