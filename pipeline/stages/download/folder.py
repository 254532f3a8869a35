"""The images that a folder holds, by the names and in the forms in which people have them.

Four IDX files come first, then an .npz file of arrays, then two tables. Each is looked for in the folder itself, then
in the folders within it and in their `raw`, where torchvision puts its files.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from pipeline.data.idx import FILES
from pipeline.errors import UserError
from pipeline.stages.download import arrays, idx_files, tables
from pipeline.stages.download.idx_files import Contents, Found, label_of, visible

_SHOWN = 5  # names of a folder
_REASONS = {
    **dict.fromkeys((".zip", ".tar", ".tgz", ".7z", ".rar"), "an archive: unpack it"),
    **dict.fromkeys((".parquet", ".arrow", ".mat", ".arff"), "which is never read"),
    **dict.fromkeys((".pkl", ".pickle", ".pt", ".pth"), "a pickle, which is never read"),
    **dict.fromkeys((".crdownload", ".part", ".download"), "an unfinished download"),
    ".npz": f"without {arrays.EXPECTED}",
    ".csv": f"not one of {tables.EXPECTED}",
}


def read(directory: Path, prefer: str = "") -> Contents:
    """Read the data set in a folder (`~` is the user's home), or in an .npz file.

    Args:
        directory: The folder.
        prefer: The name of the inner folder that is taken if several hold a data set.

    Raises:
        UserError: There is none, more than one, or one that cannot be read.
    """
    directory = directory.expanduser()
    if directory.is_file() and arrays.is_complete(directory):
        return arrays.read(directory, directory.name)
    inner = [place for path in visible(directory) for place in (path, path / "raw")]
    partial_sets: list[dict[str, list[Path]]] = []
    for places in ([directory], inner):
        for search in (partial(idx_files.search, partial_sets=partial_sets), _arrays, _tables):
            if found := [each for place in places for each in search(place, directory)]:
                return _only(found, prefer).read()
    best = max(partial_sets, key=len, default={})
    missing = next(name for name in FILES if name not in best)
    raise UserError(f"{missing}: missing, plain and .gz ({_listing(directory)})")


def _only(found: list[Found], prefer: str) -> Found:
    """Return the one data set that is meant."""
    preferred = [each for each in found if prefer and prefer in Path(each.label).parts]
    if len(chosen := preferred or found) > 1:
        labels = ", ".join(each.label for each in chosen)
        raise UserError(f"holds several data sets ({labels}): set data.directory to a folder that holds one")
    return chosen[0]


def _arrays(place: Path, directory: Path) -> Iterator[Found]:
    """Yield the complete .npz files of a folder."""
    for path in visible(place):
        if path.suffix.lower() == ".npz" and arrays.is_complete(path):
            yield Found(label_of(path, directory), partial(arrays.read, path, label_of(path, directory)))


def _tables(place: Path, directory: Path) -> Iterator[Found]:
    """Yield the pairs of tables of a folder whose names differ in train and test alone, or the only pair."""
    pairs: dict[str, dict[str, Path]] = {}
    files = [path for path in visible(place) if re.search(r"(train|test|t10k).*\.csv(\.gz)?$", path.name.lower())]
    for path in files:
        part = "train" if "train" in path.name.lower() else "test"
        rest = re.sub("train|test|t10k", "", path.name.lower()) if len(files) > 2 else ""
        pairs.setdefault(rest, {})[part] = path
    for pair in pairs.values():
        if len(pair) == 2:
            label = f"{label_of(pair['train'], directory)} and {pair['test'].name}"
            yield Found(label, partial(tables.read, pair["train"], pair["test"]))


def _listing(directory: Path) -> str:
    """Say what a folder holds and why it will not do."""
    if directory.is_file():
        return f"a file, {_REASONS.get(directory.suffix.lower()) or 'expected the folder that holds it'}"
    try:
        found = sorted(path.name for path in directory.iterdir() if not path.name.startswith("."))
    except OSError as error:
        return error.strerror or str(error)
    if not found:
        return "the folder is empty"
    reasons = {name: _REASONS.get(Path(name).suffix.lower(), "") for name in found}
    first = sorted(found, key=lambda name: not reasons[name])  # those of which there is something to say
    shown = [f"{name}, {reasons[name]}" if reasons[name] else name for name in first]
    more = f"; {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f"found {'; '.join(shown[:_SHOWN])}{more}"
