"""The images of the commands: those that the settings name, wherever they are.

Published data sets are in `data/NAME`, where they are verified whenever they are read. Custom images are read from the
folder that the settings name; DVC tracks a copy of them in `data/custom`, which its stages read.
"""

import contextlib
import os
from pathlib import Path

from pipeline import paths
from pipeline.data.images import ImageFiles, read
from pipeline.errors import UserError
from pipeline.params import Data
from pipeline.stages.download import sources
from pipeline.tracking.place import root
from pipeline.tracking.process import exclusive


def folder_of(data: Data) -> Path:
    """Return the folder that holds the data set."""
    return paths.DATA / data.dataset


def directory_of(data: Data) -> Path | None:
    """Return `data.directory`; a relative one counts from the project, in DVC's temporary copies too.

    Raises:
        UserError: It begins with `~` and the name of nobody.
    """
    if data.directory is None:
        return None
    try:
        return root() / Path(data.directory).expanduser()
    except RuntimeError:
        raise UserError(f"data.directory = {data.directory}: no such user") from None


def load_images(data: Data) -> ImageFiles:
    """Read and verify the images that the settings name; nothing is fetched.

    Raises:
        UserError: They are missing or damaged, or `data/custom` holds other images than `data.directory`.
    """
    directory = directory_of(data)
    if data.dataset != "custom" or directory is None:
        return read(data.dataset, folder_of(data))
    if "DVC_STAGE" not in os.environ:
        return sources.read_directory(data.dataset, directory)
    images = read(data.dataset, folder_of(data))
    if directory.exists() and sources.read_directory(data.dataset, directory).digest != images.digest:
        raise UserError(
            f"{folder_of(data)}: holds other images than data.directory = {data.directory}; DVC does not watch folders "
            "outside its own: run `dvc repro --force --single-item download`, then `dvc repro`"
        )
    return images


def fetch_images(data: Data) -> ImageFiles:
    """Make `data/NAME` hold the images, and say where they came from.

    Raises:
        UserError: No source has them, or the folder cannot be written.
        TimeoutError: Another process is still fetching them.
    """
    with _hold(data):
        return _fetch(data)


def load_or_fetch_images(data: Data) -> ImageFiles:
    """Read and verify the images that the settings name; a published data set that is missing is fetched.

    Raises:
        UserError: As `load_images` and `fetch_images` do.
        TimeoutError: Another process is still fetching them.
    """
    if data.dataset == "custom":
        return load_images(data)
    with _hold(data):
        return load_images(data) if folder_of(data).is_dir() else _fetch(data)


def _hold(data: Data) -> contextlib.AbstractContextManager[None]:
    folder = folder_of(data)
    return exclusive(folder, 600, f"{folder}: another process is still fetching it")


def _fetch(data: Data) -> ImageFiles:
    images, source = sources.fetch(data.dataset, directory_of(data), folder_of(data))
    print(f"{data.dataset}: {source}")
    return images
