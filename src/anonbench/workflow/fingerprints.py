"""What results depend on besides input files and arguments: code, environments, and files that no rule makes.

A fingerprint stands in the params of the rules that it concerns, so that they rerun when it changes.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import yaml

from anonbench import registry, report
from anonbench.attack.code import attack_code, attacker_code
from anonbench.attack.options import ATTACKERS, DETECTORS
from anonbench.config import Study
from anonbench.detectors.config import DetectorConfig
from anonbench.evaluate.code import evaluation_code
from anonbench.files import sha256_bytes, sha256_file
from anonbench.plugins import PluginConfig
from anonbench.provenance import code_hash
from anonbench.train.code import modules as trainer_modules
from anonbench.train.code import training_code
from anonbench.variants import Variant
from anonbench.workflow.arguments import compact
from anonbench.workflow.files import Files

CONDA_NAMES = {"opencv": "opencv-python-headless", "pytorch": "torch", "matplotlib-base": "matplotlib"}
"""Names in requirements.lock of packages that conda calls by another name."""


def templates() -> list[Path]:
    """Return the files beside `anonbench.report.page` that are part of what it does: page, style and script."""
    folder = Path(report.__file__).parent / "page"
    return sorted(path for path in folder.iterdir() if path.suffix in (".css", ".html", ".js"))


class Fingerprints:
    """Short texts, mostly hashes, that change when what a study's results are made from changes."""

    def __init__(self, study: Study, files: Files) -> None:
        self.study = study
        self.files = files

    @functools.cache  # noqa: B019 (one plan per process)
    def data(self, dataset: str) -> str:
        """Return the hash of what raw data comes from: the plugin, its options and code, and the state of the root."""
        adapter = self.study.adapter(dataset)
        root = self.study.root_of(dataset)
        identity = {
            "adapter": adapter,
            "options": self.study.options(dataset),
            "code": code_hash(registry.module("datasets", adapter)),
            "root": str(root) if root else None,
            "annotations": _state(root) if root else None,
        }
        return sha256_bytes(compact(identity).encode())[:16]

    @functools.cache  # noqa: B019 (one plan per process)
    def adapter_code(self, dataset: str) -> str:
        """Return the hash of a data set plugin's code."""
        return code_hash(registry.module("datasets", self.study.adapter(dataset)), "anonbench.datasets.record")

    @functools.cache  # noqa: B019 (one plan per process)
    def catalogue_rows(self, dataset: str) -> str:
        """Return the hash of a data set's rows in the catalogue of files."""
        lines = Path(self.files.catalogue()).read_text().splitlines()
        mine = [line for line in lines if line.startswith(f"{self.study.adapter(dataset)},")]
        return sha256_bytes("\n".join(mine).encode())[:16]

    @functools.cache  # noqa: B019 (one plan per process)
    def detector_code(self, finds: str) -> str:
        """Return what detections come from besides images: the hash of the code, the state of the detector's files."""
        return _detector(getattr(self.study.regions.detectors, finds), "anonbench.annotate.detect")

    @functools.cache  # noqa: B019 (one plan per process)
    def attack_code(self, attack: str, variant: str, attacker: str) -> str:
        """Return what an attack depends on besides files: the code, and that of a detector or recogniser that tries."""
        by = registry.load("attacks", attack).by
        if by == DETECTORS:
            return compact([attack_code(attack, variant), _detector(self.study.attack.detectors[attacker])])
        if by != ATTACKERS:
            return attack_code(attack, variant)
        who = self.study.attack.attackers[attacker]
        return _with_files(attack_code(attack, variant, who), who.recogniser)

    @functools.cache  # noqa: B019 (one plan per process)
    def attacker_code(self, attack: str, attacker: str) -> str:
        """Return what an attacker depends on besides the people that it learns from: the code, and its recogniser."""
        who = self.study.attack.attackers[attacker]
        return _with_files(attacker_code(attack, who), who.recogniser)

    @functools.cache  # noqa: B019 (one plan per process)
    def method_code(self, variant: str) -> str:
        """Return the hash of the code that writes a variant: of the stage, the method and the method's fallback."""
        name = Variant.parse(variant).method
        methods = [one.method for one in self.study.made_from(variant) if one.method is not None]
        if name is not None:
            fallback = getattr(registry.load("methods", name), "fallback", None)
            fallback = self.study.parameters(variant).get("fallback", fallback)
            methods += [] if fallback is None else [fallback]
        modules = [registry.module("methods", method) for method in methods]
        return code_hash("anonbench.anonymize.shard", *modules)

    @functools.cache  # noqa: B019 (one plan per process)
    def fit_code(self, method: str, level: str | None = None) -> str:
        """Return what a fit depends on besides files: the code, and the state of a start that the study does not make.

        A start that it makes is an input file.
        """
        code = code_hash("anonbench.anonymize.fitting", registry.module("methods", method))
        start = self.study.fit_settings(method, level).get("start")
        if start is None or self.study.fit_start(method, level) is not None:
            return code
        return compact([code, [_file_state(path) for path in sorted(Path(start).glob("*"))]])

    @functools.cache  # noqa: B019 (one plan per process)
    def trainer_code(self, model: str) -> str:
        """Return the hash of the code that trains a model."""
        return training_code(self.study.models[model])

    @functools.cache  # noqa: B019 (one plan per process)
    def prediction_code(self, model: str) -> str:
        """Return the hash of the code that runs a model and writes its predictions."""
        modules = [registry.module("tasks", task) for task in self._tasks(model)]
        return code_hash("anonbench.train.prediction", *trainer_modules(self.study.models[model]), *modules)

    @functools.cache  # noqa: B019 (one plan per process)
    def evaluation_code(self, model: str) -> str:
        """Return the hash of the code that scores a model's tasks."""
        return evaluation_code(self._tasks(model))

    def report_code(self, *parts: str) -> str:
        """Return the hash of the code of some modules of the report and of the tasks.

        A task supplies the report's wording and, for the tables, recomputes its scores.
        """
        tasks = (registry.module("tasks", task) for task in self._tasks())
        code = code_hash(*(f"anonbench.report.{part}" for part in parts), *tasks)
        return compact([code, [sha256_file(path)[:16] for path in templates()]]) if "html" in parts else code

    def _tasks(self, *models: str) -> list[str]:
        """Return the names of the tasks of some models, or of all."""
        chosen = [self.study.models[name] for name in models or self.study.models]
        return sorted({task for model in chosen for task in model.tasks})

    @functools.cache  # noqa: B019 (one plan per process)
    def first_weights(self, model: str) -> str:
        """Return what identifies a model's first weights: the hash of the file, or of the training's weights, it names.

        For a trainer that reads other files: their hashes.
        """
        recipe, file = self.study.models[model], self.files.start_path(model)
        others = registry.load("trainers", recipe.trainer)().files(recipe)
        if others:
            return compact([file, [sha256_file(path)[:16] if path.is_file() else "missing" for path in others]])
        if file is None or self.files.start_files(model):
            return file or "scratch"
        path = Path(file) / "weights.safetensors" if Path(file).is_dir() else Path(file)
        return sha256_file(path)[:16] if path.is_file() else "missing"

    @functools.cache  # noqa: B019 (one plan per process)
    def environment(self, name: str) -> str:
        """Return the hash of an environment's file, of what is installed into it and of the locked versions of both.

        Snakemake itself notices an edited environment only under --use-conda, and an edited lock never.
        """
        text = (self.files.base / "envs" / f"{name}.yaml").read_text()
        installs = _installs(self.files.base / "envs" / f"{name}.post-deploy.sh")
        wanted = packages_of(text) | {named for line in installs for named in re.findall(r"([a-z0-9._-]+)==", line)}
        locked = re.findall(r"^([a-z0-9._-]+)==([^ ;\\]+)", self._lock, re.MULTILINE)
        pairs = sorted(pair for pair in locked if pair[0] in wanted)
        return sha256_bytes(compact([text, pairs, *installs]).encode())[:16]

    @functools.cached_property
    def _lock(self) -> str:
        path = self.files.base / "requirements.lock"
        return path.read_text() if path.is_file() else ""


def packages_of(text: str) -> set[str]:
    """Return the packages that a conda environment's YAML asks conda and pip for, as requirements.lock calls them."""
    entries: list[str] = []
    for entry in yaml.safe_load(text)["dependencies"]:
        entries += [entry] if isinstance(entry, str) else entry["pip"]
    names = {re.split(r"[^a-z0-9._-]", entry.rpartition("::")[2].lower(), maxsplit=1)[0] for entry in entries}
    return {CONDA_NAMES.get(name, name) for name in names}


def _installs(script: Path) -> list[str]:
    """Return the commands by which a script puts packages into an environment; not that of this package itself."""
    text = script.read_text().replace("\\\n", " ") if script.is_file() else ""
    lines = [" ".join(line.split()) for line in text.splitlines()]
    return [line for line in lines if " pip install " in line and not line.endswith("--editable .")]


def _detector(config: DetectorConfig, *modules: str) -> str:
    """Return the hash of a detector's code, and of other modules', with the state of the detector's files."""
    code = code_hash(*modules, registry.module("detectors", config.plugin))
    return _with_files(code, config)


def _with_files(code: str, plugin: PluginConfig | None) -> str:
    """Return a hash of code with the state of the files that a plugin's settings name, if there is one."""
    return code if plugin is None else compact([code, [_file_state(path) for path in plugin.files]])


def _file_state(path: Path) -> list[Any]:
    """Return what tells one version of a file from another: its size and time of modification."""
    return [str(path), path.stat().st_size, path.stat().st_mtime_ns] if path.is_file() else [str(path), "missing"]


def _state(root: Path) -> list[list[Any]] | str:
    """Return what tells one version of a user's copy from another: folders' times, annotations' sizes and times.

    A photograph replaced in place changes none of these; use `--forcerun download` then.
    """
    if not root.is_dir():
        return "missing"
    folders = sorted(p for p in root.iterdir() if p.is_dir())
    files = sorted(p for p in (root / "annotations").glob("*") if p.is_file())
    state = [[p.name, p.stat().st_mtime_ns] for p in folders]
    return state + [[p.name, p.stat().st_size, p.stat().st_mtime_ns] for p in files]
