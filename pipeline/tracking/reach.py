"""What can be known before any work begins: whether the database answers, and whether artifacts can be sent."""

import functools
import os
import socket
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from . import advice
from .errors import TrackingError

SECONDS = 5.0
_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
# The module that MLflow needs for artifacts at an address of each kind.
_MODULES = {
    "s3": "boto3",
    "r2": "boto3",
    "b2": "boto3",
    "gs": "google.cloud.storage",
    "wasb": "azure.storage.blob",
    "wasbs": "azure.storage.blob",
    "abfss": "azure.storage.filedatalake",
    "hdfs": "pyarrow",
    "sftp": "pysftp",
}


@functools.cache
def database(address: str) -> None:
    """Make sure that a database's driver is there and its port open; MLflow alone would ask for minutes.

    Raises:
        ImportError: The driver is missing.
        OSError: Nothing answers.
    """
    try:
        url = make_url(address)
    except ArgumentError:  # `databricks`, say
        return
    kind = url.get_backend_name()
    if kind in _PORTS:
        url.get_dialect().import_dbapi()
        if url.host:
            socket.create_connection((url.host, url.port or _PORTS[kind]), SECONDS).close()


def artifacts(location: str, address: str) -> None:
    """Make sure that an experiment's artifacts can be sent, as far as this machine can tell.

    Raises:
        TrackingError: A package is missing; or a server hands out a folder of its own, which cannot be written here.
    """
    scheme = urlsplit(location).scheme
    if scheme in _MODULES and advice.is_missing(_MODULES[scheme]):
        raise TrackingError(
            f"artifacts go to {location}, which needs {_MODULES[scheme]}; {advice.install(_MODULES[scheme])}"
        )
    if scheme in ("", "file") and address.startswith(("http://", "https://")):
        folder = Path(url2pathname(urlsplit(location).path) if scheme else location)
        elsewhere = urlsplit(address).hostname not in {"localhost", "127.0.0.1", "::1", socket.gethostname()}
        if not _can_be_made(folder) or (elsewhere and not os.access(folder.parent, os.F_OK)):
            raise TrackingError(
                f"the server at {address} wants artifacts in {folder}, which this machine does not share with it; "
                "start it with --artifacts-destination instead of --default-artifact-root, or share that folder; an "
                "experiment keeps its place, so name a new one by MLFLOW_EXPERIMENT_NAME"
            )


def _can_be_made(folder: Path) -> bool:
    if not folder.is_absolute():
        return False
    nearest = next(parent for parent in (folder, *folder.parents) if os.access(parent, os.F_OK))
    return nearest.is_dir() and os.access(nearest, os.W_OK)
