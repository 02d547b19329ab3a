"""The command of the annotate stage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from anonbench.annotate.options import RegionsConfig
from anonbench.annotate.tables import annotate as run
from anonbench.arguments import mapping
from anonbench.datasets.record import adapter_of, root_of
from anonbench.errors import AnonbenchError


def annotate(
    data: Annotated[Path, typer.Option(help="Folder with the data set's download.json.")],
    split: Annotated[str, typer.Option(help="Name of the split.")],
    out: Annotated[Path, typer.Option(help="Folder for the split's annotations and tables.")],
    regions: Annotated[str, typer.Option(help="What of a person is a region, as JSON.")] = "{}",
) -> None:
    """Convert a split to COCO JSON with a region or a reason for every person."""
    root, record = root_of(data)
    try:
        config = RegionsConfig.model_validate(mapping(regions, "--regions"))
    except ValidationError as error:
        raise AnonbenchError(str(error).replace("\n", " "), entry="--regions") from None
    counts = run(adapter_of(record["adapter"], record["options"]).read(root, split), root, config, out, split)
    typer.echo(f"{split}: {counts['images']} images, {counts['annotations']} annotations")
    if counts["unusable"]:
        typer.echo(f"  {counts['unusable']} annotations without a usable box (see the ledger)")
    for status, number in counts["status"].items():
        typer.echo(f"  {status}: {number}")
