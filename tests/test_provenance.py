"""The code hash sees what a rule runs and nothing else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from anonbench import provenance


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "toy"
    (folder / "stage").mkdir(parents=True)
    for name, text in {
        "__init__.py": "",
        "stage/__init__.py": "",
        "stage/run.py": "from toy import shared\nfrom . import near\n",
        "stage/near.py": "",
        "shared.py": "import json\n",
        "plot.py": "from toy.stage import run\n",
    }.items():
        (folder / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [n for n in sys.modules if n.partition(".")[0] == "toy"]:
        del sys.modules[name]


def _hash() -> str:
    provenance._imports.cache_clear()
    provenance._root.cache_clear()
    return provenance.code_hash("toy.stage.run")


@pytest.mark.parametrize(
    ("edited", "changes"),
    [("stage/run.py", True), ("stage/near.py", True), ("shared.py", True), ("plot.py", False)],
)
def test_only_imported_modules_count(package: Path, edited: str, changes: bool) -> None:
    before = _hash()
    (package / edited).write_text((package / edited).read_text() + "\n# edited\n")
    assert (_hash() != before) == changes


def test_unknown_modules_are_an_error() -> None:
    with pytest.raises(ModuleNotFoundError):
        provenance.code_hash("anonbench.nothing_here")


def test_report_code_is_not_in_the_trainer() -> None:
    sources = {"anonbench.train.cli"}
    todo = list(sources)
    while todo:
        for name in provenance._imports(todo.pop()):
            if name not in sources:
                sources.add(name)
                todo.append(name)
    assert not [name for name in sources if name.startswith(("anonbench.report", "anonbench.evaluate"))]
