"""Which figures a study has, and what they show: one list for the drawing, the workflow, and the page.

It imports little, since the Snakefile asks it for the names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from anonbench.report.study import ReportStudy, is_coded, parts

Section = Literal["answer", "rates", "privacy", "detail", "sheet", "coverage", "training", "cost"]
SECTIONS = get_args(Section)


@dataclass(frozen=True)
class Caption:
    """What a figure shows: ``caption`` below it, ``alt`` in its place, ``section`` of the page that it stands in."""

    section: Section
    alt: str
    caption: str


@dataclass(frozen=True)
class Listed:
    """A figure of a study. ``name``: its files' without suffix, in `results/figures` or, of ``cost``, by the page."""

    name: str
    section: Section
    alt: str
    caption: str


CAPTIONS = {
    "impact": Caption(
        "answer",
        "Forest plot: difference to the original per variant, task and category, with intervals",
        "Difference to a model trained on the original images and tested on original images. Bars are 95 % intervals "
        "over validation images (or videos) and seeds, thin ends beyond them simultaneous intervals of the study's "
        "family of questions, open dots single seeds, squares categories that are not people. The band is the study's "
        "margin of no practical difference. Each panel has its own scale; an interval that would more than double it "
        "ends in an arrow.",
    ),
    "tradeoff": Caption(
        "privacy",
        "What is kept against what the strongest attacker finds, per variant and risk",
        "What a variant keeps against what it leaves to an attacker: the share of the original's first metric, of what "
        "the study asks first, and what the strongest attacker finds, a column for each risk that the Article 29 "
        "Working Party names and a panel for each attack. Bars are 95 % intervals, those of attacks of all variants at "
        "once. The strongest attacker of a variant was chosen on people who are not among those that are shown. Lines "
        "join the strengths of one method (their first letters, l for low, or their numbers, such as budgets); levels "
        "of other kinds have their names. The broad grey line is the Pareto front of the means: no variant keeps more "
        "where less is found. A short dash below or above a mark is what the best control finds there: outlines or "
        "surroundings, which no method of a region changes. Left of the axis's break, in shade, variants that keep "
        "little are put close together. Lower right is better. There is no one score: how much of the one is worth how "
        "much of the other is for the reader to say.",
    ),
    "rates": Caption(
        "rates",
        "Rate curves: pictures, what models find and what attackers find over bits per pixel, a line per codec",
        "What is left over the bits that codecs take (per pixel of the frame, whole files, on a logarithmic scale): "
        "the picture outside of faces, what models find in the decoded images, what the strongest attacker finds, over "
        "the bits of the images that are attacked. A line joins the rates of one codec and of what was done before it "
        "was used. Points are means of images, and of seeds; their intervals are in the tables. The dashed line is the "
        "original.",
    ),
    "starts": Caption(
        "answer",
        "Difference to the original on people, by the models' start and learning rate",
        "Difference, on people, to the same model trained on the original images, by start and learning rate. Bars "
        "are 95 % intervals over validation images and seeds. A start that has seen the original images (†) has seen "
        "what the anonymized ones hide. Each panel has its own scale.",
    ),
    "dose": Caption(
        "detail",
        "Dose curves: the metric on people against the strength of each method, with intervals",
        "The first metric on people against the strength of methods that have several levels; at the right, methods "
        "without. Bars are 95 % intervals of the difference to the original, thin ends simultaneous ones. The dashed "
        "line is the original, the band around it the margin of no practical difference. Levels are ranks: steps "
        "between them need not be equal, nor those of two methods alike.",
    ),
    "categories": Caption(
        "detail",
        "Heat map of the difference to the original, a row per category, a column per variant",
        "Difference to the original of every category (rows; people in bold) under every variant (columns): orange "
        "is a drop, blue a gain; each panel has its own scale, whose colours grow with the square root. Bold figures, "
        "or dots where there are many categories, mark intervals that exclude zero: simultaneous ones where a row has "
        "one.",
    ),
    "sizes": Caption(
        "detail",
        "Difference to the original by size of person, beside the share of people changed by size",
        "Difference to the original on people by their size (COCO's: below 32², below 96² pixels, larger), and at the "
        "right the share of people of that size whose region was changed, in the split that is shown. Full dots are "
        "means over seeds, open ones single seeds, whose range the line shows; there are no intervals by size.",
    ),
    "coverage": Caption(
        "coverage",
        "Share of people anonymized per variant, and reasons why others were not",
        "Whose region was changed, and why the others' was not: people of the training split or, where models only "
        "test some variant, of the validation split.",
    ),
    "people": Caption(
        "coverage",
        "Where each person's region comes from, by kind, category and size",
        "Where each person's region comes from, by kind, category and size (COCO's: below 32², below 96² pixels, "
        "larger), and why some have none. The number of people stands at the right.",
    ),
    "curves": Caption(
        "training",
        "Training loss per variant",
        "Training loss, smoothed and averaged over seeds; the axis does not begin at zero. A variant whose loss lies "
        "higher is harder to fit.",
    ),
    "attackers": Caption(
        "training",
        "Training loss of attackers, a panel per attacker, a line per variant that they have learnt from",
        "Training loss of those who learn to attack, smoothed and averaged over seeds: a panel per attacker, a line "
        "per variant that they have learnt from. Panels of one attack share a logarithmic scale. Where a loss still "
        "falls at the end, a longer training would likely find more: what such an attacker finds is a lower bound. A "
        "flat end alone proves nothing, since the learning rate falls to zero. A loss that hardly falls at all is of "
        "somebody who has found little to learn.",
    ),
    "cost": Caption(
        "cost",
        "Wall time of each variant by stage, beside the difference on people",
        "Wall time that each variant took, summed over jobs (seeds, shards), beside the difference on people that it "
        "made. Fitting and anonymizing are done once for all models. Seconds differ from run to run.",
    ),
    "restored": Caption(
        "privacy",
        "The same people as they are, as variants leave them, and as attackers who know the method restore them",
        "The same people as they are, as a variant leaves them, and as an attacker restores them who undoes the "
        "method, as learnt on other people or computed from its parameters; of the first seed. Chosen by rule: those "
        "whose originals have most in them, whatever became of them. An illustration: a likely picture of somebody "
        "else looks as well.",
    ),
    "sheet": Caption(
        "sheet",
        "The same people under every variant",
        "The same people under every variant, of the training split or, where models only test some variant, of the "
        "validation split: the face enlarged, and the whole person. Chosen by rule, not by look: people whom all "
        "variants changed, or as many as possible, at even quantiles of their height, and last somebody whom a variant "
        "left visible, for the most frequent reason. A dashed frame marks what a variant did not change.",
    ),
}
"""By kind of figure; workflow/report/ holds the same captions for Snakemake's own report."""

AS_IT_IS = {
    "impact": "Difference to the same model on the original images. Bars are 95 % intervals over validation images "
    "(and fits of a method that is fitted for each seed), thin ends simultaneous ones. The band is the study's margin "
    "of no practical difference. Each panel has a scale of its own.",
}
"""Captions of a study that trains nothing."""


def dosed(variants: Iterable[str]) -> dict[tuple[str, str], list[str]]:
    """Return the variants by region and method, mild first, of methods of which there are two levels or more.

    ``low``, ``medium`` and ``high`` and names with a number have an order of their own; others keep the study's and,
    beside such that have one, are no strengths but other ways, and left out. Codecs are left out: their dose is a rate,
    and has a figure of its own.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for variant in variants:
        region, method, level = parts(variant)
        if level and not is_coded(variant):
            found.setdefault((region, method), []).append(variant)
    ordered = {key: [v for v in of if _strength(v)[0] < UNORDERED] or of for key, of in found.items()}
    return {key: by_strength(of) for key, of in ordered.items() if len(of) > 1}


def by_strength(variants: Iterable[str]) -> list[str]:
    """Return variants by their levels, mild first; those whose levels have no order last, as they come."""
    return sorted(variants, key=_strength)


UNORDERED = 2
"""What `_strength` begins with for levels that have no order."""


def _strength(variant: str) -> tuple[int, float]:
    level = parts(variant)[2]
    known = ("low", "medium", "high")
    digits = "".join(letter for letter in level if letter in "0123456789.").strip(".")
    if level in known:
        return (0, known.index(level))
    return (1, float(digits)) if digits.replace(".", "", 1).isdigit() else (UNORDERED, 0)


def names(variants: Iterable[str], starts: bool, attacked: bool = False, learnt: bool = False) -> tuple[str, ...]:
    """Return the figures that are drawn from a study's tables, in the order in which they are to be read.

    ``starts``: some of its models differ in first weights or learning rate alone; ``attacked``: variants are attacked;
    ``learnt``: by attackers that learn.
    """
    variants = list(variants)
    coded = any(map(is_coded, variants))
    asked = {
        "rates": coded, "tradeoff": attacked, "starts": starts, "dose": bool(dosed(variants)), "attackers": learnt,
    }  # fmt: skip
    drawn = (
        "impact", "rates", "tradeoff", "starts", "dose", "categories", "sizes", "coverage", "people", "curves",
        "attackers",
    )  # fmt: skip
    return tuple(name for name in drawn if asked.get(name, True))


def listed(study: ReportStudy) -> list[Listed]:
    """Return all figures of a study with what they show, the sheets of people and the panel of its cost among them."""
    trains = bool(set(study.models) - set(study.untrained))
    of, found = study.attacks, []
    for name in (
        *names(study.variants, bool(study.starts), of is not None, of is not None and bool(of.learners)),
        "cost",
        *(f"restored-{d}" for d in study.restored()),
        *(f"sheet-{d}" for d in study.datasets if len(study.variants_of(d)) > 1),
    ):
        if name == "curves" and not trains:
            continue
        kind = name if name in CAPTIONS else name.partition("-")[0]
        said = CAPTIONS[kind]
        caption = said.caption if trains else AS_IT_IS.get(kind, said.caption)
        found.append(Listed(name, said.section, said.alt, caption))
    return found
