"""What figures need of a study, as far as its file shows; the rest is seen when they are drawn."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmtrain.comparison.figures.parameters import (
    chosen_parameters,
    numeric_parameters,
    of_grid,
)
from mmtrain.comparison.figures.request import FigureRequest, require_rows
from mmtrain.errors import ConfigError, UnknownName
from mmtrain.methods.catalog import METHODS
from mmtrain.tasks.measures import MEASURES

_STAGES = "stage_epochs"


def require_drawable(
    requests: Sequence[FigureRequest],
    rows: Mapping[str, Mapping[str, Any]],
    controls: Sequence[str],
    tune: Mapping[str, Sequence[Any]],
) -> None:
    """Refuses figures whose data no run of the study can have.

    Args:
        requests: The figures.
        rows: Label of each row of the study to its options and settings.
        controls: Labels of rows of controls, as far as the study names them.
        tune: Setting to the values of the grid.

    Raises:
        ConfigError: The message names the figure, and what it lacks.
    """
    require_rows(requests, (*rows, *controls))
    for request in requests:
        measure = request.options.get("measure")
        if measure is not None and measure not in MEASURES:
            raise UnknownName(f"measure for the figure {request.name}", measure, MEASURES)
        if request.kind == "sweep":
            _require_parameters(request, [*rows.values()], tune)
        if request.kind == "stages" and not any(map(_may_have_stages, rows.values())):
            raise ConfigError(
                f"the figure {request.name} needs a row whose method trains in stages, such as igm"
            )
        single = all(len(row.get("modalities", ())) == 1 for row in rows.values())
        if request.kind in ("modalities", "discrepancy") and single:
            raise ConfigError(f"the figure {request.name} needs a row with several modalities")


def _require_parameters(
    request: FigureRequest, rows: Sequence[Mapping[str, Any]], tune: Mapping[str, Sequence[Any]]
) -> None:
    if of_grid(request, rows, bool(tune)):
        chosen_parameters(request, [*tune])
    else:
        chosen_parameters(request, numeric_parameters(rows))


def _may_have_stages(row: Mapping[str, Any]) -> bool:
    """Whether a row's method takes turns; that of a plug-in may."""
    name = str(row.get("method", "joint"))
    if name not in METHODS.names:
        return True
    return any(parameter.name == _STAGES for parameter in METHODS.explain(name).parameters)
