"""The images of the commands: in `data/`, fetched by one process at a time."""

from pathlib import Path

from pipeline import paths
from pipeline.data import images
from pipeline.data.images import ImageFiles
from pipeline.params import Data
from pipeline.stages.download import sources
from pipeline.tracking.process import exclusive


def folder_of(data: Data) -> Path:
    """Return the folder that holds the data set."""
    return paths.DATA / data.dataset


def read_images(data: Data) -> ImageFiles:
    """Read and verify the images that stage `download` has fetched.

    Raises:
        UserError: They are missing, damaged or not the data set's.
    """
    return images.read(data.dataset, folder_of(data))


def fetch_images(data: Data, folder: Path) -> ImageFiles:
    """Make `folder` hold the images, and say where they came from.

    Raises:
        UserError: No source has them, or the folder cannot be written.
        TimeoutError: Another process is still fetching them.
    """
    with exclusive(folder, 600, f"{folder}: another process is still fetching it"):
        files, source = sources.fetch(data.dataset, Path(data.directory) if data.directory else None, folder)
    print(f"{data.dataset}: {source}")
    return files
