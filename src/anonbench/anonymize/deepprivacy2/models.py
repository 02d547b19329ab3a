"""The published generators of DeepPrivacy2 and their files, which are pickles: checked before anything reads them."""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anonbench.errors import AnonbenchError, first_line
from anonbench.files import sha256_file
from anonbench.records import RegionKind

SUFFIXES = ("", ".ckpt", ".torch", ".pth", ".pt")
"""Of checkpoints: torch's cache keeps the published ones under the bare identifiers of their links."""


@dataclass(frozen=True, slots=True)
class Model:
    """One generator: its config's path in the checkout, width and height of its crops, its file's published md5."""

    kind: RegionKind
    config: str
    size: tuple[int, int]
    md5: str
    keypoints: bool = False
    surface: bool = False


MODELS = {
    "fdf128": Model(RegionKind.FACE, "configs/fdf/stylegan_fdf128.py", (128, 128), "bccd4403e7c9bca682566ff3319e8176"),
    "fdf256": Model(RegionKind.FACE, "configs/fdf/stylegan.py", (256, 256), "e8e32190528af2ed75f0cb792b7f2b07"),
    "triagan": Model(
        RegionKind.BODY, "configs/fdh/triagan/L_im288.py", (160, 288), "b649410e831b45f7800a89c738b411ce", True
    ),
    "nocse": Model(RegionKind.BODY, "configs/fdh/styleganL_nocse.py", (160, 288), "fda0d809741bc67487abada793975c37"),
    "cse": Model(
        RegionKind.BODY, "configs/fdh/styleganL.py", (160, 288), "3411478b5ec600a4219cccf4499732bd", surface=True
    ),
}
"""By the name that a study gives: faces (FDF), full bodies (FDH) from keypoints, the mask alone or DensePose."""


def find(weights: Path, md5: str, sha256: str | None) -> tuple[Path, str]:
    """Return a model's file and its sha256: the file itself, or the one in a folder whose checksum is right.

    ``sha256`` is the user's, for weights of their own; without it the file must have the published md5. Raises
    AnonbenchError when there is no such file; nothing but bytes is read.
    """
    if not weights.exists():
        raise AnonbenchError("no such file or folder", file=weights, entry="weights")
    files = [weights] if weights.is_file() else sorted(path for path in weights.iterdir() if path.is_file())
    wanted = f"md5 {md5}" if sha256 is None else f"sha256 {sha256.lower()}"
    for path in files:
        if weights.is_file() or path.suffix in (*SUFFIXES, ".safetensors") or "." not in path.name:
            found = sha256_file(path)
            if (_md5(path) == md5) if sha256 is None else (found == sha256.lower()):
                return path, found
    raise AnonbenchError(
        f"{'its checksum is not' if weights.is_file() else 'holds no file with'} {wanted}",
        file=weights,
        entry="weights",
        remedy="see docs/deepprivacy2.md for where the weights are, or give the sha256 of your own",
    )


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def read(path: Path, trust_pickle: bool = False) -> dict[str, Any]:
    """Return the checkpoint in a file whose checksum was right, tensors on the CPU.

    A ``.safetensors`` holds the generator's tensors, with ``w_centers`` among them or not; anything else is a pickle,
    of which only tensors and plain containers are restored unless ``trust_pickle``. The result has the key
    ``EMA_generator`` (or ``running_average_generator``) and, if there are cluster centres, ``w_centers``.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
            centres = state.pop("w_centers", None)
            return {"EMA_generator": state} | ({} if centres is None else {"w_centers": centres})
        checkpoint = torch.load(path, map_location="cpu", weights_only=not trust_pickle)
    except pickle.UnpicklingError as error:
        raise AnonbenchError(
            f"holds more than tensors, which only running code would restore ({first_line(error)})",
            file=path,
            entry="weights",
            remedy="if you trust its source, set trust_pickle: true",
        ) from None
    except (SafetensorError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise AnonbenchError(
            f"is not a checkpoint ({first_line(error)})", file=path, entry="weights", remedy="fetch it again"
        ) from None
    if not isinstance(checkpoint, dict) or not {"EMA_generator", "running_average_generator"} & checkpoint.keys():
        raise AnonbenchError("is not a checkpoint of deep_privacy2 (no EMA_generator)", file=path, entry="weights")
    return checkpoint


def check_state(state: dict[str, Any], generator: Any, path: Path, model: str) -> None:
    """Raise AnonbenchError unless the tensors of a checkpoint are those of a generator (a torch module).

    The package itself only warns, and would run with the weights that it happened to start with.
    """
    own = generator.state_dict()
    for name, value in state.items():
        if name in own and own[name].shape != value.shape:
            raise AnonbenchError(
                f"is not of model '{model}': {name} is {tuple(value.shape)}, not {tuple(own[name].shape)}",
                file=path,
                entry="weights",
            )
    missing = [name for name, _ in generator.named_parameters() if name not in state]
    if missing:
        raise AnonbenchError(
            f"is not of model '{model}': {missing[0]} and {len(missing) - 1} more are missing",
            file=path,
            entry="weights",
        )
