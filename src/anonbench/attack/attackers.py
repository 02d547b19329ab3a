"""Attackers that learn which crops show the same person, and how they describe one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from anonbench import registry
from anonbench.attack.code import attacker_code
from anonbench.attack.contract import Comparing, Describe
from anonbench.attack.fitting import Student, changed_pairs, check_outputs, fit, restore
from anonbench.attack.learning import Contrast, OwnPeople, tensor_of
from anonbench.attack.networks import Embedder, embed
from anonbench.attack.options import AttackerConfig
from anonbench.attack.record import read_attacker
from anonbench.attack.subjects import Subjects
from anonbench.learning.devices import deterministic


def learn(
    attack: str, config: AttackerConfig, seen: Subjects, raw: Subjects, origin: dict[str, Any], seed: int, out: Path,
    *, device: str = "auto", threads: int = 1, logs: Path | None = None,
) -> None:  # fmt: skip
    """Let an attacker learn from people of its own; write ``weights.safetensors`` and, last, ``attacker.json``.

    ``seen`` are they as the method leaves them, ``raw`` in the original images; ``origin`` is what the record says of
    them. One that restores pictures looks at what is restored as at an original. See `fitting.fit`.
    """
    plugin: Comparing = registry.load("attacks", attack)()
    shown = raw if config.restores else seen
    people = OwnPeople.of(shown.crops, (shown if plugin.within else raw).crops, plugin.people(raw))

    def make(where: torch.device) -> Student:
        embedder = Embedder(config.network, config.dimensions).to(where)
        return Student(embedder, Contrast(embedder, people, config, seed, where), {"people": len(people.members)})

    fit(
        attack, config, [seen.crops, raw.crops], origin, seed, out, make, code=attacker_code(attack, config), facts={},
        undo=changed_pairs(config, seen, raw), device=device, threads=threads, logs=logs,
    )  # fmt: skip


def describe_with(folder: Path, device: str = "auto", threads: int = 1) -> Describe:
    """Return a learnt attacker's description of crops; raise AnonbenchError when its files are damaged."""
    _, config = read_attacker(folder)
    embedder, where = restore(folder, lambda told, _: Embedder(told.network, told.dimensions), device, threads)
    assert isinstance(embedder, Embedder)

    def describe(crops: np.ndarray) -> np.ndarray:
        with deterministic():
            found = embed(embedder, tensor_of(crops).to(where), config.horizontal_flip > 0)
        vectors = found.float().cpu().numpy()
        check_outputs(vectors, crops, folder)
        return vectors

    return describe
