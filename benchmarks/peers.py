"""The lab as written, and two that train one network faster: a lean loop in PyTorch, and scikit-learn."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from benchmarks.settings import check_images, read_images
from pipeline.data import idx
from pipeline.data.dataset import CLASSES, PIXELS, Examples, split
from pipeline.network.perceptron import widths
from pipeline.params import Params, Variant

Batches = Callable[[], Iterable[tuple[Tensor, Tensor]]]  # called anew for every epoch


def lab(params: Params, variant: Variant, batch: int) -> Iterator[float]:
    """Yield the seconds of every epoch in the lab: torchvision's data set, an image at a time, through a DataLoader."""
    return _epochs(params, variant, _loader(batch, train=True))


def eager(params: Params, variant: Variant, batch: int) -> Iterator[float]:
    """Yield the seconds of every epoch where all images are one tensor, and Adam is one kernel."""
    torch.set_flush_denormal(True)
    examples = split(read_images(), 0, torch.device("cpu")).train
    return _epochs(params, variant, partial(resident, examples, batch), fused=True)


def lab_training(params: Params, variant: Variant, batch: int) -> Iterator[float]:
    """Yield the seconds of every whole training in the lab, with the accuracy on the test images after each epoch."""
    validation = _loader(params.train.validation_batch_size, train=False)
    epochs = _epochs(params, variant, _loader(batch, train=True), validation)
    while True:
        yield sum(islice(epochs, params.train.epochs))


def sklearn(params: Params, _variant: Variant, batch: int) -> Iterator[float]:
    """Yield the seconds of every epoch of scikit-learn's perceptron, which has no Batch Normalization."""
    from sklearn.neural_network import MLPClassifier

    examples = split(read_images(), 0, torch.device("cpu")).train
    images, labels = examples.images.numpy(), examples.labels.numpy()
    model = MLPClassifier(
        params.model.hidden, "logistic", alpha=0, batch_size=batch, learning_rate_init=params.train.lr
    )
    while True:
        start = time.perf_counter()
        model.partial_fit(images, labels, classes=np.arange(CLASSES))
        yield time.perf_counter() - start


def network(params: Params, variant: Variant) -> nn.Sequential:
    """Build the lab's perceptron: Batch Normalization, if any, follows the sigmoid."""
    layers: list[nn.Module] = []
    *hidden, last = pairwise(widths(params.model))
    for inputs, outputs in hidden:
        layers += [nn.Linear(inputs, outputs), nn.Sigmoid()]
        if variant == "batchnorm":
            layers.append(nn.BatchNorm1d(outputs))
    return nn.Sequential(*layers, nn.Linear(*last))


def resident(examples: Examples, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield every image of a tensor once, in a new order."""
    for chosen in torch.split(torch.randperm(len(examples)), batch):
        yield examples.images.index_select(0, chosen), examples.labels.index_select(0, chosen)


def _epochs(
    params: Params, variant: Variant, batches: Batches, validation: Batches = tuple, fused: bool | None = None
) -> Iterator[float]:
    """Yield the seconds of every epoch of training; after the last epoch, start with a new network."""
    while True:
        net = network(params, variant)
        optimizer = torch.optim.Adam(net.parameters(), lr=params.train.lr, fused=fused)
        for _ in range(params.train.epochs):
            start = time.perf_counter()
            _train(net, optimizer, batches)
            _count_correct(net, validation)
            yield time.perf_counter() - start


def _train(net: nn.Sequential, optimizer: torch.optim.Optimizer, batches: Batches) -> None:
    net.train()
    criterion = nn.CrossEntropyLoss()
    for images, labels in batches():
        optimizer.zero_grad()
        loss = criterion(net(images.view(-1, PIXELS)), labels)
        loss.backward()
        optimizer.step()


def _count_correct(net: nn.Sequential, batches: Batches) -> int:
    net.eval()
    return sum(int((net(images.view(-1, PIXELS)).argmax(1) == labels).sum()) for images, labels in batches())


def _loader(batch: int, train: bool) -> Batches:
    """Load the images with torchvision, which reads them into memory from folders of its own layout."""
    source = check_images()
    with tempfile.TemporaryDirectory() as root:
        raw = Path(root) / "MNIST" / "raw"
        raw.mkdir(parents=True)
        for name in idx.FILES:
            shutil.copyfile(source / name, raw / name)
        images = datasets.MNIST(root, train=train, transform=transforms.ToTensor())
    loader: DataLoader[tuple[Tensor, Tensor]] = DataLoader(images, batch_size=batch, shuffle=train)
    return loader.__iter__
