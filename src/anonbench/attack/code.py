"""What attackers and attacks depend on of the code."""

from __future__ import annotations

from anonbench import registry
from anonbench.provenance import code_hash


def attacker_code(attack: str) -> str:
    """Return the hash of the code that an attacker learns with."""
    return code_hash("anonbench.attack.attackers", registry.module("attacks", attack))


def attack_code(attack: str) -> str:
    """Return the hash of the code that attacks and measures."""
    return code_hash("anonbench.attack.trials", registry.module("attacks", attack))
