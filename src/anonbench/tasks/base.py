"""What a task is: everything that `evaluate` and `report` need to know of it. They know none by name.

A task takes a trainer's outputs for an image, as written by `encode`, and the truth of a split, and measures the model
once (`measure`). With the measures it hands out *evidence*: arrays from which `score` computes the first metric again
when some images, videos or people are drawn several times and others not at all, which is where intervals come from.
"""

from __future__ import annotations

import abc
import copy
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np

from anonbench import registry
from anonbench.errors import AnonbenchError, nearest
from anonbench.tasks.engines import Engine
from anonbench.tasks.truth import Sampled, Truth, counts_in

Evidence = Mapping[str, np.ndarray]
Measures = dict[str, float | None]
"""Values by the name of a metric; None where there is nothing to measure."""

ALL, UNTOUCHED = "all", "untouched"
"""Names of the report's means over parts: every one, and every one that is not people. No part may have them."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A number that a task measures. ``shown``: it has rows in the report's tables, not in metrics.json alone.

    ``size``: it is the first metric on instances of that size alone, such as ``small``.
    """

    name: str
    unit: str
    best: Literal["higher", "lower"] = "higher"
    shown: bool = True
    size: Literal["", "small", "medium", "large"] = ""


@dataclass(frozen=True, slots=True)
class Part:
    """The measures of one part of the truth, such as a category.

    ``instances`` counts what it was judged on. ``evidence`` is None for a part that cannot be judged.
    """

    measures: Measures
    instances: int
    evidence: Evidence | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a task says of one model.

    ``overall`` are the measures of everything, ``parts`` those of each part by name. ``groups`` (G) are the ids of what
    is drawn when the evidence is resampled, each an independent ``sampled``. ``people`` names the parts that are about
    people; the others serve as controls. ``skipped`` says why something could not be judged, by the part's name ('' for
    the task as a whole). ``details`` is what else JSON can hold of them, for whoever looks closer at one model.
    """

    overall: Measures
    parts: dict[str, Part]
    groups: np.ndarray
    sampled: Sampled = "image"
    people: frozenset[str] = frozenset()
    skipped: dict[str, str] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict, repr=False)


AGAIN = "run the training's prediction again"
OTHER = "the predictions are of another data set or split: give the annotations that they were made for"
"""Remedies of a file of predictions."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with an entry of a file of predictions, and what to do about it."""

    message: str
    remedy: str = AGAIN


class Task(abc.ABC):
    """A task. Register a subclass in the entry-point group ``anonbench.tasks``; its name is the entry point's."""

    metrics: tuple[Metric, ...]
    """What is measured; differences, intervals and verdicts are about the first."""

    leaders: ClassVar[tuple[str, ...]] = ()
    """Names of other metrics that `score` can compute, so that a study may have one of them for the first."""

    title: str
    """The first metric in a heading, such as ``box AP``: it ends with the metric's name, if the task has `leaders`."""

    entries: ClassVar[str]
    """Key of a trainer's outputs and of their list in a file of predictions. Tasks may share one."""

    floor: ClassVar[float | None] = None
    """Value of the first metric that a model must reach on the original for a difference to it to say anything; see
    `floor_of`."""

    def floor_of(self, evidence: Evidence) -> float | None:
        """Return the floor of a part by its evidence, of a task in which knowing nothing gives more for some parts."""
        return self.floor

    def learnt(self, value: float, floor: float | None) -> bool:
        """Tell whether a value of the first metric is at a floor or better; without a floor, always."""
        if floor is None:
            return True
        return not (value < floor if self.metrics[0].best == "higher" else value > floor)

    @classmethod
    def firsts(cls) -> tuple[str, ...]:
        """Return names of the metrics that a study may have for the first: the task's own, then `leaders`."""
        return (cls.metrics[0].name, *cls.leaders)

    def led_by(self, metric: str | None) -> Self:
        """Return the task with one of its `leaders` as its first metric; itself for any other name, and for None."""
        first = self.metrics[0].name
        if metric not in self.leaders or metric == first:
            return self
        task = copy.copy(self)
        task.metrics = tuple(sorted(self.metrics, key=lambda one: one.name != metric))
        task.title = self.title.removesuffix(first) + task.metrics[0].name
        return task

    all_people: ClassVar[bool] = False
    """Whether each part about people is about all of them, not about the category that has its name."""

    def by(self, engine: Engine) -> Self:
        """Return the task as an engine computes it; a task that is not COCO's has no choice, and returns itself."""
        return self

    @abc.abstractmethod
    def encode(self, output: Any, people: frozenset[int]) -> dict[str, Any]:
        """Return one of a trainer's outputs as an entry of the predictions: JSON with at least an ``image_id``.

        ``people`` are the ids of the categories of people.
        """

    @abc.abstractmethod
    def problem(self, entry: dict[str, Any], truth: Truth) -> Problem | None:
        """Return what is wrong with an entry, whose image is known to be one of the truth's; None if nothing is."""

    def sound(self, entries: Sequence[dict[str, Any]], truth: Truth) -> bool:
        """Tell whether none of many entries has a `problem`, where that can be told faster than by asking each.

        False where it cannot, or where some has: which, `problem` says.
        """
        return False

    def unranked(self, entries: Sequence[dict[str, Any]], trained: bool) -> Problem | None:
        """Return why entries, each of which is sound, cannot be measured together; None where they can.

        ``trained``: whether they say that they are of a model that was trained here, whose failures are results.
        """
        return None

    @abc.abstractmethod
    def measure(self, truth: Truth, entries: Sequence[dict[str, Any]]) -> Outcome:
        """Measure a model's entries against the truth."""

    @abc.abstractmethod
    def score(self, evidence: Evidence, weights: np.ndarray | None = None) -> np.ndarray:
        """Return the first metric, each group counted as often as its weight says.

        ``weights`` is (B, G), whole numbers, and the result (B,), NaN where nothing is left to judge; without weights
        every group counts once and the result has no dimension.
        """

    def subset(self, truth: Truth, entries: Sequence[dict[str, Any]], name: str, parts: Sequence[str]) -> Outcome:
        """Measure the named parts on an evaluation subset: the images and annotations that count in it.

        A task that can leave an annotation out of account, so that finding it is neither right nor wrong, overrides it.
        """
        within = truth.images_of(name)
        within = replace(within, annotations=[a for a in within.annotations if counts_in(a, name)])
        outcome = self.measure(within, [e for e in entries if e["image_id"] in within.images])
        return replace(outcome, parts={part: outcome.parts[part] for part in parts if part in outcome.parts})


@functools.cache
def load(name: str) -> Task:
    """Return a registered task; raise AnonbenchError naming the nearest known one."""
    task: Task = registry.load("tasks", name)()
    return task


@functools.cache
def led(name: str, metric: str | None) -> Task:
    """Return a registered task with a metric as its first, where that is one of its `Task.leaders`."""
    return load(name).led_by(metric)


def known(names: Sequence[str]) -> list[str]:
    """Return the given names in the order in which they are reported: ours first, then others as they come.

    Raises AnonbenchError for one that is not registered.
    """
    registered = registry.names("tasks")
    for name in names:
        if name not in registered:
            raise AnonbenchError(f"unknown task '{name}'{nearest(name, registered)}")
    return sorted(names, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))


FIRST = ("detection", "segmentation", "pose", "people", "faces", "action")
"""Tasks that come before others in a report."""


def learnt(name: str, value: float, floor: float | None) -> bool:
    """Tell whether a value passes a task's floor; always where the task is not installed."""
    return load(name).learnt(value, floor) if name in registry.names("tasks") else True


def title(name: str, metric: str | None = None) -> str:
    """Return a task's title with a metric as its first (see `led`), or its name where it is not installed.

    Tables are read elsewhere, too.
    """
    return led(name, metric).title if name in registry.names("tasks") else name
