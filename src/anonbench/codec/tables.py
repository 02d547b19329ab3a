"""Integer tables of probabilities: what a coder needs of a density, so that no floating-point number decides a symbol.

A channel's table has a symbol for each integer in a range and a last one, the escape, for all others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from anonbench.codec.density import LEAST, Density

TOTAL = 1 << 16
"""What the counts of a channel add up to."""
TAIL = 1e-4
"""Probability that is left to the escape, on each side at most."""
WIDEST = 4096
"""Symbols of a channel at most."""
FARTHEST = 1 << 14
"""Latents further from zero are coded as escapes."""


@dataclass(frozen=True, slots=True)
class Tables:
    """Tables of one step for all channels.

    ``first`` int32 (C): the integer of each channel's first symbol; ``sizes`` int32 (C): symbols, escape included;
    ``counts`` int32, the channels' one after the other: positive, with the sum `TOTAL` in each channel.
    """

    step: float
    first: np.ndarray
    sizes: np.ndarray
    counts: np.ndarray

    def of(self, channel: int) -> np.ndarray:
        """Return the counts of a channel."""
        start = int(self.sizes[:channel].sum())
        return self.counts[start : start + int(self.sizes[channel])]

    def check(self, channels: int) -> None:
        """Raise ValueError for tables that no coder can use."""
        if self.first.shape != (channels,) or self.sizes.shape != (channels,) or self.counts.ndim != 1:
            raise ValueError("tables are not those of the channels")
        if not (np.isfinite(self.step) and 0 < self.step <= 1000):
            raise ValueError(f"a step of {self.step}")
        sizes = self.sizes.astype(np.int64)
        if (sizes < 2).any() or (sizes > WIDEST + 1).any() or sizes.sum() != len(self.counts):
            raise ValueError("tables of a size that no channel has")
        if (self.counts < 1).any() or (np.abs(self.first.astype(np.int64)) > 2 * FARTHEST).any():
            raise ValueError("tables with symbols that cannot be coded")
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        if (np.add.reduceat(self.counts.astype(np.int64), starts) != TOTAL).any():
            raise ValueError(f"tables whose counts do not add up to {TOTAL}")


@torch.no_grad()
def tabulate(density: Density, step: float) -> Tables:
    """Return the tables of a density for latents that are rounded to multiples of ``step``.

    Computed on the processor in double precision; each range leaves `TAIL` to either side at most.
    """
    exact = _exact(density)
    low, high = (_quantile(exact, share) / step for share in (TAIL, 1 - TAIL))
    first = np.clip(np.floor(low + 0.5), -FARTHEST, FARTHEST).astype(np.int64)
    last = np.clip(np.ceil(high - 0.5), -FARTHEST, FARTHEST).astype(np.int64)
    last = np.minimum(np.maximum(last, first), first + WIDEST - 1)
    widest = int((last - first).max()) + 1
    places = torch.from_numpy(first[:, None] + np.arange(widest)[None])[:, None].double()
    found = exact.interval((places - 0.5) * step, (places + 0.5) * step)[:, 0].numpy()
    counts, sizes = [], []
    for channel, probabilities in enumerate(found):
        own = probabilities[: int(last[channel] - first[channel]) + 1]
        counts.append(whole(np.append(own, max(0.0, 1 - float(own.sum())))))
        sizes.append(len(counts[-1]))
    return Tables(step, first.astype(np.int32), np.array(sizes, np.int32), np.concatenate(counts).astype(np.int32))


@torch.no_grad()
def costs(density: Density, tables: Tables) -> np.ndarray:
    """Return the bits (float64, like ``counts``) that a density gives for each symbol of its tables; 0 for escapes."""
    exact = _exact(density)
    sizes = tables.sizes.astype(np.int64)
    widest = int(sizes.max())
    places = torch.from_numpy(tables.first.astype(np.int64)[:, None] + np.arange(widest)[None])[:, None].double()
    found = exact.interval((places - 0.5) * tables.step, (places + 0.5) * tables.step)[:, 0].clamp_min(LEAST)
    bits = -np.log2(found.numpy())
    rows = [np.append(row[: size - 1], 0.0) for row, size in zip(bits, sizes, strict=True)]
    return np.concatenate(rows)


def _exact(density: Density) -> Density:
    """Return a copy in double precision on the processor."""
    exact = Density(density.channels).double()
    exact.load_state_dict({name: value.double().cpu() for name, value in density.state_dict().items()})
    return exact


def whole(probabilities: np.ndarray) -> np.ndarray:
    """Return counts (int64, each 1 at least, of the sum `TOTAL`) for probabilities: what lacks goes to the likeliest.

    Of shares that are rounded down the largest remainders are rounded up.
    """
    free = TOTAL - len(probabilities)
    shares = np.maximum(probabilities, 0)
    shares = shares / shares.sum() * free if shares.sum() > 0 else np.full(len(shares), free / len(shares))
    counts = np.floor(shares).astype(np.int64)
    lacking = free - int(counts.sum())
    order = np.argsort(counts - shares, kind="stable")
    counts[order[:lacking]] += 1
    return counts + 1


def _quantile(density: Density, share: float) -> np.ndarray:
    """Return where each channel's distribution function is ``share``, by bisection; float64 (C)."""
    wanted = float(np.log(share / (1 - share)))
    low = torch.full((density.channels, 1, 1), -float(4 * FARTHEST), dtype=torch.float64)
    high = -low
    for _ in range(60):
        middle = (low + high) / 2
        below = density.logits(middle) < wanted
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return high[:, 0, 0].numpy()
