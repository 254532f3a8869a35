"""Stage `prepare`: the first training images and all test images, in one file."""

from pathlib import Path

import numpy as np
from ruamel.yaml import YAML
from tracking.stage import stage_run

OUTPUT = Path("digits.npz")

params = YAML(typ="safe").load(Path("params.yaml"))["prepare"]
with stage_run("prepare") as run:
    run.log_params({f"prepare.{name}": value for name, value in params.items()})
    folder, arrays = Path(params["images"]), {}
    for part, prefix, count in (("train", "train", params["training"]), ("test", "t10k", None)):
        images = np.fromfile(folder / f"{prefix}-images-idx3-ubyte", np.uint8)[16:].reshape(-1, 1, 28, 28)[:count]
        labels = np.fromfile(folder / f"{prefix}-labels-idx1-ubyte", np.uint8)[8:][:count]
        arrays |= {f"{part}_images": images, f"{part}_labels": labels}
        run.log_metrics({f"images/{part}": [(0, len(images))]})
    np.savez(OUTPUT, **arrays)
