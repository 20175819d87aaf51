"""The examples of an introductory lecture: a submarine that must find its position, and cats among dogs."""

import operator
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from fastnn._arguments import takes_keywords
from fastnn.datasets.dataset import Dataset, as_asked, dataset_from_columns

__all__ = ["cats_and_dogs", "load_submarine"]


@overload
def load_submarine(
    n: int = ..., seed: int = ..., *, return_X_y: Literal[False] = ..., as_frame: bool = ...
) -> Dataset: ...
@overload
def load_submarine(n: int = ..., seed: int = ..., *, return_X_y: bool, as_frame: bool = ...) -> Any: ...
@takes_keywords
def load_submarine(n: int = 1000, seed: int = 0, *, return_X_y: bool = False, as_frame: bool = False) -> Any:
    r"""Simulate the measurements of a submarine, as inputs, and its positions, as targets.

    Positions are uniform over latitude 10 to 45 degrees N, longitude 60 to 10 degrees W and pressure 1 to 200 dbar,
    at 12:00 UTC of an equinox. With latitude :math:`\varphi`, longitude :math:`\lambda` and depth :math:`d` in metres:

    - depth from pressure :math:`p` (dbar): the UNESCO polynomial for a standard ocean [1]_;
    - temperature (°C): :math:`2 + (27 \cos^2(3\varphi/2) - 2)\, e^{-d/1000}`: the zonal surface temperature of the
      aqua-planet experiment [2]_ and an exponential thermocline with the scale of [3]_;
    - salinity (g/kg): :math:`35 + 2 e^{-((\varphi - 25°)/12°)^2} + 0.01 (\lambda + 35°) - 0.001 d`: the subtropical
      maximum, a zonal slope and a decrease with depth;
    - pH: :math:`8.15 - 0.004\, T_\mathrm{surface} - 0.35 (1 - e^{-d/500})`: within the 7.9 to 8.2 of today's ocean
      surface [4]_, falling with depth;
    - light (W/m²): :math:`1361 \cdot 0.75\, \cos\varphi \cos\lambda\, e^{-0.04 d}`: the solar constant [5]_, a clear
      sky, the sun's height at that hour (over longitude 0), and the absorption of clear ocean water [6]_.

    The shapes of salinity and pH are idealised, not fitted. Sensor noise is normal with standard deviations 0.02 °C,
    0.1 dbar, 0.002 (pH), 0.01 g/kg and 1 % of the light; depth is that of the noiseless pressure.

    Parameters
    ----------
    n : int
        Number of rows, at least 1.
    seed : int
        Seed of the generator (Philox); the same seed gives the same rows.
    return_X_y : bool
        Whether to return ``(data, target)`` instead of a Dataset.
    as_frame : bool
        Whether ``data`` and ``target`` are pandas DataFrames instead of arrays.

    Returns
    -------
    Dataset
        ``data`` (n, 5): temperature, pressure, ph, salinity, light.
        ``target`` (n, 3): latitude, longitude (degrees), depth (m).

    Raises
    ------
    ValueError
        If ``n`` is less than 1 or ``seed`` is negative.

    References
    ----------
    .. [1] N. P. Fofonoff and R. C. Millard (1983), Algorithms for computation of fundamental properties of seawater,
       UNESCO Technical Papers in Marine Science 44.
    .. [2] R. B. Neale and B. J. Hoskins (2000), A standard test for AGCMs including their physical
       parametrizations. I, Atmospheric Science Letters 1, 101-107 (the "control" surface).
    .. [3] W. H. Munk (1966), Abyssal recipes, Deep-Sea Research 13, 707-730.
    .. [4] L.-Q. Jiang et al. (2019), Surface ocean pH and buffer capacity: past, present and future,
       Scientific Reports 9, 18624.
    .. [5] G. Kopp and J. L. Lean (2011), A new, lower value of total solar irradiance, Geophys. Res. Lett. 38, L01706.
    .. [6] J. T. O. Kirk (2011), Light and Photosynthesis in Aquatic Ecosystems, 3rd edition, Cambridge.

    Examples
    --------
    >>> voyage = load_submarine(n=4, seed=1)
    >>> voyage.data.shape, voyage.target.shape
    ((4, 5), (4, 3))
    """
    n, seed = operator.index(n), operator.index(seed)
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")
    generator = np.random.Generator(np.random.Philox(seed))
    latitude = generator.uniform(10.0, 45.0, n)
    longitude = generator.uniform(-60.0, -10.0, n)
    true_pressure = generator.uniform(1.0, 200.0, n)
    depth = depth_from_pressure(true_pressure, latitude)

    surface_temperature = 27.0 * np.cos(1.5 * np.radians(latitude)) ** 2
    temperature = 2.0 + (surface_temperature - 2.0) * np.exp(-depth / 1000.0)
    salinity = 35.0 + 2.0 * np.exp(-(((latitude - 25.0) / 12.0) ** 2)) + 0.01 * (longitude + 35.0) - 0.001 * depth
    ph = 8.15 - 0.004 * surface_temperature - 0.35 * (1.0 - np.exp(-depth / 500.0))
    sun_height_sine = np.cos(np.radians(latitude)) * np.cos(np.radians(longitude))
    light = 1361.0 * 0.75 * sun_height_sine * np.exp(-0.04 * depth)

    dataset = dataset_from_columns(
        columns={
            "temperature": temperature + 0.02 * generator.standard_normal(n),
            "pressure": true_pressure + 0.1 * generator.standard_normal(n),
            "ph": ph + 0.002 * generator.standard_normal(n),
            "salinity": salinity + 0.01 * generator.standard_normal(n),
            "light": light * (1.0 + 0.01 * generator.standard_normal(n)),
            "latitude": latitude,
            "longitude": longitude,
            "depth": depth,
        },
        feature_names=("temperature", "pressure", "ph", "salinity", "light"),
        target_names=("latitude", "longitude", "depth"),
        units={
            "temperature": "°C",
            "pressure": "dbar above the atmosphere's",
            "salinity": "g/kg",
            "light": "W/m^2",
            "latitude": "degrees north",
            "longitude": "degrees east",
            "depth": "m",
        },
        description="Synthetic measurements of a submarine in the North Atlantic at noon UTC of an equinox.",
    )
    return as_asked(dataset, return_X_y, as_frame)


def depth_from_pressure(pressure: NDArray[np.float64], latitude: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the depth in metres of a pressure in dbar at a latitude in degrees in a standard ocean (0 °C, 35 g/kg).

    N. P. Fofonoff and R. C. Millard (1983), UNESCO Technical Papers in Marine Science 44; stated error 0.1 m.
    """
    sine_squared = np.sin(np.radians(latitude)) ** 2
    gravity = 9.780318 * (1.0 + (5.2788e-3 + 2.36e-5 * sine_squared) * sine_squared) + 1.092e-6 * pressure
    geopotential = (((-1.82e-15 * pressure + 2.279e-10) * pressure - 2.2512e-5) * pressure + 9.72659) * pressure
    return np.asarray(geopotential / gravity)


def cats_and_dogs() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return labels and predictions of 1000 pictures, which show that accuracy says little about a rare class.

    There are 998 dogs (class 0) and 2 cats (class 1); one cat is found, the other is predicted as a dog.
    With cats as the positive class there is 1 true positive, 1 false negative, 998 true negatives and no false
    positive: accuracy 99.9 %, precision 100 %, recall 50 %.

    Returns
    -------
    y_true, y_pred : ndarray of int64, shape (1000,)

    Examples
    --------
    >>> y_true, y_pred = cats_and_dogs()
    >>> float((y_true == y_pred).mean())
    0.999
    """
    y_true = np.zeros(1000, dtype=np.int64)
    y_true[998:] = 1
    y_pred = np.zeros(1000, dtype=np.int64)
    y_pred[999:] = 1
    return y_true, y_pred
