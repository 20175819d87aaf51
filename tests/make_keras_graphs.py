"""Write `data/keras_graphs.json`: what Keras computes for the models of `keras_graph_cases.py`, in float64.

Needs `keras` and one of its backends: `KERAS_BACKEND=jax python tests/make_keras_graphs.py`.
"""

import json
from pathlib import Path

import keras
import numpy as np
from keras_graph_cases import CASES, train

keras.config.set_floatx("float64")
runs = {}
for name in CASES:
    found = train(keras, name, "float64")
    runs[name] = {
        "layers": found["layers"],
        "history": {key: [float(f"{value:.10g}") for value in values] for key, values in found["history"].items()},
        "weights": [np.asarray(weight).round(9).tolist() for weight in found["weights"]],
        "evaluate": [float(f"{value:.10g}") for value in found["evaluate"]],
    }
document = {"keras": keras.__version__, "backend": keras.backend.backend(), "runs": runs}
path = Path(__file__).parent / "data" / "keras_graphs.json"
path.write_text(json.dumps(document, separators=(",", ":")) + "\n")
