"""The four files, read once: their digest, their counts, and the one line for what is wrong."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.data.idx import FILES, TEST_IMAGES, TEST_LABELS, encode_images, encode_labels, parse_images
from pipeline.data.images import read
from pipeline.errors import UserError


def test_arrays_counts_size_and_digests_are_those_of_the_files(idx_folder: Callable[..., Path]) -> None:
    folder = idx_folder(training=7, test=4)
    files = read("custom", folder)
    contents = {name: (folder / name).read_bytes() for name in FILES}
    np.testing.assert_array_equal(files.arrays[FILES[0]], parse_images(contents[FILES[0]], ""))
    assert files.counts == {"train": 7, "t10k": 4}
    assert files.size == sum(map(len, contents.values()))
    assert files.sha256 == {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    lines = "".join(f"{files.sha256[name]}\n" for name in FILES)
    assert files.digest == hashlib.sha256(lines.encode()).hexdigest()


def test_the_digest_changes_with_each_file(idx_folder: Callable[..., Path]) -> None:
    folder = idx_folder()
    digests = {read("custom", folder).digest}
    for name in FILES:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[:-1] + bytes([(content[-1] + 1) % 10]))
        digests.add(read("custom", folder).digest)
    assert len(digests) == 5


@pytest.mark.parametrize("name", FILES)
def test_a_missing_or_damaged_file_is_named_with_what_to_do(idx_folder: Callable[..., Path], name: str) -> None:
    folder = idx_folder()
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[:-1])
    with pytest.raises(UserError) as caught:
        read("custom", folder)
    sizes = f"expected {len(whole)} bytes, found {len(whole) - 1}"
    assert str(caught.value) == f"{folder}/{name}: truncated: {sizes}; run `dvc repro`"
    (folder / name).unlink()
    with pytest.raises(UserError) as caught:
        read("custom", folder)
    assert str(caught.value) == f"{folder}/{name}: cannot be read: No such file or directory; run `dvc repro`"


def test_images_without_labels_are_refused(idx_folder: Callable[..., Path]) -> None:
    folder = idx_folder(training=20, test=10)
    (folder / TEST_LABELS).write_bytes(encode_labels(np.zeros(9, np.uint8)))
    with pytest.raises(UserError, match=f"{TEST_LABELS}: 9 labels for the 10 images of {TEST_IMAGES}; run"):
        read("custom", folder)


def test_images_are_those_of_the_data_set_that_is_asked_for(idx_folder: Callable[..., Path]) -> None:
    folder = idx_folder()
    again = "(custom images need `data.dataset: custom`); run `dvc repro` or `python -m pipeline download`"
    for dataset, words in (("mnist", "not MNIST's by its SHA-256"), ("kmnist", "not kmnist's, which holds 60000")):
        with pytest.raises(UserError) as caught:
            read(dataset, folder)
        assert str(caught.value) == f"{folder}/{FILES[0]}: {words} {again}"


@pytest.mark.parametrize(
    ("dataset", "pixel", "words"),
    [("fashion_mnist", 255 * 0.286, None), ("fashion_mnist", 255 * 0.131, "mean pixel, 0.129"), ("kmnist", 49, None)],
)
def test_published_sets_are_told_apart_by_their_mean_pixel(
    idx_folder: Callable[..., Path], dataset: str, pixel: float, words: str | None
) -> None:
    folder = idx_folder(training=60_000, test=10_000)
    (folder / FILES[0]).write_bytes(encode_images(np.full((60_000, 28, 28), int(pixel), np.uint8)))
    if words is None:
        assert read(dataset, folder).counts["train"] == 60_000
        return
    with pytest.raises(UserError, match=rf"not {dataset}'s by its {words} "):
        read(dataset, folder)
