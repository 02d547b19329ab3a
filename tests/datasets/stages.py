"""The stages up to anonymize by their commands, on a copy of a data set that is on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from anonbench.cli import app


def command(*words: object) -> str:
    """Run a command and return what it printed; it must succeed."""
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def anonymized(
    dataset: str, root: Path, split: str, variant: str, out: Path, encoder: str = "source", **options: Any
) -> Path:
    """Download, annotate and anonymize a split of the data set under ``root`` into ``out``; return the variant."""
    data, annotations, target = out / "data" / dataset, out / "annotations" / dataset, out / "anonymized" / variant
    given = ("--root", root, "--options", json.dumps(options))
    command("download", "--dataset", dataset, "--splits", split, "--out", data, *given)
    command("annotate", "--data", data, "--split", split, "--out", annotations)
    command("regions", "--annotations", annotations, "--split", split)
    where = ("--annotations", annotations, "--split", split, "--variant", variant, "--out", target)
    command("anonymize", "--data", data, "--encoder", encoder, *where)
    command("merge", *where, "--strict", "--verify")
    return target
