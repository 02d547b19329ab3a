"""The training of an attacker, whatever it learns: its level of determinism, its loop, its files."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

import anonbench
from anonbench import portable
from anonbench.attack.options import AttackerConfig
from anonbench.attack.record import CHECKPOINT, RECORD, TIMING, WEIGHTS, read_attacker
from anonbench.errors import AnonbenchError
from anonbench.files import sha256_file, write_json
from anonbench.learning.devices import choose_device, deterministic, held, hold
from anonbench.learning.files import key_of, save_tensors
from anonbench.learning.loop import Learner, run
from anonbench.resources import peak_memory
from anonbench.seeding import seed_of

ENTRY = "attack.attackers determinism: portable"


class Student(NamedTuple):
    """What learns: the network whose weights are kept, its learner, and what the record says of its own people."""

    network: nn.Module
    learner: Learner[Any]
    own: dict[str, Any]


def fit(
    attack: str, config: AttackerConfig, crops: Sequence[np.ndarray], origin: dict[str, Any], seed: int, out: Path,
    make: Callable[[torch.device], Student], *, code: str, facts: dict[str, Any], device: str = "auto",
    threads: int = 1, logs: Path | None = None,
) -> None:  # fmt: skip
    """Let an attacker learn; write ``weights.safetensors`` and, last, ``attacker.json``.

    ``crops`` are what it learns from, whose hashes are recorded, ``origin`` is what the record says of where they come
    from, ``facts`` are what else it says and the result depends on, and ``code`` is the hash of the code. ``make``
    builds network and learner, with random numbers that depend on the seed alone. A killed run continues from its
    checkpoint in ``logs`` (``out`` unless given).
    """
    started = time.perf_counter()
    (out / RECORD).unlink(missing_ok=True)
    where = choose_device(device)
    level = portable.level(config.determinism, where.type, entry=ENTRY)
    hold(level, threads, ENTRY)
    folder = logs or out
    digests = [sha256_of(one) for one in crops]
    with deterministic():
        torch.manual_seed(seed_of("attacker", seed))
        student = make(where)
        key = key_of(attack, config.model_dump(mode="json"), origin, digests, seed, where.type, code, facts)
        ran = run(student.learner, folder / CHECKPOINT, key)
    tensors = {name: value.cpu().contiguous() for name, value in student.network.state_dict().items()}
    save_tensors(tensors, out / WEIGHTS)
    write_json(folder / TIMING, {"seconds": round(time.perf_counter() - started, 2), **peak_memory()})
    write_json(
        out / RECORD,
        {
            "attack": attack,
            "attacker": config.model_dump(mode="json"),
            "own": {**origin, **student.own, "crops": len(crops[0]), "crops_sha256": digests},
            **facts,
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


def restore(
    folder: Path, make: Callable[[AttackerConfig, dict[str, Any]], nn.Module], device: str = "auto", threads: int = 1
) -> tuple[nn.Module, torch.device]:
    """Return the network of an attacker that has learnt, on its device, and that device.

    ``make`` builds the network from the attacker's configuration and record. Raises AnonbenchError when the attacker's
    files are damaged.
    """
    record, config = read_attacker(folder)
    file = folder / WEIGHTS
    if not file.is_file() or sha256_file(file) != record.get("weights_sha256"):
        raise AnonbenchError("is missing or not what attacker.json tells of", file=file, remedy="let it learn again")
    where = choose_device(device)
    hold(portable.level(config.determinism, where.type, entry=ENTRY), threads, ENTRY)
    network = make(config, record)
    try:
        network.load_state_dict(load_file(file))
    except (SafetensorError, RuntimeError) as error:
        raise AnonbenchError(f"cannot be read ({error})", file=file, remedy="let it learn again") from None
    return network.to(where), where
