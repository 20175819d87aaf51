"""The data sets: exact counts, rows checked by hand against the sources, and the simulated submarine's physics."""

import copy
import doctest
import importlib.resources
import pickle
import sys

import numpy as np
import pytest

from fastnn import datasets
from fastnn.datasets import dataset, lecture, seismology


def test_ground_motion_counts():
    records = datasets.load_ground_motion()
    assert len(records) == 182
    assert records.data.shape == (182, 2)
    assert records.target.shape == (182,)
    assert set(records["event"]) == set(range(1, 24))
    assert np.count_nonzero(records["station"] == "") == 16
    assert np.isfinite(records.data).all()
    assert (records.target > 0).all()


@pytest.mark.parametrize(
    ("row", "event", "magnitude", "station", "distance_km", "acceleration_g"),
    [
        (0, 1, 7.0, "117", 12.0, 0.359),
        (78, 16, 5.1, "", 7.6, 0.28),
        (99, 19, 6.5, "5054", 2.6, 0.81),
        (169, 23, 5.3, "c168", 25.3, 0.23),
        (181, 23, 5.3, "5072", 53.1, 0.022),
    ],
)
def test_ground_motion_rows(row, event, magnitude, station, distance_km, acceleration_g):
    records = datasets.load_ground_motion()
    assert records["event"][row] == event
    assert records["station"][row] == station
    assert records.data[row].tolist() == [magnitude, distance_km]
    assert records.target[row] == acceleration_g


def test_ground_motion_has_one_magnitude_per_event():
    records = datasets.load_ground_motion()
    for event in range(1, 24):
        assert len(set(records["magnitude"][records["event"] == event])) == 1


def test_earthquakes_counts():
    events = datasets.load_earthquakes()
    assert len(events) == 596
    assert events.data.shape == (596, 3)
    assert events["time"].dtype == np.dtype("datetime64[ms]")
    assert (np.diff(events["time"]) > np.timedelta64(0, "ms")).all()
    assert events["time"][0] == np.datetime64("2024-04-01T10:26:27.337")
    assert events["time"][-1] == np.datetime64("2024-07-31T16:55:52.325")


@pytest.mark.parametrize(
    ("row", "latitude", "longitude", "depth_km", "magnitude", "place"),
    [
        (0, -5.7711, 112.6357, 11.954, 4.1, "125 km NNE of Paciran, Indonesia"),
        (2, 0.9656, 124.181, 141.14, 4.4, "63 km NNW of Modisi, Indonesia"),
        (595, -7.2402, 129.1957, 150.297, 4.4, "280 km ENE of Lospalos, Timor Leste"),
    ],
)
def test_earthquakes_rows(row, latitude, longitude, depth_km, magnitude, place):
    events = datasets.load_earthquakes()
    assert events.data[row].tolist() == [latitude, longitude, magnitude]
    assert events.target[row] == depth_km
    assert events["place"][row] == place


def test_source_and_license_are_next_to_the_files():
    folder = importlib.resources.files("fastnn.datasets") / "data"
    text = (folder / "SOURCES.md").read_text(encoding="utf-8")
    tables = [entry.name for entry in folder.iterdir() if entry.name.endswith(".csv")]
    assert sorted(tables) == ["earthquakes.csv", "ground_motion.csv"]
    for name in tables:
        section = text.split(f"## {name}")[1].split("\n## ")[0]
        assert "License: a work of the United States government, in the public domain" in section


def test_depth_equals_the_published_check_value():
    # Fofonoff and Millard (1983): 10000 dbar at 30 degrees is 9712.653 m.
    depth = lecture.depth_from_pressure(np.array([10000.0]), np.array([30.0]))
    assert depth[0] == pytest.approx(9712.653, abs=5e-4)


def test_submarine_is_determined_by_its_seed():
    first, again, other = (datasets.load_submarine(n=50, seed=seed) for seed in (3, 3, 4))
    assert first.data.tobytes() == again.data.tobytes()
    assert first.target.tobytes() == again.target.tobytes()
    assert not np.any(first.data == other.data)


def test_submarine_measures_physical_values():
    voyage = datasets.load_submarine(n=2000, seed=0)
    assert voyage.data.shape == (2000, 5)
    assert voyage.target.shape == (2000, 3)
    lowest, highest = voyage.data.min(axis=0), voyage.data.max(axis=0)
    #                        temperature, pressure, pH, salinity, light
    assert (lowest > [0.0, 0.0, 7.8, 34.0, 0.0]).all()
    assert (highest < [28.0, 202.0, 8.2, 38.0, 1361.0]).all()
    latitude, longitude, depth = voyage.target.T
    assert latitude.min() >= 10 and latitude.max() <= 45
    assert longitude.min() >= -60 and longitude.max() <= -10
    assert depth.min() > 0.9 and depth.max() < 200


def test_submarine_light_and_temperature_by_hand():
    voyage = datasets.load_submarine(n=500, seed=2)
    latitude, longitude, depth = voyage.target.T
    sine = np.cos(np.deg2rad(latitude)) * np.cos(np.deg2rad(longitude))
    light = 1020.75 * sine * np.exp(-depth / 25)
    np.testing.assert_allclose(voyage["light"], light, rtol=0.06)
    temperature = 2 + (27 * np.cos(np.deg2rad(1.5 * latitude)) ** 2 - 2) * np.exp(-depth / 1000)
    np.testing.assert_allclose(voyage["temperature"], temperature, rtol=0, atol=0.12)
    assert np.std(voyage["temperature"] - temperature) == pytest.approx(0.02, rel=0.15)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"n": 0}, "n must be at least 1, got 0"), ({"seed": -1}, "seed must be at least 0, got -1")],
)
def test_submarine_rejects(arguments, message):
    with pytest.raises(ValueError, match=message):
        datasets.load_submarine(**arguments)


def test_submarine_rejects_a_fraction_of_a_row():
    with pytest.raises(TypeError):
        datasets.load_submarine(n=1.5)


def test_cats_and_dogs():
    y_true, y_pred = datasets.cats_and_dogs()
    assert [np.sum(y_true == 0), np.sum(y_true == 1)] == [998, 2]
    assert [np.sum(y_pred == 0), np.sum(y_pred == 1)] == [999, 1]
    true_positives = np.sum((y_true == 1) & (y_pred == 1))
    assert np.mean(y_true == y_pred) == 0.999
    assert true_positives / np.sum(y_pred == 1) == 1.0
    assert true_positives / np.sum(y_true == 1) == 0.5


LOADERS = [datasets.load_ground_motion, datasets.load_earthquakes, datasets.load_submarine]


def test_a_data_set_is_a_dictionary_of_its_columns():
    records = datasets.load_ground_motion()
    names = ["event", "magnitude", "station", "distance_km", "acceleration_g"]
    assert list(records.keys()) == list(records) == list(records.columns) == names
    assert "event" in records and "data" not in records and records.get("data") is None
    assert len(records) == 182 and all(len(column) == 182 for column in records.values())
    assert {records: 1}[records] == 1 and records != datasets.load_ground_motion()
    again = pickle.loads(pickle.dumps(records))
    assert list(again) == names and again.data.tobytes() == records.data.tobytes() and repr(again) == repr(records)
    assert list(copy.deepcopy(records)) == names


@pytest.mark.parametrize("load", LOADERS)
def test_inputs_and_targets_alone(load):
    X, y = load(return_X_y=True)
    whole = load()
    assert X.tobytes() == whole.data.tobytes() and y.tobytes() == whole.target.tobytes() and whole.frame is None


@pytest.mark.parametrize("load", LOADERS)
def test_frames(load):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    whole = load()
    for frame in (whole.to_frame(), pandas.DataFrame(whole)):
        assert list(frame.columns) == list(whole.keys()) and len(frame) == len(whole)
        for name, column in whole.items():
            assert frame[name].tolist() == pandas.Series(column).tolist()
            assert frame[name].dtype == pandas.Series(column).dtype
    framed = load(as_frame=True)
    assert list(framed.data.columns) == list(whole.feature_names)
    assert framed.data.to_numpy().tobytes() == whole.data.tobytes()
    assert framed.target.to_numpy().tobytes() == whole.target.tobytes()
    assert list(framed.frame.columns) == [*whole.feature_names, *whole.target_names]
    X, y = load(as_frame=True, return_X_y=True)
    assert X.equals(framed.data) and y.equals(framed.target) and X.index.equals(y.index)
    if len(whole.target_names) == 1:
        assert isinstance(y, pandas.Series) and y.name == whole.target_names[0]
    else:
        assert list(y.columns) == list(whole.target_names)


def test_frames_need_pandas(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    for ask in (datasets.load_submarine().to_frame, lambda: datasets.load_earthquakes(as_frame=True)):
        with pytest.raises(ImportError, match="pip install pandas"):
            ask()


@pytest.mark.parametrize("argument", ["return_X_y", "as_frame"])
@pytest.mark.parametrize("load", LOADERS)
def test_loaders_refuse_what_is_not_a_flag(load, argument):
    with pytest.raises(ValueError, match=f"{argument} must be True or False, got 'yes'"):
        load(**{argument: "yes"})


def test_ground_motion_names_its_places():
    records = datasets.load_ground_motion()
    assert "western North America" in records.description and "Managua" in records.description
    largest = {event: records["magnitude"][records["event"] == event][0] for event in (11, 12, 17)}
    assert largest == {11: 7.7, 12: 6.2, 17: 7.6}


def test_unknown_column_lists_the_known_ones():
    with pytest.raises(KeyError, match=r"'depth'.*event, magnitude, station, distance_km, acceleration_g"):
        datasets.load_ground_motion()["depth"]


@pytest.mark.parametrize("module", [dataset, lecture, seismology])
def test_examples_in_docstrings(module):
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0
