"""Images for the tests of probes."""

from collections.abc import Callable

import pytest

from pipeline.data.dataset import Examples, Split


@pytest.fixture
def split(examples: Callable[..., Examples]) -> Split:
    return Split(examples(50), examples(40, seed=1), examples(30, seed=2))
