"""Networks that learn against each other: who takes a step, on which loss, and when it has to stop."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from torch import nn

from anonbench.learning.loop import LEAST_SCALE, Batch, Learner, diverged, finite
from anonbench.seeding import seed_of

Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True, slots=True)
class Side:
    """One side of the game: its networks, by name, and the optimiser of all of them."""

    networks: Mapping[str, nn.Module]
    optimizer: torch.optim.Optimizer

    def learns(self, wanted: bool) -> None:
        """Let the networks learn, or hold them: no gradients, and statistics of batches as they are."""
        for network in self.networks.values():
            network.train(wanted).requires_grad_(wanted)

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What the optimiser moves."""
        return [p for group in self.optimizer.param_groups for p in group["params"]]


class Terms(NamedTuple):
    """What a side minimises in a step (a scalar), and the parts of it that the curve shows (scalars)."""

    loss: torch.Tensor
    shown: Mapping[str, torch.Tensor]


@dataclass(slots=True)
class Latest:
    """The last value of each term, so that every point of the curve has both sides', whoever stepped."""

    values: dict[str, float] = field(default_factory=dict)

    def state_dict(self) -> dict[str, float]:
        """Return what a checkpoint holds."""
        return dict(self.values)

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Take what a checkpoint holds."""
        self.values = dict(state)


class Minimax(Learner[Batch]):
    """Sides that step in turns, each on its own loss, while the networks of the others are held.

    A subclass fills ``sides``, says whose ``turn`` it is and gives the `terms`; it may do something `before` a step,
    such as begin a network anew. All of it is a function of the iteration's number, so that a training which continues
    from a checkpoint makes the same steps. A step is taken only where loss and gradient are finite: the weights of a
    checkpoint always are. With ``precision`` fp16 the loss is scaled, and a step whose gradient overflows is left out.
    """

    entry = "fit learning_rate"
    remedy = "lower it, or set gradient_clip, and begin anew (the last checkpoint is kept until then)"

    sides: Mapping[str, Side]
    seed: int
    precision: Precision
    gradient_clip: float | None

    def prepare(self) -> None:
        """Make what a step needs, once ``sides``, ``precision`` and ``device`` are set."""
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")
        self.latest = Latest()

    @abstractmethod
    def turn(self, iteration: int) -> str:
        """Return the name of the side that steps in an iteration (0-based)."""

    @abstractmethod
    def terms(self, batch: Batch, iteration: int, side: str) -> Terms:
        """Return what a side minimises on a batch; called under autocast, after a seed of the iteration's own."""

    def before(self, iteration: int) -> None:
        """Called before the step of an iteration."""

    @abstractmethod
    def rate(self, side: str, iteration: int) -> float:
        """Return a side's learning rate in an iteration (0-based)."""

    def rates(self, iteration: int) -> Sequence[tuple[torch.optim.Optimizer, float]]:
        side = self.turn(iteration)
        return [(self.sides[side].optimizer, self.rate(side, iteration))]

    def parts(self) -> dict[str, Any]:
        found: dict[str, Any] = {"scaler": self.scaler, "latest": self.latest}
        for name, side in self.sides.items():
            found |= {f"{name}.{part}": network for part, network in side.networks.items()}
            found[f"{name}.optimizer"] = side.optimizer
        return found

    def autocast(self) -> torch.autocast:
        """Return the context of the precision."""
        half = torch.float16 if self.precision == "fp16" else torch.bfloat16
        return torch.autocast(self.device.type, half, enabled=self.precision != "fp32")

    def step(self, batch: Batch, iteration: int) -> dict[str, float]:
        self.before(iteration)
        name = self.turn(iteration)
        side = self.sides[name]
        for one in self.sides.values():
            one.learns(one is side)
        torch.manual_seed(seed_of("step", self.seed, iteration))
        with self.autocast():
            loss, shown = self.terms(batch, iteration, name)
        values = torch.stack([loss.detach(), *(one.detach() for one in shown.values())]).float().tolist()
        said = dict(zip(("loss", *shown), values, strict=True))
        found = finite(said, iteration, entry=self.entry, remedy=f"({name}) {self.remedy}")
        side.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(side.optimizer)
        norm = float(nn.utils.clip_grad_norm_(side.parameters, self.gradient_clip or math.inf))
        given_up = self.scaler.is_enabled() and self.scaler.get_scale() < LEAST_SCALE
        if not math.isfinite(norm) and (not self.scaler.is_enabled() or given_up):
            raise diverged(f"gradient = {norm} ({name})", iteration, entry=self.entry, remedy=self.remedy)
        self.scaler.step(side.optimizer)
        self.scaler.update()
        self.latest.values |= {part: value for part, value in found.items() if part != "loss"}
        return dict(self.latest.values)
