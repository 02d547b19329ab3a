"""What attackers and attacks depend on of the code."""

from __future__ import annotations

from anonbench import registry
from anonbench.attack.contract import Guessing, Matching
from anonbench.provenance import code_hash


def attacker_code(attack: str) -> str:
    """Return the hash of the code that an attacker learns with."""
    guesses = issubclass(registry.load("attacks", attack), Guessing)
    own = "anonbench.attack.inference" if guesses else "anonbench.attack.attackers"
    return code_hash(own, registry.module("attacks", attack))


def attack_code(attack: str) -> str:
    """Return the hash of the code that attacks and measures."""
    ranks = issubclass(registry.load("attacks", attack), Matching)
    own = "anonbench.attack.trials" if ranks else "anonbench.attack.answers"
    return code_hash(own, registry.module("attacks", attack))
