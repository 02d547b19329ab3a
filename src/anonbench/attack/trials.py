"""Attacks on one variant: who is compared with whom, the scores, and what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from anonbench import registry
from anonbench.attack import metrics
from anonbench.attack.attackers import describe_with
from anonbench.attack.contract import Describe, Matching, Site, Trial
from anonbench.attack.estimates import FALSE_ACCEPTS, estimate_arrays, estimates, threshold_of
from anonbench.attack.fitting import restored_by
from anonbench.attack.linkage import crowd, linkability, summarise_crowd
from anonbench.attack.metrics import TEST, VALIDATION, chooser, known
from anonbench.attack.record import own_people, read_attacker
from anonbench.attack.retrieval import mean_average_precision, within_rank
from anonbench.attack.risk import identities_that_tell, identity_replicates, mixture
from anonbench.attack.subjects import apart, disjoint, read_subjects
from anonbench.attack.verification import auc, eer, tar_at_far
from anonbench.errors import AnonbenchError
from anonbench.records import RegionKind
from anonbench.statistics.resampling import Draw

ALL = "all"
"""In the place of a gallery's size: everybody."""


def run_attack(
    attack: str, model: Path, variant: Path, original: Path, annotations: Path, out: Path,
    *, own: Path | None = None, probe: str = "val", gallery: str | None = None, sizes: Sequence[int] = (10, 100),
    validation: float = 0.3, most: int = 2000, seed: int = 0, resamples: int = 0, device: str = "auto",
    threads: int = 1, own_names: bool = False, recogniser: Describe | None = None,
) -> str:  # fmt: skip
    """Attack a variant; write ``scores.npz`` and, last, ``metrics.json``; return what there is to say in a line.

    ``model`` is the attacker's folder, ``variant`` and ``original`` the folders of the two variants, ``annotations``
    that of their data set's tables, ``own`` that of the attacker's own. Whether somebody is in both is told by
    identity, but with ``own_names``: identities of another data set are names of its own, and the same name is another
    person. ``recogniser`` describes crops for an attacker that has learnt elsewhere. Raises AnonbenchError for files
    that are missing or damaged, for people whom the attacker has learnt from, and where there is nobody to compare.
    """
    (out / "metrics.json").unlink(missing_ok=True)
    plugin: Matching = registry.load("attacks", attack)()
    record, config = read_attacker(model, attack)
    region, size = RegionKind(config.region), config.size
    asked = region, config.view, size, most, seed
    seen = read_subjects(variant, annotations, probe, *asked, inverted=config.inverts)
    raw = None
    if plugin.needs_original:
        raw = seen if variant == original else read_subjects(original, annotations, probe, *asked)
    others = None
    if plugin.needs_gallery:
        if gallery is None:
            raise AnonbenchError(f"{attack} looks for people in another split", entry="--gallery", remedy="name it")
        where = variant if plugin.within else original
        apart((variant, probe), (where, gallery))
        others = read_subjects(where, annotations, gallery, *asked, inverted=config.inverts and plugin.within)
    attacked = [(seen, annotations / f"{probe}.people.parquet")]
    attacked += [] if others is None else [(others, annotations / f"{gallery}.people.parquet")]
    disjoint(own_people(record, own or annotations), *attacked, names=not own_names and recogniser is None)
    if plugin.needs_identities and not len(seen.known()):
        raise AnonbenchError(
            "does not say who anybody is", file=annotations / f"{probe}.people.parquet",
            remedy=f"leave out {attack}, or give annotations an identity",
        )  # fmt: skip
    seen = restored_by(model, seen, device, threads)
    if others is not None and plugin.within:
        others = restored_by(model, others, device, threads)
    trial = plugin.attempt(seen, raw, others, recogniser or describe_with(model, device, threads))
    if trial.groups is not None and trial.drawn == "images":
        scenes = Site(variant, original, annotations, probe).scenes()
        trial = replace(trial, groups=np.array([scenes[image] for image in trial.groups.tolist()], dtype=np.int64))
    parts = split_people(trial, validation, seed)
    found = {name: linkabilities(part, sizes) for name, part in parts.items()}
    threshold = threshold_of(parts[VALIDATION])
    measured = {
        name: {**measure(part, found[name]), "measures": estimates(part, threshold)} for name, part in parts.items()
    }
    draw = Draw(resamples, seed, f"people of {annotations.name}") if resamples else None
    arrays = {
        "scores": trial.scores, "probe": trial.probe, "gallery": trial.gallery, "allowed": trial.allowed,
        "covered": trial.covered, "images": trial.images, "validation": np.isin(trial.probe, parts[VALIDATION].probe),
        "groups": trial.drawn_with(trial.probe),
    }  # fmt: skip
    arrays |= {f"pictures/{name}": shown for name, shown in trial.pictures.items()}
    arrays |= replicates(parts[TEST], found[TEST], draw)
    kinds = {name: told_apart(part, sizes) for name, part in parts.items()}
    for kind, (one, each) in kinds[TEST].items():
        arrays |= {f"{kind}/{name}": value for name, value in replicates(one, each, draw).items()}
    arrays |= estimate_arrays(parts[TEST], measured[TEST]["measures"], draw)
    said = {
        name: {**one, **({"kinds": {k: measure(*v) for k, v in kinds[name].items()}} if kinds[name] else {})}
        for name, one in measured.items()
    }
    metrics.write(
        out, attack, plugin, variant=variant, who=config.model_dump(mode="json"), own=record["own"],
        people={"probe": probe, "gallery": gallery if plugin.needs_gallery else probe}, draw=draw, drawn=trial.drawn,
        said=said, arrays=arrays, model=None if recogniser else model,
    )  # fmt: skip
    test = measured[TEST]
    sentences = [
        f"{100 * value:.1f} % among {test['candidates'] if name == ALL else name} (chance {100 * chance:.1f} %)"
        for (name, value), chance in zip(test["linkability"].items(), test["chance"].values(), strict=True)
        if value is not None
    ]
    of = "of" if trial.drawn == "people" else "in"
    few = [name for name, value in test["linkability"].items() if value is None]
    untold = f"; nothing is said of {', '.join(few)} people: {test['candidates']} are compared" if few else ""
    return (
        f"{plugin.title}, {variant.name}: for {test['probes']} pictures {of} {test['people']} {trial.drawn} the right "
        f"one comes first in {', '.join(sentences)}{untold}"
    )


def split_people(trial: Trial, share: float, seed: int) -> dict[str, Trial]:
    """Return the trial among the people (or images) on whom attackers are chosen, and among the others.

    Whoever is drawn together stays together. Which people are which depends on the seed and on who is there, not on the
    variant or the attacker. Raises AnonbenchError where fewer than two people would be left in a part.
    """
    probe, gallery = trial.drawn_with(trial.probe), trial.drawn_with(trial.gallery)
    chosen = chooser(share, seed, trial.drawn)(gallery)
    return {
        name: trial.among(np.isin(probe, gallery[mine]), mine) for name, mine in ((VALIDATION, chosen), (TEST, ~chosen))
    }


def linkabilities(trial: Trial, sizes: Sequence[int]) -> dict[str, np.ndarray | None]:
    """Return per-probe linkability (P,) by the size of the gallery, ``all`` last; None where people are too few."""
    given, within = (trial.scores, trial.probe, trial.gallery), int(_candidates(trial).min())
    found = {str(n): linkability(*given, n, trial.allowed) if n <= within else None for n in sizes}
    return {**found, ALL: linkability(*given, None, trial.allowed)}


def told_apart(trial: Trial, sizes: Sequence[int]) -> dict[str, tuple[Trial, dict[str, np.ndarray | None]]]:
    """Return the trial and its `linkabilities` for each kind of pairs that some probe has a mate of."""
    found = {}
    for kind in trial.kinds:
        one = trial.of_kind(kind)
        if one.mates.any():
            found[kind] = one, linkabilities(one, sizes)
    return found


def measure(trial: Trial, each: Mapping[str, np.ndarray | None]) -> dict[str, Any]:
    """Return what the scores say of a part's people, whose `linkabilities` are ``each``; None for too few people.

    Shares are 0..1, crowds in people; who was changed and who was missed are told by the size of the gallery.
    """
    given = trial.scores, trial.probe, trial.gallery
    allowed = trial.allowed
    within = _candidates(trial)
    parted = {name: mixture(values, trial.covered) for name, values in each.items() if values is not None}
    hidden = summarise_crowd(crowd(*given, allowed))
    return {
        "probes": len(trial.probe),
        "people": len(np.unique(trial.drawn_with(trial.probe))),
        "candidates": int(within.min()),
        "linkability": {name: None if values is None else float(np.nanmean(values)) for name, values in each.items()},
        "chance": {name: float((1 / within).mean()) if name == ALL else 1 / int(name) for name in each},
        "crowd": {"median": hidden.median, "fifth": hidden.fifth, "below_10": hidden.below},
        "covered": parted[ALL].kappa,
        "linkability_of_covered": {name: known(of.covered) for name, of in parted.items()},
        "linkability_of_missed": {name: known(of.missed) for name, of in parted.items()},
        "share_of_missed": {name: known(of.share_missed) for name, of in parted.items()},
        "auc": auc(*given, allowed),
        "eer": eer(*given, allowed),
        "tar": {
            f"{far:g}": tar_at_far(*given, far, allowed) if far * trial.impostors >= 1 else None
            for far in FALSE_ACCEPTS.values()
        },
        "mean_average_precision": mean_average_precision(*given, allowed),
        "rank_1": float(np.nanmean(within_rank(*given, 1, allowed))),
        **({} if trial.likeness is None else {"ssim": float(trial.likeness.mean())}),
    }


def replicates(trial: Trial, each: Mapping[str, np.ndarray | None], draw: Draw | None) -> dict[str, np.ndarray]:
    """Return ``linkability/<size>``: per-probe values (P,), and, with a draw, ``replicates/<size>``: means (B,).

    Whole people are drawn (or images). ``telling`` is how many of them tell of it.
    """
    groups = trial.drawn_with(trial.probe)
    weights = None if draw is None else draw.weights(len(np.unique(groups)))
    found: dict[str, np.ndarray] = {}
    for name, values in each.items():
        if values is None:
            continue
        found[f"linkability/{name}"] = values
        found[f"telling/{name}"] = np.asarray(identities_that_tell(values, groups))
        if weights is not None:
            found[f"replicates/{name}"] = identity_replicates(values, groups, weights)
    return found


def _candidates(trial: Trial) -> np.ndarray:
    """Return with how many people each probe that has a mate is compared, its own among them: int64 (mated,)."""
    mated = trial.mates.any(axis=1)
    if not mated.any():
        raise AnonbenchError(
            "nobody who is attacked is among those whom they are compared with", entry="attack.gallery"
        )
    return np.array([len(np.unique(trial.gallery[row])) for row in trial.allowed[mated]], dtype=np.int64)
