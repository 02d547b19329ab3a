"""What a model has answered, checked against the truth before anything is computed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from anonbench.errors import AnonbenchError
from anonbench.files import read_json
from anonbench.tasks import base as tasks
from anonbench.tasks.base import AGAIN, OTHER, Problem, Task
from anonbench.tasks.engines import Engine
from anonbench.tasks.truth import Truth


@dataclass(frozen=True)
class Predictions:
    """A model's answers on the validation images, and what the train stage says of the model.

    ``tasks`` are the model's, by name, in the order of a report; ``entries`` its answers by their key in the file.
    """

    file: Path
    tasks: dict[str, Task]
    entries: dict[str, list[dict[str, Any]]]
    model: dict[str, Any]

    def by(self, engine: Engine) -> Predictions:
        """Return the same predictions, to be scored by an engine."""
        return replace(self, tasks={name: task.by(engine) for name, task in self.tasks.items()})


def read_predictions(path: str | Path, truth: Truth) -> Predictions:
    """Read a model's predictions and check them against the ground truth.

    Raises AnonbenchError for a file of another shape or data set, and for the first entry of an unknown image, or that
    is not what its model's tasks promise.
    """
    path = Path(path)
    data = read_json(path)
    if not isinstance(data, dict):
        raise AnonbenchError("is not a JSON object", file=path, remedy="give what `anonbench predict` wrote")
    model = data.get("model") or {}
    if not _finite(model):
        raise AnonbenchError("holds a number that is not finite", file=path, entry="model", remedy=AGAIN)
    names = model.get("tasks") if isinstance(model, dict) else None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise AnonbenchError("names no tasks", file=path, entry="model.tasks", remedy=AGAIN)
    try:
        of = {name: tasks.load(name) for name in tasks.known(names)}
    except AnonbenchError as error:
        raise AnonbenchError(str(error), file=path, entry="model.tasks") from None
    entries: dict[str, list[dict[str, Any]]] = {}
    for key in dict.fromkeys(task.entries for task in of.values()):
        if not isinstance(data.get(key), list):
            raise AnonbenchError(f"has no list '{key}'", file=path, remedy="give what `anonbench predict` wrote")
        entries[key] = data[key]
    _check_categories(path, data.get("categories", []), truth)
    for key, found in entries.items():
        asking = [task for task in of.values() if task.entries == key]
        if not (_in_images(found, truth) and all(task.sound(found, truth) for task in asking)):
            for index, entry in enumerate(found):
                problem = _problem(entry, truth, asking)
                if problem is not None:
                    where = f"{key.removesuffix('s')} {index}"
                    raise AnonbenchError(problem.message, file=path, entry=where, remedy=problem.remedy)
        for problem in (task.unranked(found, "weights_sha256" in model) for task in asking):
            if problem is not None:
                raise AnonbenchError(problem.message, file=path, entry=key, remedy=problem.remedy)
    return Predictions(path, of, entries, model)


def _finite(value: Any) -> bool:
    """Tell whether all numbers in what JSON holds are finite, so that they can be written again."""
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    if isinstance(value, list):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _check_categories(path: Path, categories: Any, truth: Truth) -> None:
    if not isinstance(categories, list):
        raise AnonbenchError("has no list 'categories'", file=path, remedy="give what `anonbench predict` wrote")
    for index, category in enumerate(categories):
        if not isinstance(category, dict) or type(category.get("id")) is not int or "name" not in category:
            raise AnonbenchError("has no id and name", file=path, entry=f"category {index}", remedy=AGAIN)
        ours = truth.categories.get(category["id"])
        if ours is None or ours["name"] != category["name"]:
            raise AnonbenchError(
                f"'{category['name']}' is not category {category['id']} of {truth.file}"
                + (f" ('{ours['name']}' is)" if ours else ""),
                file=path,
                entry=f"category {category['id']}",
                remedy=OTHER,
            )


def _in_images(entries: list[Any], truth: Truth) -> bool:
    """Tell whether entries are all of the truth's images."""
    if set(map(type, entries)) - {dict}:
        return False
    images = [entry.get("image_id") for entry in entries]
    return not (set(map(type, images)) - {int} or set(images) - truth.images.keys())


def _problem(entry: Any, truth: Truth, asking: list[Task]) -> Problem | None:
    if not isinstance(entry, dict):
        return Problem("is not a JSON object", AGAIN)
    image = entry.get("image_id")
    if type(image) is not int or image not in truth.images:
        return Problem(f"lies in image {image}, which the annotations do not have", OTHER)
    found = (task.problem(entry, truth) for task in asking)
    return next((problem for problem in found if problem is not None), None)
