"""What a study file asks to have drawn: its tables ``[[figures]]``, checked."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from mmtrain.comparison.figures.catalog import FIGURES, KINDS, Kind, Option
from mmtrain.errors import ConfigError, UnknownName

_NAME: Final = re.compile(r"[^\w.+-]+")
# Options of every kind.
COMMON: Final = (
    Option("kind", (str,), "kind of the figure"),
    Option("name", (str,), "name of its files"),
    Option("title", (str,), "beginning of its caption"),
    Option("rows", (list,), "labels of the rows that are drawn"),
    Option("width", (str,), "column or page", ("column", "page")),
)


@dataclass(frozen=True, kw_only=True)
class FigureRequest:
    """One figure that is asked for.

    Attributes:
        kind: Name in FIGURES.
        name: Name of its files, without the suffix.
        options: Options of its kind, and those of COMMON.
    """

    kind: str
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rows(self) -> tuple[str, ...]:
        """Labels of the rows to draw; empty for all."""
        return tuple(self.options.get("rows", ()))


def figure_requests(tables: Any) -> tuple[FigureRequest, ...]:
    """Reads the tables ``[[figures]]`` of a study file.

    Raises:
        UnknownName: There is no such kind, or no such option of a kind.
        ConfigError: An option has a wrong value, or two figures have one name.
    """
    if not isinstance(tables, list) or not all(isinstance(each, Mapping) for each in tables):
        raise ConfigError('figures are tables: [[figures]] with kind = "accuracy" below it')
    requests = tuple(_request(table) for table in tables)
    names = [request.name for request in requests]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two figures would be {name}: give one of them a name of its own")
    return requests


def _request(table: Mapping[str, Any]) -> FigureRequest:
    kind = table.get("kind")
    if kind not in KINDS:
        raise UnknownName("kind of a figure", str(kind), KINDS)
    known = FIGURES[kind]
    options = {option.name: option for option in (*COMMON, *known.options)}
    for key, value in table.items():
        if key not in options:
            raise UnknownName(f"option of the figure {kind}", key, options)
        options[key].check(kind, value)
    for option in known.options:
        if option.needed and option.name not in table:
            raise ConfigError(f"the figure {kind} needs {option.name}: {option.text}")
    return FigureRequest(kind=kind, name=_name(known, table), options=dict(table))


def _name(kind: Kind, table: Mapping[str, Any]) -> str:
    """Name of the files: as given, or the kind and what it shows."""
    shown = [str(table[o.name]) for o in kind.options if o.names and o.name in table]
    text = table.get("name") or "-".join([kind.name, *shown])
    return _NAME.sub("-", text).strip("-.")


def require_rows(requests: Sequence[FigureRequest], known: Sequence[str]) -> None:
    """Refuses figures of rows that a study does not have.

    Args:
        requests: The figures.
        known: Labels of the study's rows, controls included.

    Raises:
        UnknownName: A figure names another row.
    """
    for request in requests:
        for label in request.rows:
            # The modalities, after which rows of single ones are named, are those of the data.
            if label not in known and not str(label).endswith("-alone"):
                raise UnknownName(f"row for the figure {request.name}", str(label), known)
