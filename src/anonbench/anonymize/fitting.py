"""The command `anonbench fit`: trains a method on the training split and records what it saw."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

import anonbench
from anonbench import portable, regions, registry
from anonbench.anonymize.contract import FitJob, Stills
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
    stills_data: Annotated[
        Path | None,
        typer.Option(help="Folder with the download.json of another data set, whose people are looked at instead."),
    ] = None,
    stills_annotations: Annotated[Path | None, typer.Option(help="That data set's annotations.")] = None,
    stills_split: Annotated[str, typer.Option(help="That data set's training split.")] = "train",
) -> None:
    """Fit a method to the people of a training split; fit.json is written last."""
    plugin = registry.load("methods", method)
    if plugin.FitSettings is None:
        raise AnonbenchError(f"method {method} has nothing to fit", entry="--method")
    Variant(region, method).check_kinds(method, plugin.kinds)
    checked: Any = block(plugin.FitSettings, settings, "--settings")
    portable.release_for(getattr(checked, "determinism", "auto"))
    if (stills_data is None) != (stills_annotations is None):
        raise AnonbenchError("--stills-data and --stills-annotations are given together, or neither", entry="fit")
    if stills_data and not plugin.stills:
        raise AnonbenchError(f"{method} looks at the people of its own data set alone", entry="--stills-data")
    root, record = root_of(data)
    images = annotations / f"{split}.images.parquet"
    table = annotations / f"{split}.{region.table}.parquet"
    read = {path.name: sha256_file(path) for path in (images, table) if path.is_file()}
    (out / FIT_RECORD).unlink(missing_ok=True)
    folder = logs or out
    origin: dict[str, Any] = {"dataset": record.get("dataset", data.name), "split": split, "region": region.value}
    stills = None
    if stills_data and stills_annotations:
        others, told = root_of(stills_data)
        origin["stills"] = {"dataset": told.get("dataset", stills_data.name), "split": stills_split}
        tables = [stills_annotations / f"{stills_split}.{name}.parquet" for name in ("images", region.table)]
        stills = Stills(others, _rows(stills_data, stills_split, tables[0]), tables[1])
        read |= {f"stills/{path.name}": sha256_file(path) for path in tables if path.is_file()}
    checkpoint = folder / CHECKPOINT
    job = FitJob(
        kind=region,
        root=root,
        images=_rows(data, split, images),
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
        stills=stills,
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


def _rows(data: Path, split: str, table: Path) -> list[dict[str, Any]]:
    """Return the rows of a table of images, each with the sha256 that its file had when it was fetched, if known."""
    hashes = hashes_of(data, split)
    return [{**row, "sha256": hashes.get(row["path"])} for row in regions.read(table, regions.IMAGES).to_pylist()]
