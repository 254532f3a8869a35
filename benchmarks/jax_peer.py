"""Populations in JAX: an epoch is one compiled program, a scan over batches of a step that is mapped over members.

It starts from this project's initial weights and takes its batches, so that its losses can be compared one by one.
"""

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.settings import read_images
from pipeline.data.dataset import batch_order, split
from pipeline.network.normalisation import EPSILON, MOMENTUM
from pipeline.params import Params, Variant
from pipeline.training.population import Population

Tree = Any  # nested tuples and dictionaries of arrays
FIRST, SECOND = 0.9, 0.999  # the rates of Adam's two moments


def epochs(params: Params, variant: Variant, batch: int) -> Iterator[float]:
    """Yield the seconds per epoch and network of a population's training, all of its seeds in one program."""
    settings = params.train.model_copy(update={"batch_size": batch})
    population = Population(variant, params.model, settings, settings.seeds)
    examples = split(read_images(), 0, torch.device("cpu")).train
    images, labels = (jnp.asarray(values.numpy()) for values in (examples.images, examples.labels))
    next(train(population, images, labels))  # compiles
    while True:
        epoch = train(population, images, labels)
        for _ in range(settings.epochs):
            start = time.perf_counter()
            next(epoch)
            yield (time.perf_counter() - start) / len(settings.seeds)


def train(population: Population, images: jax.Array, labels: jax.Array) -> Iterator[NDArray[np.float32]]:
    """Yield each epoch's losses [members, iterations]; sizes of batches divide the number of images."""
    state = _initial(population)
    for epoch in range(population.train.epochs):
        orders = np.stack([batch_order(seed, len(labels), epoch) for seed in population.seeds]).astype(np.int32)
        batches = orders.reshape(len(orders), -1, population.train.batch_size).swapaxes(0, 1)
        state, losses = _epoch(state, images, labels, batches, population.train.lr)
        yield np.asarray(losses).T


def _initial(population: Population) -> Tree:
    """Return the weights, running statistics, Adam's moments and the number of steps."""
    network = population.network()
    layers, statistics = [], []
    for linear in network.linears:
        weight, bias = (values.detach().numpy() for values in linear.parameters())
        layers.append({"weight": jnp.asarray(weight.swapaxes(1, 2)), "bias": jnp.asarray(bias)})
    for layer, norm in zip(layers, network.norms, strict=False):
        layer |= {name: jnp.asarray(values.detach().numpy()) for name, values in norm.named_parameters()}
        statistics.append(tuple(jnp.asarray(values.numpy()) for values in norm.buffers()))
    zeros = [jax.tree.map(jnp.zeros_like, layers) for _ in range(2)]
    return (layers, statistics, *zeros), jnp.zeros(())


@partial(jax.jit, donate_argnums=0)
def _epoch(state: Tree, images: jax.Array, labels: jax.Array, batches: jax.Array, lr: float) -> tuple[Tree, Tree]:
    def step(state: Tree, chosen: jax.Array) -> tuple[Tree, jax.Array]:
        members, steps = state
        mapped = jax.vmap(lambda member, rows: _step(member, images[rows], labels[rows], steps + 1, lr))
        members, losses = mapped(members, chosen)
        return (members, steps + 1), losses

    final, losses = jax.lax.scan(step, state, batches)
    return final, losses


def _step(member: Tree, images: jax.Array, labels: jax.Array, step: jax.Array, lr: float) -> tuple[Tree, jax.Array]:
    layers, statistics, first, second = member
    (loss, statistics), gradients = jax.value_and_grad(_loss, has_aux=True)(layers, statistics, images, labels)
    first = jax.tree.map(lambda m, g: FIRST * m + (1 - FIRST) * g, first, gradients)
    second = jax.tree.map(lambda v, g: SECOND * v + (1 - SECOND) * g * g, second, gradients)
    rate, scale = lr / (1 - FIRST**step), 1 / jnp.sqrt(1 - SECOND**step)
    layers = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) * scale + 1e-8), layers, first, second)
    return (layers, statistics, first, second), loss


def _loss(layers: Tree, statistics: Tree, images: jax.Array, labels: jax.Array) -> tuple[jax.Array, Tree]:
    values, updated = images, []
    for number, layer in enumerate(layers[:-1]):
        values = jax.nn.sigmoid(values @ layer["weight"] + layer["bias"])
        if statistics:
            mean, var = values.mean(0), values.var(0)
            values = (values - mean) * (jax.lax.rsqrt(var + EPSILON) * layer["scale"]) + layer["shift"]
            batch = (mean, var * len(images) / (len(images) - 1))
            updated.append(
                tuple((1 - MOMENTUM) * r + MOMENTUM * b for r, b in zip(statistics[number], batch, strict=True))
            )
    logits = jax.nn.log_softmax(values @ layers[-1]["weight"] + layers[-1]["bias"])
    return -jnp.take_along_axis(logits, labels[:, None], axis=1).mean(), updated
