"""The tiny data set, once per session."""

from __future__ import annotations

from pathlib import Path

import pytest
from train_tiny import write_variant


@pytest.fixture(scope="session")
def variant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("variant")
    write_variant(root)
    return write_variant(root, 2, "val")
