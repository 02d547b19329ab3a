"""What is in a folder: photographs, videos, what cannot be used, and everything else, which is named and not copied."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from anonbench import manifests, names
from anonbench.errors import AnonbenchError

VIDEOS = {"mp4": "mp4", "m4v": "mp4", "mov": "mov", "mkv": "matroska", "webm": "webm"}
"""Endings of videos that are written, and FFmpeg's name of the container."""
OTHER_VIDEOS = frozenset(
    ("3gp", "avi", "flv", "m2ts", "mpeg", "mpg", "mts", "mxf", "ogv", "ts", "vob", "wmv")
)  # fmt: skip
PICTURES = names.ENDINGS | {"png", "heic", "heif", "dng", "cr2", "cr3", "nef", "arw", "raf", "orf", "rw2", "jxl", "psd"}
"""Endings of pictures, whether they can be read or not."""

SETTINGS = "settings.json"
"""File of a run's settings, in its private folder, by which a run is known."""
SHEET = "contact sheet of anonbench apply"
"""Comment of the contact sheet, by which it is known again."""

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_EBML, _VOID, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\xec", b"\x18\x53\x80\x67"
"""Ids of what a Matroska file begins with, of room that may follow, and of all that comes after it."""
_BOXES = frozenset(
    (b"ftyp", b"styp", b"moov", b"mdat", b"wide", b"free", b"skip", b"junk", b"pnot", b"pict", b"udta", b"uuid")
)  # fmt: skip
"""What QuickTime's files, and MP4, begin with after four bytes of length."""
_LATER_BOXES = frozenset((b"emsg", b"meta", b"mfra", b"moof", b"pdin", b"prft", b"pssh", b"sidx", b"ssix"))
"""What may follow."""
_PICTURE_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis", b"crx ")


@dataclass(slots=True)
class Folder:
    """The files of a folder by what they are, as POSIX paths relative to it, sorted.

    ``unusable`` are pictures and videos that cannot be anonymized, ``others`` what is neither, both with the reason.
    """

    photos: list[str] = field(default_factory=list)
    videos: list[str] = field(default_factory=list)
    unusable: dict[str, str] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)


def look(root: Path) -> Folder:
    """Return what is in a folder and the folders in it.

    Symbolic links are not followed and hidden files and folders not entered: they are ``others``. Raises AnonbenchError
    for what is no folder, and where nothing could be anonymized.
    """
    if not root.is_dir():
        raise AnonbenchError("is not a folder", file=root, remedy="give the folder of the photographs")
    found = Folder()
    waiting = [""]
    while waiting:
        inside = waiting.pop()
        try:
            with os.scandir(root / inside) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            found.unusable[inside or "."] = f"is a folder that cannot be read ({error.strerror})"
            continue
        for entry in listed:
            name = f"{inside}/{entry.name}" if inside else entry.name
            if entry.is_symlink():
                found.others[name] = "symbolic link"
            elif entry.name.startswith("."):
                found.others[name] = "hidden folder" if entry.is_dir() else "hidden file"
            elif entry.is_dir():
                waiting.append(name)
            else:
                _sort_in(found, root, name)
    found.photos.sort()
    found.videos.sort()
    if not (found.photos or found.videos or found.unusable):
        links = sum(reason == "symbolic link" for reason in found.others.values())
        more = f" ({links} symbolic links, which are not followed, among {len(found.others)} other files)"
        raise AnonbenchError(
            f"holds no photograph (JPEG, PNG) and no video{more if links else ''}",
            file=root,
            remedy="give the folder of the photographs",
        )
    return found


def _sort_in(found: Folder, root: Path, name: str) -> None:
    """Put a file where it belongs."""
    path = root / name
    ending = name.rpartition("/")[2].rpartition(".")[2].casefold() if "." in name.rpartition("/")[2] else ""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            found.others[name] = "device, pipe or socket"
            return
        head = _head(path)
    except OSError as error:
        found.unusable[name] = f"cannot be read ({error.strerror})"
        return
    kind, problem = _kind(head, ending)
    if kind is None:
        found.others[name] = "neither photograph nor video"
        return
    try:
        if problem is None and names.normal(name) != name:
            problem = f"has a name that is written {names.normal(name)!r}"
    except ValueError as error:
        problem = f"{error}: rename it"
    if problem is not None:
        found.unusable[name] = problem
    else:
        (found.photos if kind == "photo" else found.videos).append(name)


def _head(path: Path, size: int = 16) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        return os.read(descriptor, size)
    finally:
        os.close(descriptor)


def _kind(head: bytes, ending: str) -> tuple[str | None, str | None]:
    """Return ``photo``, ``video`` or None for a file, by its first bytes, then by its ending, and what is wrong."""
    if head.startswith((_JPEG, _PNG)):
        return "photo", None
    picture = (
        head.startswith((b"GIF8", b"II*\0", b"MM\0*"))
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or (head[4:8] == b"ftyp" and head[8:12] in _PICTURE_BRANDS)
    )
    if picture or ending in PICTURES:
        if not head:
            return "photo", "is empty"
        if ending in ("jpg", "jpeg", "png") and not picture:
            return "photo", "is no image, whatever its name says"
        return "photo", "is neither JPEG nor PNG, and only these are written: convert it"
    if ending in VIDEOS:
        return "video", None if head else "is empty"
    moving = head[4:8] == b"ftyp" or head.startswith(_EBML) or head[8:12] == b"AVI "
    if moving or ending in OTHER_VIDEOS:
        return "video", f"is a video that is not called {', '.join(f'.{name}' for name in VIDEOS)}: convert it"
    return None, None


def container_of(path: Path) -> str | None:
    """Return FFmpeg's name of the container that a video's first bytes tell, None for any other.

    FFmpeg's own guess takes a list of files for a video, and opens what it names. Raises OSError.
    """
    head = _head(path)
    if head.startswith(_EBML):
        return "matroska"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    return "mov" if head[4:8] in _BOXES else None


def missing_bytes(path: Path) -> int:
    """Return how many bytes longer a video must be by the sizes in it, 0 where they say nothing of the kind.

    MP4 and QuickTime are boxes, AVI and Matroska one after their head. Raises OSError.
    """
    whole = path.stat().st_size
    with open(path, "rb") as stream:
        head = stream.read(4096)
        if head.startswith(_EBML):
            return max(0, _end_of_segment(head, whole) - whole)
        if head.startswith(b"RIFF"):
            size = int.from_bytes(head[4:8], "little")
            return 0 if size == 0xFFFFFFFF else max(0, 8 + size - whole)  # which a pipe could not go back to write
        at = 0
        while at < whole:
            stream.seek(at)
            head = stream.read(16)
            size = int.from_bytes(head[:4])
            if size == 1:  # the size follows, in eight bytes
                size = int.from_bytes(head[8:16])
            if size < 8 or head[4:8] not in _BOXES | _LATER_BOXES:  # 0 is to the end of the file
                return 0
            at += size
        return at - whole


def _end_of_segment(head: bytes, whole: int) -> int:
    """Return where a Matroska file says that it ends, ``whole`` where it does not say it (RFC 8794, 4 and 6.2)."""
    size, length = _variable(head[4:])
    at = 4 + length + size
    if head[at : at + 1] == _VOID:
        size, length = _variable(head[at + 1 :])
        at += 1 + length + size
    if head[at : at + 4] != _SEGMENT:
        return whole
    size, length = _variable(head[at + 4 :])
    return whole if size == (1 << 7 * length) - 1 else at + 4 + length + size


def _variable(data: bytes) -> tuple[int, int]:
    """Return a number of EBML and how many bytes it takes."""
    length = 9 - data[0].bit_length() if data and data[0] else 1
    return int.from_bytes(data[:length]) & ((1 << 7 * length) - 1), length


def check_places(photos: Path, out: Path) -> None:
    """Raise AnonbenchError unless ``out`` and its private folder lie apart from ``photos``, links followed.

    Also for an ``out`` in what another run has written, whose folder for handing out would get this one's ledger.
    """
    manifests.check_layout(out, "photos")
    source = Path(os.path.realpath(photos))
    for place, what in ((out, "--out"), (manifests.private_folder(out), "the folder of what may not be handed out")):
        target = Path(os.path.realpath(place))
        for parent in target.parents:
            if os.path.isfile(manifests.private_folder(parent) / SETTINGS):  # of others, it may not be readable
                raise AnonbenchError(
                    f"lies in {parent}, which another run has written", file=place, remedy="choose another --out"
                )
        if _within(target, source) or _within(source, target):
            raise AnonbenchError(
                f"{what} overlaps the photographs in {source}", file=place, remedy="choose a folder beside them"
            )
    if out.exists() and not out.is_dir():
        raise AnonbenchError("exists and is not a folder", file=out, remedy="choose another --out")


def check_names(found: Folder, out: Path, encoder: str, *, on_disk: bool = True) -> None:
    """Raise AnonbenchError where two files would become one, or one has no name to be written under.

    Two would where both would be PNGs of one name, or a folder of the other's, and where the file system of ``out``
    takes names for one that differ in case or in how Unicode writes a letter, which only a file there can tell: not
    asked unless ``on_disk``.
    """
    remedy = "rename one of the two, or leave --encoder lossless out"
    stored: dict[str, str] = {}
    for name in found.photos:
        try:
            other = stored.setdefault(names.normal(names.encoded(name, encoder)), name)
        except ValueError as error:
            raise AnonbenchError(f"a PNG of {name!r} {error}", file=out, remedy="give it a shorter name") from None
        if other != name:
            raise AnonbenchError(
                f"{other!r} and {name!r} would both be called {names.as_png(name)!r}", file=out, remedy=remedy
            )
    every = {**stored, **{name: name for name in found.videos}}
    for name in sorted(every):
        for parent in map(str, PurePosixPath(name).parents):
            if parent in every:
                raise AnonbenchError(
                    f"{every[parent]!r} would be called {parent!r}, which is a folder of {every[name]!r}",
                    file=out,
                    remedy=remedy,
                )
    pair = names.alike(every) if on_disk else None
    if pair and names.are_one(manifests.private_folder(out)):
        raise AnonbenchError(
            f"the file system takes {pair[0]!a} and {pair[1]!a} for one file",
            file=out,
            remedy="write to one that tells case and Unicode forms apart, or rename one of the two",
        )


def check_unclaimed(wanted: Iterable[str], out: Path) -> None:
    """Raise AnonbenchError where something lies in ``out`` under a name that is to be written."""
    for name in wanted:
        if os.path.lexists(out / name):
            raise AnonbenchError(
                "was not written by this command", file=out / name, remedy="move it away, or choose another --out"
            )


def check_files(wanted: Iterable[str], out: Path) -> None:
    """Raise AnonbenchError where a folder lies in ``out`` under the name of a file that is to be written."""
    for name in wanted:
        if (out / name).is_dir():
            raise AnonbenchError(
                "is a folder, and a file of that name is to be written",
                file=out / name,
                remedy="move it away, or choose another --out",
            )


def check_links(wanted: Iterable[str], out: Path) -> None:
    """Raise AnonbenchError where a folder of a name that is to be written is a link, which may lead anywhere."""
    for parent in sorted({parent for name in wanted for parent in PurePosixPath(name).parents}):
        if parent.parts and (out / parent).is_symlink():
            raise AnonbenchError(
                "is a link, and nothing is written through one",
                file=out / parent,
                remedy="remove it, or choose another --out",
            )


def of_others(found: Folder) -> str:
    """Return in words what of a folder is no photograph."""
    counts = Counter(found.others.values()) + Counter({"video": len(found.videos)})
    return ", ".join(f"{what} {number}" for what, number in sorted(counts.items()))


def check_file(path: Path, photos: Path, out: Path) -> None:
    """Raise AnonbenchError for a picture that cannot be written, or would lie among photographs, ours or theirs.

    So it does where something lies that is no earlier sheet (`SHEET`).
    """
    if path.suffix.casefold() not in (".jpg", ".jpeg", ".png"):
        raise AnonbenchError("is called neither .jpg nor .png", file=path, entry="--preview", remedy="call it so")
    for place in (photos, out):
        if _within(Path(os.path.realpath(path)), Path(os.path.realpath(place))):
            raise AnonbenchError(f"lies in {place}", file=path, entry="--preview", remedy="choose another folder")
    try:
        ours = SHEET.encode() in _head(path, 1024)
    except FileNotFoundError:
        return
    except OSError:  # a link, a folder, or not for us to read
        ours = False
    if not ours:
        raise AnonbenchError(
            "exists and is no contact sheet", file=path, entry="--preview", remedy="give it another name"
        )


def _within(inner: Path, outer: Path) -> bool:
    """Tell whether a path is another or lies in it, by name or, where both exist, as the same folder on the disk."""
    if inner == outer or outer in inner.parents:
        return True
    return outer.exists() and any(part.exists() and part.samefile(outer) for part in (inner, *inner.parents))
