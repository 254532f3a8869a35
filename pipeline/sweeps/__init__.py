"""Grids of parameters: their points, the populations trained there, and what was found."""
