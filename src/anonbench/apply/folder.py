"""What is in a folder: photographs, videos, what cannot be used, and everything else, which is named and not copied."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from anonbench import manifests, names
from anonbench.errors import AnonbenchError

VIDEOS = {"mp4": "mp4", "m4v": "mp4", "mov": "mov", "mkv": "matroska", "webm": "webm"}
"""Endings of videos that are written, and FFmpeg's name of the container."""
OTHER_VIDEOS = frozenset(
    ("3gp", "avi", "flv", "m2ts", "mpeg", "mpg", "mts", "mxf", "ogv", "ts", "vob", "wmv")
)  # fmt: skip
PICTURES = names.ENDINGS | {"png", "heic", "heif", "dng", "cr2", "cr3", "nef", "arw", "raf", "orf", "rw2", "jxl", "psd"}
"""Endings of pictures, whether they can be read or not."""

SHEET = "contact sheet of anonbench apply"
"""Comment of the contact sheet, by which it is known again."""

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_BOXES = frozenset(
    (b"ftyp", b"styp", b"moov", b"mdat", b"wide", b"free", b"skip", b"junk", b"pnot", b"pict", b"udta", b"uuid")
)  # fmt: skip
"""What QuickTime's files, and MP4, begin with after four bytes of length."""
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
    moving = head[4:8] == b"ftyp" or head.startswith(b"\x1a\x45\xdf\xa3") or head[8:12] == b"AVI "
    if moving or ending in OTHER_VIDEOS:
        return "video", f"is a video that is not called {', '.join(f'.{name}' for name in VIDEOS)}: convert it"
    return None, None


def container_of(path: Path) -> str | None:
    """Return FFmpeg's name of the container that a video's first bytes tell, None for any other.

    FFmpeg's own guess takes a list of files for a video, and opens what it names. Raises OSError.
    """
    head = _head(path)
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "matroska"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    return "mov" if head[4:8] in _BOXES else None


def check_places(photos: Path, out: Path) -> None:
    """Raise AnonbenchError unless ``out`` and its private folder lie apart from ``photos``, links followed."""
    manifests.check_layout(out, "photos")
    source = Path(os.path.realpath(photos))
    for place, what in ((out, "--out"), (manifests.private_folder(out), "the folder of what may not be handed out")):
        target = Path(os.path.realpath(place))
        if _within(target, source) or _within(source, target):
            raise AnonbenchError(
                f"{what} overlaps the photographs in {source}", file=place, remedy="choose a folder beside them"
            )
    if out.exists() and not out.is_dir():
        raise AnonbenchError("exists and is not a folder", file=out, remedy="choose another --out")


def check_names(found: Folder, out: Path, encoder: str) -> None:
    """Raise AnonbenchError where two files would become one.

    That is where both would be PNGs of one name, and where the file system of ``out`` takes names for one that differ
    in case or in how Unicode writes a letter.
    """
    stored: dict[str, str] = {}
    for name in found.photos:
        other = stored.setdefault(names.encoded(name, encoder), name)
        if other != name:
            raise AnonbenchError(
                f"{other!r} and {name!r} would both be called {names.as_png(name)!r}",
                file=out,
                remedy="rename one of the two, or leave --encoder lossless out",
            )
    pair = names.alike([*stored, *found.videos])
    if pair and names.are_one(manifests.private_folder(out)):
        raise AnonbenchError(
            f"the file system takes {pair[0]!a} and {pair[1]!a} for one file",
            file=out,
            remedy="write to one that tells case and Unicode forms apart, or rename one of the two",
        )


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
