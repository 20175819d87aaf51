"""Exported C: bits, compilers, names and files."""

import subprocess

import numpy as np
import pytest
from exported_models import ACTIVATIONS, C_FLAGS, WARNINGS, compiler, finite_models, run_all

import fastnn
from fastnn import layers

GCC = compiler("gcc")
needs_gcc = pytest.mark.skipif(GCC is None, reason="needs gcc")


@pytest.fixture
def model():
    return fastnn.Sequential(
        [fastnn.Input((4,)), layers.Dense(9, activation="tanh"), layers.Dense(3, activation="softmax")], seed=1
    )


@needs_gcc
def test_random_models_have_fastnn_s_bits(tmp_path):
    models = finite_models(range(40))
    assert len(models) > 30
    cases = [(model, X, model.output_shape[1]) for model, X in models]
    for (model, X), (one_by_one, batch) in zip(models, run_all(tmp_path, cases, GCC), strict=True):
        expected = model.predict(X).tobytes()
        assert one_by_one.tobytes() == expected, model.name
        assert batch.tobytes() == expected, model.name


@needs_gcc
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_activations_have_fastnn_s_bits_on_extreme_inputs(tmp_path, dtype):
    info = np.finfo(dtype)
    powers = np.float64(2.0) ** np.arange(np.log2(info.tiny), np.log2(info.max) - 1.0)
    rng = np.random.default_rng(0)
    values = np.concatenate([powers, rng.normal(size=600) * 10, rng.normal(size=600) * 200, [0.0, 0.5, 3.0, 6.0]])
    X = np.concatenate([values, -values]).astype(dtype)[:, None]
    names = [name for name in ACTIVATIONS if name not in ("linear", "softmax", "log_softmax")]
    models = [
        fastnn.Sequential([fastnn.Input((1,)), layers.Activation(name)], dtype=dtype, name=name) for name in names
    ]
    results = run_all(tmp_path, [(model, X, 1) for model in models], GCC)
    for model, (one_by_one, batch) in zip(models, results, strict=True):
        expected = model.predict(X)
        np.testing.assert_array_equal(one_by_one, expected, err_msg=model.name)
        assert batch.tobytes() == one_by_one.tobytes() == expected.tobytes(), model.name


def build(folder, command, *flags):
    subprocess.run([*command, *flags, "net.c", "-o", "net", "-lm"], cwd=folder, check=True)


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("gcc", C_FLAGS),
        ("gcc", ("-std=c99", "-O3", *WARNINGS)),
        ("clang", ("-std=c99", "-O2", *WARNINGS)),
        ("g++", ("-x", "c++", "-O1", *WARNINGS)),
        ("clang++", ("-x", "c++", "-O1", *WARNINGS)),
    ],
)
def test_self_test_passes_without_warnings(tmp_path, model, name, flags):
    command = compiler(name)
    if command is None:
        pytest.skip(f"needs {name}")
    model.export_c(tmp_path / "net.c")
    build(tmp_path, command, *flags, "-DNET_SELF_TEST")
    done = subprocess.run(["./net"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0
    assert "all bits equal" in done.stdout


@needs_gcc
def test_self_test_finds_a_changed_weight(tmp_path, model):
    model.export_c(tmp_path / "net.c", function="model")
    kernel, *others = model.get_weights()
    kernel[0, 0] += 1.0
    model.set_weights([kernel, *others])
    model.export_c(tmp_path / "other.c", function="model")
    first, second = ((tmp_path / name).read_text() for name in ("net.c", "other.c"))
    at = "static const uint32_t test_bits"
    (tmp_path / "net.c").write_text(second.split(at)[0] + at + first.split(at)[1])
    (tmp_path / "other.h").write_text((tmp_path / "net.h").read_text())
    build(tmp_path, GCC, *C_FLAGS, "-DMODEL_SELF_TEST")
    done = subprocess.run(["./net"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "outputs differ" in done.stdout


@needs_gcc
def test_fast_math_is_refused(tmp_path, model):
    model.export_c(tmp_path / "net.c")
    done = subprocess.run([*GCC, "-ffast-math", "-c", "net.c"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
    assert "compile without -ffast-math" in done.stderr


def test_names_and_comments(tmp_path, model):
    model.export_c(tmp_path / "gmm.c", function="gmm")
    header, source = ((tmp_path / name).read_text() for name in ("gmm.h", "gmm.c"))
    assert "void gmm(const float *x, float *y);" in header
    assert "void gmm_batch(const float *x, float *y, size_t n);" in header
    assert '#include "gmm.h"' in source
    assert "malloc(" not in source
    assert "63 multiply-adds" in source


def test_same_model_gives_the_same_bytes(tmp_path, model):
    model.export_c(tmp_path / "net.c")
    first = (tmp_path / "net.c").read_bytes()
    model.export_c(tmp_path / "net.c")
    assert (tmp_path / "net.c").read_bytes() == first


def test_names_of_columns_cannot_end_a_comment(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a */ b": [0.0, 1.0], "c\nd": [1.0, 0.0]})
    model = fastnn.Sequential([layers.Dense(1)], seed=0)
    model.compile("adam", "mse")
    model.fit(frame, np.zeros(2), verbose=0)
    model.export_c(tmp_path / "net.c")
    header = (tmp_path / "net.h").read_text()
    assert "x[0]: a * / b" in header
    assert "x[1]: c d" in header


@pytest.mark.parametrize("name", ["", "2net", "net-1", "_net", "int", "main", "é", None, "a" * 64, "net "])
def test_bad_function_names_are_refused(tmp_path, model, name):
    with pytest.raises(ValueError, match="function must"):
        model.export_c(tmp_path / "net.c", function=name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["softmax", "expm1_of", "apply_tanh", "tile_1_1_16", "members"])
def test_names_of_the_file_s_own_functions_are_refused(tmp_path, name):
    stack = [layers.MemberDense(2, 9), layers.Activation("tanh"), layers.Dense(3, activation="softmax")]
    model = fastnn.Sequential([fastnn.Input((4,)), *stack])
    with pytest.raises(ValueError, match=f"function must not be '{name}', which already has a meaning there"):
        model.export_c(tmp_path / "net.c", function=name)
    assert not list(tmp_path.iterdir())


def test_bad_paths_are_refused(tmp_path, model):
    with pytest.raises(ValueError, match=r"path must end in '\.c'"):
        model.export_c(tmp_path / "net.h")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        model.export_c(tmp_path / "nowhere" / "net.c")
    with pytest.raises(TypeError, match="path must be a path"):
        model.export_c(3)
    assert not list(tmp_path.iterdir())


def test_files_of_others_are_kept(tmp_path, model):
    (tmp_path / "net.h").write_text("int precious;\n")
    with pytest.raises(FileExistsError, match="not written by fastnn"):
        model.export_c(tmp_path / "net.c")
    assert [file.name for file in tmp_path.iterdir()] == ["net.h"]


def test_models_that_cannot_be_exported(tmp_path):
    with pytest.raises(ValueError, match="not built"):
        fastnn.Sequential([layers.Dense(2)]).export_c(tmp_path / "net.c")
    model = fastnn.Sequential([fastnn.Input((2,)), layers.Dense(2, name="last")])
    model.set_weights([np.full((2, 2), np.nan), np.zeros(2)])
    with pytest.raises(ValueError, match="layer 'last' has a kernel that is not finite"):
        model.export_c(tmp_path / "net.c")
    assert not list(tmp_path.iterdir())
