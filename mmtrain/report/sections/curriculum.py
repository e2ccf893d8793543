"""The samples that a curriculum showed, and how its scores changed: charts of RUN/scores.h5."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mmprep.errors import MmprepError
from mmprep.html.charts import Line, grid, lines
from mmprep.html.charts import columns as columns_chart
from mmprep.html.markup import Markup, el, join, note, section
from mmtrain.data import ShardedDataset, open_dataset
from mmtrain.data.records import NOISE, extra_numbers
from mmtrain.errors import DataError, MmtrainError
from mmtrain.report.charts.heat import heat
from mmtrain.report.runs import scores
from mmtrain.report.runs.groups import Group
from mmtrain.report.runs.read import RunRecord
from mmtrain.report.sections import samples
from mmtrain.report.sections.terms import score_definitions

Columns = Mapping[str, NDArray[Any]]

_SHARES: Final = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_BINS: Final = 32
_MOST_BARS: Final = 30
_SHOWN: Final = 6
# Records that are read, each with a request of its own.
_MOST_RECORDS: Final = 2000
_POSITIVE: Final = (0.0, np.inf)
# Columns that are no scores.
_NO_SCORES: Final = ("key", "visits", "measured")


def curricula(groups: Sequence[Group], data: str | None) -> Markup:
    """Shows each group whose runs keep scores.

    Args:
        groups: Groups of the page.
        data: Place of the shards, if it is no longer that of the config.

    Raises:
        DataError: A file of scores is damaged.
    """
    parts = [part for group in groups if (part := _part(group, data)) is not None]
    if not parts:
        parts = [note("No run has scores.h5: their curricula keep no scores.")]
    return section("Curriculum", *parts, anchor="curriculum")


def _part(group: Group, data: str | None) -> Markup | None:
    for run in (group.first, *group.runs):
        columns = run.scores()
        if columns:
            break
    else:
        return None
    title = el("h3", f"{group.label}, seed {run.config.seed}")
    n = len(columns["key"])
    text = (
        f"{n:,} samples, {len(columns['visits'])} epochs. The scores of an epoch are those by "
        "which it was ordered. In charts of a score the line is the median, and the areas contain "
        "half, nine tenths and all of the samples."
    )
    if len(group.runs) > 1:
        text += f" One run of {len(group.runs)} is shown, {run.name}."
    head = (title, note(text), score_definitions(columns))
    with ExitStack() as stack:
        shards = _open_shards(run, columns, data, stack)
        charts: list[Markup | None] = [*_score_charts(columns), *_visit_charts(columns)]
        if isinstance(shards, str):
            return join(*head, grid(*charts), note(shards))
        dataset, ids = shards
        charts += [_classes(dataset, ids, columns), _noise(dataset, ids, columns)]
        return join(*head, grid(*charts), _extremes(run, dataset, ids, columns))


def _open_shards(
    run: RunRecord, columns: Columns, data: str | None, stack: ExitStack
) -> tuple[ShardedDataset, NDArray[np.int64]] | str:
    """Opens the shards and finds the id of each scored sample; or explains why that fails."""
    place = data or run.config.data
    try:
        dataset = stack.enter_context(open_dataset(place))
    except (MmtrainError, MmprepError, OSError) as error:
        return (
            f"Classes and pictures of samples are left out: {error}. "
            "If the shards have moved, give their place with --data."
        )
    order = np.argsort(dataset.index.key, kind="stable")
    keys = columns["key"]
    at = np.searchsorted(dataset.index.key, keys, sorter=order).clip(max=len(dataset) - 1)
    ids = order[at]
    if not np.array_equal(np.asarray(dataset.index.key[ids]), keys):
        return (
            f"Classes and pictures of samples are left out: {place} lacks samples that have "
            "scores. Give the place of the right shards with --data."
        )
    return dataset, ids


def _main(columns: Columns) -> str:
    """Name of the column by which the curriculum orders samples."""
    names = [name for name in columns if name not in _NO_SCORES]
    return "score" if "score" in names or not names else names[0]


def _score_charts(columns: Columns) -> list[Markup | None]:
    main = _main(columns)
    names = [n for n in columns if n not in _NO_SCORES and columns[n].dtype.kind in "fiu"]
    names.sort(key=lambda name: name != main)
    charts: list[Markup | None] = [
        _fan(f"{name} by epoch", scores.quantiles(columns[name], _SHARES)) for name in names
    ]
    if main in columns:
        values = columns[main]
        epochs = _epochs(values)
        first = _first(values)
        since = np.array([scores.rank_correlation(first, row) for row in values])
        series = [
            Line(
                name="epoch before",
                style=0,
                x=epochs,
                y=scores.consecutive_correlation(values),
            ),
            Line(name="first scores", style=1, x=epochs, y=since),
        ]
        title = f"rank correlation of each epoch's {main} with ..."
        correlation = lines(title, series, keyed=True, y_span=(0.9, 1), limits=(-1, 1))
        charts += [correlation, _first_and_last(first, values[-1], main)]
    if "measured" in columns:
        ages = scores.quantiles(scores.age(columns["measured"]), _SHARES)
        charts.append(_fan("age of the scores, in epochs", ages, _POSITIVE))
    return charts


def _first(values: NDArray[Any]) -> NDArray[Any]:
    """Scores of the first epoch that has any."""
    rows = np.flatnonzero(np.isfinite(values).any(1))
    first: NDArray[Any] = values[rows[0] if len(rows) else 0]
    return first


def _fan(
    title: str, edges: NDArray[np.float64], limits: tuple[float, float] = (-np.inf, np.inf)
) -> Markup | None:
    """Draws the median as a line, and an area for each pair of quantiles around it."""
    count = edges.shape[1]
    pairs = tuple((edges[:, i], edges[:, count - 1 - i]) for i in range(count // 2))
    epochs = _epochs(edges)
    middle = Line(name="median", style=0, x=epochs, y=edges[:, count // 2], bands=pairs)
    return lines(title, [middle], limits=limits)


def _epochs(rows: NDArray[Any]) -> NDArray[np.float64]:
    """Numbers of the epochs of ``rows``, counted from 1 as on all axes of the page."""
    return np.arange(1, len(rows) + 1, dtype=np.float64)


def _first_and_last(first: NDArray[Any], last: NDArray[Any], name: str) -> Markup:
    counts, edges = scores.joint_histogram(first, last, _BINS)
    dense = np.log1p(counts) / max(float(np.log1p(counts).max()), 1e-9)
    middles = [f"{value:.2f}" for value in (edges[:-1] + edges[1:]) / 2]
    title = f"{name} of each sample in the first and in the last epoch (log of counts)"
    return heat(title, dense, (middles[::-1], middles), ("first epoch", "last epoch"), square=True)


def _visit_charts(columns: Columns) -> list[Markup | None]:
    visits = columns["visits"]
    epochs = _epochs(visits)
    share = [
        Line(name="in this epoch", style=0, x=epochs, y=100 * scores.share_in_epoch(visits)),
        Line(name="so far", style=1, x=epochs, y=100 * scores.share_so_far(visits)),
    ]
    total = visits.sum(0, dtype=np.int64)
    width = -(-(int(total.max()) + 1) // _MOST_BARS)
    counts = np.bincount(total // width)
    bars = {str(i * width): [count] for i, count in enumerate(counts.tolist())}
    x_name = "visits" if width == 1 else f"visits, {width} per bar"
    return [
        lines("samples that were shown (%)", share, keyed=True, y_span=(0, 100)),
        columns_chart("samples by their visits in all epochs", bars, x_name),
    ]


def _classes(dataset: ShardedDataset, ids: NDArray[np.int64], columns: Columns) -> Markup:
    """Draws how much more often than its share each class was shown in each epoch."""
    labels = np.asarray(dataset.targets[ids]).astype(np.int64)
    ratio = scores.balance(columns["visits"], labels, len(dataset.classes))
    with np.errstate(divide="ignore"):
        # From full orange, for half as often or less, to full blue, for twice as often or more.
        shade = np.clip(np.log2(ratio), -1, 1)
    epochs = [str(i + 1) for i in range(ratio.shape[1])]
    title = "visits of a class, relative to its share (blue: twice as many, orange: half)"
    return heat(title, shade, (dataset.classes, epochs), ("class", "epoch"))


def _noise(dataset: ShardedDataset, ids: NDArray[np.int64], columns: Columns) -> Markup | None:
    """Draws how scores follow the noise of the clips, where records have it; see `NOISE`."""
    places = np.arange(len(ids))[:: -(-len(ids) // _MOST_RECORDS)]
    try:
        noise = extra_numbers(dataset, NOISE, ids[places])
    except (DataError, MmprepError) as error:
        return note(f"Scores by noise are left out, because a record cannot be read: {error}.")
    if noise is None:
        return None
    names = [n for n in columns if n not in _NO_SCORES and columns[n].dtype.kind == "f"]
    series = [
        Line(
            name=name,
            style=style,
            x=_epochs(columns[name]),
            y=np.array([scores.rank_correlation(row[places], noise) for row in columns[name]]),
        )
        for style, name in enumerate(names)
    ]
    title = "rank correlation of the scores of each epoch with the noise of the clips"
    return lines(title, series, keyed=True, y_span=(-1, 1), limits=(-1, 1))


def _extremes(
    run: RunRecord, dataset: ShardedDataset, ids: NDArray[np.int64], columns: Columns
) -> Markup:
    """Shows pictures of the samples with the lowest scores of the last epoch."""
    titles = {
        _main(columns): "Hardest: the lowest {name} of the last epoch",
        "similarity": "Most imbalanced: the modalities agree the least",
    }
    parts: list[Markup] = []
    for name, title in titles.items():
        if name not in columns or not np.isfinite(columns[name][-1]).any():
            continue
        values = np.where(np.isfinite(columns[name][-1]), columns[name][-1], np.inf)
        places = np.argsort(values, kind="stable")[:_SHOWN]
        captions = [_caption(columns, int(place)) for place in places]
        try:
            pictures = samples.gallery(dataset, run.config.modalities, ids[places], captions)
        except (DataError, MmprepError) as error:
            pictures = note(f"Pictures are left out, because a sample cannot be read: {error}.")
        parts.append(join(el("h3", title.format(name=name)), pictures))
    return join(*parts)


def _caption(columns: Columns, place: int) -> str:
    values = [
        f"{name} {columns[name][-1, place]:.3f}"
        for name in columns
        if name not in _NO_SCORES and columns[name].dtype.kind == "f"
    ]
    return ", ".join([*values, f"{columns['visits'][:, place].sum():,} visits"])
