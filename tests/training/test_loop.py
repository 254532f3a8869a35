"""The training loop against plain PyTorch, one network at a time."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pipeline.data.dataset import PIXELS, Examples, batch_order
from pipeline.network import activations
from pipeline.network.metrics import member_losses
from pipeline.network.network import Network
from pipeline.network.perceptron import Perceptron
from pipeline.params import ALL_VARIANTS, Params, Variant
from pipeline.training.checkpoint import Checkpoint
from pipeline.training.loop import Epoch, Trained, fit
from pipeline.training.measure import Probing
from pipeline.training.optimizers import OPTIMIZERS
from pipeline.training.part import PartTraining
from pipeline.training.population import ROWS_AT_ONCE, Population
from tests.reference import optimizer as reference_optimizer
from tests.reference import reference
from tests.samples import KINDS, population

SETTINGS = {"hidden": "6,4", "groups": "2", "seeds": "3,1,8", "epochs": "3", "batch_size": "16"}

Make = Callable[..., Params]
Images = Callable[..., Examples]


def nothing(network: Network) -> dict[str, Tensor]:
    return {"none": torch.zeros(len(next(network.parameters())))}


def on(held: Examples) -> Callable[[Network], dict[str, Tensor]]:
    """Measure loss and logits on held-out images."""

    def measure(network: Network) -> dict[str, Tensor]:
        logits = network(held.images)
        return {"loss": member_losses(logits, held.labels.expand(len(logits), -1)), "logits": logits}

    return measure


def equal(one: Trained, other: Trained) -> bool:
    pairs = [(one.weights, other.weights), (one.measured, other.measured)]
    return torch.equal(one.loss, other.loss) and all(
        a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a) for a, b in pairs
    )


@pytest.fixture
def _float64(monkeypatch: pytest.MonkeyPatch) -> None:
    single = Population.network
    monkeypatch.setattr(Population, "network", lambda self: single(self).double())


def plain_pytorch(
    params: Params, variant: Variant, seed: int, train: Examples, held: Examples
) -> tuple[Tensor, Tensor]:
    """The training losses and the measured losses of one member, as a tutorial would write it."""
    network, loss = reference(params.model, variant, seed).double(), nn.CrossEntropyLoss()
    settings = params.train
    optimizer = reference_optimizer(settings, network.parameters())
    losses, measured = [], []
    for epoch in range(settings.epochs + 1):
        network.eval()
        measured.append(loss(network(held.images), held.labels).item())
        network.train()
        if epoch < settings.epochs:
            for batch in torch.split(batch_order(seed, len(train), epoch), settings.batch_size):
                optimizer.zero_grad()
                value = loss(network(train.images[batch]), train.labels[batch])
                value.backward()
                optimizer.step()
                losses.append(value.item())
    return torch.tensor(losses, dtype=torch.float64), torch.tensor(measured, dtype=torch.float64)


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize(("variant", "position"), KINDS)
@pytest.mark.parametrize(
    "optimizer",
    [
        {"optimizer": "adam", "lr": "0.1"},
        {"optimizer": "adam", "lr": "1e-3", "activation": "tanh"},
        {"optimizer": "adamw", "lr": "0.01", "weight_decay": "1"},
        {"optimizer": "rmsprop", "lr": "0.01"},
        {"optimizer": "sgd", "lr": "0.1", "momentum": "0.9", "activation": "relu"},
        {"optimizer": "sgd", "lr": "0.5", "momentum": "0"},
    ],
    ids=lambda chosen: "-".join(chosen.values()),
)
def test_losses_are_those_of_plain_pytorch(
    params: Make, examples: Images, variant: Variant, position: str, optimizer: dict[str, str]
) -> None:
    chosen = params(**SETTINGS, **optimizer, norm_position=position)
    train, held = (Examples(e.images.double(), e.labels) for e in (examples(50), examples(20, seed=1)))
    trained = fit(population(chosen, variant), train, on(held))
    for member, seed in enumerate(chosen.train.seeds):
        losses, measured = plain_pytorch(chosen, variant, seed, train, held)
        assert len(losses) == 3 * 4
        torch.testing.assert_close(trained.loss[member], losses, rtol=1e-7, atol=1e-10)
        torch.testing.assert_close(trained.measured["loss"][member], measured, rtol=1e-7, atol=1e-10)


def test_training_in_float32_follows_float64(params: Make, examples: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = params(**SETTINGS, lr="0.01")
    single = fit(population(chosen, "batchnorm"), examples(50), nothing)
    assert single.loss.dtype == torch.float32
    network = Population.network
    monkeypatch.setattr(Population, "network", lambda self: network(self).double())
    double = Examples(examples(50).images.double(), examples(50).labels)
    expected = fit(population(chosen, "batchnorm"), double, nothing).loss
    torch.testing.assert_close(single.loss.double(), expected, rtol=1e-3, atol=1e-4)


def seen_batches(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The training batches that the networks will see, as numbers of the images (their first pixel)."""
    seen: list[Tensor] = []
    network = Population.network

    def hooked(self: Population) -> Perceptron:
        built = network(self)
        built.register_forward_pre_hook(
            lambda module, inputs: seen.append(inputs[0][..., 0].round().long()) if module.training else None
        )
        return built

    monkeypatch.setattr(Population, "network", hooked)
    return seen


def numbered(count: int) -> Examples:
    images = torch.zeros(count, PIXELS)
    images[:, 0] = torch.arange(count)
    return Examples(images, torch.arange(count) % 10)


@pytest.mark.parametrize(("count", "sizes"), [(50, [16, 16, 16, 2]), (48, [16, 16, 16]), (7, [7])])
def test_every_image_is_seen_once_an_epoch(
    params: Make, monkeypatch: pytest.MonkeyPatch, count: int, sizes: list[int]
) -> None:
    chosen = params(**SETTINGS)
    seen = seen_batches(monkeypatch)
    trained = fit(population(chosen, "plain"), numbered(count), nothing)
    assert [batch.shape for batch in seen] == 3 * [(3, size) for size in sizes]
    assert trained.loss.shape == (3, 3 * len(sizes))
    for epoch in range(3):
        order = torch.cat(seen[epoch * len(sizes) : (epoch + 1) * len(sizes)], dim=1)
        for member, seed in enumerate(chosen.train.seeds):
            assert torch.equal(order[member].sort().values, torch.arange(count))
            assert torch.equal(order[member], batch_order(seed, count, epoch))


def test_both_variants_of_a_seed_see_the_same_batches(params: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = params(**SETTINGS)
    seen = seen_batches(monkeypatch)
    fit(population(chosen, "plain"), numbered(50), nothing)
    plain = list(seen)
    seen.clear()
    fit(population(chosen, "batchnorm"), numbered(50), nothing)
    assert len(plain) == len(seen) == 12
    assert all(torch.equal(a, b) for a, b in zip(plain, seen, strict=True))


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize(("variant", "position"), KINDS)
def test_a_members_history_does_not_depend_on_the_others(
    params: Make, examples: Images, variant: Variant, position: str
) -> None:
    train, held = (Examples(e.images.double(), e.labels) for e in (examples(50), examples(20, seed=1)))
    together = fit(population(params(**SETTINGS, norm_position=position), variant), train, on(held))
    for member, seed in enumerate((3, 1, 8)):
        alone_settings = params(**SETTINGS | {"seeds": str(seed)}, norm_position=position)
        alone = fit(population(alone_settings, variant), train, on(held))
        torch.testing.assert_close(together.loss[member], alone.loss[0], rtol=1e-8, atol=1e-10)
        for name, history in together.measured.items():
            torch.testing.assert_close(history[member], alone.measured[name][0], rtol=1e-6, atol=1e-8)
        for name, weights in together.weights.items():
            torch.testing.assert_close(weights[member], alone.weights[name][0], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("variant", ALL_VARIANTS)
def test_a_member_that_diverges_does_not_touch_the_others(
    params: Make, examples: Images, monkeypatch: pytest.MonkeyPatch, variant: Variant
) -> None:
    chosen = params(**SETTINGS)
    train, measure = examples(50), on(examples(20, seed=1))
    healthy = fit(population(chosen, variant), train, measure)
    network = Population.network

    def spoilt(self: Population) -> Perceptron:
        built = network(self)
        if 1 in self.seeds:
            with torch.no_grad():
                built.linears[0].get_parameter("weight")[self.seeds.index(1)] = torch.nan
        return built

    monkeypatch.setattr(Population, "network", spoilt)
    diverging = fit(population(chosen, variant), train, measure)
    assert diverging.loss[1].isnan().all()
    assert diverging.measured["loss"][1].isnan().all()
    for member in (0, 2):
        assert healthy.loss[member].isfinite().all()
        assert torch.equal(diverging.loss[member], healthy.loss[member])
        assert torch.equal(diverging.measured["loss"][member], healthy.measured["loss"][member])
        assert all(
            torch.equal(weights[member], healthy.weights[name][member]) for name, weights in diverging.weights.items()
        )


@pytest.mark.parametrize(
    ("batch_size", "workers", "sizes"),
    [
        (2000, 1, 10 * [1]),
        (500, 1, [3, 3, 4]),
        (200, 1, [10]),
        (9000, 3, 10 * [1]),
        (1, 1, [10]),
        (1, 2, [5, 5]),
        (1, 4, [2, 3, 2, 3]),
        (1, 99, 10 * [1]),
    ],
)
def test_parts_are_as_large_as_the_caches_allow_and_enough_for_all_workers(
    params: Make, batch_size: int, workers: int, sizes: list[int]
) -> None:
    whole = population(params(batch_size=str(batch_size)), "batchnorm")
    parts = whole.parts(workers)
    assert [len(part.seeds) for part in parts] == sizes
    assert all(len(part.seeds) == 1 or len(part.seeds) * batch_size <= ROWS_AT_ONCE for part in parts)
    assert tuple(seed for part in parts for seed in part.seeds) == whole.seeds
    assert all((part.variant, part.model, part.train) == ("batchnorm", whole.model, whole.train) for part in parts)


def test_on_a_device_parts_are_as_large_as_its_memory_allows(params: Make) -> None:
    whole = population(params(seeds=",".join(map(str, range(1000)))), "batchnorm")
    sizes = {
        memory: [len(part.seeds) for part in whole.parts(memory=memory)] for memory in (10**6, 24 * 10**9, 80 * 10**9)
    }
    assert [sum(size) for size in sizes.values()] == [1000, 1000, 1000]
    assert sizes[10**6] == 1000 * [1]
    assert 100 < sizes[24 * 10**9][0] < 500 <= sizes[80 * 10**9][0] < 1000
    assert tuple(seed for part in whole.parts(memory=24 * 10**9) for seed in part.seeds) == whole.seeds


@pytest.mark.parametrize(("variant", "position"), KINDS)
@pytest.mark.parametrize("overrides", [{}, {"binary_input": "true", "noise": "true"}])
@pytest.mark.parametrize("batch", [50, 500])
def test_what_a_step_keeps_is_less_than_half_of_what_a_part_may_take(
    params: Make, examples: Images, variant: Variant, position: str, batch: int, overrides: dict[str, str]
) -> None:
    """The other half is for gradients, the optimizer and what comes and goes."""
    sizes = {"batch_size": str(batch), "validation_batch_size": "1"}
    whole = population(params(**sizes, **overrides, norm_position=position), variant)
    images = examples(batch).images.expand(len(whole.seeds), -1, -1).contiguous()
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = whole.network()(images)
        member_losses(logits, torch.zeros(logits.shape[:2], dtype=torch.int64))
    allowed = len(whole.seeds) * whole.bytes_per_member()
    assert 0.1 * allowed < sum(kept.values()) < 0.5 * allowed


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(("variant", "position"), KINDS)
def test_no_step_waits_for_a_device(params: Make, variant: Variant, position: str, optimizer: str) -> None:
    """The device `meta` computes shapes alone: whatever asked for a value would raise."""
    chosen = population(params(**SETTINGS, norm_position=position, optimizer=optimizer), variant)
    examples = Examples(torch.empty(50, PIXELS, device="meta"), torch.empty(50, dtype=torch.int64, device="meta"))
    training = PartTraining(chosen, examples, on(examples), Probing(range(0, 9, 2), on(examples)))
    training.run_epoch()
    training.run_epoch()
    assert [losses.shape for losses in training.losses] == 2 * [(3, 4)]
    assert [len(values) for values in training.histories.values()] == [3, 3, 5, 5]
    with pytest.raises(NotImplementedError, match="no data"):
        training.state()


def test_with_noise_every_step_waits(params: Make) -> None:
    chosen = population(params(**SETTINGS, noise="true"), "batchnorm")
    examples = Examples(torch.empty(50, PIXELS, device="meta"), torch.empty(50, dtype=torch.int64, device="meta"))
    with pytest.raises(NotImplementedError, match="no data"):
        PartTraining(chosen, examples, on(examples)).run_epoch()


@pytest.mark.parametrize(("variant", "position"), KINDS)
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop", "sgd"])
@pytest.mark.parametrize("batch_size", ["7", "40", "300"])
def test_a_members_bytes_do_not_depend_on_the_others(
    params: Make, examples: Images, variant: Variant, position: str, optimizer: str, batch_size: str
) -> None:
    """On one thread: whichever parts a population is trained in, its results are the same."""
    own = {"hidden": "33,18", "groups": "3", "seeds": "3,1,8,5,0", "epochs": "1", "batch_size": batch_size}
    chosen = population(params(**own, optimizer=optimizer, norm_position=position), variant)
    train, held = examples(611), examples(57, seed=1)

    def measure(network: Network) -> dict[str, Tensor]:
        return activations.measure(network, "sigmoid", held, 40)

    whole = fit(chosen, train, measure)
    for count in (2, 3, 5):
        parts = [fit(part, train, measure) for part in chosen.parts(count)]
        assert len(parts) == count
        assert equal(Trained.join(parts), whole)


@pytest.mark.parametrize(
    ("variant", "settings", "trained"),
    [
        ("batchnorm", {"weights": "norms"}, {"norms"}),
        ("layernorm", {"weights": "norms"}, {"norms"}),
        ("batchnorm", {"affine": "false"}, {"linears"}),
        ("plain", {"weights": "norms"}, {"linears"}),
        ("batchnorm", {"weights": "norms", "affine": "false"}, {"linears"}),
    ],
)
def test_weights_that_are_not_trained_stay(
    params: Make, examples: Images, variant: Variant, settings: dict[str, str], trained: set[str]
) -> None:
    """All that should learn does, nothing else does, and members stay independent."""
    chosen, train = population(params(**SETTINGS, **settings), variant), examples(50)
    before = chosen.network().state_dict()
    whole = fit(chosen, train)
    moved = {name.split(".")[0] for name, values in whole.weights.items() if not torch.equal(values, before[name])}
    assert moved - {"norms"} == trained - {"norms"}
    moving = [name for name, weight in chosen.network().named_parameters() if weight.requires_grad]
    assert {name.split(".")[0] for name in moving} == trained
    assert all(not torch.equal(whole.weights[name], before[name]) for name in moving)
    assert equal(Trained.join([fit(part, train) for part in chosen.parts(3)]), whole)


def test_measurements_start_before_training_and_follow_every_epoch(params: Make, examples: Images) -> None:
    chosen = params(**SETTINGS)
    train, held = examples(50), examples(20, seed=1)
    trained = fit(population(chosen, "batchnorm"), train, on(held))
    assert trained.loss.shape == (3, 12)
    assert trained.measured["loss"].shape == (3, 4)
    assert trained.measured["logits"].shape == (3, 4, 20, 10)
    untrained = population(chosen, "batchnorm").network().eval()
    assert torch.equal(trained.measured["logits"][:, 0], untrained(held.images))
    final = population(chosen, "batchnorm").network().eval()
    final.load_state_dict(trained.weights)
    assert torch.equal(trained.measured["logits"][:, 3], final(held.images))
    assert trained.weights.keys() == untrained.state_dict().keys()
    assert not trained.loss.requires_grad
    assert not any(tensor.requires_grad for tensor in (*trained.weights.values(), *trained.measured.values()))


def test_the_network_is_measured_in_evaluation_mode_without_gradients(params: Make, examples: Images) -> None:
    seen: list[tuple[bool, bool]] = []

    def measure(network: Network) -> dict[str, Tensor]:
        seen.append((any(module.training for module in network.modules()), torch.is_grad_enabled()))
        return nothing(network)

    fit(population(params(**SETTINGS), "batchnorm"), examples(50), measure)
    assert seen == 4 * [(False, False)]
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("variant", ["plain", "batchnorm"])
def test_measuring_does_not_change_the_training(params: Make, examples: Images, variant: Variant) -> None:
    def heavy(network: Network) -> dict[str, Tensor]:
        torch.manual_seed(7)
        for size in (3, 20):
            network(torch.randn(size, PIXELS) * 100)
        return nothing(network)

    chosen, train = population(params(**SETTINGS), variant), examples(50)
    with torch.random.fork_rng():
        measured = fit(chosen, train, heavy)
    assert equal(measured, fit(chosen, train, nothing))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_again_is_bit_identical(params: Make, examples: Images, optimizer: str) -> None:
    chosen = population(params(**SETTINGS, optimizer=optimizer), "batchnorm")
    measure = on(examples(20, seed=1))
    first = fit(chosen, examples(50), measure)
    torch.rand(5)
    assert equal(first, fit(chosen, examples(50), measure))


def test_epochs_are_reported_as_they_end(params: Make, examples: Images) -> None:
    told: list[Epoch] = []
    trained = fit(population(params(**SETTINGS), "plain"), examples(50), on(examples(20, seed=1)), on_epoch=told.append)
    assert [(epoch.seeds, epoch.number) for epoch in told] == [((3, 1, 8), number) for number in (1, 2, 3)]
    for epoch in told:
        of_epoch = trained.loss[:, 4 * (epoch.number - 1) : 4 * epoch.number].mean(1)
        torch.testing.assert_close(torch.tensor(epoch.train_loss), of_epoch)
        assert epoch.measured == {"loss": tuple(trained.measured["loss"][:, epoch.number].tolist())}


NOISY = SETTINGS | {"noise": "true"}


def test_probes_measure_within_epochs(params: Make, examples: Images) -> None:
    chosen, train, held = population(params(**SETTINGS), "batchnorm"), examples(50), examples(20, seed=1)
    probed = fit(chosen, train, on(held), probing=Probing([0, 2, 3, 6, 9, 12], on(held)))
    assert probed.probed["loss"].shape == (3, 6)  # 3 epochs of 4 iterations
    assert torch.equal(probed.probed["logits"][:, [0, 5]], probed.measured["logits"][:, [0, 3]])
    every = fit(chosen, train, on(held), probing=Probing(range(13), on(held)))
    assert torch.equal(every.probed["logits"][:, [0, 2, 3, 6, 9, 12]], probed.probed["logits"])
    assert torch.equal(every.probed["logits"][:, ::4], every.measured["logits"])
    assert fit(chosen, train, on(held), probing=Probing(range(0, 13, 5), on(held))).probed["loss"].shape == (3, 3)


@pytest.mark.parametrize("variant", ["plain", "batchnorm"])
def test_probing_does_not_change_the_training(params: Make, examples: Images, variant: Variant) -> None:
    chosen, train, held = population(params(**NOISY), variant), examples(50), examples(20, seed=1)

    def probe(network: Network) -> dict[str, Tensor]:
        with network.batch_statistics(), torch.enable_grad():
            loss = member_losses(network(held.images), held.labels.expand(3, -1)).sum()
            torch.autograd.grad(loss, list(network.parameters()))
        return nothing(network)

    assert equal(fit(chosen, train, on(held), probing=Probing(range(13), probe)), fit(chosen, train, on(held)))


class Memory(Checkpoint):
    """Keeps the state in memory, and stops the training at one of them."""

    def __init__(self, stop: int | None = None) -> None:
        super().__init__(Path())
        self.state: dict[str, Tensor] | None = None
        self.left = stop

    def load(self) -> dict[str, Tensor] | None:
        return self.state

    def is_due(self) -> bool:
        return True

    def save(self, state: Mapping[str, Tensor], last: bool = False) -> None:  # noqa: ARG002
        self.state = {name: tensor.clone() for name, tensor in state.items()}
        if self.left is not None:
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt


@pytest.mark.parametrize("stop", [1, 2, 3])
@pytest.mark.parametrize(
    "settings",
    [{"noise": "true"}, {"optimizer": "adamw"}, {"optimizer": "rmsprop"}, {"optimizer": "sgd"}],
    ids=["adam-noise", "adamw", "rmsprop", "sgd"],
)
@pytest.mark.parametrize("variant", ["plain", "batchnorm"])
def test_a_resumed_training_is_as_if_it_had_never_stopped(
    params: Make, examples: Images, variant: Variant, settings: dict[str, str], stop: int
) -> None:
    chosen, train, held = population(params(**SETTINGS | settings), variant), examples(50), examples(20, seed=1)
    probing = Probing(range(0, 13, 3), on(held))
    memory = Memory(stop)
    with pytest.raises(KeyboardInterrupt):
        fit(chosen, train, on(held), probing=probing, checkpoint=memory)
    told: list[Epoch] = []
    resumed = fit(chosen, train, on(held), on_epoch=told.append, probing=probing, checkpoint=memory)
    undisturbed = fit(chosen, train, on(held), probing=probing)
    assert equal(resumed, undisturbed)
    assert all(torch.equal(values, undisturbed.probed[name]) for name, values in resumed.probed.items())
    assert [epoch.number for epoch in told] == list(range(stop, 4))


def test_the_end_is_saved_however_short_the_training(params: Make, examples: Images, tmp_path: Path) -> None:
    chosen, train = population(params(**SETTINGS), "batchnorm"), examples(50)
    checkpoint = Checkpoint(tmp_path / "one.checkpoint")
    trained = fit(chosen, train, nothing, checkpoint=checkpoint)
    assert (tmp_path / "one.checkpoint").is_file()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PartTraining, "run_epoch", lambda _: pytest.fail("it is trained again"))
        assert equal(fit(chosen, train, nothing, checkpoint=checkpoint), trained)
