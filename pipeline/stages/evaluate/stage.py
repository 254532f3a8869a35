"""Stage `evaluate`: compare both variants on the test images, seed by seed, in numbers, figures and words."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.analysis import figures, histograms
from pipeline.analysis.statistics import Bools, compare, failures, for_new_images, learned, of_survivors
from pipeline.analysis.tables import PER_SEED, per_seed
from pipeline.analysis.wording import count_of, setting
from pipeline.data.dataset import CLASSES, Examples, split
from pipeline.data.images import ImageFiles
from pipeline.errors import UserError
from pipeline.files import to_csv, to_json, write_atomic
from pipeline.network import activations
from pipeline.network.device import configure_device
from pipeline.network.metrics import predict, score
from pipeline.network.perceptron import restore
from pipeline.params import VARIANTS, Params, Variant
from pipeline.stages.evaluate.report import Finding, judge_outcomes, to_markdown, to_metrics
from pipeline.training.history import Floats, History, load_history, load_weights
from pipeline.training.settings import check_settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Tested:
    """One variant's results on the test images.

    Attributes:
        accuracy: Fractions [seeds]; NaN of trainings that diverged.
        loss: Mean cross-entropies [seeds], in nats.
        correct: Whether each image was classified rightly [seeds, images].
        diverged_at: The first iteration, from 1, whose loss is infinite or not a number [seeds]; 0 if there is none.
        confusion: Counts of images [seeds, true classes, predicted classes].
        lab_view: Pre-activations [seeds, units] of one test image in the layer that the lab shows.
    """

    accuracy: Floats
    loss: Floats
    correct: Bools
    diverged_at: Floats
    confusion: NDArray[np.int64]
    lab_view: Floats


@dataclass(frozen=True)
class Inputs:
    """The test images, and both variants' histories and final weights."""

    test: Examples
    histories: dict[Variant, History]
    weights: dict[Variant, dict[str, NDArray[np.float32]]]


def load_inputs(params: Params, images: ImageFiles, runs: Path) -> Inputs:
    """Put the test images onto `train.device`, and read the trainings in `runs`.

    Raises:
        UserError: Something is missing, damaged or not of these parameters.
    """
    test = split(images, params.data.holdout, configure_device(params.train)).test
    if params.evaluate.digit >= len(test):
        raise UserError(f"evaluate.digit = {params.evaluate.digit}: there are {len(test)} test images")
    for variant in VARIANTS:
        check_settings(runs / variant, params, images.digest)
    histories = {variant: load_history(runs / variant) for variant in VARIANTS}
    return Inputs(test, histories, {variant: load_weights(runs / variant) for variant in VARIANTS})


def compare_variants(params: Params, inputs: Inputs, folder: Path) -> None:
    """Compare the variants, and write numbers, figures and the answer into `folder`."""
    layer = _lab_layer(inputs.histories)
    tested = {variant: _test(params, variant, inputs, layer) for variant in VARIANTS}
    _write_numbers(params, inputs.histories, tested, folder)
    for name, figure in _figures(params, inputs.histories, tested).items():
        for file, content in figures.files(figure, name).items():
            write_atomic(folder / "figures" / file, content)


@torch.no_grad()
def _test(params: Params, variant: Variant, inputs: Inputs, layer: int) -> Tested:
    test, weights = inputs.test, inputs.weights[variant]
    seen: list[Tensor] = []

    def keep(name: str, values: Tensor) -> None:
        if name == f"layer{layer}.pre_activation":
            seen.append(values[0, 0])

    accuracy, loss, correct, confusion = [], [], [], []
    for member in range(len(params.train.seeds)):
        state = {name: array[member : member + 1] for name, array in weights.items()}
        network = restore(params.model, variant, state).to(test.images.device)
        logits = predict(network, test.images, params.train.validation_batch_size)
        scores = score(logits, test.labels)
        network(test.images[params.evaluate.digit : params.evaluate.digit + 1], keep)
        accuracy.append(scores["accuracy"].item())
        loss.append(scores["loss"].item())
        predicted = logits[0].argmax(1)
        correct.append((predicted == test.labels).cpu().numpy())
        pairs = (test.labels * CLASSES + predicted).bincount(minlength=CLASSES**2)
        confusion.append(pairs.view(CLASSES, CLASSES).cpu().numpy())
    diverged_at = _diverged_at(inputs.histories[variant].train_loss)
    return Tested(
        of_survivors(np.array(accuracy), diverged_at),
        np.array(loss),
        np.array(correct),
        diverged_at,
        np.array(confusion),
        torch.stack(seen).double().cpu().numpy(),
    )


def _diverged_at(train_loss: Floats) -> Floats:
    """Return the first iteration, from 1, whose loss [seeds, iterations] is not finite; 0 if there is none."""
    diverged = ~np.isfinite(train_loss)
    return np.where(diverged.any(axis=1), diverged.argmax(axis=1) + 1, 0).astype(float)


def _lab_layer(histories: Mapping[Variant, History]) -> int:
    """Return the layer that the lab shows: the second, or the first if it is the only one."""
    return min(2, len(figures.layers(histories["plain"].histograms)))


def _write_numbers(
    params: Params, histories: Mapping[Variant, History], tested: Mapping[Variant, Tested], folder: Path
) -> None:
    confidence = params.evaluate.confidence
    finding = _find(histories, tested, confidence)
    judgements = judge_outcomes(finding, params.evaluate)
    write_atomic(folder / "metrics.json", to_json(to_metrics(finding, judgements)))
    write_atomic(folder / "answer.md", to_markdown(params, finding, judgements, histories))
    rows = [
        row
        for v in VARIANTS
        for row in per_seed(
            v,
            params.train.seeds,
            (
                histories[v].validation_accuracy[:, -1],
                histories[v].validation_loss[:, -1],
                tested[v].accuracy,
                tested[v].loss,
            ),
            tested[v].diverged_at,
        )
    ]
    write_atomic(folder / "per_seed.csv", to_csv(PER_SEED, rows))
    counts = [
        [variant, seed, true, predicted, tested[variant].confusion[at, true, predicted]]
        for variant in VARIANTS
        for at, seed in enumerate(params.train.seeds)
        for true in range(CLASSES)
        for predicted in range(CLASSES)
    ]
    write_atomic(folder / "confusion.csv", to_csv(["variant", "seed", "true", "predicted", "images"], counts))


def _find(histories: Mapping[Variant, History], tested: Mapping[Variant, Tested], confidence: float) -> Finding:
    outcomes = {
        "test/accuracy": {v: tested[v].accuracy for v in VARIANTS},
        "test/loss": {v: tested[v].loss for v in VARIANTS},
        "validation/accuracy_after_epoch_1": {v: histories[v].validation_accuracy[:, 1] for v in VARIANTS},
        "train/loss_mean_over_iterations": {v: histories[v].train_loss.mean(axis=1) for v in VARIANTS},
    }
    kept = {v: tested[v].diverged_at == 0 for v in VARIANTS}
    both = kept["plain"] & kept["batchnorm"]
    learning = learned(tested["plain"].accuracy) & learned(tested["batchnorm"].accuracy)
    return Finding(
        comparisons={
            name: compare(
                of_survivors(values["batchnorm"], tested["batchnorm"].diverged_at),
                of_survivors(values["plain"], tested["plain"].diverged_at),
                confidence,
                learning,
            )
            for name, values in outcomes.items()
        },
        failures={v: failures(tested[v].accuracy, confidence) for v in VARIANTS},
        diverged={v: int(np.count_nonzero(~kept[v])) for v in VARIANTS},
        new_images=for_new_images(tested["batchnorm"].correct[both], tested["plain"].correct[both], confidence),
    )


def _figures(
    params: Params, histories: Mapping[Variant, History], tested: Mapping[Variant, Tested]
) -> dict[str, "Figure"]:
    final = {v: {name: counts[:, -1] for name, counts in histories[v].histograms.items()} for v in VARIANTS}
    names = {name for counts in final.values() for name in counts}
    activation = params.model.activation
    where = "validation" if params.data.holdout else "test"
    note = f"{setting(params)}; {count_of(len(params.train.seeds), 'seed')} of each variant."
    survived = {v: tested[v].diverged_at == 0 for v in VARIANTS}
    accuracy = compare(tested["batchnorm"].accuracy, tested["plain"].accuracy, params.evaluate.confidence)
    typical = {v: _typical(tested[v].accuracy) for v in VARIANTS}
    correct = {v: np.diagonal(tested[v].confusion, axis1=1, axis2=2) for v in VARIANTS}
    by_class = {v: correct[v] / np.maximum(tested[v].confusion.sum(axis=2), 1) for v in VARIANTS}
    return {
        "activations": histograms.by_layer(
            final,
            {name: activations.scale(name, activation) for name in names},
            {
                name: histograms.saturated_zones(name, activation)
                for name in names
                if any(f"{name}.saturated" in histories[v].moments for v in VARIANTS)
            },
            f"{note} After the last epoch, over all validation images and units.",
        ),
        "activations_lab_view": histograms.lab_view(
            {v: tested[v].lab_view for v in VARIANTS},
            _lab_layer(histories),
            params.evaluate.digit,
            f"{note} One test image, units of all seeds together, shared bins.",
        ),
        "loss_per_iteration": figures.curves(
            {v: histories[v].train_loss for v in VARIANTS}, 1, "iteration", "training loss (nats)", note, log=True
        ),
        "accuracy_per_epoch": figures.curves(
            {v: np.maximum(100 - 100 * histories[v].validation_accuracy, 0.05) for v in VARIANTS},
            0,
            "epoch (0: before training)",
            f"{where} error (%)",
            note,
            log=True,
        ),
        "test_accuracy_pairs": figures.paired(
            {v: tested[v].accuracy for v in VARIANTS},
            params.train.seeds,
            accuracy.difference,
            f"{note} A pair shares initial weights and batches; sorted by plain. Right: Batch Normalization minus "
            f"plain; line and grey band: mean of {count_of(accuracy.pairs, 'pair')} with Student's "
            f"{100 * params.evaluate.confidence:g} % interval.",
        ),
        "accuracy_per_digit": figures.per_digit(
            {v: np.where(survived[v][:, None], by_class[v], np.nan) for v in VARIANTS}, note
        ),
        "confusion": figures.confusions(
            {v: tested[v].confusion[typical[v]] for v in VARIANTS},
            {
                v: f"{figures.VARIANT_NAMES[v]}, seed {params.train.seeds[typical[v]]}, "
                f"accuracy {tested[v].accuracy[typical[v]]:.4f}"
                for v in VARIANTS
            },
            f"{setting(params)}; of {count_of(len(params.train.seeds), 'seed')} of each variant, the one with the "
            "median accuracy (of an even number, the lower one in the middle).",
        ),
    }


def _typical(accuracy: Floats) -> int:
    """Return the place of the median accuracy [seeds], the lower one of an even number; the first if all diverged."""
    order = np.argsort(accuracy)  # NaN last
    kept = int(np.isfinite(accuracy).sum())
    return int(order[max(kept - 1, 0) // 2])
