"""The commands of the annotate stage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anonbench import regions as tables
from anonbench.annotate.image_files import Gate
from anonbench.annotate.options import LabelsOn, OnBadImage
from anonbench.arguments import block
from anonbench.errors import AnonbenchError
from anonbench.records import MAX_PIXELS

Data = Annotated[Path, typer.Option(help="Folder with the data set's download.json.")]
Annotations = Annotated[Path, typer.Option(help="Folder with the annotations of the data set.")]
Split = Annotated[str, typer.Option(help="Name of the split.")]


def annotate(
    data: Data,
    split: Split,
    out: Annotated[Path, typer.Option(help="Folder for the split's annotations and tables.")],
    people: Annotated[list[str] | None, typer.Option(help="Name of a category that is people.")] = None,
    not_people: Annotated[list[str] | None, typer.Option(help="Name of a category that is not.")] = None,
    labels_on: Annotated[
        LabelsOn, typer.Option(help="Frame that labels were drawn in, where an image has an EXIF orientation.")
    ] = LabelsOn.AUTO,
    on_bad_image: Annotated[
        OnBadImage, typer.Option(help="What becomes of images that cannot be used.")
    ] = OnBadImage.FAIL,
    max_pixels: Annotated[int, typer.Option(min=1, help="Width times height of the largest image.")] = MAX_PIXELS,
    threads: Annotated[int, typer.Option(min=1, help="Image files looked at at a time.")] = 1,
    apart_from: Annotated[
        list[str] | None, typer.Option(help="Name of a split that must not show the same people.")
    ] = None,
) -> None:
    """Look at every image of a split, and convert it to COCO JSON with a table of its images and one of its people."""
    from anonbench.annotate.identities import check_apart
    from anonbench.annotate.people import convert
    from anonbench.datasets.record import check_sources, reader_of

    root, adapter, expected = reader_of(data, split)
    for other in apart_from or ():
        check_apart(adapter, root, split, other)
    declared = dict.fromkeys(people or (), True) | dict.fromkeys(not_people or (), False)
    if both := set(people or ()) & set(not_people or ()):
        raise AnonbenchError(f"'{min(both)}' cannot be both", entry="--people, --not-people", remedy="name it once")
    gate = Gate(labels_on, on_bad_image, max_pixels, threads)
    found = adapter.read(root, split)
    check_sources(data, split, found.sources)
    counts = convert(found, root, out, split, gate, declared=declared)
    typer.echo(f"{split}: {counts['images']} images, {counts['annotations']} annotations, {counts['people']} people")
    for warning in counts["warnings"]:
        typer.echo(f"  warning: {warning}")
    if counts["unusable"]:
        typer.echo(f"  {counts['unusable']} annotations without a usable box (see the ledger)")
    if expected is not None and expected != counts["people"]:
        typer.echo(f"  warning: {expected} people are expected (config/datasets.csv): another version, or a part of it")


def detect(
    data: Data,
    annotations: Annotations,
    split: Split,
    detector: Annotated[str, typer.Option(help="Detector with its options, as JSON.")],
    out: Annotated[Path, typer.Option(help="Table to write.")],
    shard: Annotated[int, typer.Option(help="Number of the shard.")] = 0,
    shards: Annotated[int, typer.Option(help="Number of shards.")] = 1,
) -> None:
    """Look for faces or people in a shard of a split's images."""
    from anonbench.annotate.detect import detect_shard
    from anonbench.datasets.record import hashes_of, root_of
    from anonbench.detectors.config import DetectorConfig

    root, _ = root_of(data)
    images = tables.read(annotations / f"{split}.images.parquet", tables.IMAGES)
    config = block(DetectorConfig, detector, "--detector")
    counts = detect_shard(tables.shard_of(images, shard, shards), root, config, out, hashes_of(data, split))
    typer.echo(f"{split}, shard {shard}: {counts['detections']} detections in {counts['images']} images")
    if counts["missing"]:
        typer.echo(f"  {counts['missing']} images without people are not in the stored detections")


def check_frame(
    data: Data,
    annotations: Annotations,
    split: Split,
    detector: Annotated[str, typer.Option(help="Detector with its options, as JSON.")] = '{"plugin": "centerface"}',
    sample: Annotated[int, typer.Option(min=1, help="Images to look at.")] = 50,
    seed: Annotated[int, typer.Option(help="Seed of the choice of images.")] = 0,
) -> None:
    """Find out on which frame labels were drawn where sizes cannot tell; status 1 if the annotations have the other."""
    from anonbench.annotate import frame
    from anonbench.datasets.record import root_of
    from anonbench.detectors.config import DetectorConfig

    root, _ = root_of(data)
    config = block(DetectorConfig, detector, "--detector")
    answer = frame.check(annotations, split, root, config, sample, seed)
    typer.echo("\n".join(frame.told(answer, split)))
    if not answer.agrees:
        raise typer.Exit(1)


def regions(
    annotations: Annotations,
    split: Split,
    regions: Annotated[str, typer.Option(help="What of a person is a region, as JSON.")] = "{}",
    faces: Annotated[list[Path] | None, typer.Option(help="Table of detected faces.")] = None,
    persons: Annotated[list[Path] | None, typer.Option(help="Table of detected people.")] = None,
) -> None:
    """Give every person a region or a reason, and write the ledger and the coverage."""
    from anonbench.annotate.choose import choose
    from anonbench.annotate.options import RegionsConfig

    counts = choose(annotations, split, block(RegionsConfig, regions, "--regions"), faces or (), persons or ())
    typer.echo(f"{split}:")
    for status, number in counts["status"].items():
        typer.echo(f"  {status}: {number}")
    if counts["unannotated"]:
        typer.echo(f"  of these {counts['unannotated']} are detections of nobody who is annotated")
