"""The command line and the demonstration."""

import json
import subprocess
import sys

import numpy as np
import pytest

import fastnn
from fastnn import cli, demo


def test_info(capsys):
    assert cli.main(["info"]) == 0
    text = capsys.readouterr().out
    for word in ("instruction set", "threads", "compiler", "NumPy", fastnn.__version__):
        assert word in text


def test_the_module_runs_as_the_command():
    done = subprocess.run([sys.executable, "-m", "fastnn", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"fastnn {fastnn.__version__}\n"


def test_the_command_alone_prints_its_help(capsys):
    assert cli.main([]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("usage: fastnn") and captured.err == ""
    for command in ("bench", "demo", "info"):
        assert f"\n    {command} " in captured.out


def test_bench_prints_a_table_and_writes_json(capsys, tmp_path):
    file = tmp_path / "figures.json"
    only = ["--contestants", "fastnn", "numpy", "--networks", "ground-motion"]
    assert cli.main(["bench", "--quick", *only, "--json", str(file)]) == 0
    text = capsys.readouterr().out
    assert "fastnn kernels: " in text and "multiply-add peak" in text and "memory copy" in text
    assert "ground-motion 2-32-32-1 b26" in text
    figures = json.loads(file.read_text())
    assert set(figures) == {"machine", "versions", "missing", "grids"}
    assert figures["machine"]["fma_peak_gflops"] > 0
    assert set(figures["versions"]) == {"fastnn", "numpy"}
    assert [row["contestant"] for row in figures["grids"][0]["rows"]] == ["fastnn", "numpy"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "invalid choice: 'nonsense'"),
        (["bench", "--contestants", "nobody"], "invalid choice: 'nobody'"),
        (["bench", "--quick", "--full"], "not allowed with argument"),
        (["bench", "--grid", "speed"], "invalid choice: 'speed'"),
        (["bench", "--json", "nowhere/figures.json"], "no folder 'nowhere'"),
        (["bench", "--plot", "nowhere/picture.png"], "no folder 'nowhere'"),
        (["bench", "--neighbours", "-1"], "argument --neighbours: must be a whole number of at least 0"),
        (["demo", "--picture", "nowhere/picture.png"], "'nowhere/picture.png' cannot be written: there is no folder"),
        (["demo", "--picture", "."], "'.' cannot be written: it is a folder"),
        (
            ["demo", "--seed", "-1"],
            "argument --seed: must be a whole number of at least 0 and less than 2^63, got '-1'",
        ),
        (["demo", "--seed", "1.5"], "argument --seed: must be a whole number"),
        (["demo", "--seed", str(1 << 63)], "argument --seed: must be a whole number"),
        (
            ["train", "--epochs", "x"],
            "argument --epochs: must be a whole number of at least 1 and less than 2^63, got 'x'",
        ),
        (["train", "--hidden", "64", "0"], "argument --hidden: must be a whole number of at least 1"),
        (
            ["train", "--learning-rate", "x"],
            "argument --learning-rate: must be a finite number greater than 0, got 'x'",
        ),
        (["train", "--learning-rate", "inf"], "argument --learning-rate: must be a finite number greater than 0"),
        (["train", "--test", "nan"], "argument --test: must be a number between 0 and 1, got 'nan'"),
    ],
)
def test_wrong_arguments(arguments, message, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    captured = capsys.readouterr()
    # The error comes before anything is measured or trained.
    assert message in captured.err and captured.out == ""


@pytest.mark.parametrize("name", ["picture", "picture.xyz"])
@pytest.mark.parametrize("command", [["demo", "--picture"], ["bench", "--plot"]])
def test_pictures_need_a_known_suffix(command, name, capsys, monkeypatch, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        cli.main([*command, name])
    assert stop.value.code == 2
    assert f"'{name}' must end with one of " in capsys.readouterr().err


def test_a_failed_write_is_one_line(capsys, monkeypatch, tmp_path):
    def fail(picture, seed):
        raise OSError(28, "No space left on device", str(picture))

    monkeypatch.setattr(demo, "run", fail)
    assert cli.main(["demo", "--picture", str(tmp_path / "full.png")]) == 1
    assert capsys.readouterr().err == f"fastnn: [Errno 28] No space left on device: '{tmp_path / 'full.png'}'\n"


def test_demo_beats_the_linear_fit_on_earthquakes_it_has_not_seen():
    result = demo.study(seed=0)
    assert result["held_out"].sum() == 34
    assert set(np.unique(result["records"]["event"][result["held_out"]])) == {4, 8, 12, 16, 20}
    scores = result["scores"]
    errors = [score["RMSE"] for score in scores.values()]
    assert list(scores) == ["fastnn network", "Joyner-Boore equation, refitted", "linear fit", "mean"]
    assert errors == sorted(errors)
    assert scores["fastnn network"]["R2"] > 0.7
    assert scores["Joyner-Boore equation, refitted"]["RMSE"] == pytest.approx(0.282, abs=5e-4)
    # The mean of other earthquakes explains nothing.
    assert scores["mean"]["R2"] <= 0


def test_the_equation_is_fitted_as_published():
    # Joyner and Boore (1981) published -1.02, 0.249 and -0.00255 for the same records, fitted in two steps.
    records = demo.load_ground_motion()
    magnitude, distance = records["magnitude"], records["distance_km"]
    equation = demo._fit_equation(magnitude, distance, np.log10(records["acceleration_g"]))
    r = np.hypot(distance, 7.3)
    published = -1.02 + 0.249 * magnitude - np.log10(r) - 0.00255 * r
    near = distance < 100
    np.testing.assert_allclose(equation(magnitude, distance)[near], published[near], rtol=0, atol=0.06)


def test_demo_saves_a_picture(tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    picture = tmp_path / "demo.png"
    assert cli.main(["demo", "--picture", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    text = capsys.readouterr().out
    assert "Managua, Nicaragua" in text and "California" not in text
    assert "fastnn network" in text and f"picture: {picture}" in text


@pytest.mark.parametrize("command", ["demo", "bench"])
def test_without_matplotlib(command, tmp_path, capsys, monkeypatch):
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    picture = tmp_path / "picture.png"
    if command == "demo":
        assert cli.main(["demo", "--picture", str(picture)]) == 0
        said = capsys.readouterr().out
        assert "RMSE" in said
    else:
        assert cli.main(["bench", "--plot", str(picture)]) == 1
        said = capsys.readouterr().err
    assert "pip install matplotlib" in said
    assert not picture.exists()
