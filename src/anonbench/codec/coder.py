"""The entropy coder: asymmetric numeral systems (Duda 2013, arXiv 1311.2540) over integers alone.

A state of 64 bits gives and takes words of 32, probabilities have 24. The package `constriction` (Bamler 2022, arXiv
2201.01741) does the work where it is installed; the same algorithm in Python, many times slower, writes and
reads the same words where it is not, and says what a stream holds, whatever becomes of the package.
"""

from __future__ import annotations

import functools
import importlib.util
from bisect import bisect_right
from typing import Any

import numpy as np

from anonbench.codec.tables import TOTAL, Tables

PRECISION = 24
WORD = 32
UNEVEN = "its words are too many or too few"


def installed() -> bool:
    """Tell whether the package that codes fast is here."""
    return importlib.util.find_spec("constriction") is not None


def encode(symbols: np.ndarray, tables: Tables) -> np.ndarray:
    """Return the words (uint32) of symbols (int32 CxK: a channel's in a row, numbered from 0)."""
    return _Fast(tables).encode(symbols) if installed() else _Plain(tables).encode(symbols)


def decode(words: np.ndarray, tables: Tables, positions: int) -> np.ndarray:
    """Return the symbols (int32 CxK) that words hold, ``positions`` of each channel.

    Raises ValueError where words are left, or were not enough: then they are not what `encode` made of so many symbols.
    Whether these are the right ones is not known here.
    """
    return _Fast(tables).decode(words, positions) if installed() else _Plain(tables).decode(words, positions)


def ends(counts: np.ndarray) -> np.ndarray:
    """Return where the symbols of a channel begin (int64 n+1, from 0 to 2^24), for counts of the sum `TOTAL`."""
    below = np.concatenate([[0], np.cumsum(counts.astype(np.int64))])
    return below * ((1 << PRECISION) - len(counts)) // TOTAL + np.arange(len(below))


class _Fast:
    """By constriction, which turns probabilities p into `ends` by floor(p (2^24 - n)) + i: here of whole numbers."""

    def __init__(self, tables: Tables) -> None:
        import constriction

        self.coder: Any = constriction.stream.stack.AnsCoder
        self.models = _models(tables.counts.tobytes(), tables.sizes.tobytes())

    def encode(self, symbols: np.ndarray) -> np.ndarray:
        coder = self.coder()
        for row, model in zip(symbols[::-1], self.models[::-1], strict=True):  # what comes last is read first
            coder.encode_reverse(np.ascontiguousarray(row, np.int32), model)
        return np.asarray(coder.get_compressed(), np.uint32)

    def decode(self, words: np.ndarray, positions: int) -> np.ndarray:
        coder = self.coder(np.ascontiguousarray(words, np.uint32))
        found = np.empty((len(self.models), positions), np.int32)  # where it has no place constriction would abort
        for row, model in zip(found, self.models, strict=True):
            row[:] = coder.decode(model, positions)
        if not coder.is_empty():
            raise ValueError(UNEVEN)
        return found


@functools.lru_cache(maxsize=16)
def _models(counts: bytes, sizes: bytes) -> list[Any]:
    """Return constriction's models of tables, made once: a step of a codec codes many images."""
    import constriction

    make: Any = constriction.stream.model.Categorical
    return [make(row.astype(np.float64) / TOTAL, lazy=False, perfect=False) for row in _rows(counts, sizes)]


@functools.lru_cache(maxsize=16)
def _ends(counts: bytes, sizes: bytes) -> list[np.ndarray]:
    """Return `ends` of each channel, computed once."""
    return [ends(row) for row in _rows(counts, sizes)]


def _rows(counts: bytes, sizes: bytes) -> list[np.ndarray]:
    """Return the counts of each channel."""
    return np.split(np.frombuffer(counts, np.int32), np.cumsum(np.frombuffer(sizes, np.int32))[:-1])


class _Plain:
    """The same in Python."""

    def __init__(self, tables: Tables) -> None:
        self.ends = _ends(tables.counts.tobytes(), tables.sizes.tobytes())

    def encode(self, symbols: np.ndarray) -> np.ndarray:
        state, words = 0, []
        for row, of in zip(symbols[::-1], self.ends[::-1], strict=True):
            low, wide = of[row].tolist(), (of[row + 1] - of[row]).tolist()
            for start, width in zip(reversed(low), reversed(wide), strict=True):
                if state >> (2 * WORD - PRECISION) >= width:
                    words.append(state & 0xFFFFFFFF)
                    state >>= WORD
                state = (state // width << PRECISION) | (start + state % width)
        while state:
            words.append(state & 0xFFFFFFFF)
            state >>= WORD
        return np.array(words, np.uint32)

    def decode(self, words: np.ndarray, positions: int) -> np.ndarray:
        left = [int(word) for word in words]
        state = 0
        while left and not state >> WORD:
            state = state << WORD | left.pop()
        found = np.empty((len(self.ends), positions), np.int32)
        for row, of in zip(found, self.ends, strict=True):
            edges, decoded = of.tolist(), []
            for _ in range(positions):
                place = state & ((1 << PRECISION) - 1)
                symbol = bisect_right(edges, place) - 1
                start = edges[symbol]
                state = (state >> PRECISION) * (edges[symbol + 1] - start) + place - start
                if not state >> WORD and left:
                    state = state << WORD | left.pop()
                decoded.append(symbol)
            row[:] = decoded
        if state or left:
            raise ValueError(UNEVEN)
        return found
