"""The command of the `evaluate` stage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    predictions: Annotated[Path, typer.Option(help="predictions.json of one trained model.")],
    annotations: Annotated[Path, typer.Option(help="COCO annotations of the original validation images.")],
    out: Annotated[Path, typer.Option(help="Folder to write metrics.json and matches.npz into.")],
) -> None:
    """Score one model's predictions with COCO's metrics, overall and for every category."""
    from anonbench.evaluate.metrics import evaluate_files

    value = evaluate_files(predictions, annotations, out)
    for iou_type, task in value["tasks"].items():
        scores = {"all": task["overall"], **task["categories"]}
        line = ", ".join(f"{name} {m['AP']:.1f}" for name, m in list(scores.items())[:9] if m["AP"] is not None)
        typer.echo(f"{iou_type} AP: {line or 'no ground truth'}")
