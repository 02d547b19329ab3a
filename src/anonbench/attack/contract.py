"""What an attack must offer. Imported without torch, since reading a study asks attacks what they need."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from anonbench import regions
from anonbench.attack.options import ATTACKERS, LEARNERS, By, Knowledge
from anonbench.attack.subjects import Subjects
from anonbench.detectors.config import DetectorConfig

Risk = Literal["singling out", "linkability", "inference"]
"""The three risks of WP29's Opinion 05/2014 on anonymisation techniques."""

Describe = Callable[[np.ndarray], np.ndarray]
"""An attacker's network: unit vectors float32 (N, D) of crops uint8 (N, height, width, 3)."""

Choose = Callable[[np.ndarray], np.ndarray]
"""Which of some people or images (int64 (N,), the same number for the same) attackers are chosen on: bool (N,)."""


Drawn = Literal["people", "images"]
"""What is drawn as a whole: people or, where nobody says who anybody is, images (of clips, whole clips)."""


@dataclass(frozen=True)
class Trial:
    """An attack's answers: how alike each probe and each of the gallery look to it.

    ``scores`` float32 (P, G); ``probe`` (P,) and ``gallery`` (G,) say who they are, int64 numbers that name nobody;
    ``allowed`` bool (P, G): False where a pair must not be compared. ``covered`` bool (P,): whom the variant has
    changed; ``images`` int64 (P,) ids of the probes' images. ``kinds`` names pairs, bool (P, G), whose pictures of one
    person are to be told of apart, too, such as those in the same clothes. ``likeness`` (P,): how alike a picture is to
    its original, for illustration; None where that is not asked. ``pictures``: a few of the probes for a reader to look
    at, uint8 (E, height, width, 3) RGB, by what they show; the same people whatever the variant. ``groups`` int64 (I,)
    says of each number who they are drawn with, where numbers are no people but pictures; None: everybody alone.
    ``drawn`` is what groups are: whole ``people``, or ``images``, whose ids they then are.
    """

    scores: np.ndarray = field(repr=False)
    probe: np.ndarray
    gallery: np.ndarray
    allowed: np.ndarray = field(repr=False)
    covered: np.ndarray
    images: np.ndarray
    kinds: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)
    likeness: np.ndarray | None = field(default=None, repr=False)
    pictures: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)
    groups: np.ndarray | None = field(default=None, repr=False)
    drawn: Drawn = "people"

    @property
    def same(self) -> np.ndarray:
        """Return bool (P, G): pairs that show the same person, compared or not."""
        return np.asarray(self.probe[:, None] == self.gallery[None, :])

    @property
    def mates(self) -> np.ndarray:
        """Return bool (P, G): pairs of the same person that are compared."""
        return self.allowed & self.same

    @property
    def impostors(self) -> int:
        """Return how many pairs of different people are compared."""
        return int((self.allowed & ~self.same).sum())

    def drawn_with(self, who: np.ndarray) -> np.ndarray:
        """Return who is drawn together, int64, of numbers such as ``probe`` and ``gallery``."""
        return who if self.groups is None else self.groups[who]

    def among(self, rows: np.ndarray, columns: np.ndarray) -> Trial:
        """Return the trial of some probes, bool (P,), among some of the gallery, bool (G,)."""
        here = np.ix_(rows, columns)
        return replace(
            self, scores=self.scores[here], probe=self.probe[rows], gallery=self.gallery[columns],
            allowed=self.allowed[here], covered=self.covered[rows], images=self.images[rows],
            kinds={name: pairs[here] for name, pairs in self.kinds.items()},
            likeness=None if self.likeness is None else self.likeness[rows],
        )  # fmt: skip

    def of_kind(self, name: str) -> Trial:
        """Return the trial in which a person's pictures of one of the ``kinds`` of pairs count alone."""
        return replace(self, allowed=self.allowed & (self.kinds[name] | ~self.same))


Statistic = Callable[[np.ndarray], np.ndarray]
"""A number of U units that are counted as often as weights (B, U) say, whole numbers as float64: float64 (B,), NaN
where there is none."""


@dataclass(frozen=True)
class Measure:
    """A number that an attack answers with, and how it comes about, so that it can be computed on resamples.

    ``groups`` int64 (U,): units with the same number are drawn together, as those of a person are. ``covered`` bool
    (U,): whom the variant has changed, None where that is no question. ``chance``: what somebody gets who knows
    nothing, None where nobody can say. ``values`` float64 (U,), where the measure is their mean. ``kinds`` bool (U, K):
    who is of which kind, where each kind counts alike however few they are: no more people tell of the measure than of
    the rarest kind. ``more``: what else a reader of the number should know, such as the prevalence.
    """

    statistic: Statistic = field(repr=False)
    groups: np.ndarray = field(repr=False)
    chance: float | None = None
    covered: np.ndarray | None = field(default=None, repr=False)
    values: np.ndarray | None = field(default=None, repr=False)
    kinds: np.ndarray | None = field(default=None, repr=False)
    more: Mapping[str, float | int] = field(default_factory=dict)


@dataclass(frozen=True)
class Answers:
    """The answers of an attack that ranks nobody.

    ``parts`` are measures by name, by part of the people: ``test`` and, where attackers are chosen, ``validation``.
    ``first`` is the name of the measure that tells most. ``drawn`` are whole ``people`` or, where nobody says who
    anybody is, ``images`` (of clips, whole clips). ``facts`` go into the record, ``arrays`` into the file of scores.
    """

    parts: Mapping[str, Mapping[str, Measure]]
    first: str
    drawn: Drawn
    facts: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Site:
    """Where people are attacked.

    ``variant``, ``original`` and ``annotations`` are folders: of the attacked variant, of the original of the same data
    set, and of its tables; ``split`` is theirs. At most ``most`` people are attacked; which, ``seed`` draws.
    ``attributes``: by name, groups of attributes that are judged by themselves, too.
    """

    variant: Path
    original: Path
    annotations: Path
    split: str
    most: int | None = None
    seed: int = 0
    attributes: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def table(self, name: str) -> Path:
        """Return the table of ``images``, ``people`` or ``regions``."""
        return self.annotations / f"{self.split}.{name}.parquet"

    def scenes(self) -> dict[int, int]:
        """Return by image's id the first image of its scene: itself, or of a clip's frame the clip's first.

        Frames of one clip resemble each other: drawn one by one, they would make intervals far too narrow.
        """
        table = regions.read(self.table("images"), regions.IMAGES).select(["image_id", "video_id"]).to_pylist()
        first: dict[tuple[str, int], int] = {}
        found = {}
        for row in table:
            image, video = row["image_id"], row["video_id"]
            found[image] = first.setdefault(("image", image) if video is None else ("video", video), image)
        return found


@dataclass(frozen=True)
class Traits:
    """What is true of N people and may be inferred of them.

    ``labels``: by attribute, str (N,), None where nobody says. ``numbers``: by name, float64 (N, K), NaN where there
    are none, such as the Lab coordinates of a colour.
    """

    labels: Mapping[str, np.ndarray] = field(default_factory=dict)
    numbers: Mapping[str, np.ndarray] = field(default_factory=dict)


class Attack(ABC):
    """An attack: derive from `Matching`, `Remembering`, `Guessing` or `Looking`, which say what it is to do.

    Register the class in the entry-point group ``anonbench.attacks``; its name is the entry point's.
    """

    title: ClassVar[str]
    """What is tried, in a heading."""

    risk: ClassVar[Risk]

    by: ClassVar[By] = ATTACKERS

    needs_identities: ClassVar[bool] = False
    """Whether the data set must say who people are."""

    needs_gallery: ClassVar[bool] = False
    """Whether people are looked for in another split than the one that is attacked."""

    of_fitted: ClassVar[bool] = False
    """Whether it is about methods that are fitted to data, and no other variants."""

    by_those_who_know: ClassVar[Sequence[str]] = get_args(Knowledge)
    """Attackers that make the attack, by their knowledge."""


class Comparing(Attack):
    """Attackers learn which crops show the same person."""

    within: ClassVar[bool] = False
    """Whether pictures of one variant are compared with each other, not with originals: so an attacker learns, too."""

    @abstractmethod
    def people(self, own: Subjects) -> Sequence[object]:
        """Return who is the same person to an attacker that learns (N,): None for nobody else."""


class Matching(Comparing):
    """The answer is a matrix of scores."""

    needs_original: ClassVar[bool] = True
    """Whether those who are attacked are compared with their own originals."""

    @abstractmethod
    def attempt(self, seen: Subjects, raw: Subjects | None, gallery: Subjects | None, describe: Describe) -> Trial:
        """Attack.

        ``seen`` are the attacked people as the variant shows them, ``raw`` the same, in the same order, in the original
        images, if the attack needs them, ``gallery`` those of the gallery, if it needs one: of its original images, or,
        ``within`` a variant, of the variant's. Raises AnonbenchError where there is nothing to compare.
        """


class Remembering(Comparing):
    """Attackers look whether a generator repeats the people that it was fitted to: for methods that are fitted."""

    of_fitted: ClassVar[bool] = True

    @abstractmethod
    def recall(
        self, seen: Subjects, raw: Subjects, members: Subjects, describe: Describe, choose: Choose, seed: int
    ) -> Answers:
        """Attack.

        ``seen`` are people whom the generator was not fitted to, as the variant shows them, ``raw`` the same, in the
        same order, in the original images, and ``members`` those whom it was fitted to, in theirs. Raises
        AnonbenchError where there is nothing to compare.
        """


class Guessing(Attack):
    """Attackers learn what is true of people of their own, from crops of them, and guess it of others."""

    by_those_who_know: ClassVar[Sequence[str]] = LEARNERS

    @abstractmethod
    def truth(self, site: Site, people: Subjects) -> Traits:
        """Return what is true of some people of a site, in their order.

        It is what the annotations and the original images say, whatever the variant. Raises AnonbenchError for files
        that are missing or damaged.
        """


class Looking(Attack):
    """Nothing is learnt: files are counted, or a detector looks at images (`by`)."""

    @abstractmethod
    def look(self, site: Site, choose: Choose, detector: DetectorConfig | None) -> Answers:
        """Attack; ``detector`` is None where nobody tries. Raises AnonbenchError where there is nobody to attack."""


def numbered(*names: np.ndarray) -> list[np.ndarray]:
    """Return names as numbers (int64), the same number for the same name in all of the arrays."""
    known = {name: k for k, name in enumerate(sorted({str(name) for one in names for name in one}))}
    return [np.array([known[str(name)] for name in one], dtype=np.int64) for one in names]


def drawn_together(identities: np.ndarray, scenes: np.ndarray) -> tuple[np.ndarray, Drawn]:
    """Return which of some people are drawn together, int64 (N,), and what is drawn.

    Those are pictures of the same person, by ``identities`` (N,), and of somebody whom nobody knows the one picture;
    where nobody is known at all, it is all who are in the same scene, by ``scenes`` (N,) (see `Site.scenes`).
    """
    if all(who is None for who in identities):
        return np.asarray(scenes, dtype=np.int64), "images"
    return persons(identities), "people"


def persons(identities: np.ndarray) -> np.ndarray:
    """Return who somebody is, int64 (N,) numbers, of identities (N,); whom nobody knows is nobody else."""
    names = [f"row {k}" if who is None else f"person {who}" for k, who in enumerate(identities)]
    return numbered(np.array(names))[0]
