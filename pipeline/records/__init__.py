"""What the runs of stages and sweeps hold in MLflow."""
