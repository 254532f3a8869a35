"""The images: their file format, the published sets, and which of them train, validate and test."""
