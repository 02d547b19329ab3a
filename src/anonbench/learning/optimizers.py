"""PyTorch's optimisers, without its compiler, which each of them imports for a second and which nothing here uses."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch


class _Eager(torch.optim.Optimizer):
    """An optimiser whose functions are PyTorch's own, without what exempts them from being compiled.

    PyTorch wraps them to tell its compiler, which it imports for that, to leave them alone or to break its graph there;
    nothing here is compiled.
    """

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return _bare(super().step)(self, closure)

    def zero_grad(self, set_to_none: bool = True) -> None:
        _bare(super().zero_grad)(self, set_to_none)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        _bare(super().add_param_group)(self, param_group)

    def state_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = _bare(super().state_dict)(self)
        return found

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        _bare(super().load_state_dict)(self, state_dict)


def _bare(method: Any) -> Callable[..., Any]:
    """Return the function of a method of PyTorch's without its wrappers; those of a later PyTorch may have none."""
    return inspect.unwrap(method.__func__)


class SGD(_Eager, torch.optim.SGD):
    """`torch.optim.SGD`."""


class Adam(_Eager, torch.optim.Adam):
    """`torch.optim.Adam`."""


class AdamW(_Eager, torch.optim.AdamW):
    """`torch.optim.AdamW`."""
