"""Pictures: what is drawn, where, and with which labels; pixels are not compared."""

import warnings
from xml.etree import ElementTree

import numpy as np
import pytest

import fastnn
from fastnn import layers, metrics

matplotlib = pytest.importorskip("matplotlib", reason="the pictures need matplotlib")
matplotlib.use("Agg")

from matplotlib import pyplot as plt  # noqa: E402

from fastnn import diagram, plotting  # noqa: E402


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def binary():
    generator = np.random.default_rng(0)
    y = (generator.random(400) < 0.3).astype(int)
    return y, np.clip(0.3 * y + 0.5 * generator.random(400), 0.0, 1.0)


def network():
    return fastnn.Sequential(
        [fastnn.Input((5,)), layers.Dense(32, activation="relu"), layers.Dropout(0.1), layers.Dense(3)],
        seed=0,
        name="net",
    )


def test_every_function_draws_into_the_given_axes_and_returns_them():
    y, p = binary()
    line = {"loss": [3.0, 2.0], "val_loss": [3.5, 2.5]}
    calls = {
        "calibration_curve": lambda ax: plotting.calibration_curve(y, p, ax=ax),
        "confusion_matrix": lambda ax: plotting.confusion_matrix(y, p > 0.5, ax=ax),
        "decision_regions": lambda ax: plotting.decision_regions(
            lambda X: X[:, 0] > 0, np.c_[p, p**2], y, feature_names=("a (m)", "b (s)"), n=5, ax=ax
        ),
        "history": lambda ax: plotting.history(line, ax=ax),
        "loss_landscape": lambda ax: plotting.loss_landscape(landscape(), ax=ax),
        "network": lambda ax: plotting.network(network(), ax=ax),
        "precision_recall_curve": lambda ax: plotting.precision_recall_curve(y, p, ax=ax),
        "predicted_against_true": lambda ax: plotting.predicted_against_true(y, p, unit="m", ax=ax),
        "residuals": lambda ax: plotting.residuals(y, p, unit="m", ax=ax),
        "roc_curve": lambda ax: plotting.roc_curve(y, p, ax=ax),
        "speed_table": lambda ax: plotting.speed_table({"a": {"x": 1e-6, "y": 2.0}}, ax=ax),
    }
    assert sorted(calls) == sorted(plotting.__all__)
    for name, call in calls.items():
        _, ax = plt.subplots()
        before = len(plt.get_fignums())
        assert call(ax) is ax, name
        assert len(plt.get_fignums()) == before, name
        assert ax.has_data(), name
        if name not in ("network", "speed_table"):
            assert ax.get_xlabel() and ax.get_ylabel(), name
        assert call(None) is not ax, name
        plt.close("all")


def landscape(dimensions=2):
    model = fastnn.Sequential([fastnn.Input((2,)), layers.Dense(4, activation="tanh"), layers.Dense(1)], seed=0)
    model.compile("sgd", "mse")
    X = np.random.default_rng(0).normal(size=(20, 2))
    return fastnn.loss_landscape(model, X, X[:, :1], n=7, dimensions=dimensions)


def test_history_draws_training_solid_and_validation_dashed():
    ax = plotting.history({"loss": [3.0, 2.0, 1.0], "val_loss": [4.0, 3.0, 2.0], "mae": [1, 1, 1]})
    solid, dashed = ax.lines
    assert (solid.get_linestyle(), dashed.get_linestyle()) == ("-", "--")
    assert solid.get_color() == dashed.get_color()
    np.testing.assert_array_equal(solid.get_xdata(), [1, 2, 3])
    np.testing.assert_array_equal(dashed.get_ydata(), [4, 3, 2])
    with pytest.raises(ValueError, match="no 'auc'; it has loss, val_loss, mae"):
        plotting.history({"loss": [1.0], "val_loss": [1.0], "mae": [1.0]}, ["auc"])
    many = {f"metric {number}": [1.0, 2.0] for number in range(10)}
    assert len(plotting.history(many, list(many)).lines) == 10


def test_history_takes_a_model_and_refuses_what_is_not_a_history():
    X = np.random.default_rng(0).normal(size=(20, 5))
    model = network()
    model.compile("sgd", "mse")
    with pytest.raises(TypeError, match=r"^history must be .* got Sequential, which was not fitted$"):
        plotting.history(model)
    model.fit(X, X[:, :3], epochs=3, verbose=0)
    np.testing.assert_array_equal(plotting.history(model).lines[0].get_ydata(), model.history.history["loss"])
    for given, got in ((None, "NoneType$"), ("loss", "str$"), ([1.0, 2.0], "list$")):
        with pytest.raises(TypeError, match=rf"^history must be the result of fit, .* got {got}"):
            plotting.history(given)
    with pytest.raises(ValueError, match="the history has no 'loss'; it has nothing"):
        plotting.history({})


def test_an_estimator_is_refused_by_name():
    pytest.importorskip("sklearn", reason="the estimators need scikit-learn")
    X, y = np.random.default_rng(0).normal(size=(20, 2)), np.arange(20) % 2
    with warnings.catch_warnings(action="ignore"):
        estimator = fastnn.MLPClassifier((3,), max_iter=2).fit(X, y)
    refused = r"^model must be a fastnn.Sequential, got MLPClassifier; an estimator stores its layers and loss in its"
    for draw in (plotting.network, lambda it: fastnn.loss_landscape(it, X, y), lambda it: fastnn.diagnose(it, X, y)):
        with pytest.raises(TypeError, match=refused):
            draw(estimator)
    with pytest.raises(TypeError, match=r"got MLPClassifier: for an estimator pass \{'loss': estimator.loss_curve_\}"):
        plotting.history(estimator)
    with pytest.raises(TypeError, match=r"^landscape must be the result of fastnn.loss_landscape\(.*\), got Seq"):
        plotting.loss_landscape(network())
    with pytest.raises(TypeError, match=r"^TrainingDoctor examines a fastnn\.Sequential"):
        fastnn.MLPClassifier((3,), callbacks=[fastnn.TrainingDoctor(X, y)]).fit(X, y)


def test_confusion_matrix_shows_the_counts():
    y_true, y_pred = fastnn.datasets.cats_and_dogs()
    ax = plotting.confusion_matrix(y_true, y_pred, class_names=["dog", "cat"])
    assert [text.get_text() for text in ax.texts] == ["998", "0", "1", "1"]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["dog", "cat"]
    with pytest.raises(ValueError, match="class_names has 1 names, but there are 2"):
        plotting.confusion_matrix(y_true, y_pred, class_names=["dog"])


def test_curves_are_those_of_the_metrics():
    y, p = binary()
    false_rate, true_rate, _ = metrics.roc_curve(y, p)
    ax = plotting.roc_curve(y, p, label="net")
    np.testing.assert_array_equal(ax.lines[1].get_xydata(), np.c_[false_rate, true_rate])
    assert ax.lines[1].get_label() == f"net (AUC {metrics.roc_auc_score(y, p):.3f})"
    plotting.roc_curve(y, 1 - p, ax=ax)
    assert len(ax.lines) == 3 and ax.lines[2].get_color() != ax.lines[1].get_color()

    ax = plotting.precision_recall_curve(y, p)
    assert f"AP {metrics.average_precision_score(y, p):.3f}" in ax.lines[1].get_label()
    ax = plotting.calibration_curve(y, p, n_bins=5)
    observed, predicted = metrics.calibration_curve(y, p, n_bins=5)
    np.testing.assert_array_equal(ax.lines[1].get_xydata(), np.c_[predicted, observed])


def test_decision_regions_take_classes_probabilities_and_scores():
    X = np.array([[-1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    y = np.array([0, 1, 1, 0])
    right = {
        "classes": lambda g: (g[:, 0] > 0).astype(int),
        "probabilities": lambda g: np.where(g[:, :1] > 0, 0.9, 0.1),
        "scores": lambda g: np.c_[-g[:, 0], g[:, 0]],
    }
    drawn = [plotting.decision_regions(f, X, y, n=10).collections[0].get_array().ravel() for f in right.values()]
    for regions in drawn:
        np.testing.assert_array_equal(regions.reshape(10, 10), np.tile(np.repeat([0.0, 1.0], 5), (10, 1)))
    with pytest.raises(ValueError, match=r"X must have two features, got shape \(4, 3\)"):
        plotting.decision_regions(right["classes"], np.ones((4, 3)), y)


def test_decision_regions_of_text_labels_name_them_in_the_legend():
    X = np.array([[-1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    y = np.array(["dog", "cat", "cat", "dog"])
    # "cat" is class 0.
    right = {
        "texts": lambda g: np.where(g[:, 0] > 0, "cat", "dog"),
        "objects": lambda g: np.where(g[:, 0] > 0, "cat", "dog").astype(object),
        "probabilities": lambda g: np.where(g[:, :1] > 0, 0.1, 0.9),
        "scores": lambda g: np.c_[g[:, 0], -g[:, 0]],
    }
    for f in right.values():
        for labels in (y, y.astype(object), list(y)):
            ax = plotting.decision_regions(f, X, labels, n=10)
            assert [text.get_text() for text in ax.get_legend().get_texts()] == ["cat", "dog"]
            regions, *points = ax.collections
            np.testing.assert_array_equal(
                regions.get_array().reshape(10, 10), np.tile(np.repeat([1.0, 0.0], 5), (10, 1))
            )
            np.testing.assert_array_equal(points[0].get_offsets(), X[[1, 2]])
    ax = plotting.decision_regions(right["texts"], X, y, n=10, class_names=["a cat", "a dog"])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a cat", "a dog"]
    with pytest.raises(ValueError, match="class_names has 1 names, but there are 2 classes"):
        plotting.decision_regions(right["texts"], X, y, n=10, class_names=["a cat"])
    with pytest.raises(ValueError, match="predict returned class number 2, but y has 2 classes"):
        plotting.decision_regions(lambda g: np.full(len(g), 2), X, y, n=10)
    with pytest.raises(ValueError, match=r"^predict must return classes 0 to n_classes - 1, or strings in both"):
        plotting.decision_regions(right["texts"], X, [0, 1, 1, 0], n=10)
    with pytest.raises(ValueError, match=r"^y must hold classes 0 to n_classes - 1, or strings in both .* got .*0.5"):
        plotting.decision_regions(right["scores"], X, [0.5, 1, 1, 0], n=10)


def test_residuals_are_true_minus_predicted():
    ax = plotting.residuals([3.0, 5.0], [1.0, 6.0], name="depth", unit="km")
    np.testing.assert_array_equal(ax.collections[0].get_offsets(), [[1.0, 2.0], [6.0, -1.0]])
    assert ax.get_ylabel() == "true minus predicted depth (km)"
    with pytest.raises(ValueError, match="y_true has 2 rows, y_pred 3"):
        plotting.residuals([1, 2], [1, 2, 3])


def test_running_median_has_one_point_for_equal_values_and_none_for_few_rows():
    magnitude = np.repeat([5.0, 5.1, 6.0, 7.0], [100, 1, 20, 3])
    ax = plotting.residuals(np.repeat([1.0, 9.0, 2.0, 3.0], [100, 1, 20, 3]), np.zeros(124), against=magnitude)
    assert ax.lines[1].get_xydata().tolist() == [[5.0, 1.0], [6.0, 2.0]]
    with pytest.raises(ValueError, match="y_pred must be finite, but entry 1 is not"):
        plotting.predicted_against_true([1, 2], [1, np.nan])


def test_the_path_lies_on_the_surface_and_both_pictures_name_their_axes_alike():
    generator = np.random.default_rng(0)
    X = generator.normal(size=(60, 2))
    model = fastnn.Sequential([layers.Dense(4, activation="tanh"), layers.Dense(1)], seed=0)
    model.compile(optimizer="adam", loss="mse")
    recorder = fastnn.WeightRecorder()
    model.fit(X, X[:, :1] * X[:, 1:], epochs=6, verbose=0, callbacks=[recorder])
    drawn = fastnn.loss_landscape(model, X, X[:, :1], n=7, directions="trajectory", trajectory=recorder, verbose=0)
    # On a plane, 2 alpha + 3 beta, the interpolated heights are exact.
    drawn.loss[:] = 100.0 + 2.0 * drawn.alpha + 3.0 * drawn.beta[:, None]
    contours, surface = drawn.plot()
    x, y, z = surface.lines[0].get_data_3d()
    assert len(x) == len(drawn.path)
    np.testing.assert_allclose(z, 100.0 + 2.0 * x + 3.0 * y, rtol=1e-12)
    assert contours.get_xlabel().startswith(surface.get_xlabel()) and "principal axis 1" in surface.get_xlabel()


@pytest.mark.parametrize(("low", "high"), [(0.1775, 0.62), (0.0105, 2.2), (1e-6, 3e4), (0.9, 2.8)])
def test_a_colour_bar_has_between_four_and_ten_round_numbers(low, high):
    from fastnn.plotting.training import _round_numbers

    ticks = _round_numbers(low, high)
    assert 4 <= len(ticks) <= 10 or high / low > 1e9
    assert all(low <= tick <= high for tick in ticks)


def test_landscape_gives_contours_and_surface():
    contours, surface = landscape().plot()
    assert (contours.name, surface.name) == ("rectilinear", "3d")
    assert landscape(1).plot().get_ylabel() == "loss"
    ax = plt.figure().add_subplot(projection="3d")
    assert landscape().plot(ax=ax) is ax


def test_speed_table_compares_with_the_fastest_of_the_row():
    ax = plotting.speed_table({"step": {"a": 2e-6, "b": 1e-3}, "fit": {"b": 3.0}})
    assert [text.get_text() for text in ax.texts] == ["2 µs\n1×", "1 ms\n500×", "3 s\n1×"]
    with pytest.raises(ValueError, match="positive seconds"):
        plotting.speed_table({"step": {"a": 0.0}})


def test_diagram_is_valid_svg_with_shapes_and_weights():
    root = ElementTree.fromstring(diagram.network_svg(network()))
    space = "{http://www.w3.org/2000/svg}"
    texts = [element.text for element in root.iter(f"{space}text")]
    assert texts == [
        "Input", "5 features", "Dense, relu", "32 units", "192 weights", "Dropout", "32 units", "Dense", "3 units",
        "99 weights",
    ]  # fmt: skip
    units = [c for c in root.iter(f"{space}circle") if float(c.get("r")) > 2]
    assert len(units) == 5 + 8 + 8 + 3
    # 5 x 8 into the first layer, 8 straight through the dropout, 8 x 3 into the last
    assert len(list(root.iter(f"{space}line"))) == 40 + 8 + 24
    width, height = float(root.get("width")), float(root.get("height"))
    for circle in units:
        assert 0 < float(circle.get("cx")) < width and 0 < float(circle.get("cy")) < height


def test_notebooks_show_a_model():
    model = network()
    assert model._repr_html_().startswith("<svg") and "<td>(None, 32)</td><td>192</td>" in model._repr_html_()
    unbuilt = fastnn.Sequential([layers.Dense(2)], name="<net>")
    assert unbuilt._repr_svg_() is None
    assert "&lt;net&gt;: not built" in unbuilt._repr_html_()


def test_fastnn_imports_no_matplotlib_and_the_extra_is_named(run_python):
    code = (
        "import sys, fastnn; assert 'matplotlib' not in sys.modules; sys.modules['matplotlib'] = None\n"
        "import fastnn.plotting\n"
        "try: fastnn.plotting.history({'loss': [1.0]})\n"
        "except ImportError as error: print(error)\n"
    )
    done = run_python(code)
    assert done.returncode == 0 and done.stdout.endswith(": pip install matplotlib\n")
