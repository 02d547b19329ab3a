"""Measures of a ranking that are no means over probes, with what the report needs to put intervals on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from anonbench.attack.contract import Trial
from anonbench.attack.linkage import SinglingOut, isolating_threshold, singled_out
from anonbench.attack.pairs import checked
from anonbench.attack.risk import identities_that_tell, identity_replicates
from anonbench.attack.verification import auc, chance_of_tar, tar_at_far, verification_replicates
from anonbench.statistics.resampling import Draw, effective

FALSE_ACCEPTS = {"tar_1e2": 1e-2, "tar_1e3": 1e-3}
"""False accept rates by the measure's name."""
AUC, SINGLING_OUT = "auc", "singling_out"


def threshold_of(validation: Trial) -> float:
    """Return the threshold that singles out most of the people on whom attackers are chosen; see `linkage`."""
    return isolating_threshold(validation.scores, validation.probe, validation.gallery, validation.allowed)


def estimates(trial: Trial, threshold: float) -> dict[str, dict[str, Any]]:
    """Return, by name, ``value`` and ``chance`` (0..1), and of how many ``units`` (probes) and ``people``.

    `AUC`; `FALSE_ACCEPTS`, None where a rate would be less than one pair of different people; `SINGLING_OUT`, whose
    chance is the same attacker's baseline, with its ``threshold`` (None: nobody is named) and the share of probes that
    it ``isolated``.
    """
    given, alone = (trial.scores, trial.probe, trial.gallery), _singled(trial, threshold)
    known = ~np.isnan(alone.right)
    size = {"units": int(known.sum()), "people": len(np.unique(trial.drawn_with(trial.probe[known])))}
    return {
        AUC: {"value": auc(*given, trial.allowed), "chance": 0.5, **size},
        **{
            name: {"value": tar_at_far(*given, far, trial.allowed) if far * trial.impostors >= 1 else None}
            | {"chance": chance_of_tar(far, trial.impostors), **size}
            for name, far in FALSE_ACCEPTS.items()
        },
        SINGLING_OUT: {
            "value": alone.rate, "chance": alone.baseline_rate, **size, "isolated": float(np.nanmean(alone.isolated)),
            "threshold": threshold if np.isfinite(threshold) else None,
        },
    }  # fmt: skip


def estimate_arrays(trial: Trial, found: Mapping[str, Mapping[str, Any]], draw: Draw | None) -> dict[str, np.ndarray]:
    """Return ``estimate/<name>`` (), ``telling/<name>`` () and, with a draw, ``replicates/<name>`` (B) by name.

    ``found`` are the trial's `estimates`. Whole people are drawn, those of probes and gallery together; ``telling`` is
    how many of them tell of a measure.
    """
    threshold = found[SINGLING_OUT]["threshold"]
    alone = _singled(trial, np.inf if threshold is None else threshold).right
    pairs = checked(trial.scores, trial.probe, trial.gallery, trial.allowed)
    groups, columns = np.unique(trial.drawn_with(pairs.identities), return_inverse=True)
    probe = trial.drawn_with(trial.probe)
    genuine = effective(np.bincount(columns[pairs.probe], weights=pairs.mates.sum(axis=1)))
    known = [name for name, of in found.items() if of["value"] is not None]
    telling = dict.fromkeys(known, genuine) | {SINGLING_OUT: identities_that_tell(alone, probe)}
    arrays = {f"estimate/{name}": np.asarray(found[name]["value"]) for name in known}
    arrays |= {f"telling/{name}": np.asarray(telling[name]) for name in known}
    if draw is None:
        return arrays
    weights = draw.weights(len(groups))
    rates = [name for name in FALSE_ACCEPTS if name in known]
    drawn = verification_replicates(
        trial.scores, trial.probe, trial.gallery, weights, [FALSE_ACCEPTS[name] for name in rates], trial.allowed,
        columns,
    )  # fmt: skip
    again = {
        AUC: drawn.auc, **dict(zip(rates, drawn.tar, strict=True)),
        SINGLING_OUT: identity_replicates(alone, probe, weights, groups),
    }  # fmt: skip
    return arrays | {f"replicates/{name}": values for name, values in again.items()}


def _singled(trial: Trial, threshold: float) -> SinglingOut:
    return singled_out(trial.scores, trial.probe, trial.gallery, threshold, trial.allowed)
