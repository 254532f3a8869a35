"""Two kinds of networks, each at a chosen point, compared by their accuracies."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.analysis.family import Family
from pipeline.analysis.statistics import LEARNED, Comparison, compare, learned, summarise
from pipeline.analysis.tables import format_failed, format_interval
from pipeline.analysis.verdicts import Question
from pipeline.analysis.wording import count_of, seed_words
from pipeline.errors import UserError
from pipeline.params import Evaluate, Variant
from pipeline.sweeps.result import Result, best
from pipeline.training.history import Floats

OF_SIDE = ("", ": point", ": test accuracy", ": failed")
HEAD = [*(f"{side}{column}" for side in ("treatment", "control") for column in OF_SIDE), "difference"]


@dataclass(frozen=True)
class Chosen:
    """A kind of network at the point that was chosen for it.

    Attributes:
        name: What it is called.
        result: The point.
        variant: Its variant there.
        held_out: Whether it is compared by the accuracies that points are chosen by, instead of those on the test
            images.
        least: The accuracy below which a training has failed.
    """

    name: str
    result: Result
    variant: Variant
    held_out: bool = False
    least: float = LEARNED

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of its accuracies: those that confirm the point, if there are any and it is not `held_out`."""
        confirmed = self.variant in self.result.confirmed and not self.held_out
        return self.result.seeds if confirmed else self.result.point.params.train.seeds

    @property
    def value(self) -> str:
        """The point's value of the first key, as text."""
        return next(iter(self.result.point.values.values()))

    def accuracy(self) -> Floats:
        """Return the accuracies [seeds] that it is compared by."""
        return self.result.final(self.variant) if self.held_out else self.result.tested(self.variant)

    def cells(self, settings: Evaluate) -> list[str]:
        """Return its cells of `HEAD`."""
        accuracy = self.accuracy()
        mean = format_interval(summarise(accuracy, settings.confidence).mean)
        return [self.name, self.value, mean, format_failed(accuracy, settings.confidence, self.least)]


def choose_best(name: str, results: Sequence[Result], variant: Variant, least: float = LEARNED) -> Chosen:
    """Return a variant at its best point on the held-out images, of some points."""
    return Chosen(name, best(results, variant), variant, least=least)


def ask_versus(
    family: Family,
    table: str,
    name: str,
    treatment: Chosen,
    control: Chosen,
    settings: Evaluate,
    cells: Sequence[str] = (),
) -> Comparison:
    """Add to a family the difference of two kinds' accuracies, seed by seed: treatment minus control.

    Args:
        family: The outcomes that are judged together.
        table: The table that it is a row of.
        name: The outcome's name.
        treatment: The kind that the verdict is on.
        control: What it is compared with.
        settings: How intervals are computed, and the margin.
        cells: What the row begins with, before the cells below `HEAD`.

    Returns:
        The comparison.

    Raises:
        UserError: The accuracies are those of different seeds, as where one point was confirmed and the other was not.
    """
    if treatment.seeds != control.seeds:
        sides = [f"{one.name} at {one.value} has {seed_words(one.seeds)}" for one in (treatment, control)]
        raise UserError(f"{name}: cannot be compared pair by pair: {' and '.join(sides)}")
    accuracies = treatment.accuracy(), control.accuracy()
    both = learned(accuracies[0], treatment.least) & learned(accuracies[1], control.least)
    comparison = compare(*accuracies, settings.confidence, both)
    question = Question(comparison, f"{treatment.name} is better", f"{control.name} is better", settings.margin)
    row = [*cells, *treatment.cells(settings), *control.cells(settings), format_interval(comparison.difference)]
    family.ask(table, name, question, row, *accuracies, seeds=treatment.seeds)
    return comparison


def explain_differences(count: int, confidence: float) -> str:
    """Say what the differences of a forest plot are, over a count of seeds."""
    return (
        f"Test accuracies: mean differences over {count_of(count, 'seed')}, Student's {100 * confidence:g} % "
        "intervals, each that of a single comparison."
    )
