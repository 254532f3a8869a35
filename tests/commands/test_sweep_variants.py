"""Sweeps over more than the pair, and over several sets of images, as a user types them."""

import csv
import textwrap
from pathlib import Path

import pytest
from mlflow.entities import Run

from pipeline.data.images import read
from pipeline.params import VARIANTS
from tests.samples import enter
from tests.sweeping import done, make, points, runs, sweep
from tools import sandbox

pytestmark = pytest.mark.filterwarnings("default")  # MLflow and SQLAlchemy warn of each other

THREE = ("plain", "layernorm", "batchnorm")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new project, without a store."""
    make(tmp_path)
    enter(tmp_path, monkeypatch)
    return tmp_path


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as content:
        return list(csv.DictReader(content))


def image_digest(run: Run) -> str:
    assert run.inputs
    digest: str = run.inputs.dataset_inputs[0].dataset.digest
    return digest


def test_every_variant_is_compared_with_the_first(project: Path) -> None:
    words = done("--grid", "lr=0.01,0.1", "--variants", ", ".join(THREE), "--confirm", "5,6", "--name", "three")
    assert "plain, Layer Normalization and Batch Normalization; seeds 0, 1." in " ".join(words.split())
    folder = project / "sweeps" / "three"
    seeds = rows(folder / "per_seed.csv")
    assert {row["variant"] for row in seeds} == {*THREE}
    final = {
        (row["train.lr"], row["variant"], row["seed"]): float(row["validation_accuracy"])
        for row in seeds
        if row["role"] == "choose"
    }
    for row in rows(folder / "table.csv"):
        for variant in THREE[1:]:
            mean = sum(final[row["train.lr"], variant, s] - final[row["train.lr"], "plain", s] for s in "01") / 2
            assert float(row[f"{variant}_difference"]) == pytest.approx(mean, abs=1e-4)
        assert "difference" not in row
    (confirmed,) = rows(folder / "confirmed.csv")
    assert {f"{variant}_train.lr" for variant in THREE} <= confirmed.keys()
    assert {"layernorm_pairs", "batchnorm_pairs"} <= confirmed.keys()
    answer = (folder / "answer.md").read_text(encoding="utf-8")
    for name in ("Layer Normalization", "Batch Normalization"):
        assert f"Difference at the best points of {name} and plain, over 2 pairs" in answer
        assert f"| best points, {name} |" in answer
    assert "Differences are means of each variant minus plain" in answer


def test_the_runs_tell_the_variants_apart(project: Path) -> None:
    done("--grid", "lr=0.01,0.1", "--variants", ",".join(THREE), "--name", "three")
    assert sorted(run.data.tags["variant"] for run in points(project, "three")) == sorted(2 * THREE)
    (summary,) = runs(project, "tags.level = 'summary'")
    found = summary.data.metrics
    for variant in THREE[1:]:
        difference = found[f"test_accuracy/{variant}"] - found["test_accuracy/plain"]
        assert found[f"test_accuracy/difference {variant}"] == pytest.approx(difference)


@pytest.mark.usefixtures("project")
def test_a_position_is_none_for_what_has_no_activations_to_normalise() -> None:
    grid = ("--grid", "lr=0.1", "--grid", "norm_position=after_activation,before_activation")
    words = done(*grid, "--variants", "plain,weightnorm,layernorm", "--name", "positions")
    planned = "positions: 2 points, 8 networks in 4 populations, 4 still to train (8 networks)"
    assert planned in words  # of two seeds; not 12


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--variants", "plain"), "variants = ['plain']: should be a list of at least two, first the control"),
        (("--variants", "plain,plain"), "variants = ['plain', 'plain']: should be a list of at least two, "),
        (("--variants", "plain,dropout"), f"variants: 'dropout': choose from {', '.join(VARIANTS)}, layernorm, "),
        (
            ("--variants", "plain,groupnorm", "--groups", "3"),
            "model.groups = 3: groupnorm cannot divide 5 units into equal groups",
        ),
    ],
)
def test_variants_that_cannot_be_are_one_line(project: Path, arguments: tuple[str, ...], words: str) -> None:
    before = sorted(project.rglob("*"))
    result = sweep("--grid", "lr=0.1", *arguments)
    assert result.exit_code == 2
    assert result.stderr.removeprefix("Error: ").startswith(words)
    assert result.stderr.count("\n") == 1
    assert sorted(project.rglob("*")) == before


@pytest.mark.usefixtures("project")
def test_another_control_is_another_sweep() -> None:
    grid = ("--grid", "lr=0.1", "--dry-run")
    names = [done(*grid, "--variants", ",".join(one)).partition(":")[0] for one in (THREE[:2], THREE[1::-1], VARIANTS)]
    assert len({*names}) == 3
    assert names[2] == done(*grid).partition(":")[0]


def test_a_report_of_other_variants_is_one_line(project: Path) -> None:
    folder = project / "study"
    folder.mkdir()
    (folder / "params.yaml").write_text("grid: {lr: 0.1}", encoding="utf-8")
    (folder / "report.py").write_text("def report(*_): ...", encoding="utf-8")
    result = sweep("--study", "study", "--variants", "plain,layernorm")
    assert (result.exit_code, result.stderr) == (2, "Error: variants: the report of study is about plain, batchnorm\n")
    assert "2 networks" in done("--study", "study", "--variants", "plain,batchnorm", "--seeds", "3", "--dry-run")


def test_a_study_chooses_further_points_to_confirm(project: Path) -> None:
    folder = project / "study"
    folder.mkdir()
    (folder / "params.yaml").write_text("grid: {lr: '0.01,0.1,1'}\nconfirm: 5-7", encoding="utf-8")
    report = """
        from pipeline.sweeps.report import Report
        def report(*_):
            return Report(["# Which?"], {})
        def choose(group, variant):
            return [one for one in group if one.point.values["train.lr"] == "1" and variant == "plain"]
    """
    (folder / "report.py").write_text(textwrap.dedent(report), encoding="utf-8")
    more = (
        "up to 6 networks of other seeds to confirm the best points, and more for other points that the study chooses"
    )
    assert f"then {more}\n" in done("--study", "study", "--dry-run")
    done("--study", "study")
    confirmed = {
        (row["train.lr"], row["variant"])
        for row in rows(folder / "results" / "per_seed.csv")
        if row["role"] == "confirm"
    }
    assert ("1", "plain") in confirmed
    assert {variant for _, variant in confirmed} == {*VARIANTS}


def test_images_differ_in_number_and_are_not_chosen(project: Path) -> None:
    sandbox.write_images(project / "first", 30, 12)
    sandbox.write_images(project / "second", 36, 15, seed=1)
    done("--grid", "data.directory=second,first", "--grid", "lr=0.01,0.1", "--confirm", "5-7", "--name", "folders")
    folder = project / "sweeps" / "folders"
    confirmed = rows(folder / "confirmed.csv")
    assert [row["data.directory"] for row in confirmed] == ["second", "first"]
    assert {row["pairs"] for row in confirmed} == {"3"}
    assert [[*row][:2] for row in rows(folder / "table.csv")] == 4 * [["train.lr", "data.directory"]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--grid", "data.directory=first,gone", "--grid", "lr=0.1"), "directory {project}/gone: train-images-idx3-"),
        (("--grid", "data.directory=first,few", "--grid", "lr=0.1"), "few: data.holdout = 6: must be less than the 6"),
        (("--grid", "data.directory=first,one", "--grid", "lr=0.1"), "one: train.batch_size = 8: leaves a batch of a "),
        (("--grid", "data.directory=first,few"), "grid data.directory: points are chosen by their accuracy, images "),
    ],
)
def test_images_that_cannot_be_are_one_line_that_names_them(
    project: Path, arguments: tuple[str, ...], words: str
) -> None:
    for name, count in (("first", 30), ("few", 6), ("one", 23)):
        sandbox.write_images(project / name, count, 12)
    result = sweep(*arguments)
    assert result.exit_code == 2
    assert result.stderr.removeprefix("Error: ").startswith(words.format(project=project))
    assert result.stderr.count("\n") == 1
    assert not (project / "sweeps").exists()


def test_each_point_reads_its_own_images(project: Path) -> None:
    for number, name in enumerate(("first", "second")):
        sandbox.write_images(project / name, 30 + 6 * number, 12)
    words = done("--grid", "lr=0.1", "--grid", "data.directory=first,second", "--name", "folders")
    assert "folders: 2 points, 8 networks" in words
    found = runs(project, "tags.sweep = 'folders' AND tags.level = 'point'")
    digests = {run.data.params["data.directory"]: image_digest(run) for run in found}
    expected = {name: read("custom", project / name).digest for name in ("first", "second")}
    assert expected["first"] != expected["second"]
    assert all(expected[name].startswith(digest) for name, digest in digests.items())
    assert len(digests) == 2
    again = done("--grid", "lr=0.1", "--grid", "data.directory=second,first", "--name", "again")
    assert "8 networks in 4 populations, 0 still to train" in again
