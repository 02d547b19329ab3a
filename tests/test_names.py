"""File names have one form, and what no variant can hold is refused in words."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anonbench import names


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("a.jpg", "a.png"),
        ("sub/b.c.JPEG", "sub/b.c.png"),
        ("a.png", "a.png"),
        ("A.PNG", "A.PNG"),
        ("v1.2", "v1.2.png"),
        ("a.b/c", "a.b/c.png"),
        ("a.jpg/c", "a.jpg/c.png"),
        ("a.TIFF", "a.png"),
    ],
)
def test_the_name_of_a_png(name: str, stored: str) -> None:
    assert names.as_png(name) == stored
    assert names.encoded(name, "lossless") == stored
    assert names.encoded(name, "source") == names.encoded(name, None) == name


@pytest.mark.parametrize(
    ("given_", "form"),
    [
        ("a.jpg", "a.jpg"),
        ("./a.jpg", "a.jpg"),
        ("././a.jpg", "a.jpg"),
        ("sub//a.jpg", "sub/a.jpg"),
        ("sub/./a.jpg", "sub/a.jpg"),
        (".//sub///./b/c.png", "sub/b/c.png"),
        (".hidden.jpg", ".hidden.jpg"),
        ("a b/Straße 1.jpg", "a b/Straße 1.jpg"),
        ("..a/b..jpg", "..a/b..jpg"),
        ("e\u0301.jpg", "e\u0301.jpg"),
        ("x" * 251 + ".jpg", "x" * 251 + ".jpg"),
    ],
)
def test_a_name_has_one_form(given_: str, form: str) -> None:
    assert names.normal(given_) == form
    assert names.normal(form) == form


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "not a path inside the image folder"),
        (None, "not a path inside the image folder"),
        (7, "not a path inside the image folder"),
        (["a.jpg"], "not a path inside the image folder"),
        ("/a.jpg", "not a path inside the image folder"),
        ("../a.jpg", "not a path inside the image folder"),
        ("a/../b.jpg", "not a path inside the image folder"),
        ("a\0b.jpg", "control character"),
        ("a\nb.jpg", "control character"),
        ("a\x85b.jpg", "control character"),
        ("\ud800.jpg", "half of a surrogate pair"),
        ("a\\b.jpg", "backslash"),
        ("a.jpg/", "the name of a folder"),
        ("a/.", "the name of a folder"),
        (".", "the name of a folder"),
        ("x" * 252 + ".jpg", "256 bytes"),
        ("ü" * 126 + ".jpg", "256 bytes"),
        ("sub/" + "y" * 300 + "/a.jpg", "300 bytes"),
        (".a.jpg.12.3.part", "half-written"),
    ],
)
def test_a_name_that_no_variant_can_hold(name: object, said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        names.normal(name)
    str(error.value).encode()


@given(st.text(max_size=40))
def test_a_normal_name_stays_in_its_folder_and_can_be_a_file_s(text: str) -> None:
    try:
        name = names.normal(text)
    except ValueError:
        return
    assert names.normal(name) == name
    path = Path("/folder", name)
    assert path.is_relative_to("/folder")
    assert path != Path("/folder")
    assert path.as_posix() == f"/folder/{name}"
    assert os.path.normpath(path) == str(path)


def test_names_that_a_file_system_may_take_for_one() -> None:
    composed, decomposed = (unicodedata.normalize(form, "é.jpg") for form in ("NFC", "NFD"))
    assert names.alike(["a.jpg", "b.jpg", "B.png", composed]) is None
    assert names.alike(["a.jpg", "b.jpg", "A.jpg"]) == ("a.jpg", "A.jpg")
    assert names.alike(["sub/a.jpg", "Sub/a.jpg"]) == ("sub/a.jpg", "Sub/a.jpg")
    assert names.alike([composed, decomposed]) == (composed, decomposed)
    assert names.alike([decomposed, "É.jpg"]) == (decomposed, "É.jpg")


def test_whether_this_file_system_does(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "\u00e9").touch()
    expected = (tmp_path / "A").exists() or (tmp_path / "e\u0301").exists()
    assert names.are_one(tmp_path / "new") == expected
    assert list((tmp_path / "new").iterdir()) == []
