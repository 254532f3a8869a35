"""Stage `evaluate`: both variants on the test images, compared seed by seed."""
