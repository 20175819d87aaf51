"""scikit-learn's multilayer perceptron, with its shuffling, regularization and stopping switched off."""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor

from fastnn.bench.contestants.contestant import EPSILON, LEARNING_RATE, MOMENTUM, Array
from fastnn.bench.networks import Network


class _ScikitLearn:
    """Its thread count is that of its BLAS, set in the environment."""

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads

    def start_training(self, network: Network, X: Array, y: Array, weights: list[Array]) -> None:
        self.X, self.y = X, y.ravel() if y.shape[-1:] == (1,) else y
        estimator = MLPRegressor if network.loss == "mse" else MLPClassifier
        self.model = estimator(
            hidden_layer_sizes=network.sizes[1:-1],
            activation=network.activation,
            solver="adam" if network.optimizer == "adam" else "sgd",
            momentum=MOMENTUM,
            nesterovs_momentum=False,
            batch_size=network.batch_size,
            learning_rate_init=LEARNING_RATE,
            epsilon=EPSILON,
            alpha=0.0,
            shuffle=False,
            tol=0.0,
            n_iter_no_change=10**9,
            warm_start=True,
            random_state=0,
        )
        # One pass over one batch creates the attributes; the next fit starts from the weights that replace them.
        first = slice(network.batch_size)
        classes = {} if network.loss == "mse" else {"classes": np.unique(self.y)}
        self.model.partial_fit(self.X[first], self.y[first], **classes)
        self.model.coefs_ = [kernel.copy() for kernel in weights[::2]]
        self.model.intercepts_ = [bias.copy() for bias in weights[1::2]]
        # Its squared error has a factor 1/2, which does not change Adam's updates.
        self.factor = 2.0 if network.loss == "mse" else 1.0

    def train(self, epochs: int) -> list[float]:
        self.model.set_params(max_iter=epochs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # max_iter is the number of epochs
            self.model.fit(self.X, self.y)
        return [self.factor * float(value) for value in self.model.loss_curve_[-epochs:]]


CONTESTANT = _ScikitLearn
