"""Stage `train`: every seed of one variant, with its curves and the activations after every epoch."""

from pathlib import Path

from torch import Tensor
from tqdm import tqdm

from pipeline.data.dataset import Split, check_batches, split
from pipeline.data.images import ImageFiles
from pipeline.network import activations
from pipeline.network.device import configure_device
from pipeline.network.network import Network
from pipeline.params import Params
from pipeline.training.checkpoint import Checkpoint
from pipeline.training.history import save_history
from pipeline.training.loop import fit
from pipeline.training.population import Population
from pipeline.training.settings import save_settings


def load_split(params: Params, images: ImageFiles) -> Split:
    """Put the images onto `train.device`, and check that both variants can be trained on them.

    Raises:
        UserError: They cannot.
    """
    examples = split(images, params.data.holdout, configure_device(params.train.device, params.train.threads))
    check_batches(examples, params.train.batch_size)
    return examples


def train_variant(
    params: Params, population: Population, images: ImageFiles, examples: Split, folder: Path, checkpoint: Checkpoint
) -> None:
    """Train every seed of a variant, and write the files that `pipeline.training.history` describes.

    Args:
        params: All parameters.
        population: The networks of the variant, one for each seed.
        images: The verified images.
        examples: The same, as `load_split` returns them.
        folder: Where the files go.
        checkpoint: Where to save the state while training, and to continue from.
    """
    settings = params.train

    def measure(network: Network) -> dict[str, Tensor]:
        return activations.measure(
            network, params.model.activation, examples.validation, settings.validation_batch_size
        )

    epochs = len(settings.seeds) * settings.epochs
    with tqdm(total=epochs, desc=f"train {population.variant}", unit="epoch", disable=None) as bar:
        trained = fit(population, examples.train, measure, checkpoint=checkpoint, advance=bar.update)
    save_history(folder, settings.seeds, trained)
    save_settings(folder, params, images.digest)
