"""The people of streetlife: identities that recur across scenes and splits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from .dice import Dice
from .geometry import Colour
from .options import REIDENTIFICATION, Options

SKINS: list[Colour] = [
    (252, 218, 192), (244, 200, 168), (232, 182, 144), (214, 160, 120), (190, 134, 94), (160, 106, 72),
    (128, 82, 56), (98, 62, 44),
]  # fmt: skip
HAIRS: list[Colour] = [
    (38, 30, 30), (62, 42, 34), (96, 62, 40), (138, 92, 52), (196, 146, 78), (230, 194, 122), (164, 70, 38),
    (122, 120, 128), (240, 234, 222), (120, 52, 84),
]  # fmt: skip
EYES: list[Colour] = [(64, 42, 30), (104, 70, 36), (64, 112, 160), (78, 128, 92), (90, 98, 110)]
TOPS: list[Colour] = [
    (214, 66, 58), (236, 126, 50), (246, 188, 58), (88, 160, 88), (40, 126, 122), (62, 130, 200), (44, 72, 142),
    (128, 86, 168), (222, 100, 142), (244, 240, 232), (52, 54, 64), (160, 44, 70), (120, 194, 196), (150, 164, 84),
]  # fmt: skip
BOTTOMS: list[Colour] = [
    (48, 62, 98), (78, 104, 146), (46, 46, 54), (104, 84, 66), (194, 172, 136), (88, 96, 84), (132, 58, 62),
    (226, 220, 210), (110, 112, 124),
]  # fmt: skip
SHOES: list[Colour] = [(244, 242, 238), (44, 42, 46), (120, 76, 48), (206, 62, 56), (60, 92, 150), (236, 182, 60)]

MALE_HAIR = ("short", "side", "buzz", "bald", "curly", "spiky", "receding", "cap", "beanie")
TOP_STYLES = ("shirt", "sleeves", "jacket", "hoodie", "coat", "dress")
BOTTOM_STYLES = ("trousers", "shorts", "skirt")
PATTERNS, PATTERN_WEIGHTS = ("plain", "stripes", "band", "print"), (5, 2, 1, 2)
BAGS, BAG_WEIGHTS = ("none", "backpack", "shoulder"), (65, 20, 15)
FEMALE_HAIR = ("long", "bob", "ponytail", "bun", "fringe", "afro", "wavy", "scarf", "beanie")


@dataclass(frozen=True)
class Identity:
    """One person. Lengths of the face are in half head heights, angles in degrees around the head's axis."""

    number: int
    height: float  # metres
    build: float  # width of the body relative to the average
    shoulders: float
    hips: float
    skin: Colour
    hair: Colour
    hair_style: str
    hat: Colour
    eye_colour: Colour
    lips: Colour
    head: float  # size relative to the average
    face_width: float
    jaw: float  # 0 narrow .. 1 square
    eye_angle: float
    eye_height: float
    eye_size: float
    eye_slant: float
    brow_height: float
    brow_weight: float
    brow_slant: float
    nose_length: float
    nose_width: float
    mouth_height: float
    mouth_width: float  # degrees
    mouth_weight: float
    smile: float
    blush: float
    mole: tuple[float, float] | None
    glasses: str  # none, round, square, sun
    glasses_colour: Colour
    beard: str  # none, stubble, full, goatee, moustache
    top_style: str  # shirt, sleeves, jacket, hoodie, coat, dress
    top: Colour
    inner: Colour  # under a jacket; also the colour of prints
    pattern: str  # plain, stripes, band, print
    bottom_style: str  # trousers, shorts, skirt
    bottom: Colour
    shoes: Colour
    bag: str  # none, backpack, shoulder
    bag_colour: Colour
    outfit: int = 0  # which of the person's sets of clothes this is
    packed: bool = True  # a backpack is seen from behind, which it was not in the first data sets

    @property
    def female(self) -> bool:
        return self.shoulders < 1


def _identity(dice: Dice, number: int, top: Colour, bottom: Colour, skin: Colour, style: str) -> Identity:
    female = style in FEMALE_HAIR and not (style == "beanie" and dice.chance(0.5))
    hairs = HAIRS if SKINS.index(skin) < 4 else HAIRS[:4] + HAIRS[7:8]
    hair = dice.choice(hairs)
    lips = (196, 84, 88) if female else (176, 104, 92)
    bottom_style = dice.weighted(BOTTOM_STYLES, (6, 2, 3 if female else 0))
    top_style = dice.weighted(TOP_STYLES, (4, 3, 3, 2, 2, 3 if female else 0))
    inner = dice.choice([c for c in TOPS if c != top])
    return Identity(
        number=number,
        height=dice.uniform(1.56, 1.74) if female else dice.uniform(1.66, 1.9),
        build=dice.weighted((dice.uniform(0.88, 1.0), dice.uniform(1.0, 1.14), dice.uniform(1.14, 1.3)), (4, 4, 2)),
        shoulders=0.92 if female else 1.05,
        hips=1.06 if female else 0.96,
        skin=skin,
        hair=hair,
        hair_style=style,
        hat=dice.choice(TOPS),
        eye_colour=dice.choice(EYES if SKINS.index(skin) < 4 else EYES[:2]),
        lips=lips,
        head=dice.uniform(0.95, 1.06),
        face_width=dice.uniform(0.7, 0.85),
        jaw=dice.uniform(0.0, 0.6) if female else dice.uniform(0.25, 1.0),
        eye_angle=dice.uniform(24, 34),
        eye_height=dice.uniform(-0.06, 0.08),
        eye_size=dice.uniform(0.85, 1.3),
        eye_slant=dice.uniform(-0.04, 0.06),
        brow_height=dice.uniform(0.17, 0.27),
        brow_weight=dice.uniform(0.03, 0.055) if female else dice.uniform(0.045, 0.085),
        brow_slant=dice.uniform(-0.09, 0.03),
        nose_length=dice.uniform(0.24, 0.4),
        nose_width=dice.uniform(0.09, 0.17),
        mouth_height=dice.uniform(-0.6, -0.5),
        mouth_width=dice.uniform(17, 28),
        mouth_weight=dice.uniform(0.05, 0.1),
        smile=dice.uniform(-0.02, 0.09),
        blush=dice.uniform(0.0, 0.5),
        mole=(dice.sign() * dice.uniform(28, 42), dice.uniform(-0.45, -0.2)) if dice.chance(0.2) else None,
        glasses=dice.weighted(("none", "round", "square", "sun"), (62, 15, 15, 8)),
        glasses_colour=dice.choice(((40, 38, 42), (40, 38, 42), (140, 60, 40), (60, 80, 140))),
        beard=(
            "none" if female else dice.weighted(("none", "stubble", "full", "goatee", "moustache"), (45, 18, 20, 9, 8))
        ),
        top_style=top_style,
        top=top,
        inner=inner,
        pattern=dice.weighted(PATTERNS, PATTERN_WEIGHTS),
        bottom_style=bottom_style,
        bottom=bottom,
        shoes=dice.choice(SHOES),
        bag=dice.weighted(BAGS, BAG_WEIGHTS),
        bag_colour=dice.choice(TOPS),
    )


@lru_cache(maxsize=8)
def population(seed: int, size: int) -> tuple[Identity, ...]:
    """The `size` identities of a seed. The first ones stay the same when the population grows.

    The traits seen from afar (top, bottom, skin, hair) are dealt from shuffled decks, so that people differ.
    """
    decks: dict[str, list[object]] = {}
    values: dict[str, list[object]] = {
        "top": list(TOPS),
        "bottom": list(BOTTOMS),
        "skin": list(SKINS),
        "female": list(FEMALE_HAIR),
        "male": list(MALE_HAIR),
    }
    dealer = Dice("streetlife", seed, "decks")

    def deal(name: str) -> object:
        if not decks.get(name):
            decks[name] = dealer.shuffled(values[name])
        return decks[name].pop()

    people = []
    for number in range(size):
        style = str(deal("female" if number % 2 else "male"))
        top, bottom, skin = deal("top"), deal("bottom"), deal("skin")
        dice = Dice("streetlife", seed, "identity", number)
        people.append(_identity(dice, number, top, bottom, skin, style))  # type: ignore[arg-type]
    return tuple(people)


def dressed(who: Identity, outfit: int, seed: int) -> Identity:
    """The same person in another outfit (0 is that of the population); no two of one person share a colour."""
    if outfit == 0:
        return who
    key = ("streetlife", seed, "identity", who.number)
    wardrobe = Dice(*key, "outfits")
    tops = wardrobe.shuffled([colour for colour in TOPS if colour != who.top])
    bottoms = wardrobe.shuffled([colour for colour in BOTTOMS if colour != who.bottom])
    dice = Dice(*key, "outfit", outfit)
    top = tops[outfit - 1]
    return replace(
        who,
        outfit=outfit,
        top=top,
        bottom=bottoms[outfit - 1],
        top_style=dice.weighted(TOP_STYLES, (4, 3, 3, 2, 2, 3 if who.female else 0)),
        bottom_style=dice.weighted(BOTTOM_STYLES, (6, 2, 3 if who.female else 0)),
        inner=dice.choice([colour for colour in TOPS if colour != top]),
        pattern=dice.weighted(PATTERNS, PATTERN_WEIGHTS),
        hat=dice.choice(TOPS),
        shoes=dice.choice(SHOES),
        bag=dice.weighted(BAGS, BAG_WEIGHTS),
        bag_colour=dice.choice(TOPS),
    )


def people_of(options: Options, split: str) -> tuple[Identity, ...]:
    """The identities of a split: train and val share theirs, gallery and probe have others in common."""
    if split in REIDENTIFICATION:
        return population(options.seed, options.identities + options.gallery_identities)[options.identities :]
    everyone = population(options.seed, options.identities)
    return everyone if options.later(split) else tuple(replace(who, packed=False) for who in everyone)
