"""The command line: one command per step of the study, loaded when it is called."""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

from anonbench import __version__, portable
from anonbench.errors import AnonbenchError

COMMANDS = {
    "apply": "anonbench.apply.cli",
    "init": "anonbench.init",
    "download": "anonbench.download.cli",
    "annotate": "anonbench.annotate.cli",
    "check-frame": "anonbench.annotate.cli",
    "detect": "anonbench.annotate.cli",
    "regions": "anonbench.annotate.cli",
    "fit": "anonbench.anonymize.fitting",
    "anonymize": "anonbench.anonymize.cli",
    "merge": "anonbench.anonymize.cli",
    "export": "anonbench.anonymize.export",
    "encode": "anonbench.codec.cli",
    "decode": "anonbench.codec.cli",
    "train": "anonbench.train.cli",
    "predict": "anonbench.train.cli",
    "evaluate": "anonbench.evaluate.cli",
    "fit-attacker": "anonbench.attack.cli",
    "attack": "anonbench.attack.cli",
    "report-tables": "anonbench.report.cli",
    "report-figures": "anonbench.report.cli",
    "report-sheet": "anonbench.report.cli",
    "report-restored": "anonbench.report.cli",
    "report-html": "anonbench.report.cli",
    "check": "anonbench.report.expected",
    "published": "anonbench.report.published",
    "power": "anonbench.power",
    "compare": "anonbench.report.compare",
    "config": "anonbench.config_pages",
    "rulegraph": "anonbench.workflow.graph",
}
"""Every command and the module that holds a function of its name."""


_OF_THE_MACHINE = (
    errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.ENOMEM, errno.EAGAIN, errno.EMFILE,
    errno.ENFILE, errno.ESTALE,
)  # fmt: skip
"""Reasons of the system that no file is named with."""


def described(command: str) -> str:
    """Return the first paragraph of a command's docstring, read as text: importing all modules takes seconds."""
    path = Path(__file__).parent.joinpath(*COMMANDS[command].split(".")[1:])
    text = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()
    found = re.search(
        rf'^def {command.replace("-", "_")}\(.*?^    """(.*?)(?:\n\n|""")', text, re.MULTILINE | re.DOTALL
    )
    return " ".join(found[1].split()) if found else ""


class Commands(TyperGroup):
    """Imports a command's module only when the command is named: `anonbench --help` must not import torch."""

    listing = False
    """Whether the commands are asked for to be listed, not to be called."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        self.listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self.listing = False

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        if self.listing:
            return TyperCommand(cmd_name, help=described(cmd_name))
        function = getattr(importlib.import_module(COMMANDS[cmd_name]), cmd_name.replace("-", "_"))
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command(name=cmd_name)(function)
        return typer.main.get_command(app)


app = typer.Typer(
    cls=Commands,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="What does anonymizing training data cost, and what does it buy? One command per step of the study.",
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"anonbench {__version__}")
        raise typer.Exit


@app.callback()
def root(version: bool = typer.Option(False, "--version", callback=_version, is_eager=True)) -> None:
    """Run one step of the study."""


def main() -> None:
    """Run the command line."""
    portable.settle()
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # for names of files that are no Unicode
    with one_sentence():
        app()


@contextlib.contextmanager
def one_sentence() -> Iterator[None]:
    """Turn what a user can mend into one sentence on standard error and status 2.

    That is an AnonbenchError, and what the operating system refuses: a folder without permission, a full memory.
    """
    try:
        yield
        return
    except AnonbenchError as error:
        said = str(error)
    except MemoryError:
        said = "there is not enough memory; run fewer threads, or on a machine with more"
    except OSError as error:
        said = _refused(error)
    with contextlib.suppress(OSError):  # where the log lies, the disk may be full, too
        print(f"error: {said}".encode(errors="backslashreplace").decode(), file=sys.stderr, flush=True)
    sys.exit(2)


def _refused(error: OSError) -> str:
    """Say in one sentence what the operating system refuses; raise the error if it does not name a file or a reason."""
    reason = error.strerror or error
    if error.filename is not None:
        return f"{error.filename}: cannot be used ({reason}); check the path and its permissions"
    if error.errno not in _OF_THE_MACHINE:
        raise error
    return f"the system refuses to go on ({reason}); see to the disk and the limits of this account, then run again"
