"""Infer what is true of a person: attributes that annotations say, and the colours of their clothes."""

from __future__ import annotations

from typing import ClassVar

from anonbench.attack.contract import Guessing, Risk, Site, Traits
from anonbench.attack.subjects import Subjects
from anonbench.attack.traits import colours_of, labels_of


class Infer(Guessing):
    """Guesses attributes, but the camera, and the mean colour of clothes above and below; of whole pictures none."""

    title: ClassVar[str] = "infer attributes and colours"
    risk: ClassVar[Risk] = "inference"

    def truth(self, site: Site, people: Subjects) -> Traits:
        """Return what the table of people says, and the colours of the body in the original images."""
        return Traits(labels_of(people), {} if people.wholes else colours_of(site, people))
