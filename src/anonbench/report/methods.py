"""The methods paragraph: what a paper must say of the study, from its configuration and the records of its runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from anonbench.directions import ON_ORIGINAL, TESTED
from anonbench.files import read_json
from anonbench.manifests import summary_path
from anonbench.records import UNANNOTATED
from anonbench.report.collect import CONTROL, MEAN, OVERLAPPED, PEOPLE, PRIMARY, evaluated, fitted_on
from anonbench.report.study import ORIGINAL, ReportStudy, is_identity, phrase
from anonbench.report.tables import (
    PLURALS,
    capital,
    has,
    is_number,
    joined,
    margins,
    percent,
    primary,
    rows_of,
    shares_people,
)
from anonbench.statistics.verdicts import SAME, UNSURE
from anonbench.tasks.base import title

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def methods(
    study: ReportStudy,
    table: pd.DataFrame,
    cover: pd.DataFrame,
    records: list[dict[str, Any]],
    made: dict[str, Any],
    anonymized: Path | None = None,
    evaluations: Path | None = None,
    attacks: str = "",
) -> str:
    """Return the methods as plain text: data, anonymization, training, evaluation, statistics, software.

    ``table`` is impact.csv, ``cover`` coverage.csv, ``records`` are the trainings' records with ``dataset``,
    ``variant``, ``model`` and ``seed``, ``made`` is the page's provenance. From ``anonymized`` come the methods'
    parameters, from ``evaluations`` the counts of images and the library of the metrics; what is not there is not
    spoken of. ``attacks`` is the paragraph on attacks.
    """
    parts = [
        _data(study, table, cover, records, evaluations),
        _anonymization(study, cover, anonymized),
        *(_training(study, model, [r for r in records if r["model"] == model]) for model in study.models),
        _evaluation(study, table),
        _statistics(study, table, evaluations),
        attacks,
        _software(study, made, records, evaluations),
    ]
    return "\n\n".join(part for part in parts if part)


def _count(number: int, what: str, plural: str = "") -> str:
    """Return a number of things: ``two seeds``, ``1,609 people``."""
    word = NUMBERS[number] if number < len(NUMBERS) else f"{number:,}"
    return f"{word} {what if number == 1 else plural or what + 's'}"


def _data(
    study: ReportStudy,
    table: pd.DataFrame,
    cover: pd.DataFrame,
    records: list[dict[str, Any]],
    evaluations: Path | None,
) -> str:
    said = []
    for dataset, splits in study.datasets.items():
        images = {(r.get("data") or {}).get("images") for r in records if r["dataset"] == dataset} - {None}
        people = cover[(cover.dataset == dataset) & (cover.category != UNANNOTATED) & (cover.split == splits["train"])]
        people = people.drop_duplicates("category")
        attacked = study.attacks is not None and dataset in study.attacks.datasets
        if not any(study.trained(dataset, model) for model in study.models):
            split = study.attacked_split(dataset)
            said.append(
                f"{dataset}: its people of the split “{split}” were attacked." if attacked
                else f"{dataset}: no model was trained on it{'; attackers learnt from it' if study.attacks else ''}."
            )  # fmt: skip
            continue
        text = f"{dataset}: models were trained on the split “{splits['train']}”"
        details = [f"{next(iter(images)):,} images"] if len(images) == 1 else []
        if len(people):
            kinds = ", ".join(f"{row.people:,} {row.category}" for row in rows_of(people))
            details.append(f"{int(people.people.sum()):,} annotated people: {kinds}")
        text += f" ({'; '.join(details)})" if details else ""
        found = evaluated(study, dataset, evaluations) if evaluations else None
        text += f" and tested on the split “{splits['val']}”"
        details = [f"{found['counts']['images']:,} images"] if found else []
        own = primary(table)
        own = own[(own.dataset == dataset) & (own.group != MEAN)].drop_duplicates("category")
        if len(own):
            details.append("instances: " + ", ".join(f"{int(row.instances):,} {row.category}" for row in rows_of(own)))
        text += f" ({'; '.join(details)})" if details else ""
        said.append(text + (f", people of “{study.attacked_split(dataset)}” were attacked." if attacked else "."))
    return f"Data. {' '.join(said)}"


def _anonymization(study: ReportStudy, cover: pd.DataFrame, anonymized: Path | None) -> str:
    """Return the variants with their parameters and the share of people that each changed."""
    treated = [v for v in study.variants if v != ORIGINAL]
    if not treated:
        return ""
    said, encoders = [], {}
    for variant in treated:
        details = []
        for dataset in study.datasets:
            if variant not in study.variants_of(dataset):
                continue
            path = summary_path(anonymized / dataset / variant, study.shown_split(dataset)) if anonymized else None
            found = read_json(path) if path is not None and path.exists() else {}
            given = {k: v for k, v in (found.get("parameters") or {}).items() if v is not None}
            values = ", ".join(f"{key.replace('_', ' ')} {_value(value)}" for key, value in given.items())
            if fitted := fitted_on(found):
                values += f"; fitted to {fitted}"
            if values and values not in details:
                details.append(values)
            if found.get("encoder"):
                encoders[variant] = found["encoder"]
            rows = cover[(cover.dataset == dataset) & (cover.variant == variant) & (cover.category != UNANNOTATED)]
            if study.is_control(variant) and not is_identity(variant):
                details += ["a control, which hides nobody"] * ("a control, which hides nobody" not in details)
            elif len(rows) and not is_identity(variant):
                share = percent(rows.anonymized.sum() / max(rows.people.sum(), 1))
                where = f" of {dataset}" if len(study.datasets) > 1 else ""
                details.append(f"{share} of the people{where} changed")
        said.append(f"{variant}: {phrase(variant)}" + (f" ({'; '.join(details)})" if details else ""))
    again = [v for v in treated if v in study.refitted]
    text = f"Anonymization. The images were compared in {_count(len(treated), 'variant')} beside the original. "
    text += "Annotations are the same in all. "
    text += "; ".join(said) + "."
    policies = dict.fromkeys(encoders.values())
    if len(policies) == 1:
        text += f" All variants went through the same encoder policy ({next(iter(policies))})."
    elif policies:
        text += " Encoder policies: " + ", ".join(f"{v} {p}" for v, p in encoders.items()) + "."
    if again:
        text += (
            f" The method of {joined(again)} was fitted anew for each seed: the model and the attackers of a seed saw "
            "what the fit of that seed made, and differences have the spread of their own seeds alone."
        )
    return text + f" Seed of the anonymization: {study.seed}."


def _value(value: Any) -> str:
    return (
        f"{value:g}" if isinstance(value, float) else "on" if value is True else "off" if value is False else str(value)
    )


def _training(study: ReportStudy, model: str, records: list[dict[str, Any]]) -> str:
    """Return how a model was trained: what all its records agree on."""
    if not records:
        return ""
    recipe, resolved = (_agreed([r.get(name) or {} for r in records]) for name in ("recipe", "resolved"))
    start, data = (_agreed([r.get(name) or {} for r in records]) for name in ("initialisation", "data"))
    tasks = joined(title(task) for task in recipe.get("tasks") or [])
    backbone = ((recipe.get("settings") or {}).get("architecture") or {}).get("backbone")
    text = f"Model {model} ({recipe.get('trainer', 'trainer not recorded')}"
    text += f", backbone {backbone}" if backbone else ""
    text += f") is measured by {tasks}. " if tasks else "). "
    if not study.trains(model):
        seen = start.get("seen")
        return f"{text}It was not trained for this study" + (f" and has seen {joined(seen)}." if seen else ".")
    kinds = {"scratch": "random weights", None: "weights that are not recorded"}
    first = kinds.get(start.get("kind"), f"{start.get('kind')} weights")
    seen = f", which have seen {joined(start['seen'])}" if start.get("seen") else ""
    variants = list(dict.fromkeys(r["variant"] for r in records))
    whole = all(study.trained(d, model) == study.variants_of(d) for d in study.datasets)
    seeds = list(dict.fromkeys(r["seed"] for r in records if r["seed"] not in study.original_seeds))
    further = [s for s in study.original_seeds if any(r["seed"] == s for r in records)]
    also = f", on the original also with {joined(further)}" if further else ""
    text += (
        f"It was trained from {first}{seen}, on {'every variant' if whole else joined(variants)} "
        f"with {_count(len(seeds), 'seed')} ({joined(seeds)}){also}: {_count(len(records), 'training')}, "
        "the same recipe for all. A seed fixes the first weights and the order and augmentation of the images, so that "
        "it is the same over variants. "
    )
    values = [
        ("optimizer", recipe.get("optimizer")),
        ("learning rate", resolved.get("learning_rate")),
        ("batch size", resolved.get("batch_size")),
        ("iterations", resolved.get("iterations")),
        ("epochs", recipe.get("epochs")),
        ("schedule", recipe.get("schedule")),
        ("warm-up iterations", recipe.get("warmup_iterations")),
        ("momentum", recipe.get("momentum") if recipe.get("optimizer") == "sgd" else None),
        ("weight decay", recipe.get("weight_decay")),
        ("gradients clipped at", recipe.get("gradient_clip")),
        ("precision", recipe.get("precision")),
        ("determinism", resolved.get("determinism")),
        ("training images", data.get("images")),
    ]
    said = [f"{name} {_value(value)}" for name, value in values if value is not None]
    return text + (f"{capital(', '.join(said))}." if said else "")


def _agreed(values: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the entries that are the same in all."""
    return {k: v for k, v in values[0].items() if all(k in other and other[k] == v for other in values)}


def _evaluation(study: ReportStudy, table: pd.DataFrame) -> str:
    """Return what was tested on what, and the metrics."""
    said = [TESTED[d].replace("the variant's", "a variant's") for d in study.directions]
    metrics = []
    for task, rows in table.groupby("task", sort=False):
        names = list(dict.fromkeys(rows.metric))
        first = rows.loc[rows.role == PRIMARY].iloc[0]
        others = [name for name in names if name != first.metric]
        unit = "per cent" if first.unit == "AP points" else first.unit
        metrics.append(f"{title(str(task), first.metric)} ({unit}{f'; also {joined(others)}' if others else ''})")
    people = joined(dict.fromkeys(table.loc[table.group == PEOPLE, "category"]))
    controls = joined(dict.fromkeys(table.loc[table.group.isin([CONTROL, OVERLAPPED]), "category"]))
    text = f"Evaluation. Models were {'; and '.join(said)}. Metrics: {', '.join(metrics)}."
    text += f" Categories of people: {people}." if people else ""
    return text + (f" Categories that were not anonymized serve as controls: {controls}." if controls else "")


def _statistics(study: ReportStudy, table: pd.DataFrame, evaluations: Path | None) -> str:
    """Return how sure the differences are."""
    own = primary(table)
    if not own.difference_low.notna().any():
        return ""
    drawn = {
        f"{int(row.samples):,} validation {PLURALS[row.sampled]}"
        + (f" of {row.dataset}" if len(study.datasets) > 1 else "")
        for row in rows_of(own[own.samples.map(is_number)].drop_duplicates(["dataset", "sampled", "samples"]))
    }
    text = (
        "Statistics. A difference is the mean over seeds of a variant minus the original. Its variance is what "
        f"{study.bootstrap:,} bootstrap resamples of the {joined(sorted(drawn))}, the same for all variants, do to it"
    )
    if len(study.untrained) < len(study.models):
        text += (
            ", and, with seeds as blocks, a mean square over seeds of the original "
            + ("(which has more seeds, after Dunnett) " if study.original_seeds else "")
            + "and one of the variants together (after Welch, with Satterthwaite's degrees of freedom)"
        )
    elif study.refitted:
        text += ", and, of methods that are fitted for each seed, the spread of the paired differences over fits"
    text += "; 95 % intervals are Student's t. "
    for dataset in study.datasets:
        counts = ((evaluated(study, dataset, evaluations) if evaluations else None) or {}).get("counts") or {}
        if shares_people(own, dataset, counts):
            text += (
                f"{counts['shared']:,} of the {counts['images']:,} images of {dataset} show people whom others show, "
                "too, in too few groups to draw these instead: intervals are about these people. "
            )
    if has(own, "simultaneous_low"):
        text += (
            f"The intervals of the primary question, declared beforehand{about(study)}, hold simultaneously (a "
            "parametric max-t); drops and gains in it rest on them. "
        )
    if has(own, "equivalence_low"):
        text += (
            f"Equivalence is tested row by row, by two one-sided tests at 5 %, a 90 % interval inside "
            f"{margins(study, own)}; the verdict is then “{SAME}”. "
        )
    else:
        text += f"An interval inside {margins(study, own)} is called “{SAME}”. "
    text += f"One that excludes zero is called a drop or a gain, any other “{UNSURE}”."
    return text + (" Rows outside the family are exploratory." if has(own, "question") else "")


def about(study: ReportStudy) -> str:
    """Return, where it is not the usual one, the direction of the primary question in words."""
    on = study.primary.direction
    return "" if on == ON_ORIGINAL else f" (models {TESTED[on]})"


def _software(study: ReportStudy, made: dict[str, Any], records: list[dict[str, Any]], evaluations: Path | None) -> str:
    """Return versions: of the trainings and evaluations from their records, else none; and of the report."""
    trained = _agreed([r.get("versions") or {} for r in records]) if records else {}
    library: dict[str, Any] = {}
    for dataset in study.datasets:
        library |= (evaluated(study, dataset, evaluations) or {}).get("library") or {} if evaluations else {}
    said = [f"{name} {version}" for name, version in (trained | library).items()]
    devices = dict.fromkeys(r["device"] for r in records if r.get("device"))
    text = f"Software. anonbench {made['anonbench']}"
    text += f", git revision {made['commit'][:12]}{' with changes' if made['dirty'] else ''}" if made["commit"] else ""
    text += f"; study “{study.name}”, sha256 {study.config_sha256[:12]}." if study.config_sha256 else "."
    text += f" Trainings and evaluations: {', '.join(said)}." if said else ""
    return text + (f" Trained on: {joined(devices)}." if devices else "")
