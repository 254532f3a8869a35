"""Where a project's store is: its folder and its address.

It is at MLFLOW_TRACKING_URI or, without it, in `mlflow.db` and `mlruns/` in the project's folder, where `mlflow ui`
looks.
"""

import os
import re
from pathlib import Path

from .errors import TrackingError

_COPIES = Path(".dvc/tmp/exps")  # where DVC runs queued experiments
_MISREAD = re.compile(r"\?|%[0-9A-Fa-f]{2}")  # MLflow takes paths for addresses: a query, an encoded character


def root() -> Path:
    """Return the folder of the project, which is the working directory; of a temporary copy by DVC, the original.

    `DVC_ROOT` names the root of the DVC repository, which may be above the project.
    """
    here = Path.cwd()
    top = Path(os.environ.get("DVC_ROOT") or "/").resolve()
    if top / _COPIES in here.parents:
        copy = next(folder for folder in (here, *here.parents) if (folder / ".dvc").is_dir())
        if copy != top:
            return top / here.relative_to(copy)
    return here


def uri() -> str:
    """Return the address of the store; files are absolute, relative ones are in the project's folder."""
    given = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    if given.startswith("sqlite:///") and not given.startswith(("sqlite:///file:", "sqlite:///:")):
        return f"sqlite:///{root() / given.removeprefix('sqlite:///')}"
    return given


def name() -> str:
    """Return the address as it may be kept: without a password, and relative within the project's folder."""
    return without_password(uri()).replace(f"sqlite:///{root()}/", "sqlite:///", 1)


def without_password(text: str) -> str:
    """Return a text in which addresses have no passwords."""
    return re.sub(r"(://[^/@:\s]*):[^/@\s]+@", r"\1:***@", text)


def path_of(address: str) -> Path | None:
    """Return the file of a store in SQLite; other stores have none."""
    file = address.removeprefix("sqlite:///")
    return Path(file) if file.startswith("/") and file != address and "?" not in file else None


def check() -> None:
    """Refuse a folder in which MLflow would write elsewhere.

    Raises:
        TrackingError: The store is a file in a folder of such a name.
    """
    given = "?" in os.environ.get("MLFLOW_TRACKING_URI", "")  # then it is what SQLAlchemy takes it for
    folder = str(Path(uri().removeprefix("sqlite:///")).parent)
    if uri().startswith("sqlite:////") and not given and (found := _MISREAD.search(folder)):
        raise TrackingError(
            f"{folder}: MLflow misreads {found[0]!r} in the name of a folder; rename the folder, or name a store "
            "elsewhere by MLFLOW_TRACKING_URI, such as sqlite:////home/me/mlflow.db"
        )
