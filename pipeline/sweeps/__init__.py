"""Grids of parameters: their points, the populations trained there, and the report on the results."""
