"""Where a run comes from: the command, DVC, Git and the process that makes it."""

import contextlib
import getpass
import os
import subprocess
import sys

from . import process

PROCESS_TAG = "process"
OUTER_TAG = "outer_run"  # the run that surrounds DVC, as Azure ML makes one for a job
_DVC = ("DVC_STAGE", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV")
NAMES = (
    "mlflow.source.type",
    "mlflow.source.name",
    "mlflow.user",
    "mlflow.source.git.commit",
    "git.dirty",
    "dvc.stage",
    "dvc.exp_name",
    "dvc.exp_baseline_rev",
    "dvc.root",
    PROCESS_TAG,
    OUTER_TAG,
)
"""All that `tags` may return."""


def given_run() -> str | None:
    """Return the run that `mlflow run` has started for this process.

    DVC passes MLFLOW_RUN_ID on to all its stages, which need a run each: for them there is none.
    """
    return None if "DVC_STAGE" in os.environ else os.environ.get("MLFLOW_RUN_ID") or None


def tags() -> dict[str, str]:
    """Return the tags of every run; outside a Git repository they have no commit."""
    found = {
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": " ".join([_program(), *sys.argv[1:]]),
        PROCESS_TAG: process.identity(),
    }
    with contextlib.suppress(KeyError, OSError):  # a user without a name, as in some containers
        found["mlflow.user"] = getpass.getuser()
    if commit := _git("rev-parse", "HEAD"):
        # What DVC and the stages write is no change of the project.
        changed = _git("status", "--porcelain", "--", ".", ":!dvc.lock", ":!results")
        found |= {"mlflow.source.git.commit": commit, "git.dirty": str(bool(changed)).lower()}
    for name in _DVC:
        if value := os.environ.get(name):
            found[name.lower().replace("_", ".", 1)] = value
    if root := os.environ.get("DVC_ROOT"):
        found["dvc.root"] = f"{process.machine()}:{root}"
    outer = os.environ.get("MLFLOW_RUN_ID")
    if outer and not given_run():
        found[OUTER_TAG] = outer
    return found


def suffix() -> str:
    """Return what the run names of a DVC experiment end with: its own name in brackets."""
    name = os.environ.get("DVC_EXP_NAME")
    return f" [{name}]" if name else ""


def _program() -> str:
    """Return how this program was started, as one types it."""
    main = sys.modules["__main__"]
    package = getattr(main, "__package__", None)
    return f"python -m {package}" if package else os.path.relpath(sys.argv[0])


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
