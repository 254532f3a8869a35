"""The animation shows every epoch's values, in few bytes, the same each time."""

import io
import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline.analysis.animation import FRAMES, Received, animate
from pipeline.network.activations import BINS, Scale
from pipeline.params import VARIANTS, Variant

SCALE = Scale(-10, 10, asinh=True)
WORDS = ("What the sigmoids receive", "input", "MNIST; 3 seeds of each variant.")


def received(epochs: int) -> dict[Variant, Received]:
    random = np.random.default_rng(0)
    return {
        variant: Received(
            random.integers(0, 50, (3, epochs + 1, BINS)),
            random.uniform(0, 1, (3, epochs + 1)),
            random.uniform(0, 1, (3, epochs + 1)),
        )
        for variant in VARIANTS
    }


def frames(content: bytes) -> list[NDArray[np.int64]]:
    with Image.open(io.BytesIO(content)) as image:
        pictures = []
        for at in range(getattr(image, "n_frames", 1)):
            image.seek(at)
            pictures.append(np.asarray(image.convert("RGB")).astype(int))
    return pictures


def test_a_frame_per_epoch_in_the_variants_colours_and_the_same_bytes_again() -> None:
    content = animate(received(3), SCALE, [(-np.inf, -4.6), (4.6, np.inf)], WORDS)
    assert content == animate(received(3), SCALE, [(-np.inf, -4.6), (4.6, np.inf)], WORDS)
    drawn = frames(content)
    assert [frame.shape for frame in drawn] == [(675, 1200, 3)] * 4
    for before, after in itertools.pairwise(drawn):
        assert (before != after).any()
    for colour in ((0xD5, 0x5E, 0x00), (0x00, 0x72, 0xB2)):
        assert (np.abs(drawn[-1] - colour).max(axis=2) < 12).sum() > 500
    with Image.open(io.BytesIO(content)) as image:
        assert image.info["loop"] == 0  # for ever


def test_a_long_training_stays_below_a_megabyte() -> None:
    content = animate(received(200), SCALE, [], WORDS)
    assert len(frames(content)) == FRAMES
    assert len(content) < 1_000_000


@pytest.mark.parametrize("scale", [SCALE, Scale(0, 1, asinh=False)])
def test_it_is_drawn_when_every_training_diverged(scale: Scale) -> None:
    given = received(1)
    given["plain"].counts[:] = 0
    given["plain"].saturated[:] = np.nan
    given["batchnorm"].counts[:, 0] = 0
    assert len(frames(animate(given, scale, [], WORDS))) == 2
