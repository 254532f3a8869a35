"""What an exception of MLflow, its database or the network means, and what to do about it."""

import importlib.util
import re
import sqlite3
import urllib.request
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

import mlflow
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

# What is imported, and what to install for it; others have one name.
PACKAGES = {
    "MySQLdb": "mysqlclient",
    "azure": "azure-storage-blob azure-storage-file-datalake azure-identity",
    "botocore": "boto3",
    "google": "google-cloud-storage",
    "psycopg2": "psycopg2-binary",
}
RETRIED = {401, 407, 408, 425, 429}  # another time, or with another password, the answer may be another
_BY_STATUS = {
    401: "check MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
    403: "ask for the right to edit this experiment, or name another by MLFLOW_EXPERIMENT_NAME",
    413: "a proxy before the server allows no more: raise its limit (nginx: client_max_body_size)",
}
_SQLITE = {
    "readonly database": "name a store that you may write by MLFLOW_TRACKING_URI, such as sqlite:////home/me/mlflow.db",
    "database is locked": "another process is writing it: wait for that to end, or end it",
    **dict.fromkeys(
        ("file is not a database", "disk image is malformed"),
        "the file is damaged: put a copy in its place, or move it away, and a new one is made",
    ),
}


def explain(error: BaseException, address: str) -> str:
    """Return one line that says what is wrong with the store at this address and, where it is known, what to do."""
    advice = (
        _newer_or_older(error, address),
        _missing_package(error),
        _BY_STATUS.get(status(error) or 0),
        _proxy(address),
        next((what for words, what in _SQLITE.items() if words in str(error)), None),
    )
    if advice[0]:
        return advice[0]
    if "filesystem tracking backend" in str(error):
        return (
            "MLflow takes this for a folder, in which it keeps no new runs; name a server (http://HOST:PORT) or a file "
            "(sqlite:///runs.db) by MLFLOW_TRACKING_URI"
        )
    if status(error) == 404 and "/logged-models" in str(error):
        return "the server knows no logged models: it is older than MLflow 3"
    return "; ".join([cause(error), *filter(None, advice)])


def cause(error: BaseException) -> str:
    """Return one line that says what is wrong, in the words of the network, the disk or the database if it can."""
    for inner in _chain(error):
        if isinstance(inner, (OSError, sqlite3.Error)):
            error = inner
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    if not isinstance(error, (MlflowException, SQLAlchemyError, OSError, sqlite3.Error, ImportError)):
        text = f"{type(error).__name__}: {text}"
    return text.partition("(Caused by ")[2].removesuffix(")") or text


def status(error: BaseException) -> int | None:
    """Return the HTTP status with which a server has answered, or that MLflow gives its own refusals."""
    for one in _chain(error):
        response = getattr(one, "response", None)
        if isinstance(response, dict):  # botocore's
            return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)) or None
        if isinstance(number := getattr(response, "status_code", None), int):
            return number
        if isinstance(one, NotImplementedError):
            return 501
        if isinstance(one, MlflowException):
            if found := re.search(r"failed with error code (\d{3})", str(one)):
                return int(found[1])
            if one.error_code != "INTERNAL_ERROR":
                return int(one.get_http_status_code())  # type: ignore[no-untyped-call]
    return None


def is_refusal(error: BaseException) -> bool:
    """Return whether a server has understood and will never take this: too large, not supported, not allowed."""
    if any(isinstance(one, (SQLAlchemyError, sqlite3.Error)) for one in _chain(error)):
        return False
    number = status(error) or 0
    return (400 <= number < 500 and number not in RETRIED) or number == 501


def is_missing(module: str) -> bool:
    """Return whether a module, by its dotted name, cannot be imported."""
    try:
        return importlib.util.find_spec(module) is None
    except ModuleNotFoundError:
        return True


def install(module: str) -> str:
    """Return how to get a module."""
    name = module.partition(".")[0]
    return f"install it: pip install {PACKAGES.get(name, name)}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    inner: BaseException | None = error
    while inner:
        yield inner
        inner = inner.__cause__ or inner.__context__


def _missing_package(error: BaseException) -> str | None:
    names = [one.name for one in _chain(error) if isinstance(one, ImportError) and one.name]
    return install(names[0]) if names else None


def _newer_or_older(error: BaseException, address: str) -> str | None:
    """Explain a database that another version of MLflow has made; its own text advises `mlflow db upgrade` for both."""
    found = re.search(r"out-of-date database schema \(found version (\w+)", str(error))
    if not found:
        return None
    known = Path(mlflow.__file__).parent / "store" / "db_migrations" / "versions"
    if any(known.glob(f"{found[1]}_*.py")):
        return f"an older MLflow made this store; back it up, then: mlflow db upgrade '{address}'"
    return (
        f"a newer MLflow than {version('mlflow')} has made or changed this store (its version {found[1]} is unknown "
        "here); use that MLflow, or name another store by MLFLOW_TRACKING_URI, such as sqlite:///runs.db"
    )


def _proxy(address: str) -> str | None:
    """Name the variable that sends requests through a proxy, if one does."""
    parts = urlsplit(address)
    proxies = urllib.request.getproxies_environment()
    name = parts.scheme if parts.scheme in proxies else "all"
    if parts.scheme not in ("http", "https") or name not in proxies:
        return None
    host = parts.hostname or ""
    if urllib.request.proxy_bypass(host):
        return None
    return f"{name.upper()}_PROXY sends this through {proxies[name]}: if it should not, add {host} to NO_PROXY"
