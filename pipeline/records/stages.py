"""What the runs of the stages hold in MLflow: each stage's record, made from the files that the stage has left.

A stage that runs and a stage that DVC restores from its cache are recorded by the same code. Only what logs imports
PyTorch, MLflow and Matplotlib, because that takes seconds: what a stage has left can be digested without them.
"""

import csv
import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.data.idx import FILES
from pipeline.data.images import ImageFiles
from pipeline.params import VARIANTS, Params, Variant
from pipeline.records import saved_view
from pipeline.records.trainings import NEUTRAL, colour_tag, curves, log_images, mean_or_member, training_params
from pipeline.tracking.contents import ModelFiles
from pipeline.tracking.embedded import OUTPUTS_TAG
from pipeline.training.history import HISTORY_FILES, History, diverged_at, load_history, load_weights

if TYPE_CHECKING:
    from pipeline.tracking.runs import Run
    from pipeline.tracking.values import Points

PICTURES = 50  # of one tensor: more would take longer to draw than the epochs take to train
BOTH = "activations"  # the key of the pictures of both variants
RESULTS = ("metrics.json", "comparisons.json", "answer.md", "per_seed.csv", "confusion.csv")


@dataclass(frozen=True)
class StageRecord(ABC):
    """The record of a stage that was given `params` and leaves its files in `folder`."""

    params: Params
    folder: Path

    @property
    @abstractmethod
    def stage(self) -> str:
        """The stage's name in dvc.yaml."""

    @property
    @abstractmethod
    def purpose(self) -> str:
        """What the stage uses the images for, as MLflow's data sets say it."""

    @property
    @abstractmethod
    def note(self) -> str:
        """The run's description."""

    @property
    @abstractmethod
    def given(self) -> dict[str, Any]:
        """The parameters that the stage depends on, by dotted name."""

    @property
    def tags(self) -> dict[str, str]:
        """The tags of the run and its nested runs, besides those that all have."""
        return {}

    @property
    @abstractmethod
    def outputs(self) -> list[Path]:
        """The files that make the outputs of one stage equal to those of another."""

    @abstractmethod
    def log_outputs(self, run: "Run", images: ImageFiles) -> None:
        """Log what the stage has left."""

    def digest(self) -> str:
        """Return a SHA-256 over the stage's name, parameters and output files."""
        given = json.dumps([self.stage, self.given], sort_keys=True).encode()
        files = [hashlib.sha256(path.read_bytes()).digest() for path in self.outputs]
        return hashlib.sha256(b"".join([given, *files])).hexdigest()

    def is_complete(self) -> bool:
        """Return whether every output file is there."""
        return all(path.is_file() for path in self.outputs)

    def begin(self, run: "Run") -> None:
        """Log what is known before the stage's work."""
        run.log_params(self.given)
        digest = hashlib.sha256(json.dumps(self.given, sort_keys=True, default=str).encode()).hexdigest()
        run.set_tags({"stage": self.stage, "digest.params": digest, "mlflow.note.content": self.note, **self.tags})

    def finish(self, run: "Run", images: ImageFiles, seconds: float | None = None) -> None:
        """Log the images, what the stage has left and, unless DVC has restored it, how long its work took."""
        log_images(run, self.params.data.dataset, images, self.purpose)
        self.log_outputs(run, images)
        if seconds is not None:
            run.log_metrics({"seconds": [(0, seconds)]})
        digest = self.digest()
        run.delete_duplicates(digest)
        run.make_current(self.stage)
        run.set_tags({OUTPUTS_TAG: digest})  # last: it says that the record is whole


class DownloadRecord(StageRecord):
    """The record of stage `download`."""

    stage = "download"
    purpose = "download"
    note = "The images, verified."

    @property
    def given(self) -> dict[str, Any]:
        """The data set and the folder to look for it first."""
        return {"data.dataset": self.params.data.dataset, "data.directory": self.params.data.directory}

    @property
    def outputs(self) -> list[Path]:
        """The four files."""
        return [self.folder / name for name in FILES]

    def log_outputs(self, run: "Run", images: ImageFiles) -> None:
        """Log counts, bytes and digests."""
        counts = {f"images/{part}": [(0, float(count))] for part, count in images.counts.items()}
        run.log_metrics({**counts, "bytes": [(0, float(images.size))]})
        run.log_text("".join(f"{images.sha256[name]}  {name}\n" for name in FILES), "sha256sums.txt")


@dataclass(frozen=True)
class TrainRecord(StageRecord):
    """The record of stage `train` for one variant: means over seeds, and a nested run for each seed."""

    variant: Variant
    purpose = "training"

    @property
    def stage(self) -> str:
        """The stage's name in dvc.yaml."""
        return f"train@{self.variant}"

    @property
    def note(self) -> str:
        """The run's description."""
        return (
            f"Curves are means over {len(self.params.train.seeds)} seeds, which are nested runs. The model is that of "
            "the seed with the median validation accuracy. Histograms of the activations, by epoch, are the images "
            "among the model metrics."
        )

    @property
    def given(self) -> dict[str, Any]:
        """Everything but how to evaluate, and the variant."""
        return training_params(self.params, self.variant)

    @property
    def tags(self) -> dict[str, str]:
        """The colour that the variant has in every figure."""
        return colour_tag(self.variant)

    def name_of(self, seed: int) -> str:
        """Return the name of the nested run of a seed."""
        return f"{self.stage} seed {seed}"

    @property
    def outputs(self) -> list[Path]:
        """All that a training leaves."""
        return [self.folder / name for name in HISTORY_FILES]

    def log_outputs(self, run: "Run", images: ImageFiles) -> None:
        """Log curves first, which no store refuses, then moments, seeds, files, pictures and the model."""
        trained = load_history(self.folder)
        run.log_metrics(curves(trained))
        run.log_metrics(_moments(trained))
        run.log_metrics({"diverged": [(0, trained.diverged())]})
        for at, seed in enumerate(trained.seeds):
            run.log_child(self.name_of(seed), {**self.given, "seed": seed}, curves(trained, at), self.tags)
        run.log_artifacts(self.outputs, "training")
        self._log_histograms(run, trained)
        self._log_model(run, images, trained)

    def _log_model(self, run: "Run", images: ImageFiles, trained: History) -> None:
        """Log the network of the seed with the median accuracy, with its own numbers, and images as the example."""
        from pipeline.analysis.statistics import lower_median, of_survivors
        from pipeline.records import pyfunc

        accuracy = trained.validation_accuracy[:, -1]
        at = lower_median(of_survivors(accuracy, diverged_at(trained.train_loss)))
        seed, count = trained.seeds[at], len(trained.seeds)
        weights = {name: array[at : at + 1] for name, array in load_weights(self.folder).items()}
        model = ModelFiles(
            name=self.variant,
            registered=f"{self.params.data.dataset}-{self.variant}",
            note=f"Seed {seed} of {count}: the median by validation accuracy, {accuracy[at]:.4f} (of an even number "
            "the lower one in the middle).",
            loader=pyfunc.__name__,
            files=pyfunc.files(self.params.model, self.variant, weights),
            example=pyfunc.example(images),
            options=pyfunc.OPTIONS,
            packages=pyfunc.PACKAGES,
            code=pyfunc.PACKAGE,
            metrics={
                "validation/accuracy_of_model": float(accuracy[at]),
                "validation/loss_of_model": float(trained.validation_loss[at, -1]),
            },
        )
        run.log_model(model)
        run.set_tags({"model.seed": str(seed)})

    def _log_histograms(self, run: "Run", trained: History) -> None:
        """Log one picture per hidden tensor and epoch, which can be read as the thumbnail that MLflow shows."""
        from pipeline.analysis import histograms
        from pipeline.analysis.figures import TENSORS, layers
        from pipeline.network import activations

        epochs = pictured(trained.epochs)
        for tensor, counts in trained.histograms.items():
            axis = activations.scale(tensor, self.params.model.activation)
            pictures = histograms.frames(self.variant, tensor, counts, axis, epochs)
            for epoch, picture in zip(epochs, pictures, strict=True):
                run.log_image(tensor.replace(".", "_"), epoch, picture)
        keys = [f"{layer}_{kind}" for layer in layers(trained.histograms) for kind in TENSORS]  # of all variants
        run.set_experiment_tag(saved_view.tag(saved_view.KEY), saved_view.variants(keys, trained.epochs))
        run.describe_experiment(saved_view.description(run.experiment_id))


@dataclass(frozen=True)
class EvaluateRecord(StageRecord):
    """The record of stage `evaluate`, which compares the trainings in `runs`."""

    runs: Path
    stage = "evaluate"
    purpose = "evaluation"
    note = (
        "The variants compared seed by seed on the test images: artifact `results/answer.md` says it in words. The "
        "image among the model metrics shows the activations of both variants, by epoch."
    )

    @property
    def tags(self) -> dict[str, str]:
        """A colour of no variant."""
        return NEUTRAL

    @property
    def given(self) -> dict[str, Any]:
        """All parameters."""
        return self.params.flat()

    @property
    def outputs(self) -> list[Path]:
        """Numbers and words; figures follow from them."""
        return [self.folder / name for name in RESULTS]

    def log_outputs(self, run: "Run", _: ImageFiles) -> None:
        """Log the comparison, both variants' test results by seed, files and figures."""
        _metrics, comparisons, _answer, per_seed, _confusion = self.outputs
        compared = json.loads(comparisons.read_text(encoding="utf-8"))
        run.log_metrics({name: [(0, value)] for name, value in _flat(compared)})
        with per_seed.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        run.log_metrics(
            {
                f"test_{outcome}_by_seed/{variant}": [
                    (int(row["seed"]), float(row[f"test_{outcome}"]))
                    for row in rows
                    if row["variant"] == variant and row[f"test_{outcome}"]
                ]
                for variant in VARIANTS
                for outcome in ("accuracy", "loss")
            }
        )
        run.log_artifacts([*self.outputs, self.folder / "report.html"], "results")
        drawn = (self.folder / "figures").iterdir()
        run.log_artifacts(sorted(path for path in drawn if path.suffix in (".png", ".gif")), "figures")
        self._log_histograms(run)

    def _log_histograms(self, run: "Run") -> None:
        """Log one picture of all hidden tensors of both variants for every epoch."""
        from pipeline.stages.evaluate.pictures import activations_by_epoch

        histories = {variant: load_history(self.runs / variant) for variant in VARIANTS}
        epochs = pictured(histories["plain"].epochs)
        for epoch, picture in zip(epochs, activations_by_epoch(self.params, histories, epochs), strict=True):
            run.log_image(BOTH, epoch, picture)


def pictured(epochs: int) -> list[int]:
    """Return the epochs whose histograms are drawn: all or, of many, `PICTURES` with even gaps, the first and last."""
    from pipeline.analysis.figures import evenly

    return evenly(epochs, PICTURES)


def _moments(trained: History) -> "dict[str, Points]":
    """Return means over seeds; `layer1.activation.std` is chart `activation_std` of section `values/layer1`."""
    names = {name: name.split(".") for name in trained.moments}
    return {
        f"values/{layer}/{tensor}_{moment}": list(enumerate(mean_or_member(trained.moments[name])))
        for name, (layer, tensor, moment) in names.items()
    }


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    flat = []
    for name, value in values.items():
        path = f"{prefix}/{name}" if prefix else name
        flat += _flat(value, path) if isinstance(value, dict) else [(path, float(value))]
    return flat
