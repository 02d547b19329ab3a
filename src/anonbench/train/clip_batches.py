"""Clips in the training loop: which frames of a video, which part of them, and what is learned from them.

Whatever is drawn at random is drawn once for a clip and holds for all its frames.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from anonbench.clips import Box, Kept, check_actions, check_length, largest, part, span, stretch
from anonbench.learning import distributed
from anonbench.learning.ahead import ahead
from anonbench.learning.devices import deterministic
from anonbench.learning.supervised import Supervised, autocast
from anonbench.recipe import Recipe
from anonbench.seeding import generator
from anonbench.train.clip_models import Recognition
from anonbench.train.data import Clip, VariantSplit
from anonbench.train.loop import ALONE, share_of

if TYPE_CHECKING:
    from anonbench.train.clips import Settings

Batch = tuple[torch.Tensor, torch.Tensor]
"""uint8 clips (N, 3, T, H, W), RGB, and the positions (N,) int64 of their actions."""
KEPT_BYTES = 512 << 20
"""How much of decoded frames stays in memory; the others are decoded whenever they are seen. Changes no result."""


@dataclass(frozen=True, slots=True)
class View:
    """What is seen of a clip: the positions of its frames, the rectangle (x, y, width, height in pixels) and how."""

    frames: tuple[int, ...]
    box: Box
    mirrored: bool = False
    brightness: float = 1.0
    contrast: float = 1.0


def training_view(clip: Clip, settings: Settings, draw: np.random.Generator) -> View:
    """Draw what a training sees of a clip: when, where, mirrored or not, how bright."""
    count, (width, height) = len(clip.frames), _size(clip)
    free = count - span(settings)
    start = int(draw.integers(count if free < 0 else free + 1))
    low, high = settings.crop
    w, h = largest(width, height, settings, low + (high - low) * float(draw.random()))
    x, y = int(draw.integers(width - w + 1)), int(draw.integers(height - h + 1))
    mirrored = bool(draw.random() < settings.horizontal_flip)
    brightness, contrast = (
        1.0 + most * float(draw.uniform(-1, 1)) for most in (settings.brightness, settings.contrast)
    )
    return View(stretch(count, start, settings), (x, y, w, h), mirrored, brightness, contrast)


def prediction_views(clip: Clip, settings: Settings) -> list[View]:
    """Return what a prediction sees of a clip: stretches at equal distances, from its first frame to its last.

    A single one is in the middle. Of a video that is too short for two different ones there is one.
    """
    count, (width, height) = len(clip.frames), _size(clip)
    w, h = largest(width, height, settings, settings.test_crop)
    box = ((width - w) // 2, (height - h) // 2, w, h)
    free = max(0, count - span(settings))
    wanted = settings.test_clips
    starts = [free // 2] if wanted == 1 else [round(free * k / (wanted - 1)) for k in range(wanted)]
    return [View(stretch(count, start, settings), box) for start in dict.fromkeys(starts)]


def _size(clip: Clip) -> tuple[int, int]:
    return clip.frames[0].width, clip.frames[0].height


class Reader:
    """Reads what is seen of clips; keeps ``room`` bytes of decoded frames."""

    def __init__(self, settings: Settings, room: int = KEPT_BYTES) -> None:
        self.settings, self.kept = settings, Kept(room)

    def read(self, clip: Clip, view: View) -> torch.Tensor:
        """Return a view as uint8 (3, T, H, W), RGB.

        Raises AnonbenchError when a frame is missing, damaged or of another size than annotated.
        """
        seen = np.empty((len(view.frames), self.settings.height, self.settings.width, 3), np.uint8)
        for place, frame in zip(seen, (clip.frames[position] for position in view.frames), strict=True):
            place[:] = part(self.kept.get(frame.id, frame.pixels), view.box, self.settings)
        if view.mirrored:
            seen = seen[:, :, ::-1]
        if view.brightness != 1.0 or view.contrast != 1.0:
            table = 128 + view.contrast * (view.brightness * np.arange(256) - 128)
            seen = np.clip(np.rint(table), 0, 255).astype(np.uint8)[seen]
        return torch.from_numpy(np.ascontiguousarray(seen.transpose(3, 0, 1, 2)))


@dataclass(frozen=True, slots=True)
class Batches:
    """The training batches of a variant's clips: ``batches[i]`` is that of iteration ``i``, whatever came before.

    Of several processes each has its share of every batch (see `loop.share_of`).
    """

    variant: VariantSplit
    recipe: Recipe
    seed: int
    place: distributed.Place = ALONE
    clips: tuple[Clip, ...] = field(init=False, repr=False)
    reader: Reader = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "clips", self.variant.labelled)
        object.__setattr__(self, "reader", Reader(self.recipe.settings))

    def __getitem__(self, iteration: int) -> Batch:
        """Return the clips and actions of one iteration."""
        epoch, share = share_of(len(self.clips), self.recipe, self.seed, iteration, self.place)
        seen = []
        for clip in (self.clips[index] for index in share):
            draw = generator("augment", self.recipe.seeds.of("augmentation", self.seed), epoch, clip.id)
            seen.append(self.reader.read(clip, training_view(clip, self.recipe.settings, draw)))
        return torch.stack(seen), torch.tensor([self.clips[index].action for index in share])


class Recogniser(Supervised[Batch]):
    """A network that learns the actions of clips by cross-entropy."""

    things = "clips"
    smaller = "lower settings.frames, settings.height or settings.width"

    def __init__(self, model: Recognition, batches: Batches, device: torch.device, threads: int = 0) -> None:
        super().__init__(model, batches.recipe, batches.seed, device, len(batches.clips), batches.place)
        self.data, self.threads = batches, threads

    def batches(self, first: int) -> Generator[Batch, None, None]:
        return ahead(self.data.__getitem__, first, self.iterations, self.threads)

    def size(self, batch: Batch) -> int:
        return len(batch[0]) * self.place.size

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        clips, actions = (values.to(self.device, non_blocking=True) for values in batch)
        smoothing = self.recipe.settings.label_smoothing
        return {"loss_action": cross_entropy(self.network(clips).float(), actions, label_smoothing=smoothing)}

    def part(self, batch: Batch, count: int) -> Batch:
        return batch[0][:count], batch[1][:count]


@torch.inference_mode()
def recognised(
    model: Recognition, variant: VariantSplit, recipe: Recipe, device: torch.device
) -> Iterator[tuple[Clip, list[float]]]:
    """Yield each clip that has an action with the probability of each, averaged over its stretches."""
    reader = Reader(recipe.settings, room=0)
    for clip in variant.labelled:
        seen = torch.stack([reader.read(clip, view) for view in prediction_views(clip, recipe.settings)]).to(device)
        with deterministic(recipe.strict(device.type)), autocast(recipe, device):
            logits = model(seen)
        yield clip, logits.float().softmax(dim=1).mean(dim=0).tolist()


def check_clips(variant: VariantSplit, settings: Settings) -> None:
    """Raise AnonbenchError when there is nothing to tell apart, or clips are too short."""
    shown = {variant.actions[clip.action] for clip in variant.labelled if clip.action is not None}
    check_actions(shown, variant.annotations, "train on clips of several actions")
    check_lengths(variant.labelled, settings, variant.annotations)


def check_lengths(clips: Sequence[Clip], settings: Settings, file: Path) -> None:
    """Raise AnonbenchError for the first clip that is shorter than what the network sees, if they are refused."""
    if settings.short_clips == "repeat":
        return
    remedy = "lower the recipe's settings.frames or settings.stride, or set settings.short_clips: repeat"
    short = [clip for clip in clips if len(clip.frames) < span(settings)]
    if short:
        note = f" ({len(short)} of {len(clips)} clips are too short)"
        check_length(len(short[0].frames), settings, file, short[0].id, remedy, note)
