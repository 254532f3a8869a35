"""The perceptron, its layers, and what flows through it."""
