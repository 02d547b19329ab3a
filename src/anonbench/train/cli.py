"""The commands `anonbench train` and `anonbench predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anonbench import portable
from anonbench import recipe as recipes
from anonbench.train.record import determinism_of

Device = Annotated[str, typer.Option(help="auto, cpu or cuda")]
Threads = Annotated[int, typer.Option(min=1, help="threads of the arithmetic; part of what makes a run repeatable")]


def train(
    variant: Annotated[Path, typer.Option(help="folder of a COCO data set: annotations/<split>.json and <split>/")],
    recipe: Annotated[str, typer.Option(help="JSON, a preset's name, or a JSON or YAML file")],
    out: Annotated[Path, typer.Option(help="folder for weights.safetensors and train.json")],
    split: Annotated[str, typer.Option(help="split to train on")] = "train",
    seed: Annotated[int, typer.Option(help="seed of weights, order, augmentation and sampling")] = 0,
    device: Device = "auto",
    threads: Threads = 1,
    checkpoints: Annotated[
        Path | None, typer.Option(help="folder for the checkpoint that a killed training continues from")
    ] = None,
    timing: Annotated[Path | None, typer.Option(help="file for seconds and memory; timing.json in OUT")] = None,
    processes: Annotated[int, typer.Option(min=1, help="processes that share each batch, one per GPU")] = 1,
    dataset: Annotated[
        list[str] | None,
        typer.Option(help="name of the data set, as a start may have seen it; the folder that VARIANT is in"),
    ] = None,
) -> None:
    """Train a model; train.json is written last, so its presence means that the training is complete."""
    description = recipes.read(recipe)
    portable.release_for(description.determinism)
    from anonbench.train.training import run_training  # torch takes seconds to import

    run_training(
        variant, split, description, seed, out, device=device, threads=threads, checkpoints=checkpoints, timing=timing,
        processes=processes, datasets=dataset or (),
    )  # fmt: skip


def predict(
    model: Annotated[Path, typer.Option(help="folder of a finished training")],
    variant: Annotated[Path, typer.Option(help="folder of a COCO data set with the same categories")],
    out: Annotated[Path, typer.Option(help="file for the detections, JSON")],
    split: Annotated[str, typer.Option(help="split to predict on")] = "val",
    device: Device = "auto",
    threads: Threads = 1,
) -> None:
    """Run a trained model on the images of a split."""
    portable.release_for(determinism_of(model))
    from anonbench.train.prediction import run_prediction  # torch takes seconds to import

    run_prediction(model, variant, split, out, device=device, threads=threads)
