"""Threads, denormal numbers and the choice of the device."""

from collections.abc import Callable

import pytest
import torch

from pipeline.errors import UserError
from pipeline.network.device import configure_device, device_memory
from pipeline.params import Params


def test_threads_and_precision_are_set_and_denormals_flushed(params: Callable[..., Params]) -> None:
    settings = params(device="cpu", threads="3", matmul_precision="medium").train
    assert configure_device(settings) == torch.device("cpu")
    assert torch.get_num_threads() == 3
    assert torch.get_float32_matmul_precision() == "medium"
    tiny = torch.tensor([1e-30])
    assert (tiny * 1e-10).item() == 0


def test_auto_takes_cuda_where_there_is_one(params: Callable[..., Params]) -> None:
    assert configure_device(params(device="auto").train).type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_where_there_is_none_is_told_in_one_line(params: Callable[..., Params]) -> None:
    with pytest.raises(UserError) as caught:
        configure_device(params(device="cuda").train)
    expected = "train.device = 'cuda': PyTorch finds no CUDA device here; use 'auto' or 'cpu'"
    assert str(caught.value) == expected


def test_the_processors_memory_is_no_limit() -> None:
    assert device_memory(torch.device("cpu")) is None
