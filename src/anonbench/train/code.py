"""What a training and its predictions depend on of the code."""

from __future__ import annotations

from anonbench import registry
from anonbench.provenance import code_hash
from anonbench.recipe import Recipe


def modules(recipe: Recipe) -> list[str]:
    """Return the modules of a recipe's trainer, which are reached through entry points alone."""
    plugin = registry.load("trainers", recipe.trainer)()
    return [registry.module("trainers", recipe.trainer), *plugin.modules(recipe)]


def training_code(recipe: Recipe) -> str:
    """Return the hash of the code that trains a recipe's model."""
    return code_hash("anonbench.train.training", *modules(recipe))
