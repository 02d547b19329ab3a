"""Rate control: which of a codec's settings the frames of a split are coded with, so that they take so many bits."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from anonbench import seeding
from anonbench.anonymize.contract import Crop, Method
from anonbench.blocks import Strict
from anonbench.distortion import WITHIN
from anonbench.errors import AnonbenchError

FEW = 16
"""About so many frames are looked at first."""
Rates = Callable[[int, int], np.ndarray]
"""Bits per pixel of the frames, in their order, at a setting: ``rates(setting, step)``, of each ``step``-th frame."""


class RateParameters(Strict):
    """Parameters of a `Rated` method, which has a setting of its own beside them."""

    setting: ClassVar[str]
    """What the parameter is called that a rate is given instead of."""

    bpp: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Instead of a setting: bits per pixel that the frames of a split are to take in the mean, of whole "
        "files or streams, which is searched for, to 2 %.",
    )
    sample: int = Field(
        256,
        ge=1,
        description="Frames of a split, at even distances, in which a rate is searched for; all if it has fewer.",
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if getattr(self, self.setting) is not None and self.bpp is not None:
            raise ValueError(f"{self.setting} and bpp exclude each other; remove one of them")
        return self


class Rated(Method):
    """A codec that is given a setting, or a rate that its frames are to take in the mean of a split."""

    Parameters: ClassVar[type[RateParameters]]

    @property
    def sample(self) -> int:  # type: ignore[override]
        """Frames of the split that a rate is searched for in; none for a setting."""
        return self.parameters.sample if self.parameters.bpp is not None else 0

    def unmatched(self) -> AnonbenchError:
        """Return the error of a frame that is to be coded at a rate which was searched for in no split."""
        return AnonbenchError(
            "a rate is that of a whole split, and this is one frame",
            entry=f"method {self.name} bpp",
            remedy=f"name a {self.parameters.setting} instead",
        )


class Scale(NamedTuple):
    """A method's settings, numbered from ``lowest`` (fewest bits in the mean) to ``highest``, and words for an error.

    ``method`` and ``setting`` are what both are called; ``ends`` say which settings the two are ("its lowest quality");
    ``fewer`` and ``more``, if not empty, what else helps where fewer bits are asked for than the one takes, or more
    than the other.
    """

    method: str
    setting: str
    lowest: int
    highest: int
    ends: tuple[str, str]
    fewer: str = ""
    more: str = ""


class Match(NamedTuple):
    """A place on a `Scale`, which need not be whole (`setting_of`), and the bits per pixel that frames take there."""

    place: float
    bpp: float


def matched(scale: Scale, target: float, rates: Rates, crops: Sequence[Crop]) -> Match:
    """Return the place on a scale at which ``crops`` take ``target`` bits per pixel in the mean, to `WITHIN`.

    One setting holds for all frames, or two neighbours do: a rate that each frame had to meet would give the crowded
    ones, which are what detectors are judged on, the worst quality. Raises AnonbenchError for a rate that no setting
    reaches, or not to `WITHIN` with so few frames.
    """
    of = functools.cache(rates)
    low, high = _around(scale, target, of, max(1, len(crops) // FEW))
    draws = np.array([_draw(crop) for crop in crops])
    order = np.argsort(draws, kind="stable")
    more = np.cumsum((of(high, 1) - of(low, 1))[order])
    means = (of(low, 1).sum() + np.concatenate([[0.0], more])) / len(crops)  # with so many at the higher setting
    many = int(np.argmin(np.abs(means - target)))
    if abs(means[many] / target - 1) > WITHIN:
        near = sorted(means, key=lambda mean: abs(mean - target))[:2]
        raise AnonbenchError(
            f"{scale.method} cannot be matched to {target:g} bits per pixel within {WITHIN:.0%} on "
            f"{len(crops)} frames: "
            f"the nearest rates are {' and '.join(f'{mean:.4f}' for mean in sorted(near))}",
            entry=f"method {scale.method} bpp",
            remedy=f"ask for one of them, name a {scale.setting}, or take more images",
        )
    ends = [0.0, *draws[order], 1.0]
    share = 1.0 if many == len(crops) else 0.0 if many == 0 else (ends[many] + ends[many + 1]) / 2
    return Match(float(low + share), round(float(means[many]), 6))


def setting_of(place: float, crop: Crop) -> int:
    """Return a frame's setting: of a place that is not whole, such as 30.4, four frames in ten get the higher one."""
    whole = math.floor(place)
    return whole + int(_draw(crop) < place - whole)


def _around(scale: Scale, target: float, of: Rates, step: int) -> tuple[int, int]:
    """Return two neighbouring settings between which frames take a rate in the mean: found in every ``step``-th of
    them, then corrected in all, since slow encoders take most of a search's time."""
    lowest, highest = scale.lowest, scale.highest
    low, high = lowest, highest
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if of(middle, step).mean() <= target else (low, middle)
    while low > lowest and of(low, 1).mean() > target:
        low -= 1
    while low + 1 < highest and of(low + 1, 1).mean() <= target:
        low += 1
    high = min(low + 1, highest)
    if of(low, 1).mean() > target * (1 + WITHIN) or of(high, 1).mean() < target * (1 - WITHIN):
        least, most = (float(of(setting, 1).mean()) for setting in (lowest, highest))
        also = scale.fewer if target < least else scale.more
        raise AnonbenchError(
            f"{scale.method} cannot reach {target:g} bits per pixel: the {len(of(low, 1))} frames that were tried "
            f"take {least:.3f} at {scale.ends[0]} and {most:.3f} at {scale.ends[1]}",
            entry=f"method {scale.method} bpp",
            remedy="ask for a rate between them" + (f", or {also}" if also else ""),
        )
    return low, high


def _draw(crop: Crop) -> float:
    """Return a frame's number in 0..1 that decides between two settings; it has nothing to do with other draws."""
    return float(seeding.generator(crop.seed, "rate").random())
