"""The command of the `evaluate` stage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anonbench.tasks.engines import VECTORIZED, Engine


def evaluate(
    predictions: Annotated[Path, typer.Option(help="predictions.json of one trained model.")],
    annotations: Annotated[Path, typer.Option(help="COCO annotations of the original validation images.")],
    out: Annotated[Path, typer.Option(help="Folder to write metrics.json and evidence.npz into.")],
    engine: Annotated[Engine, typer.Option(help="What computes COCO's metrics.")] = VECTORIZED,
    people: Annotated[
        Path | None,
        typer.Option(help="The split's people.parquet: images that show the same person are drawn together."),
    ] = None,
    resamples: Annotated[
        int, typer.Option(min=0, help="Resamples of the images to compute first metrics on, for `report-tables`.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="The study's seed, for --resamples.")] = 0,
    dataset: Annotated[str, typer.Option(help="The data set's name in the study, for --resamples.")] = "",
    metric: Annotated[
        str | None, typer.Option(help="What is resampled in place of the first metric, such as AP50, where it can be.")
    ] = None,
) -> None:
    """Score one model's predictions: every task, overall and by part (each category, for example)."""
    from anonbench import registry
    from anonbench.errors import AnonbenchError, nearest
    from anonbench.evaluate.metrics import evaluate_files
    from anonbench.statistics.resampling import Draw
    from anonbench.tasks import base as tasks

    if metric is not None:  # loads all tasks, which a run without it need not
        leaders = sorted({one for name in registry.names("tasks") for one in tasks.load(name).leaders})
        if metric not in leaders:
            raise AnonbenchError(
                f"'{metric}' is resampled in no task{nearest(metric, leaders)}", entry="--metric",
                remedy=f"name one of {', '.join(leaders)}, or none for first metrics",
            )  # fmt: skip
    draw = Draw(resamples, seed, dataset) if resamples else None
    value = evaluate_files(predictions, annotations, out, engine, draw, people, metric)
    for name, found in value["tasks"].items():
        task = tasks.led(name, metric)
        first = task.metrics[0].name
        scores = {"all": found["overall"], **found["parts"]}
        line = ", ".join(f"{n} {m[first]:.1f}" for n, m in list(scores.items())[:9] if m.get(first) is not None)
        typer.echo(f"{task.title}: {line or 'no ground truth'}")
