"""Catalogs: the names that the command line takes, one line each, and what they load.

The registry, the lists of the command line and the tables of the README are this data. Nothing is
imported until it is loaded, so that listing is cheap. A line is a name for a class, or for a class
with other defaults. Classes of the user's own are loaded through here too, see `mmtrain.plugins`.
"""

import inspect
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import Any, Generic, NamedTuple, TypeVar, cast

from mmprep.docstrings import descriptions
from mmtrain import plugins
from mmtrain.errors import ConfigError, UnknownName

Made = TypeVar("Made", covariant=True)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """One line of a catalog.

    Attributes:
        name: Name on the command line.
        target: Class as ``module:class``, below the package of the catalog; of a plug-in, as
            `mmtrain.plugins.load` takes it.
        paper: Authors, venue and year; ``-`` where there is none.
        summary: Sentence for lists.
        curriculum: Curriculum that is part of a method.
        settings: Values in the place of the class's defaults: the line is a variant.
        takes: Kinds of input that an encoder takes; of a plug-in its class has them.
        modalities: For a method, how many modalities its paper's equations are for.
        cost: For a method, a training step in steps of `joint`, and what there is beside steps.
        origin: Distribution, file or module of a plug-in; None for our own lines.
    """

    name: str
    target: str
    paper: str
    summary: str
    curriculum: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    takes: tuple[str, ...] = ()
    modalities: str = "any"
    cost: str = "1"
    origin: str | None = None


class Parameter(NamedTuple):
    """A keyword-only argument that a user may set: its name, default and description."""

    name: str
    default: object
    help: str


@dataclass(frozen=True)
class Explanation:
    """An entry in full: its docstring, which holds the equation, and its parameters."""

    entry: Entry
    text: str
    parameters: tuple[Parameter, ...]


@dataclass(frozen=True)
class Catalog(Generic[Made]):
    """Entries of one kind, in the order in which they are shown.

    Attributes:
        kind: Noun for one entry.
        plural: Noun for the list, on the command line, in JSON and in the group of entry points.
        package: Package below which the targets are.
        base: Class that every target derives from, as ``module:class`` below the package.
        entries: Our own lines.
    """

    kind: str
    plural: str
    package: str
    base: str
    entries: tuple[Entry, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of our own lines."""
        return tuple(entry.name for entry in self.entries)

    def installed(self) -> tuple[Entry, ...]:
        """Lines of installed packages: the entry points in the group ``mmtrain.PLURAL``."""
        lines: dict[str, Entry] = {}
        for point in plugins.installed(f"mmtrain.{self.plural}"):
            origin = f"{point.dist.name} {point.dist.version}" if point.dist else point.value
            if point.name in lines or point.name in self.names:
                log.warning("%s: the %s %s is there already", origin, self.kind, point.name)
                continue
            summary = f"{point.value}, of {origin}."
            lines[point.name] = Entry(point.name, point.value, "-", summary, origin=origin)
        return tuple(lines.values())

    def entry(self, name: str) -> Entry:
        """The line of ``name``; one that is made for it where it names a plug-in.

        Raises:
            UnknownName: No line has the name; the message offers the nearest.
        """
        for entry in self.entries:
            if entry.name == name:
                return entry
        if plugins.is_plugin(name):
            origin, _ = plugins.split(name)
            return Entry(name, name, "-", f"{name}.", origin=origin)
        installed = {entry.name: entry for entry in self.installed()}
        if name not in installed:
            raise UnknownName(self.kind, name, {*self.names, *installed})
        return installed[name]

    def target(self, name: str) -> type[Made]:
        """Loads the class behind ``name``.

        Raises:
            UnknownName: No line has the name, or a plug-in's module no such class.
            ConfigError: A plug-in cannot be imported, or is of another kind.
        """
        entry = self.entry(name)
        if entry.origin is None:
            return cast(type[Made], self._ours(entry.target))
        base, loaded = self._ours(self.base), plugins.load(entry.target)
        if not (isinstance(loaded, type) and issubclass(loaded, base)):
            raise ConfigError(
                f"{entry.target} is no {self.kind}: it does not derive from "
                f"{base.__module__}.{base.__name__}"
            )
        return cast(type[Made], loaded)

    def load(self, name: str) -> Callable[..., Made]:
        """Loads what makes the thing that ``name`` names, with the entry's settings as defaults.

        Raises:
            UnknownName: As `target`.
            ConfigError: As `target`.
        """
        made, settings = self.target(name), self.entry(name).settings
        return partial(made, **settings) if settings else made

    def explain(self, name: str) -> Explanation:
        """Description and parameters of ``name``, which is loaded for it.

        Raises:
            UnknownName: As `target`.
            ConfigError: As `target`.
        """
        target, entry = self.target(name), self.entry(name)
        text, _, _ = (inspect.getdoc(target) or "").partition("\n\nArgs:\n")
        if entry.settings:
            values = ", ".join(f"``{key} = {value}``" for key, value in entry.settings.items())
            text += f"\n\nThis variant has other defaults: {values}."
        helps: dict[str, str] = {}
        for base in reversed(target.__mro__):  # A subclass describes only its own parameters.
            helps |= descriptions(inspect.getdoc(base) or "", "Args")
        return Explanation(
            entry=entry,
            text=text,
            parameters=tuple(
                Parameter(p.name, p.default, helps.get(p.name, ""))
                for p in inspect.signature(self.load(name)).parameters.values()
                if p.kind is p.KEYWORD_ONLY
            ),
        )

    def markdown(self) -> str:
        """Table of our own lines, for the README."""
        rows = [["name", "what it does", "paper"]]
        rows += [[f"`{e.name}`", e.summary, e.paper] for e in self.entries]
        if self.kind == "method":
            rows[0] += ["modalities", "cost"]
            for row, entry in zip(rows[1:], self.entries, strict=True):
                row += [entry.modalities, entry.cost]
        rows.insert(1, ["---"] * len(rows[0]))
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)

    def _ours(self, target: str) -> type[Any]:
        module, _, attribute = target.partition(":")
        loaded: type[Any] = getattr(import_module(f"{self.package}.{module}"), attribute)
        return loaded
