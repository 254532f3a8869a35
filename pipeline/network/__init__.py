"""The perceptron, its layers, and the measurement of its activations."""
