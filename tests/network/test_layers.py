"""Layers by themselves; `test_perceptron.py` compares the networks made of them with formulas by hand."""

import torch

from pipeline.network.layers import Linear, Noise


def test_noise_has_the_published_distribution() -> None:
    noise = Noise([0], 0)
    zeros, ones = torch.zeros(1, 2000, 300), torch.ones(1, 2000, 300)
    shift = noise(zeros)[0].double()
    assert abs(float(shift.mean(0).std()) - 1 / 12**0.5) < 0.03  # U(-0.5, 0.5) over units
    assert float(shift.mean(0).abs().max()) < 0.51
    torch.testing.assert_close(shift.std(0), torch.full((300,), 0.2 / 12**0.5, dtype=torch.float64), rtol=0.06, atol=0)
    noise.steps.zero_()
    factor = noise(ones)[0].double() - shift
    assert 0.99 < float(factor.mean(0).min()) < 1.02
    assert 1.23 < float(factor.mean(0).max()) < 1.26  # U(1, 1.25)
    torch.testing.assert_close(factor.std(0), torch.full((300,), 0.1, dtype=torch.float64), rtol=0.12, atol=0)


def test_noise_changes_with_step_layer_and_seed_and_not_with_company() -> None:
    first, second, values = Noise([3, 9], 0), Noise([3, 9], 1), torch.ones(2, 5, 8)
    one, again, other = first(values), first(values), second(values)
    drawn = [one[0], one[1], again[0], other[0]]
    assert not any(torch.equal(a, b) for at, a in enumerate(drawn) for b in drawn[:at])
    assert torch.equal(Noise([9], 0)(values[:1])[0], one[1])
    assert first.steps.tolist() == [2, 2]


def test_one_input_for_all_members_gives_what_a_copy_for_each_gives() -> None:
    linear, generator = Linear(3, 5, 4), torch.Generator().manual_seed(0)
    for member in range(3):
        linear.draw(member, generator, None)
    shared = torch.randn(6, 5, generator=generator)
    torch.testing.assert_close(linear(shared), linear(shared.expand(3, -1, -1)))
