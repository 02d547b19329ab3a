"""The transforms and the density, against their formulas."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch.nn import functional as F

from anonbench.codec.density import LEAST, Density, bits
from anonbench.codec.networks import BETA_LEAST, Architecture, Codec, Gdn, LowerBound, multiplications, padded
from anonbench.codec.tables import TAIL, TOTAL, costs, tabulate, whole

from .tiny import codec


@pytest.mark.parametrize("inverse", [False, True])
def test_gdn_is_its_formula(inverse: bool) -> None:
    torch.manual_seed(1)
    layer = Gdn(3, inverse)
    with torch.no_grad():
        layer.gamma.copy_(torch.rand(3, 3) ** 0.5)
        layer.beta.copy_(torch.tensor([0.5, 1.0, 2.0]) ** 0.5)
    x = torch.randn(2, 3, 4, 5)
    beta, gamma = layer.beta.detach().square(), layer.gamma.detach().square()
    found = layer(x).detach()
    for n, c, i, j in np.ndindex(*x.shape):
        norm = float(beta[c]) + sum(float(gamma[c, k]) * abs(float(x[n, k, i, j])) for k in range(3))
        expected = float(x[n, c, i, j]) * (norm if inverse else 1 / norm)
        assert float(found[n, c, i, j]) == pytest.approx(expected, rel=1e-4)


def test_a_new_gdn_is_nearly_nothing_and_its_inverse_undoes_it_for_small_numbers() -> None:
    x = torch.tensor([0.01, -0.02, 0.0]).view(1, 3, 1, 1)
    assert Gdn(3)(x).flatten().tolist() == pytest.approx([0.01 / 1.001, -0.02 / 1.002, 0.0], rel=1e-4)
    assert Gdn(3, True)(Gdn(3)(x)).flatten().tolist() == pytest.approx(x.flatten().tolist(), rel=1e-3)


def test_parameters_of_gdn_stay_above_zero_and_can_come_back() -> None:
    layer = Gdn(2)
    with torch.no_grad():
        layer.beta.fill_(-3)
        layer.gamma.fill_(-3)
    x = torch.ones(1, 2, 1, 1)
    assert layer(x).flatten().tolist() == pytest.approx([1 / BETA_LEAST] * 2, rel=1e-2)
    layer(x).sum().backward()  # a larger beta makes the sum smaller: its gradient is negative, and passes
    assert layer.beta.grad is not None
    assert (layer.beta.grad < 0).all()
    bound = torch.tensor([-1.0, 2.0], requires_grad=True)
    LowerBound.apply(bound, 0.0).sum().backward()
    assert bound.grad is not None
    assert bound.grad.tolist() == [0.0, 1.0]


@pytest.mark.parametrize(("channels", "hidden", "stride"), [(256, 2, 16), (128, 2, 16), (256, 1, 8)])
def test_published_sizes(channels: int, hidden: int, stride: int) -> None:
    a = Architecture(channels, hidden)
    with torch.device("meta"):
        made = Codec(a)
    assert a.stride == stride
    assert made.analysis(torch.zeros(1, 3, 64, 48, device="meta")).shape == (1, *a.latents(48, 64))
    assert made.synthesis(torch.zeros(1, channels, 3, 2, device="meta")).shape == (1, 3, 3 * stride, 2 * stride)
    convolutions = 2 * (25 * 3 * channels + (hidden + 1) * 25 * channels**2)
    norms = 2 * (hidden + 1) * (channels**2 + channels)
    biases = 2 * (hidden + 1) * channels + channels + 3
    density = channels * ((3 + 9 + 9 + 3) + (3 + 3 + 3 + 1) + (3 + 3 + 3))
    assert sum(p.numel() for p in made.parameters()) == convolutions + norms + biases + density


@pytest.mark.parametrize(("width", "height"), [(1, 1), (7, 3), (8, 8), (9, 17)])
def test_padding_repeats_the_border(width: int, height: int) -> None:
    x = torch.rand(1, 3, height, width)
    grown = padded(x, 8)
    assert all(side % 8 == 0 for side in grown.shape[2:])
    assert (grown[..., :height, :width] == x).all()
    assert (grown[..., height:, :] == grown[..., height - 1 : height, :]).all()
    assert (grown[..., width:] == grown[..., width - 1 : width]).all()


def test_multiplications_are_those_that_hooks_count() -> None:
    made = codec(channels=5, hidden=1)
    counted = {"encode": 0, "decode": 0}

    def count(key: str) -> Callable[..., None]:
        def hook(module: torch.nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
            if isinstance(module, torch.nn.Conv2d):
                counted[key] += output[0, 0].numel() * module.weight.numel()
            elif isinstance(module, torch.nn.ConvTranspose2d):
                counted[key] += inputs[0][0, 0].numel() * module.weight.numel()
            elif isinstance(module, Gdn):
                counted[key] += output[0, 0].numel() * module.gamma.numel()

        return hook

    for key, part in (("encode", made.analysis), ("decode", made.synthesis)):
        for layer in part:
            layer.register_forward_hook(count(key))
    y = made.analysis(padded(torch.rand(1, 3, 19, 30), 8))
    made.synthesis(y)
    assert multiplications(made.architecture, 30, 19) == counted


def test_the_density_is_its_formula_and_a_distribution() -> None:
    torch.manual_seed(3)
    density = Density(2)
    with torch.no_grad():
        for part in (*density.matrices, *density.factors):
            part.add_(0.3 * torch.randn_like(part))
    x = torch.linspace(-40, 40, 500).expand(2, 1, -1)
    for channel in range(2):
        y = x[channel]
        for number in range(4):
            y = F.softplus(density.matrices[number][channel]) @ y + density.biases[number][channel]
            if number < 3:
                y = y + torch.tanh(density.factors[number][channel]) * torch.tanh(y)
        assert torch.allclose(density.logits(x)[channel], y, atol=1e-5)
    assert (density.logits(x).diff(dim=2) > 0).all()
    integers = torch.arange(-3000.0, 3001).view(1, 1, 1, -1).expand(1, 2, 1, -1)
    assert density(integers).sum(3).flatten().tolist() == pytest.approx([1.0, 1.0], abs=1e-4)
    assert density(2 * integers, 2.0).sum(3).flatten().tolist() == pytest.approx([1.0, 1.0], abs=1e-4)


def test_a_likelihood_is_the_integral_of_the_slope() -> None:
    density = Density(1).double()

    def slope(at: float) -> float:
        x = torch.tensor([[[at]]], dtype=torch.float64, requires_grad=True)
        torch.sigmoid(density.logits(x)).sum().backward()
        assert x.grad is not None
        return float(x.grad)

    for at, step in ((0.0, 1.0), (3.0, 1.0), (-5.0, 2.5)):
        found = float(density(torch.full((1, 1, 1, 1), at, dtype=torch.float64), step).detach())
        assert found == pytest.approx(quad(slope, at - step / 2, at + step / 2)[0], rel=1e-6)


def test_far_tails_are_exact_and_bounded() -> None:
    density = Density(1)
    far = density(torch.tensor([-60.0, 60.0, 1e6]).view(1, 1, 1, 3)).flatten().detach()
    assert (far > 0).all()
    assert far[2] == pytest.approx(LEAST)
    assert float(bits(torch.tensor([0.5, 0.25]))) == 3


def test_in_the_middle_of_a_distribution_is_its_peak() -> None:
    """Where both ends of an interval are equally far from the median, their logits add up to 0, exactly."""
    density = Density(1)
    with torch.no_grad():
        for bias in density.biases:
            bias.zero_()
    y = torch.tensor([-0.01, 0.0, 0.01]).view(1, 1, 1, 3)
    around, middle, beyond = density(y).flatten().tolist()
    assert middle == pytest.approx(around, rel=1e-3)
    assert middle == pytest.approx(beyond, rel=1e-3)
    density(y[..., 1:2]).sum().backward()
    assert all(bool(torch.isfinite(one.grad).all()) for one in density.parameters() if one.grad is not None)


def test_tables_hold_the_density() -> None:
    made = codec(channels=4)
    for step in (1.0, 0.3, 7.0):
        tables = tabulate(made.density, step)
        tables.check(4)
        for channel in range(4):
            counts, first = tables.of(channel), int(tables.first[channel])
            places = (first + torch.arange(len(counts) - 1)) * step
            y = torch.zeros(1, 4, 1, len(places))
            y[0, channel, 0] = places
            expected = made.density(y, step)[0, channel, 0].numpy()
            assert counts[:-1] / TOTAL == pytest.approx(expected, abs=(len(counts) + 2) / TOTAL)
            assert counts[-1] / TOTAL <= 2 * TAIL + 3 / TOTAL
        assert costs(made.density, tables)[0] == pytest.approx(-np.log2(made.density(
            torch.full((1, 4, 1, 1), float(tables.first[0]) * step), step)[0, 0, 0, 0].item()), rel=1e-3)  # fmt: skip


@pytest.mark.parametrize("shares", [[1.0, 0.0], [0.0, 0.0, 0.0], [1e-12] * 40 + [1.0], [0.2] * 5, [3.0, 1.0]], ids=str)
def test_whole_numbers_of_the_right_sum(shares: list[float]) -> None:
    counts = whole(np.array(shares))
    assert counts.sum() == TOTAL
    assert (counts >= 1).all()
    if sum(shares) > 0:
        expected = np.array(shares) / sum(shares) * (TOTAL - len(shares)) + 1
        assert np.abs(counts - expected).max() <= 1


def test_training_sees_noise_where_coding_rounds() -> None:
    made = codec()
    x = torch.rand(1, 3, 16, 24)
    y = made.analysis(x)
    noise = torch.rand_like(y) - 0.5
    decoded, likelihoods = made(x, noise, 2.0)
    assert torch.equal(decoded, made.synthesis(y + 2 * noise))
    assert torch.equal(likelihoods, made.density(y + 2 * noise, 2.0))
    noisy = codec(noise=3.0)
    channel = torch.randn_like(y)
    assert torch.equal(noisy(x, noise, 1.0, channel)[0], noisy.synthesis(y + 3 * channel + noise))
    assert 0 <= float(decoded.min()) <= float(decoded.max()) <= 1


def test_the_gain_is_given_and_taken_back() -> None:
    plain, loud = codec(), codec(gain=8.0)
    x = torch.rand(1, 3, 8, 16)
    assert torch.equal(loud.latents(x), 8 * plain.latents(x))
    assert torch.equal(loud.images(loud.latents(x)), plain.images(plain.latents(x)))


@pytest.mark.parametrize(
    "wrong", [{"channels": 0}, {"hidden": 9}, {"noise": float("nan")}, {"channels": 10**9}, {"gain": 0.0}]
)
def test_architectures_are_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"hidden layers|a gain of 0"):
        Architecture(**{"channels": 4, "hidden": 1, **wrong})  # type: ignore[arg-type]
