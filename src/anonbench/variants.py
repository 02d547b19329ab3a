"""A variant's name: ``original`` or ``<region>-<method>[-<level>]``, such as ``face-blur-medium``.

Of a method that is fitted anew for each seed (`refitted`) a further fit's variant has ``-fit<seed>`` behind that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from anonbench import registry
from anonbench.errors import AnonbenchError, nearest
from anonbench.records import RegionKind

ORIGINAL = "original"
IDENTITY = "identity"
"""The method that changes nothing: what it moves, the codec moves."""
REGIONS, EVERYTHING = "regions", "everything"
"""What a variant touches: regions of people, so that all else is a control, or every pixel of every image."""


FIT = re.compile(r"fit(0|[1-9]\d*)")
"""The last part of a name that says which further fit of its method made a variant."""
LIKE_A_FIT = re.compile(r"fit\d")
"""How no level may begin: the rules tell levels from fits by it."""


def refitted(variant: str, seed: int) -> str:
    """Return the name of a variant as the fit of its method with a seed makes it."""
    return f"{variant}-fit{seed}"


def plain(variant: str) -> str:
    """Return a variant's name whichever fit of its method made it."""
    name, _, last = variant.rpartition("-")
    return name if name and FIT.fullmatch(last) else variant


@dataclass(frozen=True, slots=True)
class Variant:
    """One variant of a data set; all are None for the original.

    ``fit``: the seed of the further fit of its method that made it, None for the first or only one.
    """

    region: RegionKind | None = None
    method: str | None = None
    level: str | None = None
    fit: int | None = None

    @classmethod
    def parse(cls, text: str) -> Variant:
        """Read a variant's name; raise AnonbenchError naming the nearest known region or method.

        The level is not checked here: levels belong to the method's class and to the study.
        """
        if text == ORIGINAL:
            return cls()
        parts = plain(text).split("-")
        if len(parts) not in (2, 3) or not all(parts):
            raise AnonbenchError(
                f"'{text}' is not a variant{nearest(text, _examples())}",
                remedy="write original or <region>-<method>[-<level>], such as face-blur-medium",
            )
        region, method = parts[:2]
        if region not in list(RegionKind):
            raise AnonbenchError(f"variant '{text}': unknown region '{region}'{nearest(region, RegionKind)}")
        if method not in registry.names("methods"):
            raise AnonbenchError(
                f"variant '{text}': unknown method '{method}'{nearest(method, registry.names('methods'))}"
            )
        if len(parts) == 3 and LIKE_A_FIT.match(parts[2]):
            raise AnonbenchError(
                f"variant '{text}': '{parts[2]}' looks like what a further fit is called", remedy="use another level"
            )
        fit = int(text.rpartition("-fit")[2]) if text != plain(text) else None
        return cls(RegionKind(region), method, parts[2] if len(parts) == 3 else None, fit)

    @property
    def touches(self) -> str | None:
        """Return what the variant changes: ``regions`` of people, ``everything``, or None (the original)."""
        if self.region is None:
            return None
        return EVERYTHING if self.region is RegionKind.FRAME else REGIONS

    def check_kinds(self, method: str, kinds: frozenset[RegionKind]) -> None:
        """Raise AnonbenchError unless the variant's region is among those that a method works on."""
        if self.region not in kinds:
            known = ", ".join(sorted(kinds))
            raise AnonbenchError(
                f"variant '{self}': {method} does not work on the region '{self.region}' (it works on: {known})",
                remedy="choose another method or region",
            )

    def __str__(self) -> str:
        if self.region is None or self.method is None:
            return ORIGINAL
        name = "-".join(part for part in (self.region.value, self.method, self.level) if part)
        return name if self.fit is None else refitted(name, self.fit)


def _examples() -> list[str]:
    return [
        ORIGINAL,
        *(f"{region}-{method}" for region in RegionKind for method in registry.names("methods")),
    ]
