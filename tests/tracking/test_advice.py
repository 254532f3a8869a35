"""What a failure of the store is told as: one line that says what to do."""

import contextlib
import importlib.util
import socket
import sqlite3
import sys
from pathlib import Path
from types import SimpleNamespace

import mlflow
import mlflow.store.db.utils
import pytest
from mlflow.exceptions import MlflowException, RestException
from mlflow.protos import databricks_pb2

from pipeline.tracking import advice, reach, runs, store
from pipeline.tracking.errors import TrackingError
from tests.samples import enter

pytestmark = pytest.mark.filterwarnings("default")  # MLflow and SQLAlchemy warn of each other

ADDRESS = "http://tracking.example:5000"


def says(code: str, message: str) -> MlflowException:
    """What MLflow raises for a server's own words."""
    return RestException({"error_code": code, "message": message})  # type: ignore[no-untyped-call]


class HTTPError(OSError):
    """What `requests` raises for a status."""

    def __init__(self, number: int) -> None:
        super().__init__(f"{number} Error")
        self.response = SimpleNamespace(status_code=number)


def answer(number: int) -> OSError:
    return HTTPError(number)


@pytest.mark.parametrize(
    ("error", "refusal"),
    [
        (answer(413), True),
        (answer(404), True),
        (answer(401), False),
        (answer(429), False),
        (answer(502), False),
        (MlflowException("API request to endpoint /x failed with error code 413 != 200. Response body: ''"), True),
        (says("PERMISSION_DENIED", "no"), True),
        (says("TEMPORARILY_UNAVAILABLE", "later"), False),
        (MlflowException("too long", databricks_pb2.INVALID_PARAMETER_VALUE), True),
        (NotImplementedError("no models here"), True),
        (OSError("the network is gone"), False),
        (TypeError("a mistake of our own"), False),
    ],
    ids=repr,
)
def test_a_refusal_is_told_from_a_failure(error: Exception, refusal: bool) -> None:
    assert advice.is_refusal(error) is refusal


def test_a_database_that_fails_refuses_nothing() -> None:
    error = MlflowException("constraint", databricks_pb2.BAD_REQUEST)
    error.__cause__ = sqlite3.IntegrityError("constraint")
    assert not advice.is_refusal(error)


@pytest.mark.parametrize("error", [ValueError("odd"), RuntimeError("no region"), KeyError("Bucket")])
@pytest.mark.usefixtures("client")
def test_any_exception_is_one_line(error: Exception) -> None:
    with pytest.raises(TrackingError, match=rf"^MLflow at \S+: {type(error).__name__}: "), store.translate_errors():
        raise error


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_process_stays_what_it_is(error: type[BaseException]) -> None:
    with pytest.raises(error), store.translate_errors():
        raise error


@pytest.mark.parametrize(
    ("module", "package"),
    [("boto3", "boto3"), ("psycopg2", "psycopg2-binary"), ("google.cloud", "google-cloud-storage")],
)
def test_a_missing_package_is_named(module: str, package: str) -> None:
    error = ModuleNotFoundError(f"No module named {module!r}", name=module)
    assert advice.explain(error, ADDRESS) == f"No module named {module!r}; install it: pip install {package}"


@pytest.mark.parametrize(("variable", "host"), [("HTTP_PROXY", "proxy:3128"), ("all_proxy", "other:80")])
def test_a_proxy_is_named(monkeypatch: pytest.MonkeyPatch, variable: str, host: str) -> None:
    monkeypatch.setenv(variable, f"http://{host}")
    told = advice.explain(OSError("Tunnel connection failed"), ADDRESS)
    assert told.startswith(f"Tunnel connection failed; {variable.upper()} sends this through http://{host}: ")
    assert told.endswith("add tracking.example to NO_PROXY")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "tracking.example")
    assert advice.explain(OSError("refused"), ADDRESS) == "refused"


@pytest.mark.parametrize("address", ["127.0.0.1:5000", "file:runs", "./runs"])
def test_what_mlflow_takes_for_a_folder(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enter(tmp_path, monkeypatch)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(TrackingError, match=r"a server \(http://HOST:PORT\) or a file"), runs.start_run("r", {}):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enter(tmp_path, monkeypatch)
    (tmp_path / "mlflow.db").write_bytes(b"damaged" * 1000)
    with pytest.raises(TrackingError, match="file is not a database; the file is damaged: "), runs.start_run("r", {}):
        pass


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("attempt to write a readonly database", "name a store that you may write"),
        ("database is locked", "another process is writing it"),
        ("database disk image is malformed", "the file is damaged"),
    ],
)
def test_what_sqlite_says(text: str, words: str) -> None:
    assert advice.explain(sqlite3.OperationalError(text), "sqlite:////a/mlflow.db").startswith(f"{text}; {words}")


@pytest.mark.parametrize(("number", "words"), [(401, "MLFLOW_TRACKING_USERNAME"), (403, "MLFLOW_EXPERIMENT_NAME")])
def test_missing_rights(number: int, words: str) -> None:
    assert words in advice.explain(answer(number), ADDRESS)


@pytest.mark.parametrize(
    ("found", "words", "never"),
    [("451aebb31d03", "an older MLflow made this store; back it up, then: mlflow db upgrade '", "newer"),
     ("ffffffffffff", "a newer MLflow than ", "upgrade")],
)  # fmt: skip
def test_a_store_of_another_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: str, words: str, never: str
) -> None:
    enter(tmp_path, monkeypatch)
    with runs.start_run("r", {}):
        pass
    with contextlib.closing(sqlite3.connect("mlflow.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = ?", (found,))
    other = tmp_path / "same.db"  # MLflow checks a store when it opens it first
    (tmp_path / "mlflow.db").rename(other)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{other}")
    with pytest.raises(TrackingError, match=words) as caught, runs.start_run("r", {}):
        pass
    assert never not in str(caught.value)
    mlflow.set_tracking_uri("")


def test_a_database_is_asked_for_before_mlflow_asks_for_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(tmp_path, monkeypatch)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "mysql+pymysql://me:secret@127.0.0.1:1/x")
    if importlib.util.find_spec("pymysql") is None:
        with pytest.raises(TrackingError, match=r"^MLflow at mysql\+pymysql://me:\*\*\*@.*pip install pymysql$"):
            store.connect()
        monkeypatch.setitem(sys.modules, "pymysql", mlflow)  # anything that can be imported
    with pytest.raises(TrackingError, match="Connection refused"):
        store.connect()
    assert mlflow.store.db.utils.MAX_RETRY_COUNT == 2
    asked: list[object] = []

    def connect(*given: object) -> socket.socket:
        asked.append(given)
        return socket.socket()

    monkeypatch.setattr(socket, "create_connection", connect)
    reach.database("mysql+pymysql://db.example/x")
    assert asked == [(("db.example", 3306), reach.SECONDS)]


def test_artifacts_in_a_folder_of_the_servers_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrackingError, match="--artifacts-destination instead of --default-artifact-root"):
        reach.artifacts(f"{tmp_path}/file/mlruns/0", ADDRESS)
    with pytest.raises(TrackingError, match="which this machine does not share with it"):
        reach.artifacts(f"{tmp_path}/mlruns/0", ADDRESS)  # root could make it, for nobody to see
    reach.artifacts(f"{tmp_path}/mlruns/0", "http://127.0.0.1:5000")
    (tmp_path / "mlruns").mkdir()
    reach.artifacts(f"{tmp_path}/mlruns/0", ADDRESS)
    reach.artifacts("mlflow-artifacts:/0", ADDRESS)
    reach.artifacts(f"{tmp_path}/file/mlruns/0", "sqlite:////elsewhere/mlflow.db")


def test_artifacts_that_need_a_missing_package_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advice, "is_missing", lambda _: True)
    with pytest.raises(TrackingError, match=r"artifacts go to s3://bucket/0, which needs boto3; .*pip install boto3"):
        reach.artifacts("s3://bucket/0", ADDRESS)


@pytest.mark.parametrize("named", ["sweeps", None])
def test_a_deleted_experiment_is_refused_with_the_way_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str | None
) -> None:
    enter(tmp_path, monkeypatch)
    client, experiment = store.connect(named)
    client.delete_experiment(experiment)
    with pytest.raises(
        TrackingError, match=f"mlflow experiments restore --experiment-id {experiment}; or name another"
    ):
        store.connect(named)
    client.restore_experiment(experiment)
    store.connect(named)
    mlflow.set_tracking_uri("")


def test_a_name_that_the_server_does_not_allow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise says("INVALID_PARAMETER_VALUE", "must be an absolute path")

    enter(tmp_path, monkeypatch)
    monkeypatch.setattr(mlflow.MlflowClient, "create_experiment", refuse)
    with pytest.raises(TrackingError, match=r"no experiment 'sweeps': .*absolute path; name one .*such as /Users/ME/"):
        store.connect("sweeps")
    mlflow.set_tracking_uri("")
