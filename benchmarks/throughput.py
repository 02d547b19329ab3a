"""Training throughput beside the reference programs: the same images, the same model, one after the other.

python benchmarks/throughput.py torchvision --reference VISION/references/detection
python benchmarks/throughput.py detectron2 [--preset r50 --device cuda]

torchvision: our trainer's loop beside `train_one_epoch` of torchvision's detection reference, from a checkout of
github.com/pytorch/vision, which gets what its train.py builds: COCO reader, mirroring, DataLoader, torchvision's
MaskRCNN, SGD. detectron2: our trainer's loop beside the DefaultTrainer that its tools/train_net.py starts, with its own
loader on the variant that we register. Both start from the same layers with the same weights. The two take turns of a
few iterations (the first to go alternates), so that a busy machine slows both; a turn counts in full, from the request
of the first batch to the last step. Printed are medians over the turns, and of the turns' ratios. On a processor also
those of CPU time: on a shared machine wall time says what the others did.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import io
import itertools
import json
import logging
import math
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from pycocotools import mask as coco_mask
from tabulate import tabulate
from torch import nn
from tqdm import tqdm

from anonbench import recipe as recipes
from anonbench.cli import one_sentence
from anonbench.datasets.streetlife import Options, render_split
from anonbench.errors import AnonbenchError
from anonbench.files import read_json
from anonbench.learning.ahead import decoders
from anonbench.learning.devices import deterministic
from anonbench.recipe import Recipe
from anonbench.train import models
from anonbench.train.data import VariantSplit
from anonbench.train.loop import Batches, fit

SMALL = {
    "tasks": ["detection", "segmentation"],
    "settings": {
        "architecture": {
            "backbone": "resnet18",
            "norm": "group",
            "pyramid_channels": 64,
            "box_width": 256,
            "box_samples": 64,
            "rpn_before_nms": 200,
            "rpn_after_nms": 200,
            "mask_head": {"widths": [64, 64]},
        },
        "min_size": [192],
        "max_size": 256,
    },
    "batch_size": 4,
    "reference_batch_size": 4,
    "base_learning_rate": 0.001,
}
R50 = {"preset": "mask-rcnn-r50", "base_learning_rate": 0.001}
PRESETS: dict[str, tuple[dict[str, Any], Options]] = {
    "small": (SMALL, Options(train=64)),
    "r50": (R50, Options(train=64, width=1067, height=800)),
}
"""By name: the recipe, and the images; both reference programs read masks of the whole image."""


class Against(StrEnum):
    """The program that ours is measured against."""

    TORCHVISION = "torchvision"
    DETECTRON2 = "detectron2"


Turn = Callable[[], float]
"""Trains for one turn's iterations; returns the seconds of it that were waited for images, where they are known."""


def ours(model: nn.Module, variant: VariantSplit, recipe: Recipe, device: torch.device) -> Turn:
    """Return a turn of our loop; each turn draws another order of the images."""
    seeds = itertools.count()

    def turn() -> float:
        return fit(model, Batches(variant, recipe, next(seeds)), device, None, "", decoders(device)).loading_seconds

    return turn


class Turns:
    """A data loader without end in portions: each iteration over it goes on where the last one stopped."""

    def __init__(self, loader: Any, size: int) -> None:
        self.endless = itertools.chain.from_iterable(iter(loader) for _ in itertools.count())
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[Any]:
        return itertools.islice(self.endless, self.size)


def with_reference(
    reference: Path, folder: Path, variant: VariantSplit, recipe: Recipe, workers: int
) -> tuple[Any, Any]:
    """Return a loader and `train_one_epoch` of torchvision's reference; ``folder`` is the variant's."""
    if not (reference / "engine.py").is_file():
        raise AnonbenchError(
            "holds no engine.py", file=reference, remedy="name references/detection of a checkout of pytorch/vision"
        )
    sys.path.insert(0, str(reference))
    names = ("coco_utils", "engine", "transforms", "utils")
    coco_utils, engine, transforms, utils = (importlib.import_module(name) for name in names)
    # its reader takes COCO's names of files, and run lengths as a list of numbers
    coco = read_json(variant.annotations)
    for annotation in coco["annotations"]:
        if isinstance(annotation["segmentation"], dict):
            annotation["segmentation"] = uncompressed(annotation["segmentation"])
        for entry in ("keypoints", "num_keypoints"):
            annotation.pop(entry, None)
    (folder / "annotations" / "instances_train2017.json").write_text(json.dumps(coco))
    (folder / "train2017").symlink_to(folder / "train")
    steps = [transforms.RandomHorizontalFlip(0.5), transforms.PILToTensor(), transforms.ConvertImageDtype(torch.float)]
    data = coco_utils.get_coco(str(folder), "train", transforms.Compose(steps))
    batches = torch.utils.data.BatchSampler(torch.utils.data.RandomSampler(data), recipe.batch_size, drop_last=True)
    loader = torch.utils.data.DataLoader(
        data, batch_sampler=batches, num_workers=workers, collate_fn=utils.collate_fn, persistent_workers=workers > 0
    )
    return loader, engine.train_one_epoch


def uncompressed(rle: dict[str, Any]) -> dict[str, Any]:
    """Return run lengths as a list, as COCO's crowds have them."""
    if isinstance(rle["counts"], list):
        return rle
    pixels = coco_mask.decode(rle).ravel(order="F")
    counts = [len(list(run)) for _, run in itertools.groupby(pixels)]
    return {"size": rle["size"], "counts": counts if not pixels[0] else [0, *counts]}


def torchvision_model(model: Any, recipe: Recipe) -> nn.Module:
    """Return torchvision's own MaskRCNN of copies of the layers of ours."""
    from torchvision.models.detection import MaskRCNN

    a, own = recipe.settings.architecture, copy.deepcopy(model)
    own.backbone.out_channels = a.pyramid_channels
    heads = own.roi_heads
    return MaskRCNN(
        own.backbone,
        min_size=recipe.settings.min_size,
        max_size=recipe.settings.max_size,
        rpn_anchor_generator=own.rpn.anchor_generator,
        rpn_head=own.rpn.head,
        rpn_batch_size_per_image=a.rpn_samples,
        rpn_pre_nms_top_n_train=a.rpn_before_nms,
        rpn_post_nms_top_n_train=a.rpn_after_nms,
        box_roi_pool=heads.box_roi_pool,
        box_head=heads.box_head,
        box_predictor=heads.box_predictor,
        box_batch_size_per_image=a.box_samples,
        box_positive_fraction=a.box_positive_fraction,
        mask_roi_pool=heads.mask.pool,
        mask_head=heads.mask.head,
        mask_predictor=heads.mask.predictor,
    )


def against_torchvision(
    reference: Path, folder: Path, variant: VariantSplit, recipe: Recipe, device: torch.device, workers: int
) -> tuple[Turn, Turn]:
    """Return turns of our torchvision trainer's loop and of torchvision's reference."""
    assert recipe.iterations is not None
    own = models.build(recipe, variant.categories)
    theirs = torchvision_model(own, recipe).to(device)
    own.to(device, memory_format=torch.channels_last)
    loader, train_one_epoch = with_reference(reference, folder, variant, recipe, workers)
    trained = [p for p in theirs.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, recipe.base_learning_rate, recipe.momentum, weight_decay=recipe.weight_decay)
    turns = Turns(loader, recipe.iterations)

    def turn() -> float:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of its autocast
            train_one_epoch(theirs, optimizer, turns, device, epoch=1, print_freq=20)
        return math.nan

    return ours(own, variant, recipe, device), turn


def against_detectron2(
    folder: Path, variant: VariantSplit, recipe: Recipe, device: torch.device, workers: int
) -> tuple[Turn, Turn]:
    """Return turns of our detectron2 trainer's loop and of detectron2's DefaultTrainer on the same variant."""
    from anonbench.train.detectron2 import require

    require(device)
    from detectron2.engine import DefaultTrainer
    from detectron2.engine.hooks import PeriodicWriter
    from detectron2.utils.events import CommonMetricPrinter, EventStorage, JSONWriter

    from anonbench.train import detectron2_config
    from anonbench.train import detectron2_models as networks

    iterations = recipe.iterations
    assert iterations is not None
    config = detectron2_config.build(recipe, variant.categories, len(variant.samples), networks.register(variant))
    own = networks.Network(config, variant.categories).to(device)
    config = config.clone()
    config.defrost()
    config.MODEL.ROI_HEADS.NAME, config.MODEL.DEVICE = "StandardROIHeads", device.type
    config.DATALOADER.NUM_WORKERS, config.OUTPUT_DIR = workers, str(folder / "detectron2")
    config.SOLVER.CHECKPOINT_PERIOD = config.SOLVER.MAX_ITER = 1 << 30
    Path(config.OUTPUT_DIR).mkdir()

    class Theirs(DefaultTrainer):
        def build_writers(self) -> list[Any]:
            # its TensorBoard writer needs a package that may be missing
            return [CommonMetricPrinter(self.max_iter), JSONWriter(str(folder / "detectron2" / "metrics.json"))]

    trainer = Theirs(config)
    assert any(isinstance(hook, PeriodicWriter) for hook in trainer._hooks)
    wanted = {k: v for k, v in own.model.state_dict().items() if k in trainer.model.state_dict()}
    trainer.model.load_state_dict(wanted)
    trainer.model.train()
    trainer.storage = EventStorage(0)
    with trainer.storage:
        trainer.before_train()

    def turn() -> float:
        """Do what its `train` does between ``before_train`` and ``after_train``."""
        with trainer.storage:
            for _ in range(iterations):
                trainer.before_step()
                trainer.run_step()
                trainer.after_step()
                trainer.iter += 1
        return math.nan

    trainer.iter = 0
    return ours(own, variant, recipe, device), turn


def main(
    against: Annotated[Against, typer.Argument(help="the program to compare with")],
    reference: Annotated[Path, typer.Option(help="references/detection of a checkout of pytorch/vision")] = Path(
        "references/detection"
    ),
    preset: Annotated[str, typer.Option(help="small (minutes on a processor) or r50 (Mask R-CNN R50-FPN)")] = "small",
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    threads: Annotated[int, typer.Option(min=1, help="threads of the arithmetic")] = 1,
    workers: Annotated[int, typer.Option(min=0, help="processes of the reference program's loader")] = 0,
    iterations: Annotated[int, typer.Option(min=2, help="iterations of a turn")] = 6,
    batch_size: Annotated[int | None, typer.Option(min=1, help="images per iteration, if not the preset's")] = None,
    rounds: Annotated[int, typer.Option(min=2, help="turns of each, after one that does not count")] = 12,
    determinism: Annotated[str, typer.Option(help="ours: strict, seeded, or auto (as in a study)")] = "auto",
) -> None:
    """Print images per second of both and their ratio."""
    torch.set_num_threads(threads)
    logging.disable(logging.INFO)
    warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
    if preset not in PRESETS:
        raise AnonbenchError(f"unknown preset (known: {', '.join(PRESETS)})", entry=f"--preset {preset}")
    settings, options = PRESETS[preset]
    extra = {"trainer": against.value, "epochs": None, "iterations": iterations, "warmup_iterations": 0}
    extra |= {} if batch_size is None else {"batch_size": batch_size}
    recipe = recipes.parse({**settings, **extra, "determinism": determinism})
    where = torch.device(device)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        render_split(options, "train", folder, progress=False)
        variant = VariantSplit.read(folder, "train")
        torch.manual_seed(0)
        if against is Against.TORCHVISION:
            own, theirs = against_torchvision(reference, folder, variant, recipe, where, workers)
        else:
            own, theirs = against_detectron2(folder, variant, recipe, where, workers)
        strict, seconds = recipe.strict(where.type), []
        for number in tqdm(range(rounds + 1), "turns", file=sys.stderr):
            spent: dict[str, tuple[float, float, float]] = {}
            for who in ("ours", "theirs") if number % 2 else ("theirs", "ours"):
                with deterministic(strict and who == "ours"), contextlib.redirect_stderr(io.StringIO()):
                    spent[who] = timed(own if who == "ours" else theirs, where)
            seconds.append((spent["ours"], spent["theirs"]))
    images, counted = iterations * recipe.batch_size, seconds[1:]
    kinds = {"wall time": 0, "CPU time": 1} if where.type == "cpu" and workers == 0 else {"wall time": 0}
    rows = [
        [name, *(f"{statistics.median(images / turn[i][kind] for turn in counted):.2f}" for kind in kinds.values())]
        for i, name in enumerate(("anonbench", against.value))
    ]
    print(tabulate(rows, headers=[f"{preset}, {device}", *(f"images/s, {kind}" for kind in kinds)], tablefmt="github"))
    for name, kind in kinds.items():
        ratios = [theirs_[kind] / own_[kind] for own_, theirs_ in counted]
        low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
        print(f"by {name} anonbench is {middle:.3f} times as fast ({rounds} turns, {low:.3f} to {high:.3f})")
    waiting = statistics.median(own[2] / own[0] for own, _ in counted)
    print(f"anonbench waits for images {100 * waiting:.1f} % of the time")


def timed(turn: Turn, device: torch.device) -> tuple[float, float, float]:
    """Return the wall and the CPU seconds of a turn, and those of waiting for images."""
    wall, cpu = time.perf_counter(), time.process_time()
    waited = turn()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - wall, time.process_time() - cpu, waited


if __name__ == "__main__":
    with one_sentence():
        typer.run(main)
