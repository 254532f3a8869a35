"""Stage `train`: every seed of one variant, with its curves and the activations after every epoch."""

from pathlib import Path

from torch import Tensor
from tqdm import tqdm

from pipeline.data import dataset as data
from pipeline.data.dataset import Split
from pipeline.network import activations
from pipeline.network.device import prepare
from pipeline.network.perceptron import Perceptron
from pipeline.params import Params, Variant
from pipeline.training import history as outputs
from pipeline.training.loop import Checkpoint, fit
from pipeline.training.population import Population


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
    epochs = len(settings.seeds) * settings.epochs
    with tqdm(total=epochs, desc=f"train {variant}", unit="epoch", disable=None) as bar:
        trained = fit(population, split.train, measure, bar.update, checkpoint=checkpoint)
    outputs.write(folder, settings.seeds, trained)
    outputs.write_settings(folder, params)
