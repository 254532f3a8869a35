"""A DVC stage's run in MLflow."""
