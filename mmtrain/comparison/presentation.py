"""How a comparison is shown and repeated: what its outputs need besides its runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from mmtrain.comparison.figures.request import FigureRequest
from mmtrain.errors import UnknownName
from mmtrain.tasks.task import Task

CHANCE: Final = "chance"
ALONE: Final = "alone"
ENSEMBLE: Final = "ensemble"
CONTROLS: Final = (CHANCE, ALONE, ENSEMBLE)
# The rows of the control: what needs no training at all.
MAJORITY: Final = "majority class"
UNIFORM: Final = "uniform chance"
MEDIAN: Final = "median score"


@dataclass(frozen=True, kw_only=True)
class Presentation:
    """Texts, columns and figures of a comparison, and the request that made it.

    Attributes:
        title: Title of its table.
        source: Table or figure that it follows.
        differs: Differences from the protocol of that source.
        show: Measures in the table; empty for all of the task.
        figures: Figures to draw.
        chance: Whether chance has rows in the table.
        titles: Label of a row to its name for readers, where that is another.
        values: Label of a row to the options and settings that it alone has.
        request: Options of the command line besides the study, by which it can be repeated.
    """

    title: str = ""
    source: str = ""
    differs: str = ""
    show: tuple[str, ...] = ()
    figures: Sequence[FigureRequest] = ()
    chance: bool = False
    titles: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    request: Mapping[str, Any] = field(default_factory=dict)

    def require_task(self, task: Task) -> None:
        """Refuses what a task cannot show, before anything is trained.

        Raises:
            UnknownName: It has no such measure.
        """
        for name in self.show:
            if name not in task.measured:
                raise UnknownName(f"measure of {task.name} for show", name, task.measured)
