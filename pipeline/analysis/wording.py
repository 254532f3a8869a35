"""Words for parameters and their values, as figures and answers show them."""

from collections.abc import Collection, Mapping, Sequence

from pipeline.params import Params

DATASETS = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "kmnist": "KMNIST", "custom": "custom images"}
OPTIMIZERS = {"adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSprop", "sgd": "SGD"}
KEYS = {
    "data.dataset": "images",
    "train.lr": "learning rate",
    "train.batch_size": "batch size",
    "train.weight_decay": "weight decay",
    "model.hidden": "hidden units",
    "model.norm_position": "normalisation",
    "model.initial_deviation": "initial deviation",
}
VALUES = {
    **DATASETS,
    **OPTIMIZERS,
    "relu": "ReLU",
    "after_activation": "after the activation",
    "before_activation": "before the activation",
    "true": "yes",
    "True": "yes",
    "false": "no",
    "False": "no",
    "null": "default",
}


def key_words(key: str) -> str:
    """Return the words for a parameter's dotted name, such as `learning rate` for `train.lr`."""
    return KEYS.get(key, key.split(".")[-1].replace("_", " "))


def value_words(text: str) -> str:
    """Return the words for a parameter's value, such as `Adam` for `adam`."""
    return VALUES.get(text, text)


def point_words(values: Mapping[str, str]) -> str:
    """Return the words for a point of a grid, such as `learning rate 0.1, optimizer Adam`."""
    return ", ".join(f"{key_words(key)} {value_words(text)}" for key, text in values.items())


def setting(params: Params, varied: Collection[str] = ()) -> str:
    """Return data set, network and training in one phrase, without the parameters that are `varied`."""
    train, model = params.train, params.model
    hidden, batches, epochs = "model.hidden" in varied, "train.batch_size" in varied, "train.epochs" in varied
    size = "" if hidden else f"{'-'.join(map(str, model.hidden))} "
    parts = [
        *([] if "data.dataset" in varied else [DATASETS[params.data.dataset]]),
        f"{size}hidden {'' if 'model.activation' in varied else value_words(model.activation) + ' '}units",
        *([] if "train.optimizer" in varied else [OPTIMIZERS[train.optimizer]]),
        *([] if "train.lr" in varied else [f"learning rate {train.lr:g}"]),
        *([] if batches else [f"batches of {train.batch_size}"]),
        *([] if epochs else [count_of(train.epochs, "epoch")]),
    ]
    return ", ".join(parts)


def count_of(count: int, noun: str) -> str:
    """Return a count with its noun, such as `1 pair` or `10 pairs`."""
    return f"{count} {noun}{'s' * (count != 1)}"


def join_words(words: Sequence[str]) -> str:
    """Return words as a list in a sentence, such as `a and b` or `a, b and c`."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def seed_words(seeds: Sequence[int]) -> str:
    """Return the words for seeds, such as `seeds 0 to 9`, `seeds 3, 5` or `seed 7`."""
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    if len(seeds) > 2 and [*seeds] == [*range(seeds[0], seeds[-1] + 1)]:
        return f"seeds {seeds[0]} to {seeds[-1]}"
    return f"seeds {', '.join(map(str, seeds))}"


def duration(seconds: float) -> str:
    """Return a time as a person says it, such as `48 s`, `12 min` or `1 h 25 min`."""
    minutes = round(seconds / 60)
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
