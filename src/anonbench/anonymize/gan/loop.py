"""The generator in the training loop: its networks, and one step of them.

Everything random is a function of the seed and the iteration's number, as the loop wants it.

Losses: non-saturating logistic loss (Goodfellow et al. 2014) with lazy R1 (Mescheder et al. 2018; Karras et al. 2020);
for the half of the batch that is filled with its own person's latent L1 at three scales and matching of the
discriminator's features (pix2pixHD, Wang et al. 2018) as in BicycleGAN (Zhu et al. 2017), which also gives the
divergence of the latents from a standard normal; the other half is filled with other people's latents (Park et al.
2020) or mixtures of them, and only the discriminator judges it. L1 outside the mask ties the borders. Weights are
averaged over time (EMA; Karras et al. 2018).
"""

from __future__ import annotations

import copy
from collections import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F

from anonbench.anonymize.gan.conditions import maps_of, to_unit
from anonbench.anonymize.gan.data import Batch, Crops
from anonbench.anonymize.gan.networks import Architecture, Discriminator, Encoder, Generator
from anonbench.anonymize.gan.options import FitSettings
from anonbench.errors import AnonbenchError
from anonbench.learning import memory, optimizers
from anonbench.learning.loop import Learner, finite
from anonbench.learning.schedules import half_cosine
from anonbench.records import RegionKind
from anonbench.seeding import seed_of


@dataclass(frozen=True, slots=True)
class Inputs:
    """A batch on the device: ``real`` (N, 3, H, W) in -1..1, ``mask`` (N, 1, H, W), ``maps`` (N, M, h, w)."""

    real: torch.Tensor
    mask: torch.Tensor
    maps: torch.Tensor

    @classmethod
    def of(cls, batch: Batch, a: Architecture, device: torch.device) -> Inputs:
        """Move a batch to the device and draw its maps."""
        real = to_unit(torch.from_numpy(batch.pixels).to(device))
        mask = torch.from_numpy(batch.masks).to(device)[:, None].float()
        maps = maps_of(torch.from_numpy(batch.keypoints).to(device), a)
        return cls(real, mask, maps)

    def paste(self, filled: torch.Tensor) -> torch.Tensor:
        """Return the crops with what was filled in, inside the mask."""
        return self.real + self.mask * (filled - self.real)


@dataclass(slots=True)
class State:
    """The networks and their optimisers."""

    generator: Generator
    encoder: Encoder
    discriminator: Discriminator
    ema: Generator
    for_generator: torch.optim.Optimizer
    for_discriminator: torch.optim.Optimizer

    @classmethod
    def new(cls, a: Architecture, fit: FitSettings, seed: int, device: torch.device) -> State:
        """Return networks with random weights, the same on every device."""
        torch.manual_seed(seed_of("init", seed))
        channels = tuple(fit.discriminator_channels)
        made: list[Any] = [Generator(a), Encoder(a, channels), Discriminator(a, channels)]
        networks = [network.to(device, memory_format=torch.channels_last) for network in made]
        generator, encoder, discriminator = networks
        ema = copy.deepcopy(generator).requires_grad_(False)
        first = optimizers.Adam(
            [*generator.parameters(), *encoder.parameters()], fit.learning_rate, fit.betas, fused=True
        )
        second = optimizers.Adam(
            discriminator.parameters(), fit.learning_rate * fit.discriminator_rate, fit.betas, fused=True
        )
        return cls(generator, encoder, discriminator, ema, first, second)

    def parts(self) -> dict[str, Any]:
        """Return what has a state_dict, by name."""
        names = ("generator", "encoder", "discriminator", "ema", "for_generator", "for_discriminator")
        return {name: getattr(self, name) for name in names}


class Fitting(Learner[Batch]):
    """The generator's training, as the loop drives it: two optimisers, whose rates fall alike, in turns.

    ``sheet`` is shown the state every ``fit.samples_every`` iterations and at the end.
    """

    def __init__(
        self,
        state: State,
        crops: Crops,
        a: Architecture,
        fit: FitSettings,
        seed: int,
        device: torch.device,
        sheet: Callable[[State], None] | None = None,
    ) -> None:
        self.state, self.crops, self.architecture, self.fit, self.seed = state, crops, a, fit, seed
        self.name, self.device, self.sheet = f"fit {a.kind}", device, sheet
        self.iterations, self.checkpoint_every = fit.iterations(RegionKind(a.kind)), fit.checkpoint_every

    def parts(self) -> dict[str, Any]:
        return self.state.parts()

    def rates(self, iteration: int) -> Sequence[tuple[torch.optim.Optimizer, float]]:
        rate = self.fit.learning_rate * half_cosine(iteration, self.iterations, 0.1)
        return [(self.state.for_generator, rate), (self.state.for_discriminator, rate * self.fit.discriminator_rate)]

    def batches(self, first: int) -> abc.Generator[Batch, None, None]:
        fit = self.fit
        for iteration in range(first, self.iterations):
            yield self.crops.batch(iteration, fit.batch_size, self.seed, fit.flip, fit.keypoint_dropout)

    def size(self, batch: Batch) -> int:
        return len(batch.pixels)

    def step(self, batch: Batch, iteration: int) -> dict[str, float]:
        x = Inputs.of(batch, self.architecture, self.device)
        return step(self.state, x, self.fit, self.seed, iteration, round(self.fit.warmup * self.iterations))

    def out_of_memory(self, batch: Batch, iteration: int) -> AnonbenchError:
        """Say which batch is worth a try; the tries are steps, and their weights are lost with the training."""
        count = self.size(batch)

        def fits(crops: int) -> bool:
            return memory.suffices(lambda: self.step(batch.first(crops), iteration), self.device)

        worth = memory.largest(count, fits, least=2)
        return memory.advice(
            f"{count} crops", iteration, self.device, worth, least=2, entry="fit batch_size",
            remedy=f"set batch_size: {worth}" if worth else "", instead="lower channels and discriminator_channels",
        )  # fmt: skip

    def done(self, iteration: int) -> None:
        if self.sheet is not None and (iteration % self.fit.samples_every == 0 or iteration == self.iterations):
            self.sheet(self.state)


def step(state: State, x: Inputs, fit: FitSettings, seed: int, iteration: int, warmup: int) -> dict[str, float]:
    """Take one step of discriminator (from ``warmup`` on) and generator; return the loss terms before it."""
    adversarial = iteration >= warmup
    device, count, ramp = x.real.device, len(x.real), max(1, warmup)
    draw = torch.Generator().manual_seed(seed_of("noise", seed, iteration))
    noise = torch.randn(count, fit.latent_channels, generator=draw).to(device)
    share = torch.rand(count, generator=draw)
    with torch.autocast(device.type, torch.bfloat16, enabled=fit.precision == "bf16"):
        mean, log_variance = state.encoder(x.real, x.mask, x.maps)
        own = mean + noise * (0.5 * log_variance).exp()
        half = count  # crops that are filled with their own person's latent; the others with other people's
        z = own
        if adversarial:
            half = (count + 1) // 2
            z = torch.cat([own[:half], _others(own.detach(), share[:, None].to(device))[half:]])
        filled = state.generator(x.real, x.mask, x.maps, state.generator.style(z)).float()
        pasted = x.paste(filled)
        losses: dict[str, torch.Tensor] = {}
        if adversarial:
            losses["discriminator"] = _discriminate(state, x, pasted.detach(), fit, iteration)
        terms = {
            "reconstruction": fit.reconstruction * _pyramid(filled[:half], x.real[:half], x.mask[:half]),
            "context": fit.context * _l1(filled, x.real, 1 - x.mask),
            "kl": _divergence(mean.float(), log_variance.float()) * fit.kl * min(1.0, iteration / ramp),
        }
        if adversarial:
            state.discriminator.requires_grad_(False)
            with torch.no_grad():
                _, wanted = state.discriminator(x.real, x.mask, x.maps)
            logits, found = state.discriminator(pasted, x.mask, x.maps)
            state.discriminator.requires_grad_(True)
            terms["adversarial"] = fit.adversarial * F.softplus(-logits.float()).mean()
            pairs = [F.l1_loss(f[:half].float(), w[:half].float()) for f, w in zip(found, wanted, strict=True)]
            terms["features"] = fit.features * torch.stack(pairs).mean()
    state.for_generator.zero_grad(set_to_none=True)
    torch.stack(list(terms.values())).sum().backward()
    state.for_generator.step()
    _average(state, fit, iteration)
    losses |= terms
    values = dict(zip(losses, torch.stack([v.detach() for v in losses.values()]).tolist(), strict=True))
    return finite(values, iteration, entry="fit learning_rate", remedy="lower it, or raise r1")


def _others(own: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Return latents for the swapped half: somebody else's, or a mixture of two people's of the same variance."""
    one, two = own.roll(1, 0), own.roll(2, 0)
    mixture = (share * one + (1 - share) * two) * torch.rsqrt(share.square() + (1 - share).square())
    return torch.where(torch.arange(len(own), device=own.device)[:, None] % 2 == 0, one, mixture)


def _discriminate(state: State, x: Inputs, pasted: torch.Tensor, fit: FitSettings, iteration: int) -> torch.Tensor:
    """Take the discriminator's step and return its loss."""
    fake, _ = state.discriminator(pasted, x.mask, x.maps)
    penalised = fit.r1 > 0 and iteration % fit.r1_every == 0
    seen = x.real.detach().requires_grad_(penalised)
    real, _ = state.discriminator(seen, x.mask, x.maps)
    loss = F.softplus(fake.float()).mean() + F.softplus(-real.float()).mean()
    total = loss
    if penalised:
        (gradient,) = torch.autograd.grad(real.float().mean(dim=(1, 2, 3)).sum(), seen, create_graph=True)
        total = loss + 0.5 * fit.r1 * fit.r1_every * gradient.square().sum(dim=(1, 2, 3)).mean()
    state.for_discriminator.zero_grad(set_to_none=True)
    total.backward()
    state.for_discriminator.step()
    return loss


def _divergence(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """Return the Kullback-Leibler divergence from a standard normal, summed over a latent's numbers."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()


def _l1(a: torch.Tensor, b: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean absolute difference where the mask is set; people count alike, whatever their size."""
    share = (mask * (a - b).abs()).sum(dim=(1, 2, 3)) / (3 * mask.sum(dim=(1, 2, 3)).clamp_min(1))
    return share.mean()


def _pyramid(a: torch.Tensor, b: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return `_l1` at full, half and quarter resolution, averaged."""
    a, b = a * mask, b * mask
    terms = [_l1(a, b, mask)]
    for _ in range(2):
        a, b, mask = (F.avg_pool2d(part, 2) for part in (a, b, mask))
        terms.append((a - b).abs().sum(dim=(1, 2, 3)).div(3 * mask.sum(dim=(1, 2, 3)).clamp_min(1)).mean())
    return torch.stack(terms).mean()


@torch.no_grad()
def _average(state: State, fit: FitSettings, iteration: int) -> None:
    """Move the averaged weights on; the half-life grows with the training (StyleGAN2-ADA's ramp)."""
    half = min(fit.ema_images, 0.2 * (iteration + 1) * fit.batch_size)
    keep = 0.5 ** (fit.batch_size / max(half, 1e-8))
    new: list[torch.Tensor] = [*state.generator.parameters()]
    old: list[torch.Tensor] = [*state.ema.parameters()]
    torch._foreach_lerp_(old, new, 1 - keep)
