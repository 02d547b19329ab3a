"""The code hash sees what a rule runs and nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from anonbench import provenance
from anonbench.studies import DEFAULT
from anonbench.workflow.plan import Plan


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
    provenance._read.cache_clear()
    return provenance.code_hash("toy.stage.run")


def edit(monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    """Let `code_hash` see another text in the file of ours whose path ends so."""
    meaning = provenance._meaning
    monkeypatch.setattr(
        provenance,
        "_meaning",
        lambda path: meaning(path) + (b"edited" if path.as_posix().endswith(f"/{file}") else b""),
    )


@pytest.mark.parametrize(
    ("edited", "changes"),
    [("stage/run.py", True), ("stage/near.py", True), ("shared.py", True), ("plot.py", False)],
)
def test_only_imported_modules_count(package: Path, edited: str, changes: bool) -> None:
    before = _hash()
    (package / edited).write_text((package / edited).read_text() + "\nedited = 1\n")
    assert (_hash() != before) == changes


def test_what_a_plugin_of_another_package_uses_of_ours_counts(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that builds on COCO's is measured anew when COCO's scoring is edited."""
    (package / "stage" / "run.py").write_text("from anonbench.tasks.coco import CocoTask\n")
    before = _hash()
    edit(monkeypatch, "tasks/matches.py")
    assert _hash() != before


BIG = {"preset": "clean-cityscapes"}
CODE = """
\"\"\"Says what it is.\"\"\"
from toy import shared
LIMIT = 3
\"\"\"Most of them.\"\"\"


def run(x, factor=2.0):
    \"\"\"Return more.\"\"\"
    return x * factor + LIMIT
"""


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ("    return x", "    # a comment\n    return x", False),
        ("Return more.", "Return a product.", False),
        ("Says what it is.", "Says nothing.", False),
        ("Most of them.", "All of them.", False),
        ("x * factor + LIMIT", "(\n        x * factor\n    ) + LIMIT", False),
        ("LIMIT = 3", "LIMIT = 4", True),
        ("factor=2.0", "factor=2.5", True),
        ("x * factor", "x / factor", True),
        ("    return x", "    print('text')\n    return x", True),
    ],
)
def test_only_what_code_does_counts(package: Path, old: str, new: str, changes: bool) -> None:
    assert old in CODE
    (package / "stage" / "run.py").write_text(CODE)
    before = _hash()
    (package / "stage" / "run.py").write_text(CODE.replace(old, new))
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


def test_the_code_of_a_variant_is_that_of_its_fallback_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """People on whom the generator fails are masked out: another mask_out makes another variant."""
    plan = Plan(DEFAULT, Path(__file__).parents[1])
    before = {variant: plan.method_code(variant) for variant in DEFAULT["variants"]}
    meaning = provenance._meaning
    monkeypatch.setattr(
        provenance, "_meaning", lambda path: meaning(path) + (b"edited" if path.name == "mask_out.py" else b"")
    )
    after = {variant: plan.method_code(variant) for variant in DEFAULT["variants"]}
    assert [v for v in before if before[v] != after[v]] == ["face-mask_out", "face-gan", "body-mask_out", "body-gan"]


def test_a_trainer_s_code_is_not_another_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """An edit of detectron2's settings retrains no model of torchvision's; one of what both share retrains both."""
    models = {name: {"preset": "cpu-small"} if name == "torchvision" else BIG for name in ("torchvision", "detectron2")}
    plan = Plan({**DEFAULT, "models": models}, Path(__file__).parents[1])
    before = {name: plan.trainer_code(name) for name in models}
    meaning = provenance._meaning
    edits = {"detectron2.py": ["detectron2"], "torchvision.py": ["torchvision"], "rcnn.py": [*models]}
    for file, changed in edits.items():
        monkeypatch.setattr(
            provenance, "_meaning", lambda path, file=file: meaning(path) + (b"edited" if path.name == file else b"")
        )
        assert [name for name in models if plan.trainer_code(name) != before[name]] == changed


def test_reading_a_study_loads_no_torch() -> None:
    """It takes seconds to import, and every start of Snakemake and every command line reads one."""
    code = (
        "import sys; from anonbench import config; config.load('config/larger-models.yaml')\n"
        "assert not {'torch', 'detectron2', 'torchvision'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])


def modules(*names: str) -> set[str]:
    """Return the modules that `code_hash` reads for some modules."""
    found, todo = set(names), list(names)
    while todo:
        new = provenance._imports(todo.pop()) - found
        found |= new
        todo += new
    return found


def test_joining_and_writing_are_code_of_their_own() -> None:
    assert "anonbench.anonymize.merge" not in modules("anonbench.anonymize.shard")
    assert "anonbench.anonymize.shard" not in modules("anonbench.anonymize.merge")


def test_fitting_does_not_hang_on_how_variants_are_written() -> None:
    """An edited progress bar of a shard, or the engine's order of work, fits no generator anew."""
    fitting = modules("anonbench.anonymize.fitting", "anonbench.anonymize.methods.gan")
    assert {"anonbench.crops", "anonbench.people", "anonbench.anonymize.gan.training"} <= fitting
    assert not fitting & {
        "anonbench.anonymize.engine", "anonbench.anonymize.merge", "anonbench.anonymize.shard", "anonbench.manifests",
        "anonbench.workers",
    }  # fmt: skip


def test_an_edited_shard_fits_nothing_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan(DEFAULT, Path(__file__).parents[1])
    before = plan.fit_code("gan"), plan.method_code("body-gan")
    meaning = provenance._meaning
    monkeypatch.setattr(
        provenance, "_meaning", lambda path: meaning(path) + (b"edited" if path.name == "shard.py" else b"")
    )
    after = plan.fit_code("gan"), plan.method_code("body-gan")
    assert before[0] == after[0]
    assert before[1] != after[1]
