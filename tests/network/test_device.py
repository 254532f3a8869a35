"""Threads, denormal numbers and the choice of the device."""

from collections.abc import Iterator

import pytest
import torch

from pipeline.errors import UserError
from pipeline.network.device import configure_device, device_memory


@pytest.fixture
def _same_threads() -> Iterator[None]:
    """Undo `configure_device`, which sets the threads and the treatment of denormal numbers for the whole process."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)


@pytest.mark.usefixtures("_same_threads")
def test_threads_are_set_and_denormals_flushed() -> None:
    assert configure_device("cpu", 1) == torch.device("cpu")
    assert torch.get_num_threads() == 1
    configure_device("cpu", "auto")
    assert torch.get_num_threads() == 1
    torch.set_num_threads(10)
    configure_device("cpu", "auto")
    assert torch.get_num_threads() == 8
    tiny = torch.tensor([1e-30])
    assert (tiny * 1e-10).item() == 0


@pytest.mark.usefixtures("_same_threads")
def test_auto_takes_cuda_where_there_is_one() -> None:
    assert configure_device("auto", "auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.usefixtures("_same_threads")
def test_cuda_where_there_is_none_is_told_in_one_line() -> None:
    with pytest.raises(UserError) as caught:
        configure_device("cuda", "auto")
    expected = "train.device = 'cuda': PyTorch finds no CUDA device here; use 'auto' or 'cpu'"
    assert str(caught.value) == expected


def test_the_processors_memory_is_no_limit() -> None:
    assert device_memory(torch.device("cpu")) is None
