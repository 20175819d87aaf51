"""What is done with a model: rows, epochs, evaluation, metrics and the way back from a divergence."""
