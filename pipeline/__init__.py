"""What Batch Normalization changes when a small network learns MNIST, measured, tracked and compared."""
