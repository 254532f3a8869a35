"""What a folder may hold: the names and forms in which people have MNIST and its kin, and why another will not do."""

import contextlib
import gzip
import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.data.idx import FILES, encode_labels, parse_set
from pipeline.errors import UserError
from pipeline.stages.download import arrays, content, folder
from tools.sandbox import encode

IMAGES, LABELS, TEST_IMAGES, TEST_LABELS = FILES
CONTENTS = encode(training=4, test=2)
OTHERS = encode(training=4, test=2, seed=1)
ARRAYS = dict(zip(("x_train", "y_train", "x_test", "y_test"), parse_set(CONTENTS).values(), strict=True))


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def write(place: Path, rename: Callable[[str], str] = str, contents: dict[str, bytes] = CONTENTS) -> Path:
    for name, data in contents.items():
        put(place / rename(name), data)
    return place


def problem(place: Path) -> str:
    with pytest.raises(UserError) as caught:
        folder.read(place)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Names


@pytest.mark.parametrize(
    "rename",
    [
        str,
        lambda name: name.replace("-idx", ".idx"),
        lambda name: f"{name}/{name}",
        lambda name: f"{name}/{name.replace('-idx', '.idx')}",
        lambda name: f"MNIST/raw/{name}",
        lambda name: f"raw/{name}",
        lambda name: f"archive/{name}",
        str.upper,
        lambda name: name.split("-idx")[0],
        lambda name: name.replace("t10k", "test"),
        lambda name: f"emnist-digits-{name.replace('t10k', 'test')}",
        lambda name: f"emnist-mnist-{name.replace('t10k', 'test')}",
        lambda name: f"{name} (1).gz",
        lambda name: f"{name}.gz",
        lambda name: f"{name}.bin",
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress, lambda data: gzip.compress(gzip.compress(data), mtime=0)])
def test_names_that_people_have(rename: Callable[[str], str], pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    write(tmp_path, rename, {name: pack(data) for name, data in CONTENTS.items()})
    put(tmp_path / f"._{IMAGES}", b"of macOS")
    put(tmp_path / "__MACOSX" / f"._{IMAGES}", b"of macOS")
    put(tmp_path / "readme.txt", b"by the way")
    assert folder.read(tmp_path) == CONTENTS


def test_the_users_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(write(tmp_path / "home").parent / "home"))
    assert folder.read(Path("~")) == CONTENTS


def test_a_damaged_candidate_does_no_harm(tmp_path: Path) -> None:
    write(tmp_path, lambda name: name.replace("-idx", ".idx"))
    write(tmp_path, lambda name: f"{name}.gz", dict.fromkeys(FILES, b"<!DOCTYPE html>"))
    assert folder.read(tmp_path) == CONTENTS


@pytest.mark.parametrize("other", [IMAGES, IMAGES.replace("-idx", ".idx")])
def test_files_of_two_sets_are_never_mixed(other: str, tmp_path: Path) -> None:
    packed = {name: gzip.compress(data, mtime=0) for name, data in CONTENTS.items()}
    write(tmp_path, lambda name: f"{name}.gz", packed)
    put(tmp_path / other, CONTENTS[IMAGES])
    assert folder.read(tmp_path) == CONTENTS
    put(tmp_path / other, OTHERS[IMAGES])
    names = " and ".join(sorted([other, f"{IMAGES}.gz"]))
    assert problem(tmp_path) == f"{IMAGES}: {names} differ: keep one"


def test_equal_candidates_of_other_content(tmp_path: Path) -> None:
    write(tmp_path, lambda name: name.replace("-idx", ".idx"))
    write(tmp_path, lambda name: f"{name}/{name}")
    assert folder.read(tmp_path) == CONTENTS
    put(tmp_path / LABELS / LABELS, OTHERS[LABELS])
    assert problem(tmp_path) == f"{LABELS}: {LABELS}/{LABELS} and train-labels.idx1-ubyte differ: keep one"


def test_several_data_sets(tmp_path: Path) -> None:
    write(tmp_path / "MNIST" / "raw")
    write(tmp_path / "KMNIST" / "raw", contents=OTHERS)
    told = "holds several data sets (KMNIST/raw, MNIST/raw): set data.directory to a folder that holds one"
    assert problem(tmp_path) == told
    assert folder.read(tmp_path, "MNIST") == CONTENTS
    assert folder.read(tmp_path, "KMNIST") == OTHERS
    for kind in ("digits", "letters"):
        write(tmp_path / "emnist", lambda name, kind=kind: f"emnist-{kind}-{name}")  # type: ignore[misc]
    told = "holds several data sets (this folder (emnist-digits-…), this folder (emnist-letters-…)): set"
    assert problem(tmp_path / "emnist").startswith(told)
    assert folder.read(write(tmp_path / "emnist")) == CONTENTS


# What will not do


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"\n<!DOCTYPE html><html>", "a web page (HTML) saved under this name: download the file again"),
        (b"version https://git-lfs.github.com/spec/v1", "a Git LFS pointer, not the file: run `git lfs pull`"),
        (b"PK\x03\x04...", "a zip archive: unpack it first"),
        (bytes(257) + b"ustar", "a tar archive: unpack it first"),
        (b"\x80\x02}", "a pickle, which is never read"),
        (b"\x93NUMPY", "a NumPy array, not IDX"),
        (b"\0\0\r\1", "IDX of other numbers than bytes"),
        (b"\xfd7zXZ\0", "packed by xz: unpack it first"),
        (gzip.compress(b"<html>", mtime=0), "a web page (HTML) saved under this name: download the file again"),
        (gzip.compress(bytes(99), mtime=0)[:-9], "Compressed file ended before the end-of-stream marker was reached"),
        (b"5,0,0", "neither IDX nor gzip: begins with b'5,0,0'"),
    ],
)
def test_a_file_that_is_something_else(data: bytes, words: str, tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / LABELS).unlink()
    put(tmp_path / f"{LABELS}.gz", data)
    assert problem(tmp_path) == f"{LABELS}.gz: {words}"


def test_a_folder_that_holds_no_data_set(tmp_path: Path) -> None:
    start = f"{IMAGES}: missing, plain and .gz "
    assert problem(tmp_path / "none") == f"{start}(No such file or directory)"
    assert problem(tmp_path) == f"{start}(the folder is empty)"
    put(tmp_path / "file", b"")
    assert problem(tmp_path / "file") == f"{start}(a file, expected the folder that holds it)"
    put(tmp_path / "mnist.tgz", b"")
    assert problem(tmp_path / "mnist.tgz") == f"{start}(a file, an archive: unpack it)"
    (tmp_path / "mnist.tgz").unlink()
    for name in ("a.txt", "b.txt", "mnist.zip", "train.csv", "training.pt", "mnist.npz", f"{TEST_LABELS}.crdownload"):
        put(tmp_path / name, b"")
    assert problem(tmp_path) == (
        f"{start}(found mnist.npz, without x_train, y_train, x_test and y_test; mnist.zip, an archive: unpack it; "
        f"{TEST_LABELS}.crdownload, an unfinished download; train.csv, not one of two tables with labels, such as "
        "mnist_train.csv and mnist_test.csv; training.pt, a pickle, which is never read; 3 more)"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read(tmp_path: Path) -> None:
    tmp_path.chmod(0)
    assert "Permission denied" in problem(tmp_path)
    tmp_path.chmod(0o700)


def test_the_missing_file_of_the_fullest_set_is_named(tmp_path: Path) -> None:
    write(tmp_path / "inner")
    (tmp_path / "inner" / TEST_LABELS).unlink()
    put(tmp_path / IMAGES, CONTENTS[IMAGES])
    assert problem(tmp_path) == f"{TEST_LABELS}: missing, plain and .gz (found inner; {IMAGES})"


# Arrays


@pytest.mark.parametrize("names", arrays._NAMES)
@pytest.mark.parametrize("flat", [True, False])
def test_arrays_of_keras(names: tuple[str, ...], flat: bool, tmp_path: Path) -> None:
    given = [array.reshape(len(array), -1) if flat else array for array in ARRAYS.values()]
    given[1] = given[1].astype(np.int64)
    np.savez_compressed(tmp_path / "mnist.npz", **dict(zip(names, given, strict=True)))  # type: ignore[arg-type]
    assert folder.read(tmp_path) == CONTENTS
    assert folder.read(tmp_path / "mnist.npz") == CONTENTS


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("x_train", ARRAYS["x_train"] / 255, "float64, expected integers from 0 to 255"),
        ("x_train", ARRAYS["x_train"].astype(np.int32) + 200, "values from 200 to "),
        ("x_test", np.zeros((2, 32, 32), np.uint8), "shape (2, 32, 32), expected (count, 28, 28) or (count, 784)"),
        ("y_test", np.zeros((2, 10), np.uint8), "shape (2, 10), expected (count,)"),
        ("y_train", np.array([-1, 2, 3, 4]), "values from -1 to 4, expected 0 to 255"),
        ("y_train", np.array(["a", "b"]), "<U1, expected integers from 0 to 255"),
    ],
)
def test_arrays_of_another_kind(name: str, array: NDArray[Any], words: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "mnist.npz", **{**ARRAYS, name: array})  # type: ignore[arg-type]
    assert problem(tmp_path).startswith(f"mnist.npz: {name}: {words}")


class Malicious:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def npz(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)


def npy(array: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def test_a_pickle_in_arrays_is_never_read(tmp_path: Path) -> None:
    made = tmp_path / "made"
    for data in (npy(np.array([Malicious(made)], object)), pickle.dumps(Malicious(made)), b"", npy(np.zeros(99))[:-9]):
        npz(tmp_path / "mnist.npz", {**{name: npy(array) for name, array in ARRAYS.items()}, "x_train": data})
        assert problem(tmp_path) == (
            "mnist.npz: x_train: damaged, or not an array of numbers (pickled objects are never read)"
        )
    assert not made.exists()


def test_small_arrays_of_a_huge_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "LARGEST", 1_000_000)
    np.savez_compressed(tmp_path / "mnist.npz", **{**ARRAYS, "x_train": np.zeros((5000, 28, 28), np.uint8)})  # type: ignore[arg-type]
    assert problem(tmp_path) == "mnist.npz: x_train: more than 1000000 bytes"
    header = npy(np.zeros((4, 28, 28), np.uint8))[:128].replace(b"(4, 28, 28), }   ", b"(9999999, 28, 28)}")
    npz(tmp_path / "mnist.npz", {**{name: npy(array) for name, array in ARRAYS.items()}, "x_train": header})
    assert problem(tmp_path).startswith("mnist.npz: x_train: ")


def test_damaged_arrays_are_refused_or_read(tmp_path: Path) -> None:
    for compress in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA):
        with zipfile.ZipFile(tmp_path / "mnist.npz", "w", compress) as archive:
            for name, array in ARRAYS.items():
                archive.writestr(f"{name}.npy", npy(array))
        whole = (tmp_path / "mnist.npz").read_bytes()
        random = np.random.default_rng(0)
        for _ in range(100):
            damaged = bytearray(whole)
            for at in random.choice([*range(200), *range(len(whole) - 400, len(whole))], 3):
                damaged[at] = random.integers(256)
            put(tmp_path / "mnist.npz", bytes(damaged)[: random.integers(len(whole) // 2, len(whole) + 1)])
            with contextlib.suppress(UserError):
                assert folder.read(tmp_path) == CONTENTS


# Tables


def table(part: str, header: str = "") -> bytes:
    rows = np.column_stack([ARRAYS[f"y_{part}"], ARRAYS[f"x_{part}"].reshape(-1, 784)])
    return (header + "".join(",".join(map(str, row)) + "\r\n" for row in rows.tolist())).encode()


def labels_last(part: str) -> bytes:
    pixels = ARRAYS[f"x_{part}"].reshape(-1, 784).copy()
    pixels[:, 0] = 0
    rows = np.column_stack([pixels, np.arange(len(pixels))])
    return "".join(",".join(map(str, row)) + "\n" for row in rows.tolist()).encode()


HEADER = ",".join(["label", *(f"pixel{at}" for at in range(784))]) + "\n"


@pytest.mark.parametrize("header", ["", HEADER, HEADER.replace("label", '"label"'), f"\ufeff{HEADER}"])
@pytest.mark.parametrize(
    ("train", "test", "pack"),
    [
        ("mnist_train.csv", "mnist_test.csv", bytes),
        ("train.csv", "test.csv", bytes),
        ("Fashion-MNIST_Train.CSV", "fashion-mnist_test.csv", bytes),
        ("mnist_train_small.csv", "mnist_test.csv", bytes),
        ("csv/mnist_train.csv.gz", "csv/mnist_test.csv.gz", gzip.compress),
    ],
)
def test_tables_with_labels(train: str, test: str, pack: Callable[[bytes], bytes], header: str, tmp_path: Path) -> None:
    put(tmp_path / train, pack(table("train", header)))
    put(tmp_path / test, pack(table("test", header)))
    put(tmp_path / "sample_submission.csv", b"ImageId,Label\n1,0\n")
    assert folder.read(tmp_path) == CONTENTS


def test_several_pairs_of_tables(tmp_path: Path) -> None:
    for name in ("a", "b"):
        put(tmp_path / f"{name}_train.csv", table("train"))
        put(tmp_path / f"{name}_test.csv", table("test"))
    told = "holds several data sets (a_train.csv and a_test.csv, b_train.csv and b_test.csv): set data.directory"
    assert problem(tmp_path).startswith(told)
    (tmp_path / "b_test.csv").unlink()
    assert folder.read(tmp_path) == CONTENTS


def test_the_digit_table_of_kaggle_without_labels(tmp_path: Path) -> None:
    put(tmp_path / "train.csv", table("train", HEADER))
    put(tmp_path / "test.csv", (HEADER.partition(",")[2] + ",".join(["0"] * 784) + "\n").encode())
    assert problem(tmp_path) == (
        "test.csv: 784 columns, so pixels without labels, which cannot serve as training or test images; expected two "
        "tables with labels, such as mnist_train.csv and mnist_test.csv"
    )


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "1 columns, expected 785 with commas between: the label, then 784 pixels"),
        (table("test").replace(b",", b";"), "1 columns, expected 785 with commas between"),
        (HEADER.encode(), "holds no rows"),
        (b"0," * 60_000, "a row of more than 100000 bytes, expected a label and 784 pixels"),
        (table("test") + b"0" * 200_000, "a row of more than 100000 bytes, expected a label and 784 pixels"),
        ((",".join(["p"] * 784) + ",label\n").encode() + table("test"), "the label is column 785, expected first"),
        (
            (",".join([*(f"pixel{at}" for at in range(784)), "Class"]) + "\n").encode() + table("test"),
            "the label is column 785, expected first",
        ),
        (labels_last("test"), "the label seems to be column 785, expected first"),
        (table("test") + b"3,4\r\n", "the number of columns changed from 785 to 2 at row 3; expected integers"),
        (table("test").replace(b",", b",x", 1), "could not convert string 'x"),
        (b"300" + table("test")[1:], "could not convert string '300' to uint8"),
        (b"-1" + table("test")[1:], "could not convert string '-1' to uint8"),
        (b"0.5" + table("test")[1:], "could not convert string '0.5' to uint8"),
        (b"\xff\xfe\0" + table("test"), "could not convert string"),
    ],
)
def test_a_table_of_another_kind(data: bytes, words: str, tmp_path: Path) -> None:
    put(tmp_path / "train.csv", table("train"))
    put(tmp_path / "test.csv", data)
    assert problem(tmp_path).startswith(f"test.csv: {words}")


def test_a_label_of_another_class_is_left_to_the_parser(tmp_path: Path) -> None:
    write(tmp_path, contents={**CONTENTS, LABELS: encode_labels(np.array([1, 2, 26, 3], np.uint8))})
    with pytest.raises(UserError, match=f"{LABELS}: label 26 at position 2, expected 0 to 9"):
        parse_set(folder.read(tmp_path))


def test_a_table_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "LARGEST", 100)
    put(tmp_path / "train.csv", table("train"))
    put(tmp_path / "test.csv", table("test"))
    assert problem(tmp_path) == "train.csv: more than 100 bytes"
