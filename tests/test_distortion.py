"""PSNR and MS-SSIM: closed forms, a direct computation from the formula, and faces that do not count."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy.signal import correlate2d

from anonbench.distortion import DEVIATION, MOST, WEIGHTS, WINDOW, ms_ssim, outside, psnr


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    rough = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.float32)
    return np.clip(cv2.GaussianBlur(rough, (9, 9), 2.0) * 2 - 128, 0, 255).astype(np.uint8)


def test_psnr_of_a_constant_error() -> None:
    one = np.full((20, 30, 3), 100, np.uint8)
    assert psnr(one, one + 5) == pytest.approx(10 * np.log10(255**2 / 25))
    assert psnr(one, one) == MOST
    other = one.copy()
    other[3, 4, 1] += 255 - 100
    assert psnr(one, other) == pytest.approx(10 * np.log10(255**2 * one.size / 155**2))


def test_what_is_not_counted_does_not_matter() -> None:
    one, other = noise(240, 256), noise(240, 256)
    other[50:90, 60:100] = 0
    counted = outside([(60.0, 50.0, 40.0, 40.0)], 256, 240)
    assert counted.sum() == 240 * 256 - 1600
    assert psnr(one, other) < 30
    assert psnr(one, other, counted) == MOST
    assert ms_ssim(one, other) < 0.99
    assert ms_ssim(one, other, counted) == pytest.approx(1)
    assert psnr(one, other, ~counted) < psnr(one, other)


def test_boxes_are_rounded_outwards_and_may_leave_the_picture() -> None:
    free = outside([(1.5, 2.2, 1.0, 0.5), (-5.0, -5.0, 6.0, 6.0), (50.0, 50.0, 9.0, 9.0), (-9.0, 3.0, 4.0, 4.0)], 10, 8)
    expected = np.ones((8, 10), bool)
    expected[2:3, 1:3] = False
    expected[:1, :1] = False
    assert (free == expected).all()


def test_nothing_to_count() -> None:
    one = noise(60, 70)
    nothing = np.zeros((60, 70), bool)
    assert psnr(one, one, nothing) is None
    assert ms_ssim(one, one, nothing) is None
    assert ms_ssim(one[:10], one[:10]) is None


def test_constant_pictures_differ_by_luminance_at_the_coarsest_scale_alone() -> None:
    one, other = (np.full((192, 256, 3), level, np.uint8) for level in (100, 150))
    luminance = (2 * 100 * 150 + 6.5025) / (100**2 + 150**2 + 6.5025)
    assert ms_ssim(one, other) == pytest.approx(luminance ** WEIGHTS[-1], abs=1e-4)


def direct(one: np.ndarray, other: np.ndarray, scales: int) -> float:
    """Return MS-SSIM of one colour by the formulas of the paper, with no filter of OpenCV."""
    x = np.arange(WINDOW) - WINDOW // 2
    taps = np.exp(-(x**2) / (2 * DEVIATION**2))
    window = np.outer(taps, taps) / taps.sum() ** 2
    a, b = one.astype(float), other.astype(float)
    product, weights = 1.0, np.array(WEIGHTS[:scales]) * sum(WEIGHTS) / sum(WEIGHTS[:scales])
    for scale in range(scales):
        mean = {
            key: correlate2d(v, window, "valid")
            for key, v in {"a": a, "b": b, "aa": a * a, "bb": b * b, "ab": a * b}.items()
        }
        va, vb = mean["aa"] - mean["a"] ** 2, mean["bb"] - mean["b"] ** 2
        both = mean["ab"] - mean["a"] * mean["b"]
        c1, c2 = 6.5025, 58.5225
        product *= max(((2 * both + c2) / (va + vb + c2)).mean(), 0) ** weights[scale]
        if scale == scales - 1:
            light = (2 * mean["a"] * mean["b"] + c1) / (mean["a"] ** 2 + mean["b"] ** 2 + c1)
            product *= max(light.mean(), 0) ** weights[scale]
        a, b = (v[: len(v) // 2 * 2, : v.shape[1] // 2 * 2] for v in (a, b))
        a, b = ((v[::2, ::2] + v[1::2, ::2] + v[::2, 1::2] + v[1::2, 1::2]) / 4 for v in (a, b))
    return float(product)


@pytest.mark.parametrize(
    ("size", "scales"), [((192, 256), 5), ((177, 301), 5), ((90, 100), 4), ((40, 47), 2), ((11, 30), 1)]
)
def test_it_is_the_paper_s_formula(size: tuple[int, int], scales: int) -> None:
    one = noise(*size)
    other = cv2.GaussianBlur(one, (5, 5), 1.2)
    other = np.clip(other.astype(int) + np.random.default_rng(1).integers(-9, 10, other.shape), 0, 255).astype(np.uint8)
    expected = np.mean([direct(one[..., c], other[..., c], scales) for c in range(3)])
    assert ms_ssim(one, other) == pytest.approx(expected, abs=2e-5)
    assert ms_ssim(one, one) == pytest.approx(1)


def test_what_is_worse_is_less() -> None:
    one = noise(200, 220)
    found = [ms_ssim(one, cv2.GaussianBlur(one, (0, 0), sigma)) for sigma in (0.5, 1, 2, 4)]
    assert found == sorted(found, reverse=True)
    assert 0 <= found[-1] < found[0] < 1
