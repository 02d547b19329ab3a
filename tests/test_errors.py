"""What errors of libraries say, in a sentence of ours."""

from __future__ import annotations

import pytest

from anonbench.errors import first_line, in_one_line


@pytest.mark.parametrize(
    ("error", "whole", "first"),
    [
        (ValueError("  one\n  two "), "one two", "one"),
        (KeyError("name"), "'name'", "'name'"),
        (EOFError(), "EOFError", "EOFError"),
        (OSError("\n"), "OSError", "OSError"),
    ],
)
def test_what_an_error_says_is_one_line(error: Exception, whole: str, first: str) -> None:
    assert in_one_line(error) == whole
    assert first_line(error) == first


def test_its_type_is_named_once() -> None:
    assert in_one_line(KeyError("name"), typed=True) == "KeyError: 'name'"
    assert first_line(ValueError("one\ntwo"), typed=True) == "ValueError: one"
    assert in_one_line(EOFError(), typed=True) == first_line(EOFError(), typed=True) == "EOFError"
