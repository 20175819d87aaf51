"""Tables as people have them, on the command line: decimal commas, odd bytes, and faults."""

import numpy as np
import pytest
from test_tables import run, write

import fastnn

X = np.random.default_rng(0).normal(size=40).round(3)
Y = (2 * X + 1).round(3)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(file, *options, target="y"):
    return run("train", file, "--target", target, "--hidden", 4, "--epochs", 3, "-o", "m.safetensors", *options)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_semicolons_and_decimal_commas(here, encoding):
    write(here / "point.csv", {"x": X, "y": Y})
    text = (here / "point.csv").read_text().replace(",", ";").replace(".", ",").replace("\n", "\r\n")
    (here / "comma.csv").write_bytes(text.encode(encoding))
    assert train("point.csv") == 0
    expected = (here / "m.safetensors").read_bytes()
    assert train("comma.csv") == 0
    assert (here / "m.safetensors").read_bytes() == expected
    for name in ("point", "comma"):
        assert run("predict", "m.safetensors", f"{name}.csv", "-o", f"{name}.out") == 0
    assert (here / "point.out").read_bytes() == (here / "comma.out").read_bytes()


def test_commas_are_no_decimal_commas_where_points_are(here, capsys):
    lines = [f"{i},{i % 4};{y}" for i, y in enumerate(Y)]
    (here / "t.csv").write_text("x;y\n" + "\n".join(lines) + "\n")
    assert train("t.csv") == 0
    assert "40 different texts in 40 rows, such as '0,0' in line 2" in capsys.readouterr().err


def test_names_in_quotes_may_have_separators(here):
    rows = [f'"{x}";"{y}"' for x, y in zip(X, Y, strict=True)]
    (here / "q.csv").write_text('"x, east, in km";"y"\n' + "\n".join(rows) + "\n")
    assert train("q.csv") == 0
    assert fastnn.load_model("m.safetensors").input_shape == (None, 1)


def test_missing_numbers_become_the_median(here, capsys):
    write(here / "t.csv", {"x": [1, 2, 100, "", *range(3, 33)], "soil": ["a", "b"] * 17, "y": range(34)})
    assert train("t.csv", "--missing", "median") == 0
    median = np.median([1, 2, 100, *range(3, 33)])
    write(here / "new.csv", {"x": ["", median], "soil": ["a", "a"]})
    capsys.readouterr()
    assert run("predict", "m.safetensors", "new.csv") == 0
    _, missing, given = capsys.readouterr().out.splitlines()
    assert missing == given
    assert run("summary", "m.safetensors") == 0
    assert "missing values: median" in capsys.readouterr().out


def test_a_column_that_was_constant_does_not_count_a_millionfold(here, capsys):
    write(here / "t.csv", {"x": X, "c": [5] * 40, "y": Y})
    write(here / "new.csv", {"x": X[:2], "c": [6, 6]})
    assert train("t.csv") == 0
    capsys.readouterr()
    assert run("predict", "m.safetensors", "new.csv") == 0
    assert all(abs(float(value)) < 100 for value in capsys.readouterr().out.splitlines()[1:])


def test_classes_are_words_booleans_or_numbers_in_any_form(here, capsys):
    write(here / "t.csv", {"x": X, "y": [1 if x > 0 else 2 for x in X]})
    write(here / "floats.csv", {"x": X, "y": [1.0 if x > 0 else 2.0 for x in X]})
    assert train("t.csv", "--classify") == 0
    assert run("evaluate", "m.safetensors", "floats.csv") == 0
    write(here / "mixed.csv", {"x": X, "y": ["1" if i % 2 else "1.0" for i in range(39)] + [2]})
    assert train("mixed.csv", "--classify") == 0
    capsys.readouterr()
    assert run("summary", "m.safetensors") == 0
    assert "one of 1.0, 2" in capsys.readouterr().out


def test_truth_values_of_parquet_are_classes(here, capsys):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"x": X, "y": [bool(x > 0) for x in X]}), "t.parquet")
    write(here / "t.csv", {"x": X, "y": [bool(x > 0) for x in X]})
    assert train("t.parquet") == 0
    assert "y: classes" in capsys.readouterr().out
    data = (here / "m.safetensors").read_bytes()
    assert train("t.csv") == 0
    assert (here / "m.safetensors").read_bytes() == data
    parquet.write_table(pyarrow.table({"x": [[1, 2]] * 40, "y": Y}), "lists.parquet")
    assert train("lists.parquet") == 1
    assert "column 'x' holds lists" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("columns", "options", "said"),
    [
        ({"x": X, "y": [*Y[:-1], "1.2.3"]}, (), "'1.2.3' in line 41, not a number, and"),
        ({"x": X, "y": [f"row {i}" for i in range(40)]}, (), "40 different values in 40 rows; mend the numbers"),
        ({"x": X, "y": Y}, ("--ignore", "y"), "'y' is the target"),
        ({"x": X, "y": Y, "g": [""] + ["a", "b", "c"] * 13}, ("--groups", "g"), "column 'g' has no value in line 2"),
        ({"x": ["1_000", *X[1:]], "y": Y}, ("--regress", "--missing", "error", "--units", "z=m"), "no column 'z'"),
        ({"x": [10**400, *X[1:]], "y": Y}, (), "in line 2, not a finite number"),
    ],
)
def test_faults_are_named_and_leave_no_file(here, capsys, columns, options, said):
    write(here / "t.csv", columns)
    assert train("t.csv", *options) == 1
    message = capsys.readouterr().err
    assert said in message and len(message) < 400
    assert sorted(path.name for path in here.iterdir()) == ["t.csv"]


def test_bytes_that_are_no_text_are_refused(here, capsys):
    for data, said in (
        (b"x,y\n1,\x002\n", "line 2 has a byte 0"),
        ("größe,y\n1,2\n".encode("latin-1"), "save it as UTF-8"),
    ):
        (here / "t.csv").write_bytes(data)
        assert train("t.csv") == 1
        assert said in capsys.readouterr().err


def test_files_that_cannot_be_written_are_refused_before_the_work(here, capsys):
    write(here / "t.csv", {"x": X, "y": Y})
    before = (here / "t.csv").read_bytes()
    common = ["train", "t.csv", "--target", "y", "--epochs", 1]
    cases = [
        ([*common, "-o", "t.csv"], "would overwrite the file 't.csv'"),
        ([*common, "-o", "nowhere/m.safetensors"], "does not exist"),
    ]
    if pytest.importorskip("matplotlib"):
        cases += [
            ([*common, "-o", "m.safetensors", "--plot", "nowhere/p.png"], "does not exist"),
            ([*common, "-o", "m.safetensors", "--plot", "p.xyz"], "--plot must be a file that ends in"),
            ([*common, "-o", "p.png", "--plot", "p.png"], "would overwrite the file 'p.png'"),
        ]
    for arguments, said in cases:
        assert run(*arguments) == 1
        assert said in capsys.readouterr().err
    assert (here / "t.csv").read_bytes() == before and len(list(here.iterdir())) == 1


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_the_same_command_draws_the_same_bytes(here, kind):
    pytest.importorskip("matplotlib")
    write(here / "t.csv", {"x": X, "y": Y})
    assert train("t.csv", "--plot", f"a.{kind}") == train("t.csv", "--plot", f"b.{kind}") == 0
    assert (here / f"a.{kind}").read_bytes() == (here / f"b.{kind}").read_bytes()


def test_warnings_do_not_show_places_in_the_code(here, capsys):
    write(here / "t.csv", {"x": [10**9 + i for i in range(40)], "y": Y})
    assert train("t.csv") == 0
    message = capsys.readouterr().err
    assert message.startswith("fastnn: layer 'inputs'") and ".py" not in message
