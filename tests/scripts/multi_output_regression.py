"""Two targets from ten inputs: L2 penalty, a decaying learning rate, mean absolute error, saved weights."""

import os
import tempfile

import keras
import numpy as np
from keras import layers, regularizers
from sklearn.datasets import make_regression
from sklearn.model_selection import train_test_split

keras.utils.set_random_seed(1)
X, y = make_regression(n_samples=1000, n_features=10, n_informative=5, n_targets=2, noise=2.0, random_state=1)
y = y / y.std(axis=0)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)


def get_model(n_inputs, n_outputs):
    model = keras.models.Sequential()
    model.add(
        layers.Dense(
            20,
            input_dim=n_inputs,
            kernel_initializer="he_uniform",
            kernel_regularizer=regularizers.l2(1e-4),
            activation="relu",
        )
    )
    model.add(layers.Dense(n_outputs))
    schedule = keras.optimizers.schedules.ExponentialDecay(0.02, decay_steps=200, decay_rate=0.9)
    model.compile(loss="mae", optimizer=keras.optimizers.Adam(learning_rate=schedule), metrics=["mse", "r2_score"])
    return model


model = get_model(X.shape[1], y.shape[1])
losses = []
callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: losses.append(logs["loss"]))
history = model.fit(X_train, y_train, verbose=0, epochs=60, callbacks=[callback], validation_data=(X_test, y_test))
mae, mse, r2 = model.evaluate(X_test, y_test, verbose=0)
print("test MAE", mae, "R2", r2)
assert r2 > 0.95
assert losses == history.history["loss"]

path = os.path.join(tempfile.mkdtemp(), "regression.weights.h5")
model.save_weights(path)
other = get_model(X.shape[1], y.shape[1])
other.load_weights(path)
np.testing.assert_array_equal(other.predict(X_test, verbose=0), model.predict(X_test, verbose=0))
row = np.asarray([X_test[0]])
assert model.predict(row, verbose=0).shape == (1, 2)
