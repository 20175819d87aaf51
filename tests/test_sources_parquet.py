"""Parquet and Arrow files as sources: the bits of the array, and errors that name file and row group."""

import os

import numpy as np
import pytest
from test_sources import N, assert_same_weights, fitted, make_rows, readers

from fastnn.data import source

arrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def make_table(X, y):
    return arrow.table({**{f"x{place}": column for place, column in enumerate(X.T)}, "y": y})


def write(path, X, y, group=100):
    parquet.write_table(make_table(X, y), path, row_group_size=group)
    return path


@pytest.mark.parametrize("window", [1, 3, 20])
@pytest.mark.parametrize("n_readers", [1, 3])
def test_row_groups_are_blocks_of_the_array(tmp_path, window, n_readers):
    X, y = make_rows()
    rows = source(write(tmp_path / "a.parquet", X, y), target="y", window=window, n_readers=n_readers)
    assert rows.columns == ["x0", "x1", "x2", "x3", "x4"] and rows.targets == ["y"] and rows.block_rows == 100
    expected = fitted(source(X, y, block_rows=100, window=window))
    model = fitted(rows)
    assert_same_weights(expected, model)
    np.testing.assert_array_equal(expected.predict(X), model.predict(rows))


def test_files_columns_and_types(tmp_path):
    X, y = make_rows()
    whole = np.rint(X[:, 1] * 10).astype(np.int64)
    for number, part in enumerate((slice(0, 500), slice(500, N))):
        table = arrow.table(
            {
                "name": [f"row {row}" for row in range(N)][part],
                "flag": X[part, 0] > 0,
                "whole": whole[part],
                "half": X[part, 2].astype(np.float16),
                "y": y[part],
            }
        )
        parquet.write_table(table, tmp_path / f"{number}.parquet", row_group_size=100)
        with arrow.OSFile(str(tmp_path / f"{number}.arrow"), "wb") as sink:
            with arrow.ipc.new_file(sink, table.schema) as writer:
                for batch in table.to_batches(max_chunksize=100):
                    writer.write_batch(batch)
    array = np.column_stack([X[:, 2].astype(np.float16), X[:, 0] > 0, whole])
    expected = fitted(array, y)
    options = {"columns": ["half", "flag", "whole"], "target": "y", "window": 20}
    import pyarrow.dataset

    for given in (
        [tmp_path / "0.parquet", tmp_path / "1.parquet"],
        [tmp_path / "0.arrow", tmp_path / "1.arrow"],
        pyarrow.dataset.dataset([str(tmp_path / "0.parquet"), str(tmp_path / "1.parquet")]),
        parquet.read_table(tmp_path / "0.parquet").cast(parquet.read_schema(tmp_path / "0.parquet")),
    ):
        if isinstance(given, arrow.Table):
            given = arrow.concat_tables([given, parquet.read_table(tmp_path / "1.parquet")])
        rows = source(given, **options)
        assert len(rows) == N
        assert_same_weights(expected, fitted(rows))


def test_data_sets_that_are_not_whole_files_are_refused(tmp_path):
    dataset = pytest.importorskip("pyarrow.dataset")
    X, y = make_rows()
    plain = dataset.dataset(write(tmp_path / "a.parquet", X, y))
    parquet.write_to_dataset(make_table(X, y).append_column("part", [y > 0]), tmp_path / "parts", ["part"])
    kept = int((X[:, 0] > 0).sum())
    for given, message in (
        (plain.filter(dataset.field("x0") > 0), f"x has a filter, which leaves {kept} of the {N} rows of its files"),
        (
            dataset.dataset(tmp_path / "parts", partitioning="hive"),
            "x has the column 'part', which is not in '.*parquet",
        ),
        (
            dataset.dataset([plain, plain]),
            r"x is a data set without files \(UnionDataset\): give its rows as x.to_table",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            source(given, target="y")
    assert len(source(plain.filter(dataset.field("x0") < 1e9), target="y")) == N
    assert source(tmp_path / "parts", target="y").columns == ["x0", "x1", "x2", "x3", "x4"]


def test_blocks_of_another_size_and_parts(tmp_path):
    X, y = make_rows()
    path = write(tmp_path / "a.parquet", X, y)
    a, b = (
        source(given, block_rows=70, window=2, **options) for given, options in ((path, {"target": "y"}), (X, {"y": y}))
    )
    assert_same_weights(fitted(a), fitted(b))
    assert source(path, target="y").rows(150, 420).blocks == [(0, 50), (50, 150), (150, 250), (250, 270)]


def test_missing_values(tmp_path):
    from test_sources import make_model

    import fastnn

    X, y = make_rows()
    whole = [None if row % 7 == 3 and row > 200 else row % 5 for row in range(N)]
    path = tmp_path / "a.parquet"
    parquet.write_table(
        arrow.table({"w": arrow.array(whole, arrow.int64()), "x": X[:, 0], "y": y}), path, row_group_size=100
    )
    rows = source(path, target="y", window=20)
    with pytest.raises(
        ValueError, match=r"x has nan at row 206, column 0 'w' \(counted from 0\), in row group 2 of '.*a.parq"
    ):
        fitted(rows)
    array = np.column_stack([[np.nan if value is None else value for value in whole], X[:, 0]])

    def model():
        return make_model(first=[fastnn.layers.Normalization(mean=0.5, variance=2.0, missing="mean")])

    assert_same_weights(fitted(array, y, model=model()), fitted(rows, model=model()))


def test_errors_name_file_row_group_and_row(tmp_path):
    X, y = make_rows()
    bad = X.copy()
    bad[612 - 500, 3] = np.inf
    paths = [write(tmp_path / "a.parquet", X[:500], y[:500]), write(tmp_path / "b.parquet", bad[:503], y[500:])]
    with pytest.raises(
        ValueError, match=r"x has inf at row 612, column 3 'x3' \(counted from 0\), in row group 1 of '.*b.parquet'"
    ):
        fitted(source(paths, target="y", window=2))
    y[700] = np.nan
    write(tmp_path / "b.parquet", X[500:], y[500:])
    with pytest.raises(ValueError, match=r"targets of x has nan at row 700.*in row group 2 of '.*b.parquet'"):
        fitted(source(paths, target="y", window=2))
    assert not readers()


def test_columns_that_are_not_there(tmp_path):
    X, y = make_rows()
    path = write(tmp_path / "a.parquet", X, y)
    with pytest.raises(ValueError, match=r"a.parquet' has no column 'X3' \(columns\); did you mean 'x3'\? It has 'x0'"):
        source(path, columns=["x1", "X3"], target="y")
    with pytest.raises(ValueError, match=r"has no column 'yy' \(target\); did you mean 'y'"):
        source(path, target="yy")
    other = tmp_path / "b.parquet"
    parquet.write_table(make_table(X, y).rename_columns(["x0", "x1", "x_2", "x3", "x4", "y"]), other)
    with pytest.raises(ValueError, match=r"b.parquet' has no column 'x2' \(columns\); did you mean 'x_2'"):
        source([path, other], target="y")
    table = make_table(X, y).set_column(1, "x1", arrow.array(["text"] * N))
    parquet.write_table(table, other)
    with pytest.raises(
        ValueError,
        match=r"column 'x1' of '.*b.parquet' holds string, not numbers.*columns with numbers: 'x4', 'x0', 'x2'",
    ):
        source([path, other], target="y")


def test_damaged_files(tmp_path):
    X, y = make_rows()
    path = write(tmp_path / "a.parquet", X, y)
    rows = source(path, target="y", window=2)
    content = path.read_bytes()
    os.truncate(path, len(content) // 2)
    with pytest.raises(
        OSError, match=r"row group \d+ of '.*a.parquet' cannot be read: the file has changed.*it had \d+ b"
    ):
        fitted(rows)
    with pytest.raises(ValueError, match=r"a.parquet' is not a Parquet file, or it is truncated"):
        source(path, target="y")
    path.write_bytes(content)
    with pytest.raises(OSError, match=r"the file has changed since the source was made: it was written to"):
        fitted(rows)
    damaged = bytearray(content)
    damaged[len(content) // 3 : len(content) // 3 + 2000] = bytes(2000)
    path.write_bytes(damaged)
    with pytest.raises(OSError, match=r"row group \d+ of '.*a.parquet' cannot be read: "):
        fitted(source(path, target="y", window=2))
    rows = source(write(path, X, y), target="y", window=2)
    path.unlink()
    with pytest.raises(OSError, match=r"cannot be read: the file is gone"):
        fitted(rows)
    assert not readers()
