"""Which files a study consists of, and where they lie."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

from anonbench import manifests, registry
from anonbench.attack.options import ATTACKERS, PARTIAL
from anonbench.attack.record import RECORD
from anonbench.config import DatasetConfig, Study
from anonbench.directions import ON_DEPLOYED, ON_ORIGINAL, Evaluation
from anonbench.records import RegionKind
from anonbench.report import captions
from anonbench.report.study import RESTORE, is_coded
from anonbench.variants import ORIGINAL, Variant

TABLES = (
    "impact.csv", "impact.md", "impact.tex", "seeds.csv", "subsets.csv", "coverage.csv", "people.csv", "sizes.csv",
    "curves.csv", "numbers.tex", "metrics.json",
)  # fmt: skip

ATTACKED = ("privacy.csv", "privacy.md", "privacy.tex", "tradeoff.csv", "tradeoff.md")
"""Tables of a study that attacks its variants, too."""

LEARNT = ("attackers.csv",)
"""Of one whose attackers learn."""

CODED = ("rates.csv", "rates.md", "bd_rates.csv")
"""Tables of a study with codecs, too."""


class Files:
    """The files of a study, relative to the working folder; ``base`` is the folder of the Snakefile.

    An *input function* is what Snakemake calls with a job's wildcards to find out what the job reads.
    """

    def __init__(self, study: Study, base: Path) -> None:
        self.study = study
        self.base = base

    @functools.cache  # noqa: B019 (one plan per process)
    def folder(self, stage: str) -> str:
        """Return the folder of a stage, under the study's output folder."""
        return (self.study.output / stage).as_posix()

    def catalogue(self) -> str:
        """Return the path of the catalogue of data sets' files, relative to the working folder.

        With an absolute path, a project that is moved would fetch its data again.
        """
        return os.path.relpath(self.base / "config" / "datasets.csv")

    def own_environment(self, plugin: str | None) -> str | None:
        """Return a plugin's name if it has an environment of its own."""
        return plugin if plugin and (self.base / "envs" / f"{plugin}.yaml").is_file() else None

    def training_split(self, dataset: str) -> str:
        """Return the split that is anonymized and trained on."""
        return self.study.datasets[dataset].train

    def evaluation_split(self, dataset: str) -> str:
        """Return the split whose original images are evaluated on."""
        return self.study.datasets[dataset].val

    def probe_split(self, dataset: str) -> str:
        """Return the split whose people are attacked."""
        return self.study.probe_split(dataset)

    def own_dataset(self, dataset: str) -> str:
        """Return the data set that those who attack a data set learn from."""
        return self.study.attack.own.dataset or dataset

    def splits(self, dataset: str) -> list[str]:
        """Return the splits of a data set that the study uses."""
        block, found = self.study.attack, [self.training_split(dataset), self.evaluation_split(dataset)]
        if self.study.attacked(dataset):
            found += [self.probe_split(dataset), *([block.gallery] if block.gallery else [])]
        attacked = filter(self.study.attacked, self.study.datasets)
        if self.study.learns_to_attack() and any(self.own_dataset(one) == dataset for one in attacked):
            found.append(block.own.split)
        return list(dict.fromkeys(found))

    def shards(self) -> list[int]:
        """Return the numbers of a variant's shards."""
        return list(range(self.study.anonymize.shards))

    def variant_folder(self, dataset: str, variant: str) -> str:
        """Return the folder of a variant."""
        return f"{self.folder('anonymized')}/{dataset}/{variant}"

    def training_file(self, what: str) -> Callable[[Any], str]:
        """Return an input function: the training split's ``manifest`` or ``annotations`` of a variant."""
        return lambda w: self._file(what, w.dataset, w.variant, self.training_split(w.dataset))

    def truth(self) -> Callable[[Any], str]:
        """Return an input function: the annotations of the evaluation split, the same whatever variant is tested on."""
        return lambda w: self._file("annotations", w.dataset, ORIGINAL, self.evaluation_split(w.dataset))

    def tested_people(self) -> Callable[[Any], str]:
        """Return an input function: the table of people of the evaluation split."""
        return lambda w: self._table(w.dataset, self.evaluation_split(w.dataset), "people")

    def tested_manifest(self) -> Callable[[Any], str]:
        """Return an input function: the evaluation split's manifest in the variant that is tested on."""
        return lambda w: self._file("manifest", w.dataset, w.tested, self.evaluation_split(w.dataset))

    def _file(self, what: str, dataset: str, variant: str, split: str) -> str:
        of = {"manifest": manifests.summary_path, "annotations": manifests.annotations_path}[what]
        return of(Path(self.variant_folder(dataset, variant)), split).as_posix()

    def people_file(self) -> Callable[[Any], list[str]]:
        """Return an input function: the tables of where people are in a split; none for the original."""

        def file(w: Any) -> list[str]:
            regions = [variant.region for variant in self.study.made_from(w.variant)]
            tables = dict.fromkeys(region.table for region in regions if region is not None)
            return [self._table(w.dataset, w.split, table) for table in tables]

        return file

    def training_images(self) -> Callable[[Any], str]:
        """Return an input function: the table of images of the training split."""
        return lambda w: self._table(w.dataset, self.training_split(w.dataset), "images")

    def training_people(self) -> Callable[[Any], str]:
        """Return an input function: the table of where people are in the training split."""
        return lambda w: self._table(w.dataset, self.training_split(w.dataset), RegionKind(w.region).table)

    def training_faces(self) -> Callable[[Any], list[str]]:
        """Return an input function: of a method that is fitted to frames, the table of where faces are in them."""
        return lambda w: (
            [self._table(w.dataset, self.training_split(w.dataset), RegionKind.FACE.table)]
            if RegionKind(w.region) is RegionKind.FRAME
            else []
        )

    def fit_stills(self) -> Callable[[Any], list[str]]:
        """Return an input function: where a fit looks at another data set's people, its record and its tables."""

        def files(w: Any) -> list[str]:
            source = self.study.stills_on(w.method)
            if source is None:
                return []
            split = self.training_split(source)
            tables = [self._table(source, split, name) for name in ("images", RegionKind(w.region).table)]
            return [f"{self.folder('data')}/{source}/download.json", *tables]

        return files

    def _table(self, dataset: str, split: str, name: str) -> str:
        return f"{self.folder('annotations')}/{dataset}/{split}.{name}.parquet"

    def detections(self, finds: str) -> Callable[[Any], list[str]]:
        """Return an input function: the tables of faces or people detected in a split, one per shard, if any."""
        root = self.folder("annotations")
        shards = self.shards() if getattr(self.study.regions.detectors, finds) else []
        return lambda w: [f"{root}/{w.dataset}/{w.split}.detections/{finds}-{shard}.parquet" for shard in shards]

    def fit_folder(self, dataset: str, variant: str) -> str:
        """Return the folder of the weights of a variant's method that is fitted to data."""
        parsed = Variant.parse(variant)
        assert parsed.method is not None
        source = self.study.fitted_on(parsed.method, dataset)
        return f"{self.folder('anonymized')}/{source}/{manifests.PRIVATE}/fits/{self.study.fit_name(variant)}"

    def fitted(self) -> Callable[[Any], list[str]]:
        """Return an input function: the weights of a variant's method, if it is fitted to data."""
        return lambda w: (
            [f"{self.fit_folder(w.dataset, w.variant)}/weights.safetensors"] if self.study.is_fitted(w.variant) else []
        )

    def start_path(self, model: str) -> str | None:
        """Return the file, or the folder of a training, that a model starts from, relative to the working folder."""
        file = self.study.models[model].initialisation.file
        if file is None or self.study.starting_training(model) is None:
            return file
        return file if file.startswith(f"{self.folder('models')}/") else (self.study.output / file).as_posix()

    def start_files(self, model: str) -> list[str]:
        """Return the files of the study's own training that a model starts from; they have to be made first."""
        return self._trained(self.study.starting_training(model))

    def fit_start(self) -> Callable[[Any], list[str]]:
        """Return an input function: the files of the study's own training that a fit starts from."""
        return lambda w: self._trained(self.study.fit_start(w.method, w.level[1:] or None))

    def _trained(self, training: tuple[str, str, str, int] | None) -> list[str]:
        """Return the files that a training of the study leaves."""
        if training is None:
            return []
        folder = self.training_folder(training)
        return [f"{folder}/train.json", f"{folder}/weights.safetensors"]

    def training_folder(self, training: tuple[str, str, str, int]) -> str:
        """Return the folder of a training of the study: of this data set, variant, model and seed."""
        dataset, variant, model, seed = training
        return f"{self.folder('models')}/{dataset}/{variant}/{model}/seed{seed}"

    def training_logs(self, wildcards: Any) -> str:
        """Return the folder of what a training leaves besides its results: log, timing and checkpoint."""
        w = wildcards
        return f"{self.folder('logs')}/train/{w.dataset}/{w.variant}/{w.model}/seed{w.seed}"

    def downloads(self) -> list[str]:
        """Return the download record of every data set."""
        return [f"{self.folder('data')}/{name}/download.json" for name in self.study.datasets]

    def manifests(self, training: bool = False) -> list[str]:
        """Return the manifests of every variant: of the split that is shown, and of those that it is used for.

        That is its training split if a model is trained on it and its evaluation split if one is tested on it. Of what
        codecs have made, of the split that is attacked as well: it has a rate of its own. With ``training`` of every
        variant's training split, whether or not a model is trained on it.
        """
        found, attacked = [], {tuple(one.split("/")[:2]) for one in self.attacks()}
        for name, dataset in self.study.datasets.items():
            tested = {one.tested for one in self.evaluations() if one.dataset == name} | {ORIGINAL}
            variants = self.study.variants_of(name)
            every = [made for v in variants for made in self.study.made(v)]
            found += [self._file("manifest", name, v, dataset.val) for v in every if v in tested]
            shown = self.study.shown_split(name)
            found += [self._file("manifest", name, v, shown) for v in every]
            learnt = [v for v in variants if training or v in self.study.trained_on(name)]
            found += [self._file("manifest", name, made, dataset.train) for v in learnt for made in self.study.made(v)]
            probe = self.probe_split(name)
            found += [self._file("manifest", name, v, probe) for v in every if (name, v) in attacked and is_coded(v)]
        return list(dict.fromkeys(found))

    def manifests_of(self, wildcards: Any) -> list[str]:
        """Return the manifests of the split of one data set that is shown."""
        name = wildcards.dataset
        split = self.study.shown_split(name)
        return [self._file("manifest", name, v, split) for v in self.study.variants_of(name)]

    def coverages(self) -> list[str]:
        """Return the counts of people of every split that is shown and anonymized."""
        root = self.folder("annotations")
        return [f"{root}/{name}/{self.study.shown_split(name)}.coverage.csv" for name, _ in self._anonymized()]

    def boxes(self) -> list[str]:
        """Return the annotations and regions of every split that is anonymized and that the tables tell of."""
        root = self.folder("annotations")
        found = []
        for name, dataset in self._anonymized():
            changed = {dataset.val if on == ON_DEPLOYED else dataset.train for on in self.study.evaluate.on}
            found += [
                f"{root}/{name}/{split}.{end}" for split in sorted(changed) for end in ("json", "regions.parquet")
            ]
        return found

    def _anonymized(self) -> list[tuple[str, DatasetConfig]]:
        return [
            (name, dataset)
            for name, dataset in self.study.datasets.items()
            if self.study.variants_of(name) != [ORIGINAL]
        ]

    def trainings(self) -> Iterator[str]:
        """Yield ``<dataset>/<variant>/<model>/seed<seed>`` for every training."""
        for dataset in self.study.datasets:
            for variant in self.study.variants_of(dataset):
                for model in self.study.models:
                    for seed in (
                        self.study.seeds_of(model, variant) if variant in self.study.trained(dataset, model) else ()
                    ):
                        yield f"{dataset}/{self.study.made_with(variant, seed)}/{model}/seed{seed}"

    def weights(self) -> list[str]:
        """Return the weights of every training."""
        return [f"{self.folder('models')}/{training}/weights.safetensors" for training in self.trainings()]

    def records(self) -> list[str]:
        """Return the record of every training."""
        return [f"{self.folder('models')}/{training}/train.json" for training in self.trainings()]

    def evaluations(self) -> list[Evaluation]:
        """Return every evaluation in the study's directions, each one once."""
        study, found = self.study, dict[Evaluation, None]()
        for dataset, model in product(study.datasets, study.models):
            for direction in (ON_ORIGINAL, *study.evaluate.on):
                told = study.told(dataset, model, direction)
                # the original tested on the original is the reference of every difference
                asked = [v for v in told if v == ORIGINAL or direction in study.evaluate.on]
                for variant in asked:
                    for seed in study.seeds_of(model, variant):
                        found[study.evaluation(dataset, model, direction, variant, seed)] = None
        return list(found)

    def metrics(self) -> list[str]:
        """Return the metrics of every evaluation."""
        root = self.folder("evaluations")
        return [f"{root}/{one.folder.as_posix()}/metrics.json" for one in self.evaluations()]

    def tables(self) -> tuple[str, ...]:
        """Return the names of the tables."""
        found = TABLES + (ATTACKED if self.study.attack.attacks else ()) + (LEARNT if self.learners() else ())
        found += CODED if any(map(is_coded, self.study.variants)) else ()
        return (*found, *(["versus.csv"] if self.study.report.against else []))

    def tables_after_impact(self) -> tuple[str, ...]:
        """Return the names of all tables but the first, which has a place of its own in Snakemake's report."""
        return self.tables()[1:]

    def figures(self) -> tuple[str, ...]:
        """Return the names of the figures that are drawn from the tables."""
        study = self.study
        starts, attacked = bool(study.compared_starts()), bool(study.attack.attacks)
        return captions.names(study.variants, starts, attacked, bool(self.learners()))

    def sheets(self) -> list[str]:
        """Return the names of the figures that show people: of data sets whose originals alone are asked for, none."""
        compared = [dataset for dataset in self.study.datasets if len(self.study.variants_of(dataset)) > 1]
        return [*(f"sheet-{dataset}" for dataset in compared), *(f"restored-{dataset}" for dataset in self.restored())]

    def restored(self) -> list[str]:
        """Return the data sets on which attackers restore pictures."""
        tried = [one.split("/") for one in self.attacks()]
        return list(dict.fromkeys(d for d, variant, attack, *_ in tried if attack == RESTORE and variant != ORIGINAL))

    def restorations(self, w: Any) -> list[str]:
        """Return what attackers who restore pictures kept of a data set."""
        root = self.folder("attacks")
        of = [one for one in self.attacks() if one.startswith(f"{w.dataset}/") and one.split("/")[2] == RESTORE]
        return [f"{root}/{one}/{name}" for one in of for name in ("metrics.json", "scores.npz")]

    def attacks(self) -> list[str]:
        """Return ``<dataset>/<variant>/<attack>/<attacker>/seed<n>`` of every attack."""
        block = self.study.attack
        return [
            f"{dataset}/{self.study.made_with(variant, seed)}/{attack}/{attacker}/seed{seed}"
            for dataset in self.study.datasets
            if self.study.attacked(dataset)
            for variant in self.study.variants_of(dataset)
            for attack in block.attacks
            for attacker in self.study.tried_by(attack, variant)
            for seed in self.study.attack_seeds(attack, attacker, variant)
        ]

    def attack_metrics(self) -> list[str]:
        """Return the metrics of every attack."""
        return [f"{self.folder('attacks')}/{one}/metrics.json" for one in self.attacks()]

    def attacker_folder(self, w: Any) -> str:
        """Return the folder of the attacker of an attack; whoever knows a method knows the fit of its own seed."""
        attacker = self.study.attack.attackers[w.attacker]
        trained_on = attacker.trained_on(w.variant)
        if attacker.knowledge == PARTIAL:
            trained_on = self.study.made_with(trained_on, int(w.seed))
        return self._attacker(self.own_dataset(w.dataset), trained_on, w.attack, w.attacker, w.seed)

    def _attacker(self, own: str, trained_on: str, attack: str, attacker: str, seed: int | str) -> str:
        return f"{self.folder('attackers')}/{own}/{trained_on}/{attack}/{attacker}/seed{seed}"

    def learners(self) -> dict[tuple[str, str, str], list[str]]:
        """Return the variants learnt from, by own data set, attack and attacker, of all who learn to attack."""
        study, found = self.study, dict[tuple[str, str, str], list[str]]()
        for dataset, attack in product(filter(study.attacked, study.datasets), study.attack.attacks):
            if registry.load("attacks", attack).by != ATTACKERS:
                continue
            tried = {variant: study.tried_by(attack, variant) for variant in study.variants_of(dataset)}
            for name, attacker in study.attack.attackers.items():
                learnt = [attacker.trained_on(variant) for variant, names in tried.items() if name in names]
                if learnt and attacker.recogniser is None:
                    known = found.setdefault((self.own_dataset(dataset), attack, name), [])
                    known += [variant for variant in dict.fromkeys(learnt) if variant not in known]
        return found

    def attacker_records(self) -> list[str]:
        """Return the record of everybody who learns to attack."""
        return [
            f"{self._attacker(own, self.study.made_with(variant, seed), attack, name, seed)}/{RECORD}"
            for (own, attack, name), variants in self.learners().items()
            for variant in variants
            for seed in self.study.attack.seeds
        ]

    def attacker_files(self, w: Any) -> list[str]:
        """Return the files of the attacker of an attack, if one has to learn."""
        if registry.load("attacks", w.attack).by != ATTACKERS:
            return []
        return [f"{self.attacker_folder(w)}/{name}" for name in ("weights.safetensors", RECORD)]

    def own_people(self, w: Any) -> list[str]:
        """Return what an attacker learns from: its own people as the method leaves them, as they are, their tables."""
        if w.attacker in self.study.recognisers():
            return []
        split = self.study.attack.own.split
        region = self.study.attack.attackers[w.attacker].region
        variants = dict.fromkeys((w.variant, ORIGINAL))
        return [
            *(self._file(what, w.dataset, v, split) for v in variants for what in ("manifest", "annotations")),
            *(self._table(w.dataset, split, name) for name in ("images", "people", RegionKind(region).table)),
        ]

    def attacked_people(self, w: Any) -> list[str]:
        """Return what is attacked, what it is compared with, and the tables of both."""
        probe, gallery = self.probe_split(w.dataset), self.study.attack.gallery
        attack = registry.load("attacks", w.attack)
        learns = attack.by == ATTACKERS
        region = RegionKind(self.study.attack.attackers[w.attacker].region) if learns else RegionKind.BODY
        pairs = {(w.variant, probe): None}
        if getattr(attack, "needs_original", True):
            pairs[ORIGINAL, probe] = None
        if attack.needs_gallery:
            pairs[w.variant if attack.within else ORIGINAL, str(gallery)] = None
        tables = {split: None for _, split in pairs}
        return [
            *(self._fitted_people(w.dataset, w.variant, region) if attack.of_fitted else ()),
            *(self._file(what, w.dataset, v, split) for v, split in pairs for what in ("manifest", "annotations")),
            *(self._table(w.dataset, split, name) for split in tables for name in ("images", "people", region.table)),
        ]

    def fitting_of(self, dataset: str, variant: str) -> tuple[str, str]:
        """Return the record of the training of a variant's method, and the data set that it was fitted to."""
        source = self.study.fitted_on(str(Variant.parse(variant).method), dataset)
        return f"{self.fit_folder(dataset, variant)}/fit.json", source

    def _fitted_people(self, dataset: str, variant: str, region: RegionKind) -> list[str]:
        """Return whom a variant's method was fitted to: its record, their originals, their tables."""
        record, source = self.fitting_of(dataset, variant)
        split = self.training_split(source)
        return [
            record,
            *(self._file(what, source, ORIGINAL, split) for what in ("manifest", "annotations")),
            *(self._table(source, split, name) for name in ("images", "people", region.table)),
        ]

    def results(self, kind: str) -> list[str]:
        """Return the result files of a kind: ``tables``, ``figures`` or ``report`` (those two and the page)."""
        root = self.folder("results")
        tables = [f"{root}/tables/{name}" for name in self.tables()]
        stems = [*self.figures(), *self.sheets()]
        suffixes = ("png", *self.study.report.vector_formats)
        figures = [f"{root}/figures/{stem}.{suffix}" for stem in stems for suffix in suffixes]
        pages = [f"{root}/{name}" for name in ("report.html", "cost.csv", *(f"cost.{suffix}" for suffix in suffixes))]
        return {"tables": tables, "figures": figures, "report": [*tables, *figures, *pages]}[kind]
