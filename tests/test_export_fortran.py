"""Exported Fortran."""

import subprocess

import numpy as np
import pytest
from exported_models import compiler, finite_models

import fastnn
from fastnn import layers

GFORTRAN = compiler("gfortran")
needs_gfortran = pytest.mark.skipif(GFORTRAN is None, reason="needs gfortran")
FLAGS = ["-std=f2008", "-pedantic", "-Wall", "-Wextra", "-Werror", "-O1", "-ffp-contract=off"]


def run(folder, cases):
    """Outputs of exported Fortran for every (exporter, X, number of outputs): one by row and one by batch."""
    for i, (exporter, X, _) in enumerate(cases):
        exporter.export_fortran(folder / f"m{i}.f90", function=f"m{i}")
        (folder / f"x{i}.bin").write_bytes(np.ascontiguousarray(X).tobytes())
    uses = "\n".join(f"  use m{i}_module" for i in range(len(cases)))
    calls = "\n".join(f"  call run{i}()" for i in range(len(cases)))
    procedures = "\n".join(_PROCEDURE.format(i=i, n=len(X)) for i, (_, X, _) in enumerate(cases))
    (folder / "main.f90").write_text(
        f"program main\n{uses}\n  implicit none\n{calls}\ncontains\n{procedures}\nend program\n"
    )
    sources = [*(f"m{i}.f90" for i in range(len(cases))), "main.f90"]
    subprocess.run([*GFORTRAN, *FLAGS, *sources, "-o", "main"], cwd=folder, check=True)
    subprocess.run(["./main"], cwd=folder, check=True)
    return [
        np.fromfile(folder / f"y{i}.bin", X.dtype).reshape(2, len(X), n_outputs)
        for i, (_, X, n_outputs) in enumerate(cases)
    ]


_PROCEDURE = """  subroutine run{i}()
    real(m{i}_real) :: x(m{i}_inputs, {n}), y(m{i}_outputs, {n})
    integer :: unit, row
    open(newunit=unit, file="x{i}.bin", form="unformatted", access="stream", status="old")
    read(unit) x
    close(unit)
    open(newunit=unit, file="y{i}.bin", form="unformatted", access="stream", status="replace")
    do row = 1, {n}
      call m{i}(x(:, row), y(:, row))
    end do
    write(unit) y
    call m{i}_batch(x, y)
    write(unit) y
    close(unit)
  end subroutine"""


@needs_gfortran
def test_random_models_agree_to_some_units_of_the_largest_output(tmp_path):
    models = finite_models(range(200, 240))
    cases = [(model, X, model.output_shape[1]) for model, X in models]
    for (model, X), (one_by_one, batch) in zip(models, run(tmp_path, cases), strict=True):
        expected = model.predict(X)
        unit = np.spacing(np.abs(expected).max(axis=0))
        assert one_by_one.tobytes() == batch.tobytes()
        # the compiler's exponentials differ by one unit, which steep layers multiply
        assert (np.abs(batch - expected).max(axis=0) <= 16 * unit).all(), (model.name, model.dtype)


@needs_gfortran
def test_kernels_of_many_weights(tmp_path):
    model = fastnn.Sequential([fastnn.Input((300,)), layers.Dense(250, activation="tanh"), layers.Dense(1)], seed=1)
    X = np.random.default_rng(0).normal(size=(20, 300)).astype(np.float32)
    (outputs,) = run(tmp_path, [(model, X, 1)])
    np.testing.assert_allclose(
        outputs[1], model.predict(X), rtol=0, atol=2 * np.spacing(np.abs(model.predict(X)).max())
    )


def test_bad_names_are_refused(tmp_path):
    model = fastnn.Sequential([fastnn.Input((3,)), layers.Dense(2)])
    for name in ("x", "_net", "a-b", "a" * 51):
        with pytest.raises(ValueError, match="function must"):
            model.export_fortran(tmp_path / "net.f90", function=name)
    with pytest.raises(ValueError, match=r"path must end in '\.f90'"):
        model.export_fortran(tmp_path / "net.f")
    assert not list(tmp_path.iterdir())
