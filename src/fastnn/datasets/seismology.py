"""Two tables of the United States Geological Survey: ground motion and located earthquakes."""

import csv
from importlib import resources
from typing import Any, Literal, overload

import numpy as np

from fastnn._arguments import takes_keywords
from fastnn.datasets.dataset import Dataset, as_asked, dataset_from_columns

__all__ = ["load_earthquakes", "load_ground_motion"]


@overload
def load_ground_motion(*, return_X_y: Literal[False] = ..., as_frame: bool = ...) -> Dataset: ...
@overload
def load_ground_motion(*, return_X_y: bool, as_frame: bool = ...) -> Any: ...
@takes_keywords
def load_ground_motion(*, return_X_y: bool = False, as_frame: bool = False) -> Any:
    """Load 182 peak accelerations of 23 earthquakes, at stations 0.5 to 370 km away.

    The earthquakes happened from 1940 to 1980 in western North America, the largest two in Alaska (Sitka 1972 and St.
    Elias 1979, events 11 and 17), and one in Managua, Nicaragua (1972, event 12). R's copy of the table calls all of
    them Californian.

    Records of one earthquake are not independent: hold out whole earthquakes (column ``event``), not single rows.

    Parameters
    ----------
    return_X_y : bool
        Whether to return ``(data, target)`` instead of a Dataset.
    as_frame : bool
        Whether ``data`` and ``target`` are a pandas DataFrame and Series instead of arrays.

    Returns
    -------
    Dataset
        ``data`` (182, 2): moment magnitude; distance in km. According to the report, it is the shortest distance from
        the station to the surface projection of the rupture (the Joyner-Boore distance); the documentation of R's copy
        of the table calls it hypocentral. ``target`` (182,): peak horizontal acceleration in g. Further columns:
        ``event`` (int64, 1 to 23) and ``station`` (text; empty for the 16 records without a station).

    References
    ----------
    W. B. Joyner, D. M. Boore and R. L. Porcella (1981), Peak horizontal acceleration and velocity from strong-motion
    records, USGS Open-File Report 81-365. Public domain; see ``data/SOURCES.md`` next to this module.

    Examples
    --------
    >>> records = load_ground_motion()
    >>> test = np.isin(records["event"], [9, 19])
    >>> int(test.sum())
    60
    """
    rows = _read_csv("ground_motion.csv")
    dataset = dataset_from_columns(
        columns={
            "event": np.array([row["event"] for row in rows], dtype=np.int64),
            "magnitude": np.array([row["magnitude"] for row in rows], dtype=np.float64),
            "station": np.array([row["station"] for row in rows], dtype=np.str_),
            "distance_km": np.array([row["distance_km"] for row in rows], dtype=np.float64),
            "acceleration_g": np.array([row["acceleration_g"] for row in rows], dtype=np.float64),
        },
        feature_names=("magnitude", "distance_km"),
        target_names=("acceleration_g",),
        units={"magnitude": "moment magnitude", "distance_km": "km", "acceleration_g": "g = 9.80665 m/s^2"},
        description=(
            "182 peak horizontal accelerations of 22 earthquakes in western North America and one in Managua, "
            "Nicaragua. Joyner, Boore and Porcella (1981), USGS Open-File Report 81-365. Public domain."
        ),
    )
    return as_asked(dataset, return_X_y, as_frame)


@overload
def load_earthquakes(*, return_X_y: Literal[False] = ..., as_frame: bool = ...) -> Dataset: ...
@overload
def load_earthquakes(*, return_X_y: bool, as_frame: bool = ...) -> Any: ...
@takes_keywords
def load_earthquakes(*, return_X_y: bool = False, as_frame: bool = False) -> Any:
    """Load the 596 earthquakes of April to July 2024 between Borneo, the Philippines and New Guinea.

    The depth of an earthquake depends on its position: the plates dive below the island arcs.

    Parameters
    ----------
    return_X_y : bool
        Whether to return ``(data, target)`` instead of a Dataset.
    as_frame : bool
        Whether ``data`` and ``target`` are a pandas DataFrame and Series instead of arrays.

    Returns
    -------
    Dataset
        ``data`` (596, 3): latitude and longitude in degrees, magnitude. ``target`` (596,): depth in km.
        Further columns: ``time`` (datetime64[ms], UTC) and ``place`` (text).

    References
    ----------
    United States Geological Survey, ANSS Comprehensive Earthquake Catalog, doi:10.5066/F7MS3QZH.
    Public domain; see ``data/SOURCES.md`` next to this module.

    Examples
    --------
    >>> events = load_earthquakes()
    >>> events["place"][events["magnitude"].argmax()]
    np.str_('106 km WSW of Sangay, Philippines')
    """
    rows = _read_csv("earthquakes.csv")
    dataset = dataset_from_columns(
        columns={
            "time": np.array([row["time"] for row in rows], dtype="datetime64[ms]"),
            "latitude": np.array([row["latitude"] for row in rows], dtype=np.float64),
            "longitude": np.array([row["longitude"] for row in rows], dtype=np.float64),
            "depth_km": np.array([row["depth_km"] for row in rows], dtype=np.float64),
            "magnitude": np.array([row["magnitude"] for row in rows], dtype=np.float64),
            "place": np.array([row["place"] for row in rows], dtype=np.str_),
        },
        feature_names=("latitude", "longitude", "magnitude"),
        target_names=("depth_km",),
        units={"time": "UTC", "latitude": "degrees north", "longitude": "degrees east", "depth_km": "km"},
        description=(
            "596 earthquakes of magnitude 4 and above, 10 S to 10 N, 110 E to 140 E, April to July 2024. "
            "USGS, ANSS Comprehensive Earthquake Catalog. Public domain."
        ),
    )
    return as_asked(dataset, return_X_y, as_frame)


def _read_csv(name: str) -> list[dict[str, str]]:
    text = (resources.files("fastnn.datasets") / "data" / name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
