"""Studies that tests begin with."""

from __future__ import annotations

from typing import Any

from anonbench.studies import DEFAULT

COST: dict[str, Any] = {
    **{name: value for name, value in DEFAULT.items() if name != "attack"},
    "datasets": {"streetlife": {}},
    "methods": {},
    "models": {"cpu-small": {"preset": "cpu-short"}},
}
"""What anonymizing costs, of the default study: one data set, nobody who attacks its people."""
