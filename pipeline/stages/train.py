"""Stage `train`: every seed of one variant, with its curves and the activations after every epoch."""

from pathlib import Path

from torch import Tensor

from pipeline.data.dataset import Split, check_batches, split
from pipeline.data.images import ImageFiles
from pipeline.network import activations
from pipeline.network.device import configure_device
from pipeline.network.network import Network
from pipeline.params import Params
from pipeline.parts import checkpoint_file, cut
from pipeline.training.history import save_history
from pipeline.training.job import Job, OnJobEpoch, Workers
from pipeline.training.loop import OnEpoch, Trained, fit
from pipeline.training.population import Population
from pipeline.training.settings import save_settings


class TrainJob(Job[Trained]):
    """The training of one part of a variant."""

    def run(self, split: Split, on_epoch: OnEpoch | None = None) -> Trained:
        """Train, and measure the activations of the validation images before the first epoch and after each."""

        def measure(network: Network) -> dict[str, Tensor]:
            batch_size = self.part.train.validation_batch_size
            return activations.measure(network, self.part.model.activation, split.validation, batch_size)

        return fit(self.part, split.train, measure, checkpoint=self.open_checkpoint(), on_epoch=on_epoch)


def load_split(params: Params, images: ImageFiles) -> Split:
    """Put the images onto `train.device`, and check that both variants can be trained on them.

    Raises:
        UserError: They cannot.
    """
    examples = split(images, params.data.holdout, configure_device(params.train))
    check_batches(examples, params.train.batch_size, params.model.ghost_batch)
    return examples


def train_variant(
    params: Params,
    population: Population,
    images: str,
    workers: Workers,
    folder: Path,
    checkpoints: Path | None,
    on_epoch: OnJobEpoch,
) -> None:
    """Train every seed of a variant, and write the files that `pipeline.training.history` describes.

    Args:
        params: All parameters.
        population: The networks of the variant, one for each seed.
        images: The digest of the images that the workers have.
        workers: What trains.
        folder: Where the files go.
        checkpoints: Where to save states while training, and to continue from.
        on_epoch: Called with the number of a part and the epoch that it has completed.
    """
    parts = cut(population, workers.count, workers.memory, checkpoints)
    jobs = [TrainJob(part, checkpoints and checkpoint_file(checkpoints, part)) for part in parts]
    trained = dict(workers.run(jobs, on_epoch))
    save_history(folder, population.seeds, Trained.join([trained[number] for number in range(len(jobs))]))
    save_settings(folder, params, images)
