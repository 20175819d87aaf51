"""Cross-validation with scikit-learn's StratifiedKFold: a new model per fold, scores averaged."""

import keras
import numpy as np
from keras.layers import BatchNormalization, Dense
from keras.models import Sequential
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

seed = 7
keras.utils.set_random_seed(seed)
X, Y = load_breast_cancer(return_X_y=True)


def create_model():
    model = Sequential()
    model.add(Dense(16, input_shape=(X.shape[1],), activation="relu"))
    model.add(BatchNormalization())
    model.add(Dense(8, activation="relu"))
    model.add(Dense(1, activation="sigmoid"))
    model.compile(loss="binary_crossentropy", optimizer="adam", metrics=["accuracy"])
    return model


kfold = StratifiedKFold(n_splits=5, shuffle=True, random_state=seed)
cvscores, areas = [], []
for train, test in kfold.split(X, Y):
    scaler = StandardScaler().fit(X[train])
    model = create_model()
    model.fit(scaler.transform(X[train]), Y[train], epochs=30, batch_size=16, verbose=0)
    scores = model.evaluate(scaler.transform(X[test]), Y[test], verbose=0)
    print(f"{model.metrics_names[0]}: {scores[0]:.3f}  accuracy: {scores[1]:.2%}")
    cvscores.append(scores[1] * 100)
    areas.append(roc_auc_score(Y[test], model.predict(scaler.transform(X[test]), verbose=0).ravel()))
    keras.backend.clear_session()
print(f"{np.mean(cvscores):.2f}% (+/- {np.std(cvscores):.2f}%), AUC {np.mean(areas):.3f}")
assert np.mean(cvscores) > 94.0
assert np.mean(areas) > 0.98
