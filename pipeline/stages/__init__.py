"""The stages of dvc.yaml, one file each: read, compute, write."""
