"""The accuracies that the study of batch sizes measures, against those of statistics computed another way."""

import copy
from collections.abc import Callable

import pytest
import torch

from pipeline.data.dataset import Examples, Split
from pipeline.network.normalisation import BatchNorm
from pipeline.network.perceptron import Perceptron
from pipeline.params import Params
from studies.batch_size import probe as batch_size
from tests.samples import outcome_of, population, probe_of
from tests.studies.networks import SETTINGS

Make = Callable[..., Params]
Images = Callable[..., Examples]


@pytest.fixture
def split(examples: Images) -> Split:
    return Split(examples(300), examples(40, seed=1), examples(30, seed=2))


def norms_of(network: Perceptron) -> list[BatchNorm]:
    return [norm for norm in network.norms if isinstance(norm, BatchNorm)]


@pytest.mark.parametrize("ghost", ["0", "4"])
@pytest.mark.parametrize("position", ["after_activation", "before_activation"])
def test_statistics_are_recomputed_from_all_images_at_once(
    params: Make, split: Split, position: str, ghost: str
) -> None:
    described = population(params(**SETTINGS, norm_position=position, ghost_batch=ghost), "batchnorm")
    network = described.network().eval()
    images = split.train.images
    with torch.no_grad():
        for buffer in network.norms.buffers():
            buffer.uniform_(0.5, 2)
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        recomputed = batch_size.statistics(network, images)
        entering: dict[str, torch.Tensor] = {}
        with_all = copy.deepcopy(network).train()
        for norm in norms_of(with_all):
            norm.ghost_batch = 0
        with_all(images, entering.__setitem__)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert [norm.ghost_batch for norm in norms_of(network)] == [int(ghost)] * 2
    name = "activation" if position == "after_activation" else "pre_activation"
    for layer in range(2):
        values = entering[f"layer{layer + 1}.{name}"]
        torch.testing.assert_close(recomputed[2 * layer], values.mean(1))
        torch.testing.assert_close(recomputed[2 * layer + 1], values.var(1))


@pytest.mark.parametrize("ghost", ["0", "4"])
def test_accuracies_are_those_of_the_statistics_that_they_name(params: Make, split: Split, ghost: str) -> None:
    described = population(params(**SETTINGS, ghost_batch=ghost), "batchnorm")
    outcome = outcome_of(described, split, probe_of("batch_size", 38))
    assert outcome.probed["test_running"][:, -1].tolist() == outcome.test_accuracy.tolist()
    assert outcome.probed["running"][:, -1].tolist() == outcome.validation_accuracy[:, -1].tolist()
    network = described.network().eval()
    with torch.no_grad():
        measured = batch_size.probe(described, split)(network)
        other = copy.deepcopy(network)
        recomputed = batch_size.statistics(network, split.train.images)
        for buffer, values in zip(other.norms.buffers(), recomputed, strict=True):
            buffer.copy_(values)
        for prefix, part in (("", split.validation), ("test_", split.test)):
            for kind, seen in (("running", network), ("recomputed", other)):
                right = seen(part.images).argmax(2) == part.labels
                assert torch.equal(measured[f"{prefix}{kind}"], right.double().mean(1))


def test_a_network_without_running_statistics_is_the_same_by_both(params: Make, split: Split) -> None:
    for variant in ("plain", "layernorm"):
        described = population(params(**SETTINGS), variant)
        with torch.no_grad():
            measured = batch_size.probe(described, split)(described.network().eval())
        assert sorted(measured) == ["recomputed", "running", "test_recomputed", "test_running"]
        assert torch.equal(measured["running"], measured["recomputed"])
        assert torch.equal(measured["test_running"], measured["test_recomputed"])
