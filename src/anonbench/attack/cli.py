"""The commands `anonbench fit-attacker` and `anonbench attack`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from anonbench import portable, registry
from anonbench.arguments import block, mapping
from anonbench.attack.options import AttackConfig, AttackerConfig
from anonbench.detectors.config import DetectorConfig
from anonbench.errors import AnonbenchError
from anonbench.records import RegionKind

Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Threads = Annotated[int, typer.Option(min=1, help="Threads of the arithmetic; part of what makes it repeatable.")]
Name = Annotated[str, typer.Option(help="Name of the attack.")]
Original = Annotated[Path, typer.Option(help="Folder of the original variant of the same data set.")]
Tables = Annotated[Path, typer.Option(help="Folder of the data set's tables, which the annotate stage wrote.")]


def fit_attacker(
    attack: Name,
    attacker: Annotated[str, typer.Option(help="The attacker as the study describes it, as JSON.")],
    seen: Annotated[Path, typer.Option(help="Folder of the variant of its own people that it learns from.")],
    original: Original,
    annotations: Tables,
    out: Annotated[Path, typer.Option(help="Folder for weights.safetensors and attacker.json.")],
    split: Annotated[str, typer.Option(help="Split of its own people.")] = "train",
    seed: Annotated[int, typer.Option(help="Seed of weights, order and augmentation.")] = 0,
    most: Annotated[int | None, typer.Option(min=2, help="Most people; which, a seed draws.")] = None,
    device: Device = "auto",
    threads: Threads = 1,
    logs: Annotated[Path | None, typer.Option(help="Folder for checkpoint and seconds; OUT when left out.")] = None,
) -> None:
    """Let an attacker learn, on people of its own, which crops show the same person, or what is true of whom."""
    config = block(AttackerConfig, attacker, "--attacker")
    portable.release_for(config.determinism)
    from anonbench.attack.contract import Comparing, Guessing, Site
    from anonbench.attack.subjects import OWN_IMAGES, read_pair, shortened

    plugin = registry.load("attacks", attack)()
    if not isinstance(plugin, Comparing | Guessing):
        raise AnonbenchError(f"{attack} needs no attacker that learns", entry="--attack")
    origin: dict[str, Any] = {"dataset": annotations.name, "split": split, "variant": seen.name}
    if config.recogniser is not None:
        if config.knowledge not in plugin.by_those_who_know:
            raise AnonbenchError(f"{attack} is not tried by recognisers", entry="--attack")
        from anonbench.attack.code import attacker_code
        from anonbench.attack.recognising import adopt

        adopt(attack, config, origin, seed, out, attacker_code(attack, config))
        typer.echo(str(out / "attacker.json"))
        return
    region, size = RegionKind(config.region), config.size
    wholes = isinstance(plugin, Guessing)
    learnt, raw = read_pair(seen, original, annotations, split, region, config.view, size, most, seed, wholes=wholes)
    origin[OWN_IMAGES] = shortened(raw.sources)
    if isinstance(plugin, Guessing):
        from anonbench.attack.inference import learn_to_guess  # torch takes seconds to import

        truth = plugin.truth(Site(seen, original, annotations, split, most, seed), raw)
        learn_to_guess(
            attack, config, learnt, truth, origin, seed, out, raw=raw, device=device, threads=threads, logs=logs
        )
    else:
        from anonbench.attack.attackers import learn

        learn(attack, config, learnt, raw, origin, seed, out, device=device, threads=threads, logs=logs)
    typer.echo(str(out / "attacker.json"))


def attack(
    attack: Name,
    variant: Annotated[Path, typer.Option(help="Folder of the variant that is attacked.")],
    original: Original,
    annotations: Tables,
    out: Annotated[Path, typer.Option(help="Folder for scores.npz and metrics.json.")],
    model: Annotated[
        Path | None,
        typer.Option(help="Folder of the attacker, which fit-attacker wrote, for an attack by those who learn."),
    ] = None,
    detector: Annotated[
        str | None, typer.Option(help="Detector with its settings, as JSON, for an attack by detectors.")
    ] = None,
    fit: Annotated[
        Path | None, typer.Option(help="fit.json of the variant's method, for an attack on what it was fitted to.")
    ] = None,
    fit_original: Annotated[
        Path | None, typer.Option(help="Folder of the original variant of the data set that it was fitted to.")
    ] = None,
    fit_annotations: Annotated[Path | None, typer.Option(help="Folder of that data set's tables.")] = None,
    own: Annotated[
        Path | None,
        typer.Option(help="Folder of the tables of the attacker's own data set; ANNOTATIONS' unless given."),
    ] = None,
    own_names: Annotated[
        bool, typer.Option(help="The attacker's own data set calls other people by the same names: compare none.")
    ] = False,
    probe: Annotated[str, typer.Option(help="Split whose people are attacked.")] = "val",
    gallery: Annotated[str | None, typer.Option(help="Split in which they are looked for.")] = None,
    size: Annotated[list[int] | None, typer.Option(help="Sizes of galleries; all people, too.")] = None,
    validation: Annotated[float, typer.Option(help="Share of the people on whom attackers are chosen.")] = 0.3,
    most: Annotated[int, typer.Option(min=2, help="Most people of a split; which, a seed draws.")] = 2000,
    seed: Annotated[int, typer.Option(help="The study's seed, of whom is drawn.")] = 0,
    attributes: Annotated[
        str, typer.Option(help="Groups of attributes that are judged by themselves, too: {name: [attributes]} as JSON.")
    ] = "{}",
    resamples: Annotated[int, typer.Option(min=0, help="Resamples of people to compute measures on.")] = 0,
    device: Device = "auto",
    threads: Threads = 1,
) -> None:
    """Attack a variant: what do those who know how it was made still learn of its people?"""
    from anonbench.attack.contract import Matching, Site
    from anonbench.attack.members import Members
    from anonbench.attack.record import read_attacker
    from anonbench.attack.subjects import unlearnt

    plugin = registry.load("attacks", attack)
    if not 0 < validation < 1:
        raise AnonbenchError(f"is {validation}, not a share of the people between 0 and 1", entry="--validation")
    members = None if fit is None else Members(fit, fit_original or original, fit_annotations or annotations)
    if model is not None:
        record, config = read_attacker(model, attack, variant.name)
        portable.release_for(config.determinism)
        pictures = [(variant, probe)]
        if plugin.needs_gallery and gallery is not None:
            pictures.append((variant if plugin.within else original, gallery))
        if members is not None:
            pictures.append((members.original, members.told["split"]))
        unlearnt(record, *pictures)
    if issubclass(plugin, Matching):
        if model is None:
            raise AnonbenchError(f"{attack} is tried by attackers that learn", entry="--model", remedy="name one")
        from anonbench.attack.recognising import described_by
        from anonbench.attack.trials import run_attack  # torch takes seconds to import

        said = run_attack(
            attack, model, variant, original, annotations, out, own=own, probe=probe, gallery=gallery,
            sizes=size or [10, 100], validation=validation, most=most, seed=seed, resamples=resamples, device=device,
            threads=threads, own_names=own_names, recogniser=described_by(model),
        )  # fmt: skip
    else:
        from anonbench.attack.answers import run_answers

        groups = block(AttackConfig, {"attributes": mapping(attributes, "--attributes")}, "--attributes").attributes
        said = run_answers(
            attack, Site(variant, original, annotations, probe, most, seed, groups), out, model=model,
            detector=None if detector is None else block(DetectorConfig, detector, "--detector"), members=members,
            own=own, own_names=own_names, validation=validation, resamples=resamples, device=device, threads=threads,
        )  # fmt: skip
    typer.echo(said)
