"""The primary outcome of every study, a line each, from the pairs that are committed: `python -m studies.summary`."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline import paths
from pipeline.analysis import figures
from pipeline.analysis.family import PAIRS
from pipeline.analysis.forest import Effect, forest, forest_of_ratios
from pipeline.analysis.statistics import Interval, exponential, interval
from pipeline.analysis.tables import format_number, markdown_table
from pipeline.files import to_csv, write_atomic, write_folder
from pipeline.params import load
from pipeline.sweeps.study import load_study

FOLDER = Path("studies")
WIDTH = 9.5  # inches
HEAD = ("study", "compared", "effect", "low", "high", "pairs")


@dataclass(frozen=True)
class Primary:
    """A study's primary outcome.

    Attributes:
        study: The study's folder.
        compared: What is compared, in words.
        treatment: The column of its pairs that is compared.
        control: The column that it is compared with.
    """

    study: str
    compared: str
    treatment: str
    control: str


DIFFERENCES = [
    Primary("learning_rate", "Batch Normalization, tuned", "treatment", "control"),
    Primary("replication", "the same on Fashion-MNIST", "treatment", "control"),
    Primary("budget", "the same after 50 epochs", "batchnorm", "plain"),
    Primary("depth", "Batch Normalization in 16 layers", "batchnorm", "plain"),
    Primary("position", "before instead of after the sigmoid", "before", "after"),
    Primary("running_statistics", "running instead of recomputed statistics", "running", "recomputed"),
    Primary("ingredients", "only the mean instead of all", "treatment", "control"),
    Primary("normalisers", "Layer instead of Batch Normalization", "treatment", "control"),
    Primary("batch_size", "batches of 4: Batch instead of Layer Normalization", "treatment", "control"),
    Primary("initialisation", "share of settings that learn", "batchnorm", "plain"),
]
RATIOS = [
    Primary("steps_to_accuracy", "steps to 95 %, gradient descent", "batchnorm", "plain"),
    Primary("lab_revisited", "spread of layer 2's pre-activations", "batchnorm", "plain"),
    Primary("internal_covariate_shift", "movement of the last sigmoids' inputs", "batchnorm", "plain"),
    Primary("loss_landscape", "effective smoothness, lower is smoother", "first", "second"),
    Primary("calibration_and_robustness", "negative log-likelihood", "batchnorm", "plain"),
]


def main() -> None:
    """Write the figures and the table."""
    settings = load(paths.PARAMS).evaluate
    rows: list[list[str]] = []
    differences = [_effect(primary, rows, settings.confidence) for primary in DIFFERENCES]
    ratios = [_effect(primary, rows, settings.confidence, ratio=True) for primary in RATIOS]
    over = f"over pairs of trainings, with Student's {100 * settings.confidence:g} % intervals."
    drawn = {
        "differences": forest({"accuracies": differences}, "study", settings.margin, f"Means {over}"),
        "ratios": forest_of_ratios(
            ratios,
            "study",
            "ratios",
            "Batch Normalization / plain",
            f"Geometric means {over}",
        ),
    }
    for figure in drawn.values():
        figure.set_figwidth(WIDTH)
    with write_folder(FOLDER / "results") as part:
        contents: dict[str, str | bytes] = {
            "summary.csv": to_csv(HEAD, rows),
            "summary.md": "\n".join([*markdown_table(HEAD, rows), ""]),
        }
        for name, figure in drawn.items():
            contents |= figures.files(figure, name)
        for name, content in contents.items():
            write_atomic(part / name, content)


def _effect(primary: Primary, rows: list[list[str]], confidence: float, *, ratio: bool = False) -> Effect:
    """Return a primary outcome with its interval, and add its row to the table."""
    pairs = read_pairs(FOLDER / primary.study, primary)
    effect = compare(pairs, confidence, ratio=ratio)
    numbers = (format_number(number) for number in (effect.value, effect.low, effect.high))
    rows.append([primary.study, primary.compared, *numbers, str(len(pairs))])
    return Effect(f"{primary.compared} ({primary.study})", effect)


def read_pairs(folder: Path, primary: Primary) -> list[tuple[float, float]]:
    """Return the values of a study's primary outcome, treatment and control, of all pairs in which both are known."""
    name = load_study(folder).primary
    with (folder / "results" / f"{PAIRS}.csv").open(newline="", encoding="utf-8") as file:
        found = [row for row in csv.DictReader(file) if row["outcome"] == name]
    sides = [(row[primary.treatment], row[primary.control]) for row in found]
    return [(float(treatment), float(control)) for treatment, control in sides if treatment and control]


def compare(pairs: Sequence[tuple[float, float]], confidence: float, *, ratio: bool) -> Interval:
    """Return the mean difference or the geometric mean ratio of pairs, treatment to control, with its interval."""
    values = np.array(pairs)
    if ratio:
        return exponential(interval(np.log(values[:, 0]) - np.log(values[:, 1]), confidence))
    return interval(values[:, 0] - values[:, 1], confidence)


if __name__ == "__main__":
    main()
