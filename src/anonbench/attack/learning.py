"""An attacker learns which crops show the same person, by contrast, in the loop that everything learns in."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from anonbench.attack.networks import Embedder
from anonbench.attack.options import AttackerConfig
from anonbench.errors import AnonbenchError
from anonbench.learning import memory, optimizers
from anonbench.learning.loop import Learner, finite
from anonbench.learning.schedules import half_cosine
from anonbench.seeding import generator

WARMUP = 0.1
"""Share of the iterations in which the rate rises."""


@dataclass(frozen=True)
class OwnPeople:
    """What an attacker learns from: for each person, crops as the method leaves them and crops of the original.

    ``seen`` and ``raw`` are uint8 (N, 3, height, width), row by row of the same person in the same image; ``members``
    lists the rows of each person. Where nobody says who people are, each row is a person.
    """

    seen: torch.Tensor = field(repr=False)
    raw: torch.Tensor = field(repr=False)
    members: list[np.ndarray] = field(repr=False)

    @classmethod
    def of(cls, seen: np.ndarray, raw: np.ndarray, identities: Sequence[object]) -> OwnPeople:
        """Return them from crops (uint8 (N, height, width, 3)), by identity; None stands for nobody else."""
        groups: dict[object, list[int]] = {}
        for row, who in enumerate(identities):
            groups.setdefault(("row", row) if who is None else ("who", who), []).append(row)
        return cls(tensor_of(seen), tensor_of(raw), [np.array(rows) for rows in groups.values()])


def tensor_of(crops: np.ndarray) -> torch.Tensor:
    """Return crops (uint8 (N, height, width, 3)) as networks take them: (N, 3, height, width)."""
    return torch.from_numpy(np.ascontiguousarray(crops.transpose(0, 3, 1, 2)))


def optimizer_for(network: nn.Module, rate: float, decay: float) -> torch.optim.AdamW:
    """Return an attacker's optimiser; only weight matrices and filters decay."""
    decays = [p for p in network.parameters() if p.ndim > 1]
    rest = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": decays, "weight_decay": decay}, {"params": rest, "weight_decay": 0.0}]
    return optimizers.AdamW(groups, lr=rate, fused=True)


def rate_of(peak: float, iteration: int, iterations: int) -> float:
    """Return an iteration's learning rate: a warm-up to the peak, then half a cosine to zero."""
    warm = min(1.0, (iteration + 1) / max(1.0, WARMUP * iterations))
    return peak * warm * half_cosine(iteration, iterations)


def moved(config: AttackerConfig, random: np.random.Generator, *crops: torch.Tensor) -> list[torch.Tensor]:
    """Return several versions of the same crops (N, 3, height, width), all mirrored and shifted alike at random.

    The border is repeated where a crop is shifted away from it.
    """
    count, _, height, width = crops[0].shape
    most = round(config.shift * height)
    dx, dy = (random.integers(-most, most + 1, count) for _ in range(2))
    mirrored = torch.from_numpy(random.random(count) < config.horizontal_flip)
    ys = (torch.arange(height)[None] + torch.from_numpy(dy)[:, None]).clamp(0, height - 1)
    xs = (torch.arange(width)[None] + torch.from_numpy(dx)[:, None]).clamp(0, width - 1)
    xs[mirrored] = xs[mirrored].flip(1)
    rows = torch.arange(count)[:, None, None]
    return [one[rows, :, ys[:, :, None], xs[:, None, :]].permute(0, 3, 1, 2).contiguous() for one in crops]


B = TypeVar("B")
Batch = tuple[torch.Tensor, torch.Tensor]
"""Crops as the method leaves them, and of the originals of the same people, in the same order."""


class Attacker(Learner[B]):
    """A network that learns from crops, and its optimiser; a subclass says what a batch is and what its loss."""

    name = "attacker"
    entry = "attack.attackers"
    """What of a study says how it learns, for errors."""
    batch_entry = "attack.attackers batch_size"
    what, fewest = "people", 4
    """What a batch is of, and the fewest of them that are worth a try."""

    def __init__(
        self, network: nn.Module, config: AttackerConfig, seed: int, device: torch.device, iterations: int, peak: float
    ) -> None:
        """Prepare a training of so many ``iterations`` with a ``peak`` rate."""
        self.network, self.config, self.seed, self.device, self.peak = network, config, seed, device, peak
        self.iterations, self.checkpoint_every = iterations, config.checkpoint_every
        self.optimizer = optimizer_for(network, peak, config.weight_decay)
        network.train()

    def parts(self) -> dict[str, Any]:
        return {"model": self.network, "optimizer": self.optimizer}

    def rates(self, iteration: int) -> Sequence[tuple[torch.optim.Optimizer, float]]:
        return [(self.optimizer, rate_of(self.peak, iteration, self.iterations))]

    def descend(self, loss: torch.Tensor, terms: dict[str, torch.Tensor], iteration: int) -> dict[str, float]:
        """Take a step down ``loss``; return its ``terms``, or raise AnonbenchError where one is not finite."""
        values = {name: float(term.detach()) for name, term in terms.items()}
        losses = finite(values, iteration, entry=self.entry, remedy="lower its learning_rate")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return losses

    def out_of_memory(self, batch: B, iteration: int) -> AnonbenchError:
        half = self.size(batch) // 2
        return memory.advice(
            f"{self.size(batch)} {self.what}", iteration, self.device, None, entry=self.batch_entry,
            remedy=f"set batch_size: {half}" if half >= self.fewest else "", instead="take smaller crops",
        )  # fmt: skip


class Contrast(Attacker[Batch]):
    """Symmetric InfoNCE (van den Oord et al. 2018, arXiv 1807.03748) between anonymized and original crops.

    Each batch has every person once: one crop as the method leaves it and one of the original, of another image where
    the person has several. In a batch of B people the loss of each crop is the cross-entropy of its own person among
    the B.
    """

    def __init__(
        self, embedder: Embedder, people: OwnPeople, config: AttackerConfig, seed: int, device: torch.device
    ) -> None:
        """Prepare the training; raise AnonbenchError with fewer people than a contrast needs."""
        if len(people.members) < 4:
            raise AnonbenchError(f"{len(people.members)} people are too few to learn from", entry="attack.own")
        super().__init__(embedder, config, seed, device, config.iterations, config.learning_rate)
        self.people = people

    def batches(self, first: int) -> Generator[Batch, None, None]:
        for iteration in range(first, self.iterations):
            random = generator("attacker", self.seed, iteration)
            members = self.people.members
            chosen = random.permutation(len(members))[: self.config.batch_size]
            rows = np.array([self._two(members[k], random) for k in chosen])
            seen, raw = (torch.from_numpy(rows[:, k]) for k in (0, 1))
            crops = self.people.seen[seen], self.people.raw[raw]
            one, other = (moved(self.config, random, side)[0] for side in crops)
            yield one, other

    @staticmethod
    def _two(rows: np.ndarray, random: np.random.Generator) -> tuple[int, int]:
        """Return two rows of a person, different ones where there are two."""
        if len(rows) == 1:
            return int(rows[0]), int(rows[0])
        a, b = random.choice(rows, 2, replace=False)
        return int(a), int(b)

    def step(self, batch: Batch, iteration: int) -> dict[str, float]:
        # in one go, so that a batch's statistics are of both: of each alone they would be nobody's when the attacker is
        # used, a network that has learnt to find people would find nobody, and the method would look safe
        seen, raw = self.network(torch.cat(batch).to(self.device)).chunk(2)
        logits = seen @ raw.T / self.config.temperature
        own = torch.arange(len(logits), device=self.device)
        loss = (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2
        return self.descend(loss, {"loss": loss}, iteration)

    def size(self, batch: Batch) -> int:
        return len(batch[0])
