"""The style space of a fitted generator, and how a person's style is drawn from it.

Latents are drawn from a normal distribution with the mean and covariance of the fitted people's latents (ex-post
density estimation, Ghosh et al. 2020), since a short training leaves them far from the standard normal. Truncation
moves the style towards the mean (Karras et al. 2019) or towards a cluster centre (after the multi-modal truncation of
Mokady et al. 2022, as in DeepPrivacy2), which keeps people different from each other. Around a centre the deviation
from the mean is kept, not that from the centre: drawn styles lie nearer to the middle than people's do, and look dull.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.cluster.vq import kmeans2

from anonbench.anonymize.gan.networks import Architecture, Generator


@dataclass(frozen=True, slots=True)
class Styles:
    """``latent_mean`` (Z,), ``latent_factor`` (Z, Z; Cholesky's), ``mean`` (W,), ``centres`` (K, W); float32."""

    latent_mean: torch.Tensor
    latent_factor: torch.Tensor
    mean: torch.Tensor
    centres: torch.Tensor

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
        shapes = {"latent_mean": (z,), "latent_factor": (z, z), "mean": (w,), "centres": (0, w)}
        return {f"styles.{name}": shape for name, shape in shapes.items()}

    def draw(self, generator: np.random.Generator, truncation: float, modes: bool, network: Generator) -> torch.Tensor:
        """Return a style (1, W) on the CPU: the mean or, with ``modes``, a cluster's centre, and a drawn deviation.

        ``truncation`` is the share of the deviation that is kept.
        """
        noise = torch.from_numpy(generator.standard_normal(len(self.latent_mean)).astype(np.float32))
        z = self.latent_mean + self.latent_factor @ noise
        w = network.style(z[None])
        centre = self.mean[None]
        if modes:  # a random one: the nearest one would favour the clusters that the distribution's middle lies in
            pick = int(generator.integers(len(self.centres)))
            centre = self.centres[pick : pick + 1]
        return centre + truncation * (w - self.mean)


@torch.no_grad()
def describe(means: torch.Tensor, variances: torch.Tensor, network: Generator, clusters: int, seed: int) -> Styles:
    """Return the statistics of the fitted people's latents: means and variances (N, Z) on the CPU.

    Every centre is the mean of several people's styles; clusters of fewer than two are dropped.
    """
    z = means.double()
    centred = z - z.mean(0)
    covariance = centred.T @ centred / max(1, len(z) - 1) + torch.diag(variances.double().mean(0))
    factor = torch.linalg.cholesky(covariance + 1e-6 * torch.eye(z.shape[1], dtype=torch.float64))
    w = network.style(means)
    points = w.double().numpy()
    count = max(1, min(clusters, len(points) // 4))
    centres, of = kmeans2(points, count, minit="++", rng=np.random.Generator(np.random.PCG64(seed)))
    sizes = np.bincount(of, minlength=count)
    kept = centres[sizes >= 2] if (sizes >= 2).any() else points.mean(0, keepdims=True)
    return Styles(z.mean(0).float(), factor.float(), w.mean(0), torch.from_numpy(kept).float())
