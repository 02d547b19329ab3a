"""What a trainer must offer.

Imported without torch, since reading a study asks trainers for their settings and for what they can do. Likewise a
trainer's module: it imports torch, and all that does, where it trains and predicts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel

from anonbench.blocks import NoSettings
from anonbench.errors import AnonbenchError
from anonbench.recipe import Recipe

if TYPE_CHECKING:
    import torch

    from anonbench.train.data import Category, VariantSplit

    Weights = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """What a training yields.

    ``curve``: one dict per sampled iteration with ``iteration``, ``learning_rate`` and each loss term (mean since the
    sample before). ``initialisation`` has at least ``kind`` and ``seen``. ``iterations``, ``images``, ``seconds`` and
    ``loading_seconds`` count this run only, not what a killed one did.
    """

    weights: Weights = field(repr=False)
    curve: list[dict[str, float]] = field(repr=False)
    initialisation: dict[str, Any]
    iterations: int
    images: int
    seconds: float
    loading_seconds: float


Outputs = dict[str, list[Any]]
"""What a model says of one image, by the key that its tasks read (`Task.entries`), such as ``detections``."""


class Trainer(ABC):
    """A way of training and running models. Register a subclass in the entry-point group ``anonbench.trainers``."""

    Settings: ClassVar[type[BaseModel]] = NoSettings
    """The recipe's block ``settings``: a pydantic model with a default and a description for each field."""
    tasks: ClassVar[tuple[str, ...]] = ()
    """Names of the tasks that its models can predict."""
    trains: ClassVar[bool] = True
    """False of one whose models need no training: they have one seed, no schedule, and are the same whatever the data.

    A study tests them as they are; `train` returns a `TrainedModel` without weights and iterations.
    """
    of_clips: ClassVar[bool] = False
    """Whether its models look at whole clips and name actions, not at single images."""

    def samples(self, variant: VariantSplit) -> Sequence[Any]:
        """Return what batches are made of, and what `predict` says something of: images, or clips with an action."""
        return variant.labelled if self.of_clips else variant.samples

    def check(self, recipe: Recipe) -> None:
        """Raise AnonbenchError, with the recipe's ``entry``, when it asks for what this trainer cannot do.

        Asked when a study is read, wherever that is: it looks at the recipe alone. One that overrides it calls it.
        """
        for task in recipe.tasks:
            if task not in self.tasks:
                raise AnonbenchError(
                    f"the trainer {recipe.trainer} cannot do {task}",
                    entry="tasks",
                    remedy=f"it can do {', '.join(self.tasks) or 'nothing'}; leave {task} out, or set another trainer",
                )

    def require(self, recipe: Recipe) -> None:  # noqa: B027 (nothing is a good answer)
        """Raise AnonbenchError when what the recipe needs is not on this machine: packages, first weights."""

    def seen(self, recipe: Recipe) -> Sequence[str] | None:
        """Return the data sets that the first weights were fitted on, None where that is not known."""
        from anonbench.train import initialisation

        return initialisation.seen(recipe)

    def modules(self, recipe: Recipe) -> list[str]:
        """Return modules, besides its own and what that imports, whose code decides what the recipe's models say."""
        return []

    def files(self, recipe: Recipe) -> list[Path]:
        """Return files, besides the start's, whose content decides what the recipe's models say."""
        return []

    def describe(self, recipe: Recipe) -> str:
        """Return what the log says of the recipe's settings, on one line."""
        return ", ".join(f"{name} {value}" for name, value in recipe.settings)

    @abstractmethod
    def train(
        self, variant: VariantSplit, recipe: Recipe, seed: int, device: torch.device, checkpoint: Path | None
    ) -> TrainedModel:
        """Train; the result depends on the other arguments (and the machine), never on ``checkpoint``.

        With ``checkpoint`` (a file), save to it every ``recipe.checkpoint_every`` iterations and at the end, and
        continue from what a killed run of the same training left there. The caller removes it. In a group of
        processes (`distributed.place`) all of them call this at once, and what the first returns counts.
        """

    @abstractmethod
    def predict(
        self,
        weights: Weights,
        categories: tuple[Category, ...],
        variant: VariantSplit,
        recipe: Recipe,
        device: torch.device,
    ) -> Iterator[Outputs]:
        """Yield the outputs for each of the `samples` of ``variant``, in its order: what the recipe's tasks encode."""

    def confirm(self, recipe: Recipe, start: dict[str, Any]) -> None:  # noqa: B027 (nothing is a good answer)
        """Raise AnonbenchError when what `TrainedModel.initialisation` recorded of a model is not what predicts here.

        For models whose weights are not in the training's own file.
        """

    def launch(self, function: Callable[..., None], processes: int, arguments: tuple[Any, ...]) -> None:
        """Call ``function(*arguments)`` in ``processes`` processes of this machine that form a torch group."""
        from anonbench.learning import distributed

        distributed.torchrun(function, processes, arguments)

    def versions(self) -> dict[str, str]:
        """Return the versions of the packages, besides torch and torchvision, that can move a number."""
        return {}
