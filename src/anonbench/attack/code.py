"""What attackers and attacks depend on of the code."""

from __future__ import annotations

from anonbench import registry
from anonbench.attack.contract import Guessing, Matching
from anonbench.provenance import code_hash
from anonbench.variants import Variant


def attacker_code(attack: str) -> str:
    """Return the hash of the code that an attacker learns with."""
    guesses = issubclass(registry.load("attacks", attack), Guessing)
    own = "anonbench.attack.inference" if guesses else "anonbench.attack.attackers"
    return code_hash(own, registry.module("attacks", attack))


def attack_code(attack: str, variant: str) -> str:
    """Return the hash of the code that attacks a variant and measures, with what inverts its method, if it can be."""
    ranks = issubclass(registry.load("attacks", attack), Matching)
    own = "anonbench.attack.trials" if ranks else "anonbench.attack.answers"
    method = Variant.parse(variant).method
    inverse = [registry.module("methods", method)] if method and registry.load("methods", method).inverts else []
    return code_hash(own, registry.module("attacks", attack), *inverse)
