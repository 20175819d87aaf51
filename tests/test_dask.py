"""Dask: lazy predictions and scores, and searches on a cluster."""

import warnings

import numpy as np
import pytest

dask = pytest.importorskip("dask")
array = pytest.importorskip("dask.array")
frame = pytest.importorskip("dask.dataframe")
distributed = pytest.importorskip("distributed")
joblib = pytest.importorskip("joblib")
pd = pytest.importorskip("pandas")
pytest.importorskip("sklearn")

import fastnn  # noqa: E402
from fastnn import _dask, layers  # noqa: E402

ROWS, COLUMNS = 300, 4


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(ROWS, COLUMNS)).astype("f4")
    return X, X[:, 0] - X[:, 1] ** 2, rng.random(ROWS)


@pytest.fixture(scope="module")
def classifier(data):
    X, y, _ = data
    return fastnn.MLPClassifier(hidden_layer_sizes=(8,), max_iter=5, random_state=0).fit(X, np.digitize(y, [-1, 0]))


@pytest.fixture(scope="module")
def regressor(data):
    X, y, _ = data
    return fastnn.MLPRegressor(hidden_layer_sizes=(8,), max_iter=5, random_state=0).fit(X, y)


@pytest.fixture(scope="module")
def model():
    made = fastnn.Sequential([fastnn.Input((COLUMNS,)), layers.Dense(8, activation="tanh"), layers.Dense(3)], seed=1)
    made.compile("adam", "mse")
    return made


@pytest.fixture
def counted(monkeypatch):
    """The numbers of rows of the parts that were predicted so far."""
    rows = []
    original = _dask._predict_part

    def predict_part(part, *arguments, **options):
        rows.append(len(part))
        return original(part, *arguments, **options)

    monkeypatch.setattr(_dask, "_predict_part", predict_part)
    return rows


def test_predictions_of_an_array_are_lazy_and_have_the_same_bits(data, model, classifier, regressor, counted):
    X = data[0]
    blocks = array.from_array(X, chunks=(70, 3))
    for each, name in (
        (model, "predict"),
        (classifier, "predict"),
        (classifier, "predict_proba"),
        (regressor, "predict"),
    ):
        expected = getattr(each, name)(X)
        counted.clear()
        lazy = getattr(each, name)(blocks)
        assert isinstance(lazy, array.Array) and not counted
        assert lazy.shape == expected.shape and lazy.dtype == expected.dtype
        found = lazy.compute(scheduler="synchronous")
        assert sorted(counted) == [20, 70, 70, 70, 70]
        assert np.array_equal(found, expected)
        assert np.array_equal(lazy.compute(), expected)


def test_a_task_uses_one_thread(data, model, monkeypatch):
    limits = []
    monkeypatch.setattr(_dask._core, "limit_own_threads", limits.append)
    model.predict(array.from_array(data[0], chunks=(150, -1))).compute(scheduler="synchronous")
    assert limits == [1, 0, 1, 0]


def test_predictions_of_a_frame(data, classifier):
    X, y, _ = data
    table = pd.DataFrame(X, columns=list("abcd"))
    net = fastnn.MLPRegressor(hidden_layer_sizes=(8,), max_iter=2, random_state=0).fit(table, y)
    lazy = net.predict(frame.from_pandas(table, npartitions=3))
    assert isinstance(lazy, array.Array) and lazy.dtype == net.predict(table).dtype
    assert np.array_equal(lazy.compute(), net.predict(table))
    model = fastnn.Sequential([layers.Dense(2)], seed=1)
    model.compile("sgd", "mse")
    model.fit(table, X[:, :2], verbose=0)
    assert np.array_equal(model.predict(frame.from_pandas(table, npartitions=2)).compute(), model.predict(table))
    with pytest.raises(ValueError, match=r"columns|feature names"):
        net.predict(frame.from_pandas(table[list("dcba")], npartitions=2))


def test_scores(data, classifier, regressor):
    X, y, weight = data
    labels = np.digitize(y, [-1, 0])
    blocks, weights = array.from_array(X, chunks=(70, -1)), array.from_array(weight, chunks=70)
    table = frame.from_pandas(pd.DataFrame(X), npartitions=3)
    for net, targets in ((classifier, labels), (regressor, y)):
        lazy = net.score(blocks, array.from_array(targets, chunks=70))
        assert isinstance(lazy, array.Array) and lazy.ndim == 0
        assert float(lazy) == pytest.approx(net.score(X, targets), rel=1e-6)
        weighted = net.score(blocks, array.from_array(targets, chunks=70), sample_weight=weights)
        assert float(weighted) == pytest.approx(net.score(X, targets, sample_weight=weight), rel=1e-6)
        series = frame.from_pandas(pd.Series(targets), npartitions=3)
        assert float(net.score(table, series)) == pytest.approx(net.score(X, targets), rel=1e-6)


def test_r2_of_several_outputs_and_of_constant_targets(data):
    from sklearn.metrics import r2_score

    predicted = data[0][:, :3].astype("f8")
    y = predicted + data[0][:, [3]]
    y[:, 2] = 1.0
    lazy = _dask.lazy_r2(array.from_array(predicted, chunks=(100, -1)), array.from_array(y, chunks=(100, -1)), None)
    assert float(lazy) == pytest.approx(r2_score(y, predicted), rel=1e-9)


def test_bags(data):
    X, y, _ = data
    bags = fastnn.BaggedMLPRegressor(
        fastnn.MLPRegressor(hidden_layer_sizes=(4,), max_iter=2), n_bags=2, random_state=0
    ).fit(X, y)
    blocks = array.from_array(X, chunks=(100, -1))
    assert np.array_equal(bags.predict(blocks).compute(), bags.predict(X))
    assert float(bags.score(blocks, array.from_array(y, chunks=100))) == pytest.approx(bags.score(X, y), rel=1e-6)
    with pytest.raises(TypeError, match="predict of a Dask collection must give one array, not tuple"):
        bags.predict(blocks, return_std=True)


def test_tabular_estimators_and_intervals(data):
    X, y, _ = data
    table = pd.DataFrame(X, columns=list("abcd")).assign(kind=np.where(y > 0, "high", "low"))
    parts = frame.from_pandas(table, npartitions=3)
    labels = np.digitize(y, [-1, 0])
    options = {"recipe": "plain", "n_bags": 2, "random_state": 0, "time_limit": 0.5}
    classifier = fastnn.TabularClassifier(**options).fit(table, labels)
    for method, arguments in (
        ("predict", {}),
        ("predict", {"unknown": "new"}),
        ("predict_proba", {}),
        ("decision_function", {}),
        ("known_p_values", {}),
    ):
        lazy = getattr(classifier, method)(parts, **arguments)
        assert isinstance(lazy, array.Array), method
        np.testing.assert_array_equal(lazy.compute(), getattr(classifier, method)(table, **arguments))
    lazy = classifier.score(parts, frame.from_pandas(pd.Series(labels), npartitions=3))
    assert isinstance(lazy, array.Array) and float(lazy) == pytest.approx(classifier.score(table, labels))
    regressor = fastnn.TabularRegressor(**options).fit(X, np.column_stack([y, -y]))
    bags = fastnn.BaggedMLPRegressor(fastnn.MLPRegressor(max_iter=2), n_bags=2, random_state=0).fit(X, y)
    blocks = array.from_array(X, chunks=(100, -1))
    for lazy, expected in (
        (regressor.predict(blocks), regressor.predict(X)),
        (regressor.predict_interval(blocks), regressor.predict_interval(X)),
        (bags.predict_interval(blocks), bags.predict_interval(X)),
        (bags.predict_interval(blocks[:, ::-1], coverage=0.5), bags.predict_interval(X[:, ::-1], coverage=0.5)),
    ):
        assert isinstance(lazy, array.Array) and lazy.shape == expected.shape
        np.testing.assert_array_equal(lazy.compute(), expected)
    lazy = regressor.score(blocks, array.from_array(np.column_stack([y, -y]), chunks=(100, -1)))
    assert float(lazy) == pytest.approx(regressor.score(X, np.column_stack([y, -y])), rel=1e-6)


def test_partitions_without_rows_and_targets_in_memory(data, classifier, regressor):
    X, y, _ = data
    table = pd.DataFrame(X, columns=list("abcd")).assign(row=np.arange(ROWS))
    some = frame.from_pandas(table, npartitions=3).query("row >= 150")[list("abcd")].to_dask_array()
    for net in (classifier, regressor):
        np.testing.assert_array_equal(net.predict(some).compute(), net.predict(X[150:]))
        with pytest.raises(ValueError, match="y must be a Dask series with the partitions of X, got ndarray"):
            net.score(some, y[150:])


def test_what_cannot_be_predicted(model):
    with pytest.raises(ValueError, match=r"must have two axes \(n, n_features\), got 1"):
        model.predict(array.ones(5, chunks=2))
    with pytest.raises(ValueError, match="features"):
        model.predict(array.ones((5, COLUMNS + 1), chunks=2))


def test_a_cluster(data, regressor, model):
    from sklearn.model_selection import GridSearchCV

    X, y, _ = data
    grid = {"alpha": [0.0, 0.1], "hidden_layer_sizes": [(4,), (8,)]}
    net = fastnn.MLPRegressor(max_iter=3, random_state=0)
    alone = GridSearchCV(net, grid, cv=2).fit(X, y)
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0
    )
    with cluster, distributed.Client(cluster):
        blocks = array.from_array(X, chunks=(70, -1))
        assert np.array_equal(model.predict(blocks).compute(), model.predict(X))
        assert float(regressor.score(blocks, array.from_array(y, chunks=70))) == pytest.approx(regressor.score(X, y))
        with joblib.parallel_config(backend="dask"):
            searches = [GridSearchCV(net, grid, cv=2).fit(X, y), fastnn.sweep(net, grid, X, y, cv=2)]
    for search in searches:
        assert np.array_equal(search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"])


def test_a_fit_of_a_frame_keeps_the_types_of_its_columns():
    table = pd.DataFrame({"size": np.linspace(-1.0, 1.0, 40), "kind": ["a", "b"] * 20, "flag": np.arange(40) % 3 == 0})
    y = table["size"] + (table["kind"] == "a")
    parts, targets = frame.from_pandas(table, npartitions=3), frame.from_pandas(y, npartitions=3)
    net = fastnn.MLPRegressor(hidden_layer_sizes=(4,), max_iter=5, random_state=0)
    for model in (
        net,
        fastnn.BaggedMLPRegressor(net, n_bags=2, random_state=0),
        fastnn.TabularRegressor("plain", n_bags=2, random_state=0),
    ):
        expected = model.fit(table, y).predict(table)
        model.fit(parts, targets)
        assert model.feature_names_in_.tolist() == ["size", "kind", "flag"]
        np.testing.assert_array_equal(model.predict(table), expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = model.permutation_importances(parts, targets, random_state=0)
    np.testing.assert_array_equal(found, model.permutation_importances(table, y, random_state=0))
