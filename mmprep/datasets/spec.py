"""What a data set is: one TOML file in `manifests/`, read into a `Spec`."""

import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from importlib import import_module, resources
from pathlib import Path
from typing import Any, Final, Self

from mmprep.config import PartsConfig
from mmprep.errors import ConfigError, UnknownName
from mmprep.manifest import SOURCES

# fmt: off
_FILMS: Final = (
    "mp4", "mkv", "webm", "avi", "flv", "mov", "m4v", "mpg", "mpeg", "3gp", "3g2", "wmv", "ogv",
    "f4v", "vob", "mts", "m2ts",
)
_SOUNDS: Final = (
    "wav", "flac", "mp3", "ogg", "oga", "opus", "m4a", "aac", "wma", "aif", "aiff",
)
# fmt: on

# What `any` means in a TOML's [sources], best first.
SUFFIXES: Final[Mapping[str, tuple[str, ...]]] = {
    "video": _FILMS,
    "audio": _SOUNDS,
    "image": ("png", "jpg", "jpeg", "bmp", "webp"),
    "depth": _FILMS,
    "text": ("txt",),
    "flow": _FILMS,
}


@dataclass(frozen=True, kw_only=True)
class Download:
    """One official archive or list: what it is, its address, and where its content goes.

    Attributes:
        what: A few words.
        url: The official address.
        into: ``--raw`` or ``--annotations``, and a folder below where one is usual.
    """

    what: str
    url: str
    into: str


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A data set.

    Attributes:
        name: As ``--dataset`` takes it.
        title: One line for people.
        classes: Class names in the order of their ids; empty where the data decide (``folder``).
        modalities: For example ``("audio", "visual")``.
        parts: Defaults for the parts; flags override them.
        reader: Kind of annotation list, a name in `mmprep.datasets.lists.READERS`.
        lists: Options of the reader: file names of the lists, splits, columns.
        sources: Kinds of source that a row may have, each with the suffixes of its files, best
            first; an empty suffix stands for a file without one.
        optional: Kinds of `sources` that a row may do without.
        downloads: What to get, and where to put it.
        licence: Terms in a sentence, with who grants them.
        expected: Split to the number of clips that the official lists name, before a validation
            split is carved out of train.
        variants: Name to what it changes (a partial TOML table of the same shape).
        variant: Names of the variants in force, joined by ``+``; empty for none.
        generator: ``module:function`` that writes the clips into ``--raw``; empty where users
            bring them. Called as ``function(raw, workers=..., progress=...)``.
    """

    name: str
    title: str
    classes: tuple[str, ...] = ()
    modalities: tuple[str, ...]
    parts: PartsConfig
    reader: str
    lists: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, tuple[str, ...]]
    optional: tuple[str, ...] = ()
    downloads: tuple[Download, ...] = ()
    licence: str
    expected: Mapping[str, int] = field(default_factory=dict)
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    variant: str = ""
    generator: str = ""

    @classmethod
    def from_toml(cls, path: Path, variant: str | None = None) -> Self:
        """Reads a data set's file.

        Args:
            path: The TOML file; its stem is the data set's name.
            variant: One of the file's variants, or several joined by ``+``, applied in that order.

        Raises:
            UnknownName: No such variant.
            ConfigError: Names the file, and what to change in it.
        """
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: not TOML: {error}") from error
        variants = table.get("variants", {})
        for name in variant.split("+") if variant else ():
            if name not in variants:
                raise UnknownName(f"variant of {path.stem}", name, variants)
            table = _merged(table, variants[name])
        try:
            return cls(name=path.stem, variant=variant or "", **_values(table))
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise ConfigError(f"{path}: {error}; compare with another file beside it") from error


def names() -> list[str]:
    """Names of the data sets that ``--dataset`` takes, in order."""
    return sorted(path.stem for path in _folder().glob("*.toml"))


def load(name: str, variant: str | None = None) -> Spec:
    """Reads the data set ``name``, with the changes of ``variant`` (see `Spec.from_toml`).

    Raises:
        UnknownName: No such data set or variant; offers the nearest.
    """
    if name not in names():
        raise UnknownName("data set", name, names())
    return Spec.from_toml(_folder() / f"{name}.toml", variant)


def generator(spec: Spec) -> Callable[..., Path]:
    """The function that writes the clips of ``spec``."""
    module, _, function = spec.generator.partition(":")
    found: Callable[..., Path] = getattr(import_module(module), function)
    return found


def _folder() -> Path:
    installed = Path(str(resources.files("mmprep"))) / "manifests"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "manifests"


def _merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``change`` over it: tables merge; all else, and an empty table, replaces."""
    merged = dict(base)
    for name, value in change.items():
        old = base.get(name)
        both = isinstance(old, Mapping) and isinstance(value, Mapping) and value
        merged[name] = _merged(old or {}, value) if both else value
    return merged


def _values(table: Mapping[str, Any]) -> dict[str, Any]:
    known = {f.name for f in fields(Spec)} - {"name", "variant"}
    for name in table:
        if name not in known:
            raise UnknownName("entry", name, known)
    if absent := {"title", "modalities", "parts", "reader", "sources", "licence"} - table.keys():
        raise ConfigError(f"no {', '.join(sorted(absent))}; add it at the top of the file")
    values = {
        **table,
        "classes": _strings("classes", table.get("classes", ())),
        "modalities": _strings("modalities", table["modalities"]),
        "optional": _strings("optional", table.get("optional", ())),
        "parts": PartsConfig.from_json(dict(table["parts"])),
        "sources": _sources(table["sources"]),
        "downloads": tuple(Download(**entry) for entry in table.get("downloads", ())),
    }
    if unknown := set(values["optional"]) - values["sources"].keys():
        raise ConfigError(
            f"optional {sorted(unknown)[0]!r} is no kind under [sources]; add it there"
        )
    return values


def _sources(table: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    for kind in table:
        if kind not in SOURCES:
            raise UnknownName("kind of source", kind, SOURCES)
    if not table:
        raise ConfigError(f"[sources] is empty; name one of {', '.join(SOURCES)}")
    return {
        kind: SUFFIXES[kind] if suffixes == "any" else _strings(f"sources.{kind}", suffixes)
        for kind, suffixes in table.items()
    }


def _strings(name: str, values: Iterable[Any]) -> tuple[str, ...]:
    strings = tuple(values)
    if isinstance(values, str) or not all(isinstance(value, str) for value in strings):
        raise ConfigError(f"{name} is a list of strings; got {values!r}")
    if len(set(strings)) != len(strings):
        raise ConfigError(f"{name} has an entry twice")
    return strings
