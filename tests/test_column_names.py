"""Names of the columns of data frames: they are those of fit, in models, their copies and their files."""

import copy
import pickle
import warnings

import numpy as np
import pytest
from mutated_files import put_together, taken_apart

import fastnn
from fastnn import ModelFormatError


def test_columns_of_a_frame_are_those_of_fit():
    pandas = pytest.importorskip("pandas")
    rows = np.linspace(-1.0, 1.0, 24).reshape(12, 2)
    frame, target = pandas.DataFrame(rows, columns=["depth", "distance"]), rows.sum(axis=1)
    swapped, renamed = frame[["distance", "depth"]], frame.rename(columns={"depth": "height"})

    def compiled():
        model = fastnn.Sequential([fastnn.layers.Dense(1)], seed=0)
        model.compile("sgd", "mse")
        return model

    model = compiled()
    model.fit(frame, target, verbose=0)
    assert model.feature_names_in_ == ["depth", "distance"]
    expected = model.predict(rows)
    np.testing.assert_array_equal(model.predict(frame), expected)
    np.testing.assert_array_equal(model(frame), expected)
    before = model.get_weights()
    for call, name in (
        (lambda x: model.predict(x), "x"),
        (lambda x: model(x), "x"),
        (lambda x: model.evaluate(x, target, verbose=0), "x"),
        (lambda x: model.fit(x, target, verbose=0), "x"),
        (lambda x: model.train_on_batch(x, target), "x"),
        (lambda x: model.gradients(x, target), "x"),
        (lambda x: model.fit(frame, target, validation_data=(x, target), verbose=0), r"validation_data\[0\]"),
    ):
        with pytest.raises(ValueError, match=rf"^the columns of {name} must be those of fit, .* the order differs"):
            call(swapped)
        with pytest.raises(ValueError, match=r"missing: \['depth'\]; not seen in fit: \['height'\]"):
            call(renamed)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    fresh = compiled()
    with pytest.raises(ValueError, match=r"^the columns of validation_data\[0\] must be those of fit"):
        fresh.fit(frame, target, validation_data=(swapped, target), verbose=0)
    assert fresh.feature_names_in_ is None and not fresh.built
    fresh.train_on_batch(swapped, target)
    assert fresh.feature_names_in_ == ["distance", "depth"]
    fresh.fit(rows, target, verbose=0)
    plain = compiled()
    plain.fit(pandas.DataFrame(rows), target, verbose=0)
    assert plain.feature_names_in_ is None
    plain.predict(frame)


@pytest.fixture
def named():
    """A model that knows the names of its columns."""
    model = fastnn.Sequential([fastnn.Input((2,)), fastnn.layers.Dense(1)], seed=0)
    model.compile("sgd", "mse")
    model.feature_names_in_ = ["depth", "größe |"]
    return model


def test_names_of_columns_are_kept_in_files_and_copies(named, tmp_path):
    pandas = pytest.importorskip("pandas")
    path = tmp_path / "m.safetensors"
    named.save(path)
    frame = pandas.DataFrame(np.eye(2), columns=named.feature_names_in_)
    for copied in (fastnn.load_model(path), copy.deepcopy(named), pickle.loads(pickle.dumps(named)), named.folded()):
        assert copied.feature_names_in_ == named.feature_names_in_
        np.testing.assert_array_equal(copied.predict(frame), named.predict(frame))
        with pytest.raises(ValueError, match="the order differs"):
            copied.predict(frame[::-1].iloc[:, ::-1])


def test_files_without_names_of_columns_are_read(named, tmp_path):
    path = tmp_path / "m.safetensors"
    named.save(path)
    header, body = taken_apart(path.read_bytes())
    del header["__metadata__"]["features"]
    path.write_bytes(put_together(header, body))
    assert fastnn.load_model(path).feature_names_in_ is None
    named.feature_names_in_ = None
    named.save(path)
    assert "features" not in taken_apart(path.read_bytes())[0]["__metadata__"]


@pytest.mark.parametrize(
    "text",
    [
        '{"names": ["a"]}',
        '{"names": ["a", "b", "c"]}',
        '{"names": ["a", 1]}',
        '{"names": "ab"}',
        '{"names": ["a", "b"], "more": 1}',
        '{"names": ["a", "\\ud800"]}',
        '["a", "b"]',
        "{}",
        "",
        '{"names": ["a", "' + "b" * (1 << 19) + '"]}',
    ],
)
def test_wrong_names_of_columns_are_refused(named, tmp_path, text):
    path = tmp_path / "m.safetensors"
    named.save(path)
    header, body = taken_apart(path.read_bytes())
    header["__metadata__"]["features"] = text
    path.write_bytes(put_together(header, body))
    with pytest.raises(ModelFormatError, match=r"names of (the|\d) columns"):
        fastnn.load_model(path)


@pytest.mark.parametrize("name", ["b" * (1 << 19), "\ud800"])
def test_names_that_no_file_holds_draw_a_warning(named, tmp_path, name):
    path = tmp_path / "m.safetensors"
    named.feature_names_in_ = ["a", name]
    with pytest.warns(UserWarning, match="feature_names_in_ is not saved"):
        named.save(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = fastnn.load_model(path)
    assert loaded.feature_names_in_ is None
    np.testing.assert_array_equal(loaded.predict(np.eye(2)), named.predict(np.eye(2)))


def two_inputs():
    place, size = fastnn.Input((2,), name="place"), fastnn.Input((1,), name="size")
    hidden = fastnn.layers.concatenate([place, size])
    model = fastnn.Model([place, size], fastnn.layers.Dense(1)(hidden), seed=0)
    model.compile("sgd", "mse")
    return model


def test_columns_of_each_input_are_those_of_fit(tmp_path):
    pandas = pytest.importorskip("pandas")
    rows = np.linspace(-1.0, 1.0, 24).reshape(12, 2)
    places, sizes = pandas.DataFrame(rows, columns=["depth", "distance"]), rows[:, :1]
    swapped, target = places[["distance", "depth"]], rows.sum(axis=1)
    model = two_inputs()
    with pytest.raises(ValueError, match=r"^the columns of validation_data\[0\]\['place'\] must be those of fit"):
        model.fit([places, sizes], target, validation_data=([swapped, sizes], target), verbose=0)
    model.fit({"place": places, "size": sizes}, target, verbose=0)
    assert model.feature_names_in_ == {"place": ["depth", "distance"]}
    expected = model.predict([rows, sizes])
    np.testing.assert_array_equal(model([places, sizes]), expected)
    model.save(tmp_path / "m.safetensors")
    for each in (model, fastnn.load_model(tmp_path / "m.safetensors"), copy.deepcopy(model), model.folded()):
        for call in (each.predict, each, lambda x, m=each: m.predict((x,) for _ in range(2))):
            with pytest.raises(ValueError, match=r"^the columns of x\['place'\] must be .* the order differs"):
                call([swapped, sizes])
    one = fastnn.Input((2,), name="place")
    single = fastnn.Model(one, fastnn.layers.Dense(1)(one), seed=0)
    single.compile("sgd", "mse")
    single.train_on_batch({"place": places}, target)
    assert single.feature_names_in_ == ["depth", "distance"]
    with pytest.raises(ValueError, match=r"^the columns of x must be those of fit"):
        single.predict({"place": swapped})


def test_columns_of_batches_are_those_of_the_first_and_of_fit():
    pandas = pytest.importorskip("pandas")
    rows = np.linspace(-1.0, 1.0, 24).reshape(12, 2)
    frame, target = pandas.DataFrame(rows, columns=["depth", "distance"]), rows.sum(axis=1)
    swapped = frame[["distance", "depth"]]
    for make in (two_columns, one_input_graph):
        model = make()
        with pytest.raises(ValueError, match=r"^the columns of x must be those of fit, .* the order differs"):
            model.fit(((x, target) for x in (frame, swapped)), verbose=0)
        model = make()
        with pytest.raises(ValueError, match=r"^the columns of validation_data must be those of fit"):
            model.fit(frame, target, validation_data=((x, target) for x in [swapped]), verbose=0)
        model.fit(((frame, target) for _ in range(2)), verbose=0)
        assert model.feature_names_in_ == ["depth", "distance"]
        for call in (
            lambda m=model: m.predict(x for x in [swapped]),
            lambda m=model: m.evaluate(((x, target) for x in [swapped]), verbose=0),
            lambda m=model: m.fit(((x, target) for x in [swapped]), verbose=0),
        ):
            with pytest.raises(ValueError, match=r"^the columns of x must be those of fit"):
                call()
        np.testing.assert_array_equal(model.predict(x for x in [frame]), model.predict(rows))


def two_columns():
    model = fastnn.Sequential([fastnn.layers.Dense(1)], seed=0)
    model.compile("sgd", "mse")
    return model


def one_input_graph():
    place = fastnn.Input((2,), name="place")
    model = fastnn.Model(place, fastnn.layers.Dense(1)(place), seed=0)
    model.compile("sgd", "mse")
    return model


def forms_of_columns(kind):
    """Return a function of (rows, names) that gives a frame, an Arrow table, or a source of one of them."""
    if kind.startswith("source of "):
        inner = forms_of_columns(kind.removeprefix("source of "))
        return lambda rows, names: fastnn.data.source(inner(rows, names), rows.sum(axis=1))
    if kind == "pandas":
        pandas = pytest.importorskip("pandas")
        return lambda rows, names: pandas.DataFrame(rows, columns=names)
    arrow = pytest.importorskip("pyarrow")
    if kind == "batch":
        return lambda rows, names: arrow.record_batch(list(rows.T), names=names)
    return lambda rows, names: arrow.table(list(rows.T), names=names)


@pytest.mark.parametrize("later", ["pandas", "arrow", "batch", "source of pandas", "source of arrow"])
@pytest.mark.parametrize("first", ["pandas", "arrow", "source of arrow"])
def test_columns_have_names_in_every_form(first, later):
    rows = np.linspace(-1.0, 1.0, 24).reshape(12, 2)
    target = rows.sum(axis=1)
    given, swapped = forms_of_columns(first)(rows, ["a", "b"]), forms_of_columns(later)(rows[:, ::-1], ["b", "a"])

    def with_targets(x):
        return (x,) if isinstance(x, fastnn.data.Source) else (x, target)

    def compiled():
        model = fastnn.Sequential([fastnn.layers.Dense(1)], seed=0)
        model.compile("sgd", "mse")
        return model

    model, message = compiled(), r"^the columns of .* must be those of fit, \['a', 'b'\], .* the order differs"
    model.fit(*with_targets(given), verbose=0)
    assert model.feature_names_in_ == ["a", "b"]
    before = model.get_weights()
    for call in (model.predict, lambda x: model.evaluate(*with_targets(x)), lambda x: model.fit(*with_targets(x))):
        with pytest.raises(ValueError, match=message):
            call(swapped)
    held_out = swapped if isinstance(swapped, fastnn.data.Source) else (swapped, target)
    fresh = compiled()
    with pytest.raises(ValueError, match=message):
        fresh.fit(*with_targets(given), validation_data=held_out, verbose=0)
    assert not fresh.built
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
