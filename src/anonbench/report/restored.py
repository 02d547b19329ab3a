"""What attackers restore, to be looked at: the same people as they are, as a variant leaves them, and restored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from anonbench.errors import AnonbenchError, nearest
from anonbench.report.attempts import NAIVE, REVERSE, read_metrics, reading_scores
from anonbench.report.figures.style import save, styled
from anonbench.report.study import ORIGINAL, RESTORE, ReportStudy

ORIGINALS = "original"

DPI = 120
CELL = 0.62
"""Height of a picture in inches."""
BESIDE = 3.0
"""Width of what is written beside a row, in inches."""


@dataclass(frozen=True)
class Row:
    """Pictures of some people, uint8 (E, height, width, 3) RGB, and what they are."""

    name: str
    pictures: np.ndarray


@dataclass(frozen=True)
class _Kept:
    """What an attacker's job kept: its configuration and pictures, as it saw people and as they are."""

    attacker: Mapping[str, Any]
    seen: np.ndarray
    original: np.ndarray

    @property
    def sees(self) -> tuple[Any, ...]:
        """What attackers have in common who show the same people alike."""
        return tuple(self.attacker.get(key) for key in ("region", "view", "width", "height"))


def write_restored(study: ReportStudy, dataset: str, attacks: Path, out: Path) -> list[str]:
    """Draw ``restored-<dataset>`` and return the file names.

    A block for what attackers see (a face, a body), a row per variant and attacker, of the first seed. Raises
    AnonbenchError for an unknown data set, one that nobody restores, and for attacks that are missing or damaged.
    """
    if dataset not in study.restored():
        raise AnonbenchError(
            f"has nobody who restores anything: '{dataset}'{nearest(dataset, study.restored())}", entry="--dataset",
            remedy="name a data set that the attack restore is made on",
        )  # fmt: skip
    blocks = _blocks(study, dataset, attacks)
    with styled():
        return save(_draw(blocks), out, f"restored-{dataset}", study.vector_formats, tight=False, dpi=DPI)


def _blocks(study: ReportStudy, dataset: str, attacks: Path) -> list[list[Row]]:
    """Return rows by what attackers see: the originals, then each variant as it is left and as it is restored."""
    assert study.attacks is not None
    seed = study.attacks.seeds[0]
    blocks: dict[tuple[Any, ...], list[Row]] = {}
    for variant in study.variants_of(dataset):
        made = study.made_with(variant, seed)
        kept = [
            (name, _read(attacks / dataset / made / RESTORE / name / f"seed{seed}", variant, seed))
            for name in (() if variant == ORIGINAL else study.attacks.whom(RESTORE, variant))
        ]
        for sees in dict.fromkeys(one.sees for _, one in kept):
            mine = [(name, one) for name, one in kept if one.sees == sees]
            left = [one for _, one in mine if one.attacker.get("knowledge") == NAIVE]
            rows = blocks.setdefault(sees, [Row(ORIGINALS, mine[0][1].original)])
            rows += [Row(f"{variant}, as it is left", one.seen) for one in left[:1]]
            who = "" if left else f"{variant}, "
            back = [(name, one) for name, one in mine if one.attacker.get("knowledge") == REVERSE]
            rows += [Row(f"{who}restored by {name}", one.seen) for name, one in back]
    return list(blocks.values())


def _read(folder: Path, variant: str, seed: int) -> _Kept:
    """Return what an attacker kept; raise AnonbenchError where it is missing, damaged or another attack's."""
    attacker = read_metrics(folder, RESTORE, variant, seed)["attacker"] or {}
    with reading_scores(folder) as arrays:
        seen, original = arrays["pictures/seen"], arrays["pictures/original"]
        if seen.dtype != np.uint8 or seen.ndim != 4 or seen.shape != original.shape or seen.shape[3] != 3:
            raise ValueError(f"pictures of shape {seen.shape} and {original.shape}")
    return _Kept(attacker, seen, original)


def _draw(blocks: list[list[Row]]) -> Figure:
    """Paste all pictures into one at the figure's own resolution, and write beside it."""
    gap, side, tall = (round(v * DPI) for v in (0.04, BESIDE, CELL))
    wide = [round(tall * rows[0].pictures.shape[2] / rows[0].pictures.shape[1]) for rows in blocks]
    width = side + max(len(rows[0].pictures) * (w + gap) for rows, w in zip(blocks, wide, strict=True))
    height = sum(len(rows) * (tall + gap) + 4 * gap for rows in blocks)
    canvas = Image.new("RGB", (width, height), "white")
    figure = Figure(figsize=(width / DPI, height / DPI))
    axis = figure.add_axes((0, 0, 1, 1), zorder=-1)
    top = 2 * gap
    for rows, w in zip(blocks, wide, strict=True):
        for row in rows:
            weight = "bold" if row.name == ORIGINALS else "normal"
            middle = 1 - (top + tall / 2) / height
            figure.text((side - 3 * gap) / width, middle, row.name, ha="right", va="center", weight=weight)
            for column, picture in enumerate(row.pictures):
                enlarged = Image.fromarray(picture).resize((w, tall), Image.Resampling.BICUBIC)
                canvas.paste(enlarged, (side + column * (w + gap), top))
            top += tall + gap
        top += 4 * gap
    axis.imshow(canvas, aspect="auto", interpolation="none")
    axis.axis("off")
    return figure
