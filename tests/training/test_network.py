"""Another network in the perceptron's place: training, measuring and storing it take what `Network` offers."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pipeline.data.dataset import CLASSES, PIXELS, Examples
from pipeline.network import activations
from pipeline.network.layers import Linear
from pipeline.network.metrics import predict
from pipeline.network.network import HiddenTensor, Network, Observer
from pipeline.params import Params
from pipeline.training.history import load_history, save_history
from pipeline.training.loop import fit
from pipeline.training.population import Population
from tests.samples import population

UNITS = 5


class Shortcut(Network):
    """One hidden layer of tanh units, which a linear map of the images passes by."""

    def __init__(self, seeds: tuple[int, ...]) -> None:
        super().__init__()
        members = len(seeds)
        self.into, self.out = Linear(members, PIXELS, UNITS), Linear(members, UNITS, CLASSES)
        self.past = Linear(members, PIXELS, CLASSES)
        for member, seed in enumerate(seeds):
            generator = torch.Generator().manual_seed(seed)
            for linear in (self.into, self.out, self.past):
                linear.draw(member, generator, None)

    def forward(self, images: Tensor, observe: Observer | None = None) -> Tensor:
        before = self.into(images)
        hidden = before.tanh()
        if observe:
            observe("layer1.pre_activation", before)
            observe("layer1.activation", hidden)
        logits: Tensor = self.out(hidden) + self.past(images)
        return logits

    def hidden_tensors(self) -> tuple[HiddenTensor, ...]:
        return (
            HiddenTensor("layer1.pre_activation", UNITS, "input"),
            HiddenTensor("layer1.activation", UNITS, "output"),
        )


def test_another_network_is_trained_measured_and_stored(
    params: Callable[..., Params], examples: Callable[..., Examples], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Population, "network", lambda self: Shortcut(self.seeds))
    settings = params(seeds="3,1,8", epochs="2", batch_size="16", activation="tanh", lr="0.01")
    described, train, held = population(settings, "plain"), examples(50), examples(20, seed=1)

    def measure(network: Network) -> dict[str, Tensor]:
        return activations.measure(network, "tanh", held, 9)

    trained = fit(described, train, measure)
    assert trained.loss.shape == (3, 8)
    assert (trained.loss[:, -4:].mean(1) < trained.loss[:, :4].mean(1)).all()
    save_history(tmp_path, described.seeds, trained)
    (tmp_path / "settings.json").touch()
    history = load_history(tmp_path)
    assert set(history.histograms) == {"layer1.pre_activation", "layer1.activation"}
    assert history.moments["layer1.activation.saturated"].shape == (3, 3)
    for member, seed in enumerate(described.seeds):
        alone = Shortcut((seed,)).eval()
        alone.load_state_dict({name: values[member : member + 1] for name, values in trained.weights.items()})
        logits = predict(alone, held.images, 9)
        accuracy = (logits[0].argmax(1) == held.labels).double().mean()
        assert history.validation_accuracy[member, -1] == pytest.approx(accuracy.item())


def test_its_memory_is_counted_from_its_own_weights_and_units(
    params: Callable[..., Params], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Population, "network", lambda self: Shortcut(self.seeds))
    settings = params(batch_size="10", validation_batch_size="1")
    weights = (PIXELS + 1) * UNITS + (UNITS + 1) * CLASSES + (PIXELS + 1) * CLASSES
    values = 10 * (2 * PIXELS + 10 * (UNITS + CLASSES))
    assert population(settings, "plain").bytes_per_member() == 4 * (4 * weights + values)


def test_it_has_no_statistics_to_restore() -> None:
    network, images = Shortcut((1,)).eval(), torch.rand(4, PIXELS)
    expected = network(images)
    with network.batch_statistics():
        assert torch.equal(network(images), expected)
