"""One module per library: how it trains, predicts and multiplies. Each is imported only in its own process."""

from fastnn.bench.contestants.contestant import CONTESTANTS, Contestant, create, installed, keras_backend

__all__ = ["CONTESTANTS", "Contestant", "create", "installed", "keras_backend"]
