"""The command `anonbench fit`: trains a method on the training split and records what it saw."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

import anonbench
from anonbench import portable, regions, registry
from anonbench.anonymize.contract import FitJob
from anonbench.arguments import block
from anonbench.datasets.record import hashes_of, root_of
from anonbench.errors import AnonbenchError
from anonbench.files import sha256_file, write_json
from anonbench.records import FIT_RECORD, FITTED, RegionKind
from anonbench.variants import Variant

TIMING, CHECKPOINT, SHEET = "timing.json", "checkpoint.pt", "samples.png"


def fit(
    data: Annotated[Path, typer.Option(help="Folder with the data set's download.json.")],
    annotations: Annotated[Path, typer.Option(help="Folder that the annotate stage wrote.")],
    region: Annotated[RegionKind, typer.Option(help="What the method is fitted to.")],
    method: Annotated[str, typer.Option(help="Name of a method that is fitted to data.")],
    out: Annotated[Path, typer.Option(help="Folder for weights.safetensors and fit.json.")],
    split: Annotated[str, typer.Option(help="The training split; no other is read.")] = "train",
    settings: Annotated[str, typer.Option(help="Settings of the training as JSON.")] = "{}",
    seed: Annotated[int, typer.Option(help="Seed of weights, order, augmentation and noise.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[
        int, typer.Option(min=1, help="Threads of the arithmetic; part of what makes it repeatable.")
    ] = 1,
    logs: Annotated[
        Path | None, typer.Option(help="Folder for the checkpoint, sample sheet and seconds; OUT when left out.")
    ] = None,
) -> None:
    """Fit a method to the people of a training split; fit.json is written last."""
    plugin = registry.load("methods", method)
    if plugin.FitSettings is None:
        raise AnonbenchError(f"method {method} has nothing to fit", entry="--method")
    Variant(region, method).check_kinds(method, plugin.kinds)
    checked: Any = block(plugin.FitSettings, settings, "--settings")
    portable.release_for(getattr(checked, "determinism", "auto"))
    root, record = root_of(data)
    images = annotations / f"{split}.images.parquet"
    table = annotations / f"{split}.{region.table}.parquet"
    hashes = hashes_of(data, split)
    rows = [{**row, "sha256": hashes.get(row["path"])} for row in regions.read(images, regions.IMAGES).to_pylist()]
    read = {path.name: sha256_file(path) for path in (images, table) if path.is_file()}
    (out / FIT_RECORD).unlink(missing_ok=True)
    folder = logs or out
    origin: dict[str, Any] = {"dataset": record.get("dataset", data.name), "split": split, "region": region.value}
    checkpoint = folder / CHECKPOINT
    job = FitJob(
        kind=region,
        root=root,
        images=rows,
        table=table,
        settings=checked,
        seed=seed,
        device=device,
        threads=threads,
        weights=out / FITTED,
        checkpoint=checkpoint,
        sheet=folder / SHEET,
        origin=origin,
        facts=regions.facts_of(images),
    )
    fitted = plugin.fit(job)
    write_json(folder / TIMING, fitted.timing)
    write_json(
        out / FIT_RECORD,
        {
            "method": method,
            **origin,
            "settings": checked.model_dump(mode="json"),
            "seed": seed,
            "tables_sha256": read,
            **fitted.record,
            "weights_sha256": sha256_file(out / FITTED),
            "threads": threads,
            "versions": {
                "python": portable.python(),
                "torch": version("torch"),
                "anonbench": anonbench.__version__,
            },
        },
    )
    checkpoint.unlink(missing_ok=True)
    typer.echo(str(out / FIT_RECORD))
