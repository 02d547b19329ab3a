"""What a row of a table says of a contrast: its intervals, the share that is kept, and the verdict."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anonbench.statistics.contrasts import EQUIVALENCE_LEVEL, Contrast
from anonbench.statistics.verdicts import verdict

NO_MARGIN = 0.0


def intervals(contrast: Contrast, factor: float | None) -> dict[str, Any]:
    """Return the difference with its intervals, by the columns of impact.csv.

    ``factor`` widens that of the primary question (`simultaneous_factor`); None for a row that is not of it.
    """
    found: dict[str, Any] = {"difference": contrast.value}
    found["difference_low"], found["difference_high"] = contrast.interval()
    if factor is not None:
        found["simultaneous_low"], found["simultaneous_high"] = contrast.interval(factor=factor)
    found["equivalence_low"], found["equivalence_high"] = contrast.interval(EQUIVALENCE_LEVEL)
    return found


def kept(difference: float, reference: float, contrast: Callable[[float], Contrast]) -> dict[str, float]:
    """Return the share of the original's value that a variant keeps, in per cent, with its interval.

    The interval is that of variant minus share times original, over the original's value (the delta method);
    ``contrast`` returns it for a share (0..1 and above).
    """
    share = 1 + difference / reference
    half = 100 * contrast(share).half() / reference
    return {"kept": 100 * share, "kept_low": 100 * share - half, "kept_high": 100 * share + half}


def judged(found: dict[str, Any], margin: float, learnt: bool, best: str = "higher") -> str:
    """Return the verdict that `intervals` allow.

    There is no equivalence to an original that has not ``learnt``, whose whole AP may fit into the margin; that it
    loses something can still be shown.
    """
    kind = "simultaneous" if "simultaneous_low" in found else "difference"
    ends, inner = ((found[f"{name}_low"], found[f"{name}_high"]) for name in (kind, "equivalence"))
    return verdict(ends, inner, margin if learnt else NO_MARGIN, best)
