"""What the runs of stages hold."""

import itertools

import pytest

from pipeline.records.stages import pictured


@pytest.mark.parametrize("epochs", [0, 1, 5, 49, 50, 51, 2500])
def test_the_epochs_that_are_drawn(epochs: int) -> None:
    drawn = pictured(epochs)
    assert (drawn[0], drawn[-1], len(drawn)) == (0, epochs, min(epochs + 1, 50))
    gaps = {after - before for before, after in itertools.pairwise(drawn)}
    assert not gaps or max(gaps) - min(gaps) <= 1
