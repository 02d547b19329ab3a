"""How the learning rate goes over a training."""

from __future__ import annotations

import math

from anonbench.recipe import Recipe


def half_cosine(iteration: int, iterations: int, last: float = 0.0) -> float:
    """Return the share of the peak rate at an iteration (0-based) that falls from 1 to ``last`` by half a cosine."""
    return last + 0.5 * (1 - last) * (1 + math.cos(math.pi * iteration / iterations))


def learning_rate(recipe: Recipe, iteration: int, iterations: int) -> float:
    """Return the learning rate of an iteration (0-based): linear warm-up, then steps or a half cosine to zero."""
    rate = recipe.learning_rate()
    if recipe.schedule == "cosine":
        rate *= half_cosine(iteration, iterations)
    else:
        rate *= 0.1 ** sum(iteration >= step * iterations for step in recipe.steps)
    if iteration < recipe.warmup_iterations:
        done = iteration / recipe.warmup_iterations
        rate *= 0.001 * (1 - done) + done
    return rate
