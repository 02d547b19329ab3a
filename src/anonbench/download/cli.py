"""The command of the download stage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anonbench.arguments import mapping
from anonbench.download.fetch import download as run
from anonbench.download.fetch import told

CATALOGUE = Path("config/datasets.csv")


def download(
    dataset: Annotated[str, typer.Option(help="Name of the data set in the study.")],
    out: Annotated[Path, typer.Option(help="Folder of the data set.")],
    splits: Annotated[str, typer.Option(help="Names of the splits, separated by commas.")],
    adapter: Annotated[str | None, typer.Option(help="Data set plugin; the data set's name when left out.")] = None,
    root: Annotated[Path | None, typer.Option(help="Copy on disk to use, read-only.")] = None,
    options: Annotated[str, typer.Option(help="Options of the plugin, as JSON.")] = "{}",
    catalogue: Annotated[
        Path | None, typer.Option(help=f"The catalogue of files and counts; {CATALOGUE} where that is there.")
    ] = None,
    mirror: Annotated[
        str | None, typer.Option(help="Folder or base URL with <dataset>/<file>, in place of every URL.")
    ] = None,
    keep_archives: Annotated[bool, typer.Option("--keep-archives", help="Keep archives once unpacked.")] = False,
) -> None:
    """Fetch or render a data set, or check the copy that is on disk."""
    if catalogue is None and CATALOGUE.is_file():
        catalogue = CATALOGUE
    record = run(
        dataset, adapter or dataset, root, mapping(options, "--options"), splits.split(","), out,
        catalogue=catalogue, mirror=mirror or None, keep_archives=keep_archives,
    )  # fmt: skip
    for name, split in record["splits"].items():
        typer.echo(told(dataset, name, split))
