"""The result of a point: the outcomes of all variants; and the best of several points."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.analysis.statistics import (
    LEARNED,
    Comparison,
    Proportion,
    Summary,
    compare,
    failures,
    learned,
    of_survivors,
    summarise,
)
from pipeline.params import Evaluate, Variant
from pipeline.sweeps.grid import Point
from pipeline.sweeps.outcome import Outcome
from pipeline.training.history import Floats


@dataclass(frozen=True)
class Result:
    """One point of the grid with the outcome of each variant. Trainings that diverged have no accuracy: NaN.

    Attributes:
        point: The point, with the seeds of `outcomes`.
        outcomes: What the best points are chosen by.
        confirmed: The outcomes of other seeds, of the variants for which the point is the best of its group; empty
            where the sweep confirms nothing.
        seeds: The seeds of `confirmed`.
        added: Whether the point was added around the best, so that it is not of the grid that was given.
    """

    point: Point
    outcomes: Mapping[Variant, Outcome]
    confirmed: Mapping[Variant, Outcome] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    added: bool = False

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The variants: the control, with which the others are compared, is the first."""
        return tuple(self.outcomes)

    def kept(self, variant: Variant, values: Callable[[Outcome], Floats]) -> Floats:
        """Return values [seeds] of a variant's outcome; NaN for trainings that diverged."""
        outcome = self.outcomes[variant]
        return of_survivors(values(outcome), outcome.diverged_at)

    def final(self, variant: Variant) -> Floats:
        """Return the validation accuracy [seeds] after the last epoch."""
        return self.kept(variant, lambda outcome: outcome.validation_accuracy[:, -1])

    def examined(self, variant: Variant) -> Outcome:
        """Return the outcome that counts on the test images: of the seeds that confirm the point, if there are any."""
        return self.confirmed.get(variant, self.outcomes[variant])

    def tested(self, variant: Variant) -> Floats:
        """Return the test accuracy [seeds] of what is examined."""
        outcome = self.examined(variant)
        return of_survivors(outcome.test_accuracy, outcome.diverged_at)

    def probed(self, variant: Variant, name: str, at: int = -1) -> Floats:
        """Return what the probe has measured [seeds], of what is examined, at its last or another measurement."""
        outcome = self.examined(variant)
        return of_survivors(outcome.probed[name][:, at], outcome.diverged_at)

    def summary(self, variant: Variant, settings: Evaluate) -> Summary:
        """Return mean, median and quartiles over seeds of the final validation accuracy."""
        return summarise(self.final(variant), settings.confidence)

    def failures(self, variant: Variant, settings: Evaluate, least: float = LEARNED) -> Proportion:
        """Return how many trainings failed: a final validation accuracy below `least`, or diverged."""
        return failures(self.final(variant), settings.confidence, least)

    def diverged(self, variant: Variant) -> int:
        """Return how many trainings diverged."""
        return int(np.count_nonzero(self.outcomes[variant].diverged_at))

    def differences(self, settings: Evaluate) -> dict[Variant, Comparison]:
        """Compare every variant's final validation accuracies with the control's, seed by seed."""
        control, *others = self.variants
        return {variant: compare(self.final(variant), self.final(control), settings.confidence) for variant in others}


def best(results: Sequence[Result], variant: Variant) -> Result:
    """Return the point with the greatest mean validation accuracy, of equals the first; divergence counts as 0."""
    return max(results, key=lambda result: float(np.nan_to_num(result.final(variant)).mean()))


def choose(results: Sequence[Result]) -> dict[Variant, Result]:
    """Return the best point of each variant."""
    return {variant: best(results, variant) for variant in results[0].variants}


def groups(results: Sequence[Result]) -> dict[tuple[str, ...], list[Result]]:
    """Group the points by their values of all keys but the first."""
    grouped: dict[tuple[str, ...], list[Result]] = {}
    for result in results:
        grouped.setdefault(result.point.group(), []).append(result)
    return grouped


def compare_best(chosen: Mapping[Variant, Result], settings: Evaluate) -> dict[Variant, Comparison]:
    """Compare the test accuracies of every variant with the control's, each at its chosen point, seed by seed.

    Where a variant's point has other images than the control's, there is nothing to compare.
    """
    control, *others = chosen
    images, accuracies = chosen[control].point.params.data, chosen[control].tested(control)
    same = {one: chosen[one].tested(one) for one in others if chosen[one].point.params.data == images}
    return {
        variant: compare(accuracy, accuracies, settings.confidence, learned(accuracy) & learned(accuracies))
        for variant, accuracy in same.items()
    }
