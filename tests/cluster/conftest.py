"""A cluster for the tests of one file, where SLURM and Snakemake's plugin are installed; nothing is installed here."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import slurm
from tests.workflow.conftest import project

__all__ = ["project"]

PLUGIN = "snakemake_executor_plugin_slurm"


@pytest.fixture(scope="module")
def cluster() -> Iterator[slurm.Cluster]:
    """Return a cluster of three nodes that ends with the tests; skips without SLURM, root or the plugin."""
    if missing := slurm.missing():
        pytest.skip(f"no SLURM ({', '.join(missing)}): apt-get install slurm-wlm munge")
    if importlib.util.find_spec(PLUGIN) is None:
        pytest.skip(f"no {PLUGIN}")
    if os.geteuid() != 0:
        pytest.skip("the nodes of a cluster run as root")
    with tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp") as folder:
        one = slurm.Cluster(Path(folder))
        try:
            one.start()
            yield one
        finally:
            one.stop()
