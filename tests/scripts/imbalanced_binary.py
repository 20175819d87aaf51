"""Fraud-like detection: 3 % positives, class weights, early stopping on validation data, best model kept on disk."""

import os
import tempfile

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(812)

rng = np.random.default_rng(0)
n_samples, n_features = 4000, 12
features = rng.normal(size=(n_samples, n_features)).astype("float32")
score = features[:, 0] + 0.8 * features[:, 1] * features[:, 2] + 0.3 * rng.normal(size=n_samples)
targets = (score > np.quantile(score, 0.97)).astype("uint8")[:, None]

num_val_samples = int(len(features) * 0.2)
train_features, val_features = features[:-num_val_samples], features[-num_val_samples:]
train_targets, val_targets = targets[:-num_val_samples], targets[-num_val_samples:]

counts = np.bincount(train_targets[:, 0])
weight_for_0 = 1.0 / counts[0]
weight_for_1 = 1.0 / counts[1]

mean = np.mean(train_features, axis=0)
train_features -= mean
val_features -= mean
std = np.std(train_features, axis=0)
train_features /= std
val_features /= std

model = keras.Sequential(
    [
        keras.Input(shape=train_features.shape[1:]),
        layers.Dense(64, activation="relu"),
        layers.Dense(64, activation="relu"),
        layers.Dropout(0.3),
        layers.Dense(1, activation="sigmoid"),
    ]
)
model.summary()

metrics = [
    keras.metrics.FalseNegatives(name="fn"),
    keras.metrics.FalsePositives(name="fp"),
    keras.metrics.TrueNegatives(name="tn"),
    keras.metrics.TruePositives(name="tp"),
    keras.metrics.Precision(name="precision"),
    keras.metrics.Recall(name="recall"),
    keras.metrics.AUC(name="auc"),
]
model.compile(optimizer=keras.optimizers.Adam(1e-2), loss="binary_crossentropy", metrics=metrics)

checkpoint = os.path.join(tempfile.mkdtemp(), "fraud_model_at_epoch_{epoch:02d}.keras")
callbacks = [
    keras.callbacks.ModelCheckpoint(checkpoint),
    keras.callbacks.EarlyStopping(monitor="val_auc", mode="max", patience=10, restore_best_weights=True),
]
class_weight = {0: weight_for_0, 1: weight_for_1}
history = model.fit(
    train_features,
    train_targets,
    batch_size=512,
    epochs=30,
    verbose=2,
    callbacks=callbacks,
    validation_data=(val_features, val_targets),
    class_weight=class_weight,
)

results = model.evaluate(val_features, val_targets, verbose=0, return_dict=True)
last_model = keras.models.load_model(checkpoint.format(epoch=len(history.epoch)))
predictions = (model.predict(val_features) > 0.5).astype("int32")
print("validation AUC", results["auc"], "recall", results["recall"])
assert results["auc"] > 0.9
assert results["tp"] == np.sum(predictions * val_targets)
assert results["tp"] + results["fn"] == val_targets.sum()
