"""Data that come batch by batch: a generator, a PyDataset, and a loop of train_on_batch with its own early stop."""

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
x = rng.normal(size=(2048, 6)).astype("float32")
y = (np.sin(x[:, 0]) + x[:, 1] > 0).astype("float32")
x_val, y_val = x[1536:], y[1536:]
x, y = x[:1536], y[:1536]


def get_model():
    model = keras.Sequential(
        [keras.Input(shape=(6,)), layers.Dense(32, activation="tanh"), layers.Dense(1, activation="sigmoid")]
    )
    model.compile(optimizer=keras.optimizers.RMSprop(5e-3), loss="binary_crossentropy", metrics=["accuracy"])
    return model


def noisy_batches(batch_size=64):
    while True:
        rows = rng.integers(0, len(x), batch_size)
        yield x[rows] + 0.01 * rng.normal(size=(batch_size, 6)), y[rows]


class ShuffledBatches(keras.utils.PyDataset):
    def __init__(self, x, y, batch_size, **kwargs):
        super().__init__(**kwargs)
        self.x, self.y, self.batch_size = x, y, batch_size
        self.order = np.arange(len(x))

    def __len__(self):
        return int(np.ceil(len(self.x) / self.batch_size))

    def __getitem__(self, index):
        rows = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        return self.x[rows], self.y[rows]

    def on_epoch_end(self):
        rng.shuffle(self.order)


model = get_model()
history = model.fit(
    noisy_batches(), steps_per_epoch=24, epochs=12, validation_data=ShuffledBatches(x_val, y_val, 100), verbose=2
)
assert len(history.history["val_accuracy"]) == 12
assert history.params["steps"] == 24
print("generator:", history.history["val_accuracy"][-1])
assert history.history["val_accuracy"][-1] > 0.9

model = get_model()
train = ShuffledBatches(x, y, batch_size=100, workers=1)
model.fit(train, epochs=12, class_weight={0: 1.0, 1: 1.5}, verbose=0)
loss, accuracy = model.evaluate(ShuffledBatches(x_val, y_val, 100), verbose=0)
print("data set:", accuracy)
assert accuracy > 0.9
assert model.predict(ShuffledBatches(x_val, y_val, 100), verbose=0).shape == (512, 1)

model = get_model()
best, patience = np.inf, 0
for epoch in range(30):
    model.reset_metrics()
    order = rng.permutation(len(x))
    for start in range(0, len(x), 64):
        rows = order[start : start + 64]
        loss, accuracy = model.train_on_batch(x[rows], y[rows])
    val_loss = model.test_on_batch(x_val, y_val, return_dict=True)["loss"]
    if val_loss < best - 1e-3:
        best, patience, weights = val_loss, 0, model.get_weights()
    else:
        patience += 1
        if patience == 3:
            break
    if epoch == 10:
        model.optimizer.learning_rate = float(model.optimizer.learning_rate) * 0.5
model.set_weights(weights)
print("loop:", best, "after", epoch + 1, "epochs")
assert np.isclose(model.evaluate(x_val, y_val, verbose=0)[0], best, rtol=1e-4)
assert np.mean((model.predict_on_batch(x_val)[:, 0] > 0.5) == y_val) > 0.9
