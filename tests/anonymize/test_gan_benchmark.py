"""The distances of benchmarks/gan.py."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture(scope="module")
def benchmark() -> Any:
    spec = importlib.util.spec_from_file_location("gan_benchmark", Path(__file__).parents[2] / "benchmarks" / "gan.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_frechet_distance_of_normals(benchmark: Any) -> None:
    """For diagonal covariances it is the squared distance of means and of standard deviations."""
    rng = np.random.default_rng(0)
    one = rng.normal(0, 1, (20_000, 3)) * (1, 2, 3)
    two = rng.normal(0, 1, (20_000, 3)) * (2, 2, 1) + (0, 3, 0)
    assert benchmark.frechet(one, two) == pytest.approx(1 + 0 + 4 + 9, rel=0.05)
    assert benchmark.frechet(one, one) == pytest.approx(0, abs=1e-6)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    assert benchmark.frechet(one @ turn, two @ turn) == pytest.approx(benchmark.frechet(one, two))


def test_people_of_an_image_are_drawn_together(benchmark: Any) -> None:
    of = np.array([0, 0, 0, 1, 4, 4])
    for seed in range(5):
        drawn = benchmark.drawn_again(of, np.random.default_rng(seed))
        counts = np.bincount(drawn, minlength=6)
        assert counts[0] == counts[1] == counts[2]
        assert counts[4] == counts[5]
        assert counts[0] + counts[3] + counts[4] == 3


def test_similarity_is_one_for_the_same(benchmark: Any) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (2, 40, 30, 3), np.uint8)
    masks = np.zeros((2, 40, 30), bool)
    masks[:, 10:30, 8:20] = True
    crops = benchmark.Crops(pixels, masks, np.zeros((2, 17, 3), np.float32), np.arange(2), ["a", "b"], ["person"] * 2)
    assert benchmark.similar(crops, pixels) == pytest.approx((1, 1))
    other = np.where(masks[..., None], np.uint8(128), pixels)
    inside, around = benchmark.similar(crops, other)
    assert inside < 0.5
    assert inside < around < 1


def test_objects_that_are_no_people_are_cut_out_whole(benchmark: Any, tmp_path: Path) -> None:
    pixels = np.full((100, 120, 3), 90, np.uint8)
    pixels[40:60, 0:30] = (200, 10, 10)
    works = [benchmark.Work(7, pixels, [])]
    data = benchmark.Data(benchmark.RegionKind.BODY, (60, 108), works, {1: "person"})
    labels = {
        "categories": [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 3, "bbox": [0, 40, 30, 20]},
            {"id": 2, "image_id": 7, "category_id": 1, "bbox": [50, 10, 20, 60]},
            {"id": 3, "image_id": 7, "category_id": 3, "bbox": [80, 40, 5, 20]},
            {"id": 4, "image_id": 8, "category_id": 3, "bbox": [0, 40, 30, 20]},
        ],
    }
    (tmp_path / "train.json").write_text(json.dumps(labels))
    crops, categories = data.objects(tmp_path / "train.json")
    assert categories == ["car"]
    assert crops.shape == (1, 108, 60, 3)
    red = crops[0, ..., 0] > 150
    rows, columns = np.flatnonzero(red.any(1)), np.flatnonzero(red.any(0))
    assert abs(rows.mean() - 53.5) < 2  # in the middle, whole, its aspect kept
    assert len(columns) / 60 > 0.75
    assert len(columns) / len(rows) == pytest.approx(1.5, abs=0.15)
