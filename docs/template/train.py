"""Stage `train`: one network for each seed, with the pooling that the command line names."""

import sys
from pathlib import Path

import numpy as np
import torch
from network import accuracy, build, weights_of
from ruamel.yaml import YAML
from safetensors.torch import save_file
from torch.nn import functional
from tracking.stage import stage_run

pooling = sys.argv[1]
params = YAML(typ="safe").load(Path("params.yaml"))["train"]
digits = np.load("digits.npz")
images = torch.from_numpy(digits["train_images"]).float() / 255
labels = torch.from_numpy(digits["train_labels"]).long()


def train(seed: int) -> list[tuple[int, float]]:
    """Train one network, save its weights, and return its accuracy on the training images after every epoch."""
    torch.manual_seed(seed)
    network = build(pooling)
    optimizer = torch.optim.Adam(network.parameters(), params["lr"])
    curve = []
    for epoch in range(1, params["epochs"] + 1):
        for batch in torch.randperm(len(labels)).split(params["batch_size"]):
            optimizer.zero_grad()
            functional.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()
        curve.append((epoch, accuracy(network, images, labels)))
    save_file(network.state_dict(), weights_of(pooling, seed))
    return curve


with stage_run(f"train@{pooling}") as run:
    run.log_params({"pooling": pooling, **{f"train.{name}": value for name, value in params.items()}})
    Path("runs", pooling).mkdir(parents=True, exist_ok=True)
    for seed in params["seeds"]:
        run.log_child(f"train@{pooling} seed {seed}", {"seed": seed}, {"train/accuracy": train(seed)})
    run.log_artifacts([weights_of(pooling, seed) for seed in params["seeds"]], "weights")
