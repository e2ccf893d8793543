"""Search for the files of listed clips in the raw folder, whatever its layout."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from mmprep.datasets.lists import Listed, Lists, read
from mmprep.datasets.lists.listed import option
from mmprep.datasets.lists.youtube import parse
from mmprep.datasets.scan import SPLIT_FOLDERS, Scan, scan
from mmprep.datasets.spec import Spec
from mmprep.errors import ConfigError
from mmprep.failure import Failure
from mmprep.manifest import SPLITS, Row, check_rows, source_file
from mmprep.storage.access import Access
from mmprep.storage.place import Raw

__all__ = ["Found", "collect", "find", "nothing_found", "scan"]


@dataclass(frozen=True, kw_only=True)
class Found:
    """Clips of a data set with and without files, each ordered by split, then key.

    Attributes:
        rows: Clips with all the sources they need.
        missing: Clips that lack one.
        refused: Clips whose file is a link that leads out of the raw folder, or whose text in the
            list cannot be written.
        sizes: Sizes of the files of a bucket, by path; empty for a folder.
    """

    rows: list[Row]
    missing: list[Failure]
    refused: list[Failure]
    sizes: Mapping[str, int] = field(default_factory=dict)


def collect(
    spec: Spec, *, raw: Raw, annotations: Path | None = None, access: Access | None = None
) -> Found:
    """Reads the lists of ``spec`` and finds their files in ``raw``, a folder or a bucket.

    Raises:
        ConfigError: A list is missing, or none of the clips has a file.
        DataError: A list is malformed.
    """
    files = scan(raw, access)
    folder = raw if isinstance(raw, Path) else None
    listed = read(Lists(annotations, folder, files), spec)
    clips = find(listed, files, spec)
    if not clips.rows:
        raise nothing_found(listed, files, spec, raw)
    return replace(clips, sizes=files.sizes)


def find(listed: Sequence[Listed], files: Iterable[str], spec: Spec) -> Found:
    """Finds each clip's files among ``files``.

    Names are first compared exactly. Clips without a file are looked up again without regard to
    case, but never among the files of other clips, because ids of YouTube may differ in case only.
    Of several files with the right name, one in a folder of ``lists.prefer`` is preferred, then one
    whose folders name the clip's split, then its label, then the best suffix, then the shortest
    path.

    Args:
        listed: Clips of the lists.
        files: Paths from `scan`.
        spec: Description of the data set.
    """
    inside = _Index(files, spec)
    outside = _Index(files.outside if isinstance(files, Scan) else (), spec)
    clips = sorted(listed, key=lambda clip: (SPLITS.index(clip.split), clip.key))
    exact = [{kind: inside.get(clip, kind) for kind in spec.sources} for clip in clips]
    taken = {path for paths in exact for path in paths.values() if path}
    rows: list[Row] = []
    missing: list[Failure] = []
    refused: list[Failure] = []
    for clip, paths in zip(clips, exact, strict=True):
        sources = {k: path or inside.get_folded(clip, k, taken) for k, path in paths.items()}
        given = {*spec.optional, *clip.texts, *(["question"] if clip.questions else [])}
        absent = [k for k, path in sources.items() if not path and k not in given]
        if unwritable := _unwritable_text(clip):
            message = f"{unwritable!r:.60} holds half a surrogate pair, which no UTF-8 has"
            refused.append(Failure.of(clip, clip.key, "find", "not-utf-8", message))
        elif not absent:
            rows.append(_row(clip, {kind: path for kind, path in sources.items() if path}))
        elif link := outside.get(clip, absent[0]):
            refused.append(_refused_failure(clip, link))
        else:
            missing.append(_missing_failure(clip, absent[0]))
    return Found(rows=check_rows(rows, spec.name), missing=missing, refused=refused)


def nothing_found(
    listed: Sequence[Listed], files: Sequence[str], spec: Spec, raw: Raw
) -> ConfigError:
    """Returns the error for a raw folder without any clip, with the downloads that are needed."""
    first = (name for clip in listed[:2] for names in clip.names.values() for name in names[:1])
    examples = dict.fromkeys(first)
    media = [d for d in spec.downloads if not d.into.startswith("--annotations")]
    get = "".join(f"\n  {d.what}: {d.url} -> {d.into}" for d in media)
    holds = f"{len(files)} files, such as {', '.join(files[:2])}" if files else "no files"
    if isinstance(files, Scan) and files.outside:
        holds += f", and links that lead out of it, such as {files.outside[0]}"
    return ConfigError(
        f"none of the {len(listed)} clips of {spec.name} is in --raw {raw}\n"
        f"looked for: {', '.join(examples) or 'nothing, because the lists are empty'}\n"
        f"it holds: {holds}\n"
        f"get:{get or ' see the page of the data set'}"
    )


class _Index:
    """Paths by their last components, without suffix.

    There is one table for each number of components that lists use, made when it is first needed.
    """

    def __init__(self, paths: Iterable[str], spec: Spec) -> None:
        self._paths = set(paths)
        self._suffixes = spec.sources
        self._known = {suffix for suffixes in spec.sources.values() for suffix in suffixes}
        self._prefer = set(option(spec, "prefer", []))
        self._tails: dict[tuple[int, bool], Mapping[str, list[str]]] = {}

    def get(self, clip: Listed, kind: str) -> str | None:
        """Path of a clip's source, with the ``#NAME`` of its name; None where there is none."""
        for name in clip.names.get(kind, ()):
            bare, number = _split_number(name, kind)
            if bare in self._paths and self._suffix(bare) in self._suffixes[kind]:
                return name
            places = self._tail(bare.count("/"), fold=False).get(bare, ())
            if fitting := [p for p in places if self._suffix(p) in self._suffixes[kind]]:
                return self._best(fitting, clip, kind) + number
        return None

    def get_folded(self, clip: Listed, kind: str, taken: Set[str]) -> str | None:
        """Like `get`, but without regard to case, among the paths that are not ``taken``."""
        for name in clip.names.get(kind, ()):
            bare, number = _split_number(name, kind)
            places = self._tail(bare.count("/"), fold=True).get(_folded(bare), ())
            free = [p for p in places if self._suffix(p) in self._suffixes[kind] and p not in taken]
            if free:
                return self._best(free, clip, kind) + number
        return None

    def _tail(self, slashes: int, *, fold: bool) -> Mapping[str, list[str]]:
        if (slashes, fold) not in self._tails:
            tails: dict[str, list[str]] = {}
            for path in self._paths:
                suffix = self._suffix(path)
                stem = path[: -len(suffix) - 1] if suffix else path
                tail = (
                    "/".join(stem.split("/")[-slashes - 1 :])
                    if slashes
                    else stem.rpartition("/")[2]
                )
                tails.setdefault(_folded(tail) if fold else tail, []).append(path)
            self._tails[slashes, fold] = tails
        return self._tails[slashes, fold]

    def _suffix(self, path: str) -> str:
        """The suffix in lower case if it is one of the data set's; else an empty string."""
        stem, _, suffix = path.rpartition("/")[2].rpartition(".")
        return suffix.lower() if stem and suffix.lower() in self._known else ""

    def _best(self, paths: Sequence[str], clip: Listed, kind: str) -> str:
        if len(paths) == 1:
            return paths[0]

        def order(path: str) -> tuple[bool, bool, bool, int, int, str]:
            folders = PurePosixPath(path).parts[:-1]
            splits = {SPLIT_FOLDERS.get(folder.lower()) for folder in folders}
            return (
                not self._prefer & set(folders),
                clip.split not in splits,
                _plain(clip.label) not in map(_plain, folders),
                self._suffixes[kind].index(self._suffix(path)),
                len(path),
                path,
            )

        return min(paths, key=order)


def _split_number(name: str, kind: str) -> tuple[str, str]:
    """Separates a name from its ``#NAME``, see `source_file`."""
    bare = source_file(kind, name)
    return bare, name[len(bare) :]


def _unwritable_text(clip: Listed) -> str:
    """A text of the list that is no UTF-8, as JSON can hold it; an empty string for none."""
    texts = (*clip.texts.values(), *(question.text for question in clip.questions))
    return next((text for text in texts if any("\ud800" <= c <= "\udfff" for c in text)), "")


def _folded(name: str) -> str:
    """Name for the second search: some disks change case, some store letters and accents apart."""
    return unicodedata.normalize("NFC", name).casefold()


def _plain(label: str) -> str:
    return label.replace("_", " ").casefold()


def _row(clip: Listed, sources: Mapping[str, str]) -> Row:
    return Row(
        key=clip.key,
        label=clip.label,
        split=clip.split,
        sources=sources,
        start=clip.start,
        end=clip.end,
        extra=clip.extra,
        listed=clip.span if _lacks_times(sources) else None,
        target=clip.target,
        group=clip.group,
        texts=clip.texts,
        questions=clip.questions,
    )


def _lacks_times(sources: Mapping[str, str]) -> bool:
    """Whether a name carries no times, as those of whole videos from download tools."""
    return not any(parse(_stem(source)) for source in sources.values())


def _stem(path: str) -> str:
    """Name of the file at ``path`` without its suffix."""
    name = path.rpartition("/")[2]
    stem, _, suffix = name.rpartition(".")
    return stem if stem and suffix else name


def _missing_failure(clip: Listed, kind: str) -> Failure:
    names = clip.names.get(kind, ())
    known = " or ".join((*names[:2], "...") if len(names) > 2 else names)
    source = names[0] if names else clip.key
    return Failure.of(clip, source, "find", "missing", f"no {kind} file named {known}")


def _refused_failure(clip: Listed, link: str) -> Failure:
    message = "a link that leads out of --raw; copy the file, or give a --raw above both"
    return Failure.of(clip, link, "find", "outside-raw", message)
