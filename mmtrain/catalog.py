"""Catalogs of what is chosen by name on the command line: one line each, loaded by name.

The registry, the lists of the command line and the tables of the README are this data. Nothing is
imported until it is loaded, so that listing is cheap.
"""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Generic, NamedTuple, TypeVar

from mmtrain.errors import UnknownName

Made = TypeVar("Made", covariant=True)


class Entry(NamedTuple):
    """One line of a catalog.

    Attributes:
        name: As the command line takes it.
        target: ``module:class``, below the package of its catalog.
        paper: Authors, venue and year; ``-`` where there is none.
        summary: One sentence.
        curriculum: Curriculum that is part of a method; None for all else.
    """

    name: str
    target: str
    paper: str
    summary: str
    curriculum: str | None = None


class Parameter(NamedTuple):
    """A parameter that users may set: a keyword-only argument, its default, and its help text."""

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
        kind: What one entry is.
        plural: What the list is called, on the command line and in JSON.
        package: Where the targets are.
        entries: The lines.
    """

    kind: str
    plural: str
    package: str
    entries: tuple[Entry, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Every name."""
        return tuple(entry.name for entry in self.entries)

    def entry(self, name: str) -> Entry:
        """The line of ``name``.

        Raises:
            UnknownName: There is none; the message offers the nearest.
        """
        for entry in self.entries:
            if entry.name == name:
                return entry
        raise UnknownName(self.kind, name, self.names)

    def load(self, name: str) -> Callable[..., Made]:
        """The class that ``name`` stands for.

        Raises:
            UnknownName: There is none.
        """
        module, _, attribute = self.entry(name).target.partition(":")
        found: Callable[..., Made] = getattr(import_module(f"{self.package}.{module}"), attribute)
        return found

    def explain(self, name: str) -> Explanation:
        """Loads ``name`` and returns its docstring and the parameters that users may set.

        Raises:
            UnknownName: There is none.
        """
        found = self.load(name)
        text, _, _ = (inspect.getdoc(found) or "").partition("\n\nArgs:\n")
        helps: dict[str, str] = {}
        for base in reversed(getattr(found, "__mro__", ())):  # a class documents its own
            helps |= _helps((inspect.getdoc(base) or "").partition("\n\nArgs:\n")[2])
        return Explanation(
            entry=self.entry(name),
            text=text,
            parameters=tuple(
                Parameter(p.name, p.default, helps.get(p.name, ""))
                for p in inspect.signature(found).parameters.values()
                if p.kind is p.KEYWORD_ONLY
            ),
        )

    def markdown(self) -> str:
        """The table of the README."""
        rows = [("name", "what it does", "paper"), ("---",) * 3]
        rows += [(f"`{e.name}`", e.summary, e.paper) for e in self.entries]
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _helps(arguments: str) -> dict[str, str]:
    """Name to description of a Google docstring's ``Args:``, lines joined."""
    block = re.split(r"^\S", arguments, maxsplit=1, flags=re.MULTILINE)[0]
    found = re.findall(r"^    (\w+): (.*(?:\n {5,}.*)*)", block, flags=re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}
