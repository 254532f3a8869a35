"""Stage `download`: the images, verified, in `data/<dataset>`."""

from pathlib import Path

from pipeline.params import Data
from pipeline.stages.download import sources


def download(data: Data, folder: Path) -> str:
    """Make `folder` hold the four IDX files of the data set, and return in a few words where they came from."""
    return sources.fetch(data.dataset, Path(data.directory) if data.directory else None, folder)
