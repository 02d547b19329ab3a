"""Milliseconds per image of a recipe's training, by part of the model, on rendered streetlife images.

python benchmarks/train.py [cpu-small] [--iterations 20] [--threads 1] [--levels 5]
CPU time is printed beside wall time: on a shared machine only the former says what the code costs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from statistics import median
from typing import Annotated, Any

import torch
import typer
from tabulate import tabulate
from torch import nn

from anonbench import portable
from anonbench import recipe as recipes
from anonbench.cli import one_sentence
from anonbench.datasets.streetlife import Options, render_split
from anonbench.learning.devices import choose_device, deterministic
from anonbench.train import models
from anonbench.train.data import VariantSplit
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


LEVELS = ("portable", "strict", "seeded")


def determinism(recipe: str, iterations: int, threads: int, repeats: int) -> None:
    """Print what the levels of determinism cost: short trainings, each in a process of its own, interleaved."""
    seconds: dict[str, list[tuple[float, float]]] = {level: [] for level in LEVELS}
    for repeat in range(repeats):
        for level in LEVELS if repeat % 2 else reversed(LEVELS):
            free = {name: value for name, value in os.environ.items() if name not in portable.TORCH}
            command = [sys.executable, __file__, recipe, "--iterations", str(iterations), "--threads", str(threads)]
            done = subprocess.run(
                [*command, "--level", level],
                env={**free, **(portable.TORCH if level == "portable" else {})},
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            seconds[level].append(tuple(json.loads(done.stdout.splitlines()[-1])))
    wall, own = ({level: [pair[i] for pair in seconds[level]] for level in LEVELS} for i in (0, 1))
    rows = [[level, *(f"{1e3 * median(of[level]):.2f}" for of in (wall, own))] for level in LEVELS]
    for above, below in (("portable", "strict"), ("strict", "seeded")):
        ratios = [median(a / b for a, b in zip(of[above], of[below], strict=True)) for of in (wall, own)]
        rows.append([f"{above} / {below}", *(f"{ratio:.3f}" for ratio in ratios)])
    print(tabulate(rows, headers=["determinism", "ms per image", "CPU ms"], tablefmt="github", disable_numparse=True))


def at_level(level: str, whole: recipes.Recipe, variant: VariantSplit, device: torch.device) -> None:
    """Print wall and CPU seconds per image of a short training at a level, as JSON; the first one warms up."""
    if level == "portable":
        portable.require()
    with deterministic(level != "seeded"):
        for _ in range(2):
            torch.manual_seed(0)
            model = models.build(whole, variant.categories).to(device, memory_format=torch.channels_last)
            started = time.process_time()
            ran = fit(model, Batches(variant, whole, 0), device, None, "")
            spent = time.process_time() - started
    print(json.dumps([ran.seconds / ran.images, spent / ran.images]))


def main(
    recipe: Annotated[str, typer.Argument(help="Recipe: JSON, a preset's name, or a file.")] = "cpu-small",
    iterations: Annotated[int, typer.Option(help="Iterations to measure.")] = 20,
    threads: Annotated[int, typer.Option(help="Threads.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "cpu",
    levels: Annotated[int, typer.Option(help="Compare the levels of determinism in so many rounds instead.")] = 0,
    level: Annotated[str, typer.Option(help="One round of one level, as JSON.")] = "",
) -> None:
    """Print the table."""
    if levels:
        determinism(recipe, iterations, threads, levels)
        return
    torch.set_num_threads(threads)
    where = choose_device(device)
    whole = recipes.read(recipe)
    short = whole.model_copy(update={"epochs": None, "length": None, "iterations": iterations})
    with tempfile.TemporaryDirectory() as folder:
        render_split(Options(train=8 * whole.batch_size), "train", folder, progress=False)
        variant = VariantSplit.read(folder, "train")
        if level:
            at_level(level, short, variant, where)
        else:
            parts(whole, short, variant, where)


def parts(whole: recipes.Recipe, short: recipes.Recipe, variant: VariantSplit, device: torch.device) -> None:
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
    with one_sentence():
        typer.run(main)
