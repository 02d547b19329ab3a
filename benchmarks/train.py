"""Milliseconds per image of a recipe's training, by part of the model, on rendered streetlife images.

python benchmarks/train.py [cpu-small] [--iterations 20] [--threads 1] [--levels 5]
CPU time is printed beside wall time: on a shared machine only the former says what the code costs.
"""

from __future__ import annotations

import tempfile
import time
from statistics import median
from typing import Annotated, Any

import torch
import typer
from tabulate import tabulate
from torch import nn

from anonbench import recipe as recipes
from anonbench.datasets.streetlife import Options, render_split
from anonbench.learning import choose_device, deterministic
from anonbench.train import models
from anonbench.train.data import Variant
from anonbench.train.loop import Batches, fit


def timed(module: nn.Module, name: str, spent: dict[str, float]) -> None:
    """Add the CPU seconds of the module's forward passes to ``spent[name]``."""
    forward, spent[name] = module.forward, 0.0

    def measured(*arguments: Any, **options: Any) -> Any:
        started = time.process_time()
        result = forward(*arguments, **options)
        spent[name] += time.process_time() - started
        return result

    module.forward = measured  # type: ignore[method-assign]


def determinism(whole: recipes.Recipe, variant: Variant, device: torch.device, repeats: int) -> None:
    """Print what `strict` costs beside `seeded`: short trainings, interleaved."""
    seconds: dict[bool, list[float]] = {True: [], False: []}
    own: dict[bool, list[float]] = {True: [], False: []}
    for repeat in range(repeats + 1):
        for strict in (True, False) if repeat % 2 else (False, True):
            with deterministic(strict):
                torch.manual_seed(0)
                model = models.build(whole, variant.categories).to(device, memory_format=torch.channels_last)
                started = time.process_time()
                ran = fit(model, Batches(variant, whole, 0), device, None, "")
            if repeat:  # the first of each warms up
                seconds[strict].append(ran.seconds / ran.images)
                own[strict].append((time.process_time() - started) / ran.images)
    rows = [
        [name, f"{1e3 * median(seconds[strict]):.2f}", f"{1e3 * median(own[strict]):.2f}"]
        for name, strict in (("strict", True), ("seeded", False))
    ]
    ratios = [median(a / b for a, b in zip(of[True], of[False], strict=True)) for of in (seconds, own)]
    rows.append(["strict / seeded", *(f"{ratio:.3f}" for ratio in ratios)])
    print(tabulate(rows, headers=["determinism", "ms per image", "CPU ms"], tablefmt="github", disable_numparse=True))


def main(
    recipe: Annotated[str, typer.Argument(help="Recipe: JSON, a preset's name, or a file.")] = "cpu-small",
    iterations: Annotated[int, typer.Option(help="Iterations to measure.")] = 20,
    threads: Annotated[int, typer.Option(help="Threads.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "cpu",
    levels: Annotated[int, typer.Option(help="Compare the levels of determinism in so many pairs instead.")] = 0,
) -> None:
    """Print the table."""
    torch.set_num_threads(threads)
    where = choose_device(device)
    whole = recipes.read(recipe)
    short = whole.model_copy(update={"epochs": None, "length": None, "iterations": iterations})
    with tempfile.TemporaryDirectory() as folder:
        render_split(Options(train=8 * whole.batch_size), "train", folder, progress=False)
        variant = Variant.read(folder, "train")
        if levels:
            determinism(short, variant, where, levels)
        else:
            parts(whole, short, variant, where)


def parts(whole: recipes.Recipe, short: recipes.Recipe, variant: Variant, device: torch.device) -> None:
    """Print where the time of a training goes."""
    with deterministic(whole.strict(device.type)):
        torch.manual_seed(0)
        model = models.build(whole, variant.categories).to(device, memory_format=torch.channels_last)
        warm = whole.model_copy(update={"epochs": None, "length": None, "iterations": 2})
        fit(model, Batches(variant, warm, 0), device, None, "")
        spent: dict[str, float] = {}
        pieces = {"input": model.transform, "body": model.backbone.body, "pyramid": model.backbone.fpn}
        pieces |= {"proposals": model.rpn, "regions": model.roi_heads}
        for name, module in pieces.items():
            timed(module, name, spent)
        started = time.process_time()
        ran = fit(model, Batches(variant, short, 0), device, None, "")
        total = time.process_time() - started
    spent["loading"] = ran.loading_seconds
    spent["backward, optimiser"] = total - sum(spent.values())
    rows = [[name, f"{1e3 * seconds / ran.images:.2f}"] for name, seconds in spent.items()]
    rows += [["all, CPU", f"{1e3 * total / ran.images:.2f}"], ["all, wall", f"{1e3 * ran.seconds / ran.images:.2f}"]]
    print(tabulate(rows, headers=["part", "ms per image"], tablefmt="github"))
    if whole.epochs is not None:
        print(f"{whole.epochs} epochs of 480 images: {total / ran.images * 480 * whole.epochs:.0f} s of CPU time")


if __name__ == "__main__":
    typer.run(main)
