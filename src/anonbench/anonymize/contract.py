"""What a method is: it gets crops of people and returns them changed. Everything else is the engine's."""

from __future__ import annotations

import abc
import functools
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
from pydantic import Field, ValidationError, field_validator, model_validator
from tqdm import tqdm

from anonbench import registry
from anonbench.blocks import NoSettings, Strict, explain
from anonbench.crops import Crop
from anonbench.errors import AnonbenchError, nearest
from anonbench.records import OF_PEOPLE, Region, RegionKind
from anonbench.variants import Variant
from anonbench.windows import Window

__all__ = (
    "After", "Changed", "Crop", "FitJob", "Fitted", "Method", "Result", "Stills",
    "check_kinds", "checked_facts", "make",
)  # fmt: skip
"""With the crop: what the author of a method needs."""

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Changed:
    """A changed crop (``pixels`` as `Method.change` returns them), and what there is to say of it.

    ``facts`` are JSON scalars by name, such as bits or distortion; names are lower-case letters, digits and ``_``. They
    are written to the manifest, in the row of the person or frame, so they must repeat to the byte.
    """

    pixels: np.ndarray
    facts: Mapping[str, Scalar] = field(default_factory=dict)


class After(Strict):
    """Parameters of a method that may work on another variant's images instead of the original ones.

    So a frame may be coded after faces were blurred in it. Such a variant anonymizes whom the other one does: its rows
    of people have the status that they have there. A method that ``anonymizes`` nobody is a control without ``after``.
    """

    after: str | None = Field(
        None,
        description="Variant that the method works on, such as face-blur-medium; it need not be one of the study's. "
        "The original unless given. None of a method that is fitted, or that itself comes after another.",
    )
    after_parameters: dict[str, Any] | None = Field(
        None, description="Parameters of that variant's method; those of the study, or of its level, unless given."
    )

    @field_validator("after")
    @classmethod
    def _possible(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            variant = Variant.parse(value)
            if variant.method is None:
                raise ValueError("the original is what a method works on anyway; leave it out")
            method = registry.load("methods", variant.method)
            variant.check_kinds(variant.method, method.kinds)
        except AnonbenchError as error:
            raise ValueError(str(error)) from None
        if method.FitSettings is not None or method.clips or issubclass(method.Parameters, After):
            raise ValueError(f"{variant.method} is fitted, works on videos, or comes after another method itself")
        if variant.fit is not None:
            raise ValueError(f"{variant.method} is not fitted, so it has no fit{variant.fit}; leave that out")
        return value

    @model_validator(mode="after")
    def _of_something(self) -> Self:
        if self.after is None and self.after_parameters is not None:
            raise ValueError("after_parameters are those of the variant that comes before; name it in after")
        return self

    def hides(self) -> bool:
        """Tell whether the variant that comes before, if any, anonymizes people.

        Its method is not made: it may read weights, and a study is planned where they are not.
        """
        if self.after is None:
            return False
        variant = Variant.parse(self.after)
        method: type[Method] = registry.load("methods", str(variant.method))
        return method.anonymizes_with(method.checked(variant.level, self.after_parameters))


Result = np.ndarray | Changed
"""What a method makes of a crop."""
AResult = TypeVar("AResult", bound=Result)

DISTORTION = {
    "psnr_outside_faces": "peak signal to noise ratio to the original in decibels, outside of faces, 100 at most",
    "msssim_outside_faces": "multi-scale structural similarity to the original, 0..1, outside of faces",
}
"""Facts of each frame that a codec has coded; null where a frame is too small, or nothing but faces."""

_LARGEST = 1e300
"""Of facts, so that the sum of all is finite."""
_FACT = re.compile(r"[a-z][a-z0-9_]*")
_TIME = re.compile(r"(^|_)(s|ms|us|ns|secs?|seconds?|times?|duration|latency|elapsed|fps)(_|$)")


def checked_facts(facts: Mapping[str, Any], declared: Mapping[str, str]) -> dict[str, Scalar]:
    """Return a method's facts, NumPy's scalars as Python's; raise ValueError for what the manifest cannot hold.

    That is what is not a JSON scalar, and what by its name is a time, which differs from run to run, and is not
    ``declared``.
    """
    if not isinstance(facts, Mapping):
        raise ValueError(f"returned {type(facts).__name__} as facts, which is not a mapping")
    found: dict[str, Scalar] = {}
    for name, value in facts.items():
        if not isinstance(name, str) or not _FACT.fullmatch(name):
            raise ValueError(f"returned a fact called {name!r} (lower-case letters, digits and _ make a name)")
        plain = value.item() if isinstance(value, np.generic) else value
        if not _is_scalar(plain):
            raise ValueError(f"returned {plain!a:.80} for the fact '{name}', which is not a JSON scalar")
        if name not in declared and _TIME.search(name):
            raise ValueError(
                f"returned the fact '{name}': times differ from run to run; declare it if this one repeats"
            )
        found[name] = plain
    return found


def _is_scalar(value: Any) -> bool:
    """Tell whether a value is one that JSON in UTF-8 can hold, and a number one that can be summed up."""
    if type(value) is str:
        return not any("\ud800" <= letter <= "\udfff" for letter in value)
    if type(value) in (int, float):
        return bool(abs(value) <= _LARGEST)  # NaN is not
    return value is None or type(value) is bool


@dataclass(frozen=True, slots=True)
class Stills:
    """Pictures of people, of another data set than the fit's own: see `FitJob`, whose fields these are, too."""

    root: Path
    images: list[dict[str, Any]] = field(repr=False)
    table: Path


@dataclass(frozen=True, slots=True)
class FitJob:
    """What a training gets: the images and regions of one split, and where its files go.

    ``root`` holds the images, ``images`` are rows of the images table and ``facts`` what it says of clips
    (`regions.facts_of`), ``table`` is the regions table, or of frames the table of people. ``checkpoint`` is a file
    that a killed training continues from, ``sheet`` a picture of samples that is written now and then. ``origin`` says
    what is fitted on, for the file of weights. ``stills``: where people are looked at instead, of a method that can
    (`Method.stills`).
    """

    kind: RegionKind
    root: Path
    images: list[dict[str, Any]] = field(repr=False)
    table: Path
    settings: Any
    seed: int
    device: str
    threads: int
    weights: Path
    checkpoint: Path | None
    sheet: Path | None
    origin: dict[str, Any]
    facts: dict[str, Any] = field(default_factory=dict, repr=False)
    stills: Stills | None = None


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a training says of itself: ``record`` repeats to the byte on one machine, ``timing`` does not."""

    record: dict[str, Any]
    timing: dict[str, float]


class Method(abc.ABC):
    """An anonymizer.

    A method implements `change`; one that works on many crops at a time sets ``batch`` and implements
    `change_batch`. It never sees files, masks it would have to apply, or other people's order: the engine
    cuts, resizes, pads, calls, pastes inside the mask (small regions first, later ones see earlier ones) and
    seeds.
    """

    Parameters: ClassVar[type[Strict]] = NoSettings
    """Pydantic model: extra keys forbidden, a description on each field."""

    kinds: ClassVar[frozenset[RegionKind]] = frozenset(OF_PEOPLE)
    """Regions that the method can change. A frame is the whole image, whether somebody is in it or not."""

    levels: ClassVar[dict[str, dict[str, Any]]] = {}
    """Named presets of the parameters, weakest first; empty for a method without a strength."""

    anonymizes: ClassVar[bool] = True
    """False for a control that leaves people as they are: its people count as not changed; see `anonymizes_with`."""

    batch: int = 1
    """Crops in one call of `change_batch` at most; they come from several images."""

    clips: ClassVar[bool] = False
    """Whether the method works on videos: `change_clip` is called, not `change_batch`. All frames of a video are then
    in memory."""

    brief: ClassVar[bool] = False
    """Whether `change` is a few short calls. Threads would then spend their time on passing Python's lock back
    and forth, so at most half of them change people, while the others read and write images."""

    padding: ClassVar[str] = "replicate"
    """What a crop shows outside the image: ``replicate`` (the border's pixels) or ``zero``."""

    facts: ClassVar[Mapping[str, str]] = {}
    """What the facts are that come with a `Changed`, with their units, for the manifest. A fact need not be declared
    unless its name sounds like a time; what is declared repeats to the byte."""

    stores: ClassVar[str | None] = None
    """Encoder policy that the method asks for: ``lossless`` for one that is a codec itself, whose output must not be
    compressed once more. None: the study's. What a study says of the method (``methods.<name>.encoder``) beats it."""

    codec: ClassVar[bool] = False
    """Whether the method is a codec: it declares the facts ``bits`` and ``bpp``, and what it does to each frame outside
    of faces is measured beside them (`DISTORTION`)."""

    sample: int = 0
    """Frames of a split, at even distances, that the method wants to see before it changes any (`tune`); 0: none."""

    fallback: str | None = None
    """Method for a person whom this one failed on. None: a failure ends the run."""

    FitSettings: ClassVar[type[Strict] | None] = None
    """Settings of the training of a method that is fitted to data (`fit`, `load`); None: there is nothing to train. A
    field ``determinism`` is the level that is asked for (`portable.level`)."""

    fit_levels: ClassVar[dict[str, dict[str, Any]]] = {}
    """Settings of the training by level, of a method that is fitted anew for each of its levels. Empty: one training
    serves all levels."""

    stills: ClassVar[bool] = False
    """Whether `fit` may look at the people of another data set than its own, as where clips and photographs of people
    come apart (``methods.<name>.stills_on``, `FitJob.stills`)."""

    inverts: ClassVar[bool] = False
    """Whether arithmetic takes back a part of what the method does (`invert`): an attack need not learn it."""

    def __init__(self, parameters: dict[str, Any] | None = None) -> None:
        """Check the parameters; raise AnonbenchError naming the nearest known one."""
        self.parameters: Any = self.checked(None, parameters)

    @classmethod
    def checked(cls, level: str | None, parameters: dict[str, Any] | None) -> Any:
        """Return ``Parameters``: those of a level, overridden by ``parameters``.

        Raises AnonbenchError naming the nearest known one.
        """
        try:
            return cls.Parameters.model_validate({**cls.levels.get(level or "", {}), **(parameters or {})})
        except ValidationError as error:
            raise AnonbenchError(explain(error, cls.Parameters), entry=f"method {cls._registered()}") from None

    @classmethod
    def available(cls) -> str | None:
        """Return what keeps the method from running here, such as a package that is not installed; None if nothing."""
        return None

    def describe(self) -> dict[str, Any]:
        """Return what the manifest says of the method besides its parameters, such as the sha256 of its weights."""
        return {}

    @classmethod
    def kinds_with(cls, parameters: Any) -> frozenset[RegionKind]:
        """Return the regions that the method can change with these ``Parameters``: all of ``kinds`` unless it says."""
        return cls.kinds

    @classmethod
    def anonymizes_with(cls, parameters: Any) -> bool:
        """Tell whether people count as anonymized with these ``Parameters``: with a control, if another variant that
        anonymizes comes before it."""
        return cls.anonymizes or (isinstance(parameters, After) and parameters.hides())

    @functools.cached_property
    def hides(self) -> bool:
        """Whether people count as anonymized with the method's own parameters; it is asked for each region."""
        return self.anonymizes_with(self.parameters)

    @classmethod
    def misfit(cls, parameters: Any, settings: Mapping[str, Any]) -> str | None:
        """Return why what is fitted with such complete ``FitSettings`` cannot be used with these ``Parameters``.

        A study asks before anything is fitted; None where nothing speaks against it.
        """
        return None

    @classmethod
    def _registered(cls) -> str:
        return cls.__module__.rpartition(".")[2]

    @property
    def name(self) -> str:
        """The name that the method is registered under: its module's."""
        return self._registered()

    def window(self, region: Region, width: int, height: int) -> Window:
        """Return what the method wants to see of an image (width, height); it must hold the region's box."""
        return Window(region.box)

    @classmethod
    def fit(cls, job: FitJob) -> Fitted:
        """Train, and write ``job.weights``; the same bytes whenever it is repeated on one machine."""
        raise NotImplementedError(f"{cls.__name__} has nothing to train")

    def load(self, weights: Path, kind: RegionKind, device: str) -> dict[str, Any]:
        """Read what `fit` wrote for regions of a kind, before any crop; return what the manifest says of it."""
        raise NotImplementedError(f"{type(self).__name__} has no weights")

    def tune(self, crops: Sequence[Crop]) -> dict[str, Any]:
        """Look at ``sample`` frames of a split, the same for each of its shards; return what the manifest says."""
        raise NotImplementedError(f"{type(self).__name__} asks for no sample")

    @abc.abstractmethod
    def change(self, crop: Crop) -> Result:
        """Return the changed crop, uint8 HxWx3 RGB or float in 0..255; only what the mask covers is used.

        A `Changed` has facts beside the pixels.
        """

    def change_batch(self, crops: Sequence[Crop]) -> Sequence[Result]:
        """Change up to ``batch`` crops at once."""
        return [self.change(crop) for crop in crops]

    def change_clip(self, crops: Sequence[Crop]) -> Sequence[Result]:
        """Change the crops of one video in the order of its frames (only if ``clips`` is True).

        Of the region `frame` they are all frames; of faces and bodies those of one person, whom the data set's
        ``identity`` tells in several frames, so that frames may be missing between them. A still image, and whoever has
        no identity, is a clip of one crop.
        """
        return [self.change(crop) for crop in crops]

    def weakness(self, crop: Crop) -> str | None:
        """Return why a person may still be recognised after `change`, such as a blur that is small against the face.

        Of a frame it is asked for each person in it: ``crop.region`` is then their face's or body's, all else the
        frame's.

        None where nothing speaks for it, which proves nothing. It becomes ``weak`` in the person's manifest row.
        """
        return None

    def invert(self, crop: Crop) -> np.ndarray:
        """Return what a changed crop probably was, uint8 HxWx3, computed from the method's parameters alone.

        ``crop`` is cut out of a changed image by `window`, as an attacker who knows the method cuts it: inside the mask
        changed, outside as it was, unless somebody else was changed there. Nothing outside the mask is used. Only for
        a method that ``inverts``.
        """
        raise NotImplementedError

    def in_full_batches(
        self, crops: Sequence[Crop], change: Callable[[Sequence[Crop]], Sequence[AResult]]
    ) -> list[AResult]:
        """Change crops ``batch`` at a time, halving it for good when the GPU runs out of memory.

        ``change`` always gets a full batch, the last crop repeated, so that its company does not change a person.
        """
        import torch

        done: list[AResult] = []
        while len(done) < len(crops):
            some = [*crops[len(done) : len(done) + self.batch]]
            try:
                done += change([*some, *[some[-1]] * (self.batch - len(some))])[: len(some)]
            except torch.OutOfMemoryError:
                if self.batch == 1:
                    raise
                self.batch //= 2
                torch.cuda.empty_cache()
                tqdm.write(f"{self.name}: out of memory, going on with a batch of {self.batch}", file=sys.stderr)
        return done


def make(variant: Variant, parameters: dict[str, Any] | None = None) -> Method:
    """Return a variant's method: the parameters of its level, overridden by ``parameters``.

    Raises AnonbenchError for the original (it has no method), a region that the method or its fallback does not work
    on, a level that neither the method nor ``parameters`` give a meaning, or parameters that are refused.
    """
    if variant.method is None:
        raise AnonbenchError("the original has no method")
    method = registry.load("methods", variant.method)
    if not parameters and variant.level is None and method.levels:
        raise AnonbenchError(f"variant '{variant}' names no level", remedy=f"choose one of {', '.join(method.levels)}")
    if not parameters and variant.level is not None and variant.level not in method.levels:
        raise AnonbenchError(f"variant '{variant}': unknown level{nearest(variant.level, method.levels)}")
    variant.check_kinds(variant.method, method.kinds)
    made: Method = method({**method.levels.get(variant.level, {}), **(parameters or {})})
    check_kinds(variant, method, made.parameters)
    return made


def check_kinds(variant: Variant, method: type[Method], parameters: Any) -> None:
    """Raise AnonbenchError when a method with ``parameters``, or its fallback, does not work on a variant's region."""
    assert variant.method is not None
    variant.check_kinds(variant.method, method.kinds_with(parameters))
    fallback = getattr(parameters, "fallback", method.fallback)
    if fallback is not None:
        variant.check_kinds(f"its fallback {fallback}", registry.load("methods", fallback).kinds)
