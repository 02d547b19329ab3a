"""Pooling by a sparse matrix gives what torchvision's loops give, and so does its gradient."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import MultiScaleRoIAlign, roi_align
from torchvision.ops.poolers import LevelMapper

from anonbench.train import pooling


def regions(count: int, width: int, height: int) -> torch.Tensor:
    """Regions of two images (n, 5): inside, across the border, beyond it, thinner than a place, and without area."""
    corner = torch.rand(count, 2) * torch.tensor([width, height])
    size = torch.rand(count, 2) * torch.tensor([width, height]) * 0.6
    boxes = torch.cat([corner - 4, corner - 4 + size], dim=1)
    boxes[0] = torch.tensor([0, 0, width, height])
    boxes[1] = torch.tensor([-40, -40, -20, -20])
    boxes[2] = torch.tensor([width, height, width + 30, height + 30])
    boxes[3] = torch.tensor([10, 10, 10.5, 10])
    return torch.cat([torch.arange(count)[:, None] % 2, boxes], dim=1)


@pytest.mark.parametrize(("side", "sampling"), [(7, 1), (10, 2), (3, 3)])
@pytest.mark.parametrize("form", [torch.channels_last, torch.contiguous_format])
def test_pooled_values_and_gradients_are_torchvisions(side: int, sampling: int, form: torch.memory_format) -> None:
    torch.manual_seed(side)
    maps = torch.randn(2, 5, 24, 32).contiguous(memory_format=form)
    chosen = regions(40, 128, 96)
    weights = torch.randn(40, 5, side, side)
    results = []
    for pool in (roi_align, pooling.pooled):
        features = maps.clone().requires_grad_()
        values = pool(features, chosen, side, 0.25, sampling)
        (values * weights).sum().backward()
        assert features.grad is not None
        results.append((values.detach(), features.grad))
    (ours, gradient), (wanted, wanted_gradient) = results[1], results[0]
    assert ours.shape == (40, 5, side, side)
    torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(gradient, wanted_gradient, rtol=1e-4, atol=1e-4)
    assert (ours[1] == 0).all()
    assert ours[0].abs().sum() > 0


@pytest.mark.parametrize("names", [["0"], ["0", "1", "2"]])
def test_a_pool_is_torchvisions_on_each_level(names: list[str]) -> None:
    torch.manual_seed(0)
    maps = {name: torch.randn(2, 4, 48 >> int(name), 64 >> int(name), requires_grad=True) for name in ("0", "1", "2")}
    boxes = [regions(30, 256, 192)[:, 1:], regions(25, 256, 192)[:, 1:].abs()]
    boxes[1][:, 2:] += boxes[1][:, :2]
    results = []
    for kind in (MultiScaleRoIAlign, pooling.Pool):
        pool = kind(names, 7, 2)
        pool.scales = [0.25 / 2 ** int(name) for name in names]
        pool.map_levels = LevelMapper(2, 1 + len(names), 64)
        given = maps if kind is MultiScaleRoIAlign else pooling.prepared(maps)
        values = pool(given, boxes, [(192, 256)] * 2)
        gradients = torch.autograd.grad(values.square().sum(), [maps[name] for name in names])
        results.append([values.detach(), *gradients])
    for ours, wanted in zip(*reversed(results), strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-3, atol=1e-3)


def test_no_regions_pool_to_nothing_and_give_no_gradient() -> None:
    features = torch.randn(1, 4, 8, 8, requires_grad=True)
    values = pooling.pooled(features, torch.zeros(0, 5), 7, 0.25, 1)
    assert values.shape == (0, 4, 7, 7)
    values.sum().backward()
    assert features.grad is not None
    assert (features.grad == 0).all()


def test_samples_as_many_as_a_cell_has_pixels_stay_torchvisions() -> None:
    torch.manual_seed(0)
    features = {"0": torch.randn(1, 4, 24, 32)}
    boxes = [torch.tensor([[3.0, 5.0, 90.0, 70.0]])]
    pool = pooling.Pool(["0"], 7, 0)
    pool.scales, pool.map_levels = [0.25], LevelMapper(2, 2)
    wanted = roi_align(features["0"], boxes, 7, 0.25, 0)
    assert torch.equal(pool(features, boxes, [(96, 128)]), wanted)
