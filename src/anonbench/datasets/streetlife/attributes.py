"""What may be said of a person of streetlife: lists of values with their meaning, and who has which."""

from __future__ import annotations

from collections.abc import Iterable

from .geometry import Colour
from .options import Options
from .population import BAGS, BOTTOMS, FEMALE_HAIR, HAIRS, MALE_HAIR, SKINS, TOPS, Identity

_HAIRS = (
    "black", "dark_brown", "brown", "light_brown", "dark_blond", "blond", "red", "grey", "white", "plum",
)  # fmt: skip
_TOPS = (
    "red", "orange", "yellow", "green", "teal", "blue", "navy", "purple", "pink", "white", "black", "burgundy",
    "turquoise", "olive",
)  # fmt: skip
_BOTTOMS = ("navy", "blue", "black", "brown", "beige", "moss", "burgundy", "white", "grey")
_BUILDS = (("slim", 1.0), ("average", 1.14), ("broad", 1.31))
_HEADGEAR = {"cap": "cap", "beanie": "beanie", "scarf": "scarf"}
_UNDER = {"cap": "short", "beanie": "short", "scarf": "covered"}
"""Hair under headgear."""


def _hex(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _paints(names: Iterable[str], colours: Iterable[Colour]) -> dict[str, str]:
    return {name: f"{_hex(colour)} in even light" for name, colour in zip(names, colours, strict=True)}


def lists(options: Options) -> dict[str, dict[str, str]]:
    """The values of each attribute, with their meaning."""
    styles = dict.fromkeys(_UNDER.get(style, style) for style in (*MALE_HAIR, *FEMALE_HAIR))
    found = {
        "skin_tone": {str(i): f"{_hex(skin)} in even light, 1 the lightest" for i, skin in enumerate(SKINS, 1)},
        "hair": {style: f"{style} hair" for style in styles} | {"bald": "no hair", "covered": "under a scarf"},
        "hair_colour": {**_paints(_HAIRS, HAIRS), "none": "bald, or covered"},
        "headgear": {"none": "", **{kind: f"a {kind}" for kind in _HEADGEAR.values()}},
        "glasses": {"none": "", "round": "round frames", "square": "square frames", "sun": "dark glasses"},
        "beard": {"none": "", **dict.fromkeys(("stubble", "full", "goatee", "moustache"), "")},
        "build": {name: f"body less than {most:.2f} times as wide as the average" for name, most in _BUILDS},
        "upper_colour": _paints(_TOPS, TOPS),
        "lower_colour": {**_paints(_BOTTOMS, BOTTOMS), "dress": "no clothes of their own below a dress"},
        "bag": {"none": "", **{kind: "" for kind in BAGS if kind != "none"}},
    }
    if options.outfits > 1:
        found["outfit"] = {str(i): f"the person's outfit number {i}" for i in range(1, options.outfits + 1)}
    return found


def of(who: Identity, options: Options) -> dict[str, str]:
    """A person's attributes; they hold where they cannot be seen too, from behind or from afar."""
    style = who.hair_style
    hidden = style in ("bald", "scarf")
    found = {
        "skin_tone": str(SKINS.index(who.skin) + 1),
        "hair": _UNDER.get(style, style),
        "hair_colour": "none" if hidden else _HAIRS[HAIRS.index(who.hair)],
        "headgear": _HEADGEAR.get(style, "none"),
        "glasses": who.glasses,
        "beard": who.beard,
        "build": next(name for name, most in _BUILDS if who.build < most),
        "upper_colour": _TOPS[TOPS.index(who.top)],
        "lower_colour": "dress" if who.top_style == "dress" else _BOTTOMS[BOTTOMS.index(who.bottom)],
        "bag": who.bag,
    }
    if options.outfits > 1:
        found["outfit"] = str(who.outfit + 1)
    return found
