"""The commands of the anonymize stage."""

from __future__ import annotations

import itertools
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from anonbench import manifests, registry
from anonbench.anonymize.merge import frames_in_doubt
from anonbench.anonymize.merge import merge as run_merge
from anonbench.anonymize.shard import Shard
from anonbench.arguments import mapping
from anonbench.variants import Variant

Name = Annotated[str, typer.Option(help="original or <region>-<method>[-<level>], such as face-blur-medium.")]
Split = Annotated[str, typer.Option(help="Name of the split.")]
Annotations = Annotated[Path, typer.Option(help="Folder that the annotate stage wrote.")]
Out = Annotated[Path, typer.Option(help="Folder of the variant.")]
Shards = Annotated[int, typer.Option(min=1, help="Number of shards.")]


class Link(StrEnum):
    """How an image that nothing is changed in gets into a variant."""

    COPY = "copy"
    REFLINK = "reflink"
    HARDLINK = "hardlink"


def anonymize(
    data: Annotated[Path, typer.Option(help="Folder with the data set's download.json.")],
    annotations: Annotations,
    split: Split,
    variant: Name,
    out: Out,
    parameters: Annotated[
        str | None, typer.Option(help="The method's parameters as JSON; those of the level when left out.")
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(help="source, lossless or quality-N; what the method asks for, or source, when left out."),
    ] = None,
    seed: Annotated[int, typer.Option(help="The study's seed.")] = 0,
    shard: Annotated[int, typer.Option(min=0, help="Which shard to write.")] = 0,
    shards: Shards = 1,
    threads: Annotated[int, typer.Option(min=1, help="Images worked on at a time.")] = 1,
    link: Annotated[Link, typer.Option(help="How images that nothing is changed in get there.")] = Link.COPY,
    weights: Annotated[Path | None, typer.Option(help="What anonbench fit wrote, for a method that is fitted.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda, for a method that is fitted.")] = "auto",
    timing: Annotated[Path | None, typer.Option(help="File for seconds and memory, JSON.")] = None,
) -> None:
    """Write one shard of a variant and its manifest."""
    if link is Link.HARDLINK:
        typer.echo(
            f"Warning: --link hardlink makes images in {out / split} and the originals below {data} one file under two "
            "names: whatever is written to one is written to the other. --link reflink saves the same space safely.",
            err=True,
        )
    parsed = Variant.parse(variant)
    path = Shard(
        data=data,
        annotations=annotations,
        out=out,
        split=split,
        variant=parsed,
        parameters=None if parameters is None else mapping(parameters, "--parameters"),
        encoder=encoder or wished(parsed) or "source",
        seed=seed,
        shard=shard,
        shards=shards,
        threads=threads,
        link=link.value,
        weights=weights,
        device=device,
        timing=timing,
    ).run()
    typer.echo(str(path))


def wished(variant: Variant) -> str | None:
    """Return the encoder policy that a variant's method asks for."""
    stores: str | None = registry.load("methods", variant.method).stores if variant.method else None
    return stores


def merge(
    annotations: Annotations,
    split: Split,
    variant: Name,
    out: Out,
    shards: Shards = 1,
    strict: Annotated[bool, typer.Option("--strict", help="Fail when a person is left visible.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Check the sha256 of every image.")] = False,
) -> None:
    """Join the shards of a split into a COCO data set with one manifest."""
    summary = run_merge(annotations, split, Variant.parse(variant), shards, out, strict=strict, contents=verify)
    people, images = summary["people"], summary["images"]
    typer.echo(f"{variant} {split}: " + ", ".join(f"{number} images {what}" for what, number in images.items()))
    strangers = {"nobody who is annotated": people["unannotated"]} if people["unannotated"]["people"] else {}
    for category, entry in [*people["by_category"].items(), *strangers.items()]:
        reasons = ", ".join(f"{reason} {number}" for reason, number in entry["reasons"].items())
        left = f" ({reasons})" if reasons else ""
        typer.echo(f"  {category}: {entry['anonymized']} of {entry['people']} anonymized{left}")
    if lost := summary["left_out"].get("image.license"):
        typer.echo(f"  {lost} images lose their licence: it is none of Creative Commons or COCO's, by its URL")
    if guessed := frames_in_doubt(summary):
        typer.echo(
            f"  warning: of {guessed} images it was guessed in which frame their labels were drawn, "
            "and people stay visible if that is wrong: run anonbench check-frame"
        )
    if people.get("weak"):
        weak = itertools.islice((row for row in manifests.rows_of(out, split) if "weak" in row), 5)
        first = ", ".join(f"{row['person_id']} in image {row['image_id']} ({row['weak']})" for row in weak)
        typer.echo(f"  warning: {people['weak']} people were changed and may still be recognised: {first}")
