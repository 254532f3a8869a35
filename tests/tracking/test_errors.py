"""Variables that MLflow reads: set for a while, without a name that comes and goes."""

import os

import pytest

from pipeline.tracking import errors
from pipeline.tracking.errors import variables

NAME, OTHER = "PIPELINE_TEST_TIMEOUT", "PIPELINE_TEST_RETRIES"


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (NAME, OTHER):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(errors, "_left", {})


def test_the_enclosing_context_wins_and_the_next_one_is_free() -> None:
    with variables({NAME: "5"}):
        with variables({NAME: "30", OTHER: "3"}):
            assert (os.environ[NAME], os.environ[OTHER]) == ("5", "3")
        assert os.environ[NAME] == "5"
    with variables({NAME: "30"}):
        assert os.environ[NAME] == "30"


def test_a_name_stays_so_that_the_environment_does_not_move() -> None:
    for value in ("5", "30", "5"):
        with variables({NAME: value}):
            pass
        assert NAME in os.environ


def test_a_name_that_was_taken_away_is_set_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with variables({NAME: "5"}):
        pass
    monkeypatch.delenv(NAME)
    with variables({NAME: "30"}):
        assert os.environ[NAME] == "30"


def test_what_the_user_sets_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "7")
    with variables({NAME: "5"}):
        assert os.environ[NAME] == "7"
    assert os.environ[NAME] == "7"
    with variables({OTHER: "3"}):
        pass
    monkeypatch.setenv(OTHER, "9")  # later, in place of what was left
    with variables({OTHER: "4"}):
        assert os.environ[OTHER] == "9"
