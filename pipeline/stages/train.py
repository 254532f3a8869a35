"""Stage `train`: every seed of one variant, with its curves and the activations after every epoch."""

import time
from pathlib import Path

from torch import Tensor
from tqdm import tqdm

from pipeline import activations, data, outputs
from pipeline.data import Split
from pipeline.device import prepare
from pipeline.fit import Checkpoint, Population, fit
from pipeline.model import Perceptron
from pipeline.params import Params, Variant


def read(params: Params, images: Path) -> Split:
    """Read the images in the folder `images`, and check that both variants can be trained on them.

    Raises:
        UserError: they cannot, or the images are missing or damaged.
    """
    split = data.load(images, params.data.holdout, prepare(params.train.device, params.train.threads))
    data.check_batches(split, params.train.batch_size)
    return split


def train(params: Params, variant: Variant, split: Split, folder: Path, checkpoint: Checkpoint | None = None) -> None:
    """Train, and write what `outputs` describes into `folder`."""
    settings = params.train

    def measure(network: Perceptron) -> dict[str, Tensor]:
        return activations.measure(network, params.model.activation, split.validation, settings.validation_batch_size)

    population = Population(variant, params.model, settings, settings.seeds)
    start = time.perf_counter()
    epochs = len(settings.seeds) * settings.epochs
    with tqdm(total=epochs, desc=f"train {variant}", unit="epoch", disable=None) as bar:
        trained = fit(population, split.train, measure, bar.update, checkpoint=checkpoint)
    outputs.write(folder, settings.seeds, trained, seconds=time.perf_counter() - start)
    outputs.write_settings(folder, params)
