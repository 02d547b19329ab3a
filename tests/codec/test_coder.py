"""The entropy coder: both ways of coding write the same words, and every symbol comes back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anonbench.codec import coder
from anonbench.codec.tables import TOTAL, Tables

from .tiny import tables

ways = pytest.mark.parametrize("way", ["_Fast", "_Plain"])


@pytest.fixture(autouse=True)
def _here(request: pytest.FixtureRequest) -> None:
    if "way" in request.fixturenames and request.getfixturevalue("way") == "_Fast" and not coder.installed():
        pytest.skip("constriction is not installed")


def drawn(rng: np.random.Generator, of: Tables, positions: int) -> np.ndarray:
    """Return symbols that come as often as the tables say."""
    return np.stack(
        [rng.choice(len(own), positions, p=own / TOTAL) for own in map(of.of, range(len(of.sizes)))]
    ).astype(np.int32)


@ways
@given(seed=st.integers(0, 2**32), positions=st.integers(0, 60), uniform=st.booleans())
def test_every_symbol_comes_back(way: str, seed: int, positions: int, uniform: bool) -> None:
    rng = np.random.default_rng(seed)
    of = tables(rng)
    symbols = drawn(rng, of, positions)
    if uniform:  # symbols that are hardly possible, too
        symbols = (rng.random(symbols.shape) * of.sizes[:, None]).astype(np.int32)
    code = getattr(coder, way)(of)
    words = code.encode(symbols)
    assert words.dtype == np.uint32
    assert not len(words) or words[-1] != 0
    assert (code.decode(words, positions) == symbols).all()


@pytest.mark.skipif(not coder.installed(), reason="constriction is not installed")
@given(seed=st.integers(0, 2**32), positions=st.integers(0, 40))
def test_both_write_and_read_the_same_words(seed: int, positions: int) -> None:
    rng = np.random.default_rng(seed)
    of = tables(rng)
    symbols = (rng.random((4, positions)) * of.sizes[:, None]).astype(np.int32)
    fast, plain = coder._Fast(of), coder._Plain(of)
    words = fast.encode(symbols)
    assert words.tolist() == plain.encode(symbols).tolist()
    junk = rng.integers(1, 2**32, int(rng.integers(0, 9)), dtype=np.uint32)
    for some in (junk, words[1:], words[:-1], np.append(junk, words).astype(np.uint32)):
        assert understood(fast, some, positions) == understood(plain, some, positions)


def understood(code: coder._Fast | coder._Plain, words: np.ndarray, positions: int) -> list[list[int]] | None:
    """Return the symbols of words, None where they are refused."""
    try:
        found: list[list[int]] = code.decode(words, positions).tolist()
    except ValueError:
        return None
    return found


@ways
@given(seed=st.integers(0, 2**32), positions=st.integers(1, 40))
def test_words_that_are_left_or_missing_are_refused(way: str, seed: int, positions: int) -> None:
    rng = np.random.default_rng(seed)
    of = tables(rng)
    symbols = (rng.random((4, positions)) * of.sizes[:, None]).astype(np.int32)
    code = getattr(coder, way)(of)
    words = code.encode(symbols)
    foreign = rng.integers(1, 2**32, int(rng.integers(1, 4)), dtype=np.uint32)
    for wrong in (np.append(foreign, words).astype(np.uint32), words[1:]):
        found = understood(code, wrong, positions)
        # where they are accepted they are what the symbols that were read are written as
        assert found is None or code.encode(np.array(found, np.int32)).tolist() == wrong.tolist()
    assert understood(code, np.append(foreign, words).astype(np.uint32), positions) != symbols.tolist()


@ways
def test_the_words_are_these(way: str) -> None:
    """A stream of today is read tomorrow: the words of one example, as they were first written."""
    of = Tables(
        1.0, np.array([0, -1], np.int32), np.array([3, 2], np.int32), np.array([60000, 5000, 536, 65535, 1], np.int32)
    )
    symbols = np.array([[0, 1, 2, 0, 0, 0, 1, 0], [0, 0, 0, 1, 0, 0, 0, 0]], np.int32)
    assert getattr(coder, way)(of).encode(symbols).tolist() == [648433775, 132]


@ways
def test_words_are_as_few_as_the_tables_allow(way: str) -> None:
    rng = np.random.default_rng(5)
    of = tables(rng, channels=6)
    symbols = drawn(rng, of, 3000)
    ideal = sum(-np.log2(of.of(c)[symbols[c]] / TOTAL).sum() for c in range(6))
    words = getattr(coder, way)(of).encode(symbols)
    assert ideal <= 32 * len(words) + 32
    assert 32 * len(words) < ideal * 1.001 + 64


@ways
def test_more_symbols_than_memory_holds_are_an_error_of_python(way: str) -> None:
    """Where constriction asks for the memory, and there is none, the process is gone."""
    with pytest.raises(MemoryError):
        getattr(coder, way)(tables(np.random.default_rng(0))).decode(np.array([], np.uint32), 1 << 48)


def test_where_symbols_begin() -> None:
    found = coder.ends(np.array([60000, 5000, 536]))
    assert found[0] == 0
    assert found[-1] == 1 << 24
    assert found[1] == 60000 * ((1 << 24) - 3) // TOTAL + 1
    assert (np.diff(found) > 0).all()
    assert (np.diff(coder.ends(np.array([TOTAL - 4096] + [1] * 4096))) > 0).all()
