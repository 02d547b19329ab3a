"""Files of NumPy arrays whose bytes depend on the arrays alone."""

from __future__ import annotations

import contextlib
import io
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from anonbench.errors import AnonbenchError
from anonbench.files import atomic, remedy

DAMAGED = (
    OSError, EOFError, LookupError, TypeError, ValueError, ArithmeticError, MemoryError, NotImplementedError,
    RecursionError, SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What NumPy and zipfile raise for an archive that was cut short, edited, or is none."""


def write_arrays(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name as an uncompressed ``npz`` file, atomically.

    NumPy's own `savez` leaves bytes that depend on the release of Python (headers) and of zlib (compression).
    """
    with atomic(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as file:
        for name, values in arrays.items():
            stream = io.BytesIO()
            np.lib.format.write_array(stream, np.asanyarray(values), allow_pickle=False)
            file.writestr(zipfile.ZipInfo(f"{name}.npy"), stream.getvalue())


@contextlib.contextmanager
def reading(path: str | Path, again: str, first: str) -> Iterator[dict[str, np.ndarray]]:
    """Yield the arrays of a file by name; raise AnonbenchError when it, or what the block finds in it, is damaged.

    ``again`` says how a damaged file is made anew, ``first`` what makes one that is missing.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        yield arrays
    except FileNotFoundError:
        raise AnonbenchError("no such file", file=path, remedy=first) from None
    except DAMAGED as error:
        advice = remedy(error, f"delete it and {again}")
        raise AnonbenchError(f"cannot be read ({error})", file=path, remedy=advice) from None
