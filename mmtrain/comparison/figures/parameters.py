"""Parameters by which the rows of a study, or the points of its grid, form a line or a plane."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mmtrain.comparison.figures.request import FigureRequest
from mmtrain.errors import ConfigError, UnknownName

# Rows that give no value to a parameter are drawn as levels.
_MOST: Final = 2


def is_number(value: object) -> bool:
    """Whether a value can lie on an axis."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def numeric_parameters(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Keys that have two numbers or more among the rows, in their first order."""
    keys = dict.fromkeys(key for row in rows for key in row)
    values = {key: [row[key] for row in rows if key in row] for key in keys}
    return [
        key
        for key, each in values.items()
        if all(map(is_number, each)) and len({float(v) for v in each}) > 1
    ]


def chosen_parameters(request: FigureRequest, known: Sequence[str]) -> list[str]:
    """The one or two parameters of a sweep: as asked for, or all that there are.

    Args:
        request: The figure.
        known: Names of the parameters that there are.

    Raises:
        UnknownName: It asks for another parameter.
        ConfigError: There is none, or more than two and none is asked for.
    """
    asked = [str(request.options[axis]) for axis in ("x", "y") if axis in request.options]
    for name in asked:
        if name not in known:
            raise UnknownName(f"parameter for the figure {request.name}", name, known)
    if asked:
        return asked
    if not known:
        raise ConfigError(
            f"the figure {request.name} needs rows that differ in one or two numbers, such as "
            '"method.alpha" = [0.1, 0.3] in [rows], or a grid [tune]'
        )
    if len(known) > _MOST:
        raise ConfigError(
            f"the figure {request.name} shows one or two of {', '.join(known)}: name them as x "
            "and y"
        )
    return [*known]


def of_grid(request: FigureRequest, rows: Sequence[Mapping[str, Any]], tuned: bool) -> bool:
    """Whether a sweep is of the points of the grid, and not of the rows."""
    of = request.options.get("of")
    return of == "tune" if of else tuned and not numeric_parameters(rows)
