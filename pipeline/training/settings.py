"""The parameters and the images of a training, stored beside its results: these are never taken for another's."""

import json
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.files import to_json, write_atomic
from pipeline.params import Params

SETTINGS_FILE = "settings.json"


def save_settings(folder: Path, params: Params, images: str) -> None:
    """Write the parameters of the training in `folder`, and the digest of its images."""
    write_atomic(folder / SETTINGS_FILE, to_json(_settings(params, images)))


def check_settings(folder: Path, params: Params, images: str) -> None:
    """Check that the training in `folder` was made with these parameters on the images of this digest.

    Raises:
        UserError: It was not, and the message names the parameters that differ; or the file cannot be read.
    """
    path, expected = folder / SETTINGS_FILE, _settings(params, images)
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        different = [name for name, value in expected.items() if value != stored[name]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); run `dvc repro`") from None
    if different:
        raise UserError(f"{folder}: trained with different values of {', '.join(different)}; run `dvc repro`")


def _settings(params: Params, images: str) -> dict[str, Any]:
    """Return what determines a training: the parameters, by dotted name, and the digest of the images."""
    left_out = ("data.directory", "evaluate.")
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in params.flat().items()}
    settings = {name: value for name, value in plain.items() if not name.startswith(left_out)}
    return {**settings, "images": images}
