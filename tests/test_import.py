"""What ``import fastnn`` loads at once, and what it finds later."""

import pickle

import pytest

import fastnn
import fastnn._registry as registry

LATE_MODULES = (
    *("backend", "datasets", "diagram", "estimators", "interchange", "many", "metrics", "reference", "saving"),
    *("callbacks.functions", "callbacks.monitors", "losses.functions", "network.summary", "training.fit"),
    *("layers.arithmetic", "layers.embedding", "layers.encoding", "layers.lookups", "layers.merging"),
    *("models.folding", "models.gradients", "models.hidden"),
)
"""Modules that only some users need."""


def test_a_missing_extension_is_reported_with_a_cure(run_python):
    last = run_python("import sys; sys.modules['fastnn._core'] = None; import fastnn").stderr.splitlines()[-1]
    assert last.startswith("ImportError: fastnn's compiled extension is missing. Build it: ")
    assert "C compiler" in last and "pip install ." in last


def test_import_loads_numpy_and_nothing_optional(run_python):
    code = (
        "import sys, fastnn; print(sorted({name.split('.')[0] for name in sys.modules} & "
        "{'sklearn', 'matplotlib', 'torch', 'jax', 'scipy', 'pandas', 'keras', 'onnx', 'difflib'}), "
        f"[name for name in {LATE_MODULES} if f'fastnn.{{name}}' in sys.modules])"
    )
    assert run_python(code).stdout == "[] []\n"


def test_modules_are_imported_on_first_use(run_python):
    code = "import fastnn; fastnn.reference.loss; fastnn.datasets; fastnn.metrics; print(fastnn.__version__)"
    result = run_python(code)
    assert result.stderr == "" and result.stdout.strip() == fastnn.__version__
    assert {"reference", "datasets", "metrics", "Sequential"} <= set(dir(fastnn))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = fastnn.nothing


@pytest.mark.parametrize("module", ["layers", "losses", "callbacks", "models"])
def test_names_of_late_modules_are_there_before_their_modules(run_python, module):
    code = (
        f"import fastnn; found = dir(fastnn.{module}); from fastnn.{module} import *; names = fastnn.{module}.__all__; "
        f"print(found == sorted(names), all(globals()[name] is getattr(fastnn.{module}, name) for name in names))"
    )
    assert run_python(code).stdout == "True True\n"


def test_descriptions_find_layers_of_late_modules(run_python):
    names = sorted(name for name in fastnn.layers.__all__ if name in registry.listed("layer"))
    assert {"Add", "Embedding", "StringLookup", "Hashing", "Dot"} <= set(names)
    code = (
        "import fastnn, fastnn._registry as registry; "
        f"known = [registry.knows('layer', name) and name in registry.listed('layer') for name in {names}]; "
        f"found = [registry.find('layer', name) is getattr(fastnn.layers, name) for name in {names[::-1]}]; "
        "print(all(known), all(found), len(registry.listed('layer')) - len(set(registry.listed('layer'))))"
    )
    assert run_python(code).stdout == "True True 0\n"


def test_models_of_late_layers_are_read_in_a_new_process(run_python, tmp_path):
    words = fastnn.Input((1,), dtype="string", name="words")
    places = fastnn.layers.StringLookup(vocabulary=["a", "b"])(words)
    hidden = fastnn.layers.Flatten()(fastnn.layers.Embedding(3, 2)(places))
    model = fastnn.Model(words, 1.0 - fastnn.layers.Multiply()([hidden, hidden])[:, 1:], seed=0)
    model.save(tmp_path / "model.safetensors")
    (tmp_path / "model.pickle").write_bytes(pickle.dumps(model))
    X = [["a"], ["c"]]
    for read in ("fastnn.load_model(path)", "pickle.loads(pathlib.Path(path).read_bytes())"):
        path = tmp_path / ("model.safetensors" if "load_model" in read else "model.pickle")
        code = f"import fastnn, pathlib, pickle; path = {str(path)!r}; print({read}.predict({X}).tolist())"
        assert run_python(code).stdout == f"{model.predict(X).tolist()}\n"
