"""The accuracies that the studies of steps and of budgets measure, against those that training and tests report."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from pipeline.data.dataset import Examples, Split
from pipeline.params import VARIANTS, Params, Variant
from studies.budget import probe as budget
from studies.steps_to_accuracy import probe as steps_to_accuracy
from tests.samples import outcome_of, population, probe_of
from tests.studies.networks import SETTINGS, logistic, trained

Make = Callable[..., Params]
Images = Callable[..., Examples]


@pytest.mark.parametrize("variant", VARIANTS)
def test_measured_accuracies_are_those_of_the_formulas_by_running_statistics(
    params: Make, split: Split, variant: Variant
) -> None:
    described = population(params(**SETTINGS), variant)
    network = trained(described, split)
    with torch.no_grad():
        held_out = steps_to_accuracy.probe(described, split)(network)["accuracy"]
        both = budget.probe(described, split)(network)
    state = {name: tensor.double().numpy() for name, tensor in network.state_dict().items()}
    for name, part in (("held_out", split.validation), ("test", split.test)):
        for member in range(2):
            hidden = part.images.double().numpy()
            for layer in range(2):
                weight, bias = (state[f"linears.{layer}.{each}"][member] for each in ("weight", "bias"))
                hidden = logistic(hidden @ weight.T + bias)
                if variant == "batchnorm":
                    mean, var = (state[f"norms.{layer}.running_{each}"][member] for each in ("mean", "var"))
                    scale, shift = (state[f"norms.{layer}.{each}"][member] for each in ("scale", "shift"))
                    hidden = (hidden - mean) / np.sqrt(var + 1e-5) * scale + shift
            logits = hidden @ state["linears.2.weight"][member].T + state["linears.2.bias"][member]
            right = (logits.argmax(1) == part.labels.numpy()).mean()
            assert float(both[name][member]) == right
    assert torch.equal(both["held_out"], held_out)


@pytest.mark.parametrize("variant", VARIANTS)
def test_at_the_end_of_training_they_are_the_outcomes_own(params: Make, split: Split, variant: Variant) -> None:
    described = population(params(**SETTINGS), variant)
    epochs = outcome_of(described, split, probe_of("budget", 4))  # of four steps
    steps = outcome_of(described, split, probe_of("steps_to_accuracy", 4))
    assert np.array_equal(epochs.probed["held_out"], epochs.validation_accuracy)
    assert np.array_equal(steps.probed["accuracy"], steps.validation_accuracy)
    assert np.array_equal(epochs.probed["test"][:, -1], epochs.test_accuracy)


def test_a_short_training_is_the_beginning_of_a_long_one(params: Make, split: Split) -> None:
    short, long = (
        outcome_of(population(params(**SETTINGS | {"epochs": epochs}), "batchnorm"), split, probe_of("budget", 4))
        for epochs in ("2", "3")
    )
    assert np.array_equal(long.probed["test"][:, 2], short.test_accuracy)
    assert np.array_equal(long.probed["held_out"][:, :3], short.validation_accuracy)
