"""Stage `evaluate`: compare both variants on the test images, seed by seed, in numbers, figures and words."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.analysis import figures
from pipeline.analysis.statistics import compare, failures, for_new_images, learned, of_survivors
from pipeline.analysis.tables import PER_SEED, per_seed
from pipeline.data.dataset import CLASSES, Examples, split
from pipeline.data.images import ImageFiles
from pipeline.errors import UserError
from pipeline.files import to_csv, to_json, write_atomic
from pipeline.network.device import configure_device
from pipeline.params import VARIANTS, Params, Variant
from pipeline.stages.evaluate.page import page
from pipeline.stages.evaluate.pictures import animation, pictures
from pipeline.stages.evaluate.report import Finding, judge_outcomes, to_markdown, to_metrics, to_numbers
from pipeline.stages.evaluate.tested import Tested, test_variant
from pipeline.training.history import History, load_history, load_weights
from pipeline.training.settings import check_settings


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
    tested = {
        variant: test_variant(
            params, variant, inputs.weights[variant], inputs.histories[variant].train_loss, inputs.test, layer
        )
        for variant in VARIANTS
    }
    answer = _write_numbers(params, inputs.histories, tested, folder)
    write_atomic(folder / "report.html", page(params, inputs.histories, tested, layer, answer))
    for name, figure in pictures(params, inputs.histories, tested, layer).items():
        for file, content in figures.files(figure, name).items():
            write_atomic(folder / "figures" / file, content)
    write_atomic(folder / "figures" / "epochs.gif", animation(params, inputs.histories, layer))


def _lab_layer(histories: Mapping[Variant, History]) -> int:
    """Return the layer that the lab shows: the second, or the first if it is the only one."""
    return min(2, len(figures.layers(histories["plain"].histograms)))


def _write_numbers(
    params: Params, histories: Mapping[Variant, History], tested: Mapping[Variant, Tested], folder: Path
) -> str:
    """Write tables and the answer; return the answer."""
    confidence = params.evaluate.confidence
    finding = _find(histories, tested, confidence)
    judgements = judge_outcomes(finding, params.evaluate)
    write_atomic(folder / "metrics.json", to_json(to_metrics(finding)))
    write_atomic(folder / "comparisons.json", to_json(to_numbers(finding, judgements)))
    answer = to_markdown(params, finding, judgements, histories)
    write_atomic(folder / "answer.md", answer)
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
    return answer


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
