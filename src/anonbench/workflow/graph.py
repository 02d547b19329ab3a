"""The rule graph in the README: drawn by Snakemake, kept up to date by `anonbench rulegraph`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from anonbench.errors import AnonbenchError
from anonbench.files import write_text

START, END = "<!-- rulegraph: written by `anonbench rulegraph --write` -->", "<!-- /rulegraph -->"


def drawn() -> str:
    """Return the rule graph of the default study as a mermaid block, its rules in a stable order, without colours.

    Raises AnonbenchError when Snakemake fails.
    """
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--rulegraph", "mermaid-js"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise AnonbenchError(f"snakemake --rulegraph failed: {done.stderr.strip().splitlines()[-1:]}")
    names = dict(re.findall(r"^\t(id\d+)\[(\w+)\]$", done.stdout, re.MULTILINE))
    edges = {(names[a], names[b]) for a, b in re.findall(r"^\t(id\d+) --> (id\d+)$", done.stdout, re.MULTILINE)}
    edges = {edge for edge in edges if edge[1] != "all" or edge[0] == "report_html"}
    lines = [f"    {a} --> {b}" for a, b in sorted(edges)]
    return "\n".join(["```mermaid", "flowchart LR", *lines, "```"])


def rulegraph(
    write: Annotated[bool, typer.Option("--write", help="Write the graph instead of comparing it.")] = False,
    file: Annotated[Path, typer.Option(help="Markdown file with the two markers.")] = Path("README.md"),
) -> None:
    """Compare (or write) the rule graph in the README with the one that Snakemake draws."""
    text = file.read_text()
    if START not in text or END not in text:
        raise AnonbenchError(
            f"lacks the markers {START} and {END}", file=file, remedy="put them where the graph belongs"
        )
    before, rest = text.split(START, 1)
    after = rest.split(END, 1)[1]
    wanted = f"{before}{START}\n{drawn()}\n{END}{after}"
    if wanted == text:
        return
    if not write:
        raise AnonbenchError("shows an outdated rule graph", file=file, remedy="run anonbench rulegraph --write")
    write_text(file, wanted)
    typer.echo(f"wrote {file}")
