"""Spatial blocks: whole blocks per fold, the gap, distances on the globe, and scikit-learn's interface."""

import numpy as np
import pytest

from fastnn.datasets import load_earthquakes
from fastnn.model_selection import SpatialBlockSplit


def test_blocks_by_hand():
    points = [[0.1, 0.1], [0.9, 0.9], [1.1, 0.1], [0.2, 0.3], [-0.1, 0.5]]
    blocks = SpatialBlockSplit(block_size=1.0).blocks(points)
    assert blocks[0] == blocks[1] == blocks[3]
    assert len({blocks[0], blocks[2], blocks[4]}) == 3


def test_folds_are_whole_blocks_and_every_row_is_tested_once():
    generator = np.random.default_rng(0)
    points = generator.uniform(0, 10, (500, 2))
    splitter = SpatialBlockSplit(n_splits=4, block_size=1.5, seed=1)
    blocks = splitter.blocks(points)
    tested = []
    for train, test in splitter.split(points):
        assert not set(blocks[train]) & set(blocks[test])
        assert len(train) + len(test) == 500 and 90 < len(test) < 160
        tested.extend(test)
    assert sorted(tested) == list(range(500))
    again = [test.tolist() for _, test in splitter.split(points)]
    assert again == [test.tolist() for _, test in splitter.split(points)]
    assert again != [test.tolist() for _, test in SpatialBlockSplit(4, 1.5, seed=2).split(points)]


def test_buffer_keeps_training_rows_away():
    points = np.random.default_rng(0).uniform(0, 10, (300, 2))
    for train, test in SpatialBlockSplit(n_splits=3, block_size=2.0, buffer=0.5).split(points):
        distances = np.linalg.norm(points[train][:, None] - points[test][None], axis=2)
        assert distances.min() > 0.5
        left_out = np.setdiff1d(np.arange(300), np.concatenate([train, test]))
        assert len(left_out) > 0
        assert np.linalg.norm(points[left_out][:, None] - points[test][None], axis=2).min(axis=1).max() <= 0.5


def test_distances_on_the_globe_cross_the_date_line_and_shrink_towards_the_pole():
    splitter = SpatialBlockSplit(n_splits=2, block_size=100.0, buffer=30.0, geographic=True)
    # 0.2 degrees of longitude are 22 km at the equator, across the date line too
    positions = splitter._positions([[0.0, 179.9], [0.0, -179.9]], "X")
    np.testing.assert_allclose(np.linalg.norm(positions[0] - positions[1]), 22.239, rtol=1e-4)
    # 2 degrees of longitude: 222 km at the equator, 39 km at 80 degrees north
    blocks = splitter.blocks([[0.1, 1.0], [0.1, 3.0], [80.2, 12.5], [80.2, 14.5]])
    assert blocks[0] != blocks[1] and blocks[2] == blocks[3]


def test_scikit_learn_accepts_the_splitter():
    selection = pytest.importorskip("sklearn.model_selection", reason="the check of its interface needs scikit-learn")
    from sklearn.neighbors import KNeighborsRegressor

    events = load_earthquakes()
    splitter = SpatialBlockSplit(n_splits=4, block_size=300.0, geographic=True)
    data = (KNeighborsRegressor(), events.data, events.target)
    scores = selection.cross_val_score(*data, cv=splitter, groups=events.data[:, :2])
    assert scores.shape == (4,) and splitter.get_n_splits() == 4
    random_split = selection.KFold(4, shuffle=True, random_state=0)
    assert scores.mean() < selection.cross_val_score(*data, cv=random_split).mean()


@pytest.mark.parametrize(
    ("options", "points", "message"),
    [
        ({"n_splits": 1}, [[0, 0]], "n_splits must be"),
        ({"block_size": 0.0}, [[0, 0]], "block_size must be"),
        ({"buffer": -1.0}, [[0, 0]], "buffer must be"),
        ({"n_splits": 3}, [[0, 0], [5, 5]], "2 blocks of size 1 cannot fill 3 folds"),
        ({"n_splits": 2}, [[0, 0, 0, 0]], "pass the coordinates as groups="),
        ({"n_splits": 2, "geographic": True}, [[100, 0], [0, 0]], "beyond 90"),
        ({"n_splits": 2, "buffer": 50.0}, [[0, 0], [5, 5]], "no training row is more than buffer=50"),
    ],
)
def test_bad_input(options, points, message):
    with pytest.raises(ValueError, match=message):
        list(SpatialBlockSplit(**options).split(points))
