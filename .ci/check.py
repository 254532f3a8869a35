"""What `make repro` must have left: metrics, figures and MLflow runs of the lab on the real 70,000 images."""

import json
from pathlib import Path

import mlflow

SEEDS = 10


def main() -> None:
    """Check the working directory, and say what was found."""
    accuracy = json.loads(Path("results/lab/comparisons.json").read_text(encoding="utf-8"))["test"]["accuracy"]
    assert accuracy["pairs"] == SEEDS, accuracy
    # The lab's known outcome (its published copies give 0.940 to 0.944 with, 0.24 to 0.48 without).
    assert 0.93 < accuracy["batchnorm"] < 0.96, accuracy
    assert accuracy["difference"]["low"] > 0, accuracy
    figures = sorted(path.name for path in Path("results/lab/figures").glob("*.png"))
    assert len(figures) == 7, figures

    client = mlflow.MlflowClient("sqlite:///mlflow.db")
    runs = client.search_runs(["0"], max_results=1000)
    assert {run.info.status for run in runs} == {"FINISHED"}, "a run has not finished"
    stages = {run.data.tags["stage"] for run in runs if "stage" in run.data.tags}
    assert stages == {"download", "train@plain", "train@batchnorm", "evaluate"}, stages
    for variant in ("plain", "batchnorm"):
        (run, *_) = client.search_runs(["0"], f"tags.stage = 'train@{variant}'")
        children = client.search_runs(["0"], f"tags.`mlflow.parentRunId` = '{run.info.run_id}'")
        assert len(children) == SEEDS, len(children)
        assert len(client.get_metric_history(run.info.run_id, "train/loss")) == 150
        images = [Path(file.path).name.split("+") for file in client.list_artifacts(run.info.run_id, "images")]
        assert {step for key, _, step, *_ in images if key == "layer2_activation"} == set("012345"), images
        mean = sum(child.data.metrics["validation/accuracy"] for child in children) / SEEDS
        assert abs(mean - accuracy[variant]) < 2e-4, (mean, accuracy)
    print(
        f"test accuracy {accuracy['batchnorm']:.4f} with, {accuracy['plain']:.4f} without; {len(runs)} runs in MLflow"
    )


if __name__ == "__main__":
    main()
