"""Description of a data set: one TOML file, read into a `Spec`.

``--dataset`` takes the name of a description or the path of one. Names are those of the files in
`manifests/` and of the files of other installed packages. Such a package keeps its TOML files as
resources of one of its own packages, beside its ``__init__.py``, and names that package as an entry
point of the group ``mmprep.datasets``; the name of the entry point does not matter::

    [project.entry-points."mmprep.datasets"]
    mine = "my_package.manifests"
"""

import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from importlib import import_module, metadata, resources
from pathlib import Path
from typing import Any, Final, Self

from mmprep.config import PartsConfig
from mmprep.errors import ConfigError, UnknownName
from mmprep.format.dataset import TASKS
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
_ARRAYS: Final = ("npy", "npz", "pkl", "pickle", "csd")
_GROUP: Final = "mmprep.datasets"

# Suffixes for which `any` stands in a TOML's [sources], best first.
SUFFIXES: Final[Mapping[str, tuple[str, ...]]] = {
    "video": _FILMS,
    "audio": _SOUNDS,
    "image": ("png", "jpg", "jpeg", "bmp", "webp", "gif"),
    "depth": _FILMS,
    "text": ("txt",),
    "flow": _FILMS,
    "target": ("txt",),
    "question": ("txt",),
    "speech": _ARRAYS,
    "face": _ARRAYS,
    "words": _ARRAYS,
}


@dataclass(frozen=True, kw_only=True)
class Download:
    """One official archive or list to download.

    Attributes:
        what: Description in a few words.
        url: Official address.
        into: Place of the content: ``--raw`` or ``--annotations``, with a folder below it where one
            is usual.
    """

    what: str
    url: str
    into: str


@dataclass(frozen=True, kw_only=True)
class Spec:
    """Description of a data set.

    Attributes:
        name: Name of the data set, which is the stem of its file.
        title: Title on one line.
        classes: Names of the classes in the order of their ids; empty where the data decide
            (``folder``).
        modalities: Modalities, such as ``("audio", "visual")``.
        parts: Default parameters of the parts; options of the command line override them.
        reader: Kind of the official lists, a name in `mmprep.datasets.lists.READERS`.
        lists: Options of the reader: file names of the lists, splits, columns.
        sources: Kinds of source that a clip may have, each with the suffixes of its files, best
            first; an empty suffix stands for a file without one.
        optional: Kinds of `sources` that a clip may lack.
        downloads: Archives and lists to download.
        licence: Terms in a sentence, with who grants them.
        task: Task of training that the labels are made for, a name in
            `mmprep.format.dataset.TASKS`.
        expected: Split to the number of clips in the official lists, before a validation split is
            taken from train.
        variants: Name of a variant to the entries that it changes (a partial TOML table).
        variant: Names of the variants in force, joined by ``+``; empty for none.
        generator: ``module:function`` that writes the clips into ``--raw``; empty where users
            bring them. Called as ``function(raw, settings, workers=..., progress=...)``, where
            ``settings`` has the text of each ``--set clips.NAME=VALUE`` by name.
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
    task: str = TASKS[0]
    expected: Mapping[str, int] = field(default_factory=dict)
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    variant: str = ""
    generator: str = ""

    @classmethod
    def from_toml(cls, path: Path, variant: str | None = None) -> Self:
        """Reads the description of a data set.

        Args:
            path: TOML file; its stem is the name of the data set.
            variant: A variant of the file, or several joined by ``+``, applied in that order.

        Raises:
            UnknownName: The file has no such variant.
            ConfigError: The file is wrong; the message names it and what to change.
        """
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: not TOML: {error}") from error
        variants = table.get("variants", {})
        for name in variant.split("+") if variant else ():
            if name not in variants:
                raise UnknownName(f"variant of {path.stem}", name, variants)
            table = _merge(table, variants[name])
        try:
            return cls(name=path.stem, variant=variant or "", **_values(table))
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise ConfigError(f"{path}: {error}; compare with another file beside it") from error


def names() -> list[str]:
    """Names of the data sets of this package and of other installed packages, in order."""
    return sorted(_files_by_name())


def load(name: str, variant: str | None = None) -> Spec:
    """Reads the description of a data set.

    Args:
        name: Name of a data set, or path of a description, which ends in ``.toml``.
        variant: Variant of the data set, see `Spec.from_toml`.

    Raises:
        UnknownName: There is no such data set or variant; the message offers the nearest.
        ConfigError: There is no such file, or the description is wrong.
    """
    if name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise ConfigError(f"{name}: no such file; --dataset takes a name or a TOML file")
        return Spec.from_toml(path, variant)
    by_name = _files_by_name()
    if name not in by_name:
        raise UnknownName("data set", name, sorted(by_name))
    path, *others = by_name[name]
    if others:
        raise ConfigError(
            f"two packages describe a data set {name}: {path}, {others[0]}; "
            "give --dataset the path of one of them"
        )
    return Spec.from_toml(path, variant)


def generator(spec: Spec) -> Callable[..., Path]:
    """Imports the function that writes the clips of ``spec``."""
    module, _, name = spec.generator.partition(":")
    function: Callable[..., Path] = getattr(import_module(module), name)
    return function


def _files_by_name() -> dict[str, list[Path]]:
    """Name of each data set to its files: one, unless two packages use the same name."""
    by_name: dict[str, list[Path]] = {}
    for folder in (_own_folder(), *_installed_folders()):
        for path in folder.glob("*.toml"):
            by_name.setdefault(path.stem, []).append(path)
    return by_name


def _own_folder() -> Path:
    installed = Path(str(resources.files("mmprep"))) / "manifests"
    # In a clone, the descriptions lie at its root and not in the package.
    return installed if installed.is_dir() else Path(__file__).parents[2] / "manifests"


def _installed_folders() -> list[Path]:
    """Folders of the packages that are entry points of the group ``mmprep.datasets``."""
    # A package that is found twice, in a clone and installed, would compete with itself.
    values = {entry.value: entry for entry in metadata.entry_points(group=_GROUP)}
    folders = []
    for value, entry in sorted(values.items()):
        try:
            folders.append(Path(str(resources.files(value))))
        except (ImportError, TypeError) as error:
            owner = entry.dist.name if entry.dist else "a package"
            raise ConfigError(
                f"entry point {entry.name} = {value} of {owner}, group {_GROUP}: {error}; "
                "it must name a package with TOML files"
            ) from error
    return folders


def _merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Applies ``change`` to ``base``: tables merge; other values, and empty tables, replace."""
    merged = dict(base)
    for name, value in change.items():
        old = base.get(name)
        both = isinstance(old, Mapping) and isinstance(value, Mapping) and value
        merged[name] = _merge(old or {}, value) if both else value
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
    if values.get("task", TASKS[0]) not in TASKS:
        raise UnknownName("task", str(values["task"]), TASKS)
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
