"""Sources of models with several inputs and outputs: the bits of dicts of arrays, files of each, errors."""

import numpy as np
import pytest

import fastnn
from fastnn import layers
from fastnn.data import source

N = 503
RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(N, 3)).astype(np.float32), RNG.integers(0, 4, size=(N, 1))
Y = {"c": np.stack([A[:, 0] * A[:, 1], A[:, 2]], axis=1), "d": RNG.integers(0, 3, N)}
WEIGHT = {"c": RNG.uniform(size=N), "d": RNG.uniform(size=N)}


def make_model(as_list=False, names=("a", "b"), metrics=("mae",)):
    a, b = fastnn.Input((3,), name=names[0]), fastnn.Input((1,), name=names[1], dtype="int64")
    hidden = layers.Dense(8, "tanh")(layers.Concatenate()([a, layers.Flatten()(layers.Embedding(4, 2)(b))]))
    outputs = {"c": layers.Dense(2, name="c")(hidden), "d": layers.Dense(3, "softmax", name="d")(hidden)}
    if as_list:
        model = fastnn.Model([a, b], list(outputs.values()), seed=1)
    else:
        model = fastnn.Model({"a": a, "b": b}, outputs, seed=1)
    losses = {"c": "mse", "d": "sparse_categorical_crossentropy"}
    model.compile("adam", losses, metrics={"c": list(metrics)}, weighted_metrics={"d": ["accuracy"]})
    return model


def check_same(arrays, rows, make=make_model, **options):
    """Check a fit, an evaluation and predictions of a source against those of arrays (x, y, sample_weight)."""
    x, y, weight = arrays
    a, b = make(), make()
    options = {"epochs": 3, "batch_size": 32, "verbose": 0, **options}
    first = [{name: each[:70] for name, each in data.items()} for data in arrays]
    a.fit(x, y, sample_weight=weight, validation_data=tuple(first), **options)
    b.fit(rows, validation_data=rows.rows(0, 70), **options)
    assert a.history.history == b.history.history
    for left, right in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)
    expected = a.evaluate(x, y, sample_weight=weight, verbose=0, return_dict=True)
    assert b.evaluate(rows, verbose=0, return_dict=True) == expected
    for left, right in zip(leaves(a.predict(x)), leaves(b.predict(rows)), strict=True):
        np.testing.assert_array_equal(left, right)


def leaves(found):
    return list(found.values()) if isinstance(found, dict) else found


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("n_readers", [1, 3])
def test_dicts_of_arrays(shuffle, n_readers):
    x = {"a": A, "b": B}
    rows = source(x, Y, sample_weight=WEIGHT, block_rows=50, window=11, n_readers=n_readers)
    assert repr(rows) == "<Source rows=503, columns=4, blocks=11, block_rows=50, window=11>"
    assert rows.columns == {"a": None, "b": None} and rows.dtype == {"a": A.dtype, "b": B.dtype}
    check_same((x, Y, WEIGHT), rows, shuffle=shuffle)
    check_same((x, Y, WEIGHT), rows, make=lambda: make_model(as_list=True), shuffle=shuffle)


def test_several_windows_are_reproducible():
    rows = source({"a": A, "b": B}, Y, block_rows=40, window=3)
    found = []
    for n_readers in (1, 4):
        model = make_model()
        rows.n_readers = n_readers
        model.fit(rows, epochs=2, verbose=0)
        found.append(model.get_weights())
        assert model.history.history["loss"][1] < model.history.history["loss"][0]
    assert all(np.array_equal(left, right) for left, right in zip(*found, strict=True))


def test_files_of_each_input_and_output(tmp_path):
    for name, array in {"a": A, "b": B, "c": Y["c"], "d": Y["d"]}.items():
        np.save(tmp_path / f"{name}.npy", array)
    halves = [tmp_path / "first.npy", tmp_path / "last.npy"]
    np.save(halves[0], A[:200])
    np.save(halves[1], A[200:])
    y = {name: tmp_path / f"{name}.npy" for name in "cd"}
    for a in (tmp_path / "a.npy", halves):
        rows = source({"a": a, "b": tmp_path / "b.npy"}, y, sample_weight=WEIGHT)
        check_same(({"a": A, "b": B}, Y, WEIGHT), rows)


def test_columns_of_one_table_by_input(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {"p": A[:, 0], "q": A[:, 1], "r": A[:, 2], "kind": B[:, 0], "y0": Y["c"][:, 0], "y1": Y["c"][:, 1]}
    columns |= {"label": Y["d"], "w": WEIGHT["c"], "v": WEIGHT["d"]}
    path = tmp_path / "rows.parquet"
    parquet.write_table(pyarrow.table(columns), path, row_group_size=100)
    rows = source(
        path,
        columns={"a": ["p", "q", "r"], "b": "kind"},
        target={"c": ["y0", "y1"], "d": "label"},
        sample_weight={"c": "w", "d": "v"},
    )
    assert rows.block_rows == 100 and rows.columns == {"a": ["p", "q", "r"], "b": ["kind"]}
    assert rows.targets == {"c": ["y0", "y1"], "d": ["label"]}
    check_same(({"a": A, "b": B}, Y, WEIGHT), rows)
    model = make_model()
    model.fit(rows, epochs=1, verbose=0)
    assert model.feature_names_in_ == {"a": ["p", "q", "r"], "b": ["kind"]}
    other = source(path, columns={"a": ["q", "p", "r"], "b": "kind"})
    with pytest.raises(ValueError, match=r"columns of x\['a'\] must be those of fit"):
        model.predict(other)
    everything = source(path, target={"c": ["y0", "y1"], "d": "label"}, sample_weight={"c": "w", "d": "v"})
    assert everything.columns == ["p", "q", "r", "kind"]


def test_predictions_of_several_inputs_go_to_a_file(tmp_path):
    a, b = fastnn.Input((3,), name="a"), fastnn.Input((1,), name="b")
    model = fastnn.Model([a, b], layers.Dense(1)(layers.Concatenate()([a, b])), seed=0)
    rows = source({"a": A, "b": B}, block_rows=64)
    found = model.predict(rows, out=tmp_path / "out.npy")
    np.testing.assert_array_equal(found, model.predict([A, B]))


def test_normalization_adapts_to_one_of_the_inputs():
    rows = source({"a": A, "b": B}, block_rows=503)
    expected, found = layers.Normalization(), layers.Normalization()
    expected.adapt(A)
    found.adapt(rows.inputs["a"])
    assert all(np.array_equal(*pair) for pair in zip(expected.get_weights(), found.get_weights(), strict=True))
    with pytest.raises(ValueError, match=r"source with inputs by name, 'a', 'b', but .* such as data.inputs\['a'\]"):
        found.adapt(rows)


def test_errors_name_the_input_the_file_and_the_row(tmp_path):
    bad = A.copy()
    bad[321, 1] = np.nan
    np.save(tmp_path / "bad.npy", bad)
    rows = source({"a": tmp_path / "bad.npy", "b": B}, Y, block_rows=50)
    with pytest.raises(ValueError, match=r"x\['a'\].* row 321, column 1 \(counted from 0\), in .*bad\.npy"):
        make_model().fit(rows, verbose=0)
    labels = Y["d"].copy()
    labels[77] = 9
    rows = source({"a": A, "b": B}, {**Y, "d": labels}, block_rows=50)
    with pytest.raises(ValueError, match=r"the targets of x\['d'\] has label 9 at row 77 \(counted from 0\)"):
        make_model().fit(rows, verbose=0)


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ({"a": A, "b": B[:9]}, {}, "'a' has 503, 'b' has 9"),
        ({}, {}, "x is an empty dict"),
        ({"a": source(A)}, {}, "x is or holds a source"),
        ([source(A), source(A)], {}, "x is or holds a source"),
        ({"a": A}, {"y": {"c": source(A)}}, "y is or holds a source"),
        ({"a": A}, {"target": "t"}, "x is a dict: give the targets as y"),
        ({"a": A}, {"columns": ["p"]}, "columns must be a dict with some of its names, 'a'"),
        ({"a": A}, {"columns": {"z": [0]}}, "columns must be a dict with some of its names, 'a'"),
        ({"a": A}, {"y": {"c": A[:5]}}, "x has 503 rows, but y has 5"),
        ({"a": A}, {"columns": {"a": [7]}}, r"columns\['a'\] must hold numbers of columns"),
        (A, {"columns": {"a": [0], "b": []}}, r"columns\['b'\] is empty"),
        (A, {"columns": {"a": [0], "b": {"c": [1]}}}, r"columns\['b'\]"),
        (A, {"columns": {"a": [0, 1]}, "target": {"c": 1}}, "columns and target both have 1"),
    ],
)
def test_arguments(given, options, message):
    with pytest.raises(ValueError, match=message):
        source(given, **options)


def test_refusals():
    rows = source({"a": A, "b": B}, Y)
    chain = fastnn.Sequential([layers.Dense(1)])
    chain.compile("adam", "mse")
    with pytest.raises(ValueError, match="x is a source with inputs by name, 'a', 'b', but this model takes one array"):
        chain.fit(rows, verbose=0)
    with pytest.raises(ValueError, match="x is a source with targets by name"):
        chain.fit(source(A, Y), verbose=0)
    with pytest.raises(ValueError, match="'z'"):
        make_model().fit(source({"a": A, "z": B}, Y), verbose=0)
    with pytest.raises(ValueError, match="one for each input"):
        make_model().fit(source(A, Y), verbose=0)
    with pytest.raises(ValueError, match=r"x\['a'\] is a Source where an array is taken.* one source of all of them"):
        make_model().fit({"a": source(A), "b": source(B)}, Y, verbose=0)
    pytest.importorskip("sklearn")
    with pytest.raises(ValueError, match="MLPRegressor takes one array"):
        fastnn.MLPRegressor().fit(rows)
    with pytest.raises(ValueError, match="MLPRegressor takes one array"):
        fastnn.MLPRegressor(max_iter=1).fit(A, A[:, 0]).predict(rows)
