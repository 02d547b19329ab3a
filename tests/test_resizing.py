"""Bilinear resizing by matrix products, which a GPU that is held to repeatable results takes."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from anonbench.learning.resizing import bilinear, by_products


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(
    ("before", "after"), [((5, 7), (10, 14)), ((9, 4), (17, 9)), ((8, 6), (3, 6)), ((1, 3), (2, 5))]
)
def test_products_give_what_torch_gives_and_the_same_gradient(
    before: tuple[int, int], after: tuple[int, int], align_corners: bool
) -> None:
    torch.manual_seed(0)
    one = torch.randn(2, 3, *before, dtype=torch.float64, requires_grad=True)
    two = one.detach().clone().requires_grad_()
    wanted = F.interpolate(one, after, mode="bilinear", align_corners=align_corners)
    found = by_products(two, after, align_corners)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    back = torch.randn_like(wanted)
    wanted.backward(back)
    found.backward(back)
    torch.testing.assert_close(two.grad, one.grad, rtol=1e-12, atol=1e-12)


def test_half_precision_is_not_brighter_or_darker() -> None:
    x = 1 + torch.rand(4, 3, 16, 16)
    for dtype in (torch.bfloat16, torch.float16):
        wanted = F.interpolate(x, (33, 31), mode="bilinear", align_corners=True)
        found = by_products(x.to(dtype), (33, 31), align_corners=True).float()
        assert abs(float((found - wanted).mean())) < 3e-4


def test_a_processor_takes_torch_own_way_to_the_byte() -> None:
    x = torch.randn(1, 2, 6, 5)
    assert torch.equal(bilinear(x, (12, 10)), F.interpolate(x, (12, 10), mode="bilinear", align_corners=False))


def test_the_precision_is_that_of_what_is_resized_under_autocast() -> None:
    x = torch.randn(1, 2, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert by_products(x, (8, 8)).dtype is torch.float32
        assert by_products(x.bfloat16(), (8, 8)).dtype is torch.bfloat16
