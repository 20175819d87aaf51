"""Arguments of the estimators that are unknown or far too large get one error that names them."""

import re

import numpy as np
import pytest

pytest.importorskip("sklearn")
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastnn

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X = np.random.default_rng(0).normal(size=(40, 3))
LABELS = (X[:, 0] > 0).astype(int)
ONES = np.ones(40)


def classifier(**options):
    return fastnn.MLPClassifier(**{"hidden_layer_sizes": (3,), "max_iter": 2, "random_state": 0, **options})


def pipeline():
    return make_pipeline(StandardScaler(), classifier())


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: classifier().partial_fit(X, LABELS, klasses=[0, 1]), "partial_fit.*'klasses'. Did you mean 'classes'"),
        (
            lambda: fastnn.MLPRegressor().partial_fit(X, LABELS, sample_weigth=ONES),
            "MLPRegressor.partial_fit.*Did you mean 'sample_weight'",
        ),
        (lambda: fastnn.TabularClassifier(n_bag=2), "TabularClassifier.*Did you mean 'n_bags'"),
        (lambda: fastnn.TabularRegressor().predict(data=X), "unexpected keyword argument 'data'"),
    ],
)
def test_unknown_keywords_get_a_suggestion(call, message):
    with pytest.raises(TypeError, match=message):
        call()


@pytest.mark.parametrize(
    "make, name, near",
    [
        (classifier, "scorin", "scoring"),
        (classifier, "sample_weigth", "sample_weight"),
        (pipeline, "sample_weight", "mlpclassifier__sample_weight"),
        (pipeline, "mlpclasifier__sample_weight", "mlpclassifier__sample_weight"),
    ],
)
def test_sweep_refuses_unknown_keywords(make, name, near):
    with pytest.raises(TypeError, match=re.escape(f"unexpected keyword argument {name!r}. Did you mean {near!r}?")):
        fastnn.sweep(make(), {}, X, LABELS, **{name: ONES})


def test_sweep_takes_arguments_of_fit():
    fastnn.sweep(classifier(), {"alpha": [0.1]}, X, LABELS, cv=2, sample_weight=ONES, groups=LABELS)
    options = {"mlpclassifier__sample_weight": ONES, "standardscaler__sample_weight": ONES}
    found = fastnn.sweep(pipeline(), {"mlpclassifier__alpha": [0.1]}, X, LABELS, cv=2, **options)
    assert found.best_params_ == {"mlpclassifier__alpha": 0.1}


class _TakesAnything(fastnn.MLPClassifier):
    def fit(self, X, y, **options):
        assert options == {"anything": 1}
        return super().fit(X, y)


def test_sweep_leaves_open_keywords_to_the_estimator():
    fastnn.sweep(_TakesAnything(max_iter=2), {"alpha": [0.1]}, X, LABELS, cv=2, anything=1)


@pytest.mark.parametrize("n", [10**12, 2**63, 10**30])
def test_numbers_that_no_machine_can_serve(n):
    for bags in ("kfold", "bootstrap"):
        for bagged in (fastnn.BaggedMLPClassifier, fastnn.BaggedMLPRegressor):
            with pytest.raises(ValueError, match=rf"'n_bags' parameter .* range \[2, 1000000\]. Got {n}"):
                bagged(n_bags=n, bags=bags).fit(X, LABELS)
    if n > 2**40:
        with pytest.raises(ValueError, match=f"hidden_layer_sizes must be a whole number from 1 to .*, got {n}"):
            classifier(hidden_layer_sizes=n).fit(X, LABELS)
    for estimator in (fastnn.TabularClassifier, fastnn.TabularRegressor):
        with pytest.raises(ValueError, match=rf"'n_bags' parameter .* range \[1, 1000000\]. Got {n}"):
            estimator(n_bags=n).fit(X, LABELS)
    with pytest.raises(ValueError, match=f"seeds must be a whole number from 0 to 1000000, got {n}"):
        fastnn.fit_many(lambda seed: None, X, LABELS, seeds=n)
