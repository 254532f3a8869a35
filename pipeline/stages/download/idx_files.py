"""The four IDX files of a data set, by the names that people have: plain or packed, read by their first bytes."""

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from pipeline.data.idx import FILES
from pipeline.errors import UserError
from pipeline.stages.download import content

Contents = dict[str, bytes]
"""The bytes of the four files, uncompressed, keyed by their names."""

# In lower case: as published (t10k), as EMNIST names them (emnist-digits-test-…), as 7-Zip unpacks them (with a dot
# before idx), as browsers rename them ("… (1).gz").
_NAME = re.compile(
    r"(?:(?P<set>.+)[-_. ])?(?P<part>train|t10k|test)[-_. ]?(?P<kind>images|labels)"
    r"(?:[-_. ]?idx[13])?(?:[-_. ]?ubyte)?(?: ?\(\d+\))?(?:\.(?:gz|z|bin|idx|ubyte|txt|html?))*"
)
_PLACES = {"train": 0, "t10k": 2, "test": 2, "images": 0, "labels": 1}  # in FILES


class Found(NamedTuple):
    """A data set that a folder seems to hold.

    Attributes:
        label: What a message calls it: its path below the folder.
        read: Reads it.
    """

    label: str
    read: Callable[[], Contents]


def search(place: Path, directory: Path, partial_sets: list[dict[str, list[Path]]]) -> Iterator[Found]:
    """Yield the sets of four IDX files in a folder; note those that lack some."""
    sets: dict[str, dict[str, list[Path]]] = {}
    for path in visible(place):
        if named := _parse_name(path):
            # Kaggle has each file in a folder of its name.
            files = [file for file in visible(path) if _parse_name(file) == named] or [path]
            sets.setdefault(named[0], {}).setdefault(named[1], []).extend(files)
    # Not with another set's name in front, if one has none.
    for title, files_of in {"": sets[""]}.items() if len(sets.get("", ())) == len(FILES) else sets.items():
        if len(files_of) == len(FILES):
            label = label_of(place, directory) + (f" ({title}-…)" if title else "")
            yield Found(label, partial(_read_set, files_of, directory))
        else:
            partial_sets.append(files_of)


def _parse_name(path: Path) -> tuple[str, str] | None:
    """Return what stands in front of a file's name, such as emnist-digits, and which of `FILES` it is."""
    if not (match := _NAME.fullmatch(path.name.lower())):
        return None
    return match["set"] or "", FILES[_PLACES[match["part"]] + _PLACES[match["kind"]]]


def _read_set(files_of: dict[str, list[Path]], directory: Path) -> Contents:
    return {name: _read_file(name, files_of[name], directory) for name in FILES}


def _read_file(name: str, candidates: list[Path], directory: Path) -> bytes:
    """Return the content of the candidates that are IDX; they must be equal, or sets could be mixed."""
    good: dict[bytes, str] = {}
    problems: list[UserError] = []
    for path in candidates:
        where = label_of(path, directory)
        try:
            found = content.read(path, where)
            content.check_idx(found, where)
            good.setdefault(found, where)
        except UserError as error:
            problems.append(error)
    if len(good) > 1:
        raise UserError(f"{name}: {' and '.join(good.values())} differ: keep one")
    if not good:
        raise problems[0]
    return next(iter(good))


def visible(place: Path) -> list[Path]:
    """Return what is in a folder except hidden files, such as the `._…` of macOS; nothing if it cannot be listed."""
    try:
        return sorted(path for path in place.iterdir() if not path.name.startswith((".", "__")))
    except OSError:
        return []


def label_of(path: Path, directory: Path) -> str:
    """Return what a message calls a file or folder in `directory`."""
    return str(path.relative_to(directory)) if path != directory else "this folder"
