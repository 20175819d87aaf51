"""scikit-learn's own checks of estimators: all pass, and none is marked as expected to fail."""

import copy
import pickle
import threading

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import check_estimator

import fastnn
from fastnn.callbacks import EarlyStopping

RNG = np.random.default_rng(1)
X = RNG.normal(size=(120, 5))
Y = (X[:, 0] + X[:, 1] ** 2 > 0.5).astype(int) + (X[:, 2] > 1)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_check_estimator(name):
    results = check_estimator(getattr(fastnn, name)(), on_fail=None, on_skip=None)
    failed = {result["check_name"]: result["exception"] for result in results if result["status"] == "failed"}
    assert failed == {}
    assert sum(result["status"] == "passed" for result in results) >= 55


def test_pickles_hold_the_update_rule():
    first = fastnn.MLPClassifier(random_state=0)
    first.partial_fit(X, Y, classes=[0, 1, 2])
    second = pickle.loads(pickle.dumps(first))
    np.testing.assert_array_equal(second.predict_proba(X), first.predict_proba(X))
    for estimator in (first, second):
        estimator.partial_fit(X, Y)
    np.testing.assert_array_equal(second.predict_proba(X), first.predict_proba(X))


def test_clone_keeps_every_argument():
    given = fastnn.MLPRegressor("mae", optimizer=fastnn.optimizers.RMSprop(0.01), activation=["gelu"], dropout=[0.1])
    copied = clone(given)
    assert copied.get_params().keys() == given.get_params().keys()
    assert copied.activation == ["gelu"]
    assert copied.optimizer.learning_rate == 0.01


@pytest.mark.parametrize("solved", ["fit", "partial_fit"])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))], ids=["deepcopy", "pickle"])
def test_copies_of_a_fitted_estimator_with_callbacks(solved, copied):
    stop = EarlyStopping("loss", min_delta=10.0, restore_best_weights=True)
    given = dict(vars(stop))
    first = fastnn.MLPClassifier(random_state=0, callbacks=[stop])
    getattr(first, solved)(X, Y, **({"classes": [0, 1, 2]} if solved == "partial_fit" else {}))
    second = copied(first)
    np.testing.assert_array_equal(second.predict_proba(X), first.predict_proba(X))
    assert second.callbacks_[0].model.network is second._net
    assert second.callbacks_[0].best == first.callbacks_[0].best is not None
    assert first.callbacks == [stop]
    assert vars(stop) == given
    assert vars(clone(first).callbacks[0]) == given


def test_callbacks_that_cannot_be_copied_are_named():
    stop = EarlyStopping("loss")
    stop.lock = threading.Lock()
    with pytest.raises(TypeError, match=r"callbacks must be objects that copy.deepcopy can copy, .*EarlyStopping"):
        fastnn.MLPClassifier(callbacks=[stop]).fit(X, Y)


def test_searches_run_callbacks_in_workers():
    pytest.importorskip("joblib")
    stop = EarlyStopping("loss", min_delta=10.0)
    search = GridSearchCV(fastnn.MLPClassifier(callbacks=[stop]), {"alpha": [1e-4, 0.1]}, cv=2, n_jobs=2).fit(X, Y)
    assert search.best_estimator_.n_iter_ == 2
    assert search.estimator.callbacks == [stop]


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_searches_give_the_same_results_in_workers(backend):
    joblib = pytest.importorskip("joblib")
    search = GridSearchCV(fastnn.MLPClassifier(random_state=0, max_iter=10), {"alpha": [1e-4, 0.1]}, cv=3)
    alone = search.fit(X, Y).cv_results_["mean_test_score"]
    with joblib.parallel_backend(backend, n_jobs=2):
        together = search.set_params(n_jobs=2).fit(X, Y).cv_results_["mean_test_score"]
    np.testing.assert_array_equal(alone, together)


@pytest.mark.parametrize("processes", [False, True], ids=["threads", "processes"])
def test_dask_workers_use_one_thread_and_give_the_same_results(processes):
    distributed = pytest.importorskip("distributed")
    joblib = pytest.importorskip("joblib")
    from fastnn.estimators.network import threads_to_use

    search = GridSearchCV(fastnn.MLPClassifier(random_state=0, max_iter=5), {"alpha": [1e-4, 0.1]}, cv=2)
    alone = search.fit(X, Y).cv_results_["mean_test_score"]
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": processes, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster):
        with joblib.parallel_config(backend="dask"):
            threads = joblib.Parallel()(joblib.delayed(threads_to_use)(None) for _ in range(4))
            together = search.fit(X, Y).cv_results_["mean_test_score"]
    assert threads == [1, 1, 1, 1]
    np.testing.assert_array_equal(alone, together)


def test_workers_use_one_thread_unless_asked():
    from concurrent.futures import ThreadPoolExecutor

    from fastnn.estimators.network import threads_to_use

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(threads_to_use, None).result() == 1
        assert pool.submit(threads_to_use, 3).result() == 3
    assert threads_to_use(None) == 0


def test_scikit_learn_is_imported_only_when_it_is_needed(run_python):
    code = (
        "import sys, fastnn; assert 'sklearn' not in sys.modules and 'scipy' not in sys.modules\n"
        "sys.modules['sklearn'] = None\n"
        "try:\n    fastnn.MLPClassifier\n"
        "except ImportError as error:\n    assert str(error).endswith(': pip install scikit-learn'), error\n"
        "else:\n    raise AssertionError('no error')\n"
    )
    run = run_python(code)
    assert run.returncode == 0, run.stderr


class Recorder:
    """A callback of scikit-learn's protocol that stops after three iterations."""

    def __init__(self):
        self.scores, self.events = [], []

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.events.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, fitted_estimator=None):
        self.events.append(f"end {context.task_name}")
        self.scores.append(fitted_estimator.score(X, y))
        return context.task_name != "fit" and len(self.scores) == 3


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_scikit_learns_callbacks(solver):
    pytest.importorskip("sklearn.callback", reason="scikit-learn's callbacks begin with version 1.9")
    recorder = Recorder()
    model = fastnn.MLPClassifier(solver=solver, random_state=0, max_iter=20).set_callbacks(recorder)
    model.fit(X, Y)
    assert recorder.events[:2] == ["setup", "begin fit"]
    assert recorder.events[-2:] == ["end fit", "teardown"]
    assert recorder.events.count("end iteration") == 3
    assert recorder.scores[-1] == model.score(X, Y)
    assert model.n_iter_ == 3
