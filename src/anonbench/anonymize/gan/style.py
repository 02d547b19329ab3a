"""The style space of a fitted generator, and how a person's style is drawn from it.

Latents are drawn from a distribution that is fitted to the fitted people's latents (ex-post density estimation, Ghosh
et al. 2020), since a short training leaves them far from the standard normal: from a mixture of normals, one for each
cluster, or from a single normal. What people wear goes together (a shirt's colour with its sleeves', skin with skin),
which the mixture keeps and a single normal does not. Truncation moves the style towards the mean (Karras et al. 2019)
or towards the centre of the cluster (multi-modal truncation, Mokady et al. 2022, as in DeepPrivacy2), which keeps
people different from each other.

What the colours beside the mask tell of the latents (the light of the scene, a neck's skin) is taken out by a linear
regression first and put back when a style is drawn, so that a style suits its surroundings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.cluster.vq import kmeans2

from anonbench.anonymize.gan.conditions import SURROUNDINGS
from anonbench.anonymize.gan.networks import Architecture, Generator

RIDGE = 10.0
"""Penalty on the regression's slopes, in squared colours (of -1..1) over people: it matters when they are few."""


@dataclass(frozen=True, slots=True)
class Styles:
    """A normal and a mixture of normals of latents, float32; K clusters, factors are Cholesky's of covariances.

    ``latent_mean`` (Z,), ``latent_factor`` (Z, Z), ``mean`` (W,): the mean style; ``shares`` (K,) of the people,
    ``centres`` (K, Z), ``factors`` (K, Z, Z). They are for ``beside`` (27,), the mean `conditions.surroundings`;
    ``slopes`` (27, Z) say how latents move with others.
    """

    latent_mean: torch.Tensor
    latent_factor: torch.Tensor
    mean: torch.Tensor
    shares: torch.Tensor
    centres: torch.Tensor
    factors: torch.Tensor
    beside: torch.Tensor
    slopes: torch.Tensor

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the fields by name."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def of(cls, tensors: dict[str, torch.Tensor]) -> Styles:
        """Return the fields that a file of weights holds."""
        return cls(**{name: tensors[f"styles.{name}"].float() for name in cls.__slots__})

    @classmethod
    def shapes(cls, a: Architecture) -> dict[str, tuple[int, ...]]:
        """Return the shapes by the names in a file of weights; 0 is any number."""
        z, w = a.latent_channels, a.style_channels
        shapes: dict[str, tuple[int, ...]] = {"latent_mean": (z,), "latent_factor": (z, z), "mean": (w,)}
        shapes |= {"shares": (0,), "centres": (0, z), "factors": (0, z, z)}
        shapes |= {"beside": (SURROUNDINGS,), "slopes": (SURROUNDINGS, z)}
        return {f"styles.{name}": shape for name, shape in shapes.items()}

    def draw(
        self,
        generator: np.random.Generator,
        truncation: float,
        modes: bool,
        network: Generator,
        beside: torch.Tensor | None,
    ) -> torch.Tensor:
        """Return a style (1, W) on the CPU: the mean or, with ``modes``, a cluster's centre, and a drawn deviation.

        ``truncation`` is the share of the deviation that is kept. Clusters are drawn by their shares of the people.
        ``beside`` are the `surroundings` (1, 27) that the style suits; None: any.
        """
        moved = torch.zeros_like(self.latent_mean) if beside is None else (beside[0] - self.beside) @ self.slopes
        noise = torch.from_numpy(generator.standard_normal(len(self.latent_mean)).astype(np.float32))
        if modes:
            edges = self.shares.double().cumsum(0).numpy()
            pick = min(int(np.searchsorted(edges, generator.random() * edges[-1], "right")), len(edges) - 1)
            z, factor = self.centres[pick] + moved, self.factors[pick]
            centre = network.style(z[None])
        else:
            z, factor, centre = self.latent_mean + moved, self.latent_factor, self.mean[None]
        return centre + truncation * (network.style((z + factor @ noise)[None]) - centre)


@torch.no_grad()
def describe(
    means: torch.Tensor, variances: torch.Tensor, beside: torch.Tensor, network: Generator, clusters: int, seed: int
) -> Styles:
    """Return the statistics of the fitted people's latents: means and variances (N, Z), `surroundings` (N, 27), CPU.

    Clusters are k-means'; every one has several people, those of fewer than two are dropped. The covariance of a
    cluster is mixed with that of all clusters, which counts as much as one person per number in a latent.
    """
    average = beside.double().mean(0)
    known = beside.double() - average
    z = means.double()
    penalty = RIDGE * torch.eye(SURROUNDINGS, dtype=torch.float64)
    slopes = torch.linalg.solve(known.T @ known + penalty, known.T @ (z - z.mean(0)))
    z = z - known @ slopes
    own = torch.diag(variances.double().mean(0) + 1e-6)
    points = z.numpy()
    count = max(1, min(clusters, len(points) // 4))
    _, of = kmeans2(points, count, minit="++", rng=np.random.Generator(np.random.PCG64(seed)))
    members = [z[torch.from_numpy(of == n)] for n in range(count)]
    members = [some for some in members if len(some) >= 2] or [z]
    scatters = [_scatter(some) for some in members]
    people = sum(len(some) for some in members)
    within = torch.stack(scatters).sum(0) / people
    prior = z.shape[1]
    factors = [
        torch.linalg.cholesky((scatter + prior * within) / (len(some) + prior) + own)
        for some, scatter in zip(members, scatters, strict=True)
    ]
    return Styles(
        z.mean(0).float(),
        torch.linalg.cholesky(_scatter(z) / max(1, len(z) - 1) + own).float(),
        network.style(means).mean(0),
        torch.tensor([len(some) / people for some in members]),
        torch.stack([some.mean(0) for some in members]).float(),
        torch.stack(factors).float(),
        average.float(),
        slopes.float(),
    )


def _scatter(z: torch.Tensor) -> torch.Tensor:
    """Return the sum of the outer products of deviations from the mean, (Z, Z)."""
    centred = z - z.mean(0)
    return centred.T @ centred
