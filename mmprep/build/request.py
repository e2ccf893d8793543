"""Turns a request into a plan: reads the lists, finds the clips and settles the parameters."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from mmprep.assignments import parse_value, split_assignment
from mmprep.build.collection import without_collection
from mmprep.build.plan import Plan, listing_digest, tasks, trial_rows, versions
from mmprep.build.stamps import stamps_of
from mmprep.build.voices import draw_voices
from mmprep.config import PartsConfig
from mmprep.datasets import find, spec
from mmprep.datasets.spec import Spec
from mmprep.errors import ConfigError, DataError, UnknownName
from mmprep.failure import Failure
from mmprep.format.parts import PARTS
from mmprep.manifest import TEXTS, Row, read_csv, source_file
from mmprep.storage.access import RETRY_FOR_S, Access
from mmprep.storage.place import Raw
from mmprep.storage.redact import redacted
from mmprep.storage.store import store_at

# Parameters with an option of their own, which --set refuses.
BY_FLAG: Final = ("names", "missing_audio")
# Beginning of the names of parameters of generated clips.
_CLIPS: Final = "clips."
# Examples of parameters that may be none, which shows no type.
_EXAMPLES: Final = {"audio.babble_db": 0.0}


@dataclass(frozen=True, kw_only=True)
class Request:
    """Request for a data set, as the command line or a caller states it.

    Attributes:
        dataset: Name of a file in `manifests/`; None if ``manifest`` alone names the clips.
        raw: Folder with the clips, or URL of a bucket's prefix.
        variant: Name of a variant of the data set; several are joined by ``+``.
        annotations: Folder with the official lists.
        manifest: CSV file that names the clips in place of official lists.
        parts: Names of the parts; None takes those of the data set.
        settings: Changes of single parameters, such as ``frames.short_side=128``; those of clips
            that are generated begin with ``clips.``.
        missing_audio: Treatment of clips without sound, ``fail`` or ``silence``; None takes that
            of the data set.
        seed: Seed of the order of samples.
        shard_size: Largest number of samples in a shard.
        limit: Number of clips to take, spread over all splits and classes; None takes all.
        decoder: Decoder of the pictures, ``pyav`` or ``decord``.
        endpoint: Address of an S3-compatible server that holds ``raw``.
        hash_sources: Whether to keep a digest of every source, by which a later run of the build
            sees what has changed; otherwise sizes and times are kept.
        anonymous: Whether ``raw`` is read without credentials, as public buckets allow.
        retry_for_s: Seconds for which a request to ``raw`` that may succeed later is repeated.

    Example:
        plan = make_plan(Request(dataset="ave", raw=Path("AVE"), annotations=Path("AVE")))
    """

    dataset: str | None
    raw: Raw
    variant: str | None = None
    annotations: Path | None = None
    manifest: Path | None = None
    parts: tuple[str, ...] | None = None
    settings: tuple[str, ...] = ()
    missing_audio: str | None = None
    seed: int = 0
    shard_size: int = 512
    limit: int | None = None
    decoder: str = "pyav"
    endpoint: str | None = None
    hash_sources: bool = False
    anonymous: bool = False
    retry_for_s: float = RETRY_FOR_S

    @property
    def clip_settings(self) -> dict[str, str]:
        """Text of each parameter of the clips themselves, by name; for data sets that generate."""
        pairs = map(_assignment, self.settings)
        return {k.removeprefix(_CLIPS): value for k, value in pairs if k.startswith(_CLIPS)}

    @property
    def access(self) -> Access:
        """Way to the bucket of ``raw``."""
        return Access(
            endpoint=self.endpoint, anonymous=self.anonymous, retry_for_s=self.retry_for_s
        )


@without_collection()
def make_plan(request: Request) -> Plan:
    """Reads the lists, looks for the clips and divides them into shards.

    Raises:
        ConfigError: A name is unknown, or lists or clips are absent.
        DataError: A list or the manifest is malformed.
    """
    clips = rows_of(request)
    rows = clips.rows
    _check_frames(clips.parts, rows)
    if clips.parts.audio.babble_db is not None and "spectrogram" in clips.parts.names:
        # Before the limit, so that the samples of a trial are those of the whole.
        rows = draw_voices(rows, clips.parts.audio.babble_clips)
    if request.limit is not None:
        rows = trial_rows(rows, request.limit, seed=request.seed)
    parts = clips.parts
    # A trial takes few clips; the others are not missing from it.
    absent = () if request.limit is not None else clips.absent
    return Plan(
        name=clips.spec.name,
        title=clips.spec.title,
        classes=clips.classes,
        modalities=clips.spec.modalities,
        licence=clips.spec.licence,
        parts=parts,
        # Written into dataset.json, which may be copied anywhere.
        raw=redacted(str(request.raw)),
        seed=request.seed,
        shard_size=request.shard_size,
        tasks=tasks(rows, seed=request.seed, shard_size=request.shard_size),
        listed=listing_digest(rows, absent),
        absent=absent,
        made_by=versions(parts, request.decoder),
        limit=request.limit,
        stamps=stamps_of(
            rows,
            request.raw,
            clips.sizes,
            hashes=request.hash_sources,
            access=request.access,
        ),
        task=clips.spec.task,
    )


def _check_frames(parts: PartsConfig, rows: Sequence[Row]) -> None:
    """Raises `ConfigError` if a clip of the full length has no frame; a still image has one."""
    filmed = any(PARTS[name].kind == "image" for name in parts.names) and any(
        {"video", "depth"} & row.sources.keys() and "image" not in row.sources for row in rows
    )
    if filmed and parts.clip_s * parts.frames.fps < 0.5:
        raise ConfigError(
            f"clips of clip_s = {parts.clip_s:g} s have no frame at frames.fps = "
            f"{parts.frames.fps:g}; set frames.fps to {0.5 / parts.clip_s:.3g} or more"
        )


@dataclass(frozen=True, kw_only=True)
class FoundRows:
    """Clips of a request, with the data set and the parameters that apply to them.

    Attributes:
        spec: Data set that the request names.
        parts: Parameters of the parts.
        classes: Class names in the order of their ids.
        rows: Clips that have their files.
        absent: Clips that lack a file, with the reason.
        sizes: Sizes of the files of a bucket, by path.
    """

    spec: Spec
    parts: PartsConfig
    classes: tuple[str, ...]
    rows: list[Row]
    absent: tuple[Failure, ...]
    sizes: Mapping[str, int]


def rows_of(request: Request) -> FoundRows:
    """Clips that the lists name, each looked for in ``request.raw``.

    Raises:
        ConfigError: A name is unknown, or lists or clips are absent.
        DataError: A list or the manifest is malformed.
    """
    if isinstance(request.raw, Path) and not request.raw.is_dir():
        raise ConfigError(f"{request.raw}: no such folder; --raw names the folder with the clips")
    data_set = spec.load(request.dataset or "folder", request.variant)
    parts = parts_of(data_set, request)
    if request.manifest is None:
        collected = find.collect(
            _with_needed_sources(data_set, parts),
            raw=request.raw,
            annotations=request.annotations,
            access=request.access,
        )
        rows, absent = collected.rows, (*collected.missing, *collected.refused)
        sizes = collected.sizes
    else:
        if request.dataset is None:
            data_set = replace(
                data_set, name=request.manifest.stem, title=f"clips of {request.manifest.name}"
            )
        sizes = _sizes_in_bucket(request)
        listed = read_csv(request.manifest, request.raw)
        rows, absent = _split_by_presence(listed, sizes, request.raw)
    labels = {label for row in rows for label in row.labels}
    classes = data_set.classes or tuple(sorted(labels))
    if strangers := labels - set(classes):
        raise DataError(f"{request.manifest}: {data_set.name} has no class {min(strangers)!r}")
    _check_task(data_set, rows, len(classes))
    return FoundRows(
        spec=data_set,
        parts=parts,
        classes=classes,
        rows=[_with_lacking(row, data_set, parts) for row in rows],
        absent=absent,
        sizes=sizes,
    )


def _check_task(data_set: Spec, rows: Sequence[Row], classes: int) -> None:
    """Checks that rows have the targets that the task of the data set needs.

    Raises:
        DataError: One has not.
    """
    for row in rows:
        if data_set.task == "regression" and len(row.target) != 1:
            raise DataError(
                f"{data_set.name}: {row.key} has {len(row.target)} target values; "
                "the task regression needs one"
            )
        if data_set.task == "localisation" and (
            not row.target or any(value not in range(classes) for value in row.target)
        ):
            raise DataError(
                f"{data_set.name}: {row.key}: target {row.target} is no class id for each "
                f"segment, below {classes}, as the task localisation needs"
            )


def parts_of(data_set: Spec, request: Request) -> PartsConfig:
    """Parameters of the data set, overridden by those of the request.

    Raises:
        ConfigError: A parameter is unknown or its value out of range.
    """
    plain = asdict(data_set.parts)
    plain["names"] = list(request.parts or data_set.parts.names)
    if request.missing_audio is not None:
        plain["missing_audio"] = request.missing_audio
    for setting in request.settings:
        # Parameters of the clips are the generator's, and are no part of `dataset.json`.
        if not (data_set.generator and _assignment(setting)[0].startswith(_CLIPS)):
            _apply_setting(plain, setting)
    # A sample holds its parts in one order, whatever the order of the request.
    known = [name for name in PARTS if name in plain["names"]]
    plain["names"] = known + [name for name in plain["names"] if name not in known]
    return PartsConfig.from_json(plain)


def _assignment(setting: str) -> tuple[str, str]:
    """Key and value of ``setting``, which is ``key=value``."""
    try:
        return split_assignment(setting)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _apply_setting(plain: dict[str, Any], setting: str) -> None:
    """Writes the value of ``setting``, which is ``key=value``, into the tables of ``plain``."""
    path, text = _assignment(setting)
    *tables, name = path.split(".")
    place = plain
    for table in tables:
        inner = place.get(table)
        if not isinstance(inner, dict):
            raise UnknownName("parameter", path, _parameter_names(plain))
        place = inner
    if name not in place or isinstance(place[name], dict) or path in BY_FLAG:
        raise UnknownName("parameter", path, _parameter_names(plain))
    example = _EXAMPLES.get(path, place[name])
    value = parse_value(text, type(example))
    if type(value) is not type(example) and not (value is None and path in _EXAMPLES):
        raise ConfigError(f"--set {setting}: {path} is {type(example).__name__}, such as {example}")
    place[name] = value


def _parameter_names(plain: Mapping[str, Any], prefix: str = "") -> list[str]:
    names: list[str] = []
    for name, value in plain.items():
        if isinstance(value, dict):
            names += _parameter_names(value, f"{prefix}{name}.")
        elif prefix + name not in BY_FLAG:
            names.append(prefix + name)
    return names


def _with_needed_sources(data_set: Spec, parts: PartsConfig) -> Spec:
    """Copy of ``data_set`` with ``parts``, and the kinds of source from which they are made."""
    needed = frozenset[str]().union(*(PARTS[name].made_from for name in parts.names))
    sources = {kind: ends for kind, ends in data_set.sources.items() if kind in needed}
    # Lists may hold texts themselves, and then no file is needed.
    if not sources and not needed & set(TEXTS) & set(data_set.parts.names):
        kinds = ", ".join(data_set.sources)
        raise ConfigError(f"{data_set.name} has {kinds}; that gives no {', '.join(parts.names)}")
    optional = tuple(kind for kind in data_set.optional if kind in sources)
    return replace(data_set, sources=sources, optional=optional, parts=parts)


def _with_lacking(row: Row, data_set: Spec, parts: PartsConfig) -> Row:
    """Copy of ``row`` with the optional kinds of source that it lacks.

    Sound is none of them: `PartsConfig.missing_audio` rules what becomes of a clip without.
    """
    needed = frozenset[str]().union(*(PARTS[name].made_from for name in parts.names)) - {"audio"}
    given = {*row.sources, *row.texts, *(["question"] if row.questions else [])}
    lacking = tuple(kind for kind in data_set.optional if kind in needed and kind not in given)
    return replace(row, lacking=lacking) if lacking else row


def _split_by_presence(
    rows: Sequence[Row], sizes: Mapping[str, int], raw: Raw
) -> tuple[list[Row], tuple[Failure, ...]]:
    """Splits ``rows`` into those with all files inside ``--raw`` and the others, as failures."""
    cause_of_absence = _absence_check(sizes, raw)
    present: list[Row] = []
    absent: list[Failure] = []
    for row in rows:
        causes = {
            source: cause_of_absence(source_file(kind, source))
            for kind, source in row.sources.items()
        }
        if outside := [source for source, cause in causes.items() if cause == "outside-raw"]:
            message = "a link that leads out of --raw"
            absent.append(Failure.of(row, outside[0], "find", "outside-raw", message))
        elif gone := [source for source, cause in causes.items() if cause]:
            message = f"no file {gone[0]} in --raw"
            absent.append(Failure.of(row, gone[0], "find", "missing", message))
        else:
            present.append(row)
    if not present:
        example = absent[0].message if absent else "the manifest is empty"
        raise ConfigError(f"none of the {len(rows)} clips is in --raw {raw}: {example}")
    return present, tuple(absent)


def _sizes_in_bucket(request: Request) -> dict[str, int]:
    """Sizes of the files below ``--raw`` by path, if that is a bucket."""
    if isinstance(request.raw, Path):
        return {}
    # One listing, because a request for each of a hundred thousand clips would take an hour.
    return dict(store_at(request.raw, request.access).files())


def _absence_check(sizes: Mapping[str, int], raw: Raw) -> Callable[[str], str]:
    """Returns a function from a path below ``--raw`` to the cause of its absence, or ``""``."""
    if isinstance(raw, str):
        return lambda path: "" if path in sizes else "missing"
    root = raw.resolve()

    @cache
    def is_inside(path: str) -> bool:
        return (root / path).resolve().is_relative_to(root)

    def look(path: str) -> str:
        # A file that is no link lies where its folder does, and a folder holds many files.
        folder, _, name = path.rpartition("/")
        plain = name not in ("", "..") and not os.path.islink(os.path.join(root, path))
        if not is_inside(folder if plain else path):
            return "outside-raw"
        return "" if (root / path).exists() else "missing"

    return look
