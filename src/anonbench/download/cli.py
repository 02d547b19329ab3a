"""The command of the download stage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anonbench.arguments import mapping
from anonbench.download.fetch import download as run


def download(
    dataset: Annotated[str, typer.Option(help="Name of the data set in the study.")],
    out: Annotated[Path, typer.Option(help="Folder of the data set.")],
    splits: Annotated[str, typer.Option(help="Names of the splits, separated by commas.")],
    adapter: Annotated[str | None, typer.Option(help="Data set plugin; the data set's name when left out.")] = None,
    root: Annotated[Path | None, typer.Option(help="Copy on disk to use, read-only.")] = None,
    options: Annotated[str, typer.Option(help="Options of the plugin, as JSON.")] = "{}",
) -> None:
    """Fetch or render a data set, or check the copy that is on disk."""
    record = run(dataset, adapter or dataset, root, mapping(options, "--options"), splits.split(","), out)
    for name, split in record["splits"].items():
        typer.echo(f"{dataset} {name}: {split['images']} images, {split['bytes'] / 1e6:.1f} MB")
