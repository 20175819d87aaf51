"""The price of activations, losses, normalizations, update rules and more, relative to ReLU, squared error and Adam."""

from collections.abc import Sequence
from typing import Any

from fastnn.bench.contest import KeptFit, Schedule, open_competitors, take_turns
from fastnn.bench.report import Grid, progress

__all__ = ["measure_prices"]

WIDTHS = (32, 256, 2048)
BATCH_SIZE = 128
VARIANTS: dict[str, dict[str, Any]] = {
    "relu, mse, adam": {},
    "tanh": {"activation": "tanh"},
    "sigmoid": {"activation": "sigmoid"},
    "gelu": {"activation": "gelu"},
    "silu": {"activation": "silu"},
    "elu": {"activation": "elu"},
    "softplus": {"activation": "softplus"},
    "softmax cross-entropy": {"loss": "sparse_categorical_crossentropy"},
    "dropout 0.2": {"dropout": 0.2},
    "batch normalization": {"normalization": "BatchNormalization"},
    "layer normalization": {"normalization": "LayerNormalization"},
    "validation": {"validation_rows": BATCH_SIZE},
    "validation, early stopping": {"validation_rows": BATCH_SIZE, "early_stopping": True},
    "adamw": {"optimizer": "AdamW"},
    "rmsprop": {"optimizer": "RMSprop"},
    "sgd": {"optimizer": "SGD"},
    "sgd momentum": {"optimizer": "SGD", "optimizer_options": {"momentum": 0.9}},
    "sgd nesterov": {"optimizer": "SGD", "optimizer_options": {"momentum": 0.9, "nesterov": True}},
}


def measure_prices(widths: Sequence[int] = WIDTHS, schedule: Schedule | None = None) -> Grid:
    """Time one step of w-w-w-w networks at each width w, in turns, and divide by the first variant's time."""
    rows = []
    with open_competitors(["fastnn"], thread_counts=None) as competitors:
        competitor = competitors[-1]
        for width in widths:
            progress(f"prices at width {width}")
            # Enough batches to make an epoch long compared with the call of fit.
            n_batches = max(4, min(500, 2_000_000 // width**2))
            for name, options in VARIANTS.items():
                shape = {"widths": [width] * 4, "batch_size": BATCH_SIZE, "n_batches": n_batches}
                arguments = {"key": name, **shape, **options}
                competitor.ask("measure", function="fits.start_model", arguments=arguments)
            variants = [KeptFit(name, competitor.n_threads, competitor) for name in VARIANTS]
            timings = take_turns(variants, KeptFit.turn, schedule or Schedule.quick())
            rows += [
                {
                    "width": width,
                    "variant": timing.name,
                    "best_us": timing.best,
                    "median_us": timing.median,
                    "price": timing.best / timings[0].best,
                }
                for timing in timings
            ]
            competitor.ask("measure", function="fits.clear", arguments={})
    return Grid(
        name="prices",
        title=f"Price relative to ReLU, squared error and Adam: microseconds per step of w-w-w-w, batch {BATCH_SIZE}",
        rows=rows,
        columns={"width": "width", "variant": "variant", "best_us": "best", "median_us": "median", "price": "price"},
    )
