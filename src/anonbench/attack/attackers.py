"""Attackers that learn: the files of one, and how it describes a crop."""

from __future__ import annotations

import hashlib
import time
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
from anonbench.attack.contract import Describe, Matching
from anonbench.attack.learning import Contrast, OwnPeople
from anonbench.attack.networks import Embedder, embed
from anonbench.attack.options import AttackerConfig
from anonbench.attack.record import CHECKPOINT, RECORD, TIMING, WEIGHTS, read_attacker
from anonbench.attack.subjects import Subjects
from anonbench.errors import AnonbenchError
from anonbench.files import sha256_file, write_json
from anonbench.learning.devices import choose_device, deterministic, held, hold
from anonbench.learning.files import key_of, save_tensors
from anonbench.learning.loop import run
from anonbench.resources import peak_memory
from anonbench.seeding import seed_of

ENTRY = "attack.attackers determinism: portable"


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
    plugin: Matching = registry.load("attacks", attack)()
    where = choose_device(device)
    level = portable.level(config.determinism, where.type, entry=ENTRY)
    hold(level, threads, ENTRY)
    people = OwnPeople.of(seen.crops, raw.crops, plugin.people(raw))
    code, folder = attacker_code(attack), logs or out
    with deterministic():
        torch.manual_seed(seed_of("attacker", seed))
        embedder = Embedder(config.network, config.dimensions).to(where)
        digests = [sha256_of(one.crops) for one in (seen, raw)]
        key = key_of(attack, config.model_dump(mode="json"), origin, digests, seed, where.type, code)
        ran = run(Contrast(embedder, people, config, seed, where), folder / CHECKPOINT, key)
    save_tensors({name: value.cpu().contiguous() for name, value in embedder.state_dict().items()}, out / WEIGHTS)
    write_json(folder / TIMING, {"seconds": round(time.perf_counter() - started, 2), **peak_memory()})
    write_json(
        out / RECORD,
        {
            "attack": attack,
            "attacker": config.model_dump(mode="json"),
            "own": {**origin, "people": len(people.members), "crops": len(seen), "crops_sha256": digests},
            "seed": seed,
            "loss_curve": ran.curve,
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
    (folder / CHECKPOINT).unlink(missing_ok=True)


def sha256_of(crops: np.ndarray) -> str:
    """Return the hash of crops."""
    return hashlib.sha256(np.ascontiguousarray(crops).tobytes()).hexdigest()


def describe_with(folder: Path, device: str = "auto", threads: int = 1) -> Describe:
    """Return a learnt attacker's description of crops; raise AnonbenchError when its files are damaged."""
    record, config = read_attacker(folder)
    file = folder / WEIGHTS
    if not file.is_file() or sha256_file(file) != record.get("weights_sha256"):
        raise AnonbenchError("is missing or not what attacker.json tells of", file=file, remedy="let it learn again")
    where = choose_device(device)
    hold(portable.level(config.determinism, where.type, entry=ENTRY), threads, ENTRY)
    embedder = Embedder(config.network, config.dimensions)
    try:
        embedder.load_state_dict(load_file(file))
    except (SafetensorError, RuntimeError) as error:
        raise AnonbenchError(f"cannot be read ({error})", file=file, remedy="let it learn again") from None
    embedder.to(where)

    def describe(crops: np.ndarray) -> np.ndarray:
        with deterministic():
            pixels = torch.from_numpy(np.ascontiguousarray(crops.transpose(0, 3, 1, 2))).to(where)
            found = embed(embedder, pixels, config.horizontal_flip > 0)
        vectors = found.float().cpu().numpy()
        if not np.isfinite(vectors).all():
            raise AnonbenchError("gives numbers that are not finite", file=file, remedy="let it learn again")
        if len(vectors) > 1 and np.ptp(vectors, axis=0).max() < 1e-6:
            raise AnonbenchError(
                "gives the same numbers for everybody: the attack has failed and says nothing of privacy",
                file=file,
                remedy="give it more iterations or another learning_rate",
            )
        return vectors

    return describe
