"""Clips that places name: files, folders, addresses of buckets, or data sets in shards."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from mmprep.datasets.spec import SUFFIXES
from mmprep.format import DATASET
from mmprep.storage.access import Access
from mmprep.storage.place import Raw
from mmprep.storage.store import store_at
from mmtrain.errors import ConfigError

# Kinds of source that a suffix tells, and that a folder is searched for.
_MEDIA: Final = ("image", "video", "audio")
_TEXT: Final = "text"
# A picture beside a video is its thumbnail, or another clip.
_APART: Final = {"image": ("video",), "video": ("image",)}


class RawClip(NamedTuple):
    """A clip that is not prepared yet.

    Attributes:
        name: Name as the user knows it: the path or address of its first file.
        raw: Place to which the sources are relative.
        sources: Kind of source to its path.
    """

    name: str
    raw: Raw
    sources: dict[str, str]


def is_data_set(place: str, access: Access) -> bool:
    """Whether ``place`` holds shards that mmprep has built."""
    return not _is_file(place) and store_at(place, access).size(DATASET) is not None


def find_clips(places: Iterable[str], texts: bool, access: Access) -> list[RawClip]:
    """Clips in files, folders and buckets, in the order given; those of a folder by name.

    Files of one folder that differ in their suffix and are of different kinds are one clip: a
    picture and its sound, or a video and sound of its own.

    Args:
        places: Files, folders, or addresses of either.
        texts: Whether ``.txt`` files are sources too.
        access: Way to the buckets.

    Raises:
        ConfigError: A place is not there, or holds no clip.
    """
    clips: dict[tuple[str, str], RawClip] = {}
    for place in places:
        files = [*_files(place, texts, access)]
        if not files:
            raise ConfigError(f"{place}: no clip there; files end in .mp4, .avi, .wav, .jpg, ...")
        for name, raw, source in files:
            kind = _kind(source, texts) or "video"
            key = str(raw), str(PurePosixPath(source).with_suffix(""))
            if key in clips and not clips[key].sources.keys() & {kind, *_APART.get(kind, ())}:
                clips[key].sources[kind] = source
            else:
                # Such as a second file of the same kind: a clip of its own.
                key = key if key not in clips else (key[0], source)
                clips[key] = RawClip(name, raw, {kind: source})
    return [*clips.values()]


def _files(place: str, texts: bool, access: Access) -> Iterator[tuple[str, Raw, str]]:
    """Name, place and source of each file."""
    if "://" in place:
        yield from _files_of_bucket(place, texts, access)
        return
    path = Path(place).absolute()
    if not path.exists():
        raise ConfigError(f"{place}: no such file or folder")
    if not path.is_dir():
        yield place, Path(path.anchor), str(path.relative_to(path.anchor))
        return
    for file in sorted(each for each in path.rglob("*") if each.is_file()):
        below = file.relative_to(path)
        if _kind(file.name, texts) and not any(part.startswith(".") for part in below.parts):
            yield str(Path(place) / below), Path(path.anchor), str(file.relative_to(path.anchor))


def _files_of_bucket(url: str, texts: bool, access: Access) -> Iterator[tuple[str, Raw, str]]:
    if _kind(url, texts):
        folder, _, name = url.rpartition("/")
        yield url, folder, name
        return
    store, folder = store_at(url, access), url.rstrip("/")
    for name in sorted(name for name, _ in store.files() if _kind(name, texts)):
        yield f"{folder}/{name}", folder, name


def _is_file(place: str) -> bool:
    return bool(_kind(place, True)) if "://" in place else Path(place).is_file()


def _kind(name: str, texts: bool) -> str | None:
    """Kind of source that the suffix of a file tells; None for other files."""
    suffix = PurePosixPath(name).suffix[1:].lower()
    kinds: Sequence[str] = (*_MEDIA, _TEXT) if texts else _MEDIA
    table: Mapping[str, Sequence[str]] = SUFFIXES
    return next((kind for kind in kinds if suffix in table[kind]), None)
