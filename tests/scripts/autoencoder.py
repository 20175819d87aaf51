"""Images of digits through a bottleneck and back; the trained halves become two separate models."""

import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_digits

keras.utils.set_random_seed(3)
images = load_digits().images / 16.0
x_train, x_test = images[:1500], images[1500:]
x_train = x_train.astype("float32").reshape((len(x_train), np.prod(x_train.shape[1:])))
x_test = x_test.astype("float32").reshape((len(x_test), np.prod(x_test.shape[1:])))

noisy_train = x_train + 0.1 * np.random.default_rng(0).normal(size=x_train.shape)

autoencoder = keras.Sequential(name="autoencoder")
autoencoder.add(keras.Input(shape=(64,)))
autoencoder.add(layers.Dense(32, activation="relu"))
autoencoder.add(layers.Dense(8, activation="relu", name="code"))
autoencoder.add(layers.Dense(32, activation="relu"))
autoencoder.add(layers.Dense(64, activation="sigmoid"))
autoencoder.compile(optimizer="adam", loss="binary_crossentropy", metrics=["mae"])


class StopBelow(keras.callbacks.Callback):
    """Ends training when the validation error is small enough."""

    def __init__(self, limit):
        super().__init__()
        self.limit = limit
        self.batches = 0

    def on_train_batch_end(self, batch, logs=None):
        self.batches += 1

    def on_epoch_end(self, epoch, logs=None):
        if logs["val_mae"] < self.limit:
            self.model.stop_training = True


stop = StopBelow(0.085)
history = autoencoder.fit(
    noisy_train,
    x_train,
    epochs=80,
    batch_size=32,
    shuffle=True,
    validation_data=(x_test, x_test),
    callbacks=[stop],
    verbose=0,
)
print("validation MAE", history.history["val_mae"][-1], "after", len(history.epoch), "epochs")
assert history.history["val_mae"][-1] < 0.1
assert stop.batches == len(history.epoch) * -(-len(x_train) // 32)

encoder = keras.Sequential(
    [keras.Input(shape=(64,)), layers.Dense(32, activation="relu"), layers.Dense(8, activation="relu")]
)
for layer, trained in zip(encoder.layers, autoencoder.layers, strict=False):
    layer.set_weights(trained.get_weights())
decoder = keras.Sequential(
    [keras.Input(shape=(8,)), layers.Dense(32, activation="relu"), layers.Dense(64, activation="sigmoid")]
)
decoder.set_weights([value for layer in autoencoder.layers[2:] for value in layer.get_weights()])
codes = encoder.predict(x_test, verbose=0)
assert codes.shape == (len(x_test), 8)
rebuilt = autoencoder.predict(x_test, verbose=0)
np.testing.assert_allclose(decoder.predict(codes, verbose=0), rebuilt, rtol=1e-4, atol=1e-5)
