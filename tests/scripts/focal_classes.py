"""Rare classes: a focal loss with a weight per class, a custom metric class and callback, warm-up and decay."""

import keras
import numpy as np
from keras import layers, losses, metrics, optimizers
from sklearn.utils.class_weight import compute_class_weight

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)
X = rng.normal(size=(3000, 8)).astype("float32")
score = X[:, 0] + 0.5 * X[:, 1] * X[:, 2]
labels = np.digitize(score, [-1.5, 1.5])
Y = keras.utils.to_categorical(labels, num_classes=3)
X_train, Y_train, X_val, Y_val = X[:2400], Y[:2400], X[2400:], Y[2400:]
alpha = compute_class_weight("balanced", classes=np.unique(labels), y=labels)


@keras.utils.register_keras_serializable() if hasattr(keras.utils, "register_keras_serializable") else lambda c: c
class RareRecall(metrics.Metric):
    """Share of the rows of the first and the last class that are found."""

    def __init__(self, name="rare_recall", **kwargs):
        super().__init__(name=name, **kwargs)
        self.found = self.add_weight(name="found", initializer="zeros")
        self.total = self.add_weight(name="total", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        truth, called = keras.ops.argmax(y_true, axis=-1), keras.ops.argmax(y_pred, axis=-1)
        rare = keras.ops.not_equal(truth, 1)
        right = keras.ops.logical_and(rare, keras.ops.equal(truth, called))
        self.found.assign_add(keras.ops.sum(keras.ops.cast(right, "float32")))
        self.total.assign_add(keras.ops.sum(keras.ops.cast(rare, "float32")))

    def result(self):
        return self.found / (self.total + keras.backend.epsilon())

    def reset_state(self):
        self.found.assign(0.0)
        self.total.assign(0.0)


class LossHistory(keras.callbacks.Callback):
    """Keeps the loss of each batch, and stops when the recall is high enough."""

    def on_train_begin(self, logs=None):
        self.losses = []

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(logs["loss"])

    def on_epoch_end(self, epoch, logs=None):
        if logs.get("val_rare_recall") > 0.97:
            self.model.stop_training = True


steps = 20 * int(np.ceil(len(X_train) / 64))
rate = optimizers.schedules.CosineDecay(1e-4, steps, warmup_target=1e-2, warmup_steps=steps // 10)
model = keras.Sequential(
    [
        layers.Input(shape=(8,)),
        layers.Dense(48, activation=layers.LeakyReLU(negative_slope=0.1), kernel_constraint="max_norm"),
        layers.LayerNormalization(),
        layers.Dense(24, activation=keras.activations.gelu),
        layers.Dense(3, activation="softmax"),
    ]
)
model.compile(
    optimizer=optimizers.AdamW(learning_rate=rate, weight_decay=1e-4, clipnorm=1.0),
    loss=losses.CategoricalFocalCrossentropy(alpha=list(alpha), gamma=1.5),
    metrics=["accuracy", metrics.F1Score(average="macro"), RareRecall()],
)
batches = LossHistory()
history = model.fit(
    X_train, Y_train, batch_size=64, epochs=20, validation_data=(X_val, Y_val), callbacks=[batches], verbose=0
)
results = model.evaluate(X_val, Y_val, verbose=0, return_dict=True)
print({name: round(float(value), 3) for name, value in results.items()})
assert len(batches.losses) == len(history.epoch) * 38
assert set(results) == {"loss", "accuracy", "f1_score", "rare_recall"}

probabilities = model.predict(X_val, verbose=0)
truth, called = Y_val.argmax(axis=1), probabilities.argmax(axis=1)
rare = truth != 1
assert np.isclose(results["rare_recall"], np.mean(called[rare] == truth[rare]), atol=1e-5)
assert results["rare_recall"] > 0.9 and results["f1_score"] > 0.7
rows = np.asarray(losses.categorical_focal_crossentropy(Y_val, probabilities, alpha=alpha, gamma=1.5))
assert np.isclose(np.mean(rows), results["loss"], rtol=1e-3)
