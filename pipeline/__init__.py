"""What Batch Normalization changes when a small network learns MNIST, measured, tracked and compared."""

import os

# GNU OpenMP's threads wait for each other by spinning, which on a busy machine costs eight times the time; this
# bound on it costs nothing on an idle one. It is read when PyTorch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
