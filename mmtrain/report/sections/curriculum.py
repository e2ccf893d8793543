"""What the curriculum showed, and how its scores moved: RUN/scores.h5 as pictures."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mmprep.errors import MmprepError
from mmtrain.data import ShardedDataset, open_dataset
from mmtrain.errors import DataError, MmtrainError
from mmtrain.report.charts.heat import heat
from mmtrain.report.charts.lines import Line, bars, grid, lines
from mmtrain.report.markup import Markup, el, join, note, section
from mmtrain.report.runs import scores
from mmtrain.report.runs.groups import Group
from mmtrain.report.runs.read import RunRecord
from mmtrain.report.sections import samples

Columns = Mapping[str, NDArray[Any]]

_SHARES: Final = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_BINS: Final = 32
_MOST_BARS: Final = 30
_SHOWN: Final = 6
# What is no score by itself, but says something of one.
_ABOUT: Final = ("key", "visits", "measured")


def curricula(groups: Sequence[Group], data: str | None) -> Markup:
    """One part for each group whose runs keep scores.

    Args:
        groups: All of them.
        data: Where the shards are, if they have moved.

    Raises:
        DataError: A file of scores is damaged.
    """
    parts = [part for group in groups if (part := _part(group, data)) is not None]
    if not parts:
        parts = [note("No run has scores.h5: their curricula keep no scores.")]
    return section("curriculum", "Curriculum", *parts)


def _part(group: Group, data: str | None) -> Markup | None:
    for run in (group.first, *group.runs):
        columns = run.scores()
        if columns:
            break
    else:
        return None
    title = el("h3", f"{group.label}, seed {run.config.seed}")
    n = len(columns["key"])
    said = f"{n:,} samples, {len(columns['visits'])} epochs. Scores are those each epoch went by; "
    said += "areas hold half, nine tenths and all of the samples."
    if len(group.runs) > 1:
        said += f" One run of {len(group.runs)} is shown, {run.name}."
    with ExitStack() as stack:
        found = _opened(run, columns, data, stack)
        charts: list[Markup | None] = [*_scores(columns), *_shown(columns)]
        if isinstance(found, str):
            return join(title, note(said), grid(*charts), note(found))
        dataset, ids = found
        charts.append(_classes(dataset, ids, columns))
        return join(title, note(said), grid(*charts), _extremes(run, dataset, ids, columns))


def _opened(
    run: RunRecord, columns: Columns, data: str | None, stack: ExitStack
) -> tuple[ShardedDataset, NDArray[np.int64]] | str:
    """The shards and the id of each row of scores; or why they cannot be shown."""
    place = data or run.config.data
    try:
        dataset = stack.enter_context(open_dataset(place))
    except (MmtrainError, MmprepError, OSError) as error:
        return (
            f"Classes and pictures of samples are left out: {error}. "
            "If the shards have moved, --data says where they are."
        )
    order = np.argsort(dataset.index.key, kind="stable")
    keys = columns["key"]
    at = np.searchsorted(dataset.index.key, keys, sorter=order).clip(max=len(dataset) - 1)
    ids = order[at]
    if not np.array_equal(np.asarray(dataset.index.key[ids]), keys):
        return (
            f"Classes and pictures of samples are left out: {place} lacks samples that the scores "
            "are of. --data says where the right shards are."
        )
    return dataset, ids


def _main(columns: Columns) -> str:
    """The column that the order goes by."""
    names = [name for name in columns if name not in _ABOUT]
    return "score" if "score" in names or not names else names[0]


def _scores(columns: Columns) -> list[Markup | None]:
    main = _main(columns)
    names = [n for n in columns if n not in _ABOUT and columns[n].dtype.kind in "fiu"]
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
            Line(name="the epoch before", style=0, x=epochs, y=scores.consecutive(values)),
            Line(name="the first scores", style=1, x=epochs, y=since),
        ]
        drawn = lines(f"rank correlation of the {main} with", series, keyed=True, y_span=(0.9, 1))
        charts += [drawn, _moves(first, values[-1], main)]
    if "measured" in columns:
        ages = scores.quantiles(scores.age(columns["measured"]), _SHARES)
        charts.append(_fan("age of the scores, in epochs", ages))
    return charts


def _first(values: NDArray[Any]) -> NDArray[Any]:
    """The first row that has a score."""
    rows = np.flatnonzero(np.isfinite(values).any(1))
    found: NDArray[Any] = values[rows[0] if len(rows) else 0]
    return found


def _fan(title: str, edges: NDArray[np.float64]) -> Markup | None:
    """The median as a line, and an area for each pair of quantiles around it."""
    count = edges.shape[1]
    pairs = tuple((edges[:, i], edges[:, count - 1 - i]) for i in range(count // 2))
    epochs = _epochs(edges)
    middle = Line(name="median", style=0, x=epochs, y=edges[:, count // 2], bands=pairs)
    return lines(title, [middle])


def _epochs(rows: NDArray[Any]) -> NDArray[np.float64]:
    """Numbers of the epochs that ``rows`` are of, as people count."""
    return np.arange(1, len(rows) + 1, dtype=np.float64)


def _moves(first: NDArray[Any], last: NDArray[Any], name: str) -> Markup:
    counts, edges = scores.moved(first, last, _BINS)
    dense = np.log1p(counts) / max(float(np.log1p(counts).max()), 1e-9)
    middles = [f"{value:.2f}" for value in (edges[:-1] + edges[1:]) / 2]
    title = f"{name}, first against last (samples, log)"
    return heat(title, dense, (middles[::-1], middles), ("first", "last"), square=True)


def _shown(columns: Columns) -> list[Markup | None]:
    visits = columns["visits"]
    epochs = _epochs(visits)
    share = [
        Line(name="in this epoch", style=0, x=epochs, y=100 * scores.in_use(visits)),
        Line(name="so far", style=1, x=epochs, y=100 * scores.seen(visits)),
    ]
    total = visits.sum(0, dtype=np.int64)
    width = -(-(int(total.max()) + 1) // _MOST_BARS)
    counts = np.bincount(total // width)
    names = [str(i * width) for i in range(len(counts))]
    x_name = "visits" if width == 1 else f"visits, {width} a bar"
    return [
        lines("samples that were shown (%)", share, keyed=True, y_span=(0, 100)),
        bars("samples by their visits in all epochs", names, counts.tolist(), x_name),
    ]


def _classes(dataset: ShardedDataset, ids: NDArray[np.int64], columns: Columns) -> Markup:
    """Which classes each epoch showed more than their share."""
    labels = np.asarray(dataset.targets[ids]).astype(np.int64)
    ratio = scores.balance(columns["visits"], labels, len(dataset.classes))
    with np.errstate(divide="ignore"):
        # Twice as often is full blue, half as often or less full orange.
        shade = np.clip(np.log2(ratio), -1, 1)
    epochs = [str(i + 1) for i in range(ratio.shape[1])]
    title = "share of visits over share of samples (blue: twice, orange: half)"
    return heat(title, shade, (dataset.classes, epochs), ("class", "epoch"))


def _extremes(
    run: RunRecord, dataset: ShardedDataset, ids: NDArray[np.int64], columns: Columns
) -> Markup:
    """Pictures of the samples at the far ends of the last scores."""
    asked = {
        _main(columns): "Hardest: the lowest {name} of the last epoch",
        "similarity": "Most imbalanced: the modalities agree least",
    }
    parts: list[Markup] = []
    for name, title in asked.items():
        if name not in columns or not np.isfinite(columns[name][-1]).any():
            continue
        values = np.where(np.isfinite(columns[name][-1]), columns[name][-1], np.inf)
        places = np.argsort(values, kind="stable")[:_SHOWN]
        captions = [_caption(columns, int(place)) for place in places]
        try:
            shown = samples.gallery(dataset, run.config.modalities, ids[places], captions)
        except (DataError, MmprepError) as error:
            shown = note(f"Pictures are left out, for a sample cannot be read: {error}.")
        parts.append(join(el("h3", title.format(name=name)), shown))
    return join(*parts)


def _caption(columns: Columns, place: int) -> str:
    said = [
        f"{name} {columns[name][-1, place]:.3f}"
        for name in columns
        if name not in _ABOUT and columns[name].dtype.kind == "f"
    ]
    return ", ".join([*said, f"{columns['visits'][:, place].sum():,} visits"])
