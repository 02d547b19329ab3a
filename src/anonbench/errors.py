"""The one exception that a user can cause: it names the file, the entry and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class AnonbenchError(Exception):
    """Something a user can mend. Commands print it as one sentence and exit with status 2."""

    def __init__(
        self,
        message: str,
        *,
        file: str | Path | None = None,
        entry: str | int | None = None,
        remedy: str | None = None,
    ) -> None:
        self.message, self.file, self.entry, self.remedy = message, file, entry, remedy
        where = ", ".join(str(part) for part in (file, entry) if part is not None)
        text = f"{where}: {message}" if where else message
        super().__init__(f"{text}; {remedy}" if remedy else text)


def in_one_line(error: BaseException, typed: bool = False) -> str:
    """Return what an error says, in one line; its type where it says nothing or, if ``typed``, before that."""
    return _told(" ".join(str(error).split()), error, typed)


def first_line(error: BaseException, typed: bool = False) -> str:
    """Return the first line of what an error says that goes on for many, with its type as `in_one_line` has it."""
    return _told(next(iter(str(error).strip().splitlines()), ""), error, typed)


def _told(said: str, error: BaseException, typed: bool) -> str:
    kind = type(error).__name__
    return (f"{kind}: {said}" if typed else said) if said else kind


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ' (did you mean X?)' for the closest known word, else ' (known: ...)'."""
    words = sorted(str(k) for k in known)
    close = difflib.get_close_matches(str(word), words, n=1, cutoff=0.5)
    if close:
        return f" (did you mean '{close[0]}'?)"
    return f" (known: {', '.join(words)})" if words else ""
