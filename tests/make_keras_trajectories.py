"""Write `keras_trajectories.json`: what Keras makes of the cases of `test_keras_arithmetic.py`.

Needs `keras` and a backend of it, for instance torch: `KERAS_BACKEND=torch python tests/make_keras_trajectories.py`.
"""

import json
from pathlib import Path

import keras
import numpy as np
from test_keras_arithmetic import CASES, train

trajectories = {}
for name, case in CASES.items():
    history, weights, results = train(keras, case)
    trajectories[name] = {
        "history": {key: [float(value) for value in values] for key, values in history.items()},
        "weights": [np.asarray(weight).round(7).tolist() for weight in weights],
        "evaluate": results,
    }
document = {"keras": keras.__version__, "backend": keras.backend.backend(), "trajectories": trajectories}
Path(__file__).with_name("keras_trajectories.json").write_text(json.dumps(document, separators=(",", ":")) + "\n")
