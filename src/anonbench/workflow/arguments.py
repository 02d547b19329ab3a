"""What the rules tell their commands about the study."""

from __future__ import annotations

import functools
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anonbench import registry
from anonbench.attack.contract import Guessing, Matching
from anonbench.attack.options import ATTACKERS, DETECTORS, NOBODY
from anonbench.config import NON_RECIPE_KEYS, Study
from anonbench.directions import ON_ORIGINAL
from anonbench.report.study import is_identity
from anonbench.seeding import seed_of
from anonbench.tasks import base as tasks
from anonbench.variants import ORIGINAL
from anonbench.workflow.files import Files


def compact(value: Any) -> str:
    """Return JSON on one line with sorted keys, so that equal values of a rule's params are equal texts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)


class Arguments:
    """The arguments of a study's commands: bare values, or options ready for the command line."""

    def __init__(self, study: Study, files: Files, config_files: Sequence[str | Path] = ()) -> None:
        self.study = study
        self.files = files
        self.config_files = [Path(file) for file in config_files]

    def options(self, dataset: str) -> str:
        """Return the complete options of a data set's plugin, as JSON."""
        return compact(self.study.options(dataset))

    def categories(self, dataset: str) -> str:
        """Return the options of `anonbench annotate` that say which of a data set's categories are people."""
        config = self.study.datasets[dataset]
        said = (self.each("--people", config.people), self.each("--not-people", config.not_people))
        return " ".join(arguments for arguments in said if arguments)

    def root(self, dataset: str) -> str:
        """Return the --root option of `anonbench download`; empty when the plugin fetches the data."""
        root = self.study.root_of(dataset)
        return f"--root {shlex.quote(str(root))}" if root else ""

    def gate(self, dataset: str) -> str:
        """Return the options of `anonbench annotate` that say how a data set's image files are checked."""
        block = self.study.datasets[dataset]
        return f"--labels-on {block.labels_on} --on-bad-image {block.on_bad_image} --max-pixels {block.max_pixels}"

    def apart(self, dataset: str, split: str) -> str:
        """Return the option of `anonbench annotate` that names the split that must not show the same people."""
        if not self.study.datasets[dataset].disjoint or split != self.files.evaluation_split(dataset):
            return ""
        return f"--apart-from {self.files.training_split(dataset)}"

    def splits(self, dataset: str) -> str:
        """Return the names of the splits that the study uses, separated by commas."""
        return ",".join(self.files.splits(dataset))

    def seed(self, dataset: str) -> int:
        """Return the seed of a data set's anonymization: the study's, but for the attacker's own data.

        Whoever knows a method does not know the random numbers that it was run with.
        """
        if dataset != self.study.attack.own.dataset:
            return self.study.seed
        return seed_of("attacker", self.study.seed) % 2**31

    def fit_seed(self, again: str) -> int:
        """Return the seed of a fit: the study's, but for a further one (``-fit<seed>``)."""
        return seed_of("fit", self.study.seed, again.removeprefix("-fit")) % 2**31 if again else self.study.seed

    def attacker(self, name: str) -> str:
        """Return an attacker as the study describes it, as JSON; which attacks it tries is nothing it learns from."""
        return compact(self.study.attack.attackers[name].model_dump(mode="json", exclude={"attacks"}))

    def tries(self, w: Any) -> str:
        """Return the options of `anonbench attack` that say who tries an attack: an attacker, a detector, or nobody."""
        plugin = registry.load("attacks", w.attack)
        by = plugin.by
        if by == ATTACKERS:
            tables = f"{self.files.folder('annotations')}/{self.files.own_dataset(w.dataset)}"
            found = f"--model {shlex.quote(self.files.attacker_folder(w))} --own {shlex.quote(tables)}"
            return found + (self._fitting(w) if plugin.of_fitted else "")
        if by == DETECTORS:
            config = self.study.attack.detectors[w.attacker].model_dump(mode="json")
            return f"--detector {shlex.quote(compact(config))}"
        return ""

    def _fitting(self, w: Any) -> str:
        """Return the options of `anonbench attack` that say whom a variant's method was fitted to."""
        record, source = self.files.fitting_of(w.dataset, w.variant)
        original, tables = self.files.variant_folder(source, ORIGINAL), f"{self.files.folder('annotations')}/{source}"
        given = {"--fit": record, "--fit-original": original, "--fit-annotations": tables}
        return "".join(f" {option} {shlex.quote(path)}" for option, path in given.items())

    def attack(self, dataset: str, attack: str) -> str:
        """Return the options of `anonbench attack` that say who is attacked, and how that is measured.

        Those alone that an attack of its kind reads: another value of one that it does not must not rerun it.
        """
        block, plugin = self.study.attack, registry.load("attacks", attack)
        learns = plugin.by == ATTACKERS and not self._one_namespace(dataset)
        found = ["--own-names"] if learns else []
        found.append(f"--probe {self.files.probe_split(dataset)}")
        found += [f"--gallery {block.gallery}"] if plugin.needs_gallery else []
        found += [self.each("--size", [str(n) for n in block.sizes])] if issubclass(plugin, Matching) else []
        # where nobody tries, everybody is counted and nobody is chosen
        found += [f"--validation {block.validation} --most {block.most}"] if plugin.by != NOBODY else []
        found.append(f"--seed {self.study.seed} --resamples {self.study.report.bootstrap}")
        return " ".join(found) + self._attributes(attack)

    def _attributes(self, attack: str) -> str:
        """Return the option of `anonbench attack` that names groups of attributes, of an attack that guesses them."""
        groups = self.study.attack.attributes
        guesses = issubclass(registry.load("attacks", attack), Guessing)
        return f" --attributes {shlex.quote(compact(groups))}" if groups and guesses else ""

    def each(self, option: str, values: list[str]) -> str:
        """Return an option, repeated for each value."""
        return " ".join(f"{option} {shlex.quote(str(value))}" for value in values)

    def mirror(self) -> str:
        """Return the --mirror option of `anonbench download`; empty when files are fetched from their own addresses."""
        mirror = self.study.download.mirror
        return f"--mirror {shlex.quote(mirror)}" if mirror else ""

    def keep_archives(self) -> str:
        """Return the flag of `anonbench download` that keeps archives, if the study asks for it."""
        return "--keep-archives" if self.study.download.keep_archives else ""

    def regions(self) -> str:
        """Return the settings of regions, as JSON."""
        return compact(self.study.regions.model_dump(mode="json"))

    def detector(self, finds: str) -> str:
        """Return the detector of faces or people with its options, as JSON."""
        return compact(getattr(self.study.regions.detectors, finds).model_dump(mode="json"))

    @functools.cache  # noqa: B019 (one plan per process)
    def method(self, variant: str) -> str:
        """Return the complete parameters of a variant's method, as JSON."""
        return compact(self.study.parameters(variant))

    @functools.cache  # noqa: B019 (one plan per process)
    def encoder(self, variant: str) -> str:
        """Return the encoder policy of a variant."""
        return self.study.encoder(variant)

    def weights(self, weights: Any) -> str:
        """Return the options of `anonbench anonymize` for a method's weights, if it has any."""
        paths = [weights] if isinstance(weights, str) else list(weights)
        return " ".join(f"--weights {shlex.quote(str(p))} --device {self.study.train.device}" for p in paths)

    @functools.cache  # noqa: B019 (one plan per process)
    def fit_settings(self, method: str, level: str | None = None) -> str:
        """Return the complete settings for fitting a method, at a level if it has a fit for each, as JSON."""
        settings = self.study.fit_settings(method, level)
        start = self.study.fit_start(method, level)
        if start is not None:
            settings["start"] = self.files.training_folder(start)
        return compact(settings)

    def stills(self, method: str) -> str:
        """Return the options of `anonbench fit` that name the data set whose people it looks at, if it is another."""
        source = self.study.stills_on(method)
        if source is None:
            return ""
        data, tables = (f"{self.files.folder(stage)}/{source}" for stage in ("data", "annotations"))
        split = self.files.training_split(source)
        return f"--stills-data {shlex.quote(data)} --stills-annotations {shlex.quote(tables)} --stills-split {split}"

    def recipe(self, model: str) -> str:
        """Return a model's recipe, as JSON."""
        recipe = self.study.models[model].model_dump(mode="json", exclude=NON_RECIPE_KEYS)
        if self.study.starting_training(model) is not None:
            recipe["initialisation"]["file"] = self.files.start_path(model)
        return compact(recipe)

    def known_as(self, dataset: str) -> str:
        """Return the --dataset options of `anonbench train`: the names by which first weights may list a data set."""
        adapter = self.study.adapter(dataset)
        # `coco` reads any data set in COCO's format, so it names no particular images
        names = [dataset, *([adapter] if adapter not in (dataset, "coco") else [])]
        return " ".join(f"--dataset {shlex.quote(name)}" for name in names)

    def _as_named(self, file: Path) -> str:
        """Return a file as a command beside the Snakefile names it; of one elsewhere its name, not this machine's."""
        path, base = (self.files.base / file).resolve(), self.files.base.resolve()
        return path.relative_to(base).as_posix() if path.is_relative_to(base) else path.name

    def _one_namespace(self, dataset: str) -> bool:
        """Tell whether the attacker's own data has its people's names from where the attacked data has them."""
        return self.study.one_source(self.files.own_dataset(dataset), dataset)

    def metric(self, model: str) -> str:
        """Return the option of `anonbench evaluate` that says which metric the study asks about.

        '' where that is the first one of each of the model's tasks anyway.
        """
        asked, names = self.study.report.primary.metric, self.study.models[model].tasks
        changes = any(tasks.led(name, asked) is not tasks.load(name) for name in names)
        return f"--metric {shlex.quote(str(asked))}" if changes else ""

    def _attacks(self) -> dict[str, Any]:
        """Return who attacks what, as the report reads it."""
        study = self.study
        more = {name: study.variants_of(name) for name in study.datasets if study.attacked_alone(name)}
        learners = [[*who, variants] for who, variants in self.files.learners().items()]
        return {
            "datasets": [name for name in study.datasets if study.attacked(name)],
            **({"variants": more} if more else {}),
            "attacks": study.attack.attacks,
            "attackers": {a: {v: study.tried_by(a, v) for v in study.variants} for a in study.attack.attacks},
            "once": [a for a in study.attack.attacks if registry.load("attacks", a).by != ATTACKERS],
            **({"learners": learners} if learners else {}),
            **({"recognisers": study.recognisers()} if study.recognisers() else {}),
            "seeds": study.attack.seeds,
            "sizes": study.attack.sizes,
            **({"probe": study.attack.probe} if study.attack.probe else {}),
        }

    def _report(self) -> dict[str, Any]:
        """Return what the report asks and draws; what came later and is left alone changes no older study's file."""
        block = self.study.report
        found = block.model_dump(
            mode="json", exclude={name for name in ("against", "sheet") if not getattr(block, name)}
        )
        if block.primary.direction == ON_ORIGINAL:
            del found["primary"]["direction"]
        if not block.primary.models:
            del found["primary"]["models"]
        return found

    def summary(self) -> str:
        """Return the part of the study that the report reads, as JSON."""
        study = self.study
        refitted = [v for v in study.variants if study.refits(v)]
        own_seeds = {name: study.seeds_of(name, ORIGINAL) for name, model in study.models.items() if model.only_seeds}
        alone = [name for name, model in study.models.items() if model.trains and not model.varies]
        anonymized = [v for v in study.variants if v != ORIGINAL]
        controls = [v for v in anonymized if not is_identity(v) and not study.anonymizes(v)]
        after = {v: str(made[0]) for v in anonymized if len(made := study.made_from(v)) > 1}
        return compact(
            {
                "name": study.name,
                "files": [self._as_named(file) for file in self.config_files],
                "seed": study.seed,
                "datasets": {n: {"train": d.train, "val": d.val} for n, d in study.datasets.items()},
                "variants": study.variants,
                "models": {n: m.model_dump(mode="json", exclude=NON_RECIPE_KEYS) for n, m in study.models.items()},
                "asked": {d: {m: study.asked(d, m) for m in study.models} for d in study.datasets},
                "untrained": [name for name, model in study.models.items() if not model.trains],
                **({"on_original": alone} if alone else {}),
                "starts": study.compared_starts(),
                "seeds": study.train.seeds,
                **({"original_seeds": study.train.original_seeds} if study.train.original_seeds else {}),
                **({"refitted": refitted} if refitted else {}),
                **({"controls": controls} if controls else {}),
                **({"after": after} if after else {}),
                **({"own_seeds": own_seeds} if own_seeds else {}),
                "directions": study.evaluate.on,
                "report": self._report(),
                **({"attacks": self._attacks()} if study.attack.attacks else {}),
            }
        )
