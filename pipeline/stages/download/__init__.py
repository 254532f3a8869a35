"""Stage `download`: the images, verified, in `data/<dataset>`."""
