"""Write `data/keras_metrics.json`: the results of Keras's metric classes.

Needs `keras` and one of its backends: `KERAS_BACKEND=torch python tests/make_keras_metrics.py`.
"""

import json
from pathlib import Path

import keras
import numpy as np
from keras_metric_cases import CASES, batches


def main() -> None:
    """Compute every case with Keras, batch by batch."""
    recorded = {}
    for name, (class_name, options, data) in CASES.items():
        for weighted in (False, True):
            metric = getattr(keras.metrics, class_name)(**options)
            for y_true, y_pred, weight in batches(data):
                arguments = (y_true, y_pred) if y_pred is not None else (y_true,)
                metric.update_state(*arguments, sample_weight=weight if weighted else None)
            recorded[f"{name} weighted" if weighted else name] = np.asarray(
                keras.ops.convert_to_numpy(metric.result()), np.float64
            ).tolist()
    text = json.dumps({"keras": keras.__version__, "values": recorded}, indent=1)
    (Path(__file__).parent / "data" / "keras_metrics.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
