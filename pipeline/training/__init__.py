"""The training of populations: the loop, the optimizers, and the files that hold a training."""
