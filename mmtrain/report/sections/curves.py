"""What is drawn over epochs: measures, what the method logged, speed."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from mmtrain.report.charts.lines import Line, edges, grid, legend, lines
from mmtrain.report.markup import Markup, note, section
from mmtrain.report.runs.groups import Group, Spread, modalities_of
from mmtrain.report.runs.records import FUSED, MEASURES, Epoch

Pick = Callable[[Epoch], float | None]
_ANY: Final = (-np.inf, np.inf)
_PERCENT: Final = (0.0, 100.0)
_POSITIVE: Final = (0.0, np.inf)


def over_epochs(
    group: Group, pick: Pick, name: str, number: int, limits: tuple[float, float] = _ANY
) -> Line:
    """Mean of the group's runs at each epoch, with a band of one standard deviation.

    Args:
        group: The runs.
        pick: The value of an epoch.
        name: Of the line.
        number: Of its colour.
        limits: What values cannot pass, and so the band does not.
    """
    found: dict[int, list[float]] = {}
    for run in group.runs:
        for epoch in run.epochs:
            value = pick(epoch)
            if value is not None:
                found.setdefault(epoch.epoch, []).append(value)
    spreads = [Spread.of(found[epoch]) for epoch in sorted(found)]
    mean = np.array([spread.mean for spread in spreads])
    std = np.array([spread.std for spread in spreads])
    band = (np.clip(mean - std, *limits), np.clip(mean + std, *limits))
    return Line(
        name=name,
        style=number,
        x=np.array(sorted(found), float) + 1,
        y=mean,
        bands=(band,) if np.isfinite(std).any() else (),
    )


def measures(groups: Sequence[Group]) -> Markup:
    """Losses, accuracy and mAP by epoch."""
    heads = [FUSED, *modalities_of(groups)]
    charts: list[Markup | None] = [
        _each("loss, train", groups, lambda epoch: epoch.train_loss),
        _each("loss, val", groups, _val_loss),
    ]
    alone = groups[0] if len(groups) == 1 else None
    for measure in ("accuracy", "map"):
        title = f"{MEASURES[measure]}, val (%)"
        if alone:
            own = [
                over_epochs(alone, _measured(measure, head), head, i, _PERCENT)
                for i, head in enumerate(heads)
            ]
            charts.append(lines(title, own))
        else:
            charts += _by_head(title, groups, measure, heads)
    charts.append(_each("learning rate", groups, lambda epoch: epoch.lr))
    colours = [(head, i) for i, head in enumerate(heads)] if alone else _names(groups)
    said = "A modality alone: by its own logits. " if len(heads) > 2 else ""
    if any(len(group.runs) > 1 for group in groups):
        said += "Lines are means over seeds; bands are one standard deviation."
    if not any(epoch.val for group in groups for run in group.runs for epoch in run.epochs):
        said += "There is no val split, and so nothing was measured by epoch."
    return section("curves", "Curves", note(said), legend(colours), grid(*charts))


def logged(groups: Sequence[Group]) -> Markup:
    """What each method told of itself: names with the same first part share a chart."""
    charts: list[Markup | None] = []
    silent = []
    for group in groups:
        told = [epoch.logged for run in group.runs for epoch in run.epochs]
        by_quantity: dict[str, list[str]] = {}
        for name in dict.fromkeys(name for names in told for name in names):
            by_quantity.setdefault(name.partition(".")[0], []).append(name)
        if not by_quantity:
            silent.append(group.label)
            continue
        whose = f": {group.label}" if len(groups) > 1 else ""
        for what, names in by_quantity.items():
            charts.append(_quantity(group, f"{what}{whose}", names))
    said = "Means over the steps of an epoch of what the method computes as it trains. "
    none = f"Nothing is logged by {', '.join(silent)}." if silent else None
    return section(
        "method",
        "What the method did",
        note(said if charts else None, none),
        grid(*charts),
    )


def speed(groups: Sequence[Group]) -> Markup:
    """Samples a second, seconds, and what of them went into waiting for data."""
    return section(
        "speed",
        "Throughput",
        note("Of training alone; evaluation and scoring passes are not counted."),
        legend(_names(groups)),
        grid(
            _each("samples a second", groups, lambda epoch: epoch.samples_per_s, _POSITIVE),
            _each("seconds an epoch", groups, lambda epoch: epoch.seconds, _POSITIVE),
            _each("waiting for data (% of the time)", groups, _waiting, _PERCENT),
        ),
    )


def _val_loss(epoch: Epoch) -> float | None:
    return None if epoch.val is None else epoch.val.fused.loss


def _waiting(epoch: Epoch) -> float:
    return 100 * epoch.data_wait


def _each(
    title: str, groups: Sequence[Group], pick: Pick, limits: tuple[float, float] = _ANY
) -> Markup | None:
    """One line a group; the axis begins where values cannot be lower."""
    series = [over_epochs(group, pick, group.label, group.style, limits) for group in groups]
    return lines(title, series, y_span=(limits[0], limits[0]) if limits != _ANY else None)


def _by_head(
    title: str, groups: Sequence[Group], measure: str, heads: Sequence[str]
) -> list[Markup | None]:
    """One chart a head, on axes alike, so that heads can be compared."""
    drawn = {
        head: [over_epochs(g, _measured(measure, head), g.label, g.style, _PERCENT) for g in groups]
        for head in heads
    }
    every = np.concatenate([e for series in drawn.values() for line in series for e in edges(line)])
    every = every[np.isfinite(every)]
    if not len(every):
        return []
    span = (float(every.min()), float(every.max()))
    return [
        lines(f"{title}, {head if head == FUSED else f'{head} alone'}", series, y_span=span)
        for head, series in drawn.items()
    ]


def _quantity(group: Group, title: str, names: Sequence[str]) -> Markup | None:
    def pick(name: str) -> Pick:
        return lambda epoch: epoch.logged.get(name)

    series = [
        over_epochs(group, pick(name), name.partition(".")[2] or name, i)
        for i, name in enumerate(names)
    ]
    return lines(title, series, keyed=len(names) > 1 or "." in names[0])


def _measured(measure: str, head: str) -> Pick:
    """In percent."""

    def pick(epoch: Epoch) -> float | None:
        said = None if epoch.val is None else epoch.val.head(head)
        return None if said is None else 100 * float(getattr(said, measure))

    return pick


def _names(groups: Sequence[Group]) -> list[tuple[str, int]]:
    return [(group.label, group.style) for group in groups]
