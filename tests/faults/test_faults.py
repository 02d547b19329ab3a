"""A few faults of every kind for the stages that write most; `tests.faults.run` has hundreds, for all of them."""

from __future__ import annotations

import random
import re
import shutil
from pathlib import Path

import pytest

from tests.faults import faults
from tests.faults.faults import Fault
from tests.faults.stages import JOBS, SHORT, Bench, Stage, every

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not faults.can_compile(), reason="no C compiler (cc) for the library that makes calls fail"),
]

TAKEN = {
    "anonymize": ("killed at a call", "disk full", "two at once"),
    "train": ("half a write, killed", "I/O error", "cut short"),
    "evaluate": ("quota, file size", "clock jumps", "cannot be read"),
    "apply": ("killed at a moment", "no permission", "killed at a call"),
    "export": ("killed at a call", "disk full", "cut short"),
    "decode": ("killed at a call", "quota, file size", "two at once"),
}
"""Every kind of fault once but the flipped bit, which is counted apart, and of those that kill one more."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("faults"), SHORT, (JOBS["evaluate"],))


@pytest.mark.parametrize("name", TAKEN)
def test_a_stage_takes_faults(bench: Bench, name: str, tmp_path: Path) -> None:
    stage = bench.stage(name)
    assert {"open", "write", "rename"} <= {*stage.calls}, "the shim sees no writing"
    assert stage.reads
    faults_of = {fault.kind: fault for fault in every(stage, 1, random.Random(name))}
    for kind in TAKEN[name]:
        outcome = stage.take(faults_of[kind], tmp_path / "work")
        assert outcome.wrong is None, f"{outcome.fault}: {outcome.wrong}\n{outcome.said}"
        assert outcome.happened or kind == "killed at a moment"


# --- the harness itself: what a stage must not do is found


@pytest.fixture
def naive(tmp_path: Path) -> Stage:
    """Return a stage that copies a file in place, in two writes, believes what it finds, and shows its inside."""
    (before := tmp_path / "before").mkdir()
    (before / "in.txt").write_text("0123456789" * 10)
    (before / "mine.txt").write_text("mine")
    body = "\n".join(
        [
            "import os",
            "if not os.path.exists('out.txt'):",
            "    data = open('in.txt', 'rb').read()",
            "    with open('out.txt', 'wb', buffering=0) as stream:",
            "        stream.write(data[:50])",
            "        stream.write(data[50:])",
        ]
    )
    stage = Stage("naive", ["python", "-IS", "-c", body], before)
    done = stage.fresh(tmp_path / "after")
    assert faults.run(stage.words, done)[0].status == 0
    stage.after, stage.written = faults.tree(done), {"out.txt"}
    return stage


@pytest.mark.parametrize(
    ("fault", "wrong"),
    [
        (faults.at_call("killed", "kill", 2, "write"), "out.txt is there and not whole"),
        (faults.at_call("torn", "torn", 1, "write"), "out.txt is there and not whole"),
        (faults.at_call("full", faults.FULL, 2, "write"), "no sentence: .*No space left"),
        (faults.at_call("refused", faults.REFUSED, 1, "open"), "no sentence: .*Permission denied"),
        (faults.at_call("unreadable", faults.BROKEN, 1, "read"), "no sentence: .*Input/output error"),
        (Fault("cut", damage=("in.txt", "cut", 50)), "was believed: out.txt differs"),
        (Fault("flipped", damage=("in.txt", "flip", 99)), "was believed: out.txt differs"),
        (faults.at_call("late kill", "kill", 3, "write"), None),
    ],
)
def test_a_naive_stage_is_found_out(naive: Stage, tmp_path: Path, fault: Fault, wrong: str | None) -> None:
    outcome = naive.take(fault, tmp_path / "work")
    found = outcome.wrong
    assert outcome.happened == (str(fault.kind) != "late kill")
    assert found is None if wrong is None else re.search(wrong, str(found)), found


def test_whoever_touches_a_file_of_the_user_is_found_out(naive: Stage, tmp_path: Path) -> None:
    naive.words[-1] += "\nopen('mine.txt', 'a').write('!')"
    assert naive.take(Fault("none"), tmp_path / "work").wrong == "mine.txt was touched"
    shutil.rmtree(tmp_path / "work")
