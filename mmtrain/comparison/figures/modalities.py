"""The measure of all modalities together and of each modality's own logits, by row."""

from collections.abc import Sequence
from typing import Any, Final

from matplotlib.axes import Axes

from mmtrain.comparison.figures.drawing import Drawing
from mmtrain.comparison.figures.request import FigureRequest
from mmtrain.comparison.figures.study_data import NothingToDraw, Spread, StudyData
from mmtrain.comparison.figures.style import BLACK, COLOURS, blank, height_of
from mmtrain.tasks.measures import MEASURES

FUSED: Final = "fused"
_MARKS: Final = ("o", "s", "^", "D", "v", "P")


def draw(study: StudyData, request: FigureRequest) -> Drawing:
    """Draws a line of the figure for each row, with a mark for each of its measures."""
    name = study.measure(request)
    measure = MEASURES[name]
    rows = [row for row in study.with_runs(request) if row.results(name)]
    heads = [FUSED, *dict.fromkeys(m for row in rows for m in row.modalities)]
    if len(heads) < 3:
        raise NothingToDraw("its rows have a single modality")
    figure = blank(str(request.options.get("width", "column")), height_of(len(rows), 0.75))
    place = figure.subplots()
    for height, row in enumerate(rows):
        points = [
            (i, Spread.of([measure.scale * value for value in values]))
            for i, head in enumerate(heads)
            if (values := row.results(name, None if head == FUSED else head))
            # The one modality of such a row is all that there is to fuse.
            and not (head == FUSED and len(row.modalities) == 1)
        ]
        _draw(place, height, points)
    for i, head in enumerate(heads):
        label = head if head == FUSED else f"own logits of {head}"
        place.plot([], [], _MARKS[i % len(_MARKS)], **_look(i), label=label)
    place.set_yticks(range(len(rows)), [row.label for row in rows])
    place.set_ylim(len(rows) - 0.4, -0.6)
    place.set_xlabel(f"{measure.title}{measure.unit}")
    place.grid(axis="x")
    figure.legend(loc="outside lower center", ncols=min(3, len(heads)), handlelength=1)
    text = f"{measure.title[:1].upper()}{measure.title[1:]} of the fused prediction and of each "
    return Drawing(
        figure,
        f"{text}modality's own logits: mean over seeds, lines of one standard deviation each way.",
    )


def _draw(place: Axes, height: int, points: Sequence[tuple[int, Spread]]) -> None:
    means = [spread.mean for _, spread in points]
    place.plot([min(means), max(means)], [height, height], color="#CCCCCC", linewidth=1)
    for i, spread in points:
        # A little below each other, or deviations cover each other.
        level = height + 0.16 * (i - 1) if len(points) > 1 else height
        place.plot(
            [spread.mean - spread.std, spread.mean + spread.std],
            [level, level],
            color=_colour(i),
            linewidth=0.8,
        )
        place.plot(spread.mean, level, _MARKS[i % len(_MARKS)], **_look(i))


def _colour(number: int) -> str:
    return (BLACK, *COLOURS)[number % (1 + len(COLOURS))]


def _look(number: int) -> dict[str, Any]:
    colour = _colour(number)
    return {"color": colour, "markerfacecolor": colour if number == 0 else "white"}
