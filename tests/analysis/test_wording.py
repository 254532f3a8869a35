"""Words for parameters, as figures show them."""

from collections.abc import Callable

from pipeline.analysis.wording import DATASETS, OPTIMIZERS, count_of, duration, key_words, point_words, setting
from pipeline.params import Data, Params, Train


def test_a_setting_leaves_out_what_is_varied(params: Callable[..., Params]) -> None:
    assert setting(params()) == (
        "MNIST, 100-100 hidden sigmoid units, Adam, learning rate 0.1, batches of 2000, 5 epochs"
    )
    varied = ("train.lr", "train.optimizer", "model.hidden", "model.activation", "train.batch_size", "train.epochs")
    assert setting(params(), varied) == "MNIST, hidden units"
    assert setting(params(activation="relu", epochs="1"), varied[:3]) == (
        "MNIST, hidden ReLU units, batches of 2000, 1 epoch"
    )


def test_points_and_keys_have_words() -> None:
    assert point_words({"train.lr": "0.1", "model.norm_position": "after_activation"}) == (
        "learning rate 0.1, normalisation after the activation"
    )
    assert key_words("train.weight_decay") == "weight decay"
    assert key_words("train.momentum") == "momentum"
    assert (count_of(1, "pair"), count_of(2, "pair")) == ("1 pair", "2 pairs")


def test_times_are_said_as_people_say_them() -> None:
    assert [duration(seconds) for seconds in (0, 0.6, 99.4, 99.6, 3569, 3571, 5100, 90_000)] == [
        "0 s", "1 s", "99 s", "2 min", "59 min", "1 h 0 min", "1 h 25 min", "25 h 0 min"
    ]  # fmt: skip


def test_every_data_set_and_optimizer_has_a_name() -> None:
    assert set(DATASETS) == set(Data.model_fields["dataset"].annotation.__args__)  # type: ignore[union-attr]
    assert set(OPTIMIZERS) == set(Train.model_fields["optimizer"].annotation.__args__)  # type: ignore[union-attr]
