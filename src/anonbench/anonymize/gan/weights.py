"""The file of a fitted generator: averaged weights and the statistics of its style space, as safetensors."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from anonbench.anonymize.gan.conditions import maps_for
from anonbench.anonymize.gan.networks import Architecture, Generator
from anonbench.anonymize.gan.style import Styles
from anonbench.errors import AnonbenchError, in_one_line
from anonbench.learning.files import FIT_AGAIN, check_finite, read_fitted, save_fitted
from anonbench.records import RegionKind

FORMAT = "anonbench.gan"


def told_of(a: Architecture, origin: dict[str, Any]) -> str:
    """Return the metadata of a file of weights."""
    return json.dumps({"architecture": asdict(a), "origin": origin})


def save(path: Path, a: Architecture, generator: Generator, styles: Styles, origin: dict[str, Any]) -> None:
    """Write a fitted generator and what it was fitted on; equal ones give equal bytes."""
    tensors = {f"generator.{name}": value for name, value in generator.state_dict().items()}
    tensors |= {f"styles.{name}": value for name, value in styles.tensors().items()}
    save_fitted(tensors, path, FORMAT, told_of(a, origin))


def load(path: Path) -> tuple[Architecture, Generator, Styles, dict[str, Any]]:
    """Read a fitted generator: architecture, averaged network, styles, and what it was fitted on.

    Raises AnonbenchError when the file is missing, cut short, of another kind (a pickle is never opened as one) or of
    another architecture, or holds numbers that are not finite.
    """
    metadata, tensors = read_fitted(path)
    try:
        told = json.loads(metadata[FORMAT])
        fields, origin = told["architecture"], dict(told["origin"])
        a = Architecture(**{**fields, "channels": tuple(fields["channels"])})
        generator = Generator(a)
        if (a.lines, a.territories) != maps_for(RegionKind(a.kind)):
            raise ValueError(f"{a.lines} + {a.territories} maps")
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise AnonbenchError(
            f"does not hold a generator of this version ({in_one_line(error, typed=True)})", file=path, remedy=FIT_AGAIN
        ) from None
    wanted = {f"generator.{n}": v.shape for n, v in generator.state_dict().items()} | Styles.shapes(a)
    wrong = [n for n, shape in wanted.items() if n not in tensors or not _fits(tuple(tensors[n].shape), tuple(shape))]
    wrong += [n for n in tensors if n not in wanted]
    if wrong:
        raise AnonbenchError(
            f"holds another architecture than it says: {len(wrong)} tensors differ, first '{wrong[0]}'",
            file=path,
            remedy=FIT_AGAIN,
        )
    check_finite(tensors, path)
    generator.load_state_dict(
        {n.removeprefix("generator."): v for n, v in tensors.items() if n.startswith("generator.")}
    )
    return a, generator.eval().requires_grad_(False), Styles.of(tensors), origin


def _fits(found: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Tell whether a shape is the wanted one, in which 0 stands for any number."""
    return len(found) == len(wanted) and all(b in (0, a) for a, b in zip(found, wanted, strict=True))
