"""The codec in the training loop: it and the restorer in turns, and the choice of weights on held-out images.

Everything random is a function of the seed and the iteration's number, as the loop wants it.
"""

from __future__ import annotations

import copy
from collections.abc import Generator, Sequence
from typing import Any

import torch
from torch import nn

from anonbench import workers
from anonbench.anonymize.roi_codec.data import Batch, Sources
from anonbench.anonymize.roi_codec.losses import Boxes, terms
from anonbench.anonymize.roi_codec.options import FitSettings
from anonbench.anonymize.roi_codec.restorer import Restorer
from anonbench.codec.networks import Architecture, Codec
from anonbench.errors import AnonbenchError
from anonbench.learning import memory, optimizers
from anonbench.learning.loop import Learner, finite
from anonbench.learning.schedules import half_cosine
from anonbench.seeding import seed_of

DIVERGED: dict[str, Any] = {"entry": "fit learning_rate", "remedy": "lower it, or set gradient_clip"}
HIDING = ("heads", "restored")
"""The terms whose factors rise over `hide_over`."""
RESTORER_BACKGROUND = 0.1
"""Share of the restorer's loss that is the whole image's error, so that it learns from images without a head, too."""


class Best:
    """The weights with the lowest loss on held-out images so far."""

    def __init__(self) -> None:
        self.iteration, self.losses = 0, dict[str, float]()
        self.weights: dict[str, torch.Tensor] = {}

    def offer(self, iteration: int, losses: dict[str, float], codec: nn.Module) -> None:
        """Keep a codec's weights if none were better."""
        if not self.weights or sum(losses.values()) < sum(self.losses.values()):
            self.iteration, self.losses = iteration, losses
            self.weights = {name: value.detach().clone() for name, value in codec.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        """Return all of it, for a checkpoint."""
        return {"iteration": self.iteration, "losses": self.losses, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what `state_dict` returned."""
        self.iteration, self.losses, self.weights = state["iteration"], state["losses"], state["weights"]


class Fitting(Learner[Batch]):
    """A codec's training, as the loop drives it."""

    name = "fit codec"

    def __init__(self, sources: Sources, fit: FitSettings, seed: int, device: torch.device, threads: int = 1) -> None:
        self.sources, self.fit, self.seed, self.device, self.threads = sources, fit, seed, device, threads
        self.iterations, self.checkpoint_every = fit.iterations, fit.checkpoint_every
        torch.manual_seed(seed_of("init", seed))
        form = torch.channels_last if device.type == "cuda" else torch.contiguous_format
        made: list[Any] = [
            Codec(Architecture(fit.channels, fit.hidden, fit.noise, fit.gain)),
            Restorer(fit.restorer_channels),
        ]
        self.codec, self.restorer = (network.to(device, memory_format=form) for network in made)
        self.codec.scale(fit.first_weights)
        networks = [*self.codec.analysis.parameters(), *self.codec.synthesis.parameters()]
        self.optimizer = optimizers.Adam(networks, fit.learning_rate, fused=True)
        self.describing = optimizers.Adam(self.codec.density.parameters(), fit.density_rate, fused=True)
        self.restoring = optimizers.Adam(self.restorer.parameters(), fit.restorer_rate, fused=True)
        self.best = Best()

    @property
    def attacked(self) -> bool:
        """Whether there is a restorer."""
        return self.fit.loss.restorer > 0

    def parts(self) -> dict[str, Any]:
        found = {
            "codec": self.codec, "optimizer": self.optimizer, "describing": self.describing, "best": self.best
        }  # fmt: skip
        return found | ({"restorer": self.restorer, "restoring": self.restoring} if self.attacked else {})

    def rates(self, iteration: int) -> Sequence[tuple[torch.optim.Optimizer, float]]:
        share = half_cosine(iteration, self.iterations, self.fit.last_rate)
        return [
            (self.optimizer, self.fit.learning_rate * share),
            (self.describing, self.fit.density_rate * share),
            (self.restoring, self.fit.restorer_rate),
        ]

    def batches(self, first: int) -> Generator[Batch, None, None]:
        numbers = range(first, self.iterations)
        yield from workers.stream(lambda n: self.sources.batch(n, self.fit, self.seed), numbers, self.threads)

    def size(self, batch: Batch) -> int:
        return len(batch.pixels)

    def step(self, batch: Batch, iteration: int) -> dict[str, float]:
        fit = self.fit
        first = max(fit.choose_from, fit.hide_from) * self.iterations
        if iteration and iteration >= first and iteration % fit.choose_every == 0:
            self.look(iteration)
        share = self._hiding(iteration)
        attacked = share > 0 and self.attacked
        x, people, heads = self._inputs(batch)
        step = self._step_of(iteration)
        draw = torch.Generator(self.device).manual_seed(seed_of("noise", self.seed, iteration))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=fit.precision == "bf16"):
            shape = (len(x), *self.codec.architecture.latents(*fit.size))
            noise = torch.rand(shape, generator=draw, device=self.device) - 0.5
            channel = torch.randn(shape, generator=draw, device=self.device) if fit.noise else None
            decoded, likelihoods = self.codec(x, noise, step, channel)
            found = self._restore(x, decoded.detach(), heads) if attacked else {}
            restored = self._restored(decoded) if attacked else None
        losses = terms(fit.loss, x, decoded, likelihoods, people, heads, restored)
        losses = {name: share * value if name in HIDING else value for name, value in losses.items()}
        if not share:
            del losses["heads"]
        told = losses | found
        values = dict(zip(told, torch.stack([value.detach() for value in told.values()]).tolist(), strict=True))
        finite(values, iteration, **DIVERGED)
        self.optimizer.zero_grad(set_to_none=True)
        self.describing.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        if fit.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self.codec.parameters(), fit.gradient_clip)
        self.optimizer.step()
        self.describing.step()
        return values

    def _hiding(self, iteration: int) -> float:
        """Return which share of their factors the terms of heads have in an iteration: 0 before they count."""
        first, over = (share * self.iterations for share in (self.fit.hide_from, self.fit.hide_over))
        if iteration < first:
            return 0.0
        return min((iteration + 1 - first) / over, 1.0) if over else 1.0

    def _step_of(self, iteration: int) -> float:
        """Return the step that latents are rounded to in an iteration."""
        steps = self.fit.steps
        return steps[seed_of("step", self.seed, iteration) % len(steps)] if self.fit.learn_steps else steps[0]

    def _inputs(self, batch: Batch) -> tuple[torch.Tensor, Boxes, Boxes]:
        x = torch.from_numpy(batch.pixels).to(self.device).permute(0, 3, 1, 2).float() / 255
        people, heads = (Boxes.of(of, self.fit.size, self.device) for of in (batch.people, batch.heads))
        return x, people, heads

    def _restore(self, x: torch.Tensor, decoded: torch.Tensor, heads: Boxes) -> dict[str, torch.Tensor]:
        """Take the restorer's step and return its loss."""
        error = (self.restorer(decoded).float() - x).square()
        loss = heads.average(heads.means(error).mean(2)) + RESTORER_BACKGROUND * error.mean()
        self.restoring.zero_grad(set_to_none=True)
        loss.backward()
        self.restoring.step()
        return {"restorer": loss}

    def _restored(self, decoded: torch.Tensor) -> torch.Tensor:
        """Return what the restorer makes of decoded images, as something to be learned from by the codec alone."""
        self.restorer.requires_grad_(False)
        restored: torch.Tensor = self.restorer(decoded).float()
        self.restorer.requires_grad_(True)
        return restored

    @torch.no_grad()
    def look(self, iteration: int) -> None:
        """Offer the weights after so many iterations to the choice, by the loss of held-out images, really rounded.

        The loss is the mean over the steps that are learned. The restorer's term is that of the restorer as it is.
        """
        batches = self.sources.held_out(self.fit)
        steps = self.fit.steps if self.fit.learn_steps else self.fit.steps[:1]
        sums: dict[str, float] = {}
        total = sum(map(self.size, batches))
        for number, batch in enumerate(batches):
            x, people, heads = self._inputs(batch)
            y = self.codec.latents(x)
            if self.fit.noise:
                draw = torch.Generator(self.device).manual_seed(seed_of("look", self.seed, number))
                y = y + self.fit.noise * torch.randn(y.shape, generator=draw, device=self.device)
            for step in steps:
                rounded = torch.round(y / step) * step
                decoded = self.codec.images(rounded)
                restored = self.restorer(decoded) if self.attacked else None
                losses = terms(self.fit.loss, x, decoded, self.codec.density(rounded, step), people, heads, restored)
                share = self.size(batch) / total / len(steps)
                for name, value in losses.items():
                    sums[name] = sums.get(name, 0.0) + share * float(value)
        self.best.offer(iteration, {name: round(value, 6) for name, value in sums.items()}, self.codec)

    def chosen(self) -> Codec:
        """Return the codec with the chosen weights, on the processor: the last where nothing was held out."""
        codec = copy.deepcopy(self.codec)
        if self.sources.held:
            self.look(self.iterations)
            codec.load_state_dict(self.best.weights)
        return codec.cpu().to(memory_format=torch.contiguous_format).eval().requires_grad_(False)

    def out_of_memory(self, batch: Batch, iteration: int) -> AnonbenchError:
        """Say which batch is worth a try; the tries are steps, and their weights are lost with the training."""
        count = self.size(batch)
        worth = memory.largest(
            count, lambda n: memory.suffices(lambda: self.step(batch.first(n), iteration), self.device)
        )
        return memory.advice(
            f"{count} images", iteration, self.device, worth, entry="fit batch_size",
            remedy=f"set batch_size: {worth}" if worth else "", instead="lower size or channels",
        )  # fmt: skip
