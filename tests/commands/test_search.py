"""The command `sweep` with --refine and --confirm: what it trains, leaves and records, and what it refuses."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.params import VARIANTS
from pipeline.sweeps.outcome import Outcome, OutcomeJob
from tests.sweeping import done, points, sweep

pytestmark = pytest.mark.filterwarnings("default")  # MLflow and SQLAlchemy warn of each other

RATES = ("--grid", "lr=0.01,0.1,1")
BOTH = (*RATES, "--refine", "3", "--confirm", "5-7", "--name", "both")


@pytest.fixture(autouse=True)
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float, tuple[int, ...]]]:
    """Variant, rate and seeds of what is trained during the test; the accuracy falls with the distance from a rate.

    The best rate of the plain network is the middle one of the grid, that of Batch Normalization is the last one.
    """
    seen: list[tuple[str, float, tuple[int, ...]]] = []

    def run(job: OutcomeJob, *_: Any) -> Outcome:
        part, (first, *others) = job.part, job.part.seeds
        seen.append((part.variant, part.train.lr, (first, *others)))
        distance = abs(np.log10(part.train.lr) - {"plain": -1, "batchnorm": 0.2}[part.variant])
        more = 0.01 * part.train.momentum - 0.001 * part.train.batch_size
        held = np.array([0.97 - 0.1 * distance + more + 0.001 * seed for seed in part.seeds])
        return made_outcome(held, held / 2 if first < 5 else held)

    monkeypatch.setattr(OutcomeJob, "run", run)
    return seen


def made_outcome(held: NDArray[np.float64], tested: NDArray[np.float64]) -> Outcome:
    curve = np.stack([held, held], axis=1)
    correct = np.arange(12) < 12 * tested[:, None]
    return Outcome(curve[:, 1:], curve, curve, 1 - tested, tested, np.zeros(len(held)), {}, correct)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def answer_of(project: Path, name: str) -> str:
    return (project / "sweeps" / name / "answer.md").read_text(encoding="utf-8")


def test_a_dry_run_says_what_comes_in_addition(project: Path) -> None:
    printed = done(*BOTH, "--dry-run").splitlines()
    assert printed[0].startswith("both: 3 points, 12 networks in 6 populations, 6 still to train (12 networks), about ")
    assert printed[-1:] == [
        "then up to 3 rounds of points around the best ones, and up to 6 networks of other seeds to confirm the best "
        "points"
    ]
    assert not (project / "sweeps").exists()


def test_the_grid_refines_itself_until_each_best_point_has_two_worse_neighbours(
    project: Path, trained: list[tuple[str, float, tuple[int, ...]]]
) -> None:
    printed = done(*BOTH)
    rates = list(dict.fromkeys(rate for _, rate, seeds in trained if seeds[0] == 0))
    # Around 0.1; around and beyond 1; then on the other side of 1, where 10 is too far away.
    assert rates == [0.01, 0.1, 1, 0.0316228, 0.316228, 10, 3.16228]
    assert [(v, rate) for v, rate, seeds in trained if seeds[0] == 5] == [("plain", 0.1), ("batchnorm", 1)]
    assert "refining: 12 networks\nrefining: 4 networks\n" in printed
    assert "confirming the best points: 6 networks\n" in printed
    left = project / "sweeps" / "both"
    rows = table(left / "table.csv")
    assert [row["train.lr"] for row in rows] == ["0.01", "0.0316228", "0.1", "0.316228", "1", "3.16228", "10"]
    assert [row["added"] for row in rows] == ["no", "yes", "no", "yes", "no", "yes", "yes"]
    noted = json.loads((left / "sweep.json").read_text(encoding="utf-8"))
    assert noted["points"] == ["lr=0.01", "lr=0.1", "lr=1"]
    assert (noted["refine"], noted["confirm"]) == (3, [5, 6, 7])


def test_test_images_are_those_of_the_fresh_seeds_alone(project: Path) -> None:
    left = project / "sweeps" / "both"
    rows = table(left / "per_seed.csv")
    choosing, confirming = ([row for row in rows if row["role"] == role] for role in ("choose", "confirm"))
    assert len(choosing) == 7 * 2 * 2
    assert {row["test_accuracy"] + row["test_loss"] for row in choosing} == {""}
    assert all(row["validation_accuracy"] for row in rows)
    at = [(row["train.lr"], row["variant"], row["seed"]) for row in confirming]
    assert at == [("0.1", "plain", seed) for seed in "567"] + [("1", "batchnorm", seed) for seed in "567"]
    means = {v: np.mean([float(row["test_accuracy"]) for row in confirming if row["variant"] == v]) for v in VARIANTS}
    answer = answer_of(project, "both")
    difference = means["batchnorm"] - means["plain"]
    assert f"Difference at the two best points, over 3 pairs: {difference:.4f} [" in answer
    assert (
        "The best point of each variant was chosen on the held-out images with seeds 0, 1, and confirmed with fresh "
        "seeds 5 to 7, the only ones tested:"
    ) in answer
    (row,) = table(left / "confirmed.csv")
    assert (row["plain_train.lr"], row["batchnorm_train.lr"], row["plain_n"], row["pairs"]) == ("0.1", "1", "3", "3")
    assert float(row["plain_accuracy"]) == pytest.approx(means["plain"], abs=5e-5)
    assert float(row["difference"]) == pytest.approx(difference, abs=1.5e-4)


def test_the_fresh_seeds_have_runs_that_a_tag_tells_apart(project: Path) -> None:
    found = points(project, "both")
    confirming = [run for run in found if run.data.tags.get("role") == "confirm"]
    assert len(found) == 7 * 2 + 2
    assert {run.info.run_name for run in confirming} == {
        "plain lr=0.1 confirmed [both]",
        "batchnorm lr=1 confirmed [both]",
    }
    assert {run.data.params["train.seeds"] for run in confirming} == {"5,6,7"}
    assert {run.data.params["train.seeds"] for run in found if run not in confirming} == {"0,1"}


def test_the_same_command_again_trains_nothing(
    project: Path, trained: list[tuple[str, float, tuple[int, ...]]]
) -> None:
    left = project / "sweeps" / "both"
    before = {path: path.read_bytes() for path in left.iterdir()}
    printed = done(*BOTH)
    assert "both: 7 points, 34 networks in 16 populations, 0 still to train\n" in printed
    assert trained == []
    assert {path: path.read_bytes() for path in left.iterdir()} == before
    assert len(points(project, "both")) == 7 * 2 + 2


def test_a_sweep_that_was_stopped_before_it_confirmed_goes_on_there(
    project: Path, trained: list[tuple[str, float, tuple[int, ...]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = (*RATES, "--refine", "3", "--confirm", "5-7", "--epochs", "2", "--name", "stopped")
    run = OutcomeJob.run

    def stop(job: OutcomeJob, *rest: Any) -> Outcome:
        if job.part.seeds[0] == 5 and job.part.variant == "batchnorm":
            raise KeyboardInterrupt
        return run(job, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(OutcomeJob, "run", stop)
        assert sweep(*command).exit_code == 130
    assert len(trained) == 7 * 2 + 1
    trained.clear()
    printed = done(*command)
    assert "stopped: 7 points, 34 networks in 16 populations, 1 still to train (3 networks)\n" in printed
    assert trained == [("batchnorm", 1, (5, 6, 7))]
    assert len(points(project, "stopped")) == 7 * 2 + 2
    tables = [(project / "sweeps" / name / "per_seed.csv").read_bytes() for name in ("both", "stopped")]
    assert tables[0] == tables[1]


def test_rounds_are_limited_and_a_study_asks_for_them(
    project: Path, trained: list[tuple[str, float, tuple[int, ...]]]
) -> None:
    study = project / "studies" / "rates"
    study.mkdir(parents=True)
    text = "grid: {lr: 'log(1e-2,100,5)', epochs: '3,4'}\nrefine: 1\nconfirm: [8, 9]\nbest_of_k: [1, 2]"
    (study / "params.yaml").write_text(text, encoding="utf-8")
    done("--study", "studies/rates")
    rows = table(study / "results" / "table.csv")
    rates = ["0.01", "0.0316228", "0.1", "0.316228", "1", "3.16228", "10", "100"]
    assert [(row["train.epochs"], row["train.lr"]) for row in rows] == [(e, rate) for e in "34" for rate in rates]
    assert sum(seeds == (8, 9) for *_, seeds in trained) == 4
    assert len(table(study / "results" / "confirmed.csv")) == 2
    assert [row["k"] for row in table(study / "results" / "best_of_k.csv")] == ["1", "2"] * 2
    trained.clear()
    assert "refining" not in done("--study", "studies/rates", "--refine", "0", "--name", "no_rounds")
    assert trained == []
    assert len(table(study / "results" / "table.csv")) == 10


def test_values_that_the_parameter_does_not_allow_end_that_side(project: Path) -> None:
    done("--grid", "momentum=0.4,0.6,0.8", "--optimizer", "sgd", "--refine", "3", "--name", "momentum")
    tried = [row["train.momentum"] for row in table(project / "sweeps" / "momentum" / "table.csv")]
    assert tried == ["0.4", "0.6", "0.7", "0.8"]
    assert "train.momentum = 0.8 is at the edge of the grid." in answer_of(project, "momentum")
    done("--grid", "batch_size=2,3,4", "--refine", "3", "--name", "sizes")  # 1 leaves no variance, 2.5 is no number
    tried = [row["train.batch_size"] for row in table(project / "sweeps" / "sizes" / "table.csv")]
    assert tried == ["2", "3", "4"]


def test_without_confirming_no_table_of_it_stays(project: Path) -> None:
    done(*RATES, "--name", "both")
    left = project / "sweeps" / "both"
    assert not (left / "confirmed.csv").exists()
    assert "role" not in table(left / "per_seed.csv")[0]
    assert len(table(left / "table.csv")) == 3
    assert "of the same trainings" in answer_of(project, "both")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--refine", "2", "--holdout", "0"), "refine: points are chosen on held-out images; set data.holdout above 0"),
        (("--confirm", "9", "--holdout", "0"), "confirm: points are chosen on held-out images; set data.holdout above"),
        (("--confirm", "1-3"), "confirm: train.seeds has seed 1 too; fresh seeds are needed"),
        (("--confirm", "many"), "confirm = many: expected at most 10,000 seeds below 2147483648, such as 100-129 or "),
        (("--refine", "-1"), "Invalid value for '--refine': -1 is not in the range "),
        (("--refine", "x"), "Invalid value for '--refine': 'x' is not a valid integer"),
        (("--refine",), "Option '--refine' requires an argument."),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(project: Path, arguments: tuple[str, ...], words: str) -> None:
    before = sorted(project.rglob("*"))
    result = sweep(*RATES, *arguments)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith(f"Error: {words}")
    assert sorted(project.rglob("*")) == before


def test_a_grid_that_cannot_be_refined_is_one_line(project: Path) -> None:
    result = sweep("--grid", "activation=tanh,relu", "--refine", "1")
    assert result.stderr == ("Error: refine: the values of the grid's first key, model.activation, must be numbers\n")
    assert (project / "params.yaml").exists()


@pytest.mark.usefixtures("project")
def test_the_trainings_that_confirm_are_counted() -> None:
    result = sweep(*RATES, "--confirm", "10-5009")
    assert result.stderr == ("Error: the grid has 10012 trainings, more than 10000; give --yes if it is meant\n")
