"""What the stage `attack` has to say in ``metrics.json`` before the report believes a number of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from anonbench.statistics.rates import ROUNDING

ALL = "all"
"""In the place of a gallery's size: everybody."""
NO_RATES = ("r2", "membership_auc_excess")
"""Measures that may leave 0..1, by the first part of their names."""
SIZE = rf"^([1-9][0-9]{{0,8}}|{ALL})$"
SHA256 = r"^[0-9a-f]{64}$"


def is_rate(name: str) -> bool:
    """Tell whether a measure cannot leave 0..1."""
    return name.partition("/")[0] not in NO_RATES


def within(value: float) -> bool:
    """Tell whether a number is a rate, 0..1 but for rounding."""
    return -ROUNDING <= value <= 1 + ROUNDING


def _rate(value: float) -> float:
    if not within(value):
        raise ValueError(f"{value:g} is not from 0 to 1")
    return value


Rate = Annotated[float, AfterValidator(_rate)]
Count = Annotated[int, Field(ge=0)]
Size = Annotated[str, Field(pattern=SIZE)]
BySize = dict[Size, Rate | None]


class Said(BaseModel):
    """A part of the file. What the report does not read may stand beside it; nothing is converted."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)


class MeasureSaid(Said):
    """A measure: its value (None: there is none), and of how many."""

    value: float | None
    chance: float | None
    units: Count
    people: Count
    covered: Rate | None = None
    of_covered: float | None = None
    of_missed: float | None = None
    share_of_missed: Rate | None = None
    prevalence: Rate | None = None

    @model_validator(mode="after")
    def _of_somebody(self) -> Self:
        if self.value is not None:
            _counted(self.people, self.units, "units")
        return self


class CrowdSaid(Said):
    """In how large a crowd people hide."""

    median: Annotated[float, Field(ge=0)] | None = None
    fifth: Annotated[float, Field(ge=0)] | None = None
    below_10: Rate | None = None


class RankingSaid(Said):
    """Linkability by the size of the gallery, of all pairs or of one kind; {} of an attack that ranks nobody."""

    probes: Count = 0
    people: Count = 0
    covered: Rate | None = None
    crowd: CrowdSaid | None = None
    linkability: BySize = Field(default_factory=dict)
    chance: BySize = Field(default_factory=dict)
    linkability_of_covered: BySize = Field(default_factory=dict)
    linkability_of_missed: BySize = Field(default_factory=dict)
    share_of_missed: BySize = Field(default_factory=dict)
    mean_average_precision: Rate | None = None
    rank_1: Rate | None = None

    @field_validator("linkability_of_covered", "linkability_of_missed", "share_of_missed", mode="before")
    @classmethod
    def _of_everybody(cls, value: Any) -> Any:
        """Take a number alone, as it was once written, for what it was: that among everybody."""
        return value if isinstance(value, dict) else {ALL: value}

    @model_validator(mode="after")
    def _of_somebody(self) -> Self:
        for size, value in self.linkability.items():
            if value is not None:
                _counted(self.people, self.probes, "probes")
                if self.chance.get(size) is None:
                    raise ValueError(f"chance.{size} is missing")
        return self


class PartSaid(RankingSaid):
    """What was found of a part of the people."""

    measures: dict[str, MeasureSaid]
    kinds: dict[str, RankingSaid] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _rates(self) -> Self:
        for name, of in self.measures.items():
            for key in ("value", "chance", "of_covered", "of_missed") if is_rate(name) else ():
                told = getattr(of, key)
                if told is not None and not within(told):
                    raise ValueError(f"measures.{name}.{key}: {told:g} is not from 0 to 1")
        return self


class AttackerSaid(Said):
    """Who attacks: an attacker's configuration, or a detector's; other keys are only compared."""

    knowledge: str | None = None
    region: str | None = None
    view: str | None = None


class FilesSaid(Said):
    """Hashes of the scores and, of an attacker that has learnt, of its weights."""

    scores: Annotated[str, Field(pattern=SHA256)]
    weights: Annotated[str, Field(pattern=SHA256)] | None = None


class HeadSaid(Said):
    """Which attack it is."""

    format: Literal[1]
    attack: str
    variant: str
    attacker: AttackerSaid | None
    files: FilesSaid


class RecordSaid(HeadSaid):
    """All that the report reads."""

    risk: Literal["singling out", "linkability", "inference"]
    people: Mapping[str, str | None]
    draw: str | None
    drawn: Literal["people", "images"] = "people"
    finds: str | None = None
    test: PartSaid
    validation: PartSaid | None = None


def _counted(people: int, units: int, what: str) -> None:
    if not 1 <= people <= units:
        raise ValueError(f"{people} people of {units} {what} can tell of nothing")
