"""What the jobs of each rule ask of a cluster: memory and time, as measured, by the number of images.

A job that needs more is ended by the cluster and tried again with twice as much (``retries`` in the profiles).
Whoever knows better says so for a rule (``--set-resources train:runtime=600``). Where Snakemake runs the jobs itself,
none of it matters.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from anonbench import registry
from anonbench.config import Study
from anonbench.variants import Variant
from anonbench.workflow.files import Files

MEMORY_SPARE = 1.5
"""Asked for, by measured memory: images differ in size, and annotations in number."""
TIME_SPARE = 4
"""Asked for, by measured time: another machine may be slower, and its disk busy."""
LEAST_MIB = 500
LEAST_MINUTES = 10
"""Less is not asked for: a job is not started sooner for it."""
GPU_MIB = 6000
"""Memory of the machine that a job takes for using its GPU."""
UNKNOWN = 118_287
"""Images of a split that is not downloaded yet: COCO train2017's, which a dry run then plans for."""


class Need(NamedTuple):
    """What a job was measured to take: MiB and seconds, for itself and for each thousand images."""

    mib: float
    mib_per_1000: float
    seconds: float
    seconds_per_1000: float


MEASURED = {
    "annotate": Need(180, 10, 2, 5),
    "detect": Need(400, 2, 5, 400),
    "regions": Need(215, 4, 2, 2),
    "fit": Need(2000, 10, 3600, 60),
    "fit_attacker": Need(1000, 10, 600, 600),
    "anonymize": Need(250, 15, 2, 10),
    "merge": Need(135, 10, 1, 2),
    "train": Need(900, 2, 60, 0),
    "predict": Need(950, 5, 10, 100),
    "evaluate": Need(210, 30, 2, 30),
    "attack": Need(1000, 20, 60, 300),
    "report_tables": Need(290, 20, 10, 30),
    "report_figures": Need(290, 0, 10, 0),
    "report_sheet": Need(250, 10, 10, 5),
    "report_restored": Need(250, 0, 10, 0),
    "report_html": Need(250, 0, 10, 0),
}
"""By rule (docs/measurements/scale.md). Times are of one core, those of a network's jobs of two or of a GPU."""

NETWORK = Need(900, 15, 10, 200)
"""What `anonymize` takes with a method that runs a network on each person."""
CODED = Need(400, 15, 150, 500)
"""The same with a codec that is not fitted; each shard searches for the quality of a rate in up to 256 frames."""
CODED_BY_NETWORK = NETWORK._replace(seconds=CODED.seconds)
"""The same with a learned codec, whose shards search for steps."""
OWN_ENVIRONMENT = Need(4000, 15, 60, 10_000)
"""The same with a method that has an environment of its own: a published generator, seconds a person."""
ON_GPU = frozenset(("fit", "fit_attacker", "train", "predict", "attack"))
"""Rules that run a network; `anonymize` does with some methods."""
SECONDS_PER_IMAGE = {"compact": 0.05, "gpu": 0.3, "cpu": 5.0}
"""One image in one training step: of a compact network on a core, of any other on a GPU and without one."""


class Needs:
    """The memory and the time that the rules ask for."""

    def __init__(self, study: Study, files: Files, gpus: int = 0) -> None:
        self.study = study
        self.files = files
        self.gpus = gpus
        self._counts: dict[tuple[str, str], int] = {}

    def memory(self, rule: str) -> Callable[[Any, int], int]:
        """Return a resource function: the megabytes of a rule's job at an attempt."""

        def megabytes(wildcards: Any, attempt: int) -> int:
            need, images, _ = self._of(rule, wildcards)
            mib = MEMORY_SPARE * (need.mib + need.mib_per_1000 * images / 1000)
            if self.gpus and (rule in ON_GPU or need in (NETWORK, OWN_ENVIRONMENT)):
                mib += GPU_MIB
            return math.ceil(max(LEAST_MIB, mib) / 100) * 100 * 2 ** (attempt - 1)

        return megabytes

    def time(self, rule: str) -> Callable[[Any, int], int]:
        """Return a resource function: the minutes of a rule's job at an attempt."""

        def minutes(wildcards: Any, attempt: int) -> int:
            need, images, shards = self._of(rule, wildcards)
            seconds = need.seconds + need.seconds_per_1000 * images / shards / 1000
            if rule == "train":
                seconds += self._steps(wildcards.model, images)
            return max(LEAST_MINUTES, math.ceil(TIME_SPARE * seconds / 60)) * 2 ** (attempt - 1)

        return minutes

    def images(self, dataset: str, split: str) -> int:
        """Return how many images a split has by its download record, or `UNKNOWN`."""
        key = (dataset, split)
        if key not in self._counts:
            try:
                record = json.loads(Path(self.files.folder("data"), dataset, "download.json").read_bytes())
                self._counts[key] = int(record["splits"][split]["images"])
            except (OSError, ValueError, KeyError, TypeError):
                return UNKNOWN
        return self._counts[key]

    def _of(self, rule: str, w: Any) -> tuple[Need, int, int]:
        """Return what was measured of a rule, the images that a job of it knows of, and the jobs that share them."""
        if rule == "report_sheet":
            return MEASURED[rule], self.images(w.dataset, self.study.shown_split(w.dataset)), 1
        if rule.startswith("report_"):
            return MEASURED[rule], sum(self.images(d, self.files.training_split(d)) for d in self.study.datasets), 1
        need = self._method(w.variant) if rule == "anonymize" else MEASURED[rule]
        shards = self.study.anonymize.shards if rule in ("anonymize", "detect") else 1
        if rule == "fit_attacker":
            split = self.study.attack.own.split
        elif rule == "attack":
            split = self.files.probe_split(w.dataset)
        elif rule in ("predict", "evaluate"):
            split = self.files.evaluation_split(w.dataset)
        else:
            split = w.get("split") or self.files.training_split(w.dataset)
        return need, self.images(w.dataset, split), shards

    @functools.cache  # noqa: B019 (one plan per process)
    def _method(self, variant: str) -> Need:
        method = Variant.parse(variant).method
        if any(self.files.own_environment(one.method) for one in self.study.made_from(variant)):
            return OWN_ENVIRONMENT
        coded = method is not None and registry.load("methods", method).codec
        if self.study.is_fitted(variant):
            return CODED_BY_NETWORK if coded else NETWORK
        return CODED if coded else MEASURED["anonymize"]

    def _steps(self, model: str, images: int) -> float:
        """Return the seconds that the steps of a training take."""
        recipe = self.study.models[model]
        compact = getattr(getattr(recipe.settings, "architecture", None), "backbone", None) == "compact"
        kind = "compact" if compact else "gpu" if self.gpus else "cpu"
        return recipe.total_iterations(images) * recipe.batch_size * SECONDS_PER_IMAGE[kind] / max(1, self.gpus)
