"""Losses, accuracies and predictions against formulas by hand."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from pipeline.data.dataset import Examples
from pipeline.network.metrics import member_losses, predict, score
from pipeline.network.perceptron import Perceptron
from pipeline.params import Params


def test_a_members_loss_is_its_mean_cross_entropy() -> None:
    logits = torch.randn(3, 5, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(10, (3, 5), generator=torch.Generator().manual_seed(1))
    for member, loss in enumerate(member_losses(logits, labels).tolist()):
        values = logits[member].numpy()
        by_hand = np.log(np.exp(values).sum(1)) - values[range(5), labels[member].numpy()]
        assert loss == pytest.approx(by_hand.mean(), rel=1e-12)


def test_a_score_is_the_mean_loss_and_the_fraction_of_greatest_logits_that_are_right() -> None:
    logits = torch.tensor(
        [[[2.0, 0.0], [0.0, 1.0], [5.0, 1.0], [0.0, 0.0]], [[0.0, 3.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]]
    )
    labels = torch.tensor([0, 0, 0, 1])
    scores = score(logits, labels)
    assert scores["accuracy"].tolist() == [0.5, 0.25]
    by_hand = [np.log1p(np.exp(-2)), np.log1p(np.exp(1)), np.log1p(np.exp(-4)), np.log(2)]
    assert scores["loss"][0].item() == pytest.approx(np.mean(by_hand))


@pytest.mark.parametrize("batch_size", [1, 7, 20, 100])
def test_predictions_are_the_logits_of_all_images_in_batches(
    params: Callable[..., Params], examples: Callable[..., Examples], batch_size: int
) -> None:
    network = Perceptron(params(hidden="5,4").model, "batchnorm", [0, 1]).eval()
    images, seen = examples(20).images, list[int]()
    logits = predict(network, images, batch_size, lambda _, tensor: seen.append(tensor.shape[1]))
    assert logits.shape == (2, 20, 10)
    torch.testing.assert_close(logits, network(images))
    assert max(seen) == min(batch_size, 20)
