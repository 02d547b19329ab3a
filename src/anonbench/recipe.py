"""How a model is trained: a schedule that all trainers share, and the settings of one; named ones: config/recipes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_serializer,
    model_validator,
)

from anonbench import portable, registry
from anonbench.blocks import Inside, Moved, NonNegative, Positive, Size, Strict, explain, located
from anonbench.errors import AnonbenchError, nearest
from anonbench.files import read_json, read_yaml

PRESETS = Path(__file__).parent / "recipes"
"""Folder of the named recipes: in the package, so that an installed one has it; config/recipes is a link to it."""
MOVED = ("architecture", "min_size", "max_size", "horizontal_flip", "zoo")
"""What old recipes have beside the schedule and is among `settings` now; `anonbench config --migrate` moves it."""
SUFFIXES = (".safetensors", ".pth", ".pt", ".pkl")
"""Names of files of weights end so; whatever else a start names is the folder of a training."""
FOLDER_KINDS = ("backbone", "checkpoint")
"""Kinds of start whose file may be the folder of a training."""
ASKED = ("preset", "trainer", "tasks", "settings", "determinism")
"""Entries that mean something where nothing is trained: what is asked for, not a schedule."""
LENGTHS: dict[str, tuple[int, tuple[float, ...]]] = {
    "1x": (12, (60 / 90, 80 / 90)),
    "2x": (24, (120 / 180, 160 / 180)),
    "3x": (36, (210 / 270, 250 / 270)),
}
"""The named schedules of the detectron2 model zoo: passes over the images, and where the learning rate falls.

The zoo counts iterations on COCO (90 000 of 16 images are 12 passes); the shares are its `SOLVER.STEPS`.
"""


class Section(Strict):
    """A block of a recipe: unknown keys and numbers that are not finite are refused."""

    model_config = ConfigDict(allow_inf_nan=False)


class Initialisation(Section):
    """Where the first weights come from, and what those weights have seen."""

    kind: Literal["scratch", "backbone", "coco", "checkpoint"] = Field(
        "scratch",
        description="`scratch`: random; `backbone`: the backbone's weights are read from `file`; `coco`: a whole "
        "detector's, where layers for other categories start at random; `checkpoint`: a whole detector's for the same "
        "categories",
    )
    file: str | None = Field(
        None,
        description="weights: safetensors, or torch's or the detectron2 model zoo's (.pth, .pkl), with torchvision's "
        "or detectron2's names; for `backbone` and `checkpoint` also the folder of a finished training",
    )
    pixels: Literal["rgb", "zoo"] = Field(
        "rgb",
        description="what the weights expect: `rgb` torchvision's input; `zoo` that of the detectron2 model zoo "
        "(BGR levels less their mean, and its place of the strides)",
    )
    provenance: str | None = Field(None, description="who trained the file, how, and where it was downloaded")
    seen: tuple[str, ...] | None = Field(
        None, description="data sets whose images the weights were fitted on; [] for none"
    )

    @model_validator(mode="after")
    def _declared(self) -> Self:
        given = [n for n in ("file", "provenance", "seen") if getattr(self, n) is not None]
        if self.kind == "scratch" and (given or self.pixels != "rgb"):
            raise ValueError(f"scratch takes no {given[0] if given else 'pixels'}")
        # the folder of a finished training declares the rest itself
        own = self.kind in FOLDER_KINDS and self.file is not None and Path(self.file).suffix not in SUFFIXES
        if self.kind != "scratch" and len(given) < 3 and not own:
            article = "a" if self.kind != "coco" else "a detector from"
            raise ValueError(
                f"{article} {self.kind} needs its file, its provenance and the list of data sets it has seen"
            )
        return self


class Seeds(Section):
    """Seeds of what is drawn at random, so that one of them can vary alone; each is the training's unless given."""

    initialisation: int | None = Field(None, description="seed of the first weights")
    order: int | None = Field(None, description="seed of the order of the images")
    augmentation: int | None = Field(None, description="seed of mirroring and of the choice among sizes")
    sampling: int | None = Field(None, description="seed of the anchors and regions that enter the losses")

    def of(self, what: Literal["initialisation", "order", "augmentation", "sampling"], seed: int) -> int:
        """Return the seed of one of them in a training with the seed ``seed``."""
        own: int | None = getattr(self, what)
        return seed if own is None else own


class Recipe(Section):
    """A training, complete but for the data, the seed and the machine: a schedule, and its trainer's own settings."""

    preset: str | None = Field(
        None,
        exclude=True,  # what a training depends on are its values, whatever they are called
        description="recipe that the other entries are laid over: a name from config/recipes, such as "
        "clean-cityscapes, or a YAML file, from the folder of the study",
    )
    trainer: str = Field("torchvision", description="name of a registered trainer")
    tasks: tuple[str, ...] = Field(
        ("detection",), min_length=1, description="what the model predicts; one model may serve several"
    )
    settings: Annotated[Any, WithJsonSchema({"type": "object"})] = Field(
        {}, validate_default=True, description="the trainer's own settings: the network and what it sees"
    )
    initialisation: Initialisation = Field(Initialisation(), description="the first weights")
    batch_size: Size = Field(16, description="images per iteration")
    length: Literal["1x", "2x", "3x"] | None = Field(
        None,
        description="detectron2's named schedules: 12, 24 or 36 passes and their own `steps`; or give `epochs` or "
        "`iterations`",
    )
    epochs: Size | None = Field(None, description="passes over the images; either this or `iterations` or `length`")
    iterations: Size | None = Field(None, description="optimiser steps; either this or `epochs` or `length`")
    optimizer: Literal["sgd", "adamw"] = Field("sgd", description="update rule")
    base_learning_rate: Positive = Field(0.02, description="learning rate for `reference_batch_size`")
    reference_batch_size: Size = Field(
        16, description="learning rate = base_learning_rate * batch_size / reference_batch_size"
    )
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(0.9, description="momentum; the first beta of adamw")
    weight_decay: NonNegative = Field(1e-4, description="decay of weight matrices (biases and normalisation have none)")
    gradient_clip: Positive | None = Field(None, description="largest norm of the whole gradient")
    schedule: Literal["steps", "cosine"] = Field("steps", description="how the learning rate falls")
    steps: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        (2 / 3, 8 / 9),
        description="schedule `steps`: shares of the training after which the rate is divided by 10",
    )
    warmup_iterations: Annotated[int, Field(ge=0)] = Field(1000, description="linear rise from a thousandth")
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        "fp32", description="bf16, fp16: convolutions and layers under autocast; fp16 scales the loss and needs CUDA"
    )
    determinism: Literal["auto", "portable", "strict", "seeded"] = Field(
        "auto",
        description="`portable`: the same bytes on every x86-64 processor with AVX2, whose later instructions are left "
        "alone; `strict`: the same bytes whenever it is repeated on one machine; `seeded`: only what is drawn at "
        "random repeats, and faster kernels are chosen; `auto`: portable on x86-64 processors, strict on others, "
        "seeded on GPUs",
    )
    seeds: Seeds = Field(Seeds(), description="seeds of their own for some of what is drawn at random")
    checkpoint_every: Size = Field(500, description="iterations between checkpoints")

    @model_validator(mode="before")
    @classmethod
    def _resolve(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, dict):
            return value
        for name in MOVED:
            if name in value:
                raise Moved(name, f"settings.{name}")
        value = _with_preset(value, (info.context or {}).get("folder", Path()))
        if isinstance(value.get("length"), str) and value["length"] in LENGTHS:
            return {"steps": LENGTHS[value["length"]][1], **value}
        return value

    @field_validator("trainer")
    @classmethod
    def _registered(cls, name: str) -> str:
        if name not in registry.names("trainers"):
            raise ValueError(f"unknown trainer '{name}'{nearest(name, registry.names('trainers'))}")
        return name

    @field_validator("tasks")
    @classmethod
    def _known(cls, tasks: tuple[str, ...]) -> tuple[str, ...]:
        for task in tasks:
            if task not in registry.names("tasks"):
                raise ValueError(f"unknown task '{task}'{nearest(task, registry.names('tasks'))}")
        if len(set(tasks)) != len(tasks):
            raise ValueError("duplicate task")
        return tasks

    @field_validator("settings", mode="before")
    @classmethod
    def _trainers_own(cls, value: Any, info: ValidationInfo) -> Any:
        """Return the settings as the trainer's own class has them."""
        if "trainer" not in info.data:  # an error already
            return value
        settings = _trainer(info.data["trainer"]).Settings
        try:
            return settings.model_validate({} if value is None else value)
        except ValidationError as error:
            raise Inside(*located(error, settings)) from None

    @model_validator(mode="after")
    def _possible(self) -> Self:
        """Ask the trainer whether it can do what the recipe says."""
        try:
            _trainer(self.trainer)().check(self)
        except AnonbenchError as error:
            said = f"{error.message}; {error.remedy}" if error.remedy else error.message
            raise Inside(str(error.entry or ""), said) from None
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.trains:
            return self._untrained()
        if [self.epochs, self.iterations, self.length].count(None) != 2:
            raise ValueError("give either epochs or iterations or length")
        if self.length is not None and self.steps != LENGTHS[self.length][1]:
            raise ValueError(f"length {self.length} has its own steps: leave them out, or give epochs")
        if list(self.steps) != sorted(set(self.steps)):
            raise ValueError("steps must increase")
        return self

    def _untrained(self) -> Self:
        """Refuse what only a training would read."""
        fields = Recipe.model_fields
        changed = [name for name in fields if name not in ASKED and getattr(self, name) != fields[name].get_default()]
        if changed:
            raise Inside(changed[0], f"the trainer {self.trainer} trains nothing; leave it out")
        return self

    @model_serializer(mode="wrap")
    def _read(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what only a training would read, where there is none: a record must not speak of it."""
        value: dict[str, Any] = handler(self)
        return value if self.trains else {k: v for k, v in value.items() if k in ASKED or k not in Recipe.model_fields}

    @property
    def trains(self) -> bool:
        """Whether there is a training: False of a model that is used as it is."""
        return bool(_trainer(self.trainer).trains)

    def learning_rate(self) -> float:
        """Return the peak learning rate by the linear rule (Goyal et al. 2017, section 2.1)."""
        return self.base_learning_rate * self.batch_size / self.reference_batch_size

    def level(self, device: str) -> str:
        """Return the level of determinism on ``device`` (``cpu`` or ``cuda``): portable, strict or seeded.

        Raises AnonbenchError for `portable` on a GPU.
        """
        return portable.level(self.determinism, device, entry="recipe determinism: portable", gpu="seeded")

    def strict(self, device: str) -> bool:
        """Tell whether a training on ``device`` refuses operations that cannot be repeated: all but `seeded` do."""
        return self.level(device) != "seeded"

    def total_iterations(self, images: int) -> int:
        """Return the number of optimiser steps on ``images`` training images; an epoch's last batch may be short.

        0 where nothing is trained.
        """
        if not self.trains:
            return 0
        if self.iterations is not None:
            return self.iterations
        epochs = LENGTHS[self.length][0] if self.length is not None else self.epochs
        assert epochs is not None
        return epochs * -(-images // self.batch_size)


def presets() -> list[str]:
    """Return the names of the recipes that come with the package."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def _with_preset(value: dict[str, Any], folder: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return a recipe's entries laid over those of the preset that it names, if any, which may name another.

    Paths are relative to ``folder``. Raises ValueError for an unknown preset, AnonbenchError for one that cannot be
    read or is of the old form.
    """
    name = value.get("preset")
    if name is None:
        return value
    path = PRESETS / f"{name}.yaml"
    if Path(str(name)).suffix in (".yaml", ".yml"):
        path = folder / name
        if not path.is_file():
            raise ValueError(f"preset: there is no file {path}")
    elif name not in presets():
        raise ValueError(f"unknown preset '{name}'{nearest(str(name), presets())}")
    if path.resolve() in above:
        raise ValueError(f"preset: {path} is laid over itself")
    entries = read_yaml(path)
    for old in MOVED:
        if old in entries:
            raise AnonbenchError(
                f"now settings.{old}", file=path, entry=old, remedy="run anonbench config --migrate with this file"
            )
    below = _with_preset(entries, path.parent, (*above, path.resolve()))
    return _laid_over(below, value)


def _trainer(name: str) -> Any:
    """Return a registered trainer; raise ValueError when it cannot be imported."""
    try:
        return registry.load("trainers", name)
    except AnonbenchError as error:
        raise ValueError(str(error)) from None


def upgraded(value: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe of the old form, in which a trainer's settings stood beside the schedule, in today's."""
    old = {name: value[name] for name in MOVED if name in value}
    rest = {name: entry for name, entry in value.items() if name not in old}
    if not old:
        return value
    given = {name: entry for name, entry in old.items() if entry is not None}
    return {**rest, "settings": {**given, **rest.get("settings", {})}}


def _laid_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return ``below`` with the entries of ``above``; blocks are merged, but a start of another kind replaces one."""
    alternatives = ("epochs", "iterations", "length")
    if any(above.get(name) is not None for name in alternatives):
        replaced = (*alternatives, "steps") if below.get("length") or above.get("length") else alternatives
        below = {name: value for name, value in below.items() if name not in replaced}
    return _merged(below, above)


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        old = below.get(name)
        if isinstance(old, dict) and isinstance(value, dict) and value.get("kind", old.get("kind")) == old.get("kind"):
            merged[name] = _merged(old, value)
        else:
            merged[name] = value
    return merged


def parse(value: dict[str, Any], source: str | Path | None = None, folder: Path | None = None) -> Recipe:
    """Return the recipe; raise AnonbenchError naming the first wrong entry.

    A preset that is a file is looked for in ``folder``; the working folder unless given.
    """
    try:
        return Recipe.model_validate(value, context={"folder": folder or Path()})
    except ValidationError as error:
        raise AnonbenchError(explain(error, Recipe), file=source, entry="recipe") from None


def read(text: str) -> Recipe:
    """Return the recipe that ``text`` gives: JSON, the name of a preset, or the path of a JSON or YAML file."""
    if text.lstrip().startswith("{"):
        try:
            return parse(json.loads(text))
        except json.JSONDecodeError as error:
            raise AnonbenchError(f"is not valid JSON ({error})", entry="recipe") from None
    if text in presets():
        return parse({"preset": text})
    path = Path(text)
    if not path.is_file():
        raise AnonbenchError(f"no such recipe file or preset{nearest(text, presets())}", entry=f"recipe {text}")
    value = read_yaml(path) if path.suffix in (".yaml", ".yml") else read_json(path)
    if not isinstance(value, dict):
        raise AnonbenchError("does not hold a recipe (a mapping)", file=path)
    return parse(value, path, path.parent)
