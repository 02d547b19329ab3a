"""What attackers and attacks depend on of the code."""

from __future__ import annotations

from anonbench import registry
from anonbench.attack.contract import Guessing, Matching
from anonbench.attack.options import AttackerConfig
from anonbench.provenance import code_hash
from anonbench.variants import Variant

RECOGNISING = "anonbench.attack.recognising"


def attacker_code(attack: str, attacker: AttackerConfig) -> str:
    """Return the hash of the code that an attacker learns with, or looks with if it is a recogniser's."""
    if attacker.recogniser is not None:
        return code_hash(*recogniser_modules(attacker))
    guesses = issubclass(registry.load("attacks", attack), Guessing)
    own = "anonbench.attack.inference" if guesses else "anonbench.attack.attackers"
    return code_hash(own, registry.module("attacks", attack))


def attack_code(attack: str, variant: str, attacker: AttackerConfig | None = None) -> str:
    """Return the hash of the code that attacks a variant and measures, with what inverts its method, if it can be.

    ``attacker`` is who tries it, None where nobody learns.
    """
    ranks = issubclass(registry.load("attacks", attack), Matching)
    own = "anonbench.attack.trials" if ranks else "anonbench.attack.answers"
    method = Variant.parse(variant).method
    inverse = [registry.module("methods", method)] if method and registry.load("methods", method).inverts else []
    return code_hash(own, registry.module("attacks", attack), *inverse, *recogniser_modules(attacker))


def recogniser_modules(attacker: AttackerConfig | None) -> list[str]:
    """Return the modules of a recogniser, of an attacker that looks with one; learners do not depend on them."""
    recogniser = None if attacker is None else attacker.recogniser
    return [] if recogniser is None else [RECOGNISING, registry.module("recognisers", recogniser.plugin)]
