"""The first weights: files in torchvision's, detectron2's and our own names, and what their images were.

Each start says what it has seen. Which weights are re-initialised because they belong to other categories is part of
the record, and a start that has seen the study's images is marked in it (``leaks``).
"""

from __future__ import annotations

import pickle
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from anonbench.errors import AnonbenchError, first_line
from anonbench.files import check_sha256, read_json, sha256_file
from anonbench.recipe import FOLDER_KINDS, SUFFIXES, Recipe
from anonbench.train.data import Category
from anonbench.train.record import RECORD, WEIGHTS

Weights = dict[str, torch.Tensor]
ENTRY = "recipe initialisation.file"


@dataclass(frozen=True, slots=True)
class Names:
    """How a trainer's models name their weights.

    ``trainer``: its name in a recipe. ``body``: the prefix of the backbone's weights. ``backbone`` and ``detector``
    rename a file's weights. ``by_category``: weights whose shape follows the number of categories. ``branches``:
    weights of branches that a detector for other tasks does not have. ``foreign``: prefixes of the other trainers'.
    ``network`` names a recipe's network in messages, and ``classes`` what its last layer tells apart.
    """

    trainer: str
    body: str
    backbone: Callable[[str], str]
    detector: Callable[[str], str]
    by_category: re.Pattern[str]
    branches: re.Pattern[str]
    foreign: tuple[str, ...]
    network: Callable[[Recipe], str] = lambda recipe: str(recipe.settings.architecture.backbone)
    classes: str = "categories"


_TO_DETECTRON2 = (
    (re.compile(r"^conv1\."), "stem.conv1."),
    (re.compile(r"^bn1\."), "stem.conv1.norm."),
    (re.compile(r"^layer(\d)\."), lambda found: f"res{int(found[1]) + 1}."),
    (re.compile(r"\.bn(\d)\."), r".conv\1.norm."),
    (re.compile(r"\.downsample\.0\."), ".shortcut."),
    (re.compile(r"\.downsample\.1\."), ".shortcut.norm."),
)
_TO_TORCHVISION = (
    (re.compile(r"^stem\.conv1\.norm\."), "bn1."),
    (re.compile(r"^stem\.conv1\."), "conv1."),
    (re.compile(r"^res(\d)\."), lambda found: f"layer{int(found[1]) - 1}."),
    (re.compile(r"\.conv(\d)\.norm\."), r".bn\1."),
    (re.compile(r"\.shortcut\.norm\."), ".downsample.1."),
    (re.compile(r"\.shortcut\."), ".downsample.0."),
)
_BODIES = re.compile(r"^(module\.)?(backbone\.(body|bottom_up)\.)?")


def _renamed(name: str, rules: Iterable[tuple[re.Pattern[str], Any]]) -> str:
    for pattern, to in rules:
        name = pattern.sub(to, name)
    return name


def backbone_to_detectron2(name: str) -> str:
    """Return detectron2's name, without prefix, of a ResNet's weight that has torchvision's or detectron2's."""
    return _renamed(_BODIES.sub("", name), _TO_DETECTRON2)


def backbone_to_torchvision(name: str) -> str:
    """Return torchvision's name, without prefix, of a ResNet's weight that has torchvision's or detectron2's."""
    return _renamed(_BODIES.sub("", name), _TO_TORCHVISION)


_DETECTOR = (  # torchvision's published detectors, in the names of `models`; older ones lack a level of nesting
    (re.compile(r"^(backbone\.fpn\.(?:inner|layer)_blocks\.\d)\.(weight|bias)$"), r"\1.0.\2"),
    (re.compile(r"^rpn\.head\.conv\.(weight|bias)$"), r"rpn.head.conv.0.0.\1"),
    (re.compile(r"^roi_heads\.mask_head\.mask_fcn(\d)\."), lambda f: f"roi_heads.mask.head.{int(f[1]) - 1}.0."),
    (re.compile(r"^roi_heads\.mask_(head|predictor)\."), r"roi_heads.mask.\1."),
    (re.compile(r"^roi_heads\.keypoint_head\.(\d+)\."), lambda f: f"roi_heads.keypoint.head.{int(f[1]) // 2}.0."),
    (re.compile(r"^roi_heads\.keypoint_predictor\."), "roi_heads.keypoint.predictor."),
)


def detector_to_torchvision(name: str) -> str:
    """Return the name in our torchvision models of a weight of torchvision's Faster, Mask or Keypoint R-CNN."""
    return _renamed(name, _DETECTOR)


TORCHVISION = Names(
    "torchvision",
    "backbone.body.",
    backbone_to_torchvision,
    detector_to_torchvision,
    re.compile(r"^roi_heads\.(box_predictor|mask\.predictor\.mask_fcn_logits)\."),
    re.compile(r"^roi_heads\.(mask|keypoint)\."),
    ("backbone.bottom_up.", "proposal_generator."),
)
DETECTRON2 = Names(
    "detectron2",
    "backbone.bottom_up.",
    backbone_to_detectron2,
    lambda name: name,
    re.compile(r"^roi_heads\.(box_predictor|mask_head\.predictor)\."),
    re.compile(r"^roi_heads\.(mask|keypoint)_head\."),
    ("backbone.body.", "rpn."),
)


def check(recipe: Recipe) -> None:
    """Raise AnonbenchError when the start's file, or folder of a training, is not there."""
    start = recipe.initialisation
    if start.file is None:
        return
    path = Path(start.file)
    if path.is_dir() and start.kind in FOLDER_KINDS:
        if not (path / RECORD).is_file():
            raise AnonbenchError("contains no finished training (no train.json)", file=path, entry=ENTRY)
    elif not path.is_file():
        raise AnonbenchError(
            "no such file",
            file=path,
            entry=ENTRY,
            remedy=f"put it there ({start.provenance}) or name another" if start.provenance else None,
        )
    elif path.suffix not in SUFFIXES:
        raise AnonbenchError(f"is not a file of weights ({', '.join(SUFFIXES)})", file=path, entry=ENTRY)


def initialise(model: nn.Module, names: Names, recipe: Recipe, categories: Sequence[Category]) -> dict[str, Any]:
    """Load the start that the recipe asks for into ``model``; return what is recorded of it.

    The record has ``kind`` and ``seen`` and, but for scratch, ``file``, ``sha256``, ``pixels``, ``provenance`` and
    ``reinitialised``, the names of weights that stay random because the file has them for other categories or tasks.
    Raises AnonbenchError for a file of another architecture and, of the kind ``checkpoint``, of other categories.
    """
    start = recipe.initialisation
    if start.kind == "scratch":
        return {"kind": "scratch", "seen": []}
    assert start.file is not None
    path, record = Path(start.file), start.model_dump(mode="json")
    if path.is_dir():
        path, declared = _of_training(path, None if start.kind == "backbone" else categories, start.pixels)
        record |= {key: value for key, value in declared.items() if record[key] is None}
    given = read(path)
    prefix = names.body if start.kind == "backbone" else ""
    given = {(names.backbone if prefix else names.detector)(name): value for name, value in given.items()}
    if not prefix:
        _refuse_foreign(given, names, path)
    wanted = {name.removeprefix(prefix): value for name, value in model.state_dict().items() if name.startswith(prefix)}
    # the counter is missing from older files, and nothing uses it
    wanted = {name: value for name, value in wanted.items() if not name.endswith("num_batches_tracked")}
    wrong = [n for n, v in wanted.items() if n not in given or given[n].shape != v.shape]
    left = [n for n in wrong if start.kind != "backbone" and _may_stay_random(n, given, names)]
    if start.kind == "checkpoint" and left:
        _refuse_other_heads(left, given, wanted, path, names.classes)
    wrong = [n for n in wrong if n not in left]
    if wrong:
        whole = "backbone" if prefix else "model"
        raise AnonbenchError(
            f"lacks {len(wrong)} of the {whole}'s {len(wanted)} tensors, first '{wrong[0]}'"
            + (f" (there of shape {list(given[wrong[0]].shape)})" if wrong[0] in given else ""),
            file=path,
            entry=ENTRY,
            remedy=f"give weights of {names.network(recipe)} as the recipe describes it",
        )
    chosen = {prefix + name: given[name].to(wanted[name].dtype) for name in wanted if name not in left}
    model.load_state_dict(chosen, strict=False)
    if left:
        print(f"{path}: {len(left)} tensors are for other categories or tasks and start at random", file=sys.stderr)
    record |= {"file": path.name, "sha256": sha256_file(path)}
    return record | ({"reinitialised": sorted(left)} if start.kind == "coco" else {})


def _may_stay_random(name: str, given: Weights, names: Names) -> bool:
    if name in given:
        return names.by_category.search(name) is not None
    branch = names.branches.match(name)
    return branch is not None and not any(other.startswith(branch[0]) for other in given)


def _refuse_foreign(given: Weights, names: Names, path: Path) -> None:
    if any(name.startswith(names.foreign) for name in given):
        other = "detectron2" if names.trainer == "torchvision" else "torchvision"
        raise AnonbenchError(
            f"has the weights of a model of {other}, which one of {names.trainer} cannot take",
            file=path,
            entry=ENTRY,
            remedy=f"set trainer: {other}, or start from the backbone alone (kind: backbone)",
        )


def _refuse_other_heads(left: list[str], given: Weights, wanted: Weights, path: Path, classes: str) -> None:
    name = next((n for n in left if n in given), left[0])
    there = list(given[name].shape) if name in given else "nothing"
    raise AnonbenchError(
        f"is for other {classes} or tasks: '{name}' has the shape {list(wanted[name].shape)} here, there {there}",
        file=path,
        entry=ENTRY,
        remedy=f"give a checkpoint for the study's {classes} and tasks, or use kind: "
        f"{'coco' if classes == 'categories' else 'backbone'}, which starts such layers at random",
    )


def _of_training(folder: Path, categories: Sequence[Category] | None, pixels: str) -> tuple[Path, dict[str, Any]]:
    """Return the weights of a finished training, on just these categories if they matter, and what it says of them."""
    record = read_json(folder / RECORD)
    weights = folder / WEIGHTS
    check_sha256(weights, record["weights_sha256"], RECORD, "train it again")
    others = [(c["id"], c["name"]) for c in record["categories"]]
    if categories is not None and others != [(c.id, c.name) for c in categories]:
        listed = ", ".join(f"{number} {name}" for number, name in others)
        raise AnonbenchError(f"was trained on other categories ({listed})", file=folder, entry=ENTRY)
    theirs = record["recipe"]["initialisation"].get("pixels", "rgb")
    if theirs != pixels:
        raise AnonbenchError(
            f"was trained with pixels: {theirs}", file=folder, entry=ENTRY, remedy=f"set pixels: {theirs}"
        )
    provenance = (
        f"a training of {record['data'].get('dataset')} by {record['recipe']['trainer']}, seed {record['seed']}"
    )
    return weights, {"provenance": provenance, "seen": _seen_by(folder, record)}


def _seen_by(folder: Path, record: dict[str, Any]) -> list[str]:
    before = record["initialisation"].get("seen") or []
    data = record["data"].get("dataset")
    if data is None:
        raise AnonbenchError(
            "does not say on which data set it was trained", file=folder / RECORD, remedy="train it again"
        )
    return [*before, *([data] if data not in before else [])]


def seen(recipe: Recipe) -> list[str]:
    """Return the data sets that the start has seen: what the recipe declares, or the training it names did."""
    start = recipe.initialisation
    if start.seen is not None or start.file is None:
        return list(start.seen or ())
    return _seen_by(Path(start.file), read_json(Path(start.file) / RECORD))


def leaks(datasets_seen: Iterable[str], datasets: Iterable[str]) -> bool:
    """Tell whether a start has seen one of the study's data sets, by the letters of its name: 'COCO' is 'coco2017'.

    The one place where names of data sets are compared: the report reads the answer from train.json (``leaks``).
    """
    studied = {_letters(name) for name in datasets} - {""}
    return any(_letters(name) in studied for name in datasets_seen)


def _letters(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalpha())


def read(path: Path) -> Weights:
    """Return the tensors of a file of weights, on the CPU; raise AnonbenchError when it is none."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if path.suffix == ".pkl":
            return _from_zoo(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError) as error:
        said = f"is not a {path.suffix} file of weights ({first_line(error)})"
        raise AnonbenchError(said, file=path, entry=ENTRY) from error
    for key in ("model", "state_dict"):
        state = state[key] if isinstance(state, dict) and isinstance(state.get(key), dict) else state
    if not isinstance(state, dict) or not any(isinstance(value, torch.Tensor) for value in state.values()):
        raise AnonbenchError("contains no named tensors", file=path, entry=ENTRY)
    return {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}


class _Arrays(pickle.Unpickler):
    """An unpickler that makes dictionaries and NumPy arrays and calls nothing else."""

    ALLOWED = frozenset(
        (f"numpy{core}.multiarray", name) for core in (".core", "._core") for name in ("_reconstruct", "scalar")
    ) | {("numpy", "ndarray"), ("numpy", "dtype"), ("collections", "OrderedDict"), ("_codecs", "encode")}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def _from_zoo(path: Path) -> Weights:
    """Read the detectron2 model zoo's format: a pickle of ``{"model": {name: array}}``, maybe with Caffe2's names."""
    with open(path, "rb") as stream:
        data = _Arrays(stream, encoding="latin1").load()
    data = data.get("model", data.get("blobs", data))
    arrays = {name: value for name, value in data.items() if isinstance(value, np.ndarray)}
    if not arrays:
        raise ValueError("no arrays by name")
    weights = {name: torch.from_numpy(np.array(value)) for name, value in arrays.items()}
    if any("." in name for name in weights):
        return weights
    try:
        from detectron2.checkpoint.c2_model_loading import convert_c2_detectron_names
    except ImportError as error:
        raise AnonbenchError("has Caffe2's names, which only detectron2 reads", file=path, entry=ENTRY) from error
    renamed, _ = convert_c2_detectron_names(weights)
    return renamed
