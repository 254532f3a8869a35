"""The plan of a sweep: a population of each variant for each point of the grid, with the file of its outcome."""

import contextlib
import hashlib
import json
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.data.dataset import Examples, Split, check_batches, split
from pipeline.data.images import ImageFiles
from pipeline.errors import UserError
from pipeline.files import to_json, write_atomic
from pipeline.network.device import configure_device, device_memory
from pipeline.network.normalisation import NORMS, check_variant
from pipeline.params import VARIANTS, Data, Params, Variant
from pipeline.parts import cut
from pipeline.sweeps.grid import Point, digest_points
from pipeline.sweeps.outcome import Outcome, load_outcome, outcome_digest, stored_seeds
from pipeline.sweeps.probe import Probe
from pipeline.training.loop import fit
from pipeline.training.population import Population

SAMPLE = 6000  # training images on which an estimate is based


@dataclass(frozen=True)
class Task:
    """One population of a sweep.

    Attributes:
        point: Its point of the grid.
        population: The networks.
        probe: The study's probe, if any.
        folder: Where the outcomes of its members are stored.
        confirms: Whether its seeds confirm the point, which other seeds have chosen.
    """

    point: Point
    population: Population
    probe: Probe | None
    folder: Path
    confirms: bool = False

    @property
    def variant(self) -> Variant:
        """The variant of its networks."""
        return self.population.variant

    @property
    def digest(self) -> str:
        """A SHA-256 of everything that determines its outcome."""
        return hashlib.sha256(json.dumps([self.folder.name, self.population.seeds]).encode()).hexdigest()

    def load_outcome(self) -> Outcome | None:
        """Return the outcome of all its members, if earlier sweeps have stored them."""
        return load_outcome(self.folder, self.population.seeds)

    def rest(self) -> Population | None:
        """Return the networks without a stored outcome, if there are any."""
        stored = stored_seeds(self.folder)
        seeds = tuple(seed for seed in self.population.seeds if seed not in stored)
        return replace(self.population, seeds=seeds) if seeds else None


def claim_name(
    folder: Path,
    points: Sequence[Point],
    rounds: int = 0,
    seeds: Sequence[int] = (),
    variants: Sequence[Variant] = VARIANTS,
) -> None:
    """Note a sweep in its folder, and say so if its grid or its variants replace those of another sweep of its name.

    Args:
        folder: The sweep's folder.
        points: The points of its grid.
        rounds: At most how often points are added.
        seeds: Those that confirm the chosen points.
        variants: The variants that it compares.
    """
    file, digest = folder / "sweep.json", digest_points(points, variants)
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        earlier = json.loads(file.read_text(encoding="utf-8"))
        if earlier["digest"] != digest:
            print(
                f"{folder.name}: replaces the results of another sweep of this name, of {len(earlier['points'])} "
                f"points from {earlier['points'][0]} to {earlier['points'][-1]}; its trainings and its runs stay"
            )
    asked = {"refine": rounds, "confirm": [*seeds]}
    write_atomic(file, to_json({"digest": digest, "points": [point.label() for point in points], **asked}))


def load_splits(
    params: Params, points: Sequence[Point], images: Mapping[Data, ImageFiles], device: str | None = None
) -> dict[Data, Split]:
    """Put the images onto a device, and check that every point can be trained on its own.

    Args:
        params: The parameters that all points share.
        points: The points of the grid.
        images: The verified images of every point's section `data`.
        device: The device, instead of `train.device`.

    Raises:
        UserError: A point cannot be trained on its images, or the device is not available.
    """
    settings = params.train.model_copy(update={"device": device or params.train.device})
    chosen = configure_device(settings)
    splits = {}
    for data, files in images.items():
        with _named(data, images):
            splits[data] = split(files, data.holdout, chosen)
    for point in points:
        data = point.params.data
        with _named(data, images):
            check_batches(splits[data], point.params.train.batch_size, point.params.model.ghost_batch)
    return splits


@contextlib.contextmanager
def _named(data: Data, images: Collection[Data]) -> Iterator[None]:
    """Name the images that an error is about, if there are several."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{data.directory or data.dataset}: {error}" if len(images) > 1 else str(error)) from None


def plan(
    points: Sequence[Point],
    images: Mapping[Data, ImageFiles],
    folder: Path,
    probe: Probe | None = None,
    variants: Sequence[Variant] = VARIANTS,
) -> list[Task]:
    """List the populations of a sweep: for each point, one of each variant.

    Args:
        points: The points of the grid.
        images: The verified images of every point's section `data`.
        folder: Where the outcomes are stored.
        probe: The study's probe, if any.
        variants: The variants: first the control, with which the others are compared.

    Raises:
        UserError: A point's networks cannot have one of the normalisations.
    """
    tasks = []
    for point in points:
        data = point.params.data
        for variant in variants:
            population = _population(point.params, variant)
            check_variant(variant, population.model)
            digest = outcome_digest(population, data.holdout, images[data].digest, probe)
            tasks.append(Task(point, population, probe, folder / digest))
    return tasks


def without_pixels(examples: Split) -> Split:
    """Return as many examples with images of no pixels: enough to check batches, and small."""
    parts = (examples.train, examples.validation, examples.test)
    return Split(*(Examples(part.images[:, :0].clone(), part.labels) for part in parts))


def estimate(populations: Sequence[Population], examples: Split, workers: int) -> float:
    """Estimate the seconds that the training of populations takes, from a short training of each kind."""
    seconds: dict[tuple[object, ...], float] = {}
    total = 0.0
    for population in populations:
        train = population.train
        kind = (population.variant, population.model, train.batch_size, train.optimizer)
        if kind not in seconds:
            sample = Examples(examples.train.images[:SAMPLE], examples.train.labels[:SAMPLE])
            part = cut(population, 1, device_memory(examples.train.images.device), None)[0]
            start = time.perf_counter()
            fit(replace(part, train=train.model_copy(update={"epochs": 1})), sample)
            seconds[kind] = (time.perf_counter() - start) / len(part.seeds) / len(sample)
        total += seconds[kind] * len(examples.train) * population.epochs()
    return total / workers


def _population(params: Params, variant: Variant) -> Population:
    """Return the networks to train, with one value of what makes no difference to this variant."""
    model, train = params.model, params.train
    if variant != "batchnorm":
        model = model.model_copy(update={"ghost_batch": 0, "recentre": True, "rescale": True, "affine": True})
    if variant not in NORMS:
        train = train.model_copy(update={"weights": "all"})
        if not model.noise:
            model = model.model_copy(update={"norm_position": "after_activation"})
    return Population(variant, model, train, train.seeds)
