"""Who imports whom: docs/design.md says it in words, this file holds it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from anonbench import provenance

SOURCE = Path(__file__).parents[1] / "src" / "anonbench"

FOUNDATION = {
    "arguments", "arrays", "blocks", "catalogue", "errors", "files", "lines", "plugins", "portable", "provenance",
    "records", "registry", "resources", "seeding", "workers",
}  # fmt: skip
"""Know nobody but each other."""
SHARED = {
    "categories", "clips", "codec", "crops", "datasets", "detectors", "directions", "distortion", "images", "learning",
    "manifests", "names", "people", "recipe", "recognisers", "regions", "splits", "statistics", "tasks", "variants",
    "windows",
}  # fmt: skip
"""What stages share: stand on the foundation and on each other."""
STAGES = {"annotate", "anonymize", "attack", "download", "evaluate", "report", "train"}
"""Stand on the two above and not on each other."""
TOP = {
    "__init__",
    "__main__",
    "apply",
    "cli",
    "commands_page",
    "config",
    "config_pages",
    "init",
    "migration",
    "power",
    "studies",
    "workflow",
}
"""Know everybody; nobody below knows them."""
EXCEPTIONS = {"report": {"evaluate.evidence"}}
"""The report reads what `evaluate` left for it with the module that wrote it."""


def parts() -> set[str]:
    """Return the names of the package's modules and subpackages."""
    return {path.stem for path in SOURCE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}


def imported(part: str) -> set[str]:
    """Return what a module or subpackage imports of the others, with dots, without the package's name."""
    files = (SOURCE / part).rglob("*.py") if (SOURCE / part).is_dir() else [SOURCE / f"{part}.py"]
    found: set[str] = set()
    for file in files:
        names = (*file.relative_to(SOURCE).with_suffix("").parts,)
        module = ".".join(("anonbench", *(name for name in names if name != "__init__")))
        found |= {name.partition(".")[2] for name in provenance._imports(module)}
    return {name for name in found if name and name.partition(".")[0] != part}


def test_every_module_has_a_layer() -> None:
    layers = [FOUNDATION, SHARED, STAGES, TOP]
    assert sorted(part for layer in layers for part in layer) == sorted(parts())


@pytest.mark.parametrize("part", sorted(FOUNDATION | SHARED | STAGES))
def test_nobody_imports_from_above_or_from_another_stage(part: str) -> None:
    allowed = FOUNDATION if part in FOUNDATION else FOUNDATION | SHARED
    excepted = EXCEPTIONS.get(part, set())
    wrong = {
        name
        for name in imported(part)
        if name.partition(".")[0] not in allowed and name not in excepted | {e.partition(".")[0] for e in excepted}
    }
    assert not wrong


def test_the_study_knows_the_stages_by_their_options_alone() -> None:
    """`config` is read at every start of Snakemake."""
    found = {name for name in imported("config") if name.partition(".")[0] in STAGES}
    options = {"annotate.options", "anonymize.contract", "anonymize.controls", "attack.options"}
    assert found <= {"annotate", "anonymize", "attack", *options}


def test_optimisers_are_those_that_need_no_compiler() -> None:
    """PyTorch's own import it: a second of every training."""
    made = re.compile(r"optim\.(SGD|Adam|AdamW)\(")
    assert not [path for path in Path(provenance.__file__).parent.rglob("*.py") if made.search(path.read_text())]
