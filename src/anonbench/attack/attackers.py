"""Attackers that learn: the files of one, and how it describes a crop."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

import anonbench
from anonbench import portable, registry
from anonbench.attack.code import attacker_code
from anonbench.attack.contract import Attack, Describe
from anonbench.attack.learning import Contrast, OwnPeople
from anonbench.attack.networks import Embedder, embed
from anonbench.attack.options import AttackerConfig
from anonbench.attack.record import CHECKPOINT, RECORD, RESTORER, TIMING, WEIGHTS, read_attacker
from anonbench.attack.restoration import Restoration, UNet, restore
from anonbench.attack.subjects import Subjects
from anonbench.errors import AnonbenchError
from anonbench.files import sha256_file, write_json
from anonbench.learning.devices import choose_device, deterministic, held, hold
from anonbench.learning.files import key_of, save_tensors
from anonbench.learning.loop import run
from anonbench.resources import peak_memory
from anonbench.seeding import seed_of

ENTRY = "attack.attackers determinism: portable"
OF_RESTORER = "restorer."
"""Begins the names of a restorer's weights, which lie in one file with those of the network that looks."""


def learn(
    attack: str, config: AttackerConfig, seen: Subjects, raw: Subjects, origin: dict[str, Any], seed: int, out: Path,
    *, device: str = "auto", threads: int = 1, logs: Path | None = None,
) -> None:  # fmt: skip
    """Let an attacker learn from people of its own; write ``weights.safetensors`` and, last, ``attacker.json``.

    ``seen`` are they as the method leaves them, ``raw`` in the original images; ``origin`` is what the record says of
    them. A killed run continues from its checkpoint in ``logs`` (``out`` unless given).
    """
    started = time.perf_counter()
    (out / RECORD).unlink(missing_ok=True)
    plugin: Attack = registry.load("attacks", attack)()
    where = choose_device(device)
    level = portable.level(config.determinism, where.type, entry=ENTRY)
    hold(level, threads, ENTRY)
    code, folder = attacker_code(attack), logs or out
    digests = [sha256_of(one.crops) for one in (seen, raw)]
    identified = attack, config.model_dump(mode="json"), origin, digests, seed, where.type, code
    with deterministic():
        restorer, undone = _restorer(config, seen, raw, seed, where, folder / RESTORER, identified)
        if config.restores:
            seen = raw  # what is restored is looked at as an original is
        people = OwnPeople.of(seen.crops, (seen if plugin.within else raw).crops, plugin.people(raw))
        torch.manual_seed(seed_of("attacker", seed))
        embedder = Embedder(config.network, config.dimensions).to(where)
        ran = run(Contrast(embedder, people, config, seed, where), folder / CHECKPOINT, key_of(*identified))
    tensors = {**embedder.state_dict(), **{f"{OF_RESTORER}{name}": value for name, value in restorer.items()}}
    save_tensors({name: value.cpu().contiguous() for name, value in tensors.items()}, out / WEIGHTS)
    write_json(folder / TIMING, {"seconds": round(time.perf_counter() - started, 2), **peak_memory()})
    write_json(
        out / RECORD,
        {
            "attack": attack,
            "attacker": config.model_dump(mode="json"),
            "own": {**origin, "people": len(people.members), "crops": len(seen), "crops_sha256": digests},
            "seed": seed,
            "loss_curve": ran.curve,
            **({"restorer": undone} if config.restores else {}),
            "weights_sha256": sha256_file(out / WEIGHTS),
            "code": code,
            "threads": threads,
            "device": portable.processor() if level == "portable" else where.type,
            **held(level),
            "versions": {
                "python": portable.python(),
                "torch": torch.__version__,
                "torchvision": version("torchvision"),
                "anonbench": anonbench.__version__,
            },
        },
    )
    for checkpoint in (CHECKPOINT, RESTORER):
        (folder / checkpoint).unlink(missing_ok=True)


def _restorer(
    config: AttackerConfig, seen: Subjects, raw: Subjects, seed: int, where: torch.device, checkpoint: Path,
    identified: tuple[Any, ...],
) -> tuple[dict[str, torch.Tensor], dict[str, Any] | None]:  # fmt: skip
    """Let an attacker that restores pictures by a network learn to; return the weights, and what the record says of it.

    It learns from those whom the method has changed; {} and None where there are none, or nothing is to be learnt.
    """
    changed = seen.covered
    if config.restores is None or config.inverts or not changed.any():
        return {}, None
    torch.manual_seed(seed_of("restorer", seed))
    network = UNet(config.restores.widths).to(where)
    learner = Restoration(network, seen.crops[changed], raw.crops[changed], config, seed, where)
    ran = run(learner, checkpoint, key_of("restorer", *identified))
    return network.state_dict(), {"crops": int(changed.sum()), "loss_curve": ran.curve}


def sha256_of(crops: np.ndarray) -> str:
    """Return the hash of crops."""
    return hashlib.sha256(np.ascontiguousarray(crops).tobytes()).hexdigest()


def _tensors(folder: Path, restorer: bool) -> dict[str, torch.Tensor]:
    """Return the weights of an attacker's network, or of its restorer's ({}: it has none); check the file."""
    record, _ = read_attacker(folder)
    file = folder / WEIGHTS
    if not file.is_file() or sha256_file(file) != record.get("weights_sha256"):
        raise AnonbenchError("is missing or not what attacker.json tells of", file=file, remedy="let it learn again")
    try:
        tensors = load_file(file)
    except SafetensorError as error:
        raise _unreadable(file, error) from None
    return {n.removeprefix(OF_RESTORER): t for n, t in tensors.items() if n.startswith(OF_RESTORER) == restorer}


def _unreadable(file: Path, error: Exception) -> AnonbenchError:
    return AnonbenchError(f"cannot be read ({error})", file=file, remedy="let it learn again")


def _held(config: AttackerConfig, device: str, threads: int) -> torch.device:
    """Hold this process to what an attacker asks for; return the device."""
    where = choose_device(device)
    hold(portable.level(config.determinism, where.type, entry=ENTRY), threads, ENTRY)
    return where


def restored_by(folder: Path, seen: Subjects, device: str = "auto", threads: int = 1) -> Subjects:
    """Return people as a learnt attacker sees them: those whom the method has changed restored, if it has a restorer.

    Raises AnonbenchError when its files are damaged.
    """
    _, config = read_attacker(folder)
    tensors = _tensors(folder, restorer=True)
    if not tensors or not seen.covered.any():
        return seen
    where = _held(config, device, threads)
    assert config.restores is not None
    network = UNet(config.restores.widths)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise _unreadable(folder / WEIGHTS, error) from None
    crops = seen.crops.copy()
    with deterministic():
        crops[seen.covered] = restore(network.to(where), crops[seen.covered], where)
    return replace(seen, crops=crops)


def describe_with(folder: Path, device: str = "auto", threads: int = 1) -> Describe:
    """Return a learnt attacker's description of crops; raise AnonbenchError when its files are damaged."""
    _, config = read_attacker(folder)
    file, tensors = folder / WEIGHTS, _tensors(folder, restorer=False)
    where = _held(config, device, threads)
    embedder = Embedder(config.network, config.dimensions)
    try:
        embedder.load_state_dict(tensors)
    except RuntimeError as error:
        raise _unreadable(file, error) from None
    embedder.to(where)

    def describe(crops: np.ndarray) -> np.ndarray:
        with deterministic():
            pixels = torch.from_numpy(np.ascontiguousarray(crops.transpose(0, 3, 1, 2))).to(where)
            found = embed(embedder, pixels, config.horizontal_flip > 0)
        vectors = found.float().cpu().numpy()
        if not np.isfinite(vectors).all():
            raise AnonbenchError("gives numbers that are not finite", file=file, remedy="let it learn again")
        # of equal pictures there is nothing else to say: their scores tie, and nobody is found but by chance
        if np.ptp(vectors, axis=0).max(initial=0.0) < 1e-6 and (crops != crops[:1]).any():
            raise AnonbenchError(
                "gives the same numbers for everybody: the attack has failed and says nothing of privacy",
                file=file,
                remedy="give it more iterations or another learning_rate",
            )
        return vectors

    return describe
