"""Files of fitted weights: what the record beside them is for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from anonbench.errors import AnonbenchError
from anonbench.files import sha256_file, write_json
from anonbench.learning.files import read_fitted, save_fitted
from anonbench.records import FIT_RECORD, FITTED
from tests.faults.faults import inflict


def fitted(folder: Path, name: str = FITTED) -> Path:
    """Write weights and their record, then flip a bit within the tensor."""
    save_fitted({"weight": torch.linspace(0, 1, 50)}, folder / name, "form", "told")
    write_json(folder / FIT_RECORD, {"weights_sha256": sha256_file(folder / name)})
    metadata, tensors = read_fitted(folder / name)
    assert metadata == {"form": "told"}
    assert tensors["weight"].shape == (50,)
    inflict(folder, name, "flip", -40)
    return folder / name


def test_a_flipped_bit_is_found_by_the_record_beside(tmp_path: Path) -> None:
    path = fitted(tmp_path)
    with pytest.raises(AnonbenchError, match=r"safetensors: is damaged, or another file than fit\.json") as error:
        read_fitted(path)
    assert "; fit it again" in str(error.value)


@pytest.mark.parametrize("record", [None, {"method": "gan"}, []])
def test_weights_without_a_record_of_them_are_read(tmp_path: Path, record: object) -> None:
    path = fitted(tmp_path)
    (tmp_path / FIT_RECORD).unlink()
    if record is not None:
        write_json(tmp_path / FIT_RECORD, record)
    assert torch.isfinite(read_fitted(path)[1]["weight"]).all()


def test_a_record_tells_of_the_file_that_was_fitted_and_of_no_other(tmp_path: Path) -> None:
    read_fitted(fitted(tmp_path, "mine.safetensors"))
