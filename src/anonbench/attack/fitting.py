"""The training of an attacker, whatever it learns: its level of determinism, its loop, its files."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

import anonbench
from anonbench import portable
from anonbench.attack import restoration
from anonbench.attack.options import AttackerConfig
from anonbench.attack.record import AGAIN, CHECKPOINT, RECORD, RESTORER, TIMING, WEIGHTS, read_attacker
from anonbench.attack.restoration import UNet
from anonbench.attack.subjects import OWN_IMAGES, Subjects, blank
from anonbench.errors import AnonbenchError, first_line
from anonbench.files import check_sha256, sha256_file, write_json
from anonbench.learning.devices import choose_device, deterministic, held, hold
from anonbench.learning.files import key_of, save_tensors
from anonbench.learning.loop import Learner, run
from anonbench.resources import peak_memory
from anonbench.seeding import seed_of

ENTRY = "attack.attackers determinism: portable"
OF_RESTORER = "restorer."
"""Begins the names of a restorer's weights, which lie in one file with those of the network that looks."""

Network = TypeVar("Network", bound=nn.Module)
Pairs = tuple[np.ndarray, np.ndarray]
"""Crops uint8 (N, height, width, 3) as the method leaves them, and the same as they were."""


class Student(NamedTuple):
    """What learns: the network whose weights are kept, its learner, and what the record says of its own people."""

    network: nn.Module
    learner: Learner[Any]
    own: dict[str, Any]


def fit(
    attack: str, config: AttackerConfig, crops: Sequence[np.ndarray], origin: dict[str, Any], seed: int, out: Path,
    make: Callable[[torch.device], Student], *, code: str, facts: dict[str, Any], undo: Pairs | None = None,
    device: str = "auto", threads: int = 1, logs: Path | None = None,
) -> None:  # fmt: skip
    """Let an attacker learn; write ``weights.safetensors`` and, last, ``attacker.json``.

    ``crops`` are what it learns from, whose hashes are recorded, ``origin`` is what the record says of where they come
    from (`subjects.OWN_IMAGES` apart from the rest), ``facts`` are what else it says and the result depends on, and
    ``code`` is the hash of the code. ``make`` builds network and learner, with random numbers that depend on the seed
    alone. With ``undo`` a network that restores pictures learns before, from those (see `changed_pairs`). A killed run
    continues from its checkpoints in ``logs`` (``out`` unless given).
    """
    started = time.perf_counter()
    (out / RECORD).unlink(missing_ok=True)
    where = choose_device(device)
    level = portable.level(config.determinism, where.type, entry=ENTRY)
    hold(level, threads, ENTRY)
    folder = logs or out
    digests = [sha256_of(one) for one in crops]
    pictures = {name: value for name, value in origin.items() if name == OWN_IMAGES}
    origin = {name: value for name, value in origin.items() if name != OWN_IMAGES}
    identified = attack, config.model_dump(mode="json"), origin, digests, seed, where.type, code, facts
    tensors: dict[str, torch.Tensor] = {}
    with deterministic():
        if undo is not None:
            network, curve = _restorer(config, undo, seed, where, folder / RESTORER, key_of("restorer", *identified))
            tensors = {f"{OF_RESTORER}{name}": value for name, value in network.state_dict().items()}
            facts = {**facts, "restorer": {"crops": len(undo[0]), "loss_curve": curve}}
        torch.manual_seed(seed_of("attacker", seed))
        student = make(where)
        ran = run(student.learner, folder / CHECKPOINT, key_of(*identified))
    tensors |= student.network.state_dict()
    save_tensors({name: value.cpu().contiguous() for name, value in tensors.items()}, out / WEIGHTS)
    write_json(folder / TIMING, {"seconds": round(time.perf_counter() - started, 2), **peak_memory()})
    write_json(
        out / RECORD,
        {
            "attack": attack,
            "attacker": config.model_dump(mode="json"),
            "own": {**origin, **student.own, "crops": len(crops[0]), "crops_sha256": digests},
            **pictures,
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
    for checkpoint in (CHECKPOINT, RESTORER):
        (folder / checkpoint).unlink(missing_ok=True)


def changed_pairs(config: AttackerConfig, seen: Subjects, raw: Subjects) -> Pairs | None:
    """Return what an attacker that restores pictures by a network learns that from: those whom the method has altered.

    None for others, and where nobody was: then there is nothing to restore.
    """
    if config.restores is None or config.inverts or not seen.altered.any():
        return None
    return seen.crops[seen.altered], raw.crops[seen.altered]


def _restorer(
    config: AttackerConfig, pairs: Pairs, seed: int, where: torch.device, checkpoint: Path, key: str
) -> tuple[UNet, list[dict[str, float]]]:
    """Return a network that has learnt to restore pictures, and its loss curve."""
    assert config.restores is not None
    torch.manual_seed(seed_of("restorer", seed))
    network = UNet(config.restores.widths).to(where)
    ran = run(restoration.Restoration(network, *pairs, config, seed, where), checkpoint, key)
    return network, ran.curve


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
    tensors = _tensors(folder, record)
    where = choose_device(device)
    hold(portable.level(config.determinism, where.type, entry=ENTRY), threads, ENTRY)
    own = {name: value for name, value in tensors.items() if not name.startswith(OF_RESTORER)}
    return _loaded(make(config, record), own, folder / WEIGHTS).to(where), where


def restored_by(folder: Path, seen: Subjects, device: str = "auto", threads: int = 1) -> Subjects:
    """Return people as an attacker that has learnt looks at them: restored, whom the method has altered, if it does so.

    Raises AnonbenchError when the attacker's files are damaged.
    """
    record, config = read_attacker(folder)
    shown = seen.altered & ~blank(seen.crops)  # what shows nothing has nothing to restore
    if config.restores is None or config.inverts or not shown.any():
        return seen
    tensors = _tensors(folder, record)
    own = {n.removeprefix(OF_RESTORER): value for n, value in tensors.items() if n.startswith(OF_RESTORER)}
    if bool(own) != ("restorer" in record):
        raise AnonbenchError(
            "tells of a restorer that is not there" if not own else "holds a restorer that its record does not tell of",
            file=folder / (WEIGHTS if own else RECORD),
            remedy=AGAIN,
        )
    if not own:
        return seen  # it has met nobody whom the method had changed
    where = choose_device(device)
    hold(portable.level(config.determinism, where.type, entry=ENTRY), threads, ENTRY)
    network = _loaded(UNet(config.restores.widths), own, folder / WEIGHTS).to(where)
    crops = seen.crops.copy()
    with deterministic():
        try:
            crops[shown] = restoration.restore(network, crops[shown], where)
        except ValueError as error:
            raise AnonbenchError(str(error), file=folder / WEIGHTS, remedy=AGAIN) from None
    return replace(seen, crops=crops)


def check_outputs(outputs: np.ndarray, crops: np.ndarray, folder: Path) -> None:
    """Raise AnonbenchError for an attacker, in ``folder``, whose outputs (N, K) of crops say nothing.

    That is numbers that are not finite, or the same ones of everybody. Of equal pictures there is nothing else to say:
    their scores tie, and nobody is found but by chance.
    """
    if not np.isfinite(outputs).all():
        raise AnonbenchError("gives numbers that are not finite", file=folder / WEIGHTS, remedy=AGAIN)
    if len(crops) and np.ptp(outputs, axis=0).max() < 1e-6 and (crops != crops[:1]).any():
        raise AnonbenchError(
            "says the same of everybody, who look different: the attack has failed and says nothing of privacy",
            file=folder / WEIGHTS,
            remedy="give it more iterations or another learning_rate",
        )


def _tensors(folder: Path, record: dict[str, Any]) -> dict[str, torch.Tensor]:
    file = folder / WEIGHTS
    check_sha256(file, record.get("weights_sha256"), RECORD, AGAIN)
    try:
        return load_file(file)
    except (SafetensorError, OSError, LookupError, ValueError, RuntimeError) as error:  # a type that torch lacks
        raise _unreadable(file, error) from None


def _loaded(network: Network, tensors: dict[str, torch.Tensor], file: Path) -> Network:
    types = {name: value.dtype for name, value in network.state_dict().items()}
    try:
        if odd := [name for name, value in tensors.items() if value.dtype != types.get(name, value.dtype)]:
            raise RuntimeError(f"'{odd[0]}' is of another type")
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise _unreadable(file, error) from None
    return network


def _unreadable(file: Path, error: Exception) -> AnonbenchError:
    return AnonbenchError(f"cannot be read ({first_line(error)})", file=file, remedy=AGAIN)
