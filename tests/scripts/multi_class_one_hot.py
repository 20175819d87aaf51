"""Three species from four measurements: one-hot targets, scaled inputs, learning rate on a plateau, a CSV log."""

import csv
import os
import tempfile

import numpy as np
from keras.callbacks import CSVLogger, ReduceLROnPlateau
from keras.layers import Dense, Input
from keras.models import Sequential, load_model
from keras.optimizers import SGD
from keras.utils import to_categorical
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

X, labels = load_iris(return_X_y=True)
y = to_categorical(labels, num_classes=3)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, stratify=labels, random_state=0)
scaler = StandardScaler().fit(X_train)
X_train, X_test = scaler.transform(X_train), scaler.transform(X_test)

model = Sequential()
model.add(Input(shape=(4,)))
model.add(Dense(16, activation="relu", kernel_initializer="he_uniform", name="hidden"))
model.add(Dense(3, activation="softmax"))
model.compile(
    loss="categorical_crossentropy",
    optimizer=SGD(learning_rate=0.1, momentum=0.9, nesterov=True),
    metrics=["accuracy", "top_k_categorical_accuracy"],
)

folder = tempfile.mkdtemp()
log = os.path.join(folder, "training.log")
history = model.fit(
    X_train,
    y_train,
    validation_split=0.2,
    epochs=60,
    batch_size=16,
    verbose=0,
    callbacks=[CSVLogger(log), ReduceLROnPlateau(monitor="val_loss", factor=0.5, patience=5, min_lr=1e-4)],
)

loss, accuracy, _ = model.evaluate(X_test, y_test, verbose=0)
print("test accuracy", accuracy)
assert accuracy > 0.9
assert "learning_rate" in history.history

with open(log) as file:
    rows = list(csv.DictReader(file))
assert len(rows) == 60 and float(rows[-1]["loss"]) == history.history["loss"][-1]

path = os.path.join(folder, "iris.keras")
model.save(path)
again = load_model(path)
np.testing.assert_allclose(again.predict(X_test, verbose=0), model.predict(X_test, verbose=0))
assert model.get_layer("hidden").get_weights()[0].shape == (4, 16)
classes = np.argmax(model.predict(X_test, verbose=0), axis=1)
assert (
    np.mean(classes == np.argmax(y_test, axis=1)) == accuracy
    or abs(np.mean(classes == np.argmax(y_test, axis=1)) - accuracy) < 1e-6
)
