"""One training in several processes: who this process is, how they are started, and what they agree on."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from anonbench.errors import AnonbenchError
from anonbench.files import write_text

Launcher = Callable[[Callable[..., None], int, tuple[Any, ...]], None]
"""Calls a function with the arguments in each of so many processes, which form a group, and waits for them."""


@dataclass(frozen=True, slots=True)
class Place:
    """Which process of the group this one is, from 0, and of how many."""

    rank: int = 0
    size: int = 1


def place() -> Place:
    """Return this process's place; (0, 1) where there is no group."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return Place()
    return Place(distributed.get_rank(), distributed.get_world_size())


def from_torchrun() -> bool:
    """Tell whether torchrun started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "LOCAL_RANK" in os.environ


def join(device: torch.device) -> None:
    """Join the group that torchrun describes in the environment: nccl on GPUs, gloo on processors."""
    if distributed.is_initialized():
        return
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")


def leave() -> None:
    """Leave the group, if there is one."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def own_device(device: torch.device) -> torch.device:
    """Return the device of this process: of several GPUs, the one that was set for it."""
    return torch.device("cuda", torch.cuda.current_device()) if device.type == "cuda" else device


def mean(values: dict[str, float], device: torch.device) -> dict[str, float]:
    """Return each value's mean over the processes of the group."""
    group = place()
    if group.size == 1:
        return values
    total = torch.tensor(list(values.values()), dtype=torch.float64, device=device)
    distributed.all_reduce(total)
    return dict(zip(values, (total / group.size).tolist(), strict=True))


def agree(failed: bool, device: torch.device) -> bool:
    """Tell whether any process of the group failed; every one must ask at the same time."""
    if place().size == 1:
        return failed
    flag = torch.tensor([float(failed)], device=device)
    distributed.all_reduce(flag, op=distributed.ReduceOp.MAX)
    return bool(flag.item())


def torchrun(function: Callable[..., None], processes: int, arguments: tuple[Any, ...]) -> None:
    """Do what the command torchrun does, for a function on this machine."""
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=processes, rdzv_backend="c10d", rdzv_endpoint="localhost:0",
        run_id=f"anonbench-{os.getpid()}", max_restarts=0, monitor_interval=0.5,
    )  # fmt: skip
    elastic_launch(config, function)(*arguments)


def launch(
    launcher: Launcher, function: Callable[..., None], processes: int, device: torch.device, *arguments: Any
) -> None:
    """Call ``function(*arguments)`` in ``processes`` processes; a user's error in one of them is raised here."""
    if device.type == "cuda" and torch.cuda.device_count() < processes:
        here = torch.cuda.device_count()
        raise AnonbenchError(
            f"{processes} GPUs are asked for, and {here} {'is' if here == 1 else 'are'} here",
            entry=f"--processes {processes}",
            remedy="ask for as many processes as there are GPUs",
        )
    with tempfile.TemporaryDirectory(prefix="anonbench-") as folder:
        try:
            launcher(_guarded, processes, (folder, function, device.type, arguments))
        except Exception as error:
            said = sorted(Path(folder).glob("*.txt"))
            if said:
                raise AnonbenchError(said[0].read_text()) from None
            raise AnonbenchError(
                f"a process of the training ended ({type(error).__name__}: {str(error).strip()[:300]})"
            ) from error


def _guarded(folder: str, function: Callable[..., None], device: str, arguments: tuple[Any, ...]) -> None:
    """Run in a child: join the group if nobody has, call, and leave a user's error where the parent finds it."""
    try:
        join(torch.device(device))
        function(*arguments)
    except AnonbenchError as error:
        write_text(Path(folder) / f"{place().rank}.txt", str(error))
        raise SystemExit(2) from None  # the parent says why
    finally:
        leave()
