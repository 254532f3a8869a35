"""What a sweep trains: its grid, then points added around the best ones, then the best ones with other seeds."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline.analysis.wording import seed_words
from pipeline.data.dataset import Split, check_batches
from pipeline.errors import UserError
from pipeline.params import Data, Params, ParamsFile, Variant
from pipeline.sweeps.grid import Point, group_points
from pipeline.sweeps.outcome import Outcome
from pipeline.sweeps.plan import Task
from pipeline.sweeps.refine import check_numeric, further_values, number_of, value_text
from pipeline.sweeps.result import Result, best, groups

MOST = 1000  # rounds of refinement, and draws of the best of k
MakePoint = Callable[[Mapping[str, str]], Point | None]  # from the values of its keys; None if one is not allowed
Choose = Callable[[Sequence[Result], Variant], Sequence[Result]]  # from all points of a group


@dataclass(frozen=True)
class Extension:
    """What a sweep trains beyond its grid.

    Attributes:
        rounds: At most how often points are added around each group's best one; 0 for never.
        seeds: The seeds on which each group's best points are confirmed; none if they are not.
    """

    rounds: int = 0
    seeds: tuple[int, ...] = ()

    def check(self, params: Params, points: Sequence[Point]) -> None:
        """Check that it can follow a grid.

        Args:
            params: The parameters that all points share.
            points: The points of the grid.

        Raises:
            UserError: It cannot.
        """
        asked = [name for name, value in (("refine", self.rounds), ("confirm", self.seeds)) if value]
        if asked and not params.data.holdout:
            raise UserError(f"{' and '.join(asked)}: points are chosen on held-out images; set data.holdout above 0")
        if self.rounds:
            check_numeric("refine", points, least=2)
        if both := [seed for seed in self.seeds if seed in params.train.seeds]:
            raise UserError(f"confirm: train.seeds has {seed_words(both)} too; fresh seeds are needed")


def point_maker(file: ParamsFile, overrides: Mapping[str, str], examples: Mapping[Data, Split]) -> MakePoint:
    """Return what makes points beside those of a grid.

    Args:
        file: The params file.
        overrides: Values set at every point, as YAML text by key.
        examples: The images of every section `data`, whose number decides which batch sizes are allowed; they need no
            pixels.
    """

    def make(values: Mapping[str, str]) -> Point | None:
        try:
            point = Point({**values}, file.params({**overrides, **values}))
            check_batches(examples[point.params.data], point.params.train.batch_size, point.params.model.ghost_batch)
        except UserError:
            return None
        return point

    return make


class Search:
    """The tasks of a sweep, which become more as outcomes arrive. The same outcomes lead to the same tasks.

    Attributes:
        points: All points so far, group by group where points were added, with the values of the first key ascending.
        tasks: All tasks so far.
    """

    def __init__(
        self,
        points: Sequence[Point],
        plan: Callable[[Sequence[Point]], list[Task]],
        make_point: MakePoint,
        extension: Extension,
        choose: Choose | None = None,
    ) -> None:
        """Plan the grid.

        Args:
            points: The points of the grid.
            plan: Lists the tasks of points, for each point one of each variant.
            make_point: Makes further points.
            extension: What follows the grid.
            choose: Chooses points of a group that are confirmed beside the best one.
        """
        self.points = [*points]
        self.tasks = plan(points)
        self._variants = [*dict.fromkeys(task.variant for task in self.tasks)]
        self._choose = choose
        self._grid, self._plan, self._make_point = points, plan, make_point
        self._rounds, self._seeds = extension.rounds, extension.seeds

    def advance(self, outcomes: Mapping[str, Outcome]) -> list[Task]:
        """Add the tasks of the next step, and return them: none at the end.

        Args:
            outcomes: Those of all tasks so far, by the tasks' digests.
        """
        new: list[Task] = []
        if self._rounds:
            self._rounds -= 1
            new = self._plan(self._refine(self.results(outcomes)))
        if not new:
            self._rounds = 0
            new = self._confirm(self.results(outcomes)) if self._seeds else []
            self._seeds = ()
        self.tasks += new
        return new

    def skip_stored(self) -> None:
        """Add the tasks of all steps that follow from outcomes that earlier sweeps have stored."""
        outcomes: dict[str, Outcome] = {}
        new = self.tasks
        while new and (self._rounds or self._seeds):
            for task in new:
                if outcome := task.load_outcome():
                    outcomes[task.digest] = outcome
            new = self.advance(outcomes) if all(task.digest in outcomes for task in new) else []

    def ahead(self) -> list[str]:
        """Return what may follow the tasks so far, in words."""
        more = ", and more for other points that the study chooses" if self._choose else ""
        rounds = f"up to {self._rounds} round{'s' * (self._rounds > 1)} of points around the best ones"
        seeds = f"up to {self._networks_that_confirm()} networks of other seeds to confirm the best points{more}"
        return [words for words, asked in ((rounds, self._rounds), (seeds, self._seeds)) if asked]

    def epochs_ahead(self) -> int:
        """Return how many epochs may follow, summed over networks, where the best points are confirmed."""
        return self._networks_that_confirm() * max(point.params.train.epochs for point in self._grid)

    def _networks_that_confirm(self) -> int:
        return len(self._variants) * len(group_points(self._grid)) * len(self._seeds)

    def results(self, outcomes: Mapping[str, Outcome]) -> list[Result]:
        """Return the result of every point.

        Args:
            outcomes: Those of all tasks so far, by the tasks' digests.
        """
        of_points: dict[str, dict[bool, list[Task]]] = {}
        for task in self.tasks:
            of_points.setdefault(task.point.label(), {False: [], True: []})[task.confirms].append(task)
        given = {point.label() for point in self._grid}
        results = []
        for point in self.points:
            chosen_by, confirmed = (
                {task.variant: outcomes[task.digest] for task in tasks} for tasks in of_points[point.label()].values()
            )
            seeds = next((task.population.seeds for task in of_points[point.label()][True]), ())
            results.append(Result(point, chosen_by, confirmed, seeds, added=point.label() not in given))
        return results

    def _refine(self, results: Sequence[Result]) -> list[Point]:
        """Add points around the best ones of each group, and return them."""
        key = next(iter(self._grid[0].values))
        grid = group_points(self._grid)
        ordered: list[Point] = []
        added: list[Point] = []
        for values, group in groups(results).items():
            tried = sorted(number_of(result.point) for result in group)
            points = {number_of(result.point): result.point for result in group}
            regular = sorted(map(number_of, grid[values]))
            for variant in self._variants:
                like = best(group, variant).point
                for value in further_values(regular, tried, number_of(like)):
                    point = self._make_point({**like.values, key: value_text(value, like)})
                    if point and not any(math.isclose(number_of(point), other, rel_tol=1e-4) for other in points):
                        points[number_of(point)] = point
                        added.append(point)
            ordered += [points[value] for value in sorted(points)]
        if added:
            self.points = ordered
        return added

    def _confirm(self, results: Sequence[Result]) -> list[Task]:
        """Return the tasks of the chosen points of each group with the seeds that confirm them."""
        tasks = []
        for group in groups(results).values():
            for variant in self._variants:
                chosen = [best(group, variant), *(self._choose(group, variant) if self._choose else ())]
                for point in {result.point.label(): result.point for result in chosen}.values():
                    train = point.params.train.model_copy(update={"seeds": self._seeds})
                    again = replace(point, params=point.params.model_copy(update={"train": train}))
                    tasks += [replace(task, confirms=True) for task in self._plan([again]) if task.variant == variant]
        return tasks
