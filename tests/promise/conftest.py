"""How many random people the promise suite goes through."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Known only where this folder is named on the command line; elsewhere the defaults hold."""
    parser.addoption("--people", type=int, default=10_000, help="random people for each method")
    parser.addoption("--first-seed", type=int, default=1, help="seed of the first 500 of them")


@pytest.fixture
def people(request: pytest.FixtureRequest) -> int:
    """Return the number of random people for each method."""
    return int(request.config.getoption("--people", 10_000))


@pytest.fixture
def first_seed(request: pytest.FixtureRequest) -> int:
    """Return the seed of the first of them."""
    return int(request.config.getoption("--first-seed", 1))
