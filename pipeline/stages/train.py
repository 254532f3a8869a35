"""Stage `train`: every seed of one variant, with its curves and the activations after every epoch."""

import time
from pathlib import Path

from torch import Tensor
from tqdm import tqdm

from pipeline import activations, data, outputs
from pipeline.errors import UserError
from pipeline.fit import Population, fit, prepare
from pipeline.model import Perceptron
from pipeline.params import Params, Variant


def train(params: Params, variant: Variant, images: Path, folder: Path) -> None:
    """Train on the images in the folder `images`, and write what `outputs` describes into `folder`."""
    settings = params.train
    split = data.load(images, params.data.holdout, prepare(settings.device, settings.threads))
    if variant == "batchnorm" and len(split.train) % settings.batch_size == 1:
        raise UserError(
            f"train.batch_size = {settings.batch_size}: leaves a last batch of one image, "
            "which Batch Normalization cannot normalise; choose another size"
        )

    def measure(network: Perceptron) -> dict[str, Tensor]:
        return activations.measure(network, params.model.activation, split.validation, settings.validation_batch_size)

    population = Population(variant, params.model, settings, settings.seeds)
    start = time.perf_counter()
    epochs = len(settings.seeds) * settings.epochs
    with tqdm(total=epochs, desc=f"train {variant}", unit="epoch", disable=None) as bar:
        trained = fit(population, split.train, measure, bar.update)
    outputs.write(folder, settings.seeds, trained, seconds=time.perf_counter() - start)
