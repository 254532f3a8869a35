"""The lab as written: torchvision's data set, an image at a time, and PyTorch's own modules and optimizer."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import datasets, transforms

from benchmarks.settings import check_images
from pipeline.data import idx
from pipeline.data.dataset import PIXELS
from pipeline.network.perceptron import widths
from pipeline.params import Params, Variant

Images = Dataset[tuple[Tensor, int]]


def epochs(params: Params, variant: Variant, batch: int) -> Iterator[float]:
    """Yield the seconds of every epoch of training; after the last epoch, start with a new network."""
    loader = DataLoader(_images(train=True), batch_size=batch, shuffle=True)
    while True:
        net = network(params, variant)
        optimizer = torch.optim.Adam(net.parameters(), lr=params.train.lr)
        for _ in range(params.train.epochs):
            start = time.perf_counter()
            _train(net, optimizer, loader)
            yield time.perf_counter() - start


def with_validation(params: Params, variant: Variant, batch: int) -> Iterator[float]:
    """Yield the seconds of every whole training, which includes the accuracy on the test images after each epoch."""
    loader = DataLoader(_images(train=True), batch_size=batch, shuffle=True)
    validation = DataLoader(_images(train=False), batch_size=params.train.validation_batch_size)
    while True:
        net = network(params, variant)
        optimizer = torch.optim.Adam(net.parameters(), lr=params.train.lr)
        start = time.perf_counter()
        for _ in range(params.train.epochs):
            _train(net, optimizer, loader)
            _accuracy(net, validation)
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


def _train(net: nn.Sequential, optimizer: torch.optim.Optimizer, loader: DataLoader[tuple[Tensor, int]]) -> None:
    net.train()
    criterion = nn.CrossEntropyLoss()
    for images, labels in loader:
        optimizer.zero_grad()
        loss = criterion(net(images.view(-1, PIXELS)), labels)
        loss.backward()
        optimizer.step()


def _accuracy(net: nn.Sequential, loader: DataLoader[tuple[Tensor, int]]) -> float:
    net.eval()
    correct = seen = 0
    for images, labels in loader:
        predicted = net(images.view(-1, PIXELS)).argmax(1)
        correct += int((predicted == labels).sum())
        seen += len(labels)
    return correct / seen


def _images(train: bool) -> Images:
    """Load the images with torchvision, which reads them into memory from folders of its own layout."""
    source = check_images()
    with tempfile.TemporaryDirectory() as root:
        raw = Path(root) / "MNIST" / "raw"
        raw.mkdir(parents=True)
        for name in idx.FILES:
            shutil.copyfile(source / name, raw / name)
        images: Images = datasets.MNIST(root, train=train, transform=transforms.ToTensor())
    return images
