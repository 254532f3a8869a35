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
_LONGEST = 490  # bytes: SQLite allows 512 with what it adds to a name


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
    given = _given()
    if given.startswith("sqlite:///") and not given.startswith(("sqlite:///file:", "sqlite:///:")):
        return f"sqlite:///{root() / given.removeprefix('sqlite:///')}"
    return given


def name() -> str:
    """Return the address as it may be kept: without a password, and relative within the project's folder."""
    return without_password(uri()).replace(f"sqlite:///{root()}/", "sqlite:///", 1)


def without_password(text: str) -> str:
    """Return a text in which addresses have no passwords."""
    return re.sub(r"(://[^/@:\s]*):(?:[^/\s]+|[^@\s]+)@", r"\1:***@", text)


def path_of(address: str) -> Path | None:
    """Return the file of a store in SQLite; other stores have none."""
    file = address.removeprefix("sqlite:///")
    return Path(file) if file.startswith("/") and file != address and "?" not in file else None


def path() -> Path | None:
    """Return the file of this store, if it is one in SQLite."""
    return path_of(uri())


def check() -> None:
    """Refuse an address of SQLite at which MLflow would write elsewhere, nowhere or not at all.

    Raises:
        TrackingError: The address, or the folder of its file, is of this kind.
    """
    given = _given()
    if ":memory:" in given or given in ("sqlite://", "sqlite:///"):
        raise TrackingError(f"{given}: a store in memory is gone when the command ends; name a file: sqlite:///runs.db")
    if given.startswith("sqlite:///~"):
        home = Path(given.removeprefix("sqlite:///")).expanduser()
        raise TrackingError(f"{given}: MLflow takes ~ for a folder of this name; write it out: sqlite:///{home}")
    file = Path(uri().removeprefix("sqlite:///"))
    # With a `?` the address is what SQLAlchemy takes it for.
    if uri().startswith("sqlite:////") and "?" not in given and (problem := _problem(file)):
        raise TrackingError(
            f"{file.parent}: {problem}; rename the folder, or name a store elsewhere by MLFLOW_TRACKING_URI, such as "
            "sqlite:////home/me/mlflow.db"
        )


def _given() -> str:
    """Return the address that the user has set, without what a file of Windows leaves at its end, or the default."""
    return os.environ.get("MLFLOW_TRACKING_URI", "").strip() or "sqlite:///mlflow.db"


def _problem(file: Path) -> str | None:
    """Return what is wrong with the path of a store in SQLite, if anything."""
    if found := _MISREAD.search(str(file.parent)):
        return f"MLflow misreads {found[0]!r} in the name of a folder"
    if {"'", '"'} <= set(str(file.parent)):
        return "MLflow misreads ' and \" together in the name of a folder"
    if os.fsencode(file).decode(errors="replace") != str(file):
        return "the name of a folder is not UTF-8, which MLflow cannot keep"
    if len(os.fsencode(file)) > _LONGEST:
        return f"SQLite opens no path of more than {_LONGEST} bytes"
    return None
