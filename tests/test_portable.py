"""The same bytes on every x86-64 processor with AVX2; benchmarks/portable.py shows it for emulated ones."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from anonbench import portable
from anonbench.errors import AnonbenchError

ROOT = Path(__file__).parents[1]
x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="other processors make other numbers")


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own, without this one's settings."""
    own = {*portable.TORCH, "NPY_DISABLE_CPU_FEATURES", "OPENCV_CPU_DISABLE", "OPENCV_IPP", "OPENBLAS_CORETYPE"}
    rest = {name: value for name, value in os.environ.items() if name not in own}
    return subprocess.run(
        [sys.executable, "-c", code], env={**rest, **environment}, capture_output=True, text=True, check=False
    )


@x86
def test_every_kind_of_job_makes_the_committed_bytes() -> None:
    """Fails on the first machine that makes others; `python benchmarks/portable.py --write` after a wanted change."""
    command = [sys.executable, str(ROOT / "benchmarks" / "portable.py"), "--one"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    expected: dict[str, str] = json.loads((ROOT / "tests" / "portable.json").read_text())
    found = dict(json.loads(line) for line in done.stdout.splitlines())
    assert [job for job in expected if found[job] != expected[job]] == []
    assert found.keys() == expected.keys()


@x86
def test_the_command_line_holds_the_libraries_before_it_loads_one() -> None:
    code = (
        "import sys, anonbench.cli as cli\n"
        "from anonbench import portable\n"
        "assert not {'numpy', 'cv2', 'torch'} & sys.modules.keys(), 'loaded too early'\n"
        "sys.argv = ['anonbench', '--version']\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        "import cv2, torch\n"
        "portable.require()\n"
        "print(torch.backends.cpu.get_cpu_capability(), '*AVX512' in cv2.getCPUFeaturesLine().replace('SKX?', ''),"
        " cv2.ipp.getIppVersion())"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("AVX2")
    assert "AVX-512" not in done.stdout


@x86
def test_a_torch_that_was_loaded_first_is_refused() -> None:
    code = "import torch\nfrom anonbench import portable\nportable.settle()\nportable.require('determinism: portable')"
    done = python(code)
    assert "determinism: portable: PyTorch was loaded before it was held to AVX2; run the command line" in done.stderr


@x86
def test_other_levels_get_the_whole_processor_back() -> None:
    code = (
        "import os\nfrom anonbench import portable\n"
        "portable.settle()\nassert portable.in_force()\nportable.release()\nassert not portable.in_force()\n"
        "print({name: os.environ.get(name) for name in portable.TORCH})"
    )
    done = python(code, MKL_CBWR="AUTO")
    assert done.stdout.strip() == str({"ATEN_CPU_CAPABILITY": None, "ONEDNN_MAX_CPU_ISA": None, "MKL_CBWR": "AUTO"})


def test_a_processor_without_avx2_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2

    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(cv2, "checkHardwareSupport", lambda feature: feature != 11)
    with pytest.raises(AnonbenchError, match=r"has no AVX2; use determinism: strict"):
        portable.require()


def test_a_processor_of_another_family_is_refused_and_strict_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert portable.level() == "strict"
    with pytest.raises(AnonbenchError, match=r"arm64, not x86-64; use determinism: strict"):
        portable.require()


def test_the_system_that_says_that_avx2_is_missing_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise torch would stop at its first instruction, before anything could be said."""
    texts: dict[str, Any] = {"/proc/cpuinfo": "processor : 0\nflags\t\t: fpu sse4_2 avx\nbugs :\n"}
    monkeypatch.setattr(Path, "read_text", lambda self, *_, **__: texts[str(self)])
    assert not portable._may_have({"avx2"})
    texts["/proc/cpuinfo"] = "flags : fpu avx avx2\n"
    assert portable._may_have({"avx2"})


def test_opencv_is_not_told_to_leave_out_what_the_processor_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    # it says so on standard error, at the start of every command
    texts = {"/proc/cpuinfo": "flags : fpu avx avx2 avx512f avx512cd\n"}
    read = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda self, *a, **k: texts.get(str(self)) or read(self, *a, **k))
    assert "OPENCV_CPU_DISABLE" not in portable._others()
    texts["/proc/cpuinfo"] = "flags : fpu avx avx2 avx512f avx512cd avx512bw avx512dq avx512vl\n"
    assert portable._others()["OPENCV_CPU_DISABLE"] == "AVX512-SKX"


@x86
def test_nothing_is_said_of_the_processor_on_this_machine() -> None:
    done = python("from anonbench import portable\nportable.settle()\nimport cv2, numpy, torch")
    assert (done.stdout, done.stderr) == ("", "")


@x86
def test_the_tests_themselves_run_so() -> None:
    portable.require()
    assert torch.backends.cpu.get_cpu_capability() == "AVX2"


@x86
def test_square_roots_are_rounded_correctly_and_not_as_the_processor_s_maker_chose() -> None:
    """MKL's starts from the processor's approximation of 1/sqrt(x), which differs between makers."""
    portable.require()
    x = torch.linspace(1e-3, 30, 10_001)
    exact = np.sqrt(x.numpy())
    assert (torch.sqrt(x).numpy() == exact).all()
    assert (x.clone().sqrt_().numpy() == exact).all()
    out = torch.empty(0)
    torch.sqrt(x, out=out)
    assert (out.numpy() == exact).all()
    strided = x[:10_000].view(100, 100).T
    assert torch.sqrt(strided).stride() == strided.stride()
    assert (torch.sqrt(strided).numpy() == np.sqrt(strided.numpy())).all()
    assert torch.sqrt(torch.tensor(4)).item() == 2.0
    assert torch.sqrt(torch.tensor(2.0, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert torch.sqrt(torch.tensor(-1.0)).isnan()
    for name, numpy_name in (("acos", "arccos"), ("asin", "arcsin"), ("atan", "arctan")):
        y = torch.linspace(-1, 1, 101)
        assert (getattr(torch, name)(y).numpy() == getattr(np, numpy_name)(y.numpy())).all()


@x86
def test_gradients_flow_through_what_was_replaced() -> None:
    portable.require()
    x = torch.tensor([4.0, 9.0], requires_grad=True)
    torch.sqrt(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == pytest.approx([0.25, 1 / 6])
    with torch.inference_mode():
        assert torch.sqrt(torch.tensor([4.0])).item() == 2.0
