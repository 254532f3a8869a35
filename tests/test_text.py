"""JSON and CSV."""

import json
from typing import Any

import numpy as np
import pytest

from pipeline.text import as_csv, as_json


def test_json_is_indented_and_ends_in_a_newline() -> None:
    content: dict[str, Any] = {"a": {"b": 1.5}}
    assert as_json(content) == '{\n  "a": {\n    "b": 1.5\n  }\n}\n'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), np.float64("nan")])
def test_numbers_that_json_lacks_are_null(value: float) -> None:
    assert json.loads(as_json({"a": {"b": value, "c": 1.5}, "d": value})) == {
        "a": {"b": None, "c": 1.5},
        "d": None,
    }


def test_csv_is_quoted_where_it_must_be() -> None:
    assert as_csv(["a", "b"], [[1, "x,y"], [2.5, 'say "z"']]) == 'a,b\n1,"x,y"\n2.5,"say ""z"""\n'
