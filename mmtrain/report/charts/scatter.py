"""A chart of predicted scores over true ones."""

from collections.abc import Sequence

import numpy as np

from mmprep.html.charts import (
    FOOT,
    PLOT,
    TOP,
    Frame,
    axes,
    chart,
    span,
    style,
    svg,
    ticks,
)
from mmprep.html.markup import Markup, el


def scatter(title: str, true: Sequence[float], predicted: Sequence[float], number: int) -> Markup:
    """Draws a point for each sample, and the line on which predictions are right.

    Args:
        title: Title of the chart.
        true: True score of each sample, on the horizontal axis.
        predicted: Predicted score of each sample, on the vertical axis.
        number: Number of the points' style.
    """
    bounds = span([np.asarray(true, float), np.asarray(predicted, float)])
    frame = Frame(bounds, bounds)
    (left, right), (top, foot) = map(frame.left, bounds), map(frame.top, bounds[::-1])
    right_line = el("line", x1=left, x2=right, y1=foot, y2=top, class_="rule")
    # Below the points, without a name each: there may be thousands.
    points = (
        el("circle", cx=frame.left(t), cy=frame.top(p), r=2.2, class_=f"bar {style(number)}")
        for t, p in zip(true, predicted, strict=True)
    )
    body = [*axes(frame, "true score", x_ticks=ticks(bounds, 8, whole=False)), right_line, *points]
    return chart(title, svg(body, title, TOP + PLOT + FOOT))
