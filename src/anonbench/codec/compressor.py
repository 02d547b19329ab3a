"""A fitted codec at work: pixels to streams and back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anonbench import portable
from anonbench.codec import MAX_PIXELS, stream, weights
from anonbench.codec.networks import Codec, padded
from anonbench.codec.stream import MODEL_BYTES, Stream
from anonbench.codec.tables import Tables, costs
from anonbench.errors import AnonbenchError
from anonbench.files import sha256_file
from anonbench.learning import memory
from anonbench.learning.devices import choose_device, set_deterministic

AGAIN = "fit the codec again (anonbench fit), or give other weights"


@dataclass(frozen=True, slots=True)
class Coded:
    """An image on its way: ``latents`` int32 CxHxW in steps, the number of the ``step``, and the image's size."""

    latents: np.ndarray
    step: int
    width: int
    height: int


class Compressor:
    """Encodes and decodes images (uint8 HxWx3 RGB) with fitted weights.

    On processors an image is worked on by the calling thread alone, held to instructions that all x86-64 processors
    with AVX2 have, so that all make the same streams and the same pixels of them.
    """

    def __init__(self, codec: Codec, tables: list[Tables], model: bytes, device: torch.device) -> None:
        self.codec, self.tables, self.model, self.device = codec.to(device), tables, model, device
        self.architecture = codec.architecture
        self._bits: dict[int, np.ndarray] = {}

    @classmethod
    def load(cls, path: Path, device: str = "auto") -> tuple[Compressor, dict[str, Any]]:
        """Read what `weights.save` wrote; return what the codec was fitted on, too. Raises AnonbenchError."""
        chosen = choose_device(device)
        if chosen.type == "cpu":
            portable.require_here("a codec on a processor")
        else:
            set_deterministic()
        codec, tables, origin = weights.load(path)
        return cls(codec, tables, bytes.fromhex(sha256_file(path))[:MODEL_BYTES], chosen), origin

    def number_of(self, step: float) -> int:
        """Return the number of a step; raise AnonbenchError for one that the weights have no tables for."""
        steps = [one.step for one in self.tables]
        if step not in steps:
            known = ", ".join(f"{one:g}" for one in steps)
            raise AnonbenchError(
                f"the codec was fitted for the steps {known}, not for {step:g}",
                entry="step",
                remedy="choose one of them, or name it in fit.steps",
            )
        return steps.index(step)

    def longest(self, max_pixels: int) -> int:
        """Return how many bytes no stream of an image of ``max_pixels``, padded, exceeds.

        A latent takes 24 bits of the coder's and five bytes of an escape at most, and a header is short.
        """
        return 64 + 9 * self.architecture.channels * (max_pixels // self.architecture.stride**2)

    def encode(self, pixels: np.ndarray, step: float = 1.0, random: np.random.Generator | None = None) -> bytes:
        """Return an image's stream."""
        return self.pack(self.analyse(pixels, step, random))

    def decode(self, data: bytes, *, max_pixels: int = MAX_PIXELS, file: str | Path | None = None) -> np.ndarray:
        """Return the image of a stream; raise AnonbenchError (naming ``file``) for one that is not whole and ours."""
        return self.synthesise(self.unpack(data, max_pixels=max_pixels, file=file), file=file)

    def analyse(
        self,
        pixels: np.ndarray,
        step: float = 1.0,
        random: np.random.Generator | None = None,
        *,
        file: str | Path | None = None,
    ) -> Coded:
        """Return an image's latents, rounded; ``random`` gives the numbers of the noise channel, where there is one.

        Without it they come from the operating system, and no two streams of an image are alike. Raises AnonbenchError
        (naming ``file``) where the memory is not enough, or the weights overflow.
        """
        self.number_of(step)  # before the network runs
        return self.rounded(self.latents(pixels, random, file=file), step, pixels.shape[:2], file=file)

    def latents(
        self, pixels: np.ndarray, random: np.random.Generator | None = None, *, file: str | Path | None = None
    ) -> np.ndarray:
        """Return an image's latents before they are rounded, float32 CxHxW, their noise included.

        ``random`` and what is raised are as of `analyse`.
        """
        height, width = pixels.shape[:2]
        self._settle()
        with self._room(width, height, file), torch.inference_mode():
            x = torch.from_numpy(np.array(pixels, order="C")).to(self.device).permute(2, 0, 1)[None].float() / 255
            y: np.ndarray = self.codec.latents(padded(x, self.architecture.stride))[0].cpu().numpy()
        if self.architecture.noise:
            random = random or np.random.default_rng()
            y = y + np.float32(self.architecture.noise) * random.standard_normal(y.shape, np.float32)
        return y

    def rounded(
        self, latents: np.ndarray, step: float, size: tuple[int, int], *, file: str | Path | None = None
    ) -> Coded:
        """Return the latents of an image of ``size`` (height, width), in steps; raise AnonbenchError as `analyse`."""
        number, steps = self.number_of(step), np.rint(latents / np.float32(step))
        if not np.isfinite(steps).all():
            raise AnonbenchError("the codec's weights make no finite latents of it", file=file, remedy=AGAIN)
        return Coded(np.clip(steps, -(1 << 30), 1 << 30).astype(np.int32), number, size[1], size[0])

    def synthesise(self, coded: Coded, *, file: str | Path | None = None) -> np.ndarray:
        """Return the image of latents; raise AnonbenchError as `analyse` does."""
        self._settle()
        with self._room(coded.width, coded.height, file), torch.inference_mode():
            y = torch.from_numpy(coded.latents).to(self.device)[None].float() * self.tables[coded.step].step
            x = self.codec.images(y)[0, :, : coded.height, : coded.width]
            if not bool(torch.isfinite(x).all()):
                raise AnonbenchError("the codec's weights make no finite pixels of it", file=file, remedy=AGAIN)
            return (x * 255).round().clamp(0, 255).byte().permute(1, 2, 0).contiguous().cpu().numpy()

    def stream(self, coded: Coded) -> Stream:
        """Return the stream of latents, in its parts."""
        escapes, words = stream.write(coded.latents, self.tables[coded.step])
        return Stream(self.model, coded.step, coded.width, coded.height, escapes, words)

    def pack(self, coded: Coded) -> bytes:
        """Return the stream of latents."""
        return self.stream(coded).pack()

    def unpack(self, data: bytes, *, max_pixels: int = MAX_PIXELS, file: str | Path | None = None) -> Coded:
        """Return the latents of a stream: those that were packed, exactly."""
        told = Stream.unpack(data, self.model, file=file)
        if told.step >= len(self.tables):
            raise AnonbenchError(
                f"has the step number {told.step} of {len(self.tables)}",
                file=file,
                remedy="give the weights that it was encoded with",
            )
        stream.check_size(told.width, told.height, self.architecture, max_pixels, file=file)
        with self._room(told.width, told.height, file):
            latents = stream.read(told, self.architecture, self.tables[told.step], file=file)
        return Coded(latents, told.step, told.width, told.height)

    def estimate(self, coded: Coded) -> float:
        """Return the bits that the density gives for latents: what training minimises, without header or rounding."""
        tables, bits = self.tables[coded.step], self._costs(coded.step)
        places = coded.latents.reshape(len(coded.latents), -1).astype(np.int64) - tables.first[:, None]
        sizes = tables.sizes.astype(np.int64)[:, None]
        outside = (places < 0) | (places >= sizes - 1)
        starts = np.cumsum(sizes, 0) - sizes
        total = float(bits[starts + np.where(outside, sizes - 1, places)].sum())
        for channel in np.flatnonzero(outside.any(1)).tolist():
            total += self._far(channel, (places + tables.first[:, None])[channel][outside[channel]], tables.step)
        return total

    def _costs(self, step: int) -> np.ndarray:
        """Return `tables.costs` of a step, computed once."""
        if step not in self._bits:
            self._settle()
            self._bits[step] = costs(self.codec.density, self.tables[step])
        return self._bits[step]

    def _far(self, channel: int, latents: np.ndarray, step: float) -> float:
        """Return the bits of latents of a channel that its table does not hold."""
        self._settle()
        with torch.inference_mode():
            y = torch.zeros(1, self.architecture.channels, 1, len(latents), device=self.device)
            y[0, channel, 0] = torch.from_numpy(latents).to(self.device).float() * step
            return float(-torch.log2(self.codec.density(y, step)[0, channel].double()).sum())

    @contextlib.contextmanager
    def _room(self, width: int, height: int, file: str | Path | None) -> Iterator[None]:
        """Raise AnonbenchError where an image has no place in memory."""
        try:
            yield
        except memory.FAILURES as error:
            if not memory.exhausted(error):
                raise
            where = "the GPU's memory" if isinstance(error, torch.OutOfMemoryError) else "the memory"
            raise AnonbenchError(
                f"{where} is not enough for an image of {width}x{height} at a time",
                file=file,
                remedy="take a smaller image or codec, or a machine with more",
            ) from None

    def _settle(self) -> None:
        if self.device.type == "cpu":
            torch.set_num_threads(1)  # of this thread: sums stay the same
