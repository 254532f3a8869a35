"""What the runs of the stages hold in MLflow: each stage's record, made from the files that the stage has left.

A stage that runs and a stage that DVC restores from its cache are recorded by the same code. Modules that take
seconds to import are imported where they are used: most commands need none of them here.
"""

import csv
import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.data import idx, published
from pipeline.params import VARIANTS, Params, Variant
from pipeline.records import saved_view
from pipeline.tracking.runs import Points, Run
from pipeline.tracking.store import OUTPUTS_TAG
from pipeline.training import history as outputs
from pipeline.training.history import Floats, History

if TYPE_CHECKING:
    from pipeline.sweeps.outcome import Outcome


@dataclass(frozen=True)
class Record:
    """A stage's run: its name, what it used the images for, what it was given, and how its files are logged."""

    stage: str
    context: str
    note: str
    settings: Params
    params: dict[str, Any]
    images: Path
    folder: Path
    files: list[Path]
    log: Callable[[Run], None]

    def digest(self) -> str:
        """Return a SHA-256 over the stage's name, parameters and output files."""
        given = json.dumps([self.stage, self.params], sort_keys=True).encode()
        files = [hashlib.sha256(path.read_bytes()).digest() for path in self.files]
        return hashlib.sha256(b"".join([given, *files])).hexdigest()

    def complete(self) -> bool:
        """Return whether every output file is there."""
        return all(path.is_file() for path in self.files)

    def begin(self, run: Run) -> None:
        """Log what is known before the stage's work."""
        given = json.dumps(self.params, sort_keys=True, default=str)
        run.params(self.params)
        digest = hashlib.sha256(given.encode()).hexdigest()
        run.tags({"stage": self.stage, "digest.params": digest, "mlflow.note.content": self.note})

    def finish(self, run: Run) -> None:
        """Log what the stage has left."""
        images = published.digest(self.images)
        counts = {part: len(idx.read_labels(self.images / f"{part}-labels-idx1-ubyte")) for part in ("train", "t10k")}
        run.tags({"digest.data": images})
        run.dataset(self.settings.data.dataset, images, self.context, json.dumps(counts))
        self.log(run)
        digest = self.digest()
        run.replace(digest)
        run.tags({OUTPUTS_TAG: digest})  # last: it says that the record is whole


def download(params: Params, images: Path) -> Record:
    """Describe the run of stage `download`."""
    given = {"data.dataset": params.data.dataset, "data.directory": params.data.directory}
    paths = [images / name for name in idx.FILES]

    def log(run: Run) -> None:
        labels = {part: idx.read_labels(images / f"{part}-labels-idx1-ubyte") for part in ("train", "t10k")}
        counts = {f"images/{part}": [(0, float(len(array)))] for part, array in labels.items()}
        run.metrics({**counts, "bytes": [(0, float(sum(path.stat().st_size for path in paths)))]})
        sums = (f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in paths)
        run.text("".join(sums), "sha256sums.txt")

    return Record("download", "download", "The images, verified.", params, given, images, images, paths, log)


def train(params: Params, variant: Variant, images: Path, folder: Path) -> Record:
    """Describe the run of stage `train` for one variant: means over seeds, and a nested run for each seed."""
    given = trained_with(params, variant)
    paths = [folder / name for name in outputs.FILES]

    def log(run: Run) -> None:
        history = outputs.read(folder)
        _log_model(run, params, variant, images, folder, history)
        run.metrics(curves(history))
        run.metrics(_moments(history))
        run.metrics({"diverged": [(0, history.diverged())]})
        _log_histograms(run, params, variant, history)
        run.files(paths, "training")
        for at, seed in enumerate(history.seeds):
            run.child(f"train@{variant} seed {seed}", {**given, "seed": seed}, curves(history, at))

    note = (
        f"Curves are means over {len(params.train.seeds)} seeds, which are nested runs. `model` is the first seed's. "
        "Histograms of the activations, by epoch, are the images among the model metrics."
    )
    return Record(f"train@{variant}", "training", note, params, given, images, folder, paths, log)


def evaluate(params: Params, images: Path, folder: Path) -> Record:
    """Describe the run of stage `evaluate`."""
    paths = [folder / name for name in ("metrics.json", "answer.md", "test_per_seed.csv", "confusion.csv")]

    def log(run: Run) -> None:
        found = json.loads(paths[0].read_text(encoding="utf-8"))
        run.metrics({name: [(0, value)] for name, value in _flat(found)})
        with paths[2].open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        for variant in VARIANTS:
            for what in ("accuracy", "loss"):
                points = [(int(row["seed"]), float(row[f"{variant}_{what}"])) for row in rows]
                run.metrics({f"test_{what}_by_seed/{variant}": points})
        run.files(paths, "results")
        run.files(sorted((folder / "figures").glob("*.png")), "figures")

    note = "The variants compared seed by seed on the test images: artifact `results/answer.md` says it in words."
    return Record("evaluate", "evaluation", note, params, params.flat(), images, folder, paths, log)


def of(stage: str, params: Params, images: Path, folder: Path) -> Record:
    """Describe the run of the stage of this name, such as `train@plain`."""
    if stage == "download":
        return download(params, images)
    if stage == "evaluate":
        return evaluate(params, images, folder)
    (variant,) = (variant for variant in VARIANTS if stage == f"train@{variant}")
    return train(params, variant, images, folder)


def trained_with(params: Params, variant: Variant) -> dict[str, Any]:
    """Return what a training depends on, by dotted name, and its variant."""
    sections = {name: value for name, value in params.flat().items() if not name.startswith("evaluate.")}
    return {**sections, "variant": variant}


def curves(history: "History | Outcome", member: int | None = None) -> dict[str, Points]:
    """Return one member's curves, or their means over the members."""
    return {
        "train/loss": list(enumerate(of_member(history.train_loss, member), start=1)),
        "validation/loss": list(enumerate(of_member(history.validation_loss, member))),
        "validation/accuracy": list(enumerate(of_member(history.validation_accuracy, member))),
    }


def of_member(values: Floats, member: int | None) -> Floats:
    """Return one member's values, or their means over the members, of values [members, ...]."""
    picked: Floats = values.mean(axis=0) if member is None else values[member]
    return picked


def _moments(history: History) -> dict[str, Points]:
    """Means over seeds; `layer1.activation.std` becomes chart `activation_std` of section `values/layer1`."""
    names = {name: name.split(".") for name in history.moments}
    return {
        f"values/{layer}/{tensor}_{moment}": list(enumerate(history.moments[name].mean(axis=0)))
        for name, (layer, tensor, moment) in names.items()
    }


def _log_histograms(run: Run, params: Params, variant: Variant, history: History) -> None:
    """Log one picture per hidden tensor and epoch, small enough to be read as the thumbnail that MLflow shows."""
    from pipeline.analysis import histograms
    from pipeline.analysis.figures import TENSORS
    from pipeline.network import activations

    for tensor, counts in history.histograms.items():
        axis = activations.scale(tensor, params.model.activation)
        for epoch, picture in enumerate(histograms.frames(variant, tensor, counts, axis)):
            run.image(tensor.replace(".", "_"), epoch, picture)
    keys = [f"layer{at + 1}_{kind}" for at in range(len(params.model.hidden)) for kind in TENSORS]
    run.experiment_tag(saved_view.TAG, saved_view.variants(keys, history.epochs))


def _log_model(run: Run, params: Params, variant: Variant, images: Path, folder: Path, history: History) -> None:
    """Log the first seed's network, with its own accuracy, and two test images as the example."""
    from pipeline.records import pyfunc

    weights = {name: array[:1] for name, array in outputs.read_weights(folder).items()}
    pixels = idx.read_images(images / "t10k-images-idx3-ubyte")[:2]
    example = (pixels.reshape(2, -1) / 255).astype(np.float32)
    own = {"validation/accuracy_of_model": float(history.validation_accuracy[0, -1])}
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch) / "network"
        pyfunc.save(model, params.model, variant, weights)
        run.model("pipeline.records.pyfunc", model, example, pyfunc.PACKAGES, own)
    run.tags({"model.seed": str(history.seeds[0])})


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    found = []
    for name, value in values.items():
        path = f"{prefix}/{name}" if prefix else name
        found += _flat(value, path) if isinstance(value, dict) else [(path, float(value))]
    return found
