"""The view of a sweep: what it filters, and which axis its chart has."""

import json
from typing import Any

import pytest

from pipeline.records import sweep_view
from pipeline.sweeps.grid import list_points
from tests.samples import PARAMS


def state(spans: dict[str, list[str]], name: str = "rates") -> Any:
    return json.loads(json.loads(sweep_view.view(name, list_points(PARAMS, {}, spans)))["state"])


def test_the_table_has_the_grid_and_what_came_of_it_and_all_points_are_drawn() -> None:
    shown = state({"train.lr": ["0.1", "0.2"], "train.batch_size": ["8"]})
    assert shown["searchFilter"] == "tags.sweep = 'rates' AND tags.level = 'point'"
    assert shown["selectedColumns"][:4] == [
        "params.`variant`",
        "params.`train.lr`",
        "params.`train.batch_size`",
        "metrics.`validation/accuracy`",
    ]
    assert shown["runsHiddenMode"] == "SHOW_ALL"


@pytest.mark.parametrize(
    ("spans", "axis"),
    [
        ({"train.lr": ["0.1", "0.5"]}, {"key": "train.lr", "type": "PARAM"}),
        ({"train.lr": ["1e-4", "0.01"]}, {"key": "log10 train.lr", "type": "METRIC"}),
        ({"model.ghost_batch": ["0", "500"]}, {"key": "model.ghost_batch", "type": "PARAM"}),
        ({"model.hidden": ["[8]", "[8, 6]"]}, {"key": "model.hidden", "type": "PARAM"}),
    ],
    ids=["narrow", "wide", "zero", "lists"],
)
def test_accuracy_is_drawn_against_the_first_key(spans: dict[str, list[str]], axis: dict[str, str]) -> None:
    (chart,) = state(spans)["compareRunCharts"]
    assert (chart["type"], chart["xaxis"]) == ("SCATTER", axis)
    assert chart["yaxis"] == {"key": "validation/accuracy", "type": "METRIC"}


def test_any_folders_name_gives_a_key_and_a_filter() -> None:
    assert sweep_view.key("it's ä b") == "sweep-it_s___b"
    assert state({"train.lr": ["1"]}, "it's")["searchFilter"].startswith('tags.sweep = "it\'s" AND ')
