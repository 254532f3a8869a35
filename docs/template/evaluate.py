"""Stage `evaluate`: both kinds of networks on the test images, compared seed by seed."""

import json
from pathlib import Path

import numpy as np
import torch
from network import POOLINGS, accuracy, build, weights_of
from safetensors.torch import load_file
from tracking.stage import stage_run

digits = np.load("digits.npz")
images = torch.from_numpy(digits["test_images"]).float() / 255
labels = torch.from_numpy(digits["test_labels"]).long()
with stage_run("evaluate") as run:
    metrics = {}
    for pooling in POOLINGS:
        accuracies = []
        for file in sorted(weights_of(pooling, 0).parent.glob("*.safetensors")):
            network = build(pooling)
            network.load_state_dict(load_file(file))
            accuracies.append(accuracy(network, images, labels))
        metrics[f"accuracy_{pooling}"] = float(np.mean(accuracies))
    metrics["difference"] = metrics["accuracy_max"] - metrics["accuracy_average"]
    Path("metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    run.log_metrics({f"test/{name}": [(0, value)] for name, value in metrics.items()})
