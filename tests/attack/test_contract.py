"""Every registered attack keeps the contract."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from typing import get_args

import pytest

from anonbench import registry
from anonbench.attack import contract
from anonbench.attack.contract import Attack, Looking, Matching, Risk
from anonbench.attack.options import ATTACKERS, NAME, By

KINDS = [kind for kind in Attack.__subclasses__() if kind.__module__ == contract.__name__]
ATTACKS = registry.names("attacks")


@pytest.mark.parametrize("name", ATTACKS)
def test_it_is_of_one_kind_and_says_what_it_is(name: str) -> None:
    plugin = registry.load("attacks", name)
    kinds = [kind for kind in KINDS if issubclass(plugin, kind)]
    assert len(kinds) == 1
    assert not inspect.isabstract(plugin)
    assert plugin()
    assert plugin.title
    assert not plugin.title.endswith(".")
    assert plugin.risk in get_args(Risk)
    assert plugin.by in get_args(By)
    assert (plugin.by == ATTACKERS) == (kinds[0] is not Looking)
    assert not plugin.needs_gallery or issubclass(plugin, Matching)


@pytest.mark.parametrize("name", ATTACKS)
def test_its_name_can_stand_in_a_path(name: str) -> None:
    assert re.fullmatch(NAME, name)
    assert "-" not in name


def test_reading_a_study_imports_no_torch() -> None:
    lines = ["import sys", "from anonbench import registry"]
    lines += [f"registry.load('attacks', {name!r})" for name in ATTACKS]
    lines.append("sys.exit('torch' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], check=False)
    assert done.returncode == 0
