"""Training and evaluation of a model: rows, epochs, metrics, and recovery from a divergence."""
