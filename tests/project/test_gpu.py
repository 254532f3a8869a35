"""Training on CUDA against training on the processor."""

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch

from pipeline.data.dataset import Examples, Split
from pipeline.params import ALL_VARIANTS, VARIANTS, Params, Variant
from pipeline.training.loop import Trained, fit
from tests.samples import outcome_of, population

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no CUDA device here")

STEPS = 10
TOLERANCE = 1e-3  # of the loss in the first steps, relative: float32, other orders of summation

Make = Callable[..., Params]
Images = Callable[..., Examples]


def moved(examples: Examples, device: str) -> Examples:
    return Examples(examples.images.to(device), examples.labels.to(device))


def learnable(examples: Examples) -> Examples:
    """The same images, with labels that can be learnt: the brightest tenth of the picture."""
    return Examples(examples.images, examples.images[:, :780].reshape(-1, 10, 78).mean(2).argmax(1))


@pytest.mark.parametrize("variant", ALL_VARIANTS)
@pytest.mark.parametrize(
    "overrides", [{}, {"optimizer": "adamw"}, {"optimizer": "rmsprop"}, {"optimizer": "sgd"}, {"noise": "true"}]
)
def test_the_first_steps_are_those_of_the_processor(
    params: Make, examples: Images, variant: Variant, overrides: dict[str, str]
) -> None:
    settings = params(seeds="0,1,2", epochs="1", batch_size="100", lr="0.001", **overrides)
    train = examples(100 * STEPS)

    def trained(device: str) -> Trained:
        return fit(population(settings, variant), moved(train, device))

    here, there = trained("cpu"), trained("cuda")
    assert there.loss.shape == (3, STEPS)
    torch.testing.assert_close(there.loss, here.loss, rtol=TOLERANCE, atol=0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_accuracies_are_distributed_as_on_the_processor(params: Make, examples: Images, variant: Variant) -> None:
    settings = params(seeds=",".join(map(str, range(40))), epochs="5", batch_size="100", lr="0.01", hidden="20")
    train, test = learnable(examples(2000)), learnable(examples(1000, seed=1))

    def accuracies(device: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        split = Split(*(moved(part, device) for part in (train, test, test)))
        return outcome_of(population(settings, variant), split).test_accuracy

    difference = accuracies("cuda") - accuracies("cpu")  # pair by pair: the same seeds
    error = max(difference.std(ddof=1) / len(difference) ** 0.5, 1e-4)
    assert abs(difference.mean()) < 4 * error


@pytest.mark.parametrize("variant", ALL_VARIANTS)
def test_waits_do_not_grow_with_the_steps(params: Make, examples: Images, variant: Variant) -> None:
    settings = params(seeds="0,1,2", epochs="2", batch_size="10")

    def waits(count: int) -> int:
        train = moved(examples(count), "cuda")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                fit(population(settings, variant), train)
            finally:
                torch.cuda.set_sync_debug_mode("default")
        return sum("synchronizing" in str(warning.message) for warning in caught)

    waits(20)  # what happens once in a process
    assert waits(400) == waits(20)


def test_as_many_members_as_fit_take_less_than_their_share_of_memory(params: Make, examples: Images) -> None:
    total = torch.cuda.get_device_properties(0).total_memory
    settings = params(seeds=",".join(map(str, range(300))), epochs="1")
    part = population(settings, "batchnorm").parts(memory=total)[0]
    torch.cuda.reset_peak_memory_stats()
    fit(part, moved(examples(4000), "cuda"))
    assert torch.cuda.max_memory_allocated() < total / 2
