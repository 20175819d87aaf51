"""Models of tables on the command line."""

import runpy

import numpy as np
import pytest

import fastnn
from fastnn import cli


def write(path, columns):
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(columns), *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    distance, soil = rng.uniform(1, 100, 60).round(2), rng.choice(["rock", "clay"], 60)
    y = (3 - 0.02 * distance + (soil == "clay") * 0.5).round(4)
    gaps = ["" if i % 9 == 4 else value for i, value in enumerate(distance)]
    write(
        tmp_path / "data.csv",
        {"event": [i // 5 for i in range(60)], "distance [km]": gaps, "soil": soil, "y": y, "site": soil},
    )
    return tmp_path


TRAIN = [
    "train",
    "data.csv",
    "--target",
    "y",
    "--ignore",
    "site",
    "--groups",
    "event",
    "--hidden",
    "8",
    "--epochs",
    "60",
]


def run(*arguments):
    return cli.main([*map(str, arguments)])


def test_same_command_gives_the_same_bytes(folder):
    assert run(*TRAIN, "-o", "a.safetensors") == 0
    assert run(*TRAIN, "-o", "b.safetensors") == 0
    assert (folder / "a.safetensors").read_bytes() == (folder / "b.safetensors").read_bytes()


def test_regression_from_file_to_predictions(folder, capsys):
    assert run(*TRAIN, "--learning-rate", 0.01, "-o", "model.safetensors") == 0
    assert "test, 10 rows: RMSE" in capsys.readouterr().out
    assert run("predict", "model.safetensors", "data.csv", "-o", "out.csv") == 0
    header, *values = (folder / "out.csv").read_text().splitlines()
    assert header == "y"
    y = np.loadtxt(folder / "data.csv", delimiter=",", skiprows=1, usecols=3)
    assert np.corrcoef(np.array(values, float), y)[0, 1] > 0.7
    assert run("evaluate", "model.safetensors", "data.csv") == 0
    assert "R2 0." in capsys.readouterr().out
    assert run("summary", "model.safetensors") == 0
    text = capsys.readouterr().out
    assert "input distance [km]: number" in text
    assert "input soil: one of clay, rock" in text
    assert fastnn.load_model("model.safetensors").input_shape == (None, 3)


def test_classification_gives_labels_and_probabilities(folder, capsys):
    assert (
        run("train", "data.csv", "--target", "soil", "--ignore", "site", "--hidden", "4", "-o", "model.safetensors")
        == 0
    )
    assert "accuracy" in capsys.readouterr().out
    assert run("predict", "model.safetensors", "data.csv") == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header == "soil,soil=clay,soil=rock"
    for row in rows:
        label, clay, rock = row.split(",")
        assert label == ("clay" if float(clay) >= float(rock) else "rock")


def test_whole_numbers_can_be_classes(folder, capsys):
    columns = {"x": np.linspace(0, 1, 40), "k": [i % 12 for i in range(40)]}
    write(folder / "k.csv", columns)
    assert run("train", "k.csv", "--target", "k", "--classify", "--epochs", 1, "-o", "m.safetensors") == 0
    assert run("summary", "m.safetensors") == 0
    assert "one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11" in capsys.readouterr().out


def test_exports_take_the_columns_of_the_table(folder):
    assert run(*TRAIN, "-o", "model.safetensors") == 0
    for language in ("c", "fortran", "numpy"):
        assert run("export", "model.safetensors", "--to", language, "--function", "gmm") == 0
    assert "x[0]: distance [km]" in (folder / "gmm.h").read_text()
    assert "x(2): soil=clay" in (folder / "gmm.f90").read_text()
    run("predict", "model.safetensors", "data.csv", "-o", "out.csv")
    rows = [line.split(",") for line in (folder / "data.csv").read_text().splitlines()[1:]]
    X = [[float(row[1] or "nan"), row[2] == "clay", row[2] == "rock"] for row in rows]
    expected = np.loadtxt(folder / "out.csv", skiprows=1)
    np.testing.assert_allclose(runpy.run_path("gmm.py")["predict"](X)[:, 0], expected, rtol=1e-5)


def test_a_renamed_column_is_named_and_no_file_is_left(folder, capsys):
    assert run(*TRAIN, "-o", "model.safetensors") == 0
    text = (folder / "data.csv").read_text()
    (folder / "new.csv").write_text(text.replace("distance [km]", "Distance", 1))
    assert run("predict", "model.safetensors", "new.csv", "-o", "out.csv") == 1
    message = capsys.readouterr().err
    assert "'distance [km]'" in message
    assert "'Distance'" in message
    assert not (folder / "out.csv").exists()


def test_new_columns_are_named(folder, capsys):
    assert run(*TRAIN, "-o", "model.safetensors") == 0
    text = (folder / "data.csv").read_text().splitlines()
    (folder / "new.csv").write_text("\n".join(line + (",extra" if i == 0 else ",1") for i, line in enumerate(text)))
    assert run("predict", "model.safetensors", "new.csv", "-o", "out.csv") == 0
    assert "['extra']" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names of the columns"),
        ("a,y\n", "no rows"),
        ("a,a\n1,2\n", "two columns are called 'a'"),
        ("a,y\n1,2\n3\n", "line 3 has 1 values for 2 columns"),
        ("a,b\n1,2\n", "no column 'y'"),
        ("a,y\n1,2\n2,\n", "no value in line 3"),
        ("y\n1\n2\n", "no column but the target"),
        ("a,y\n,1\n,2\n", "column 'a' has no values"),
        ("a,y\n1,1\ninf,2\n", "'inf' in line 3"),
    ],
)
def test_bad_tables_are_refused(folder, capsys, text, message):
    (folder / "bad.csv").write_text(text)
    assert run("train", "bad.csv", "--target", "y", "-o", "bad.safetensors") == 1
    assert message in capsys.readouterr().err
    assert not (folder / "bad.safetensors").exists()


def test_missing_values_can_be_refused(folder, capsys):
    assert run(*TRAIN, "--missing", "error", "-o", "model.safetensors") == 1
    assert "column 'distance [km]' has no value in line 6" in capsys.readouterr().err


def test_words_where_training_had_numbers(folder, capsys):
    assert run(*TRAIN, "-o", "model.safetensors") == 0
    write(folder / "new.csv", {"distance [km]": ["1", "far"], "soil": ["clay", "clay"]})
    assert run("predict", "model.safetensors", "new.csv", "-o", "out.csv") == 1
    assert "column 'distance [km]' has 'far' in line 3" in capsys.readouterr().err


def test_a_model_without_columns_is_refused(folder, capsys):
    fastnn.Sequential([fastnn.Input((2,)), fastnn.layers.Dense(1)]).save("plain.safetensors")
    assert run("predict", "plain.safetensors", "data.csv") == 1
    assert "'fastnn train' has not written it" in capsys.readouterr().err
    assert run("export", "plain.safetensors", "--to", "c") == 0
    assert (folder / "net.c").exists()


def test_parquet(folder):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.table({"a": [1.0, 2.0, None, 4.0] * 5, "b": ["u", "v", None, "u"] * 5, "y": [1, 2, 3, 4] * 5})
    parquet.write_table(table, "t.parquet")
    assert run("train", "t.parquet", "--target", "y", "--epochs", 2, "-o", "m.safetensors") == 0
    assert run("predict", "m.safetensors", "t.parquet", "-o", "out.csv") == 0
    assert len((folder / "out.csv").read_text().splitlines()) == 21


def test_pictures(folder):
    pytest.importorskip("matplotlib")
    assert run(*TRAIN, "-o", "m.safetensors", "--plot", "fit.png") == 0
    assert run("evaluate", "m.safetensors", "data.csv", "--plot", "again.png") == 0
    assert (folder / "fit.png").stat().st_size > 5000
    assert (folder / "again.png").stat().st_size > 5000
