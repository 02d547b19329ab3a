"""Two splits of which a study says that nobody may be in both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from anonbench.annotate.identities import check_apart
from anonbench.datasets.base import DatasetAdapter, Split
from anonbench.errors import AnonbenchError
from anonbench.workflow.plan import Plan
from tests.studies import COST


class Named(DatasetAdapter):
    """Splits of people by name."""

    people: dict[str, list[str | None]] = {}  # noqa: RUF012

    def read(self, root: Path, split: str) -> Split:
        annotations = [{"id": i, "identity": name} for i, name in enumerate(self.people[split], 1)]
        return Split(Path(split), [], [], annotations, (root / f"{split}.json",))


def check(train: list[str | None], val: list[str | None]) -> None:
    adapter = Named()
    adapter.people = {"train": train, "val": val}
    check_apart(adapter, Path("data"), "val", "train")


def test_splits_without_a_common_person_pass() -> None:
    check(["a", "b", None], ["c", None, "c"])


def test_the_first_common_person_is_named() -> None:
    said = r"data/val.json, annotation 2: shows 'b', who is in the split train too \(annotation 3\).*; move the"
    with pytest.raises(AnonbenchError, match=said):
        check(["a", "x", "b", "c"], ["d", "b", "c"])


@pytest.mark.parametrize(("train", "val", "split"), [([None], ["a"], "train"), (["a"], [], "val")])
def test_without_identities_nothing_is_known(train: list[str | None], val: list[str | None], split: str) -> None:
    with pytest.raises(AnonbenchError, match=rf"data/{split}.json, split {split}: names nobody's identity"):
        check(train, val)


def test_the_workflow_asks_where_the_study_says_so() -> None:
    def plan(**more: Any) -> Plan:
        return Plan({**COST, "datasets": {"streetlife": {**more}}}, Path(__file__).parents[2])

    assert plan().arguments.apart("streetlife", "val") == ""
    assert plan(disjoint=True).arguments.apart("streetlife", "val") == "--apart-from train"
    assert plan(disjoint=True).arguments.apart("streetlife", "train") == ""
