"""The study's configuration: one pydantic model, from which the schema and the configuration page are generated."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, ValidationError, field_validator, model_validator

from anonbench import registry, splits
from anonbench.annotate.options import LabelsOn, OnBadImage, RegionsConfig
from anonbench.anonymize.contract import After, check_kinds
from anonbench.anonymize.controls import anonymizes, hiding
from anonbench.attack.options import ATTACKERS, DETECTORS, KNOWS_NO_METHOD, NOBODY, AttackConfig, Knowledge
from anonbench.blocks import Strict, explain
from anonbench.detectors.base import StoredDetections
from anonbench.detectors.base import load as load_detector
from anonbench.directions import ON_DEPLOYED, ON_ORIGINAL, Direction, Evaluation, pair, seeds_of, told
from anonbench.errors import AnonbenchError, nearest
from anonbench.files import read_yaml
from anonbench.manifests import PRIVATE
from anonbench.recipe import Recipe
from anonbench.records import MAX_PIXELS, RegionKind
from anonbench.tasks.engines import VECTORIZED, Engine
from anonbench.variants import IDENTITY, LIKE_A_FIT, ORIGINAL, Variant, plain, refitted

NAME = r"^[a-z0-9][a-z0-9_-]*$"
SPLIT = r"^[A-Za-z0-9_]+$"
LEVEL = r"^[a-z0-9]+$"
ENCODER = r"^(source|lossless|quality-([1-9]\d?|100))$"
START = re.compile(r"models/(?P<dataset>[^/]+)/(?P<variant>[^/]+)/(?P<model>[^/]+)/seed(?P<seed>\d+)(/.*)?")
"""First weights that a training of the same study makes: their path, from the study's output folder."""
NON_RECIPE_KEYS = {"datasets", "variants", "only_seeds", "trained_on"}
"""Keys of a model that say what it is trained on, not how."""
START_KEYS = {"initialisation", "base_learning_rate", "reference_batch_size"}
"""Keys of a recipe that may differ between models whose starts are compared."""


class DatasetConfig(Strict):
    """One data set of the study."""

    adapter: str | None = Field(None, description="Name of the data set plugin; the block's own name unless given.")
    root: Path | None = Field(
        None,
        description="Folder of a copy that is already on disk; it is only read. Relative paths are taken from the "
        "folder that the command is run in.",
    )
    train: str = Field("train", pattern=SPLIT, description="Split that is anonymized and trained on.")
    val: str = Field("val", pattern=SPLIT, description="Split that every model is evaluated on.")
    options: dict[str, Any] = Field(default_factory=dict, description="Options of the data set plugin.")
    disjoint: bool = Field(
        False,
        description="Refuse a data set in which the same person (by `identity`) appears in both train and val: models, "
        "and later attackers, must be judged on people they have not seen.",
    )
    people: list[str] = Field(
        [],
        description="Exact names of the categories that are people, where the data set does not say so itself (with "
        "`person` as name or supercategory).",
    )
    not_people: list[str] = Field(
        [],
        description="Exact names of categories that are not people whatever they sound like; they are left unchanged. "
        "A category whose name sounds like people must be in one of the two lists.",
    )
    labels_on: LabelsOn = Field(
        LabelsOn.AUTO,
        description="Frame in which the labels of images with an EXIF orientation were drawn: `upright` (orientation "
        "applied), `stored`, or `auto` (the one that the annotated sizes fit; upright where they cannot tell).",
    )
    on_bad_image: OnBadImage = Field(
        OnBadImage.FAIL,
        description="What to do about images that cannot be used (missing, damaged, of another size): `fail` names "
        "them all and stops; `skip` leaves them out of every variant, the original included, and records them.",
    )
    max_pixels: int = Field(
        MAX_PIXELS, ge=1, description="Largest image, as width times height; larger ones are not decoded."
    )


class DownloadConfig(Strict):
    """How raw data is fetched."""

    mirror: str | None = Field(
        None,
        description="Folder or base URL to fetch files from, as <mirror>/<data set>/<file>, instead of their own "
        "addresses. For machines without internet access.",
    )
    keep_archives: bool = Field(False, description="Keep archives after unpacking them.")


class MethodConfig(Strict):
    """Parameters of one method, for all its levels or for one."""

    parameters: dict[str, Any] = Field(default_factory=dict, description="Parameters at every level.")
    levels: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="Parameters by level; a level that is not listed keeps the method's own.",
    )
    encoder: str | None = Field(
        None,
        pattern=ENCODER,
        description="Encoder of the method's variants; unless given, the one that the method asks for, or else "
        "`anonymize.encoder`.",
    )
    fit: dict[str, Any] = Field(
        default_factory=dict, description="Settings for fitting the method, if it is one that is fitted to data."
    )
    fit_levels: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="Settings for fitting by level, of a method that is fitted anew for each level; they beat `fit`.",
    )
    fit_on: str | None = Field(
        None,
        description="Data set of the study whose training split the method is fitted to; unless given, the one that is "
        "anonymized.",
    )
    stills_on: str | None = Field(
        None,
        description="Data set of the study whose training split shows the people that a fit looks at, of a method that "
        "can (`learned`), as where clips and photographs of people come apart; unless given, the one that it is fitted "
        "to.",
    )
    refit: bool = Field(
        False,
        description="Fit the method anew for each of `train.seeds`: models and attackers of a seed see what the fit of "
        "that seed makes, so that intervals hold what fits do, too.",
    )


class AnonymizeConfig(Strict):
    """How variants are written."""

    encoder: str = Field(
        "source",
        pattern=ENCODER,
        description="`source` re-encodes a changed JPEG with its own quantisation tables and subsampling; "
        "`quality-N` with libjpeg's tables; `lossless` makes it a PNG. PNG stays PNG.",
    )
    shards: int = Field(
        1, ge=1, le=64, description="Jobs per variant, each for consecutive images of about equal bytes."
    )
    threads: int = Field(1, ge=1, description="Threads in one job.")
    link: Literal["copy", "reflink", "hardlink"] = Field(
        "copy",
        description="How images in which nothing is changed get into a variant. `reflink`: as copies that share disk "
        "space with the originals where the file system supports it (btrfs, XFS), else as plain copies. `hardlink`: as "
        "a second name of the original file, so that editing the variant's image edits the original.",
    )
    strict: bool = Field(False, description="Fail when a person is left visible in a variant.")


class ModelConfig(Recipe):
    """One model of the study: its recipe, and what it is trained on."""

    datasets: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="data sets of the study that it is trained on (or, if it needs no training, tested on); all unless "
        "given",
    )
    variants: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="variants of the study that it is trained on (or, if it needs no training, tested on), `original` "
        "among them; all unless given",
    )
    only_seeds: tuple[int, ...] | None = Field(
        None,
        min_length=1,
        description="those of `train.seeds` that it is trained with; all unless given (one will do for a start)",
    )
    trained_on: Literal["variants", "original"] = Field(
        "variants",
        description="`original`: it is trained on original images alone, and variants only test it (direction "
        "`deployed`), as of a model that is in use already",
    )

    @property
    def varies(self) -> bool:
        """Whether it is another model for each variant: it is trained, and on each of them."""
        return self.trains and self.trained_on == "variants"


class TrainConfig(Strict):
    """How trainings are run. On one machine only `device`, `threads` and `processes` can change a seed's result."""

    seeds: list[int] = Field(
        [0, 1, 2],
        min_length=1,
        description="One training per seed; a model that needs no training has the first seed alone, and looks at each "
        "fit of a method that is fitted for each (`methods.<name>.refit`).",
    )
    original_seeds: list[int] = Field(
        [],
        description="Further trainings on `original` alone: every difference rests on it. Up to as many as `seeds` has "
        "make all intervals narrower at little cost, unless a seed does more to all variants alike than to each of "
        "them (docs/statistics.md).",
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="`auto` uses CUDA where it is available.")
    threads: int = Field(1, ge=1, description="CPU threads of one training, or of each of its processes.")
    processes: int = Field(1, ge=1, description="Processes that share each batch of a training, one per GPU.")

    @field_validator("seeds", "original_seeds")
    @classmethod
    def _unique(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) != len(seeds):
            raise ValueError("duplicate seed")
        return seeds

    @model_validator(mode="after")
    def _further(self) -> Self:
        both = sorted(set(self.seeds) & set(self.original_seeds))
        if both:
            raise ValueError(f"original_seeds: {both[0]} is among seeds: the original has those, too")
        if self.original_seeds and len(self.seeds) < 2:
            raise ValueError("original_seeds: with one seed nothing is said of what seeds do; give seeds two or more")
        return self


class EvaluateConfig(Strict):
    """What models are tested on, and what scores them."""

    on: tuple[Direction, ...] = Field(
        ("original",),
        min_length=1,
        description="`original`: trained on the variant, tested on the original images (what training on anonymized "
        "data costs); `same`: trained and tested on the variant (everything is anonymized); `deployed`: trained on the "
        "original images, tested on the variant (what anonymizing a stream costs a model that is already in use). The "
        "validation split is anonymized only if one of the last two is listed.",
    )
    engine: Engine = Field(
        VECTORIZED,
        description="What computes COCO's metrics: `vectorized`, or `pycocotools`, the reference that it equals, which "
        "takes many times as long.",
    )

    @model_validator(mode="before")
    @classmethod
    def _yaml(cls, value: Any) -> Any:
        """Accept the key `on` as YAML 1.1 reads it: as a boolean."""
        if isinstance(value, dict) and True in value and "on" not in value:
            return {"on" if key is True else key: entry for key, entry in value.items()}
        return value

    @field_validator("on")
    @classmethod
    def _unique(cls, on: tuple[Direction, ...]) -> tuple[Direction, ...]:
        if len(set(on)) != len(on):
            raise ValueError("duplicate direction")
        return on


class PrimaryConfig(Strict):
    """The primary question, declared beforehand: the answer is about it, and its intervals hold all at once."""

    tasks: list[str] = Field(
        ["detection", "pose"],
        min_length=1,
        description="Its tasks; of a model that has none of them, all that it has.",
    )
    category: str | None = Field(
        None, description="Its category; left out, the first category of people that a data set has."
    )
    direction: Direction = Field(
        "original", description="What is trained on and what is tested on, one of `evaluate.on`."
    )
    metric: str | None = Field(
        None,
        description="What differences, intervals and verdicts are about, in the other tasks that can have it, too: the "
        "first metric of each task unless given; `AP50` or `AP75` of tasks that COCO's AP judges. Margins are of it: "
        "those that were chosen for AP may not suit it.",
    )
    variants: list[str] = Field(
        default_factory=list,
        description="Its variants; left out, all but the original and those that only re-encode. Rows of others are "
        "exploratory.",
    )
    models: list[str] = Field(
        default_factory=list,
        description="Its models; left out, all. Rows of others are exploratory: such as those of a detector of faces, "
        "where fewer of these are what variants are for, and no loss.",
    )


class ReportConfig(Strict):
    """What the report asks and draws."""

    margin: float = Field(
        1.0,
        gt=0,
        description="Difference below which a variant counts as equal, in the unit of a task's first metric (AP "
        "points).",
    )
    margins: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict, description="Margins of their own for some tasks, by name."
    )
    bootstrap: int = Field(1000, ge=100, le=100_000, description="Resamples of validation images for the intervals.")
    primary: PrimaryConfig = PrimaryConfig()
    against: list[str] = Field(
        [],
        description="Variants that every other one is compared with, too, in what is kept and in what attackers find: "
        "those that are there for all to beat, such as `body-mask_out`.",
    )
    people_per_sheet: int = Field(4, ge=1, le=24, description="Rows of the before/after sheet.")
    sheet: list[str] = Field(
        default_factory=list,
        description="Variants that the before/after sheet shows beside the original; all unless given.",
    )
    vector_formats: list[Literal["pdf", "svg"]] = Field(
        ["pdf"], description="Formats in which figures are written for print, beside the PNG that the page shows."
    )


class Study(Strict):
    """The whole study."""

    name: str = Field(pattern=NAME, description="Name of the study.")
    output: Path = Field(Path("."), description="Folder under which everything is written.")
    seed: int = Field(0, ge=0, description="Seed of the anonymization and of the resampling.")
    root: Path | None = Field(
        None, description="`root` of every data set that has none of its own (handy with --config)."
    )
    datasets: dict[str, DatasetConfig] = Field(min_length=1, description="Data sets by name.")
    download: DownloadConfig = DownloadConfig()
    regions: RegionsConfig = Field(RegionsConfig(), description="How the regions of people are found.")
    variants: list[str] = Field(
        min_length=1, description="`original` and `<region>-<method>[-<level>]`, such as face-blur-medium."
    )
    methods: dict[str, MethodConfig] = Field(default_factory=dict, description="Parameters of methods by name.")
    anonymize: AnonymizeConfig = AnonymizeConfig()
    models: dict[str, ModelConfig] = Field(min_length=1, description="What is trained on each variant, by name.")
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    attack: AttackConfig = Field(AttackConfig(), description="What is tried on each variant, and by whom.")
    report: ReportConfig = ReportConfig()

    @field_validator("datasets", "models")
    @classmethod
    def _names(cls, blocks: dict[str, Any]) -> dict[str, Any]:
        for name in blocks:
            if not re.fullmatch(NAME, name):
                raise ValueError(f"{name!r} is not a valid name (use lower-case letters, digits, - and _)")
            if name == PRIVATE:
                raise ValueError(f"'{name}' is reserved for what must not be handed out; choose another name")
        return blocks

    @model_validator(mode="after")
    def _check(self) -> Study:
        """Check blocks against each other and against plugins."""
        self._check_variants()
        for name, dataset in self.datasets.items():
            self._check_dataset(name, dataset)
        for name, model in self.models.items():
            self._check_model(name, model)
        for name in self.report.margins:
            if name not in registry.names("tasks"):
                raise ValueError(f"report.margins: unknown task '{name}'{nearest(name, registry.names('tasks'))}")
        self._check_primary()
        for name, method in self.methods.items():
            self._check_method(name, method)
        self._check_attack()
        return self

    def _check_primary(self) -> None:
        primary, known = self.report.primary, registry.names("tasks")
        for name in primary.tasks:
            if name not in known:
                raise ValueError(f"report.primary.tasks: unknown task '{name}'{nearest(name, known)}")
            task = registry.load("tasks", name)
            having = task.firsts()
            if primary.metric is not None and primary.metric not in having:
                raise ValueError(
                    f"report.primary.metric: '{primary.metric}' has no intervals in {name}; name one of "
                    f"{', '.join(having)}, or leave {name} out of report.primary.tasks"
                )
        for name, block in self.models.items():
            others = not set(block.tasks) & set(primary.tasks)  # such a model is asked about all that it has
            if primary.metric is None or not others or (primary.models and name not in primary.models):
                continue
            if not any(primary.metric in registry.load("tasks", task).firsts() for task in block.tasks):
                raise ValueError(
                    f"report.primary.metric: '{primary.metric}' has no intervals in what models.{name} does "
                    f"({', '.join(block.tasks)}); name models in report.primary.models, or other tasks in "
                    "report.primary.tasks"
                )
        for variant in self.report.sheet:
            if variant not in self.variants:
                raise ValueError(
                    f"report.sheet: '{variant}' is not among the study's variants{nearest(variant, self.variants)}"
                )
        for variant in primary.variants:
            if variant not in self.variants:
                raise ValueError(
                    f"report.primary.variants: '{variant}' is not among the study's variants"
                    f"{nearest(variant, self.variants)}"
                )
            if variant == ORIGINAL:
                raise ValueError(f"report.primary.variants: '{ORIGINAL}' is what every other variant is compared with")
        for model in primary.models:
            if model not in self.models:
                raise ValueError(
                    f"report.primary.models: '{model}' is not among the study's models{nearest(model, self.models)}"
                )
        for variant in self.report.against:
            if variant not in self.variants or variant == ORIGINAL:
                near = nearest(variant, [v for v in self.variants if v != ORIGINAL])
                raise ValueError(f"report.against: '{variant}' is not among the study's variants{near}")
        if "direction" in primary.model_fields_set and primary.direction not in self.evaluate.on:
            raise ValueError(
                f"report.primary.direction: '{primary.direction}' is not among evaluate.on "
                f"({', '.join(self.evaluate.on)})"
            )

    def _check_attack(self) -> None:
        attack, known = self.attack, registry.names("attacks")
        for name in attack.attacks:
            if name not in known:
                raise ValueError(f"attack.attacks: unknown attack '{name}'{nearest(name, known)}")
            if registry.load("attacks", name).of_fitted and not any(map(self.is_fitted_to_people, self.variants)):
                raise ValueError(
                    f"attack.attacks: {name} asks whom a method was fitted to, and no variant's method is fitted to "
                    "people (of a whole frame nobody is told)"
                )
            if registry.load("attacks", name).needs_gallery and attack.gallery is None:
                raise ValueError(f"attack.gallery: {name} looks for people in another split; name it")
        for variant in attack.variants:
            if variant not in self.variants:
                raise ValueError(
                    f"attack.variants: '{variant}' is not among the study's variants{nearest(variant, self.variants)}"
                )
        tried = {registry.load("attacks", name).by for name in attack.attacks}
        if ATTACKERS in tried and not attack.attackers:
            raise ValueError("attack.attackers: nobody attacks; describe an attacker")
        if DETECTORS in tried and not attack.detectors:
            raise ValueError("attack.detectors: nobody looks; name a detector")
        for name, detector in attack.detectors.items():
            if not re.fullmatch(NAME, name):
                raise ValueError(f"attack.detectors: {name!r} is not a valid name")
            if issubclass(load_detector(detector.plugin), StoredDetections):
                raise ValueError(
                    f"attack.detectors.{name}: '{detector.plugin}' looks at no image, so that it would say the same of "
                    "every variant"
                )
        if attack.own.dataset is not None and attack.own.dataset not in self.datasets:
            near = nearest(attack.own.dataset, self.datasets)
            raise ValueError(f"attack.own.dataset: unknown data set '{attack.own.dataset}'{near}")
        for name in attack.datasets or ():
            if name not in self.datasets:
                raise ValueError(f"attack.datasets: unknown data set '{name}'{nearest(name, self.datasets)}")
            if name == attack.own.dataset:
                raise ValueError(f"attack.datasets: '{name}' is the attacker's own; others are attacked")
        for name, attacker in attack.attackers.items():
            if not re.fullmatch(NAME, name):
                raise ValueError(f"attack.attackers: {name!r} is not a valid name")
            if attacker.variant is not None and attacker.variant not in self.variants:
                raise ValueError(
                    f"attack.attackers.{name}.variant: '{attacker.variant}' is not among the study's variants"
                    f"{nearest(attacker.variant, self.variants)}"
                )
            for one in attacker.attacks or ():
                if one not in attack.attacks:
                    raise ValueError(
                        f"attack.attackers.{name}.attacks: '{one}' is not among the study's attacks"
                        f"{nearest(one, attack.attacks)}"
                    )
                if registry.load("attacks", one).by != ATTACKERS:
                    raise ValueError(f"attack.attackers.{name}.attacks: nobody learns for {one}")
            fits = [registry.load("attacks", one).by_those_who_know for one in attacker.attacks or ()]
            if fits and not any(attacker.knowledge in who for who in fits):
                who = " or ".join(dict.fromkeys(knowledge for of in fits for knowledge in of))
                raise ValueError(
                    f"attack.attackers.{name}.attacks: {' and '.join(attacker.attacks or ())}: tried by attackers "
                    f"whose knowledge is {who}, not {attacker.knowledge}"
                )
        attacked = [name for name in self.datasets if self.attacked(name)]
        if attack.attacks and not attacked:
            raise ValueError(
                f"attack.own.dataset: '{attack.own.dataset}' is the only data set, and the attacker's own is not "
                "attacked: add another, or leave it out"
            )
        for name in attack.attacks:
            if not any(self.tried_by(name, variant) for one in attacked for variant in self.variants_of(one)):
                raise ValueError(f"attack.attackers: nobody tries {name}{self._who_tries(name)}")
        takes = [one for one in (registry.load("attacks", of) for of in attack.attacks) if one.by == ATTACKERS]
        for name, attacker in attack.attackers.items():
            if takes and not any(attacker.knowledge in one.by_those_who_know for one in takes):
                raise ValueError(
                    f"attack.attackers.{name}: no attack of the study is tried by attackers whose knowledge is "
                    f"{attacker.knowledge}"
                )
        for variant in attack.variants:
            if attacked and not any(variant in self.variants_of(name) for name in attacked):
                raise ValueError(
                    f"attack.variants: no model is used for '{variant}' on what is attacked ({', '.join(attacked)}), "
                    "where it is not made, therefore"
                )
        for name in attacked:
            self._check_attacked(name)

    def _who_tries(self, attack: str) -> str:
        """Return, in brackets, what those who try an attack have to know, where not everybody does."""
        who = registry.load("attacks", attack).by_those_who_know
        return "" if len(who) == len(get_args(Knowledge)) else f" (attackers whose knowledge is {' or '.join(who)} do)"

    def _check_attacked(self, dataset: str) -> None:
        """Check that those of a data set who are attacked are none of those whom an attacker, or a method, has met."""
        attack, probe = self.attack, self.probe_split(dataset)
        if attack.gallery == probe:
            raise ValueError(f"attack.gallery: '{attack.gallery}' is the split of {dataset} that is attacked")
        for variant in filter(self.is_fitted, self.variants_of(dataset)):
            method = str(Variant.parse(variant).method)
            elsewhere = any(variant in self.asked(one, m) for one in self.datasets for m in self.models)
            if self.attacked_alone(dataset) and elsewhere and self.fitted_on(method, dataset) == dataset:
                raise ValueError(
                    f"methods.{method}.fit_on: {dataset} is attacked, and models are used for {variant} of others, "
                    "which would be anonymized by another fit; name the data set that it is fitted to for all"
                )
            for source in (self.fitted_on(method, dataset), self.stills_on(method), *self._known_to_start(variant)):
                if source and self._may_share(dataset, probe, source, self.datasets[source].train):
                    raise ValueError(
                        f"attack.probe: '{probe}' of {dataset} is what {method} is fitted to, which may hide others "
                        "less; name another split"
                    )
        if not self.learns_to_attack():
            return
        own, split = attack.own.dataset or dataset, attack.own.split
        if any(self._may_share(own, split, dataset, one) for one in (probe, attack.gallery) if one):
            same = split in (probe, attack.gallery)
            what = f"'{split}' of {dataset} is" if same else f"'{split}' of {own} may hold what is of {dataset}"
            raise ValueError(f"attack.own.split: {what} attacked; attackers must not learn from it")
        for name in attack.attacks:
            for variant in self.variants_of(dataset) if registry.load("attacks", name).of_fitted else ():
                if not self.tried_by(name, variant):
                    continue
                method = str(Variant.parse(variant).method)
                source = self.fitted_on(method, dataset)
                if self._may_share(own, split, source, self.datasets[source].train):
                    raise ValueError(
                        f"attack.own.split: '{split}' of {own} is what {method} is fitted to, and {name} asks whom it "
                        "was fitted to; name another split or data set"
                    )

    def _may_share(self, one: str, split: str, other: str, other_split: str) -> bool:
        """Tell whether splits of two data sets, under two names or one, may hold the same images.

        Those of one source that is divided in other ways may, whatever they are called.
        """
        if not self.one_source(one, other):
            return False
        named = registry.load("datasets", self.adapter(one)).split_options
        own, theirs = (
            {name: value for name, value in self.options(of).items() if named is None or name in named}
            for of in (one, other)
        )
        return split == other_split if own == theirs else named is not None

    def probe_split(self, dataset: str) -> str:
        """Return the split whose people are attacked."""
        return self.attack.probe or self.datasets[dataset].val

    def attacked(self, dataset: str) -> bool:
        """Tell whether a data set's people are attacked: those of all but the attacker's own, or of those named."""
        named = self.attack.datasets
        return bool(self.attack.attacks) and (dataset != self.attack.own.dataset if named is None else dataset in named)

    def one_source(self, own: str, dataset: str) -> bool:
        """Tell whether two data sets draw on the same people: one block, or the same plugin and root, or none for both.

        Of a plugin that renders people, the same seed.
        """
        if own == dataset or self.adapter(own) != self.adapter(dataset):
            return own == dataset
        roots = [root and root.resolve() for root in (self.root_of(own), self.root_of(dataset))]
        if roots == [None, None] and registry.load("datasets", self.adapter(dataset)).renders:
            seed = self.options(dataset).get("seed")
            return seed is not None and self.options(own).get("seed") == seed
        return roots[0] == roots[1]

    def attackers_of(self, variant: str) -> list[str]:
        """Return the attackers of a variant: those about its region; of the original those who need no method.

        Those also try what only encodes again, whichever region it is of: the same must be found there.
        """
        region, method = Variant.parse(variant).region, Variant.parse(variant).method
        hides = region is not None and method != IDENTITY
        inverts = method is not None and registry.load("methods", method).inverts
        return [
            name
            for name, attacker in self.attack.attackers.items()
            if ((not hides and attacker.knowledge in KNOWS_NO_METHOD) or region in (attacker.region, RegionKind.FRAME))
            and (inverts or not attacker.inverts)
        ]

    def tried_by(self, attack: str, variant: str) -> list[str]:
        """Return who tries an attack on a variant: attackers, detectors of what its region hides, or `nobody`."""
        plugin, of = registry.load("attacks", attack), self.attack.attackers
        by = plugin.by
        if self.attack.variants and variant not in (ORIGINAL, *self.attack.variants):
            return []
        if plugin.of_fitted and not self.is_fitted_to_people(variant):
            return []
        if by == ATTACKERS:
            return [
                name
                for name in self.attackers_of(variant)
                if of[name].knowledge in plugin.by_those_who_know and attack in (of[name].attacks or [attack])
            ]
        if by == NOBODY:
            return [NOBODY]
        alone = Variant.parse(variant).region is RegionKind.FACE  # of such a variant nobody expects to hide people
        return [name for name, one in self.attack.detectors.items() if one.finds == "face" or not alone]

    def learns_to_attack(self) -> bool:
        """Tell whether an attack is tried by attackers that learn."""
        tried = any(registry.load("attacks", name).by == ATTACKERS for name in self.attack.attacks)
        return tried and len(self.recognisers()) < len(self.attack.attackers)

    def attack_seeds(self, attack: str, attacker: str, variant: str) -> list[int]:
        """Return the seeds of an attack by somebody on a variant.

        Where nothing is learnt it is the first alone, but for what each fit of a method has made.
        """
        learnt = registry.load("attacks", attack).by == ATTACKERS and attacker not in self.recognisers()
        return self.attack.seeds if learnt or len(self.made(variant)) > 1 else self.attack.seeds[:1]

    def recognisers(self) -> list[str]:
        """Return the attackers that look with a recogniser, and learn nothing."""
        return [name for name, one in self.attack.attackers.items() if one.recogniser is not None]

    def _check_variants(self) -> None:
        if ORIGINAL not in self.variants:
            raise ValueError(f"variants: '{ORIGINAL}' is missing: every difference is measured against it")
        for text in self.variants:
            if self.variants.count(text) > 1:
                raise ValueError(f"variants: duplicate variant '{text}'")
            if text != plain(text):
                raise ValueError(
                    f"variants: '{text}': fits are not named here; methods.<name>.refit fits a method for each seed"
                )
            self.parameters(text)

    @staticmethod
    def _check_dataset(name: str, dataset: DatasetConfig) -> None:
        adapter = dataset.adapter or name
        if adapter not in registry.names("datasets"):
            raise ValueError(f"datasets: unknown data set '{adapter}'{nearest(adapter, registry.names('datasets'))}")
        options = registry.load("datasets", adapter).Options
        try:
            options.model_validate(dataset.options)
        except ValidationError as error:
            raise ValueError(f"datasets.{name}.options.{explain(error, options)}") from None
        for both in set(dataset.people) & set(dataset.not_people):
            raise ValueError(f"datasets.{name}: '{both}' cannot be both people and not_people")
        if dataset.train == dataset.val:
            raise ValueError(f"datasets.{name}: train and val are the same split ('{dataset.train}')")

    def _check_model(self, name: str, model: ModelConfig) -> None:
        if model.trains and model.batch_size % self.train.processes:
            raise ValueError(
                f"train.processes: {self.train.processes} processes cannot share models.{name}'s batches of "
                f"{model.batch_size} images equally"
            )
        for key, known in (("datasets", self.datasets), ("variants", self.variants)):
            for wrong in (n for n in getattr(model, key) or () if n not in known):
                raise ValueError(
                    f"models.{name}.{key}: '{wrong}' is not among the study's {key}{nearest(wrong, known)}"
                )
        if model.variants and ORIGINAL not in model.variants:
            raise ValueError(
                f"models.{name}.variants: '{ORIGINAL}' is missing: every difference is measured against it"
            )
        if model.only_seeds and not model.trains:
            raise ValueError(
                f"models.{name}.only_seeds: it needs no training, and has the first of train.seeds; remove it"
            )
        for seed in model.only_seeds or ():
            if seed not in self.train.seeds:
                raise ValueError(f"models.{name}.only_seeds: {seed} is not among train.seeds")
        alone = set(model.variants or self.variants) == {ORIGINAL}
        if not model.varies and not alone and ON_DEPLOYED not in self.evaluate.on:
            why = "is trained on original images" if model.trains else "needs no training"
            raise ValueError(
                f"models.{name}: it {why}, so variants can only be used to test it; add "
                f"`{ON_DEPLOYED}` to evaluate.on, or set its variants to [{ORIGINAL}]"
            )
        self._check_start(name)

    def _check_method(self, name: str, config: MethodConfig) -> None:
        if name not in registry.names("methods"):
            raise ValueError(f"methods: unknown method '{name}'{nearest(name, registry.names('methods'))}")
        method = registry.load("methods", name)
        used = {Variant.parse(text).level for text in self.variants if Variant.parse(text).method == name}
        for level in config.levels:
            if LIKE_A_FIT.match(level):
                raise ValueError(f"methods.{name}.levels: '{level}' is what a further fit is called; use another name")
            if level not in method.levels and level not in used:
                raise ValueError(f"methods.{name}.levels: unknown level '{level}'{nearest(level, method.levels)}")
            self._checked(name, level)
        self._checked(name, None)
        if config.fit_levels and not method.fit_levels:
            raise ValueError(f"methods.{name}.fit_levels: one fit serves all levels of {name}; use fit")
        for level in config.fit_levels:
            if level not in method.fit_levels and level not in used:
                raise ValueError(
                    f"methods.{name}.fit_levels: unknown level '{level}'{nearest(level, method.fit_levels)}"
                )
            self.fit_settings(name, level)
        for key, source in (("fit_on", config.fit_on), ("stills_on", config.stills_on)):
            if source is not None and source not in self.datasets:
                raise ValueError(f"methods.{name}.{key}: unknown data set '{source}'{nearest(source, self.datasets)}")
        if method.FitSettings is None and (config.fit or config.fit_on or config.refit):
            raise ValueError(f"methods.{name}: there is nothing to fit; remove fit, fit_on and refit")
        if config.stills_on is not None and not method.stills:
            raise ValueError(f"methods.{name}.stills_on: {name} looks at the people of one data set alone; remove it")
        if config.stills_on is not None:
            changed = {of for of in self.datasets for v in self.variants_of(of) if Variant.parse(v).method == name}
            if config.stills_on in ({config.fit_on} if config.fit_on else changed):
                raise ValueError(
                    f"methods.{name}.fit_on: name the data set of the clips, another one than that of people, or "
                    "remove stills_on"
                )
        for seed in self.attack.seeds if config.refit and used and self.attack.attacks else ():
            if seed not in self.train.seeds:
                raise ValueError(
                    f"attack.seeds: {seed} is not among train.seeds, for which alone {name} is fitted (methods.{name}."
                    "refit): an attacker sees what the fit of its own seed makes"
                )
        for fitted in (used or {None}) if method.fit_levels else {None}:
            self.fit_settings(name, fitted)
            self._check_fit_start(name, fitted)

    def _check_start(self, model: str) -> None:
        """Refuse a start that no training of the study makes, or that depends on the model itself."""
        chain = [model]
        while (start := self.starting_training(chain[-1])) is not None:
            source, where = start[2], f"models.{chain[-1]}.initialisation.file"
            if source in chain:
                circle = ", which starts from ".join([*chain[1:], source])
                raise ValueError(f"{where}: {model} starts from {circle}: none of them can be trained first")
            self._check_trained(start, where)
            chain.append(source)

    def _check_trained(self, training: tuple[str, str, str, int], where: str) -> None:
        """Refuse a training that is none of the study's."""
        dataset, variant, model, seed = training
        made = self.models[model].trains and variant in self.trained(dataset, model)
        if not made or seed not in self.seeds_of(model, variant):
            raise ValueError(f"{where}: the study does not train {dataset}/{variant}/{model}/seed{seed}")

    def _fit_starts(self, method: str, level: str | None) -> Iterator[tuple[str, str, str, int]]:
        """Yield the training of this study that a fit starts from, if any, and those that it started from in turn."""
        start = self.fit_start(method, level)
        while start is not None:
            yield start
            start = self.starting_training(start[2])

    def _known_to_start(self, variant: str) -> list[str]:
        """Return the data sets that the start of a variant's fit has learnt from, if it has one of this study."""
        parsed = Variant.parse(variant)
        return [dataset for dataset, *_ in self._fit_starts(str(parsed.method), parsed.level)]

    def _check_fit_start(self, method: str, level: str | None) -> None:
        """Refuse a start of a fit that is not trained, has another network, or has learnt from what the fit makes."""
        settings, start = self.fit_settings(method, level), self.fit_start(method, level)
        own = "start" in self.methods.get(method, MethodConfig()).fit_levels.get(level or "", {})
        where = f"methods.{method}.{f'fit_levels.{level}' if own else 'fit'}"
        if start is None:
            found = START.fullmatch(self._within(settings.get("start") or ""))
            named = found.groupdict() if found else {}
            for name, known in (("dataset", self.datasets), ("model", self.models)):
                if name in named and named[name] not in known:
                    raise ValueError(f"{where}.start: unknown {name} '{named[name]}'{nearest(named[name], known)}")
            return
        self._check_trained(start, f"{where}.start")
        model = start[2]
        recipe = self.models[model]
        if recipe.trainer != "clips":
            raise ValueError(f"{where}.start: {model} is trained by {recipe.trainer}; name a model of trainer: clips")
        theirs = recipe.settings.model_dump(mode="json")
        small = ("widths", "depths") if theirs["network"] == "r3d_small" else ()
        wanted = {"utility": theirs["network"], **{f"utility_{key}": theirs[f"small_{key}"] for key in small}}
        for key, value in wanted.items():
            if settings[key] != value:
                raise ValueError(f"{where}.{key}: {settings[key]}, where the start, {model}, has {value}")
        for _, variant, source, _ in self._fit_starts(method, level):
            if any(one.method == method and level in (None, one.level) for one in self.made_from(variant)):
                raise ValueError(f"{where}.start: {source} is trained on {variant}, which the fit makes")

    def starting_training(self, model: str) -> tuple[str, str, str, int] | None:
        """Return data set, variant, model and seed of the training of this study that a model starts from, if any.

        A recipe names its folder or weights, ``models/<data set>/<variant>/<model>/seed<k>``, with or without the
        study's output folder in front.
        """
        return self._training(self.models[model].initialisation.file)

    def fit_start(self, method: str, level: str | None = None) -> tuple[str, str, str, int] | None:
        """Return data set, variant, model and seed of the training of this study that a fit starts from, if any."""
        return self._training(self.fit_settings(method, level).get("start"))

    def _training(self, file: str | None) -> tuple[str, str, str, int] | None:
        found = START.fullmatch(self._within(file or ""))
        # the path of another study's training may look the same
        if found is None or found["dataset"] not in self.datasets or found["model"] not in self.models:
            return None
        return found["dataset"], found["variant"], found["model"], int(found["seed"])

    def _within(self, file: str) -> str:
        """Return a path without the study's output folder in front."""
        return file.removeprefix(f"{self.output.as_posix()}/")

    def asked(self, dataset: str, model: str) -> list[str]:
        """Return the variants of a data set that a model is used for, in the study's order; [] for none."""
        chosen = self.models[model]
        if dataset not in self.datasets or (chosen.datasets is not None and dataset not in chosen.datasets):
            return []
        return [v for v in self.variants if chosen.variants is None or v in chosen.variants]

    def trained(self, dataset: str, model: str) -> list[str]:
        """Return the variants of a data set that a model is trained on; the original alone unless it varies."""
        asked = self.asked(dataset, model)
        return asked if self.models[model].varies else [v for v in asked if v == ORIGINAL]

    def told(self, dataset: str, model: str, direction: str) -> list[str]:
        """Return the variants of a data set that a model has results for in a direction; see `directions.told`."""
        return told(direction, self.asked(dataset, model), self.models[model].varies)

    def seeds_of(self, model: str, variant: str) -> list[int]:
        """Return the seeds of a model on a variant.

        That is only the study's first if it needs no training, but for what each fit of a method has made.
        """
        own = self.models[model].only_seeds
        if own is not None:
            return [seed for seed in self.train.seeds if seed in own]
        trains = self.models[model].trains
        if not trains and len(made := self.made(variant)) > 1:
            return self.train.seeds[: len(made)]
        return seeds_of(self.train.seeds, self.train.original_seeds, variant, trains)

    def evaluation(self, dataset: str, model: str, direction: str, variant: str, seed: int) -> Evaluation:
        """Return the evaluation that tells of a variant in a direction; a model without training has one seed."""
        trained, tested = pair(direction, self.made_with(variant, seed))
        return Evaluation(dataset, trained, model, seed if self.models[model].trains else self.train.seeds[0], tested)

    def variants_of(self, dataset: str) -> list[str]:
        """Return the original and the variants of a data set that somebody is asked about, in the study's order.

        That is models or, of a data set that no model is used for and the study names as attacked, attackers.
        """
        wanted = {ORIGINAL}.union(*(self.asked(dataset, model) for model in self.models))
        if self.attacked_alone(dataset):
            wanted.update(v for v in self.variants if any(self.tried_by(name, v) for name in self.attack.attacks))
        return [v for v in self.variants if v in wanted]

    def trained_on(self, dataset: str) -> set[str]:
        """Return the variants of a data set that some model is trained on."""
        return {v for model in self.models if self.models[model].trains for v in self.trained(dataset, model)}

    def shown_split(self, dataset: str) -> str:
        """Return the split of a data set whose people are counted and shown; see `splits.shown`."""
        images = [on for on in self.evaluate.on if on != ON_ORIGINAL]
        tested = {v for model in self.models for on in images for v in self.told(dataset, model, on)}
        of = self.datasets[dataset]
        return splits.shown(of.train, of.val, self.variants_of(dataset), self.trained_on(dataset), tested)

    def attacked_alone(self, dataset: str) -> bool:
        """Tell whether the study names a data set as attacked that no model is used for."""
        named = bool(self.attack.attacks) and dataset in (self.attack.datasets or ())
        return named and not any(self.asked(dataset, model) for model in self.models)

    def compared_starts(self) -> list[tuple[str, list[str]]]:
        """Return, by data set, models trained on variants that differ only in first weights or learning rate.

        [] unless they are tested on the original images, which is what is compared.
        """
        if ON_ORIGINAL not in self.evaluate.on:
            return []
        groups: dict[tuple[str, str], list[str]] = {}
        for dataset in self.datasets:
            for name, model in self.models.items():
                if set(self.trained(dataset, name)) - {ORIGINAL}:
                    rest = model.model_dump_json(exclude=NON_RECIPE_KEYS | START_KEYS)
                    groups.setdefault((dataset, rest), []).append(name)
        return [(dataset, names) for (dataset, _), names in groups.items() if len(names) > 1]

    def fit_settings(self, method: str, level: str | None = None) -> dict[str, Any]:
        """Return the complete settings for fitting a method, defaults included ({} for one that is not fitted).

        Of one that is fitted for each level they are the level's and those of ``fit``, overridden by ``fit_levels``.
        Raises ValueError for a setting that the method refuses, and for one of ``fit`` that would make a level another
        one than its name says.
        """
        plugin, config = registry.load("methods", method), self.methods.get(method, MethodConfig())
        settings = plugin.FitSettings
        if settings is None:
            return {}
        own, named = config.fit_levels.get(level or "", {}), plugin.fit_levels.get(level or "", {})
        for key in named.keys() & config.fit.keys() - own.keys():
            if config.fit[key] != named[key]:
                raise ValueError(
                    f"methods.{method}.fit.{key}: the level '{level}' has {key}: {named[key]}; say it of that level "
                    "alone (fit_levels), or of one with a name of your own"
                )
        try:
            given = {**named, **config.fit, **own}
            return settings.model_validate(given).model_dump(mode="json")
        except ValidationError as error:
            entries = {str(first["loc"][0]) for first in error.errors()[:1] if first["loc"]} or own.keys()
            where = f"fit_levels.{level}" if entries & own.keys() else "fit"
            raise ValueError(f"methods.{method}.{where}.{explain(error, settings)}") from None

    def fit_name(self, variant: str) -> str:
        """Return what the fit of a variant's method is called: ``<region>-<method>[-<level>][-fit<seed>]``.

        The level is left out where one fit serves all levels.
        """
        parsed = Variant.parse(variant)
        assert parsed.method is not None
        levels = registry.load("methods", parsed.method).fit_levels
        return str(Variant(parsed.region, parsed.method, parsed.level if levels else None, fit=parsed.fit))

    def is_fitted(self, variant: str) -> bool:
        """Tell whether a variant's method is fitted to data first."""
        name = Variant.parse(variant).method
        return name is not None and registry.load("methods", name).FitSettings is not None

    def is_fitted_to_people(self, variant: str) -> bool:
        """Tell whether a variant's method is fitted to regions of people first, not to whole frames."""
        return self.is_fitted(variant) and Variant.parse(variant).region is not RegionKind.FRAME

    def made_with(self, variant: str, seed: int) -> str:
        """Return the name of a variant as models and attackers of a seed see it.

        That is its own but where its method is fitted anew for each seed: then the first of `train.seeds` alone has
        the plain name.
        """
        return refitted(variant, seed) if self.refits(variant) and seed != self.train.seeds[0] else variant

    def refits(self, variant: str) -> bool:
        """Tell whether a variant's method is fitted anew for each seed."""
        method = Variant.parse(variant).method
        return method is not None and self.methods.get(method, MethodConfig()).refit

    def made(self, variant: str) -> list[str]:
        """Return the names of a variant over all seeds, the plain one first."""
        return list(dict.fromkeys(self.made_with(variant, seed) for seed in self.train.seeds))

    def fitted_on(self, method: str, dataset: str) -> str:
        """Return the data set whose training split a method is fitted to, to anonymize ``dataset``."""
        return self.methods.get(method, MethodConfig()).fit_on or dataset

    def stills_on(self, method: str) -> str | None:
        """Return the data set whose people a fit of a method looks at; None for the one that it is fitted to."""
        return self.methods.get(method, MethodConfig()).stills_on

    def _checked(self, name: str, level: str | None) -> dict[str, Any]:
        """Return a method's complete parameters: its defaults, overridden by its level's, then by the study's."""
        method, config = registry.load("methods", name), self.methods.get(name, MethodConfig())
        chosen = {**method.levels.get(level, {}), **config.parameters, **config.levels.get(level or "", {})}
        try:
            return method.Parameters.model_validate(chosen).model_dump(mode="json")
        except ValidationError as error:
            where = f"methods.{name}.levels.{level}" if level in config.levels else f"methods.{name}.parameters"
            raise ValueError(f"{where}.{explain(error, method.Parameters)}") from None

    def parameters(self, variant: str) -> dict[str, Any]:
        """Return the complete parameters of a variant's method at its level, defaults included ({} for original).

        Raises ValueError for an unknown region, method or level, or a parameter that the method refuses.
        """
        try:
            parsed = Variant.parse(variant)
            if parsed.method is None:
                return {}
            method = registry.load("methods", parsed.method)
        except AnonbenchError as error:
            raise ValueError(f"variants: {error}") from None
        config = self.methods.get(parsed.method, MethodConfig())
        levels = {**method.levels, **config.levels, **config.fit_levels}
        if parsed.level is None and levels:
            raise ValueError(f"variants: '{variant}' needs a level (known: {', '.join(levels)})")
        if parsed.level is not None and parsed.level not in levels:
            raise ValueError(f"variants: '{variant}': unknown level '{parsed.level}'{nearest(parsed.level, levels)}")
        parameters = self._checked(parsed.method, parsed.level)
        checked = method.Parameters.model_validate(parameters)
        try:
            check_kinds(parsed, method, checked)
        except AnonbenchError as error:
            raise ValueError(f"variants: {error}") from None
        if method.FitSettings and (why := method.misfit(checked, self.fit_settings(parsed.method, parsed.level))):
            raise ValueError(f"variants: '{variant}': {why}")
        if isinstance(checked, After) and checked.after:
            if not checked.after_parameters:
                parameters["after_parameters"] = self.parameters(checked.after)
            try:
                checked.hides()
            except AnonbenchError as error:
                raise ValueError(f"variants: '{variant}': after_parameters of {error}") from None
        return parameters

    def made_from(self, variant: str) -> list[Variant]:
        """Return the variants whose regions are changed to make one: that which it comes after, if any, and itself."""
        last = Variant.parse(variant)
        return list(dict.fromkeys([hiding(last, self.parameters(variant)), last]))

    def anonymizes(self, variant: str) -> bool:
        """Tell whether people count as anonymized in a variant; not in the original and in controls."""
        return anonymizes(Variant.parse(variant).method, self.parameters(variant))

    def encoder(self, variant: str) -> str:
        """Return a variant's encoder policy: the study's for its method, what the method asks for, or the study's."""
        method = Variant.parse(variant).method
        if method is None:
            return self.anonymize.encoder
        wished: str | None = registry.load("methods", method).stores
        return self.methods.get(method, MethodConfig()).encoder or wished or self.anonymize.encoder

    def adapter(self, dataset: str) -> str:
        """Return the name of the plugin that reads a data set."""
        return self.datasets[dataset].adapter or dataset

    def root_of(self, dataset: str) -> Path | None:
        """Return the root of a data set's copy on disk, or None when the plugin fetches it."""
        return self.datasets[dataset].root or self.root

    def options(self, dataset: str) -> dict[str, Any]:
        """Return the complete options of a data set's plugin, defaults included."""
        plugin = registry.load("datasets", self.adapter(dataset))
        return plugin.Options.model_validate(self.datasets[dataset].options).model_dump(mode="json")


def parse(config: dict[str, Any], file: str | Path | None = None, folder: Path | None = None) -> Study:
    """Check a configuration; raise an AnonbenchError of one sentence with the entry and the nearest known key.

    Recipes that it names as files are looked up in ``folder``, the working folder unless given.
    """
    try:
        return Study.model_validate(config, context={"folder": folder or Path()})
    except ValidationError as error:
        raise AnonbenchError(explain(error, Study), file=file) from None


def load(path: str | Path) -> Study:
    """Read and check a study's YAML file."""
    return parse(read_yaml(path), file=path, folder=Path(path).parent)
