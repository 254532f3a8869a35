"""Seeds as text."""

import pytest

from pipeline.analysis.wording import seed_words
from pipeline.errors import UserError
from pipeline.sweeps.seeds import parse_seeds


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("7", (7,)),
        ("5,3", (5, 3)),
        ("100-103", (100, 101, 102, 103)),
        ("[0, 4 - 5]", (0, 4, 5)),
        ("2147483647", (2**31 - 1,)),
    ],
)
def test_lists_and_ranges_are_read(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds("confirm", text) == seeds


@pytest.mark.parametrize(
    "text", ["", "a", "1,", "5-3", "-1", "1.5", "2147483648", "0-10000", "1-2-3", "[1", "1]]", "null", "0-9999999999"]
)
def test_what_is_no_list_of_seeds_is_one_line(text: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_seeds("confirm", text)
    assert str(caught.value).startswith(f"confirm = {text}: expected at most 10,000 seeds below 2147483648, such as ")


def test_a_seed_appears_once() -> None:
    with pytest.raises(UserError, match=r"^confirm = 1-3,2: every seed may appear only once$"):
        parse_seeds("confirm", "1-3,2")


def test_seeds_in_words() -> None:
    assert seed_words([7]) == "seed 7"
    assert seed_words([3, 4]) == "seeds 3, 4"
    assert seed_words(range(100, 130)) == "seeds 100 to 129"
    assert seed_words([2, 1, 0]) == "seeds 2, 1, 0"
