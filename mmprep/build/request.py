"""A request to a plan: what the data set is, which clips are there, how they are made."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from mmprep.assignments import parse_value, split_assignment
from mmprep.build.plan import Plan, limited, listed, tasks, versions
from mmprep.config import PARTS, PartsConfig
from mmprep.datasets import find, spec
from mmprep.datasets.spec import Spec
from mmprep.errors import ConfigError, DataError, UnknownName
from mmprep.failure import Failure
from mmprep.manifest import Row, read_csv
from mmprep.storage.place import Raw
from mmprep.storage.store import open_store

# What a part is made from: any of these kinds of source.
_SOURCES: Final = {
    "frames": {"video", "image"},
    "flow": {"video", "image"},
    "difference": {"video", "image"},
    "spectrogram": {"audio", "video"},
    "depth": {"depth"},
}
# These have flags of their own.
_BY_FLAG: Final = ("names", "missing_audio")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a user asks for.

    Attributes:
        dataset: Name in `manifests/`; None with ``manifest`` alone.
        raw: Folder with the clips, or URL of a bucket's prefix.
        variant: Of the data set.
        annotations: Folder with the official lists.
        manifest: A ready CSV in place of official lists.
        parts: Names of the parts; the data set's own by default.
        settings: ``key=value`` for single parameters, such as ``frames.short_side=128``.
        missing_audio: ``fail`` or ``silence``.
        seed: Of the order of samples.
        shard_size: Samples a shard.
        limit: Take so many clips only.
        decoder: ``pyav`` or ``decord``.
        endpoint: Of an S3-compatible server, for ``raw``.
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


def make_plan(request: Request) -> Plan:
    """Reads the lists, looks for the clips and divides them into shards.

    Raises:
        ConfigError: Unknown names, lists or clips that are not there.
        DataError: A list or manifest that is malformed.
    """
    found = rows_of(request)
    rows = found.rows
    if request.limit is not None:
        rows = limited(rows, request.limit, seed=request.seed)
    parts = found.parts
    absent = () if request.limit is not None else found.absent
    return Plan(
        name=found.spec.name,
        title=found.spec.title,
        classes=found.classes,
        modalities=found.spec.modalities,
        licence=found.spec.licence,
        parts=parts,
        raw=str(request.raw),
        seed=request.seed,
        shard_size=request.shard_size,
        tasks=tasks(rows, seed=request.seed, shard_size=request.shard_size),
        listed=listed(rows, absent),
        absent=absent,
        made_by=versions(parts, request.decoder),
    )


@dataclass(frozen=True, kw_only=True)
class FoundRows:
    """The clips of a request: those with files, and those without."""

    spec: Spec
    parts: PartsConfig
    classes: tuple[str, ...]
    rows: list[Row]
    absent: tuple[Failure, ...]


def rows_of(request: Request) -> FoundRows:
    """The clips that the lists name, found in ``request.raw``.

    Raises:
        ConfigError: As `make_plan`.
        DataError: As `make_plan`.
    """
    if isinstance(request.raw, Path) and not request.raw.is_dir():
        raise ConfigError(f"{request.raw}: no such folder; --raw names the folder with the clips")
    data_set = spec.load(request.dataset or "folder", request.variant)
    parts = parts_of(data_set, request)
    if request.manifest is None:
        found = find.collect(
            _needing(data_set, parts),
            raw=request.raw,
            annotations=request.annotations,
            endpoint=request.endpoint,
        )
        rows, absent = found.rows, (*found.missing, *found.refused)
    else:
        if request.dataset is None:
            data_set = replace(
                data_set, name=request.manifest.stem, title=f"clips of {request.manifest.name}"
            )
        rows, absent = _present(read_csv(request.manifest), request)
    classes = data_set.classes or tuple(sorted({row.label for row in rows}))
    if strangers := {row.label for row in rows} - set(classes):
        raise DataError(f"{request.manifest}: {data_set.name} has no class {min(strangers)!r}")
    return FoundRows(spec=data_set, parts=parts, classes=classes, rows=rows, absent=absent)


def parts_of(data_set: Spec, request: Request) -> PartsConfig:
    """The data set's parameters with the request's over them.

    Raises:
        ConfigError: An unknown parameter or a value out of range.
    """
    plain = asdict(data_set.parts)
    plain["names"] = list(request.parts or data_set.parts.names)
    if request.missing_audio is not None:
        plain["missing_audio"] = request.missing_audio
    for setting in request.settings:
        _set(plain, setting)
    # A sample holds its parts in one order, whatever the order of the request.
    known = [name for name in PARTS if name in plain["names"]]
    plain["names"] = known + [name for name in plain["names"] if name not in known]
    return PartsConfig.from_json(plain)


def _set(plain: dict[str, Any], setting: str) -> None:
    """Puts ``key=value`` into nested ``plain``."""
    try:
        path, text = split_assignment(setting)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    *tables, name = path.split(".")
    place = plain
    for table in tables:
        inner = place.get(table)
        if not isinstance(inner, dict):
            raise UnknownName("parameter", path, _names(plain))
        place = inner
    if name not in place or isinstance(place[name], dict) or path in _BY_FLAG:
        raise UnknownName("parameter", path, _names(plain))
    value = parse_value(text, type(place[name]))
    if type(value) is not type(place[name]):
        kind = type(place[name]).__name__
        raise ConfigError(f"--set {setting}: {path} is {kind}, such as {place[name]!r}")
    place[name] = value


def _names(plain: Mapping[str, Any], prefix: str = "") -> list[str]:
    names: list[str] = []
    for name, value in plain.items():
        if isinstance(value, dict):
            names += _names(value, f"{prefix}{name}.")
        elif prefix + name not in _BY_FLAG:
            names.append(prefix + name)
    return names


def _needing(data_set: Spec, parts: PartsConfig) -> Spec:
    """``data_set`` with only those kinds of source that ``parts`` are made from."""
    needed = set().union(*(_SOURCES[name] for name in parts.names))
    sources = {kind: ends for kind, ends in data_set.sources.items() if kind in needed}
    if not sources:
        kinds = ", ".join(data_set.sources)
        raise ConfigError(f"{data_set.name} has {kinds}; that gives no {', '.join(parts.names)}")
    optional = tuple(kind for kind in data_set.optional if kind in sources)
    return replace(data_set, sources=sources, optional=optional)


def _present(rows: Sequence[Row], request: Request) -> tuple[list[Row], tuple[Failure, ...]]:
    """Rows whose files are there and inside ``--raw``, and the others as failures."""
    why = _looker(request)
    found: list[Row] = []
    absent: list[Failure] = []
    for row in rows:
        causes = {source: why(source.partition("#")[0]) for source in row.sources.values()}
        if outside := [source for source, cause in causes.items() if cause == "outside-raw"]:
            message = "a link that leads out of --raw"
            absent.append(Failure.of(row, outside[0], "find", "outside-raw", message))
        elif gone := [source for source, cause in causes.items() if cause]:
            message = f"no file {gone[0]} in --raw"
            absent.append(Failure.of(row, gone[0], "find", "missing", message))
        else:
            found.append(row)
    if not found:
        example = absent[0].message if absent else "the manifest is empty"
        raise ConfigError(f"none of the {len(rows)} clips is in --raw {request.raw}: {example}")
    return found, tuple(absent)


def _looker(request: Request) -> Callable[[str], str]:
    """What says of a path below ``--raw`` why it is no file there: a cause, or nothing."""
    raw = request.raw
    if isinstance(raw, str):
        # One listing: to ask for each of a hundred thousand clips would take an hour.
        listing = {path for path, _ in open_store(raw, endpoint=request.endpoint).files()}
        return lambda path: "" if path in listing else "missing"
    root = raw.resolve()

    def look(path: str) -> str:
        if not (root / path).resolve().is_relative_to(root):
            return "outside-raw"
        return "" if (root / path).exists() else "missing"

    return look
