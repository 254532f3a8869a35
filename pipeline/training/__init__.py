"""The training of populations: the loop, the optimizers, and what a training leaves."""
