"""The score of each row of a comparison by the noise of the clips, where records have their noise.

The column ``noise`` of a manifest, as that of keypad, is the noise of each clip; the scores of
single samples are those by which the comparison compares its rows.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mmprep.errors import MmprepError
from mmprep.html.charts import Line, grid, lines
from mmprep.html.markup import Markup, note, section, table
from mmtrain.data import open_dataset
from mmtrain.data.records import NOISE, extra_numbers
from mmtrain.errors import MmtrainError
from mmtrain.evaluation.sample_scores import SampleScores, kept_scores
from mmtrain.report.runs.groups import Group, Spread, measures_of
from mmtrain.tasks.measures import MEASURES

# Each has an equal number of samples.
_BINS: Final = 6
# Fewer samples a bin would make lines of chance.
_LEAST: Final = 10
_MOST: Final = 6000
_SPLIT: Final = "test"

Ids = NDArray[np.int64]


def by_noise(groups: Sequence[Group], data: str | None) -> Markup | None:
    """Draws the score by noise, a line a group; None where records or scores of samples lack.

    Args:
        groups: Groups of the page.
        data: Place of the shards, if it is no longer that of the config.
    """
    scored = [(group, each) for group in groups if (each := _scores_of(group))]
    if not scored:
        return None
    group, (first, *_) = scored[0]
    noise = _noise_of(data or group.first.config.data, first.ids)
    measure = MEASURES[measures_of([group])[0]]
    if noise is None or not measure.percent:
        return None
    ranks = np.argsort(np.argsort(noise, kind="stable"), kind="stable")
    bins = ranks * _BINS // len(ranks)
    series = [_line(group, each, first.ids, bins) for group, each in scored]
    text = (
        f"Samples of {_SPLIT} in {_BINS} parts of equal size, from those with the least noise to "
        "those with the most; noise as the records of the samples have it."
    )
    numbers = table(
        ("noise", "samples", *(line.name for line in series)), _rows(noise, bins, series)
    )
    chart = lines(
        f"{measure.title} by noise{measure.unit}",
        series,
        x_name="% of the samples with less noise",
        keyed=True,
        y_span=(0, 100),
    )
    return section("By noise", note(text), grid(chart), numbers, anchor="noise")


def _scores_of(group: Group) -> list[SampleScores]:
    kept = (kept_scores(run.folder, _SPLIT) for run in group.runs)
    return [scores for scores in kept if scores is not None]


def _noise_of(place: str, ids: Ids) -> NDArray[np.float64] | None:
    """Noise of the samples; None where it is unknown or they are too few or too many to read."""
    if not _LEAST * _BINS <= len(ids) <= _MOST:
        return None
    try:
        with open_dataset(place) as dataset:
            noise = extra_numbers(dataset, NOISE, ids[ids < len(dataset)])
    except (MmtrainError, MmprepError, OSError):
        # The shards have moved: the section on curricula says so.
        return None
    if noise is None or len(noise) < len(ids) or not np.isfinite(noise).all():
        return None
    return None if noise.min() == noise.max() else noise


def _line(group: Group, scored: Sequence[SampleScores], ids: Ids, bins: NDArray[np.int64]) -> Line:
    """Mean score in each bin, in percent, over the runs that scored the samples ``ids``."""
    alike = [each.scores for each in scored if np.array_equal(each.ids, ids)]
    spreads = [
        Spread.of(100 * float(scores[bins == place].mean()) for scores in alike)
        for place in range(_BINS)
    ]
    mean, std = (np.array([getattr(each, name) for each in spreads]) for name in ("mean", "std"))
    return Line(
        name=group.label,
        style=group.style,
        x=100 * (np.arange(_BINS) + 0.5) / _BINS,
        y=mean,
        bands=((mean - std, mean + std),) if np.isfinite(std).all() else (),
    )


def _rows(
    noise: NDArray[np.float64], bins: NDArray[np.int64], series: Sequence[Line]
) -> list[tuple[str, ...]]:
    rows = []
    for place in range(_BINS):
        inside = noise[bins == place]
        span = f"{inside.min():.3g} to {inside.max():.3g}"
        rows.append((span, f"{len(inside)}", *(f"{line.y[place]:.1f}" for line in series)))
    return rows
