"""Pooling of regions by a product against torchvision's kernel, which it must equal forward and backward."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.poolers import LevelMapper

from anonbench.train.pooling import RegionPool

IMAGE = (96, 128)


def _made(
    kind: type[MultiScaleRoIAlign], size: int | tuple[int, int], samples: int, levels: int = 1
) -> MultiScaleRoIAlign:
    pool = kind([str(level) for level in range(levels)], size, samples)
    pool.scales = [1 / (4 << level) for level in range(levels)]
    pool.map_levels = LevelMapper(2, 1 + levels, 32)
    return pool


def _maps(levels: int = 1, last: bool = True) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    maps = {str(i): torch.randn(3, 5, IMAGE[0] >> (2 + i), IMAGE[1] >> (2 + i)) for i in range(levels)}
    form = torch.channels_last if last else torch.contiguous_format
    return {name: one.contiguous(memory_format=form).requires_grad_() for name, one in maps.items()}


def _boxes() -> list[torch.Tensor]:
    """Return boxes of three images: within, across borders, far outside, smaller than a pixel; the second has none."""
    torch.manual_seed(1)
    corner = torch.rand(40, 2) * torch.tensor([180.0, 150.0]) - 30
    drawn = torch.cat([corner, corner + torch.rand(40, 2) * 60], dim=1)
    edges = [[-60.0, -60.0, -20.0, -20.0], [0, 0, 128, 96], [10.3, 20.7, 10.4, 20.8], [127.9, 95.9, 140, 120]]
    return [drawn, torch.empty(0, 4), torch.tensor(edges)]


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("samples", [1, 2, 3])
@pytest.mark.parametrize("size", [7, (3, 5)])
def test_a_product_is_what_the_kernel_gives(size: int | tuple[int, int], samples: int, last: bool) -> None:
    found = []
    for kind in (MultiScaleRoIAlign, RegionPool):
        maps = _maps(last=last)
        pooled = _made(kind, size, samples)(maps, _boxes(), [IMAGE] * 3)
        torch.manual_seed(2)
        (pooled * torch.randn(pooled.shape)).sum().backward()
        found.append((pooled.detach(), maps["0"].grad))
    (expected, gradient), (pooled, own) = found
    assert expected.abs().sum() > 0
    assert gradient is not None
    torch.testing.assert_close(pooled, expected, rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(own, gradient, rtol=1e-6, atol=1e-5)


def test_one_sample_per_cell_is_equal_to_the_byte() -> None:
    expected, pooled = (
        _made(kind, 7, 1)(_maps(), _boxes(), [IMAGE] * 3).detach() for kind in (MultiScaleRoIAlign, RegionPool)
    )
    assert torch.equal(pooled, expected)


def test_no_region_at_all() -> None:
    pooled = _made(RegionPool, 7, 1)(_maps(), [torch.empty(0, 4)] * 3, [IMAGE] * 3)
    assert pooled.shape == (0, 5, 7, 7)
    pooled.sum().backward()


def test_what_is_no_number_stays_none() -> None:
    boxes = [torch.tensor([[float("nan"), 0.0, 20.0, 20.0], [0.0, 0.0, 20.0, 20.0]])]
    pooled = _made(RegionPool, 7, 1)({"0": torch.ones(1, 2, 24, 32)}, boxes, [IMAGE])
    assert pooled[0].isnan().all()
    assert (pooled[1] == 1).all()
    far = [torch.tensor([[float("-inf"), 0.0, float("inf"), 20.0], [3e38, 0.0, 3.1e38, 20.0]])]
    assert not _made(RegionPool, 7, 1)({"0": torch.ones(1, 2, 24, 32)}, far, [IMAGE])[1].any()


@pytest.mark.parametrize(("levels", "samples"), [(2, 1), (1, 0)])
def test_several_levels_and_adaptive_samples_are_left_to_torchvision(levels: int, samples: int) -> None:
    pool = _made(RegionPool, 7, samples, levels)
    maps = _maps(levels, last=False)
    assert not pool.multiplies(maps)
    expected = _made(MultiScaleRoIAlign, 7, samples, levels)(maps, _boxes(), [IMAGE] * 3)
    assert torch.equal(pool(maps, _boxes(), [IMAGE] * 3), expected)
