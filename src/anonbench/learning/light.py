"""Importing torchvision without PyTorch's compiler, which takes a second to import and which nothing here uses."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

COMPILER = "torch._dynamo"


def import_torchvision() -> None:
    """Import torchvision; the compiler is imported when its pooling first asks for it, as it does on some GPUs.

    torchvision's module of pooling imports the compiler for one function, so a function of the same name that asks that
    one stands in for it while torchvision is imported. Whatever else is asked of the compiler then, imports it.
    """
    if "torchvision" in sys.modules or COMPILER in sys.modules:
        return
    package, utilities = ModuleType(COMPILER), ModuleType(f"{COMPILER}.utils")
    standing_in = {module.__name__: module for module in (package, utilities)}

    def leave() -> None:
        for name, module in standing_in.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]

    def real(module: str) -> Callable[[str], Any]:
        def get(name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            leave()
            return getattr(importlib.import_module(module), name)

        return get

    vars(package).update(__path__=[], __getattr__=real(package.__name__))
    vars(utilities).update(is_compile_supported=_is_compile_supported, __getattr__=real(utilities.__name__))
    sys.modules.update(standing_in)
    try:
        importlib.import_module("torchvision")
    finally:
        leave()


def _is_compile_supported(device_type: str) -> bool:
    return bool(importlib.import_module(f"{COMPILER}.utils").is_compile_supported(device_type))
