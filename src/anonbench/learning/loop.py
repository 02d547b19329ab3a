"""The training loop: batches by number, learning rates, the curve, checkpoints; whatever it is that learns.

Everything random is a function of a seed and the iteration's number (never of what was drawn before), so a training
that continues from a checkpoint makes the same steps as one that was never interrupted.
"""

from __future__ import annotations

import contextlib
import importlib.util
import math
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeGuard, TypeVar

import torch
from torch import nn
from tqdm import tqdm

from anonbench.errors import AnonbenchError, first_line
from anonbench.learning import distributed, memory
from anonbench.learning.files import read_checkpoint, saving

Batch = TypeVar("Batch")
CURVE_POINTS = 100
LEAST_SCALE = 2.0**-14
"""Below it a loss that is scaled for fp16 says nothing: gradients are not finite at any scale."""


class Learner(ABC, Generic[Batch]):
    """What `run` drives: one or several networks with their optimisers, and one step of them all.

    ``name`` is shown before the progress bar; ``iterations`` is the length of the training, ``checkpoint_every`` the
    iterations between two checkpoints, ``device`` where it runs.
    """

    name: str
    iterations: int
    checkpoint_every: int
    device: torch.device

    @abstractmethod
    def parts(self) -> dict[str, Any]:
        """Return all that changes in a training and has a ``state_dict``, by name: what a checkpoint holds."""

    @abstractmethod
    def rates(self, iteration: int) -> Sequence[tuple[torch.optim.Optimizer, float]]:
        """Return the optimisers with their learning rates in an iteration (0-based)."""

    @abstractmethod
    def batches(self, first: int) -> Generator[Batch, None, None]:
        """Yield the batches of the iterations from ``first`` on, each whatever came before."""

    @abstractmethod
    def step(self, batch: Batch, iteration: int) -> dict[str, float]:
        """Take one step of the optimisers; return the loss terms before it.

        Raises AnonbenchError where one is not finite (see `finite`).
        """

    @abstractmethod
    def size(self, batch: Batch) -> int:
        """Return how many samples a batch has, in all processes of the group."""

    @abstractmethod
    def out_of_memory(self, batch: Batch, iteration: int) -> AnonbenchError:
        """Say what is worth a try after a step that had too little memory (see `memory.advice`)."""

    def begin(self) -> None:
        """Called once before the first step, when a checkpoint was read."""

    def facts(self, iteration: int) -> dict[str, float]:
        """Return what a point of the curve has beside the losses."""
        return {}

    def shown(self, losses: dict[str, float], iteration: int) -> dict[str, str]:
        """Return what is shown after the progress bar."""
        return {name: f"{value:.3f}" for name, value in losses.items()}

    def done(self, iteration: int) -> None:
        """Called after each step and its checkpoint with the number of iterations that are done."""


@dataclass(slots=True)
class Progress:
    """How far a training is: iterations done, the curve so far and the sums of the loss terms since its last point."""

    iteration: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)

    def add(self, losses: dict[str, float]) -> None:
        """Count an iteration and its losses."""
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.iteration += 1

    def point(self, facts: dict[str, float]) -> dict[str, float]:
        """Add a point to the curve, the means since the one before, and return it."""
        since = self.iteration - (int(self.curve[-1]["iteration"]) if self.curve else 0)
        means = {name: round(value / since, 6) for name, value in self.sums.items()}
        self.curve.append({"iteration": self.iteration, **facts, **means})
        self.sums = {}
        return self.curve[-1]


@dataclass(frozen=True, slots=True)
class Ran:
    """What `run` reports: the loss curve, and how long and on how many samples this process (or its group) worked."""

    curve: list[dict[str, float]]
    iterations: int
    images: int
    seconds: float
    loading_seconds: float


class Events:
    """TensorBoard's event files of a training, where the package ``tensorboard`` is installed; else nothing."""

    def __init__(self, folder: Path | None, first: int) -> None:
        self._writer: Any = None
        if folder is not None and importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            # what a killed run wrote after its last checkpoint is written again
            self._writer = SummaryWriter(str(folder), purge_step=first + 1)

    def add(self, point: dict[str, float]) -> None:
        """Write a point of the loss curve."""
        if self._writer is not None:
            for name, value in point.items():
                if name != "iteration":
                    self._writer.add_scalar(name, value, int(point["iteration"]))

    def close(self) -> None:
        """Write what is still in memory."""
        if self._writer is not None:
            self._writer.close()


def run(learner: Learner[Batch], checkpoint: Path | None, key: str) -> Ran:
    """Train in place.

    ``checkpoint`` is a file that is written every ``learner.checkpoint_every`` iterations and at the end, and read at
    the start if it carries the same ``key`` (`files.key_of`); TensorBoard's files are written beside it, in ``events``.
    In a group of processes all call this, and the first writes. Raises AnonbenchError at a loss that is not finite (the
    checkpoint from before is kept) and when the memory is not enough.
    """
    progress = _resume(learner, checkpoint, key)
    learner.begin()
    total, first = learner.iterations, progress.iteration
    leads = distributed.place().rank == 0
    every = max(1, total // CURVE_POINTS)
    seen, loading, started = 0, 0.0, time.perf_counter()
    upcoming = learner.batches(first)
    events = Events(checkpoint.parent / "events" if checkpoint is not None and leads else None, first)
    bar = tqdm(
        total=total, initial=first, desc=learner.name, unit="it", mininterval=1, file=sys.stderr, disable=not leads
    )
    with contextlib.closing(upcoming), contextlib.closing(events), bar:
        for iteration in range(first, total):
            waited = time.perf_counter()
            batch = next(upcoming)
            loading += time.perf_counter() - waited
            for optimizer, rate in learner.rates(iteration):
                for group in optimizer.param_groups:
                    group["lr"] = rate
            losses = _step(learner, batch, iteration)
            seen += learner.size(batch)
            progress.add(losses)
            last = progress.iteration == total
            if progress.iteration % every == 0 or last:
                events.add(progress.point(learner.facts(iteration)))
            if checkpoint is not None and (progress.iteration % learner.checkpoint_every == 0 or last):
                _save_by_first(checkpoint, key, learner, progress)
            learner.done(progress.iteration)
            bar.update()
            bar.set_postfix(learner.shown(losses, iteration), refresh=False)
    return Ran(progress.curve, total - first, seen, time.perf_counter() - started, loading)


def finite(losses: dict[str, float], iteration: int, *, entry: str, remedy: str) -> dict[str, float]:
    """Return the loss terms of an iteration (0-based); raise AnonbenchError when one is not finite."""
    bad = ", ".join(f"{name} = {value}" for name, value in losses.items() if not math.isfinite(value))
    if bad:
        raise diverged(bad, iteration, entry=entry, remedy=remedy)
    return losses


def diverged(what: str, iteration: int, *, entry: str, remedy: str) -> AnonbenchError:
    """Return the error of a training that diverged in an iteration (0-based)."""
    return AnonbenchError(f"the loss is not finite at iteration {iteration + 1}: {what}", entry=entry, remedy=remedy)


def _step(learner: Learner[Batch], batch: Batch, iteration: int) -> dict[str, float]:
    try:
        return learner.step(batch, iteration)
    except memory.FAILURES as error:
        if not memory.exhausted(error):
            raise
    # outside of the handler, where the failed step has let go of its tensors
    raise learner.out_of_memory(batch, iteration)


def _save_by_first(path: Path, key: str, learner: Learner[Any], progress: Progress) -> None:
    """Save in the first process of the group; all of them stop when it cannot."""
    error: AnonbenchError | None = None
    if distributed.place().rank == 0:
        try:
            _save(path, key, learner, progress)
        except AnonbenchError as caught:
            error = caught
    if distributed.agree(error is not None, learner.device):
        raise error or AnonbenchError("the first process could not write its checkpoint", file=path)


def _save(path: Path, key: str, learner: Learner[Any], progress: Progress) -> None:
    state: dict[str, Any] = {name: part.state_dict() for name, part in learner.parts().items()}
    state |= {"key": key, "iteration": progress.iteration, "curve": progress.curve, "sums": progress.sums}
    with saving(path) as part:
        torch.save(state, part)


def _resume(learner: Learner[Any], path: Path | None, key: str) -> Progress:
    """Load a checkpoint of the same training, if there is one; raise AnonbenchError for one that is no good."""
    state = read_checkpoint(path, key, learner.device) if path is not None else None
    if state is None:
        return Progress()
    try:
        progress = _progress(state, learner.iterations)
        for name, part in learner.parts().items():
            part.load_state_dict(state[name])
            weights = part.parameters() if isinstance(part, nn.Module) else ()
            if not all(bool(torch.isfinite(one).all()) for one in weights):
                raise ValueError(f"{name} holds numbers that are not finite")
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:  # torch's say what they like
        why = first_line(error, typed=True)
        raise AnonbenchError(f"is no checkpoint of this training ({why})", file=path, remedy="delete it") from None
    return progress


def _progress(state: dict[str, Any], iterations: int) -> Progress:
    """Return how far a checkpoint is; raise ValueError where it cannot be of a training of that length."""
    done, curve, sums = (state.get(name) for name in ("iteration", "curve", "sums"))
    if type(done) is not int or not 0 < done <= iterations:
        raise ValueError(f"iteration {done!r:.80} of {iterations}")
    if not (isinstance(curve, list) and all(map(_is_numbers, curve)) and _is_numbers(sums)):
        raise ValueError("its curve is none")
    at = [point.get("iteration") for point in curve]
    if not all(type(one) is int and 0 < one <= done for one in at) or sorted(set(at)) != at:
        raise ValueError("its curve is none")
    return Progress(done, curve, sums)


def _is_numbers(value: object) -> TypeGuard[dict[str, float]]:
    return isinstance(value, dict) and all(
        isinstance(name, str) and type(one) in (int, float) and math.isfinite(one) for name, one in value.items()
    )
