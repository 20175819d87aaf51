"""What is done with a model: its rows, epochs, evaluation, metrics, and recovery from a divergence."""
