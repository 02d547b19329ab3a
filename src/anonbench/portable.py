"""The same numbers on every x86-64 processor with AVX2: how much of a processor the libraries may use.

How a sum of floating-point numbers is rounded depends on how many of them a kernel adds at a time, and PyTorch, oneDNN,
MKL, NumPy, OpenBLAS and OpenCV each choose their kernels by the processor that they find. Environment variables hold
them to those that every processor with AVX2 and FMA has. Each library reads its own when it is loaded or first used, so
`settle` comes before all of them; the command line calls it before anything else.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Set
from importlib.metadata import version
from pathlib import Path
from typing import Any

from anonbench.errors import AnonbenchError

TORCH = {
    "ATEN_CPU_CAPABILITY": "avx2",  # PyTorch's own kernels
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # convolutions
    "MKL_CBWR": "COMPATIBLE",  # matrix products; MKL ignores AVX2 here on a processor that is not Intel's
}
"""What PyTorch and its libraries read."""

_NUMPY = ("X86_V4", "AVX512_ICL", "AVX512_SPR")
_NUMPY_BEFORE_2_4 = ("AVX512F", "AVX512CD", "AVX512_SKX", "AVX512_CLX", "AVX512_CNL", "AVX512_ICL", "AVX512_SPR")
_AVX2_AND_FMA = (11, 12)
"""OpenCV's numbers of the two (CV_CPU_AVX2, CV_CPU_FMA3), which its Python module has no names for."""
_AVX512_OF_OPENCV = frozenset(("avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"))
"""What OpenCV calls AVX512-SKX, as the system names it."""
_before: dict[str, str | None] = {}
_late = False


def _others() -> dict[str, str]:
    """Return what NumPy, SciPy and OpenCV read."""
    new = tuple(int(part) for part in version("numpy").split(".")[:2]) >= (2, 4)
    settings = {"NPY_DISABLE_CPU_FEATURES": " ".join(_NUMPY if new else _NUMPY_BEFORE_2_4), "OPENCV_IPP": "avx2"}
    if _may_have(_AVX512_OF_OPENCV):  # it complains on every start about what it cannot disable
        settings["OPENCV_CPU_DISABLE"] = "AVX512-SKX"
    return settings


def settle() -> None:
    """Hold all libraries that are not loaded yet to what every x86-64 processor with AVX2 has.

    Elsewhere than on x86-64 there is nothing to hold, and nothing happens.
    """
    global _late
    if not _x86():
        return
    if "torch" in sys.modules and not in_force():
        _late = True
    # PyTorch takes the word of its variable for it and would stop at the first instruction that is not there
    for name, value in {**(TORCH if _may_have({"avx2"}) else {}), **_others()}.items():
        _before.setdefault(name, os.environ.get(name))
        os.environ[name] = value
    # a machine whose owner chose a core for OpenBLAS has a reason; only k-means (SciPy) uses it, for distances
    os.environ.setdefault("OPENBLAS_CORETYPE", "Haswell")


def release() -> None:
    """Let PyTorch use all that the processor has, as it was before `settle`; for other levels of determinism."""
    for name in TORCH:
        old = _before.get(name)
        if old is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = old


def release_for(wanted: str) -> None:
    """Do what `release` does for a level that is asked for and is neither `portable` nor `auto`, which may be that."""
    if wanted in ("strict", "seeded"):
        release()


def in_force() -> bool:
    """Tell whether PyTorch was, or will be, loaded under the settings of `settle`."""
    return not _late and all(os.environ.get(name) == value for name, value in TORCH.items())


def level(
    wanted: str = "auto", device: str = "cpu", *, entry: str = "determinism: portable", gpu: str = "strict"
) -> str:
    """Return the level of determinism (portable, strict, seeded) that ``wanted`` is on a device, ``cpu`` or ``cuda``.

    ``auto`` is portable on x86-64 processors, strict on others and ``gpu`` on GPUs. Raises AnonbenchError (naming
    ``entry``) for portable on a GPU.
    """
    if wanted == "portable" and device != "cpu":
        raise AnonbenchError(
            "no two kinds of GPU give the same bytes", entry=entry, remedy="use strict, or run with --device cpu"
        )
    if wanted != "auto":
        return wanted
    if device != "cpu":
        return gpu
    return "portable" if _x86() else "strict"


def require_here(entry: str) -> None:
    """Do what `require` does, for a job that has no other level, where processors make the same bytes at all."""
    if _x86():
        require(entry, remedy="run it on a processor with AVX2, or on a GPU")


def python() -> str:
    """Return Python's version as far as it moves a number: the third part is the machine's, not the lock's."""
    return ".".join(platform.python_version_tuple()[:2])


def processor() -> str:
    """Return what of the processor a portable result depends on."""
    return "x86-64 with AVX2"


def require(
    entry: str = "determinism: portable", remedy: str = "use determinism: strict, whose numbers repeat on this machine"
) -> None:
    """Raise AnonbenchError unless PyTorch is held as `settle` holds it, on a processor with AVX2."""
    if not _x86():
        raise AnonbenchError(f"this processor is {platform.machine()}, not x86-64", entry=entry, remedy=remedy)
    import cv2

    if not all(cv2.checkHardwareSupport(feature) for feature in _AVX2_AND_FMA):
        raise AnonbenchError("this processor has no AVX2", entry=entry, remedy=remedy)
    if not in_force():
        raise AnonbenchError(
            "PyTorch was loaded before it was held to AVX2",
            entry=entry,
            remedy=f"run the command line, call anonbench.portable.settle() before importing torch, or {remedy}",
        )
    _replace_approximations()


def _may_have(features: Set[str]) -> bool:
    """Tell whether the system does not say that the processor lacks one of ``features``; no library is loaded."""
    try:
        flags = Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split()
    except OSError:
        return True
    return not flags or features <= set(flags)


def _x86() -> bool:
    return platform.machine().lower() in ("x86_64", "amd64")


# MKL takes these from the processor's approximations of 1/x and 1/sqrt(x) (RCPPS, RSQRTPS), whose digits each maker of
# processors chooses for itself; NumPy's square root is rounded correctly, and its arcs are polynomials.
_APPROXIMATED = {"sqrt": "sqrt", "acos": "arccos", "asin": "arcsin", "atan": "arctan"}
_library: Any = None


def _replace_approximations() -> None:
    """Give PyTorch NumPy's functions, once in a process, where MKL's differ between makers of processors."""
    global _library
    if _library is not None:
        return
    import torch

    _library = torch.library.Library("aten", "IMPL")
    for name, numpy_name in _APPROXIMATED.items():
        new, into, in_place = _kernels(numpy_name)
        _library.impl(name, new, "CPU", allow_override=True)
        _library.impl(f"{name}.out", into, "CPU", allow_override=True)
        _library.impl(f"{name}_", in_place, "CPU", allow_override=True)


def _kernels(name: str) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """Return a function of NumPy as torch's three kernels: of a new tensor, into a given one, in place."""
    import numpy as np
    import torch

    function = getattr(np, name)
    narrow = (torch.float16, torch.bfloat16)

    def new(x: torch.Tensor) -> torch.Tensor:
        if not (x.is_floating_point() or x.is_complex()):
            x = x.to(torch.get_default_dtype())
        if x.dtype in narrow:
            return new(x.float()).to(x.dtype)
        result = torch.empty_like(x)
        with np.errstate(invalid="ignore"):
            function(x.detach().resolve_conj().resolve_neg().numpy(), out=result.numpy())
        return result

    def into(x: torch.Tensor, *, out: torch.Tensor) -> torch.Tensor:
        return out.resize_(x.shape).copy_(new(x))

    def in_place(x: torch.Tensor) -> torch.Tensor:
        return x.copy_(new(x))

    return new, into, in_place
