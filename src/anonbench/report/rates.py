"""What codecs take and leave: bits per pixel, pictures outside of faces, what is found, and how curves differ."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pandas as pd
from tabulate import tabulate

from anonbench.directions import ON_DEPLOYED, ON_ORIGINAL, ON_SAME
from anonbench.distortion import WITHIN
from anonbench.errors import AnonbenchError
from anonbench.manifests import summary_path
from anonbench.report.collect import PEOPLE, Sources
from anonbench.report.study import ORIGINAL, ReportStudy, is_coded, parts
from anonbench.report.tables import heading, is_number, joined, most_frequent, number, primary, rows_of
from anonbench.statistics.bjontegaard import bd_rate, common

RATE_COLUMNS = (
    "dataset", "split", "variant", "method", "curve", "frames", "bpp", "bpp_target", "share_picture", "quality", "psnr",
    "msssim", "weak", "split_attacked", "frames_attacked", "bpp_attacked",
)  # fmt: skip
"""Columns of rates.csv, a row per variant that a codec has made, from its manifests. ``split``: what all but the last
three are of, the split that is tested on, where that is anonymized, else the one that is trained on. ``curve``: what it
is joined with (`curve_of`); ``bpp``: bits of the file per pixel, mean of the frames; ``bpp_target``: the rate that was
asked for in each split, empty where a quality or a step was; ``share_picture``: the share (0..1) of bits that code the
picture, the rest are headers and tables; ``quality``: the codec's own; ``psnr`` (decibels) and ``msssim``: outside of
faces, means of the frames; ``weak``: people who may still be recognised by what was done to them, as their rows say.
``split_attacked``: the split whose people are attacked, with ``frames_attacked`` and ``bpp_attacked`` of it; all three
are empty where nobody attacks the variant. Of a variant whose method is fitted anew for each seed, means over its fits,
of what is attacked over those that attackers see."""

BD_COLUMNS = ("dataset", "curve", "anchor", "measure", "points", "bd_rate", "common_low", "common_high")
"""Columns of bd_rates.csv: by how many per cent more bits ``curve`` takes than ``anchor`` for as good a picture by a
``measure`` (`statistics.bjontegaard`), empty where nothing can be said, as are the ends of what is averaged over:
``common_low`` and ``_high``, the qualities that both curves have, in the measure's unit."""

PSNR, MSSSIM = "PSNR outside faces, dB", "MS-SSIM outside faces"

WHAT = {ON_DEPLOYED: "", ON_ORIGINAL: ", trained on it", ON_SAME: ", trained and tested on it"}
"""What a measure says of its direction; usually codecs are in use, and models see what was decoded."""

_LEVEL = re.compile(r"([a-z]+)\d+")


class Series(NamedTuple):
    """One measure of a data set's variants: values by variant, the original's, and its unit; ``found`` by attackers."""

    name: str
    values: dict[str, float]
    original: float | None
    found: bool = False


def curve_of(variant: str) -> str:
    """Return the curve that a variant is a point of: its method and what its level is called but for a number.

    A letter alone before the number is no name: ``frame-jpeg-q20`` is a point of ``jpeg``, ``frame-jpeg-faceblur2`` of
    ``jpeg faceblur``.
    """
    _, method, level = parts(variant)
    found = _LEVEL.fullmatch(level)
    name = found[1] if found else ""
    return f"{method} {name}" if len(name) > 1 else method


def rates(study: ReportStudy, sources: Sources) -> pd.DataFrame:
    """Return the table of rates (see `RATE_COLUMNS`); raise AnonbenchError for a manifest that is missing."""
    rows = []
    for dataset, splits in study.datasets.items():
        for variant in filter(is_coded, study.variants_of(dataset)):
            folder = sources.anonymized / dataset
            which = "val" if summary_path(folder / variant, splits["val"]).exists() else "train"
            fits = [m for m in study.made(variant) if m == variant or summary_path(folder / m, splits[which]).exists()]
            means = _means(sources, dataset, fits, splits[which])
            row = {
                "dataset": dataset, "split": splits[which], "variant": variant, "method": parts(variant)[1],
                "curve": curve_of(variant), **means, "split_attacked": "",
            }  # fmt: skip
            seen = study.attacked(dataset, variant)
            if seen:
                attacked = study.attacked_split(dataset)
                of = _means(sources, dataset, seen, attacked)
                row |= {"split_attacked": attacked, **{f"{name}_attacked": of[name] for name in ("frames", "bpp")}}
            rows.append(row)
    frame = pd.DataFrame(rows, columns=list(RATE_COLUMNS))
    numbers = ("bpp", "bpp_target", "share_picture", "quality", "psnr", "msssim", "bpp_attacked")
    return frame.astype(dict.fromkeys((*numbers, "frames_attacked"), float)).round(4)


def _means(sources: Sources, dataset: str, fits: Sequence[str], split: str) -> dict[str, Any]:
    """Return the means over a variant's fits of what their manifests of a split say."""
    taken = pd.DataFrame([_taken(sources, dataset, made, split) for made in fits]).astype(float)
    means: dict[str, Any] = {str(name): mean for name, mean in taken.mean().items()}
    return means | {name: round(means[name]) for name in ("frames", "weak")}


def _taken(sources: Sources, dataset: str, variant: str, split: str) -> dict[str, Any]:
    """Return what the manifest of a variant's split says, by the columns of rates.csv."""
    manifest = sources.manifest_of(dataset, variant, split)
    assert manifest is not None
    means = {name: of.get("mean") for name, of in (manifest.get("facts_mean") or {}).items()}
    if not is_number(means.get("bpp")):
        raise AnonbenchError(
            f"{dataset} {variant} {split}: its manifest does not say what the codec took",
            remedy="run the anonymize stage again",
        )
    picture = means.get("picture_bits")
    return {
        "frames": manifest["facts_mean"]["bpp"]["count"], "bpp": means["bpp"],
        "bpp_target": (manifest.get("parameters") or {}).get("bpp"),
        "share_picture": picture / means["bits"] if picture is not None and means.get("bits") else None,
        "quality": means.get("quality"), "psnr": means.get("psnr_outside_faces"),
        "msssim": means.get("msssim_outside_faces"), "weak": manifest["people"].get("weak", 0),
    }  # fmt: skip


def rate_of(row: Any, attacked: bool) -> float:
    """Return the bits per pixel of a row of rates.csv, of the split that is ``attacked`` if that is asked for."""
    return float(row.bpp_attacked if attacked and elsewhere(row) else row.bpp)


def elsewhere(row: Any) -> bool:
    """Tell whether the people of a row of rates.csv are attacked in another split than it is about."""
    return is_number(getattr(row, "bpp_attacked", None)) and row.split_attacked != row.split


def off_target(taken: pd.DataFrame) -> list[str]:
    """Say of which variants the frames take more or less than was asked for, by more than `WITHIN`.

    Of a learned codec that was given a step it is said where it comes to no rate that others were asked for.
    """
    found = []
    for dataset, mine in taken.groupby("dataset", sort=False):
        off, apart = [], []
        asked = sorted({row.bpp_target for row in rows_of(mine) if is_number(row.bpp_target)})
        for row in rows_of(mine):
            reached = [(row.bpp, ""), *([(row.bpp_attacked, f" on {row.split_attacked}")] if elsewhere(row) else [])]
            off += [
                f"{row.variant} ({bpp:.3f} instead of {row.bpp_target:g}{where})"
                for bpp, where in reached
                if is_number(row.bpp_target) and _off(bpp, row.bpp_target) > WITHIN
            ]
            if not asked or is_number(row.bpp_target) or is_number(row.quality):
                continue
            nearest = [(bpp, where, min(asked, key=functools.partial(_off, bpp))) for bpp, where in reached]
            apart += [
                f"{row.variant} ({bpp:.3f}{where}, nearest {rate:g})"
                for bpp, where, rate in nearest
                if _off(bpp, rate) > WITHIN
            ]
        if off:
            found.append(
                f"{dataset}: {joined(off)} {'takes' if len(off) == 1 else 'take'} other bits per pixel than asked for, "
                f"by more than {100 * WITHIN:.0f} %: the sampled frames were matched, and all take others. Compare "
                "curves, not single rates."
            )
        if apart:
            found.append(
                f"{dataset}: {joined(apart)} {'has a rate' if len(apart) == 1 else 'have rates'} more than "
                f"{100 * WITHIN:.0f} % from any that others were asked for, and "
                f"{'was' if len(apart) == 1 else 'were'} asked for none (bpp). Compare curves, not single rates."
            )
    return found


def _off(bpp: float, rate: float) -> float:
    """Return by which share a rate is off another."""
    return abs(bpp / rate - 1)


def pictures(mine: pd.DataFrame) -> list[Series]:
    """Return what is to be drawn of pictures outside of faces; ``mine`` are a data set's rows of rates.csv."""
    return [
        Series(
            name,
            {row.variant: float(getattr(row, column)) for row in rows_of(mine) if is_number(getattr(row, column))},
            None,
        )
        for name, column in ((PSNR, "psnr"), (MSSSIM, "msssim"))
    ]


def series(taken: pd.DataFrame, table: pd.DataFrame, privacy: pd.DataFrame | None, dataset: str) -> list[Series]:
    """Return what there is to draw over the rates of a data set: pictures, models tested on variants, attackers.

    ``taken`` is rates.csv, ``table`` impact.csv, ``privacy`` privacy.csv.
    """
    mine = taken[taken.dataset == dataset]
    found = pictures(mine)
    coded = set(mine.variant)
    rows = primary(table)
    rows = rows[(rows.dataset == dataset) & (rows.group == PEOPLE)]
    for (model, task, direction), part in rows.groupby(["model", "task", "direction"], sort=False):
        if not coded & set(part.variant):
            continue
        part = part[(part.category == most_frequent(part)) & part.value.notna()]
        of = {row.variant: float(row.value) for row in rows_of(part)}
        what = WHAT[str(direction)]
        name = f"{heading(part, str(task))}: {model}{what}"
        found.append(Series(name, {v: x for v, x in of.items() if v in coded}, of.get(ORIGINAL)))
    if privacy is not None:
        told = privacy[(privacy.dataset == dataset) & (privacy.headline == "true")]
        for attack, part in told.groupby("attack", sort=False):
            for name, rows in _tried(str(attack), part):
                of = {row.variant: 100 * float(row.value) for row in rows_of(rows) if is_number(row.value)}
                found.append(Series(name, {v: x for v, x in of.items() if v in coded}, of.get(ORIGINAL), True))
    return [one for one in found if one.values]


def _tried(attack: str, part: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield what is drawn of an attack, a name and rows of privacy.csv: each variant's strongest attacker.

    Of detectors each by itself: one that looks for faces and one that looks for people answer two questions, and a line
    from the one's recall to the other's would be of neither.
    """
    whom = dict.fromkeys(part.attacker)
    if (part.knowledge != "").any() or len(whom) < 2:
        yield f"attack {attack}, %", part[part.chosen == "true"]
        return
    for name in whom:
        yield f"attack {attack}: {name}, %", part[part.attacker == name]


def anchor_of(curves: Sequence[str]) -> str:
    """Return the curve that others are compared with: JPEG, or without it the first."""
    return "jpeg" if "jpeg" in curves else curves[0]


def bd_rates(taken: pd.DataFrame) -> pd.DataFrame:
    """Return the differences of curves (see `BD_COLUMNS`) for as good a picture.

    Not for as much as models find: curves that are equal differ there by noise, and no interval would say how much.
    """
    rows = []
    for dataset, mine in taken.groupby("dataset", sort=False):
        curves = list(dict.fromkeys(mine.curve))
        anchor = anchor_of(curves)
        for one in filter(lambda one: one.values, pictures(mine)):
            points = {curve: list(_points(mine[mine.curve == curve], one)) for curve in curves}
            for curve in curves:
                if curve != anchor:
                    ends = common(points[anchor], points[curve]) or (None, None)
                    rows.append(
                        {
                            "dataset": dataset, "curve": curve, "anchor": anchor, "measure": one.name,
                            "points": len(points[curve]), "bd_rate": bd_rate(points[anchor], points[curve]),
                            "common_low": ends[0], "common_high": ends[1],
                        }
                    )  # fmt: skip
    return pd.DataFrame(rows, columns=list(BD_COLUMNS)).astype(dict.fromkeys(BD_COLUMNS[-3:], float)).round(4)


def _points(mine: pd.DataFrame, one: Series) -> Iterator[tuple[float, float]]:
    for row in rows_of(mine):
        if row.variant in one.values:
            yield float(row.bpp), one.values[row.variant]


def rate_table(
    taken: pd.DataFrame, table: pd.DataFrame, privacy: pd.DataFrame | None, dataset: str
) -> tuple[list[str], list[list[str]]]:
    """Return heads and lines of what a data set's codecs take and leave, by curve and rate; first the original."""
    found = series(taken, table, privacy, dataset)
    mine = taken[taken.dataset == dataset]
    # the rate that attackers met stands beside the other one where they attack another split
    splits = list(dict.fromkeys(mine.split))
    others = list(dict.fromkeys(row.split_attacked for row in rows_of(mine) if elsewhere(row)))
    bits = [f"bits per pixel of {joined(splits)}", *(f"of {split}, which is attacked" for split in others)]
    heads = ["variant", *bits, "picture's share", "people not hidden", *(one.name for one in found)]
    whole = ["" if one.original is None else number(one.original) for one in found]
    lines = [[ORIGINAL, *("" for _ in bits), "", "", *whole]]
    order = {curve: k for k, curve in enumerate(dict.fromkeys(mine.curve))}
    for row in sorted(rows_of(mine), key=lambda row: (order[row.curve], row.bpp)):
        share = f"{100 * row.share_picture:.0f} %" if is_number(row.share_picture) else "–"
        cells = [_cell(one, row.variant) for one in found]
        attacked = [f"{row.bpp_attacked:.3f}" if elsewhere(row) and row.split_attacked == s else "–" for s in others]
        lines.append([row.variant, f"{row.bpp:.3f}", *attacked, share, str(int(row.weak)), *cells])
    return heads, lines


def _cell(one: Series, variant: str) -> str:
    value = one.values.get(variant)
    if value is None:
        return "–"
    return f"{value:.4f}" if one.name == MSSSIM else number(value)


def bd_table(differences: pd.DataFrame, dataset: str) -> tuple[list[str], list[list[str]]]:
    """Return heads and lines of a data set's differences of curves: a line per curve, a column per measure."""
    mine = differences[differences.dataset == dataset]
    measures = list(dict.fromkeys(mine.measure))
    lines = []
    for curve, part in mine.groupby("curve", sort=False):
        of: dict[str, Any] = {row.measure: row for row in rows_of(part)}
        lines.append([str(curve), *(_difference(of.get(m)) for m in measures)])
    return ["curve", *measures], lines


def _difference(row: Any) -> str:
    """Return a difference of curves, with the qualities that it is about."""
    if row is None or not is_number(row.bd_rate):
        return "–"
    low, high = (f"{end:.3f}" if row.measure == MSSSIM else number(end) for end in (row.common_low, row.common_high))
    return f"{number(row.bd_rate, True)} % ({low} to {high})"


def rates_markdown(
    taken: pd.DataFrame, differences: pd.DataFrame, table: pd.DataFrame, privacy: pd.DataFrame | None
) -> str:
    """Return rates and differences of curves as Markdown."""
    said = ["# Rates", ""]
    for dataset in dict.fromkeys(taken.dataset):
        heads, lines = rate_table(taken, table, privacy, dataset)
        said += [f"## {dataset}", "", tabulate(lines, headers=heads, tablefmt="github", disable_numparse=True), ""]
        heads, lines = bd_table(differences, dataset)
        if lines:
            anchor = differences[differences.dataset == dataset].anchor.iloc[0]
            said += [
                f"BD-rate: bits that a curve takes more than {anchor} for as good a picture (below 0: less), in the "
                "mean over the qualities that both reach, which stand beside it.",
                "",
            ]
            said += [tabulate(lines, headers=heads, tablefmt="github", disable_numparse=True), ""]
    return "\n".join(said)
