"""The anonymizer in the training loop: its own steps, and those of the action network and of the observers.

First the anonymizer learns to show pictures as they are, if that is asked for, then all others learn from what it
shows, then both sides step in turns: the anonymizer once, the others as often as the settings say.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from anonbench.anonymize.learned import losses, start
from anonbench.anonymize.learned.data import Batch, Material
from anonbench.anonymize.learned.networks import Anonymizer, Architecture, Observer, contrast, cut, luma
from anonbench.anonymize.learned.options import FitSettings
from anonbench.errors import AnonbenchError
from anonbench.learning import memory, optimizers
from anonbench.learning.ahead import ahead
from anonbench.learning.minimax import Minimax, Side, Terms
from anonbench.learning.schedules import half_cosine
from anonbench.learning.video import Recognition, recognition
from anonbench.seeding import seed_of

ANONYMIZER, RIVALS = "anonymizer", "rivals"
LAST_RATE = 0.1
"""Share of the learning rate at the end."""


def frames_of(clips: Tensor) -> Tensor:
    """Return the frames of clips (N, V, 3, T, H, W) one by one, (N V T, 3, H, W): each an RGB image of its own."""
    return clips.transpose(2, 3).flatten(0, 2)


def clips_of(frames: Tensor, shape: torch.Size) -> Tensor:
    """Return what `frames_of` took apart, (N, V, 3, T, H, W), as ``shape`` says, from frames (N V T, 3, H, W)."""
    count, versions, _, length = shape[:4]
    return frames.unflatten(0, (count, versions, length)).transpose(2, 3)


@dataclass(frozen=True, slots=True)
class Players:
    """The networks of a fit: the anonymizer, the action network, and the observers of people."""

    anonymizer: Anonymizer
    utility: Recognition
    observers: nn.ModuleList

    @classmethod
    def new(cls, a: Architecture, material: Material, seed: int, device: torch.device) -> Players:
        """Return networks with random weights, the same on every device, but for an action network with a start.

        Raises AnonbenchError for a start that is none for this fit (`start.load`).
        """
        s = material.settings
        torch.manual_seed(seed_of("init", seed))
        anonymizer = Anonymizer(a)
        utility = recognition(s.utility, len(material.actions), s.utility_widths, s.utility_depths)
        if s.start is not None:
            start.load(utility, Path(s.start), material.actions, s)
        observers = nn.ModuleList(observer(material) for _ in range(s.ensemble))
        moved: Any = anonymizer
        moved.to(device, memory_format=torch.channels_last)
        return cls(anonymizer, utility.to(device), observers.to(device))


def observer(material: Material) -> Observer:
    """Return an observer with random weights, from torch's global generator."""
    s = material.settings
    return Observer(s.observer, s.observer_widths, [len(of) for of in material.values.values()])


class Fitting(Minimax[Batch]):
    """The fit as the loop drives it. ``sheet`` is called every ``samples_every`` steps and at the end."""

    name = "fit frame"

    def __init__(
        self,
        players: Players,
        material: Material,
        seed: int,
        device: torch.device,
        sheet: Callable[[], None] | None = None,
    ) -> None:
        """Prepare the training; raise AnonbenchError for fp16 without a GPU."""
        s = material.settings
        if s.precision == "fp16" and device.type != "cuda":
            raise AnonbenchError("fp16 needs a GPU", entry="fit precision", remedy="use fp32 or bf16")
        self.players, self.material, self.settings, self.seed, self.device = players, material, s, seed, device
        self.precision, self.gradient_clip, self.sheet = s.precision, s.gradient_clip, sheet
        rivals = {"utility": players.utility, "observers": players.observers}
        moved = [p for network in rivals.values() for p in network.parameters()]
        self.sides = {
            ANONYMIZER: Side({"network": players.anonymizer}, _adam(players.anonymizer.parameters(), s)),
            RIVALS: Side(rivals, _adam(moved, s)),
        }
        # a lens without errors is where every gradient of it is zero
        self.identity = 0 if s.network == "optics" else s.identity_iterations
        self.begins = self.identity + s.warmup_iterations
        self.iterations = self.begins + s.minimax_iterations(len(material.clips))
        self.checkpoint_every = s.checkpoint_every
        self.prepare()

    def turn(self, iteration: int) -> str:
        s = self.settings
        if iteration < self.begins:
            return ANONYMIZER if iteration < self.identity else RIVALS
        if self._restarted(iteration) is not None:
            return RIVALS
        place = iteration - self.begins
        if s.restart_every:
            place %= s.restart_every + s.restart_iterations
        return ANONYMIZER if place % (1 + s.rival_steps) == 0 else RIVALS

    def _restarted(self, iteration: int) -> int | None:
        """Return the steps since observers began anew, None where they do not learn alone.

        After the last restart the anonymizer has a step at least: otherwise nobody would mind who began anew.
        """
        s, place = self.settings, iteration - self.begins
        if not s.restart_every or place < 0:
            return None
        since = place % (s.restart_every + s.restart_iterations) - s.restart_every
        ends = iteration - since + s.restart_iterations
        return since if since >= 0 and ends < self.iterations else None

    def before(self, iteration: int) -> None:
        """Let observers begin anew where it is time."""
        if self._restarted(iteration) != 0:
            return
        torch.manual_seed(seed_of("restart", self.seed, iteration))
        optimizer = self.sides[RIVALS].optimizer
        for old in self.players.observers:
            old.load_state_dict(observer(self.material).state_dict())
            for parameter in old.parameters():
                optimizer.state.pop(parameter, None)

    def rate(self, side: str, iteration: int) -> float:
        s = self.settings
        share = s.anonymizer_rate if side == ANONYMIZER else s.rivals_rate
        if iteration < self.begins:
            return s.learning_rate * (s.rivals_rate if side == RIVALS else 1.0)
        if self._restarted(iteration) is not None:  # they begin with random weights, as late as it may be
            return s.learning_rate * s.rivals_rate
        place, count = iteration - self.begins, self.iterations - self.begins
        warm = min(1.0, (place + 1) / max(1.0, s.rate_warmup * count))
        return s.learning_rate * share * warm * half_cosine(place, count, LAST_RATE)

    def batches(self, first: int) -> Generator[Batch, None, None]:
        threads = 8 if self.device.type == "cuda" else 0
        return ahead(self.material.batch, first, self.iterations, threads)

    def size(self, batch: Batch) -> int:
        return len(batch.clips) + len(batch.stills)

    def terms(self, batch: Batch, iteration: int, side: str) -> Terms:
        s, batch = self.settings, batch.to(self.device)
        frames = frames_of(batch.clips)
        x = torch.cat([frames, batch.stills]).float() / 255
        if iteration < self.identity:
            anonymizer = self.players.anonymizer
            target = contrast(luma(x)) if anonymizer.architecture.colour == "contrast" else x
            error = functional.l1_loss(anonymizer(x).float(), target.expand_as(x))
            return Terms(error, {"identity": error})
        with torch.set_grad_enabled(side == ANONYMIZER):
            y = self.players.anonymizer.noisy(x)
        clips = clips_of(y[: len(frames)], batch.clips.shape)
        utility, temporal = self._utility(clips, batch.actions)
        if side == RIVALS:
            told = torch.stack([self._observed(one, y[len(frames) :], batch) for one in self.players.observers])
            loss, shown = utility + told.sum(), {"utility": utility, "observers": told.mean()}
            return Terms(loss + s.triplet_weight * temporal, shown)
        told = losses.strongest([self._told(one, y[len(frames) :], batch) for one in self.players.observers])
        parts = {"utility": s.utility_weight * utility, "privacy": s.privacy_weight * told}
        if s.loss == "penalty":
            parts["penalty"] = s.penalty_weight * losses.penalty(x, y.float(), s.budget)
        if s.loss == "tedspad":
            parts["temporal"] = s.utility_weight * s.triplet_weight * temporal
        loss = torch.stack([part.float() for part in parts.values()]).sum()
        return Terms(
            loss, {f"anonymizer_{name}": part for name, part in parts.items()} | {"rms": losses.rms(x, y).mean()}
        )

    def _utility(self, clips: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cross-entropy of actions, and the triplet loss (0 but for `tedspad`)."""
        if self.settings.loss != "tedspad":
            logits = self.players.utility(255 * self._watched(clips[:, 0]))
            return functional.cross_entropy(logits.float(), actions), logits.new_zeros(())
        logits, features = self.players.utility.described(255 * self._watched(clips.transpose(0, 1).flatten(0, 1)))
        count = len(actions)
        anchor, positive, negative = features.split(count)
        entropy = functional.cross_entropy(logits[:count].float(), actions)
        return entropy, losses.triplet(anchor, positive, negative)

    def _watched(self, clips: Tensor) -> Tensor:
        """Return clips (N, 3, T, H, W) as large as the action network sees them."""
        if self.settings.watched is None:
            return clips
        frames = clips.transpose(1, 2).flatten(0, 1)
        whole = torch.tensor([[0.0, 0.0, frames.shape[3], frames.shape[2]]], device=frames.device)
        seen = cut(frames.float(), whole, self.settings.watched)
        return seen.unflatten(0, (len(clips), clips.shape[2])).transpose(1, 2)

    def _crops(self, pictures: Tensor, batch: Batch, view: int) -> Tensor:
        """Return what an observer sees of people in anonymized pictures (N, 3, H, W)."""
        crops = cut(pictures.float(), batch.boxes[view], self.settings.observed, batch.mirrored[view])
        return crops * batch.gains[view][:, None, None, None]

    def _observed(self, one: nn.Module, pictures: Tensor, batch: Batch) -> Tensor:
        """Return what an observer minimises."""
        assert isinstance(one, Observer)
        if self.settings.loss == "vita":
            return losses.guessing(one.guesses(self._crops(pictures, batch, 0)), batch.labels)
        first, second = one.views(torch.cat([self._crops(pictures, batch, view) for view in (0, 1)])).chunk(2)
        return losses.nt_xent(first, second)

    def _told(self, one: nn.Module, pictures: Tensor, batch: Batch) -> Tensor:
        """Return what an observer has of people, which the anonymizer minimises: the more, the better it sees them."""
        if self.settings.loss == "vita" and self.settings.term == "entropy":
            assert isinstance(one, Observer)
            return losses.certainty(one.guesses(self._crops(pictures, batch, 0)))
        return -self._observed(one, pictures, batch)

    def out_of_memory(self, batch: Batch, iteration: int) -> AnonbenchError:
        """Say which batch is worth a try; the tries are steps, and their weights are lost with the training."""
        clips, stills = len(batch.clips), len(batch.stills)

        def fits(count: int) -> bool:
            part = batch.first(count, max(2, stills * count // clips))
            return memory.suffices(lambda: self.step(part, iteration), self.device)

        worth = memory.largest(clips, fits, least=2)
        remedy = f"set clips: {worth} and stills: {max(2, stills * worth // clips)}" if worth else ""
        return memory.advice(
            f"{clips} clips and {stills} stills", iteration, self.device, worth, least=2, entry="fit clips",
            remedy=remedy, instead="lower frames, width, height or widths",
        )  # fmt: skip

    def done(self, iteration: int) -> None:
        if self.sheet is not None and (iteration % self.settings.samples_every == 0 or iteration == self.iterations):
            self.sheet()


def _adam(parameters: Iterable[nn.Parameter], s: FitSettings) -> torch.optim.Optimizer:
    return optimizers.Adam(parameters, s.learning_rate, fused=True)
