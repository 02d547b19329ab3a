"""The study as the workflow sees it: which files there are, and what each rule's result depends on."""

from __future__ import annotations

import functools
import json
import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from anonbench import manifests, registry
from anonbench.config import NON_RECIPE_KEYS, Study, parse
from anonbench.directions import ON_ORIGINAL, Evaluation, pair
from anonbench.errors import AnonbenchError, nearest
from anonbench.files import sha256_bytes, sha256_file
from anonbench.provenance import code_hash
from anonbench.records import RegionKind
from anonbench.report import captions
from anonbench.variants import ORIGINAL, Variant

CONDA_NAMES = {"opencv": "opencv-python-headless", "pytorch": "torch", "matplotlib-base": "matplotlib"}
"""Conda's names of packages that are called otherwise in requirements.lock."""
TABLES = (
    "impact.csv", "impact.md", "impact.tex", "seeds.csv", "subsets.csv", "coverage.csv", "people.csv", "sizes.csv",
    "curves.csv", "numbers.tex", "metrics.json",
)  # fmt: skip


def compact(value: Any) -> str:
    """Return JSON on one line with sorted keys: a value that a rule's params can be compared by."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)


class Plan:
    """A study, with the answers that the rules need.

    ``base`` is the folder of the Snakefile, ``files`` are those that ``config`` was read from, the study's last.
    """

    def __init__(self, config: dict[str, Any], base: Path, files: Sequence[str | Path] = ()) -> None:
        if "datasets" not in config:
            raise AnonbenchError(
                "no study is configured",
                remedy="add --configfile config/default.yaml (profiles/default does so)",
            )
        self.study: Study = parse(config, file="configuration", folder=Path(files[-1]).parent if files else None)
        self.base, self.files = base, [Path(file) for file in files]

    # --- folders and targets

    def folder(self, stage: str) -> str:
        """Return the folder of a stage, under the study's output folder."""
        return (self.study.output / stage).as_posix()

    def training_split(self, dataset: str) -> str:
        """Return the split that is anonymized and trained on."""
        return self.study.datasets[dataset].train

    def evaluation_split(self, dataset: str) -> str:
        """Return the split whose original images are evaluated on."""
        return self.study.datasets[dataset].val

    def variant_folder(self, dataset: str, variant: str) -> str:
        """Return the folder of a variant."""
        return f"{self.folder('anonymized')}/{dataset}/{variant}"

    def training_file(self, what: str) -> Callable[[Any], str]:
        """Return an input function: the training split's ``manifest`` or ``annotations`` of a variant."""
        return lambda w: self._file(what, w.dataset, w.variant, self.training_split(w.dataset))

    def truth(self) -> Callable[[Any], str]:
        """Return an input function: the annotations of the evaluation split, whatever its images are like."""
        return lambda w: self._file("annotations", w.dataset, ORIGINAL, self.evaluation_split(w.dataset))

    def tested_manifest(self) -> Callable[[Any], str]:
        """Return an input function: the manifest of the evaluation split of the variant that is tested on."""
        return lambda w: self._file("manifest", w.dataset, w.tested, self.evaluation_split(w.dataset))

    def _file(self, what: str, dataset: str, variant: str, split: str) -> str:
        of = {"manifest": manifests.summary_path, "annotations": manifests.annotations_path}[what]
        return of(Path(self.variant_folder(dataset, variant)), split).as_posix()

    def downloads(self) -> list[str]:
        """Return the record of every data set."""
        return [f"{self.folder('data')}/{name}/download.json" for name in self.study.datasets]

    def manifests(self) -> list[str]:
        """Return the manifest of every variant and split."""
        found = []
        for name, dataset in self.study.datasets.items():
            tested = {one.tested for one in self.evaluations() if one.dataset == name} | {ORIGINAL}
            variants = self.study.variants_of(name)
            found += [self._file("manifest", name, v, dataset.val) for v in variants if v in tested]
            found += [self._file("manifest", name, v, dataset.train) for v in variants]
        return found

    def coverages(self) -> list[str]:
        """Return the counts of people of every training split that is anonymized."""
        root = self.folder("annotations")
        return [
            f"{root}/{name}/{dataset.train}.coverage.csv"
            for name, dataset in self.study.datasets.items()
            if self.study.variants_of(name) != [ORIGINAL]
        ]

    def trainings(self) -> Iterator[str]:
        """Yield dataset/variant/model/seed of every training."""
        for dataset in self.study.datasets:
            for variant in self.study.variants_of(dataset):
                for model in self.study.models:
                    for seed in self.study.seeds_of(model) if variant in self.study.trained(dataset, model) else ():
                        yield f"{dataset}/{variant}/{model}/seed{seed}"

    def evaluations(self) -> list[Evaluation]:
        """Return every evaluation, each once: of what is trained on what is tested on in the study's directions."""
        study, found = self.study, dict[Evaluation, None]()
        for dataset, model in product(study.datasets, study.models):
            for direction in (ON_ORIGINAL, *study.evaluate.on):
                told = study.told(dataset, model, direction)
                # every difference is taken to the original on the original
                asked = [v for v in told if v == ORIGINAL or direction in study.evaluate.on]
                for variant, seed in product(asked, study.seeds_of(model)):
                    trained, tested = pair(direction, variant)
                    found[Evaluation(dataset, trained, model, seed, tested)] = None
        return list(found)

    def training_logs(self, wildcards: Any) -> str:
        """Return the folder of what a training leaves besides results: its log, seconds, and checkpoint."""
        w = wildcards
        return f"{self.folder('logs')}/train/{w.dataset}/{w.variant}/{w.model}/seed{w.seed}"

    def weights(self) -> list[str]:
        """Return the weights of every training."""
        return [f"{self.folder('models')}/{training}/weights.safetensors" for training in self.trainings()]

    def metrics(self) -> list[str]:
        """Return the metrics of every evaluation."""
        root = self.folder("evaluations")
        return [f"{root}/{one.folder.as_posix()}/metrics.json" for one in self.evaluations()]

    def records(self) -> list[str]:
        """Return the record of every training."""
        return [f"{self.folder('models')}/{training}/train.json" for training in self.trainings()]

    def manifests_of(self, wildcards: Any) -> list[str]:
        """Return the manifests of one data set's training split."""
        name = wildcards.dataset
        return [self._file("manifest", name, v, self.training_split(name)) for v in self.study.variants_of(name)]

    def tables(self) -> tuple[str, ...]:
        """Return the names of the tables."""
        return TABLES

    def tables_after_impact(self) -> tuple[str, ...]:
        """Return the names of the tables but the first, which the report shows."""
        return TABLES[1:]

    def figures(self) -> tuple[str, ...]:
        """Return the names of the figures that are drawn from tables."""
        return captions.names(self.study.variants, bool(self.study.starts()))

    def results(self, kind: str) -> list[str]:
        """Return the files that answer: ``tables``, ``figures`` or, everything, ``report``."""
        root = self.folder("results")
        tables = [f"{root}/tables/{name}" for name in TABLES]
        stems = [*self.figures(), *(f"sheet-{dataset}" for dataset in self.study.datasets)]
        figures = [f"{root}/figures/{stem}.{suffix}" for stem in stems for suffix in ("png", "pdf")]
        pages = [f"{root}/{name}" for name in ("report.html", "cost.csv", "cost.png", "cost.pdf")]
        return {"tables": tables, "figures": figures, "report": [*tables, *figures, *pages]}[kind]

    def check_target(self, target: str) -> None:
        """Raise AnonbenchError when a file that is asked for by its name is of an unknown data set, variant or model.

        Snakemake would say so with a traceback of ours. What is not a file of a stage is left to it.
        """
        for stage in ("data", "annotations", "anonymized", "models", "evaluations"):
            folder = f"{self.folder(stage)}/"
            parts = [part for part in target.removeprefix(folder).split("/") if part != manifests.PRIVATE]
            if not target.startswith(folder) or len(parts) < 2:
                continue
            self._check_known("data set", parts[0], self.study.datasets, target)
            if stage in ("anonymized", "models", "evaluations") and parts[1] != "fits" and parts[2:]:
                try:
                    self.study.parameters(parts[1])
                except ValueError as error:
                    raise AnonbenchError(str(error), file=target) from None
            if stage in ("models", "evaluations") and parts[3:]:
                self._check_known("model", parts[2], self.study.models, target)

    @staticmethod
    def _check_known(what: str, name: str, known: Iterable[str], target: str) -> None:
        if name not in known:
            raise AnonbenchError(f"unknown {what} '{name}'{nearest(name, known)}", file=target)

    def shards(self) -> list[int]:
        """Return the numbers of a variant's shards."""
        return list(range(self.study.anonymize.shards))

    # --- what a result depends on

    @functools.cache  # noqa: B019 (one plan per process)
    def data(self, dataset: str) -> str:
        """Return what a data set's raw data comes from: plugin, options, code, and the state of its root."""
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

    def options(self, dataset: str) -> str:
        """Return the complete options of a data set's plugin, as JSON."""
        return compact(self.study.options(dataset))

    def categories(self, dataset: str) -> str:
        """Return the arguments of `anonbench annotate` that say which of a data set's categories are people."""
        config = self.study.datasets[dataset]
        said = (self.each("--people", config.people), self.each("--not-people", config.not_people))
        return " ".join(arguments for arguments in said if arguments)

    def root(self, dataset: str) -> str:
        """Return the --root argument of `anonbench download`, empty when the plugin fetches the data."""
        root = self.study.root_of(dataset)
        return f"--root {shlex.quote(str(root))}" if root else ""

    def gate(self, dataset: str) -> str:
        """Return the arguments of `anonbench annotate` that say how a data set's image files are looked at."""
        block = self.study.datasets[dataset]
        return f"--labels-on {block.labels_on} --on-bad-image {block.on_bad_image} --max-pixels {block.max_pixels}"

    def apart(self, dataset: str, split: str) -> str:
        """Return the argument of `anonbench annotate` that names a split which must not show the same people."""
        if not self.study.datasets[dataset].disjoint or split != self.evaluation_split(dataset):
            return ""
        return f"--apart-from {self.training_split(dataset)}"

    def splits(self, dataset: str) -> str:
        """Return the names of the splits that the study reads, separated by commas."""
        return f"{self.training_split(dataset)},{self.evaluation_split(dataset)}"

    def regions(self) -> str:
        """Return what of a person is a region, as JSON."""
        return compact(self.study.regions.model_dump(mode="json"))

    def people_file(self) -> Callable[[Any], list[str]]:
        """Return an input function: the table that says who is where in a split; the original needs none."""

        def file(w: Any) -> list[str]:
            region = Variant.parse(w.variant).region
            return [] if region is None else [self._table(w.dataset, w.split, region.table)]

        return file

    def training_images(self) -> Callable[[Any], str]:
        """Return an input function: the table of images of the training split."""
        return lambda w: self._table(w.dataset, self.training_split(w.dataset), "images")

    def training_people(self) -> Callable[[Any], str]:
        """Return an input function: the table that says who is where in the training split."""
        return lambda w: self._table(w.dataset, self.training_split(w.dataset), RegionKind(w.region).table)

    def _table(self, dataset: str, split: str, name: str) -> str:
        return f"{self.folder('annotations')}/{dataset}/{split}.{name}.parquet"

    def detections(self, finds: str) -> Callable[[Any], list[str]]:
        """Return an input function: the tables of detected faces or people of a split, one per shard, if any."""
        root = self.folder("annotations")
        shards = self.shards() if getattr(self.study.regions.detectors, finds) else []
        return lambda w: [f"{root}/{w.dataset}/{w.split}.detections/{finds}-{shard}.parquet" for shard in shards]

    def detector(self, finds: str) -> str:
        """Return the detector of faces or people with its options, as JSON."""
        return compact(getattr(self.study.regions.detectors, finds).model_dump(mode="json"))

    def detector_code(self, finds: str) -> str:
        """Return what detections come from besides the images: the code, and the files that the study names."""
        config = getattr(self.study.regions.detectors, finds)
        code = code_hash("anonbench.annotate.detect", registry.module("detectors", config.plugin))
        return compact([code, [_file_state(path) for path in config.files]])

    def each(self, option: str, values: list[str]) -> str:
        """Return an option of a command once for each value."""
        return " ".join(f"{option} {shlex.quote(str(value))}" for value in values)

    def adapter_code(self, dataset: str) -> str:
        """Return the hash of a data set plugin's code."""
        return code_hash(registry.module("datasets", self.study.adapter(dataset)), "anonbench.datasets.record")

    def mirror(self) -> str:
        """Return the --mirror argument of `anonbench download`, empty when the files come from where they are."""
        mirror = self.study.download.mirror
        return f"--mirror {shlex.quote(mirror)}" if mirror else ""

    def keep_archives(self) -> str:
        """Return the flag that keeps archives, if the study wants it."""
        return "--keep-archives" if self.study.download.keep_archives else ""

    def catalogue(self) -> str:
        """Return the path of the list of files that data sets consist of, as seen from the working folder.

        A project that is moved must not fetch its data again because of an absolute path.
        """
        return os.path.relpath(self.base / "config" / "datasets.csv")

    def catalogue_rows(self, dataset: str) -> str:
        """Return the hash of a data set's rows in the list of files."""
        lines = Path(self.catalogue()).read_text().splitlines()
        mine = [line for line in lines if line.startswith(f"{self.study.adapter(dataset)},")]
        return sha256_bytes("\n".join(mine).encode())[:16]

    def method(self, variant: str) -> str:
        """Return the complete parameters of a variant's method, as JSON."""
        return compact(self.study.parameters(variant))

    def encoder(self, variant: str) -> str:
        """Return the encoder policy of a variant."""
        return self.study.encoder(variant)

    def method_code(self, variant: str) -> str:
        """Return the hash of the code that writes a variant: the stage's, its method's and the method's fallback's."""
        name = Variant.parse(variant).method
        methods = [] if name is None else [name]
        if name is not None:
            fallback = getattr(registry.load("methods", name), "fallback", None)
            fallback = self.study.parameters(variant).get("fallback", fallback)
            methods += [] if fallback is None else [fallback]
        modules = [registry.module("methods", method) for method in methods]
        return code_hash("anonbench.anonymize.shard", *modules)

    def is_fitted(self, variant: str) -> bool:
        """Tell whether a variant's method is fitted to data first."""
        name = Variant.parse(variant).method
        return name is not None and registry.load("methods", name).FitSettings is not None

    def fit_folder(self, dataset: str, variant: str) -> str:
        """Return the folder of what a variant's method is fitted to."""
        parsed = Variant.parse(variant)
        assert parsed.method is not None
        source = self.study.fitted_on(parsed.method, dataset)
        return f"{self.folder('anonymized')}/{source}/{manifests.PRIVATE}/fits/{parsed.region}-{parsed.method}"

    def fitted(self) -> Callable[[Any], list[str]]:
        """Return an input function: the weights of a variant's method, if it is fitted to data."""
        return lambda w: (
            [f"{self.fit_folder(w.dataset, w.variant)}/weights.safetensors"] if self.is_fitted(w.variant) else []
        )

    def fitted_arguments(self, weights: Any) -> str:
        """Return the arguments of `anonbench anonymize` for a method with weights, if any."""
        paths = [weights] if isinstance(weights, str) else list(weights)
        return " ".join(f"--weights {shlex.quote(str(p))} --device {self.study.train.device}" for p in paths)

    def fit(self, method: str) -> str:
        """Return the complete settings of a method's training, as JSON."""
        return compact(self.study.fit(method))

    def fit_code(self, method: str) -> str:
        """Return the hash of the code that fits a method."""
        return code_hash("anonbench.anonymize.fitting", registry.module("methods", method))

    def anonymize_environment(self, variant: str) -> str:
        """Return the name of the environment that a variant is written in."""
        own = self._own_environment(Variant.parse(variant).method)
        return own or ("train" if self.is_fitted(variant) else "data")

    def anonymize_gpus(self, variant: str) -> int:
        """Return how many GPUs writing a variant asks for: one where its method runs a network and there is one."""
        return int(self.gpus() > 0 and self.anonymize_environment(variant) != "data")

    def training_environment(self, model: str) -> str:
        """Return the name of the environment that a model is trained and asked in."""
        return self._own_environment(self.study.models[model].trainer) or "train"

    def _own_environment(self, plugin: str | None) -> str | None:
        """Return a plugin's name if it has an environment of its own."""
        return plugin if plugin and (self.base / "envs" / f"{plugin}.yaml").is_file() else None

    def recipe(self, model: str) -> str:
        """Return a model's recipe, as JSON."""
        recipe = self.study.models[model].model_dump(mode="json", exclude=NON_RECIPE_KEYS)
        if self.study.starting_training(model) is not None:
            recipe["initialisation"]["file"] = self._start_file(model)
        return compact(recipe)

    def _start_file(self, model: str) -> str | None:
        """Return the file, or folder of a training, that a model starts from, as seen from the working folder."""
        file = self.study.models[model].initialisation.file
        if file is None or self.study.starting_training(model) is None:
            return file
        return file if file.startswith(f"{self.folder('models')}/") else (self.study.output / file).as_posix()

    def tasks(self, *models: str) -> list[str]:
        """Return the names of the tasks of some models, or of all."""
        chosen = [self.study.models[name] for name in models or self.study.models]
        return sorted({task for model in chosen for task in model.tasks})

    def prediction_code(self, model: str) -> str:
        """Return the hash of the code that runs a model and writes down what it says."""
        modules = [registry.module("tasks", task) for task in self.tasks(model)]
        return code_hash("anonbench.train.prediction", *self._trainer_modules(model), *modules)

    def evaluation_code(self, model: str) -> str:
        """Return the hash of the code that scores a model's tasks."""
        return code_hash("anonbench.evaluate.metrics", *(registry.module("tasks", task) for task in self.tasks(model)))

    def report_code(self, *parts: str) -> str:
        """Return the hash of the code of some modules of the report, and of the tasks, which they ask for their words.

        The tables ask them for their scores, too.
        """
        tasks = (registry.module("tasks", task) for task in self.tasks())
        return code_hash(*(f"anonbench.report.{part}" for part in parts), *tasks)

    def trainer_code(self, model: str) -> str:
        """Return the hash of the code that trains a model."""
        return code_hash("anonbench.train.training", *self._trainer_modules(model))

    def _trainer_modules(self, model: str) -> list[str]:
        recipe = self.study.models[model]
        plugin = registry.load("trainers", recipe.trainer)()
        return [registry.module("trainers", recipe.trainer), *plugin.modules(recipe)]

    def environment(self, name: str) -> str:
        """Return the hash of an environment file and of the locked versions of what it names.

        Snakemake sees an edited environment only under --use-conda, and an edited lock never.
        """
        text = (self.base / "envs" / f"{name}.yaml").read_text()
        wanted = {CONDA_NAMES.get(entry, entry) for entry in re.findall(r"^  - ([a-z0-9-]+)", text, re.MULTILINE)}
        locked = re.findall(r"^([a-z0-9._-]+)==([^ ;\\]+)", self._lock, re.MULTILINE)
        return sha256_bytes(compact([text, sorted(pair for pair in locked if pair[0] in wanted)]).encode())[:16]

    @functools.cached_property
    def _lock(self) -> str:
        path = self.base / "requirements.lock"
        return path.read_text() if path.is_file() else ""

    def gpus(self) -> int:
        """Return how many GPUs a training asks for: one per process where CUDA is chosen, or `auto` finds a device."""
        device, found = self.study.train.device, shutil.which("nvidia-smi") is not None
        return self.study.train.processes if device == "cuda" or (device == "auto" and found) else 0

    def known_as(self, dataset: str) -> str:
        """Return the --dataset arguments of `anonbench train`: the names by which a start may have seen a data set."""
        adapter = self.study.adapter(dataset)
        # `coco` reads any data set in COCO's format: it is no name of images
        names = [dataset, *([adapter] if adapter not in (dataset, "coco") else [])]
        return " ".join(f"--dataset {shlex.quote(name)}" for name in names)

    def start_files(self, model: str) -> list[str]:
        """Return what must be there before a model that starts from another training of this study."""
        start = self.study.starting_training(model)
        if start is None:
            return []
        dataset, variant, source, seed = start
        folder = f"{self.folder('models')}/{dataset}/{variant}/{source}/seed{seed}"
        return [f"{folder}/train.json", f"{folder}/weights.safetensors"]

    @functools.cache  # noqa: B019 (one plan per process)
    def first_weights(self, model: str) -> str:
        """Return what tells other first weights: the hash of the file, or of the training's weights, that is named.

        Of a trainer that reads other files, their hashes.
        """
        recipe, file = self.study.models[model], self._start_file(model)
        others = registry.load("trainers", recipe.trainer)().files(recipe)
        if others:
            return compact([file, [sha256_file(path)[:16] if path.is_file() else "missing" for path in others]])
        if file is None or self.start_files(model):
            return file or "scratch"
        path = Path(file) / "weights.safetensors" if Path(file).is_dir() else Path(file)
        return sha256_file(path)[:16] if path.is_file() else "missing"

    def _as_named(self, file: Path) -> str:
        """Return a file as a command beside the Snakefile names it; of one elsewhere its name, not this machine's."""
        path, base = (self.base / file).resolve(), self.base.resolve()
        return path.relative_to(base).as_posix() if path.is_relative_to(base) else path.name

    def summary(self) -> str:
        """Return the part of the study that the report reads, as JSON."""
        study = self.study
        return compact(
            {
                "name": study.name,
                "files": [self._as_named(file) for file in self.files],
                "seed": study.seed,
                "datasets": {n: {"train": d.train, "val": d.val} for n, d in study.datasets.items()},
                "variants": study.variants,
                "models": {n: m.model_dump(mode="json", exclude=NON_RECIPE_KEYS) for n, m in study.models.items()},
                "asked": {d: {m: study.asked(d, m) for m in study.models} for d in study.datasets},
                "untrained": [name for name, model in study.models.items() if not model.trains],
                "starts": study.starts(),
                "seeds": study.train.seeds,
                "directions": study.evaluate.on,
                "report": study.report.model_dump(mode="json"),
            }
        )


def _file_state(path: Path) -> list[Any]:
    """Return what tells another version of a file: its size and time."""
    return [str(path), path.stat().st_size, path.stat().st_mtime_ns] if path.is_file() else [str(path), "missing"]


def _state(root: Path) -> list[list[Any]] | str:
    """Return what tells another version of a user's copy: times of its folders, sizes and times of its annotations.

    A photograph that is replaced in place changes neither; `--forcerun download` is for that.
    """
    if not root.is_dir():
        return "missing"
    folders = sorted(p for p in root.iterdir() if p.is_dir())
    files = sorted(p for p in (root / "annotations").glob("*") if p.is_file())
    state = [[p.name, p.stat().st_mtime_ns] for p in folders]
    return state + [[p.name, p.stat().st_size, p.stat().st_mtime_ns] for p in files]
