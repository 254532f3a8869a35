"""The stored parameters of a training against those of a command."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.params import Params
from pipeline.training.settings import check_settings, save_settings


def test_settings_are_compared(tmp_path: Path, params: Callable[..., Params]) -> None:
    save_settings(tmp_path, params(), "d1")
    check_settings(tmp_path, params(confidence="0.9", directory="/elsewhere"), "d1")
    with pytest.raises(UserError, match=r"trained with different values of model\.hidden, train\.lr; run `dvc repro`$"):
        check_settings(tmp_path, params(lr="0.5", hidden="3"), "d1")
    with pytest.raises(UserError, match=r"trained with different values of images; run `dvc repro`$"):
        check_settings(tmp_path, params(), "d2")
    (tmp_path / "settings.json").write_text("{")
    with pytest.raises(UserError, match=r"settings\.json: cannot be read \("):
        check_settings(tmp_path, params(), "d1")
