"""An attacker learns what is true of people from crops of them: one network, one layer for all that it guesses."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import torch
from pydantic import Field, FiniteFloat, model_validator
from torch import nn
from torch.nn import functional

from anonbench.attack.code import attacker_code
from anonbench.attack.contract import Traits
from anonbench.attack.fitting import Student, changed_pairs, check_outputs, fit, restore, sha256_of
from anonbench.attack.guessing import Guessed
from anonbench.attack.learning import Attacker, moved, tensor_of
from anonbench.attack.networks import build, scaled
from anonbench.attack.options import AttackerConfig
from anonbench.attack.record import AGAIN, RECORD, read_attacker
from anonbench.attack.subjects import Subjects
from anonbench.blocks import Strict
from anonbench.errors import AnonbenchError
from anonbench.learning.devices import deterministic
from anonbench.seeding import generator

Guess = Callable[[np.ndarray], Guessed]
"""What an attacker that has learnt guesses of crops uint8 (N, height, width, 3)."""
FEWEST_OWN = 4
"""People whom an attacker needs to learn from."""


@dataclass(frozen=True)
class Sheet:
    """What an attacker guesses, and in what order it says so.

    ``values``: by attribute, its values; ``priors``: by attribute, the shares of its own people; ``numbers``: by name,
    means and standard deviations (K each) of its own people's. ``notes``: by attribute, why nothing is guessed of it.
    """

    values: dict[str, list[str]]
    priors: dict[str, list[float]]
    numbers: dict[str, dict[str, list[float]]]
    notes: dict[str, str]

    @classmethod
    def of(cls, traits: Traits) -> Sheet:
        """Return what can be learnt of people of whom this is true; raise AnonbenchError where it is nothing."""
        found = cls({}, {}, {}, {})
        for name, labels in traits.labels.items():
            values, counts = np.unique([v for v in labels if v is not None], return_counts=True)
            if len(values) < 2:
                found.notes[name] = "has one value alone among those whom the attacker learns from"
                continue
            found.values[name] = values.tolist()
            found.priors[name] = (counts / counts.sum()).tolist()
        for name, numbers in traits.numbers.items():
            there = numbers[np.isfinite(numbers).all(axis=1)]
            if len(there) < FEWEST_OWN:
                found.notes[name] = f"is known of fewer than {FEWEST_OWN} of those whom the attacker learns from"
                continue
            deviations = there.std(axis=0)
            found.numbers[name] = {
                "means": there.mean(axis=0).tolist(),
                "deviations": np.where(deviations > 0, deviations, 1.0).tolist(),
            }
        if not found.values and not found.numbers:
            why = "; ".join(f"{name} {text}" for name, text in found.notes.items())
            raise AnonbenchError(
                f"nothing can be learnt of the attacker's own people{': ' if why else ''}{why}",
                entry="attack.own",
                remedy="give them attributes of two values, or leave out the attack",
            )
        return found

    @property
    def sizes(self) -> list[int]:
        """Return how many outputs each attribute has, and then each of the numbers."""
        return [len(of) for of in self.values.values()] + [len(of["means"]) for of in self.numbers.values()]

    def targets(self, traits: Traits) -> list[torch.Tensor]:
        """Return what the outputs are to be.

        By attribute, int64 (N,), the place of the value or -1; then by name of numbers, float32 (N, K), in standard
        deviations from the mean, NaN where there are none.
        """
        found: list[torch.Tensor] = []
        for name, values in self.values.items():
            place = {value: k for k, value in enumerate(values)}
            found.append(torch.tensor([place.get(label, -1) for label in traits.labels[name]]))
        for name, of in self.numbers.items():
            scaled = (traits.numbers[name] - np.array(of["means"])) / np.array(of["deviations"])
            found.append(torch.from_numpy(scaled.astype(np.float32)))
        return found


class _Moments(Strict):
    """Means and standard deviations of numbers, as a record has them."""

    means: list[FiniteFloat] = Field(min_length=1)
    deviations: list[Annotated[FiniteFloat, Field(gt=0)]]


class _Guesses(Strict):
    """A `Sheet`, as a record has it."""

    values: dict[str, Annotated[list[str], Field(min_length=2)]]
    priors: dict[str, list[Annotated[FiniteFloat, Field(gt=0)]]]
    numbers: dict[str, _Moments]
    notes: dict[str, str]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.priors.keys() != self.values.keys():
            raise ValueError("values and priors differ")
        if not all(len(of) == len(set(of)) == len(self.priors[name]) for name, of in self.values.items()):
            raise ValueError("values stand there twice, or without a prior")
        if not all(len(of.means) == len(of.deviations) for of in self.numbers.values()):
            raise ValueError("means and deviations differ")
        if not self.values and not self.numbers:
            raise ValueError("nothing is guessed")
        return self


class Guesser(nn.Module):
    """A network that describes a crop, and one layer that turns the description into all guesses."""

    def __init__(self, network: str, dimensions: int, outputs: int) -> None:
        """Build it with random weights; raise AnonbenchError for an unknown name."""
        super().__init__()
        self.network = build(network, dimensions)
        self.head = nn.Linear(dimensions, outputs)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Return (N, outputs) of crops uint8 (N, 3, height, width)."""
        found: torch.Tensor = self.head(functional.gelu(self.network(scaled(crops))))
        return found


@dataclass(frozen=True)
class OwnTruth:
    """Crops uint8 (N, 3, height, width) of people, and what outputs they are to give (see `Sheet.targets`)."""

    crops: torch.Tensor = field(repr=False)
    targets: list[torch.Tensor] = field(repr=False)


class Supervision(Attacker[OwnTruth]):
    """Cross-entropy of each attribute over the logarithm of its number of values, squared errors of numbers.

    The loss is their mean, over what is known of each person. Blind guesses have a loss of about one, whatever the
    number of values.
    """

    def __init__(
        self, guesser: Guesser, own: OwnTruth, sheet: Sheet, config: AttackerConfig, seed: int, device: torch.device
    ) -> None:
        """Prepare the training; raise AnonbenchError with too few people."""
        if len(own.crops) < FEWEST_OWN:
            raise AnonbenchError(f"{len(own.crops)} people are too few to learn from", entry="attack.own")
        super().__init__(guesser, config, seed, device, config.iterations, config.learning_rate)
        self.own, self.sheet = own, sheet

    def batches(self, first: int) -> Generator[OwnTruth, None, None]:
        for iteration in range(first, self.iterations):
            random = generator("attacker", self.seed, iteration)
            rows = torch.from_numpy(random.permutation(len(self.own.crops))[: self.config.batch_size])
            (crops,) = moved(self.config, random, self.own.crops[rows])
            yield OwnTruth(crops, [target[rows] for target in self.own.targets])

    def step(self, batch: OwnTruth, iteration: int) -> dict[str, float]:
        outputs = self.network(batch.crops.to(self.device)).split(self.sheet.sizes, dim=1)
        terms = []
        for output, target in zip(outputs, batch.targets, strict=True):
            wanted = target.to(self.device)
            known = wanted >= 0 if wanted.ndim == 1 else ~wanted.isnan().any(1)
            if not known.any():
                continue
            if wanted.ndim == 1:
                terms.append(functional.cross_entropy(output[known], wanted[known]) / np.log(output.shape[1]))
            else:
                terms.append(functional.mse_loss(output[known], wanted[known]))
        if not terms:
            return {"loss": 0.0}
        loss = torch.stack(terms).mean()
        return self.descend(loss, {"loss": loss}, iteration)

    def size(self, batch: OwnTruth) -> int:
        return len(batch.crops)


def learn_to_guess(
    attack: str, config: AttackerConfig, seen: Subjects, truth: Traits, origin: Mapping[str, Any], seed: int, out: Path,
    *, raw: Subjects | None = None, device: str = "auto", threads: int = 1, logs: Path | None = None,
) -> None:  # fmt: skip
    """Let an attacker learn what is true of people of its own; write its weights and, last, ``attacker.json``.

    ``seen`` are they as the method leaves them; ``origin`` is what the record says of them. One that restores pictures
    looks at what is restored as at an original, and needs ``raw``, the same people in the original images.
    """
    shown = raw if raw is not None and config.restores else seen
    undo = None if raw is None else changed_pairs(config, seen, raw)
    sheet = Sheet.of(truth)
    own = OwnTruth(tensor_of(shown.crops), sheet.targets(truth))
    guesses = {"values": sheet.values, "priors": sheet.priors, "numbers": sheet.numbers, "notes": sheet.notes}

    def make(where: torch.device) -> Student:
        guesser = Guesser(config.network, config.dimensions, sum(sheet.sizes)).to(where)
        known = {who for who in seen.identities if who is not None}
        return Student(guesser, Supervision(guesser, own, sheet, config, seed, where), {"people": len(known)})

    fit(
        attack, config, [seen.crops], dict(origin), seed, out, make, code=attacker_code(attack, config),
        facts={"guesses": guesses, "truth_sha256": [sha256_of(target.numpy()) for target in own.targets]},
        undo=undo, device=device, threads=threads, logs=logs,
    )  # fmt: skip


def guess_with(folder: Path, device: str = "auto", threads: int = 1) -> Guess:
    """Return a learnt attacker's guesses of crops; raise AnonbenchError when its files are damaged."""
    record, config = read_attacker(folder)
    try:
        sheet = Sheet(**_Guesses.model_validate(record["guesses"]).model_dump())
    except (KeyError, ValueError):
        raise AnonbenchError("does not say what the attacker guesses", file=folder / RECORD, remedy=AGAIN) from None
    network, where = restore(
        folder, lambda one, _: Guesser(one.network, one.dimensions, sum(sheet.sizes)), device, threads
    )

    def guess(crops: np.ndarray) -> Guessed:
        outputs = _outputs(network, crops, where, config.horizontal_flip > 0)
        check_outputs(outputs, crops, folder)
        each = dict(
            zip([*sheet.values, *sheet.numbers], np.split(outputs, np.cumsum(sheet.sizes)[:-1], 1), strict=True)
        )
        return Guessed(
            values=sheet.values,
            chances={name: _softmax(each[name]) for name in sheet.values},
            priors={name: np.array(sheet.priors[name]) for name in sheet.values},
            numbers={
                name: each[name] * np.array(of["deviations"]) + np.array(of["means"])
                for name, of in sheet.numbers.items()
            },
            notes=sheet.notes,
        )

    return guess


@torch.no_grad()
def _outputs(
    network: nn.Module, crops: np.ndarray, where: torch.device, mirrored: bool, chunk: int = 256
) -> np.ndarray:
    """Return a guesser's outputs float64 (N, outputs): if ``mirrored``, means over each crop and its mirror image."""
    network.eval()
    found = []
    with deterministic():
        for part in tensor_of(crops).split(chunk):
            pixels = part.to(where)
            one = network(pixels)
            found.append((one + network(pixels.flip(3))) / 2 if mirrored else one)
    return torch.cat(found).double().cpu().numpy()


def _softmax(outputs: np.ndarray) -> np.ndarray:
    raised = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))
