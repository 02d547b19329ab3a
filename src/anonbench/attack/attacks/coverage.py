"""Count who was changed at all: the base of every other attack, since whoever was left visible needs no attacker."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from anonbench import manifests
from anonbench.attack.answers import mean_of
from anonbench.attack.contract import Answers, Choose, Looking, Measure, Risk, Site, drawn_together
from anonbench.attack.finding import SIZES, size_of
from anonbench.attack.metrics import TEST
from anonbench.attack.options import NOBODY, By
from anonbench.attack.subjects import attributes_of, check_images, tables_of
from anonbench.attack.traits import NO_TRAITS
from anonbench.detectors.config import DetectorConfig
from anonbench.errors import AnonbenchError
from anonbench.statistics.rates import share_of
from anonbench.statistics.resampling import FEWEST
from anonbench.variants import ORIGINAL

CHANGED, AREA = "changed", "changed_area"


class Coverage(Looking):
    """Reads manifests and the table of people; looks at no image and needs nobody's identity."""

    title: ClassVar[str] = "count who was changed"
    risk: ClassVar[Risk] = "singling out"
    by: ClassVar[By] = NOBODY

    def look(self, site: Site, choose: Choose, detector: DetectorConfig | None) -> Answers:
        """Return the share of people who were changed: of all, of each size, of each value of an attribute; of area.

        Everybody who is annotated counts, with a usable box or without, but crowds, which are counted apart unless
        there is nobody else. Values of attributes count that `FEWEST` people (or images) have.
        """
        columns = ["image_id", "person_id", "crowd", "area", "identity", "attributes"]
        pictures, table = tables_of(site.annotations, site.split, columns)
        rows = [row for row in table if not row["crowd"]] or table
        if not rows:
            raise AnonbenchError("shows nobody", file=site.table("people"))
        told = manifests.contents_of(site.variant, site.split)
        check_images(told, pictures, manifests.summary_path(site.variant, site.split))
        changed = set() if site.variant.name == ORIGINAL else told.changed
        hit = np.array([(row["image_id"], row["person_id"]) in changed for row in rows])
        area = np.array([row["area"] for row in rows], dtype=np.float64)
        identities = np.array([row["identity"] for row in rows], dtype=object)
        images = np.array([row["image_id"] for row in rows], dtype=np.int64)
        scenes = site.scenes()
        groups, drawn = drawn_together(identities, np.array([scenes[image] for image in images.tolist()]))
        # of itself coverage has no part that is due to who was missed
        found = {CHANGED: mean_of(hit.astype(np.float64), groups, more={"covered": float(hit.mean())})}
        values = _values([attributes_of(row["attributes"], site.table("people")) for row in rows])
        often = {name: one for name, one in values.items() if len(np.unique(groups[one])) >= FEWEST}
        found |= {f"{CHANGED}/{name}": _of(hit, groups, one) for name, one in (_sizes(area) | often).items()}
        if area.sum() > 0:
            found[AREA] = Measure(lambda w: share_of(w @ (hit * area), w @ area), groups)
        crowds = [row for row in table if row["crowd"]]
        facts: dict[str, Any] = {
            "values_of_few": len(values) - len(often),
            "pictures_of_crowds": all(row["crowd"] for row in table),
            "crowds": len(crowds),
            "crowds_changed": sum((row["image_id"], row["person_id"]) in changed for row in crowds),
            "unannotated_changed": 0 if site.variant.name == ORIGINAL else told.strangers,
        }
        arrays = {"probe": groups, "images": images, "covered": hit}
        return Answers({TEST: found}, CHANGED, drawn, facts, arrays)


def _sizes(area: np.ndarray) -> dict[str, np.ndarray]:
    """Return who is of each size, bool (N,), by its name; of a lost box nobody knows how large it was."""
    sizes = np.array([size_of(one) if one > 0 else "" for one in area])
    return {size: sizes == size for size in SIZES if (sizes == size).any()}


def _values(said: list[dict[str, str]]) -> dict[str, np.ndarray]:
    """Return who has each value of an attribute, bool (N,), by ``<name>=<value>``, of what is said of everybody."""
    return {
        f"{name}={value}": np.array([of.get(name) == value for of in said])
        for name in sorted({name for of in said for name in of}.difference(NO_TRAITS))
        for value in sorted({of[name] for of in said if name in of})
    }


def _of(hit: np.ndarray, groups: np.ndarray, rows: np.ndarray) -> Measure:
    return mean_of(hit[rows].astype(np.float64), groups[rows])
