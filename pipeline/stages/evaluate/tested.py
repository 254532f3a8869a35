"""The test of trained networks on the test images, one after another."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.analysis.statistics import Bools, of_survivors
from pipeline.data.dataset import CLASSES, Examples
from pipeline.network.metrics import predict, score
from pipeline.network.perceptron import restore
from pipeline.params import Params, Variant
from pipeline.training.history import Floats, diverged_at


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


@torch.no_grad()
def test_variant(
    params: Params,
    variant: Variant,
    weights: Mapping[str, NDArray[np.float32]],
    train_loss: Floats,
    test: Examples,
    layer: int,
) -> Tested:
    """Test every network of a variant.

    Args:
        params: All parameters.
        variant: The variant.
        weights: Its networks' final state, as `load_weights` reads it.
        train_loss: Their training losses [seeds, iterations], which tell the trainings that diverged.
        test: The test images.
        layer: The layer that the lab shows.
    """
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
    diverged = diverged_at(train_loss)
    return Tested(
        of_survivors(np.array(accuracy), diverged),
        np.array(loss),
        np.array(correct),
        diverged,
        np.array(confusion),
        torch.stack(seen).double().cpu().numpy(),
    )
