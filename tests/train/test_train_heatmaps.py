"""Keypoints of heat maps are torchvision's."""

from __future__ import annotations

import pytest
import torch
from torchvision.models.detection.roi_heads import heatmaps_to_keypoints

from anonbench.train.heatmaps import keypoints_of


def test_keypoints_are_torchvisions() -> None:
    torch.manual_seed(0)
    maps = torch.nn.functional.interpolate(torch.randn(30, 17, 7, 7), size=(56, 56), mode="bicubic")
    corner = torch.rand(30, 2) * 150
    boxes = torch.cat([corner, corner + torch.rand(30, 2) * torch.tensor([60.0, 120.0])], dim=1)
    boxes[0, 2:] = boxes[0, :2]  # no area: one pixel
    wanted, _ = heatmaps_to_keypoints(maps, boxes)
    found = keypoints_of(maps, boxes)
    assert found.shape == (30, 17, 3)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)
    assert len({tuple(point) for point in found[5].tolist()}) > 5


class OnGpu(torch.Tensor):
    """A tensor that says it is a GPU's."""

    is_cuda = True


def test_maps_of_a_gpu_stay_there(monkeypatch: pytest.MonkeyPatch) -> None:
    maps, boxes = torch.randn(3, 17, 56, 56), torch.tensor([[0.0, 0.0, 40.0, 90.0]]).repeat(3, 1)
    wanted, _ = heatmaps_to_keypoints(maps, boxes)
    monkeypatch.setattr("cv2.resize", lambda *_, **__: pytest.fail("on a processor"))
    assert torch.equal(keypoints_of(maps.as_subclass(OnGpu), boxes).as_subclass(torch.Tensor), wanted)


def test_nobody_has_no_keypoints() -> None:
    assert keypoints_of(torch.zeros(0, 17, 56, 56), torch.zeros(0, 4)).shape == (0, 17, 3)
