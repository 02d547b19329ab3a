"""The code hash sees what a rule runs and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from anonbench import provenance
from anonbench.errors import AnonbenchError
from anonbench.studies import DEFAULT
from anonbench.workflow import fingerprints
from anonbench.workflow.plan import Plan

ROOT = Path(__file__).parents[1]


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
        lambda path: meaning(path) + (b"edited" if path.as_posix().endswith(f"/anonbench/{file}") else b""),
    )


@pytest.mark.parametrize(
    ("edited", "changes"),
    [("stage/run.py", True), ("stage/near.py", True), ("shared.py", True), ("plot.py", False)],
)
def test_only_imported_modules_count(package: Path, edited: str, changes: bool) -> None:
    before = _hash()
    (package / edited).write_text((package / edited).read_text() + "\nedited = 1\n")
    assert (_hash() != before) == changes


@pytest.mark.parametrize("name", ["page.html", "page.css", "page.js"])
def test_a_changed_template_of_the_page_writes_it_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    shutil.copytree(ROOT / "src/anonbench/report/page", tmp_path / "page")
    monkeypatch.setattr(fingerprints.report, "__file__", str(tmp_path / "__init__.py"))
    plan = Plan(DEFAULT, ROOT)
    before = codes(plan)
    (tmp_path / "page" / name).write_text("other")
    assert [rule for rule, code in codes(plan).items() if code != before[rule]] == ["html"]


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


def _kept(package: Path) -> Path:
    (found,) = (package / "stage" / "__pycache__").glob("run.*.meaning")
    return found


def test_what_was_read_is_kept_and_read_again(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    before = _hash()
    kept = _kept(package)
    monkeypatch.setattr(provenance, "_described", lambda text: pytest.fail("a module was read twice"))
    assert _hash() == before
    whole = kept.read_bytes()
    monkeypatch.undo()
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    for damaged in (b"", whole[:-1], whole[:70], whole[:-1] + bytes([whole[-1] ^ 1]), b"0" + whole[1:]):
        kept.write_bytes(damaged)
        assert _hash() == before
        assert kept.read_bytes() == whole


def test_a_kept_text_is_not_another_text_s(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    before = _hash()
    (package / "stage" / "run.py").write_text("from toy import shared\nfrom . import near\nLIMIT = 3\n")
    assert _hash() != before


def test_nothing_is_kept_where_python_keeps_nothing(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = _hash()
    assert not list(package.rglob("*.meaning"))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(provenance, "write_bytes", _refuses)
    assert _hash() == before


def _refuses(path: Path, data: bytes) -> None:
    raise AnonbenchError("cannot be written", file=path)


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
    plan = Plan(DEFAULT, ROOT)
    before = {variant: plan.fingerprints.method_code(variant) for variant in DEFAULT["variants"]}
    edit(monkeypatch, "anonymize/methods/mask_out.py")
    plan = Plan(DEFAULT, ROOT)
    after = {variant: plan.fingerprints.method_code(variant) for variant in DEFAULT["variants"]}
    assert [v for v in before if before[v] != after[v]] == ["face-mask_out", "face-gan", "body-mask_out", "body-gan"]


@pytest.mark.parametrize(
    ("file", "changed"),
    [
        ("train/detectron2.py", ["detectron2"]),
        ("train/torchvision.py", ["torchvision"]),
        ("train/rcnn.py", ["torchvision", "detectron2"]),
    ],
)
def test_a_trainer_s_code_is_not_another_s(monkeypatch: pytest.MonkeyPatch, file: str, changed: list[str]) -> None:
    """An edit of detectron2's settings retrains no model of torchvision's; one of what both share retrains both."""
    models = {name: {"preset": "cpu-small"} if name == "torchvision" else BIG for name in ("torchvision", "detectron2")}
    plan = Plan({**DEFAULT, "models": models}, ROOT)
    before = {name: plan.fingerprints.trainer_code(name) for name in models}
    edit(monkeypatch, file)
    plan = Plan({**DEFAULT, "models": models}, ROOT)
    assert [name for name in models if plan.fingerprints.trainer_code(name) != before[name]] == changed


def codes(plan: Plan) -> dict[str, str]:
    """Return the hashes of code that rules name; `anonymize` is that of body-gan, `blur` that of body-blur-medium."""
    model = next(iter(plan.study.models))
    return {
        "download": provenance.code_hash("anonbench.download.fetch"),
        "annotate": provenance.code_hash("anonbench.annotate.people"),
        "regions": provenance.code_hash("anonbench.annotate.choose"),
        "fit": plan.fingerprints.fit_code("gan"),
        "anonymize": plan.fingerprints.method_code("body-gan"),
        "blur": plan.fingerprints.method_code("body-blur-medium"),
        "merge": provenance.code_hash("anonbench.anonymize.merge"),
        "train": plan.fingerprints.trainer_code(model),
        "predict": plan.fingerprints.prediction_code(model),
        "evaluate": plan.fingerprints.evaluation_code(model),
        "tables": plan.fingerprints.report_code("tables", "collect"),
        "figures": plan.fingerprints.report_code("figures"),
        "html": plan.fingerprints.report_code("html"),
    }


REPORT = ["tables", "figures", "html"]


@pytest.mark.parametrize(
    ("file", "rules"),
    [
        # what is asked and how it is scored fits no network anew
        ("tasks/base.py", ["predict", "evaluate", *REPORT]),
        ("tasks/detection.py", ["predict", "evaluate", *REPORT]),
        ("tasks/matches.py", ["predict", "evaluate", *REPORT]),
        # a detection as trainers write it
        ("tasks/detections.py", ["train", "predict", "evaluate", *REPORT]),
        ("evaluate/inputs.py", ["evaluate"]),
        ("report/impact.py", REPORT),
        ("statistics/contrasts.py", REPORT),
        ("report/html.py", ["html"]),
        ("report/page/__init__.py", ["html"]),
        ("train/training.py", ["train"]),
        ("train/prediction.py", ["predict"]),
        ("learning/loop.py", ["fit", "anonymize", "train", "predict"]),
        ("learning/supervised.py", ["train", "predict"]),
        ("anonymize/engine.py", ["anonymize", "blur"]),
        ("anonymize/shard.py", ["anonymize", "blur"]),
        ("anonymize/gan/training.py", ["fit", "anonymize"]),
        ("people.py", ["fit", "anonymize", "blur"]),
        ("crops.py", ["fit", "anonymize", "blur", "merge"]),
        ("manifests.py", ["anonymize", "blur", "merge", "train", "predict", "evaluate", *REPORT]),
        ("annotate/clips.py", ["annotate"]),
        ("config.py", []),
        ("cli.py", []),
        ("download/cli.py", []),
        ("evaluate/cli.py", []),
    ],
)
def test_an_edit_reruns_the_rules_that_use_it(monkeypatch: pytest.MonkeyPatch, file: str, rules: list[str]) -> None:
    assert (ROOT / "src" / "anonbench" / file).is_file()
    plan = Plan(DEFAULT, ROOT)
    before = codes(plan)
    edit(monkeypatch, file)
    plan = Plan(DEFAULT, ROOT)
    assert [rule for rule, code in codes(plan).items() if code != before[rule]] == rules


def test_reading_a_study_loads_no_torch() -> None:
    """It takes seconds to import, and every start of Snakemake and every command line reads one."""
    code = (
        "import sys; from anonbench import config; config.load('config/larger-models.yaml')\n"
        "assert not {'torch', 'detectron2', 'torchvision'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


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


def test_what_a_run_rewrites_is_no_change_of_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files = [tmp_path / name for name in ("results/tables/impact.csv", "dvc.lock", "config/default.yaml")]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("before")
    author = ["-c", "user.name=nobody", "-c", "user.email=nobody@localhost"]
    for command in (["init", "-q"], ["add", "."], [*author, "commit", "-q", "-m", "all"]):
        subprocess.run(["git", *command], check=True)
    for file in files[:-1]:
        file.write_text("after")
    (tmp_path / "note").write_text("not tracked")
    monkeypatch.chdir(tmp_path / "config")
    assert provenance.commit()[1] is False
    files[-1].write_text("after")
    assert provenance.commit()[1] is True
