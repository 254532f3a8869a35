"""How populations are cut into parts."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pipeline.params import Params
from pipeline.parts import checkpoint_file, cut
from tests.samples import population

Make = Callable[..., Params]


def seeds_of(params: Params, least: int, memory: int | None = None, folder: Path | None = None) -> list[list[int]]:
    return [[*part.seeds] for part in cut(population(params, "batchnorm"), least, memory, folder)]


@pytest.mark.parametrize(("least", "parts"), [(1, [[7, 3, 9, 4]]), (2, [[7, 3], [9, 4]]), (9, [[7], [3], [9], [4]])])
def test_on_one_thread_every_worker_has_a_part(params: Make, least: int, parts: list[list[int]]) -> None:
    assert seeds_of(params(seeds="7,3,9,4", batch_size="60"), least) == parts


@pytest.mark.parametrize("least", [1, 2])
@pytest.mark.parametrize("setting", [{"threads": "2"}, {"matmul_precision": "medium"}])
def test_where_others_beside_it_change_its_rounding_each_network_is_one(
    params: Make, tmp_path: Path, setting: dict[str, str], least: int
) -> None:
    settings = params(seeds="7,3,9,4", batch_size="60", **setting)
    assert seeds_of(settings, least) == [[7], [3], [9], [4]]
    checkpoint_file(tmp_path, population(params(seeds="3,9"), "batchnorm")).touch()
    assert seeds_of(settings, least, folder=tmp_path) == [[7], [3], [9], [4]]
    assert len(seeds_of(settings, least, memory=10**12)) == least  # on CUDA


@pytest.mark.parametrize(
    ("begun", "least", "parts"),
    [
        ([[7, 3, 9, 4, 2]], 2, [[7, 3, 9, 4, 2]]),
        ([[3, 9]], 2, [[7], [3, 9], [4, 2]]),
        ([[9, 4, 2]], 3, [[7], [3], [9, 4, 2]]),
        ([[7, 3], [9, 4, 2]], 1, [[7, 3], [9, 4, 2]]),
        ([[7, 3], [3, 9]], 1, [[7, 3], [9, 4, 2]]),
        ([[3, 7], [7, 9], [1, 5]], 1, [[7, 3, 9, 4, 2]]),  # of other populations
    ],
)
def test_parts_that_an_earlier_training_has_begun_go_on(
    params: Make, tmp_path: Path, begun: Sequence[Sequence[int]], least: int, parts: list[list[int]]
) -> None:
    whole = params(seeds="7,3,9,4,2", batch_size="60")
    for seeds in begun:
        checkpoint_file(tmp_path, population(params(seeds=",".join(map(str, seeds))), "batchnorm")).touch()
    (tmp_path / "of-somebody.checkpoint").touch()
    assert seeds_of(whole, least, folder=tmp_path) == parts
