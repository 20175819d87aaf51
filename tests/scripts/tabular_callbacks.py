"""Regression of prices as in competitions: many callbacks, mixed regularizers, custom metrics, plots."""

import os
import tempfile

import keras
import matplotlib
import numpy as np
from keras import backend as K
from keras.callbacks import CSVLogger, EarlyStopping, LearningRateScheduler, ModelCheckpoint, ReduceLROnPlateau
from keras.layers import Activation, BatchNormalization, Dense, Dropout, Input
from keras.models import Model, Sequential, load_model
from keras.optimizers import Adam
from keras.regularizers import l1, l1_l2, l2
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

matplotlib.use("Agg")
import matplotlib.pyplot as plt

keras.utils.set_random_seed(42)
rng = np.random.RandomState(42)
X = rng.lognormal(size=(1500, 10))
y = np.log1p(3.0 * X[:, 0] + X[:, 1] * X[:, 2]) + 0.1 * rng.randn(1500)
X_train, X_val, y_train, y_val = train_test_split(X, y[:, None], test_size=0.2, random_state=42)
scaler = StandardScaler()
X_train, X_val = scaler.fit_transform(np.log(X_train)), scaler.transform(np.log(X_val))


def rmse(y_true, y_pred):
    return keras.ops.sqrt(keras.ops.mean(keras.ops.square(y_pred - y_true)))


def r_squared(y_true, y_pred):
    y_true = keras.ops.cast(y_true, "float32")
    residual = keras.ops.sum(keras.ops.square(y_true - y_pred))
    total = keras.ops.sum(keras.ops.square(y_true - keras.ops.mean(y_true)))
    return 1.0 - residual / (total + K.epsilon())


def build_model():
    model = Sequential(name="prices")
    model.add(Input(shape=(X_train.shape[1],)))
    model.add(Dense(64, kernel_initializer="he_uniform", kernel_regularizer=l2(1e-5), bias_regularizer=l1(1e-6)))
    model.add(BatchNormalization())
    model.add(Activation("relu"))
    model.add(Dropout(0.1))
    model.add(Dense(32, activation="relu", kernel_regularizer=l1_l2(l1=1e-6, l2=1e-5), activity_regularizer=l2(1e-5)))
    model.add(Dense(1))
    model.compile(loss="mean_squared_error", optimizer=Adam(learning_rate=3e-3), metrics=["mae", rmse, r_squared])
    return model


model = build_model()
assert isinstance(model, Model)
lines = []
model.summary(print_fn=lambda line, **kwargs: lines.append(line))
assert "Total params" in "\n".join(lines)

folder = tempfile.mkdtemp()
best = os.path.join(folder, "best_model.keras")
callbacks = [
    LearningRateScheduler(lambda epoch, lr: 1e-3 * (epoch + 1) if epoch < 3 else lr),
    ReduceLROnPlateau(monitor="val_loss", factor=0.5, patience=4, min_lr=1e-5, verbose=1),
    EarlyStopping(monitor="val_loss", patience=12, restore_best_weights=True, verbose=1),
    ModelCheckpoint(best, monitor="val_rmse", mode="min", save_best_only=True, verbose=0),
    CSVLogger(os.path.join(folder, "log.csv")),
]
history = model.fit(
    X_train,
    y_train,
    validation_data=(X_val, y_val),
    epochs=40,
    batch_size=32,
    verbose=0,
    callbacks=callbacks,
)
assert list(history.history)[-1] == "learning_rate"
assert np.allclose(history.history["learning_rate"][:3], [1e-3, 2e-3, 3e-3])

figure, axes = plt.subplots(1, 2)
for axis, key in zip(axes, ("loss", "rmse"), strict=True):
    axis.plot(history.epoch, history.history[key], label="train")
    axis.plot(history.epoch, history.history["val_" + key], label="validation")
    axis.legend()
figure.savefig(os.path.join(folder, "history.png"))

reloaded = load_model(best, custom_objects={"rmse": rmse, "r_squared": r_squared})
loss, mae, error, score = reloaded.evaluate(X_val, y_val, verbose=0, batch_size=len(X_val))
predictions = reloaded.predict(X_val, verbose=0).flatten()
print(f"mae {mae:.3f}, rmse {error:.3f}, r2 {score:.3f}")
assert abs(error - np.sqrt(np.mean((predictions - y_val[:, 0]) ** 2))) < 1e-5
assert abs(error - min(history.history["val_rmse"])) < 0.02
assert score > 0.9
