"""Predictions: one command runs a trained model on a split, one file of answers, for every trainer."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from tqdm import tqdm

from anonbench import recipe as recipes
from anonbench import registry
from anonbench.errors import AnonbenchError
from anonbench.files import check_sha256, write_json
from anonbench.learning.devices import choose_device, hold
from anonbench.tasks import base as tasks
from anonbench.train.contract import Trainer
from anonbench.train.data import Category, VariantSplit
from anonbench.train.record import RECORD, WEIGHTS, read_record


def run_prediction(
    model: Path, variant_dir: Path, split: str, out: Path, *, device: str = "auto", threads: int = 1
) -> None:
    """Run the model of the folder ``model`` on a split and write what its tasks read of it to ``out``.

    Raises AnonbenchError when the training is not complete, its weights are not those that it recorded, or the
    variant has other categories.
    """
    started = time.perf_counter()
    record = read_record(model)
    recipe = recipes.parse(record["recipe"], model / RECORD)
    check_sha256(model / WEIGHTS, record.get("weights_sha256"), RECORD, "train again")
    categories = tuple(Category(**category) for category in record["categories"])
    trainer: Trainer = registry.load("trainers", recipe.trainer)()
    variant = VariantSplit.read(variant_dir, split, clips=trainer.of_clips)
    if variant.categories != categories:
        raise AnonbenchError(
            f"has the categories {_names(variant.categories)}, the model was trained on {_names(categories)}",
            file=variant.annotations,
        )
    if trainer.of_clips:
        _check_actions(record, variant, model)
    where = choose_device(device)
    hold(recipe.level(where.type), threads)
    try:
        weights = load_file(model / WEIGHTS)
    except SafetensorError as error:
        raise AnonbenchError(f"cannot be read ({error})", file=model / WEIGHTS, remedy="train again") from error
    trainer.confirm(recipe, record["initialisation"])
    people = frozenset(category.id for category in categories if category.person)
    asked = [tasks.load(name) for name in recipe.tasks]
    writers = {task.entries: task for task in reversed(asked)}
    entries: dict[str, list[dict[str, Any]]] = {task.entries: [] for task in asked}
    images = trainer.predict(weights, categories, variant, recipe, where)
    total, unit = len(trainer.samples(variant)), "clip" if trainer.of_clips else "image"
    for outputs in tqdm(images, "predict", total, unit=unit, mininterval=1):
        for key, task in writers.items():
            entries[key] += [task.encode(output, people) for output in outputs[key]]
    result = {
        "categories": [asdict(category) for category in categories],
        "model": {"weights_sha256": record["weights_sha256"], "tasks": list(recipe.tasks), "trainer": recipe.trainer},
        **entries,
    }
    write_json(out, result, indent=None)
    seconds = time.perf_counter() - started
    found = ", ".join(f"{len(of)} {key}" for key, of in entries.items())
    print(f"{found} in {len(variant.samples)} images, {seconds:.1f} s", file=sys.stderr)


def _check_actions(record: dict[str, Any], variant: VariantSplit, model: Path) -> None:
    theirs = record.get("actions")
    if not isinstance(theirs, list):
        raise AnonbenchError("names no actions", file=model / RECORD, remedy="train again")
    if list(variant.actions) != theirs:
        raise AnonbenchError(
            f"has the actions {', '.join(variant.actions) or 'none'}, the model was trained on {', '.join(theirs)}",
            file=variant.annotations,
        )


def _names(categories: tuple[Category, ...]) -> str:
    return ", ".join(f"{c.id} {c.name}" for c in categories) or "none"
