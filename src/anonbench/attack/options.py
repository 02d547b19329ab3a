"""Who attacks, with what, and what it may know: the study's block ``attack``. Imported without torch."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from anonbench.blocks import Strict
from anonbench.detectors.config import DetectorConfig
from anonbench.recognisers.config import RecogniserConfig

Knowledge = Literal["naive", "partial", "aware", "reverse", "pretrained"]
NAIVE, PARTIAL, AWARE, REVERSE, PRETRAINED = "naive", "partial", "aware", "reverse", "pretrained"
LEARNERS = (NAIVE, PARTIAL, AWARE, REVERSE)
"""What those know who learn here, from people of their own."""
KNOWS_NO_METHOD = (NAIVE, PRETRAINED)

By = Literal["attackers", "detectors", "nobody"]
ATTACKERS: By = "attackers"
DETECTORS: By = "detectors"
NOBODY: By = "nobody"
"""Who tries an attack: attackers that learn, detectors as they are, or nobody, where counting is enough."""

View = Literal["person", "region", "surroundings", "silhouette", "colour"]
RESTORED = ("person", "region")
"""Views that somebody who restores pictures has: in the others there is nothing to restore."""
COMPUTED = "analytic"
"""The restorer that learns nothing."""
NAME = r"^[a-z0-9][a-z0-9_-]*$"
SPLIT = r"^[A-Za-z0-9_]+$"


class RestorerConfig(Strict):
    """What a `reverse` attacker undoes a method with, before it looks at anybody."""

    kind: Literal["unet", "analytic"] = Field(
        "unet",
        description="`unet`: a network that learns, from its own people as the method leaves them, what they looked "
        "like; `analytic`: what follows from the method's parameters without learning (blur: Wiener's filter; "
        "pixelate: enlarging and back-projection).",
    )
    widths: list[Annotated[int, Field(ge=1, le=1024)]] = Field(
        [24, 48], min_length=2, max_length=6, description="Channels of the U-Net, finest level first."
    )
    iterations: int = Field(500, ge=1, description="Optimiser steps.")
    batch_size: int = Field(32, ge=1, description="Crops in a batch, or as many as there are.")
    learning_rate: float = Field(5e-3, gt=0, description="Peak rate of AdamW; a warm-up, then half a cosine to zero.")
    ssim: float = Field(
        0.2, ge=0, le=1, description="Weight of structural dissimilarity, 1 - SSIM, in the loss; the rest is L1's."
    )


class AttackerConfig(Strict):
    """A network that tells which crops show the same person, or what is true of whom.

    It learns that from people of its own or, as a recogniser, has learnt it elsewhere.
    """

    knowledge: Knowledge = Field(
        description="`naive` learns from original images alone; `aware` from its own people as the attacked variant's "
        "method leaves them, beside their originals; `partial` likewise, but by the method of `variant`; `reverse` "
        "undoes the method first and then looks as `naive` does; `pretrained`: a `recogniser`, who learns nothing."
    )
    variant: str | None = Field(None, description="Variant whose method a `partial` attacker knows.")
    restorer: RestorerConfig | None = Field(
        None, description="How a `reverse` attacker undoes the method; a U-Net unless given."
    )
    region: Literal["face", "body"] = Field("body", description="Regions of people that it is about.")
    view: View = Field(
        "person",
        description="What it sees of somebody: the `person` in their box; the `region` alone; the `surroundings` with "
        "the region emptied, or its `silhouette`, both of which no method of a region changes: these are controls; the "
        "region's mean `colour` alone, which a method may change: a reference.",
    )
    recogniser: RecogniserConfig | None = Field(
        None, description="A network that has learnt elsewhere to tell people apart, and learns nothing here."
    )
    network: Literal["compact", "mosaic", "resnet18"] = Field(
        "compact",
        description="Architecture, from random weights: `compact` for a CPU; `mosaic` sees mean colours of cells; "
        "`resnet18` for a GPU.",
    )
    width: int = Field(48, ge=16, le=512, description="Width of a crop in pixels.")
    height: int = Field(96, ge=16, le=512, description="Height of a crop in pixels.")
    dimensions: int = Field(128, ge=2, le=2048, description="Numbers that describe a crop.")
    iterations: int = Field(300, ge=1, description="Optimiser steps.")
    batch_size: int = Field(64, ge=4, description="People in a batch, or as many as there are.")
    learning_rate: float = Field(3e-3, gt=0, description="Peak rate of AdamW; a warm-up, then half a cosine to zero.")
    weight_decay: float = Field(1e-2, ge=0, description="Decay of weight matrices and filters.")
    temperature: float = Field(0.1, gt=0, description="Of the contrastive loss.")
    shift: float = Field(0.08, ge=0, le=0.5, description="Largest random shift of a crop, in its height.")
    horizontal_flip: float = Field(0.5, ge=0, le=1, description="Share of crops that are mirrored.")
    checkpoint_every: int = Field(500, ge=1, description="Iterations between two checkpoints.")
    determinism: Literal["auto", "portable", "strict"] = Field("auto", description="As of a model's recipe.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.variant is None) == (self.knowledge == PARTIAL):
            raise ValueError(
                "a partial attacker needs a variant whose method it knows" if self.variant is None
                else f"variant is for partial attackers; a {self.knowledge} one needs none"
            )  # fmt: skip
        if self.restorer is not None and self.knowledge != REVERSE:
            raise ValueError(f"restorer is for reverse attackers; a {self.knowledge} one has none")
        if self.knowledge == REVERSE and self.view not in RESTORED:
            raise ValueError(f"a reverse attacker that sees the {self.view} alone has nothing to restore")
        if (self.recogniser is None) == (self.knowledge == PRETRAINED):
            raise ValueError(
                "a pretrained attacker is a recogniser; name it" if self.recogniser is None
                else f"recogniser: it has learnt elsewhere: pretrained, not {self.knowledge}"
            )  # fmt: skip
        if self.recogniser is not None:
            self._check_recogniser(self.recogniser)
        return self

    def _check_recogniser(self, recogniser: RecogniserConfig) -> None:
        kind = recogniser.of
        if (self.region, self.view) != (kind.region, kind.view):
            raise ValueError(
                f"recogniser: {recogniser.plugin} sees the {kind.view} of region {kind.region}, not the {self.view} of "
                f"{self.region}"
            )
        fields = AttackerConfig.model_fields
        if own := [name for name in _HOW if getattr(self, name) != fields[name].default]:
            raise ValueError(f"recogniser: it learns nothing here; leave out {', '.join(own)}")

    @model_serializer(mode="wrap")
    def _told(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Return what there is to say: of those who learn no recogniser, of a recogniser nothing of learning."""
        found: dict[str, Any] = handler(self)
        idle = ("recogniser",) if self.recogniser is None else _HOW
        return {name: value for name, value in found.items() if name not in idle}

    @property
    def size(self) -> tuple[int, int]:
        """Return width and height of the crops that it looks at, in pixels."""
        return (self.width, self.height) if self.recogniser is None else self.recogniser.of.size

    @property
    def restores(self) -> RestorerConfig | None:
        """Return how the attacker undoes the method; None where it does not."""
        return (self.restorer or RestorerConfig()) if self.knowledge == REVERSE else None

    @property
    def inverts(self) -> bool:
        """Tell whether the attacker computes what was there, from the parameters of the method."""
        return self.restores is not None and self.restores.kind == COMPUTED

    def trained_on(self, attacked: str, original: str = "original") -> str:
        """Return the variant of its own people that the attacker learns from when it attacks a variant."""
        if self.inverts:
            return original
        return {
            NAIVE: original,
            PRETRAINED: original,
            PARTIAL: self.variant or original,
            AWARE: attacked,
            REVERSE: attacked,
        }[self.knowledge]


_HOW = tuple(name for name in AttackerConfig.model_fields if name not in ("knowledge", "region", "view", "recogniser"))
"""Settings of those who learn."""


class StudiedAttackerConfig(AttackerConfig):
    """An attacker, and what a study lets it try."""

    attacks: list[str] | None = Field(
        None,
        min_length=1,
        description="Attacks of the study that it tries; all that attackers try unless given. One may need a longer "
        "training than another.",
    )


class OwnPeopleConfig(Strict):
    """The attacker's own data: whom it learns from. They must not be among those who are attacked."""

    dataset: str | None = Field(None, description="Data set of the study; unless given, the one that is attacked.")
    split: str = Field("train", pattern=SPLIT, description="Its split; it is anonymized as the attacked variant is.")


class AttackConfig(Strict):
    """What is tried on each variant, by whom."""

    attacks: list[str] = Field([], description="Names of attacks; none: nothing is attacked.")
    datasets: list[str] | None = Field(
        None,
        min_length=1,
        description="Data sets of the study whose people are attacked; all but the attacker's own unless given.",
    )
    variants: list[str] = Field(
        default_factory=list,
        description="Variants that are attacked, and the original, which always is; all of the study unless given.",
    )
    attackers: dict[str, StudiedAttackerConfig] = Field(
        default_factory=dict, description="Attackers by name; each learns for each attack that it tries."
    )
    detectors: dict[str, DetectorConfig] = Field(
        default_factory=dict,
        description="Detectors by name, for attacks that look for people or faces; those of people look at variants "
        "of bodies and frames alone.",
    )
    own: OwnPeopleConfig = OwnPeopleConfig()
    probe: str | None = Field(
        None,
        pattern=SPLIT,
        description="Split whose people are attacked in each variant; unless given, the data set's val.",
    )
    gallery: str | None = Field(
        None, pattern=SPLIT, description="Split of original images in which the same people are looked for."
    )
    attributes: dict[str, Annotated[list[str], Field(min_length=1)]] = Field(
        default_factory=dict,
        description="Groups of attributes by name that `infer` judges by themselves, too, such as `known` ones, which "
        "a method was fitted to hide, and `novel` ones.",
    )
    seeds: list[Annotated[int, Field(ge=0)]] = Field([0], min_length=1, description="One attacker per seed.")
    sizes: list[Annotated[int, Field(ge=2)]] = Field(
        [10, 100], min_length=1, description="Sizes of the galleries in which somebody is to be found; all people, too."
    )
    most: int = Field(2000, ge=2, description="Most people of a split that are attacked; which, a seed draws.")
    validation: float = Field(
        0.3,
        gt=0,
        lt=1,
        description="Share of the attacked people on whom the strongest attacker is chosen; the others are reported.",
    )

    @field_validator("attacks", "datasets", "variants", "seeds", "sizes")
    @classmethod
    def _once(cls, listed: list[Any] | None) -> list[Any] | None:
        if twice := [one for one in listed or () if (listed or []).count(one) > 1]:
            raise ValueError(f"'{twice[0]}' stands there twice")
        return listed

    @field_validator("attributes")
    @classmethod
    def _groups(cls, groups: dict[str, list[str]]) -> dict[str, list[str]]:
        for name, of in groups.items():
            if not re.fullmatch(r"[a-z0-9][a-z0-9_]*", name):
                raise ValueError(f"{name!r} is not a valid name (use lower-case letters, digits and _)")
            if twice := [one for one in of if of.count(one) > 1]:
                raise ValueError(f"{name}: '{twice[0]}' stands there twice")
        return groups
