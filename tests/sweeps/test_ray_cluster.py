"""Sweeps on a Ray cluster of three nodes on this machine: the numbers of the local sweep, whatever dies or stops.

One cluster serves all tests; the first one that trains costs it a node.
"""

import contextlib
import io
import re
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import mlflow
import numpy as np
import psutil
import pytest
import torch
from mlflow.entities import Run
from ray.cluster_utils import Cluster

from pipeline.data.dataset import Examples, Split
from pipeline.errors import UserError
from pipeline.params import VARIANTS, load
from pipeline.progress import Progress
from pipeline.records import sweeps as sweep_records
from pipeline.sweeps import ray_address, ray_cluster
from pipeline.sweeps.outcome import OUTCOME_ARRAYS, OutcomeJob, load_outcome
from pipeline.sweeps.probe import Probe
from pipeline.sweeps.ray_worker import arrays_to_split, run_on_worker, split_to_arrays
from pipeline.training.loop import Epoch
from pipeline.training.population import Population
from tests.samples import PARAMS, ROOT, enter, outcome_of, probe_of
from tests.sweeping import done, make, points, sweep

pytestmark = pytest.mark.filterwarnings("default")  # those of Ray, MLflow and SQLAlchemy are their own

LONG = ("--epochs", "150")  # of tiny networks: half a second


# Without a cluster


@pytest.mark.parametrize("holdout", [0, 6])
def test_the_split_arrives_as_it_was_without_a_copy(examples: Callable[..., Examples], holdout: int) -> None:
    train, test = examples(30), examples(12, seed=1)
    split = Split(train, examples(holdout, seed=2) if holdout else test, test)
    arrays = split_to_arrays(split)
    for pixels, labels in arrays:
        pixels.flags.writeable = labels.flags.writeable = False  # as Ray hands them over
    back = arrays_to_split(arrays, torch.device("cpu"))
    for one, other in ((back.train, train), (back.validation, split.validation), (back.test, test)):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)
        assert one.images.data_ptr() == other.images.data_ptr()
    assert (arrays[1] is arrays[2]) == (holdout == 0)


@pytest.mark.parametrize("probe", [None, probe_of("loss_landscape", 5)])
def test_a_worker_gives_what_this_process_gives_and_reports_now_and_then(
    examples: Callable[..., Examples], monkeypatch: pytest.MonkeyPatch, probe: Probe | None
) -> None:
    params = load(PARAMS, {"hidden": "5", "seeds": "0,1", "epochs": "6", "batch_size": "8", "device": "cpu"})
    split = Split(examples(30), examples(6, seed=1), examples(12, seed=2))
    population = Population("batchnorm", params.model, params.train, params.train.seeds)
    seconds = iter(range(100))
    monkeypatch.setattr("pipeline.sweeps.ray_worker.time.monotonic", lambda: float(next(seconds)))
    monkeypatch.setattr("ray.get", lambda _: pytest.fail("Ray gives the processor of a worker that waits to another"))
    reported: list[tuple[int, int]] = []

    class Update:
        @staticmethod
        def remote(number: int, epoch: Epoch) -> None:
            reported.append((number, epoch.number))

    class Progress:
        update = Update()

    progress: Any = Progress()
    job = OutcomeJob(population, None, probe)
    trained = run_on_worker(job, split_to_arrays(split), params.train, progress, 7)
    expected = outcome_of(population, split, probe)
    for name in OUTCOME_ARRAYS:
        np.testing.assert_array_equal(getattr(trained, name), getattr(expected, name), err_msg=name)
    assert trained.probed.keys() == expected.probed.keys()
    for name in trained.probed:
        np.testing.assert_array_equal(trained.probed[name], expected.probed[name], err_msg=name)
    # A look at the clock is a second here, and a report takes one itself.
    assert reported == [(7, 2), (7, 4), (7, 6)]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("somewhere", "should be auto, local, ray://HOST:PORT or HOST:PORT"),
        ("http://127.0.0.1:80", "should be auto, local, ray://HOST:PORT or HOST:PORT"),
        ("127.0.0.1:99999", "should be auto, local, ray://HOST:PORT or HOST:PORT"),
        ("ray://127.0.0.1:{port}", "cannot be reached: Connection refused"),
        ("127.0.0.1:{port}", "cannot be reached: Connection refused"),
    ],
)
def test_a_bad_address_is_one_line(address: str, words: str) -> None:
    assert re.fullmatch(words_of(address := address.format(port=free_port()), words), refusal(address))


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_what_answers_and_is_not_ray_is_one_line(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setattr(ray_address, "TIMEOUT", 0.5)
    with socket.create_server(("127.0.0.2", 0)) as silent:  # Ray makes another address of 127.0.0.1
        address = f"{scheme}127.0.0.2:{silent.getsockname()[1]}"
        assert re.fullmatch(words_of(address, "the server there is not Ray"), refusal(address))


def test_a_proxy_in_the_environment_is_not_asked_for_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.2:0")
    server.start()
    try:
        ray_address.check_address(f"ray://127.0.0.2:{port}")
    finally:
        server.stop(None)


def words_of(address: str, words: str) -> str:
    return rf"--ray {address}( \(\S+\))?: {words}"


def refusal(address: str) -> str:
    """Why an address is refused, by this project and not by Ray, which takes minutes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ray.init", lambda *_, **__: pytest.fail("Ray is asked"))
        with pytest.raises(UserError) as caught, ray_cluster.connect(address, load(PARAMS).train, {}):
            pass
    return str(caught.value)


def test_sigterm_while_ray_starts_ends_as_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.init", lambda *_, **__: sys.exit(1))  # as Ray's own handler does
    with pytest.raises(SystemExit) as caught, ray_cluster.connect("local", load(PARAMS).train, {}):
        pass
    assert caught.value.code == 128 + signal.SIGTERM


def test_a_start_that_takes_too_long_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: object, **__: object) -> None:
        raise Exception("The current node timed out during startup. This could happen because")  # as Ray does

    monkeypatch.setattr("ray.init", start)
    line = r"^--ray local: The current node timed out during startup$"
    with pytest.raises(UserError, match=line), ray_cluster.connect("local", load(PARAMS).train, {}):
        pass


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionError("Could not find any instance. Please specify one."), "Could not find any instance"),
        (ConnectionAbortedError("Failed:\nTraceback:\n  a line\nRuntimeError: No server.\n See x"), "No server"),
        (RuntimeError("Version mismatch:\n  2.59 here\n  2.60 there"), "Version mismatch: 2.59 here 2.60 there"),
    ],
)
def test_errors_of_ray_are_one_line(error: Exception, words: str) -> None:
    assert ray_cluster.first_sentence(error) == words


def test_without_ray_the_option_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path)
    enter(tmp_path, monkeypatch)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    result = sweep("--grid", "lr=0.1", "--ray", "local")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "Error: --ray needs Ray: pip install -r requirements-ray.txt\n"


# With one


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
    return port


class Nodes:
    """A head, which trains nothing, and two nodes of 1 and 2 processors."""

    def __init__(self) -> None:
        self.client = f"ray://127.0.0.2:{(port := free_port())}"
        own = {"node_ip_address": "127.0.0.2"}
        head = {"num_cpus": 0, "include_dashboard": False, "ray_client_server_port": port, **own}
        head["_system_config"] = {"health_check_period_ms": 500, "health_check_failure_threshold": 3}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.steady, self.doomed = (self.cluster.add_node(wait=False, num_cpus=count, **own) for count in (1, 2))
        self.cluster.wait_for_nodes()
        self.address: str = self.cluster.address

    def lose(self) -> None:
        """Kill the greater node while it trains."""
        self._lose(self.doomed)

    def lose_the_rest(self) -> None:
        """Kill both, or the one that is left."""
        for node in [*self.cluster.worker_nodes]:
            self._lose(node)

    def _lose(self, node: Any) -> None:
        (raylet,) = node.all_processes["raylet"]
        until = time.monotonic() + 30
        while not training(psutil.Process(raylet.process.pid).children()):
            assert time.monotonic() < until, "the node that is to die has nothing to do"
        self.cluster.remove_node(node, allow_graceful=False)


def training(processes: Iterable[psutil.Process]) -> bool:
    """Whether one of the processes is a worker that trains."""
    titles = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            titles += process.cmdline()[:1]
    return any(title.startswith("ray::run_on_worker") for title in titles)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_MODE", "disabled")  # nothing but this machine's own processes can reach it
        patch.setenv("GRPC_ENABLE_FORK_SUPPORT", "0")  # https://github.com/ray-project/ray/issues/63202
        made = Nodes()
        yield made
        made.cluster.shutdown()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    make(tmp_path)
    enter(tmp_path, monkeypatch)
    yield tmp_path
    mlflow.set_tracking_uri("")


@pytest.fixture
def after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], None]], None]:
    """Have something done when an outcome is about to be logged: that many from now on."""
    log = sweep_records.log_point

    def plan(count: int, act: Callable[[], None]) -> None:
        logged = []

        def counted(name: str, images: Any, task: Any, *rest: Any) -> None:
            logged.append(task.digest)
            if len(logged) == count:
                act()
            log(name, images, task, *rest)

        monkeypatch.setattr(sweep_records, "log_point", counted)

    return plan


@pytest.fixture
def unlogged(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Have nothing logged from now on, which takes longer than the trainings."""

    def plan() -> None:
        for name in ("log_point", "log_sweep"):
            monkeypatch.setattr(sweep_records, name, lambda *_, **__: None)

    return plan


@pytest.fixture
def completed(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """What each sweep from now on shows of its progress: the numbers of epochs completed so far."""
    shown: list[list[int]] = []

    class Recorded(Progress):
        def __init__(self, label: str, total: int, before: int = 0) -> None:
            super().__init__(label, total, before, io.StringIO())
            shown.append([before])

        def __call__(self, number: int, epoch: Epoch) -> None:
            super().__call__(number, epoch)
            shown[-1].append(self.completed)

        def finish(self, number: int, part: Population) -> None:
            super().finish(number, part)
            shown[-1].append(self.completed)

    monkeypatch.setattr("pipeline.sweeps.run.Progress", Recorded)
    return shown


def kept() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path("sweeps", ".outcomes").glob("*/*.safetensors")}


def logged(project: Path, name: str) -> list[tuple[str, str]]:
    """Learning rate and variant of every point's run."""
    runs: list[Run] = points(project, name)
    return sorted((run.data.params["train.lr"], run.data.params["variant"]) for run in runs)


def test_a_node_dies_and_the_sweep_is_the_local_one(
    project: Path,
    nodes: Nodes,
    after: Callable[[int, Callable[[], None]], None],
    unlogged: Callable[[], None],
    completed: list[list[int]],
    capfd: pytest.CaptureFixture[str],
) -> None:
    study = Path("studies", "rates")
    study.mkdir(parents=True)
    text = "grid: {lr: [0.01, 0.1, 0.2, 1]}\nprobe_every: 100"
    (study / "probe.py").write_bytes((ROOT / "studies" / "loss_landscape" / "probe.py").read_bytes())
    (study / "params.yaml").write_text(text, encoding="utf-8")
    command = ("--study", str(study), *LONG)
    after(1, nodes.lose)
    printed = done(*command, "--name", "far", "--ray", nodes.address)
    unlogged()
    assert "far: 4 points, 16 networks in 8 populations, 8 still to train (16 networks) by 3 workers\n" in printed
    assert capfd.readouterr().err.replace("\n", "").split("INFO mlflow")[0].strip("0123456789/: ") == ""
    far_outcomes = kept()
    assert len(far_outcomes) == 8
    shutil.rmtree("sweeps/.outcomes")
    assert done(*command, "--name", "near").startswith(
        "near: 4 points, 16 networks in 8 populations, 8 still to train (16 networks)\n"
    )
    assert kept() == far_outcomes
    outcome = load_outcome(Path(next(iter(far_outcomes))).parent, (0, 1))
    assert outcome
    assert outcome.probed
    everything = [(lr, variant) for lr in ("0.01", "0.1", "0.2", "1.0") for variant in sorted(VARIANTS)]
    assert logged(project, "far") == everything
    far, near = completed
    assert far[-1] == near[-1] == 8 * 2 * 150
    assert far == sorted(far)


def test_here_and_there_a_sweep_goes_on_where_it_was_stopped(
    project: Path,
    nodes: Nodes,
    after: Callable[[int, Callable[[], None]], None],
    unlogged: Callable[[], None],
) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    command = ("--grid", "lr=0.01,0.1,0.2", *LONG)
    refused = sweep(*command, "--threads", "64", "--ray", nodes.address)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr.startswith(f"Error: --ray {nodes.address}: a training takes 64 CPUs, which no node")
    assert not Path("sweeps").exists()
    after(1, stop)
    assert sweep(*command, "--name", "both").exit_code == 130
    after(3, stop)  # the one that was kept is handed over again
    result = sweep(*command, "--name", "both", "--ray", nodes.client)
    assert result.exit_code == 130
    assert ", 5 still to train (10 networks)" in result.stdout
    assert "resuming: 2 of 12 networks were trained before\n" in result.stdout
    until = time.monotonic() + 10
    while training(psutil.process_iter()):
        assert time.monotonic() < until, "what was begun on the cluster still runs"
    some = kept()
    assert len(some) == 3
    after(7, stop)
    printed = done(*command, "--name", "both")
    assert "3 still to train (6 networks)\n" in printed
    unlogged()
    both = kept()
    shutil.rmtree("sweeps/.outcomes")
    done(*command, "--name", "whole")
    whole = kept()
    assert both == whole
    assert some.items() <= whole.items()
    assert logged(project, "both") == [(lr, variant) for lr in ("0.01", "0.1", "0.2") for variant in sorted(VARIANTS)]


def test_a_sweep_without_any_node_gives_up_and_keeps_what_came(
    project: Path, nodes: Nodes, after: Callable[[int, Callable[[], None]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_cluster, "GIVE_UP", 1.0)
    command = ("--grid", "lr=0.01,0.02,0.05,0.1", *LONG, "--name", "left")  # too much to end while the nodes do
    after(1, nodes.lose_the_rest)
    result = sweep(*command, "--ray", nodes.address)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == (
        f"Error: --ray {nodes.address}: no node that could train is left; "
        "finished populations are kept, and the same command resumes"
    )
    some = kept()
    assert len(logged(project, "left")) == len(some) > 0
    left = 8 - len(some)
    assert f", {left} still to train ({2 * left} networks)\n" in done(*command)
    assert some.items() <= kept().items()
    assert len(logged(project, "left")) == 8
