"""The study as the workflow sees it: its files, what commands are told, what results depend on, what jobs need."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from anonbench import manifests, registry
from anonbench.attack.options import ATTACKERS, DETECTORS, NOBODY
from anonbench.config import Study, parse
from anonbench.detectors import base as detectors
from anonbench.errors import AnonbenchError, nearest
from anonbench.workflow.arguments import Arguments
from anonbench.workflow.files import Files
from anonbench.workflow.fingerprints import Fingerprints
from anonbench.workflow.needs import Needs

READY_MADE = "ready_made"
"""The environment of all detectors that have none of their own."""


class Plan:
    """A study, with the answers that the rules need.

    ``base`` is the folder of the Snakefile; ``config_files`` are those that ``config`` was read from, the study's last.
    """

    def __init__(self, config: dict[str, Any], base: Path, config_files: Sequence[str | Path] = ()) -> None:
        if "datasets" not in config:
            raise AnonbenchError(
                "no study is configured",
                remedy="add --configfile config/default.yaml (profiles/default does so)",
            )
        folder = Path(config_files[-1]).parent if config_files else None
        self.study: Study = parse(config, file="configuration", folder=folder)
        self.base = base
        self.files = Files(self.study, base)
        self.arguments = Arguments(self.study, self.files, config_files)
        self.fingerprints = Fingerprints(self.study, self.files)
        self.needs = Needs(self.study, self.files, self.gpus())

    def check_target(self, target: str) -> None:
        """Raise AnonbenchError when a target is a stage's file of an unknown data set, variant or model.

        Left to Snakemake, it would end in a traceback. Other targets are not looked at.
        """
        for stage in ("data", "annotations", "anonymized", "models", "evaluations", "attackers", "attacks"):
            folder = f"{self.files.folder(stage)}/"
            parts = [part for part in target.removeprefix(folder).split("/") if part != manifests.PRIVATE]
            if not target.startswith(folder) or len(parts) < 2:
                continue
            self._check_known("data set", parts[0], self.study.datasets, target)
            if stage not in ("data", "annotations") and parts[1] != "fits" and parts[2:]:
                try:
                    self.study.parameters(parts[1])
                except ValueError as error:
                    raise AnonbenchError(str(error), file=target) from None
            if stage in ("models", "evaluations") and parts[3:]:
                self._check_known("model", parts[2], self.study.models, target)
            if stage in ("attackers", "attacks") and parts[4:]:
                self._check_known("attack", parts[2], self.study.attack.attacks, target)
                by = registry.load("attacks", parts[2]).by
                block = self.study.attack
                names: dict[str, list[str]] = {
                    ATTACKERS: list(block.attackers),
                    DETECTORS: list(block.detectors),
                    NOBODY: [NOBODY],
                }
                self._check_known(by.removesuffix("s"), parts[3], names[by], target)

    @staticmethod
    def _check_known(what: str, name: str, known: Iterable[str], target: str) -> None:
        if name not in known:
            raise AnonbenchError(f"unknown {what} '{name}'{nearest(name, known)}", file=target)

    @functools.cache  # noqa: B019 (one plan per process)
    def anonymize_environment(self, variant: str) -> str:
        """Return the name of the environment that a variant is written in, with what it comes after, if anything."""
        own = filter(None, (self.files.own_environment(one.method) for one in self.study.made_from(variant)))
        return next(own, "train" if self.study.is_fitted(variant) else "data")

    @functools.cache  # noqa: B019 (one plan per process)
    def anonymize_gpus(self, variant: str) -> int:
        """Return how many GPUs writing a variant asks for: one if its method runs a network and GPUs are used."""
        return int(self.gpus() > 0 and self.anonymize_environment(variant) != "data")

    @functools.cache  # noqa: B019 (one plan per process)
    def training_environment(self, model: str) -> str:
        """Return the name of the environment that a model is trained in and predicts in."""
        recipe = self.study.models[model]
        detector = getattr(getattr(recipe.settings, "detector", None), "plugin", None)
        return self.files.own_environment(detector) or self.files.own_environment(recipe.trainer) or "train"

    @functools.cache  # noqa: B019 (one plan per process)
    def detect_environment(self, finds: str) -> str:
        """Return the name of the environment that the study's detector of faces or people runs in."""
        plugin: str = getattr(self.study.regions.detectors, finds).plugin
        return self.files.own_environment(plugin) or (READY_MADE if detectors.load(plugin).needs_torch else "data")

    @functools.cache  # noqa: B019 (one plan per process)
    def attack_environment(self, attack: str, attacker: str) -> str:
        """Return the name of the environment that an attack runs in: one that has the packages of its detector."""
        by = registry.load("attacks", attack).by
        if by == ATTACKERS:
            return self.attacker_environment(attacker)
        if by != DETECTORS:
            return "train"
        return self.files.own_environment(self.study.attack.detectors[attacker].plugin) or READY_MADE

    def attacker_environment(self, attacker: str) -> str:
        """Return the name of the environment that an attacker runs in: one that has its recogniser's packages."""
        recogniser = self.study.attack.attackers[attacker].recogniser
        return self.files.own_environment(None if recogniser is None else recogniser.plugin) or "train"

    @functools.cache  # noqa: B019 (one plan per process)
    def attack_gpus(self, attack: str) -> int:
        """Return how many GPUs an attack asks for: none where nothing but counting is done."""
        return 0 if registry.load("attacks", attack).by == NOBODY else self.gpus()

    @functools.cache  # noqa: B019 (one plan per process)
    def gpus(self) -> int:
        """Return how many GPUs a training asks for: one per process if CUDA is chosen, or `auto` finds a GPU."""
        device, found = self.study.train.device, shutil.which("nvidia-smi") is not None
        return self.study.train.processes if device == "cuda" or (device == "auto" and found) else 0
