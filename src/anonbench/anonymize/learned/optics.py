"""A lens that learns: a camera that hides what it can before there is an image (PrivHAR, Hinojosa et al. 2022).

Its surface is a sum of Zernike polynomials, its point spread function the squared Fourier transform of the pupil, one
for each colour, and what it shows the frame convolved with that.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

WAVELENGTHS = (0.61, 0.53, 0.46)
"""Of red, green and blue, in micrometres, as deep optics takes them (Sitzmann et al. 2018)."""
REFERENCE = 0.55
"""Wavelength in which coefficients are counted, in micrometres."""
PITCH = 3.0
"""Side of a pixel in units of the reference wavelength times the f-number: a clear lens is sharper than that."""
FIRST = 4
"""First of Noll's numbers: piston shows nothing, tilts move the picture."""
START = 0.05
"""Standard deviation of the first coefficients, in waves: at a clear lens itself the gradient is zero."""


def noll(number: int) -> tuple[int, int]:
    """Return the radial degree n and the azimuthal frequency m (negative: a sine) of Noll's number (1976), from 1."""
    n = int((math.sqrt(8 * number - 7) - 1) // 2)
    rest = number - n * (n + 1) // 2 - 1
    m = 2 * ((rest + 1) // 2) if n % 2 == 0 else 2 * (rest // 2) + 1
    return n, m if number % 2 == 0 else -m


def zernike(number: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return a Zernike polynomial at points of the unit disk, by Noll's number; its mean square over the disk is 1."""
    n, m = noll(number)
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    radial = np.zeros_like(radius)
    for k in range((n - abs(m)) // 2 + 1):
        top = (-1) ** k * math.factorial(n - k)
        below = math.factorial(k) * math.factorial((n + abs(m)) // 2 - k) * math.factorial((n - abs(m)) // 2 - k)
        radial += top / below * radius ** (n - 2 * k)
    if m == 0:
        return math.sqrt(n + 1) * radial
    return math.sqrt(2 * (n + 1)) * radial * (np.cos(m * angle) if m > 0 else np.sin(-m * angle))


class Lens(nn.Module):
    """From pictures (N, 3, H, W) in 0..1 to what a camera with this lens shows.

    ``coefficients`` (waves of `REFERENCE`) are all that it learns. The Fourier transform is a product of matrices
    (Soummer et al. 2007), which gives the point spread function at the pixels alone, ``taps`` x ``taps`` of them, at
    each colour's own scale, and repeats on every processor. What reaches the border from outside counts as what is
    seen there (the kernel is normalised over the picture).
    """

    def __init__(self, terms: int, taps: int) -> None:
        super().__init__()
        samples = 4 * taps
        places = (np.arange(samples) + 0.5) / samples * 2 - 1
        x, y = np.meshgrid(places, places)
        inside = np.hypot(x, y) <= 1
        basis = np.stack([np.where(inside, zernike(FIRST + k, x, y), 0.0) for k in range(terms)])
        pixels = np.arange(taps) - taps // 2
        waves = REFERENCE / np.array(WAVELENGTHS)
        angles = 2 * np.pi * PITCH * waves[:, None, None] * pixels[:, None] * places / 2
        self.basis: Tensor
        self.inside: Tensor
        self.waves: Tensor
        self.cosines: Tensor
        self.sines: Tensor
        for name, value in {
            "basis": basis,
            "inside": inside,
            "waves": waves,
            "cosines": np.cos(angles),
            "sines": np.sin(angles),
        }.items():
            self.register_buffer(name, torch.from_numpy(np.asarray(value, np.float32)), persistent=False)
        self.coefficients = nn.Parameter(START * torch.randn(terms))

    def spread(self) -> Tensor:
        """Return the point spread function (3, taps, taps) of red, green and blue; each sums to 1."""
        surface = torch.einsum("k,kyx->yx", self.coefficients.float(), self.basis)
        phase = 2 * math.pi * self.waves[:, None, None] * surface
        real, imaginary = self.inside * phase.cos(), self.inside * phase.sin()
        c, s = self.cosines, self.sines
        upper, lower = c @ real + s @ imaginary, c @ imaginary - s @ real
        ct, st = c.transpose(1, 2), s.transpose(1, 2)
        energy = (upper @ ct + lower @ st).square() + (lower @ ct - upper @ st).square()
        return energy / energy.sum((1, 2), keepdim=True)

    def forward(self, pictures: Tensor) -> Tensor:
        with torch.autocast(pictures.device.type, enabled=False):
            kernel = self.spread().flip(1, 2)[:, None]
            half = kernel.shape[-1] // 2
            pictures = pictures.float()
            there = functional.conv2d(torch.ones_like(pictures[:1]), kernel, padding=half, groups=3)
            return functional.conv2d(pictures, kernel, padding=half, groups=3) / there.clamp_min(1e-6)
