"""Which categories are people: what the study says, then the data set, and never a guess from a name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anonbench.errors import AnonbenchError, nearest
from anonbench.records import is_people

_WORDS = """
person people human humanoid individual adult elderly senior male female man men woman women gentleman gentlemen
lady ladies guy mankind civilian citizen stranger resident somebody someone anybody

child children kid boy girl baby babies infant toddler newborn teen teenager youth

pedestrian rider cyclist bicyclist motorcyclist motorbiker biker scooterist driver passenger commuter walker hitchhiker
bystander onlooker passerby passersby persongroup ridergroup peoplegroup

worker officer police policeman policemen cop guard soldier fireman firemen firefighter nurse doctor surgeon patient
teacher student pupil farmer fisherman fishermen businessman businessmen workman workmen craftsman cameraman
photographer waiter waitress chef clerk cashier customer shopper visitor guest tourist staff employee

player athlete runner jogger skier skater skateboarder snowboarder surfer swimmer dancer climber goalkeeper goalie
referee pitcher spectator audience crowd bride groom actor actress singer musician

face head body bodies torso umpire batter catcher pitcher referee athlete hiker motorist wrestler boxer jockey surfer

personen mensch menschen leute fussganger fussgangerin radfahrer radfahrerin fahrer kind kinder mann manner frau frauen
junge madchen gesicht gesichter kopf kopfe korper

personne gens pieton cycliste conducteur enfant homme femme garcon fille bebe visage tete foule

persona gente humano peaton peatones ciclista nino nina hombre mujer mujeres cara rostro cabeza
pessoa pedestre crianca homem mulher mulheres cabeca

pedone pedoni persone uomo uomini donna donne bambino bambini viso volto testa persoon voetganger fietser kinderen vrouw
gezicht hoofd

человек люди пешеход велосипедист водитель ребенок дети мужчина женщина лицо голова людина пішохід
άνθρωπος ανθρωπος άτομο ατομο πεζός πεζος insan kisi yaya cocuk adam kadin yuz
شخص إنسان مشاة طفل رجل امرأة وجه व्यक्ति मनुष्य
"""
WORDS = frozenset(_WORDS.split())
"""Words that name people, case folded: English ones, and the commonest of some other languages without accents."""

PARTS = ("person", "people", "woman", "women", "human")
"""Ends of words that name people: salesperson, townspeople."""

CHARACTERS = "人|歩行者|男|女|儿童|兒童|子供|小孩|婴儿|老人|顔|脸|臉|头部|사람|인간|보행자|얼굴|어린이|남자|여자"
"""The same where words are not set apart."""

_WORD = re.compile(r"[^\W\d_]+")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_ALIKE = re.compile(CHARACTERS)


def decide(
    categories: Mapping[int, dict[str, Any]], declared: Mapping[str, bool], file: Path
) -> dict[int, dict[str, Any]]:
    """Return COCO's categories by id such that `records.is_people` tells what is decided of each.

    ``declared`` tells by names, exactly as in the data set, which the study says are people (True) or not (False).
    Whatever it leaves open is people where the data set says so: by the key ``people``, or by ``person`` as name or
    supercategory. A category gets the key ``people`` only where it would tell otherwise without. Raises
    AnonbenchError for a declared name that ``file`` does not have, and for categories
    that are not people but are called as if they were (their name or supercategory `looks_like_people`), all of
    them at once.
    """
    names = {category["name"] for category in categories.values()}
    for name, said in declared.items():
        if name not in names:
            raise AnonbenchError(
                f"has no category '{name}'{nearest(name, names)}",
                file=file,
                entry="people" if said else "not_people",
                remedy="give the names exactly as the data set writes them",
            )
    if unclear := [category for category in categories.values() if _is_unclear(category, declared)]:
        raise AnonbenchError(_question(unclear), file=file, entry="categories", remedy=_remedy(unclear))
    decided = {}
    for number, category in categories.items():
        said = declared.get(category["name"], is_people(category))
        decided[number] = category if said == is_people(category) else {**category, "people": said}
    return decided


def _is_unclear(category: dict[str, Any], declared: Mapping[str, bool]) -> bool:
    if category["name"] in declared or isinstance(category.get("people"), bool) or is_people(category):
        return False
    return looks_like_people(category["name"]) or looks_like_people(category.get("supercategory"))


def looks_like_people(name: Any) -> bool:
    """Tell whether a name holds a word for people, whatever its case, number, accents and separators."""
    if not isinstance(name, str):
        return False
    plain = unicodedata.normalize("NFKC", name)
    if _ALIKE.search(plain):
        return True
    found = (word for part in _HUMP.sub(" ", plain).split() for word in _WORD.findall(part))
    return any(_is_word(word.casefold()) or _is_word(_bare(word)) for word in found)


def _is_word(word: str) -> bool:
    return word in WORDS or word.removesuffix("s") in WORDS or word.removesuffix("s").endswith(PARTS)


def _bare(word: str) -> str:
    """Return a word case folded and without accents."""
    parts = unicodedata.normalize("NFKD", word.casefold())
    return "".join(letter for letter in parts if not unicodedata.combining(letter))


def _question(categories: list[dict[str, Any]]) -> str:
    said = []
    for category in categories:
        above = category.get("supercategory")
        said.append(f"'{category['name']}'" + (f" (of '{above}')" if looks_like_people(above) else ""))
    ending = "look like people, and nothing says whether they are"
    if len(said) == 1:
        ending = "looks like people, and nothing says whether it is"
    return f"{', '.join(said)} {ending}"


def _remedy(categories: list[dict[str, Any]]) -> str:
    names = ", ".join(category["name"] for category in categories)
    return (
        f"name each in the study, in datasets.<name>.people: [{names}] if it is to be anonymized, or else in "
        "datasets.<name>.not_people: [...]"
    )
