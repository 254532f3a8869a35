"""What links a run to the command, to DVC, to Git and to the process that makes it."""

import contextlib
import getpass
import os
import subprocess
import sys

from pipeline import processes

PROCESS_TAG = "process"


def tags() -> dict[str, str]:
    """Return the tags of every run; outside a repository the commit is left out."""
    found = {
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": " ".join(["python -m pipeline", *sys.argv[1:]]),
        PROCESS_TAG: processes.own(),
    }
    with contextlib.suppress(KeyError, OSError):  # a user without a name, as in some containers
        found["mlflow.user"] = getpass.getuser()
    if commit := _git("rev-parse", "HEAD"):
        # What DVC and the stages write is no change of the project.
        changed = _git("status", "--porcelain", "--", ".", ":!dvc.lock", ":!results")
        found |= {"mlflow.source.git.commit": commit, "git.dirty": str(bool(changed)).lower()}
    for name in ("DVC_STAGE", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV"):
        if value := os.environ.get(name):
            found[name.lower().replace("_", ".", 1)] = value
    if root := os.environ.get("DVC_ROOT"):
        found["dvc.root"] = f"{processes.machine()}:{root}"
    return found


def suffix() -> str:
    """Return what the names of a DVC experiment's runs end with."""
    name = os.environ.get("DVC_EXP_NAME")
    return f" [{name}]" if name else ""


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
