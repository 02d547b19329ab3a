"""The study as the report reads it: a small JSON file that the workflow writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import BaseModel, Field, ValidationError

from anonbench import registry, splits
from anonbench.blocks import explain
from anonbench.directions import ON_DEPLOYED, ON_ORIGINAL, Direction, Evaluation, pair, seeds_of, told
from anonbench.errors import AnonbenchError, nearest
from anonbench.files import read_json, sha256_file
from anonbench.records import RegionKind
from anonbench.tasks import base as tasks
from anonbench.tasks.base import Task
from anonbench.variants import IDENTITY, ORIGINAL, refitted

VECTOR_FORMATS = ("pdf", "svg")
RESTORE = "restore"
"""The attack that keeps pictures."""


@dataclass(frozen=True)
class Primary:
    """The question that a study declares beforehand; what is left out is chosen without looking at results.

    ``tasks``: those that a model has of them, or all of its own where it has none; ``category``: the data set's first
    one of people; ``variants``: all but the original and those that only re-encode. ``direction``: what
    is tested on what; ``models``: those that are asked, () for all; ``metric``: what differences, intervals and
    verdicts are about in every task that can have it for the first, None for each task's own.
    """

    tasks: tuple[str, ...] = ("detection", "pose")
    category: str | None = None
    variants: tuple[str, ...] = ()
    direction: str = ON_ORIGINAL
    models: tuple[str, ...] = ()
    metric: str | None = None

    def asks(self, model: str) -> bool:
        """Tell whether it is about a model."""
        return not self.models or model in self.models

    def tasks_of(self, names: Sequence[str]) -> list[str]:
        """Return the tasks that are asked of a model with the named ones."""
        return [name for name in names if name in self.tasks] or list(names)

    def category_of(self, judged: Sequence[str], people: Sequence[str]) -> str | None:
        """Return the category that is asked among those that were judged; None where it is not there."""
        if self.category is None:
            return next(iter(people), None)
        return self.category if self.category in judged else None

    def variants_of(self, told: Sequence[str]) -> frozenset[str]:
        """Return the variants that are asked among those that a model tells of."""
        if self.variants:
            return frozenset(self.variants) & frozenset(told)
        return frozenset(v for v in told if v != ORIGINAL and not is_identity(v))


@dataclass(frozen=True)
class Attacks:
    """Who attacks what: ``attacks``, ``attackers`` by attack and variant, their ``seeds``, ``sizes`` of galleries.

    ``once``: attacks in which nothing learns, and ``recognisers``: attackers who do not, have the first seed alone but
    where a method is fitted for each; ``probe``: the split whose people are
    attacked, '' for the one that is tested on; ``variants``: by data set, those that are attacked beyond what models
    are used for; ``learners``: own data set, attack, attacker and the variants learnt from, of those who learn.
    """

    datasets: tuple[str, ...]
    attacks: tuple[str, ...]
    attackers: dict[str, dict[str, list[str]]]
    seeds: list[int]
    sizes: list[int]
    once: tuple[str, ...] = ()
    probe: str = ""
    recognisers: tuple[str, ...] = ()
    variants: dict[str, list[str]] = field(default_factory=dict)
    learners: tuple[tuple[str, str, str, tuple[str, ...]], ...] = ()

    def whom(self, attack: str, variant: str) -> list[str]:
        """Return who tries an attack on a variant."""
        return self.attackers.get(attack, {}).get(variant, [])

    def seeds_of(self, attack: str, attacker: str, refitted: bool) -> list[int]:
        """Return the seeds of an attack by somebody on a variant, whose method is ``refitted`` for each or is not."""
        once = attack in self.once or attacker in self.recognisers
        return self.seeds[:1] if once and not refitted else self.seeds


@dataclass(frozen=True)
class ReportStudy:
    """Data sets with their splits, variants, models and seeds, and what the report needs to know.

    ``datasets[name]`` holds ``train`` and ``val``; ``margin`` is in the unit of first metrics; ``bootstrap`` counts
    resamples; ``original_seeds`` are further ones of the original alone. ``config_sha256`` is the sha256 of the file
    that the study was read from. ``asked[data set][model]`` lists the variants that a model is to tell of, where the
    study says so; ``untrained`` are the models that need no training, which have the first seed alone, or a method's
    fits; ``on_original`` those that are trained on original images alone; ``own_seeds`` are by model, where they are
    not all. ``directions`` are those that are evaluated; ``files`` are the configuration files as commands name them;
    ``sheet`` are the variants that the before/after sheet shows beside the original, () for all. ``margins`` are by
    task, in the unit of its first metric, where they are not ``margin``; ``starts`` holds pairs of a data set and the
    models on it that differ in first weights or learning rate alone; ``primary`` is the question that was declared
    beforehand. ``refitted`` are the variants whose method is fitted anew for each of ``seeds``; ``against`` those that
    every other one is compared with. ``controls`` are variants that anonymize nobody, beside those that only re-encode;
    ``after`` says of variants which other one they come after.
    """

    name: str
    seed: int
    datasets: dict[str, dict[str, str]]
    variants: list[str]
    models: dict[str, Any]
    seeds: list[int]
    margin: float = 1.0
    bootstrap: int = 1000
    people_per_sheet: int = 4
    vector_formats: tuple[str, ...] = ("pdf",)
    config_sha256: str = ""
    original_seeds: list[int] = field(default_factory=list)
    asked: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    starts: list[tuple[str, list[str]]] = field(default_factory=list)
    directions: tuple[str, ...] = (ON_ORIGINAL,)
    margins: dict[str, float] = field(default_factory=dict)
    untrained: tuple[str, ...] = ()
    primary: Primary = Primary()
    files: tuple[str, ...] = ()
    attacks: Attacks | None = None
    refitted: tuple[str, ...] = ()
    against: tuple[str, ...] = ()
    own_seeds: dict[str, list[int]] = field(default_factory=dict)
    sheet: tuple[str, ...] = ()
    on_original: tuple[str, ...] = ()
    controls: tuple[str, ...] = ()
    after: dict[str, str] = field(default_factory=dict)

    def is_control(self, variant: str) -> bool:
        """Tell whether a variant, not the original, anonymizes nobody."""
        return is_identity(variant) or variant in self.controls

    def region_of(self, variant: str) -> str:
        """Return what of people a variant hides: its region, or that of the variant that it comes after."""
        return parts(self.after.get(variant, variant))[0]

    def task(self, name: str) -> Task:
        """Return a task, with the metric that the study asks about as its first, where it can have that."""
        return tasks.led(name, self.primary.metric)

    def margin_of(self, task: str) -> float:
        """Return the difference below which a task's first metric counts as equal, in its unit."""
        return self.margins.get(task, self.margin)

    def trains(self, model: str) -> bool:
        """Tell whether a model is trained; if not, it is the same whatever the seed and the variant."""
        return model not in self.untrained

    def varies(self, model: str) -> bool:
        """Tell whether a model is trained on each variant; if not, variants only test it."""
        return self.trains(model) and model not in self.on_original

    def seeds_of(self, model: str, variant: str) -> list[int]:
        """Return the seeds of a model on a variant: of one without training the first, or those of a method's fits."""
        if model in self.own_seeds:
            return list(self.own_seeds[model])
        if not self.trains(model) and variant in self.refitted:
            return list(self.seeds)
        return seeds_of(self.seeds, self.original_seeds, variant, self.trains(model))

    def seeds_told(self, model: str, variant: str, direction: str) -> list[int]:
        """Return the seeds that a direction tells of a variant: where one model is tested on all, there are pairs."""
        seeds = self.seeds_of(model, variant)
        return [seed for seed in seeds if direction != ON_DEPLOYED or seed not in self.original_seeds]

    def attacked_split(self, dataset: str) -> str:
        """Return the split of a data set whose people are attacked, '' where nobody attacks."""
        if self.attacks is None or dataset not in self.attacks.datasets:
            return ""
        return self.attacks.probe or self.datasets[dataset]["val"]

    def attacked(self, dataset: str, variant: str) -> list[str]:
        """Return the names of a variant's folders that attackers see, [] for one that nobody attacks."""
        of = self.attacks
        if of is None or dataset not in of.datasets:
            return []
        more = variant in self.refitted
        seeds = {
            seed for attack in of.attacks for who in of.whom(attack, variant) for seed in of.seeds_of(attack, who, more)
        }
        return list(dict.fromkeys(self.made_with(variant, seed) for seed in sorted(seeds)))

    def restored(self) -> list[str]:
        """Return the data sets on which attackers restore pictures, in the study's order."""
        of = self.attacks
        if of is None:
            return []
        tried = {v for v in self.variants if v != ORIGINAL and of.whom(RESTORE, v)}
        return [d for d in self.datasets if d in of.datasets and tried.intersection(self.variants_of(d))]

    def learners(self) -> Iterator[tuple[str, str, str, str, int]]:
        """Yield own data set, attack, attacker, variant learnt from and seed of everybody who learns to attack."""
        of = self.attacks
        for dataset, attack, attacker, variants in of.learners if of else ():
            for variant in variants:
                for seed in of.seeds if of else ():
                    yield dataset, attack, attacker, variant, seed

    def made_with(self, variant: str, seed: int) -> str:
        """Return the name of a variant's folder as models and attackers of a seed see it."""
        return refitted(variant, seed) if variant in self.refitted and seed != self.seeds[0] else variant

    def made(self, variant: str) -> list[str]:
        """Return the names of a variant's folders over all seeds, the plain one first."""
        return list(dict.fromkeys(self.made_with(variant, seed) for seed in self.seeds))

    def evaluation(self, dataset: str, model: str, direction: str, variant: str, seed: int) -> Evaluation:
        """Return the evaluation that tells of a variant in a direction."""
        trained, tested = pair(direction, self.made_with(variant, seed))
        return Evaluation(dataset, trained, model, seed if self.trains(model) else self.seeds[0], tested)

    def trained(self, dataset: str, model: str) -> list[str]:
        """Return the variants of a data set that a model is trained on, in the study's order; [] for none."""
        asked = self._asked(dataset, model)
        return asked if self.varies(model) else [v for v in asked if v == ORIGINAL]

    def told(self, dataset: str, model: str, direction: str) -> list[str]:
        """Return the variants of a data set that a model tells something of in a direction; see `directions.told`."""
        return told(direction, self._asked(dataset, model), self.varies(model))

    def _asked(self, dataset: str, model: str) -> list[str]:
        return self.asked.get(dataset, {}).get(model, self.variants)

    def variants_of(self, dataset: str) -> list[str]:
        """Return the original and the variants of a data set that models or attacks are to tell of, in order."""
        wanted = {ORIGINAL}.union(*(self._asked(dataset, model) for model in self.models))
        wanted.update(self.attacks.variants.get(dataset, ()) if self.attacks else ())
        return [v for v in self.variants if v in wanted]

    def trained_on(self, dataset: str) -> set[str]:
        """Return the variants of a data set that some model is trained on."""
        return {v for model in self.models if self.trains(model) for v in self.trained(dataset, model)}

    def shown_split(self, dataset: str) -> str:
        """Return the split of a data set whose people are counted and shown; see `splits.shown`."""
        images = [on for on in self.directions if on != ON_ORIGINAL]
        tested = {v for model in self.models for on in images for v in self.told(dataset, model, on)}
        of = self.datasets[dataset]
        return splits.shown(of["train"], of["val"], self.variants_of(dataset), self.trained_on(dataset), tested)

    def trainings(self) -> Iterator[tuple[str, str, str, int]]:
        """Yield data set, model, variant and seed of every training."""
        for dataset in self.datasets:
            for model in self.models:
                for variant in self.trained(dataset, model):
                    for seed in self.seeds_of(model, variant):
                        yield dataset, model, variant, seed

    @classmethod
    def read(cls, path: str | Path) -> ReportStudy:
        """Read the study's JSON; raise AnonbenchError for an entry that is missing or of another kind."""
        value = read_json(path)
        if not isinstance(value, dict):
            raise AnonbenchError("is not a JSON object", file=path)
        seeds = value.get("seeds")
        kinds = {"datasets": dict, "variants": list, "models": dict}
        for key, kind in kinds.items():
            if not isinstance(value.get(key), kind) or not value[key]:
                raise AnonbenchError("is missing or empty", file=path, entry=key)
        if not seeds:
            raise AnonbenchError("is missing or empty", file=path, entry="seeds")
        if ORIGINAL not in value["variants"]:
            raise AnonbenchError(
                "'original' is missing", file=path, entry="variants", remedy="every difference is taken to it"
            )
        options = value.get("report") or {}
        known = {key: options[key] for key in ("margin", "bootstrap", "people_per_sheet") if key in options}
        if not all(isinstance(v, (int, float)) and v > 0 for v in known.values()):
            raise AnonbenchError("must be positive numbers", file=path, entry=f"report {sorted(known)}")
        _check_options(path, options)
        _check_kinds(path, value, options)
        splits = {name: {key: d.get(key) or key for key in ("train", "val")} for name, d in value["datasets"].items()}
        return cls(
            str(value.get("name", "study")),
            int(value.get("seed", 0)),
            splits,
            list(value["variants"]),
            value["models"],
            list(seeds),
            original_seeds=list(value.get("original_seeds") or []),
            config_sha256=sha256_file(path),
            asked=value.get("asked") or {},
            starts=[(dataset, list(models)) for dataset, models in value.get("starts") or []],
            directions=tuple(value.get("directions") or (ON_ORIGINAL,)),
            margins=options.get("margins") or {},
            vector_formats=tuple(options.get("vector_formats", cls.vector_formats)),
            untrained=tuple(value.get("untrained") or ()),
            primary=_primary(path, options.get("primary") or {}),
            files=tuple(value.get("files") or ()),
            attacks=_attacks(path, value.get("attacks")),
            refitted=tuple(value.get("refitted") or ()),
            own_seeds=dict(value.get("own_seeds") or {}),
            against=tuple(options.get("against") or ()),
            sheet=tuple(options.get("sheet") or ()),
            on_original=tuple(value.get("on_original") or ()),
            controls=tuple(value.get("controls") or ()),
            after=dict(value.get("after") or {}),
            **known,
        )


Seed = Annotated[int, Field(strict=True, ge=0)]


class _Written(BaseModel):
    """Kinds of what a study's file may hold beside its report."""

    name: str = "study"
    seed: Annotated[int, Field(strict=True)] = 0
    datasets: dict[str, dict[str, Any]]
    variants: list[str]
    seeds: list[Seed] = []
    original_seeds: list[Seed] | None = None
    asked: dict[str, dict[str, list[str]]] | None = None
    starts: list[tuple[str, list[str]]] | None = None
    directions: list[Direction] | None = None
    untrained: list[str] | None = None
    refitted: list[str] | None = None
    own_seeds: dict[str, list[Seed]] | None = None
    on_original: list[str] | None = None
    controls: list[str] | None = None
    after: dict[str, str] | None = None
    files: list[str] | None = None


def _check_kinds(path: str | Path, value: dict[str, Any], options: dict[str, Any]) -> None:
    """Raise AnonbenchError for entries of other kinds, entries that stand there twice, and unknown names."""
    try:
        written = _Written.model_validate(value)
    except ValidationError as error:
        raise AnonbenchError(explain(error), file=path, remedy="write it again") from None
    further = written.original_seeds or []
    lists: dict[str, list[Any]] = {
        "variants": written.variants, "seeds": [*written.seeds, *further], "directions": written.directions or [],
        "untrained": written.untrained or [],
    }  # fmt: skip
    for entry, listed in lists.items():
        twice = [one for k, one in enumerate(listed) if one in listed[:k]]
        if twice:
            raise AnonbenchError(f"{twice[0]!r} stands there twice", file=path, entry=entry, remedy="write it again")
    question = _primary(path, options.get("primary") or {})
    asked = [(d, m, v) for d, of in (written.asked or {}).items() for m, variants in of.items() for v in variants]
    named = [
        *(("asked", name, written.datasets) for name, *_ in asked),
        *(("asked", name, value["models"]) for _, name, _ in asked),
        *(("asked", name, written.variants) for *_, name in asked),
        *(("untrained", name, value["models"]) for name in written.untrained or []),
        *(("own_seeds", name, value["models"]) for name in written.own_seeds or {}),
        *(("refitted", name, written.variants) for name in written.refitted or []),
        *(("controls", name, written.variants) for name in written.controls or []),
        *(("after", name, written.variants) for name in written.after or {}),
        *(("on_original", name, value["models"]) for name in written.on_original or []),
        *(("starts", name, written.datasets) for name, _ in written.starts or []),
        *(("starts", name, value["models"]) for _, models in written.starts or [] for name in models),
        *(("report.against", name, written.variants) for name in options.get("against") or ()),
        *(("report.primary.variants", name, written.variants) for name in question.variants),
        *(("report.primary.models", name, value["models"]) for name in question.models),
        *(("report.primary.tasks", name, registry.names("tasks")) for name in question.tasks),
        ("report.primary.direction", question.direction, get_args(Direction)),
    ]
    known_tasks = [name for name in question.tasks if name in registry.names("tasks")]
    if question.metric is not None:
        having = [tasks.load(name).firsts() for name in known_tasks]
        named += [("report.primary.metric", question.metric, of) for of in having]
    for entry, name, known in named:
        if name not in known:
            raise AnonbenchError(f"unknown name '{name}'{nearest(name, known)}", file=path, entry=entry)


def _check_options(path: str | Path, options: dict[str, Any]) -> None:
    """Raise AnonbenchError for margins that are no positive numbers of known tasks, and for unknown formats."""
    margins = options.get("margins") or {}
    if not isinstance(margins, dict):
        raise AnonbenchError("is no JSON object", file=path, entry="report.margins")
    for task, margin in margins.items():
        if task not in registry.names("tasks"):
            near = nearest(task, registry.names("tasks"))
            raise AnonbenchError(f"unknown task '{task}'{near}", file=path, entry="report.margins")
        if isinstance(margin, bool) or not isinstance(margin, int | float) or not 0 < margin < 1e6:
            raise AnonbenchError("must be a positive number", file=path, entry=f"report.margins.{task}")
    formats = options.get("vector_formats", [])
    if not isinstance(formats, list) or any(one not in VECTOR_FORMATS for one in formats):
        remedy = f"list some of {', '.join(VECTOR_FORMATS)}, or none"
        raise AnonbenchError("is no list of formats", file=path, entry="report.vector_formats", remedy=remedy)


def _attacks(path: str | Path, value: Any) -> Attacks | None:
    if not value:
        return None
    try:
        names = tuple(value["datasets"]), tuple(value["attacks"])
        attackers = {attack: dict(of) for attack, of in value["attackers"].items()}
        once, probe = tuple(value.get("once") or ()), str(value.get("probe") or "")
        recognisers = tuple(value.get("recognisers") or ())
        seeds, sizes = list(value["seeds"]), list(value["sizes"])
        variants = {name: list(of) for name, of in (value.get("variants") or {}).items()}
        learners = tuple((str(d), str(a), str(who), tuple(of)) for d, a, who, of in value.get("learners") or ())
        return Attacks(*names, attackers, seeds, sizes, once, probe, recognisers, variants, learners)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise AnonbenchError("does not say who attacks what", file=path, entry="attacks") from None


def _primary(path: str | Path, value: Any) -> Primary:
    try:
        given: dict[str, Any] = {key: tuple(value[key]) for key in ("tasks", "variants", "models") if value.get(key)}
        about = {key: value.get(key) for key in ("category", "metric")}
        return Primary(**about, direction=value.get("direction") or ON_ORIGINAL, **given)
    except (AttributeError, TypeError):
        raise AnonbenchError(
            "must hold lists of tasks, variants and models", file=path, entry="report.primary"
        ) from None


def parts(variant: str) -> tuple[str, str, str]:
    """Return region, method and level of a variant's name ('' where there is none)."""
    if variant == ORIGINAL:
        return "", ORIGINAL, ""
    region, _, rest = variant.partition("-")
    method, _, level = rest.partition("-")
    return region, method, level


def region_order(region: str) -> tuple[int, str]:
    """Return a key that puts faces first, then bodies, then what a plugin adds."""
    known = [kind.value for kind in RegionKind]
    return (known.index(region) if region in known else len(known), region)


def is_identity(variant: str) -> bool:
    """Tell whether a variant only re-encodes."""
    return parts(variant)[1] == IDENTITY


def is_coded(variant: str) -> bool:
    """Tell whether a variant's method is a codec, which says what it takes."""
    method = parts(variant)[1]
    return method in registry.names("methods") and bool(getattr(registry.load("methods", method), "codec", False))


_DOING = {
    "blur": "blurring",
    "pixelate": "pixelating",
    "mask_out": "masking out",
    IDENTITY: "only re-encoding",
    "gan": "synthesizing",
    "downsample": "downsampling",
    "grey": "taking the colours out of",
    "contrast": "leaving only the contrast of",
    "learned": "a network or lens that learned to hide attributes in",
    "diffusion": "in-painting",
    "adaptive_blur": "blurring, by the size of face and image,",
    "adaptive_pixelate": "pixelating, by the size of face and image,",
}
_CODING = {
    "jpeg": "JPEG", "webp": "WebP", "avif": "AVIF", "roi_codec": "a learned codec that hides heads",
    "roi_codec_published": "the published learned codec that hides heads",
    "roi_codec_people": "the learned codec with nothing against heads", "stock_codec": "a stock learned codec",
}  # fmt: skip
_OF = {RegionKind.FACE.value: "faces", RegionKind.BODY.value: "bodies", RegionKind.FRAME.value: "whole images"}


def phrase(variant: str) -> str:
    """Say what a variant does, in words: 'blurring faces (medium)'."""
    region, method, level = parts(variant)
    what = _OF.get(region, region)
    if method == IDENTITY:
        return _DOING[IDENTITY]
    if method in _CODING:
        return f"coding {what} as {_CODING[method]}" + (f" ({level})" if level else "")
    doing = f"{_DOING[method]} {what}" if method in _DOING else f"{method.replace('_', ' ')} of {what}"
    return f"{doing} ({level})" if level else doing
