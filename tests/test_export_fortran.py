"""Exported Fortran."""

import subprocess

import numpy as np
import pytest
from exported_models import as_list, compiler, finite_models, type_of

import fastnn
from fastnn import layers

GFORTRAN = compiler("gfortran")
needs_gfortran = pytest.mark.skipif(GFORTRAN is None, reason="needs gfortran")
FLAGS = ["-std=f2008", "-pedantic", "-Wall", "-Wextra", "-Werror", "-O1", "-ffp-contract=off"]


def run(folder, cases):
    """Outputs of exported Fortran for every case, as ``exported_models.run_all`` has them: by row and by batch."""
    procedures = []
    for i, (exporter, X, widths) in enumerate(cases):
        exporter.export_fortran(folder / f"m{i}.f90", function=f"m{i}")
        for k, array in enumerate(as_list(X)):
            (folder / f"x{i}_{k}.bin").write_bytes(np.ascontiguousarray(array).tobytes())
        procedures.append(_procedure(i, as_list(X), as_list(widths)))
    uses = "\n".join(f"  use m{i}_module" for i in range(len(cases)))
    calls = "\n".join(f"  call run{i}()" for i in range(len(cases)))
    text = "\n".join(procedures)
    kinds = "  use, intrinsic :: iso_fortran_env, only: int32, int64"
    (folder / "main.f90").write_text(
        f"program main\n{kinds}\n{uses}\n  implicit none\n{calls}\ncontains\n{text}\nend program\n"
    )
    sources = [*(f"m{i}.f90" for i in range(len(cases))), "main.f90"]
    subprocess.run([*GFORTRAN, *FLAGS, *sources, "-o", "main"], cwd=folder, check=True)
    subprocess.run(["./main"], cwd=folder, check=True)
    results = []
    for i, (exporter, X, widths) in enumerate(cases):
        n, dtype = len(as_list(X)[0]), type_of(exporter, X)
        pairs = [np.fromfile(folder / f"y{i}_{k}.bin", dtype).reshape(2, n, w) for k, w in enumerate(as_list(widths))]
        results.append(pairs if isinstance(widths, list) else pairs[0])
    return results


def _procedure(i, inputs, widths):
    """The subroutine that runs one case."""
    n, lines = len(inputs[0]), [f"  subroutine run{i}()"]
    for k, array in enumerate(inputs):
        kind = f"integer({array.dtype.name})" if array.dtype.kind == "i" else f"real(m{i}_real)"
        lines.append(f"    {kind} :: x{k}({array.size // n}, {n})")
    lines += [f"    real(m{i}_real) :: y{k}({width}, {n}), z{k}({width}, {n})" for k, width in enumerate(widths)]
    lines.append("    integer :: unit, row")
    opened = 'open(newunit=unit, file="{}", form="unformatted", access="stream", status="{}")'
    for k in range(len(inputs)):
        lines += [f"    {opened.format(f'x{i}_{k}.bin', 'old')}", f"    read(unit) x{k}", "    close(unit)"]
    row = [*(f"x{k}(:, row)" for k in range(len(inputs))), *(f"y{k}(:, row)" for k in range(len(widths)))]
    whole = [*(f"x{k}" for k in range(len(inputs))), *(f"z{k}" for k in range(len(widths)))]
    lines += [f"    do row = 1, {n}", f"      call m{i}({', '.join(row)})", "    end do"]
    lines.append(f"    call m{i}_batch({', '.join(whole)})")
    for k in range(len(widths)):
        lines += [f"    {opened.format(f'y{i}_{k}.bin', 'replace')}", f"    write(unit) y{k}", f"    write(unit) z{k}"]
        lines.append("    close(unit)")
    return "\n".join([*lines, "  end subroutine"])


@needs_gfortran
def test_random_models_agree_to_two_units_of_the_largest_output(tmp_path):
    models = finite_models(range(200, 240))
    cases = [(model, X, model.output_shape[1]) for model, X in models]
    for (model, X), (one_by_one, batch) in zip(models, run(tmp_path, cases), strict=True):
        expected = model.predict(X)
        unit = np.spacing(np.abs(expected).max(axis=0))
        assert one_by_one.tobytes() == batch.tobytes()
        assert (np.abs(batch - expected).max(axis=0) <= 2 * unit).all(), (model.name, model.dtype)


@needs_gfortran
def test_kernels_of_many_weights(tmp_path):
    model = fastnn.Sequential([fastnn.Input((300,)), layers.Dense(250, activation="tanh"), layers.Dense(1)], seed=1)
    X = np.random.default_rng(0).normal(size=(20, 300)).astype(np.float32)
    (outputs,) = run(tmp_path, [(model, X, 1)])
    np.testing.assert_allclose(
        outputs[1], model.predict(X), rtol=0, atol=2 * np.spacing(np.abs(model.predict(X)).max())
    )


@needs_gfortran
def test_wide_layers_keep_their_numbers_on_the_stack(tmp_path):
    for dtype in ("float32", "float64"):
        model = fastnn.Sequential([fastnn.Input((3,)), layers.FeatureScale(6000)], seed=1, dtype=dtype)
        model.export_fortran(tmp_path / "net.f90")
        # with -Wall -Werror gfortran refuses to move an array to static memory, which threads would share
        subprocess.run([*GFORTRAN, *FLAGS, "-c", "net.f90"], cwd=tmp_path, check=True)


def test_bad_names_are_refused(tmp_path):
    model = fastnn.Sequential([fastnn.Input((3,)), layers.Dense(2)])
    for name in ("x", "_net", "a-b", "a" * 51):
        with pytest.raises(ValueError, match="function must"):
            model.export_fortran(tmp_path / "net.f90", function=name)
    model = fastnn.Sequential([fastnn.Input((3,)), layers.Dense(2, activation="softmax")])
    for name in ("softmax", "Exp_Of", "accumulate"):
        with pytest.raises(ValueError, match=f"function must not be '{name}', which already has a meaning there"):
            model.export_fortran(tmp_path / "net.f90", function=name)
    with pytest.raises(ValueError, match=r"path must end in '\.f90'"):
        model.export_fortran(tmp_path / "net.f")
    assert not list(tmp_path.iterdir())
