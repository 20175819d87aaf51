"""A model: its layers, the program that they compile to, and the weights of the compiled network."""
