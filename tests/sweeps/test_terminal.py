"""What a sweep says in a terminal."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.params import VARIANTS, load
from pipeline.sweeps import terminal
from pipeline.sweeps.grid import list_points, parse_grid
from pipeline.sweeps.plan import Task
from pipeline.sweeps.terminal import MOST_ROWS, plan_words
from pipeline.training.population import Population
from tests.samples import PARAMS

GRID = ["lr=log(1e-4,1,9)", "optimizer=adam,sgd"]


def tasks(*grid: str, overrides: dict[str, str] | None = None) -> list[Task]:
    return [
        Task(
            point,
            Population(variant, point.params.model, point.params.train, point.params.train.seeds),
            None,
            Path(f"{variant} {point.label()}"),
        )
        for point in list_points(PARAMS, overrides or {}, parse_grid(grid))
        for variant in VARIANTS
    ]


def test_the_plan_says_what_is_trained_and_how_long_it_takes() -> None:
    planned = tasks(*GRID)
    points = [task.point for task in planned[::2]]
    populations = [task.population for task in planned]
    rests = [replace(populations[0], seeds=(7, 9)), *populations[1:14]]
    assert plan_words("rates", points, planned, rests, 2, 5100).splitlines() == [
        "rates: 18 points, 360 networks in 36 populations, 14 still to train (132 networks) by 2 workers, "
        "about 1 h 25 min",
        "Varied: learning rate 0.0001, 0.000316228, … 1 (9 values); optimizer adam, sgd.",
        "MNIST, 100-100 hidden sigmoid units, batches of 2000, 5 epochs; plain and Batch Normalization; seeds",
        "0 to 9.",
    ]
    done = plan_words("rates", points, planned, [], 2)
    assert done.startswith("rates: 18 points, 360 networks in 36 populations, 0 still to train\n")


@pytest.mark.parametrize("count", [3, MOST_ROWS + 1])
def test_the_result_fits_100_columns_and_names_the_folder(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    header = ["optimizer", "lr", "initial_deviation", "plain", "failed", "Batch Normalization", "failed", "difference"]
    row = ["sgd", "0.1", "0.1", "0.9691", "0/10", "0.9748", "0/10", "+0.0057 [+0.0048, +0.0066]"]
    monkeypatch.setattr(terminal, "compact_table", lambda *_: (header, count * [row]))
    answer = f"# Long\n\n{'word ' * 60}\n\n| a | {'b' * 200} |\n| --- | --- |\n\nEnd."
    lines = terminal.result_words([], load(PARAMS), answer, Path("sweeps/x")).splitlines()
    assert lines[0].split() == ["optimizer", "lr", "initial_deviation", "plain", "failed", "BN", "failed", "difference"]
    assert lines[1].endswith("0/10    +0.0057 [+0.0048, +0.0066]")
    assert max(map(len, lines)) <= 100
    assert not [line for line in lines if "bbb" in line]
    assert ("", "") not in itertools.pairwise(lines)
    assert (f"({MOST_ROWS} of {count} points)" in lines) is (count > MOST_ROWS)
    assert lines[-2:] == ["End.", "All numbers and figures: sweeps/x"]


def test_short_names_are_explained_where_they_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    header = ["lr", "plain", "failed", "Layer Normalization", "failed", "RMSNorm", "failed"]
    header += ["Layer Normalization: difference", "RMSNorm: difference"]
    monkeypatch.setattr(terminal, "compact_table", lambda *_: (header, [[*"123456789"]]))
    columns, _, legend, *_ = terminal.result_words([], load(PARAMS), "", Path("sweeps/x")).splitlines()
    assert columns.split("  ")[3:] == ["LN", "failed", "RMSNorm", "failed", "LN: difference", "RMSNorm: difference"]
    assert legend == "LN: Layer Normalization. Medians over seeds; differences of means, with intervals."
