"""Charts over epochs: measures, quantities that methods log, speed."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from mmprep.html.charts import Line, edges, grid, legend, lines
from mmprep.html.markup import Markup, note, section
from mmtrain.report.runs.groups import Group, Spread, measures_of, modalities_of
from mmtrain.report.runs.records import FUSED, Epoch
from mmtrain.report.sections.terms import definitions
from mmtrain.tasks.measures import MEASURES

Pick = Callable[[Epoch], float | None]
_ANY: Final = (-np.inf, np.inf)
_PERCENT: Final = (0.0, 100.0)
_POSITIVE: Final = (0.0, np.inf)


def over_epochs(
    group: Group, pick: Pick, name: str, style: int, limits: tuple[float, float] = _ANY
) -> Line:
    """Mean over a group's runs at each epoch, with a band of one standard deviation.

    Args:
        group: Runs to average.
        pick: Value of an epoch; None where the run has no such value.
        name: Name of the line.
        style: Number of the line's colour and dashes.
        limits: Values that the quantity cannot pass; the band ends there.
    """
    by_epoch: dict[int, list[float]] = {}
    for run in group.runs:
        for epoch in run.epochs:
            value = pick(epoch)
            if value is not None:
                by_epoch.setdefault(epoch.epoch, []).append(value)
    spreads = [Spread.of(by_epoch[epoch]) for epoch in sorted(by_epoch)]
    mean = np.array([spread.mean for spread in spreads])
    std = np.array([spread.std for spread in spreads])
    band = (np.clip(mean - std, *limits), np.clip(mean + std, *limits))
    return Line(
        name=name,
        style=style,
        x=np.array(sorted(by_epoch), float) + 1,
        y=mean,
        bands=(band,) if np.isfinite(std).any() else (),
    )


def measures(groups: Sequence[Group]) -> Markup:
    """Draws losses, the first two measures and the learning rate by epoch."""
    heads = [FUSED, *modalities_of(groups)]
    single = groups[0] if len(groups) == 1 else None
    charts = [*_train_losses(groups), _by_group("loss, val", groups, _val_loss)]
    names = measures_of(groups)
    for measure in [name for name in names if MEASURES[name].chooses][:2]:
        title = f"{MEASURES[measure].title}, val{MEASURES[measure].unit}"
        if single:
            limits = _limits(measure)
            by_head = [
                over_epochs(single, _measured(measure, head), _head_name(head), i, limits)
                for i, head in enumerate(heads)
            ]
            charts.append(lines(title, by_head, limits=limits))
        else:
            charts += _by_head(title, groups, measure, heads)
    charts.append(_by_group("learning rate", groups, lambda epoch: epoch.lr))
    texts = []
    if len(heads) > 2:
        texts.append("Own logits: the run's prediction from that modality only.")
    if len(_methods(groups)) > 1:
        texts.append(
            "Each method has its own chart of the training loss, for methods minimise different "
            f"sums of terms; the loss on val is the {_loss(names)} of the fused predictions for "
            "all."
        )
    if any(len(group.runs) > 1 for group in groups):
        texts.append("Lines are means over seeds; bands are one standard deviation.")
        if len(groups) > 3:
            texts.append("With more than three lines, point at a line to see its band.")
    if not any(epoch.val for group in groups for run in group.runs for epoch in run.epochs):
        texts.append("There is no val split, and so nothing was measured by epoch.")
    keys = [(_head_name(head), i) for i, head in enumerate(heads)] if single else _names(groups)
    return section("Curves", note(" ".join(texts)), legend(keys), grid(*charts), anchor="curves")


def logged_quantities(groups: Sequence[Group]) -> Markup:
    """Draws what each method logs; quantities with a name for each modality share a chart."""
    charts: list[Markup | None] = []
    silent = []
    quantities: dict[str, None] = {}
    for group in groups:
        logged = [epoch.logged for run in group.runs for epoch in run.epochs]
        by_quantity: dict[str, list[str]] = {}
        for name in dict.fromkeys(name for names in logged for name in names):
            by_quantity.setdefault(name.partition(".")[0], []).append(name)
        if not by_quantity:
            silent.append(group.label)
            continue
        owner = f": {group.label}" if len(groups) > 1 else ""
        for quantity, names in by_quantity.items():
            charts.append(_quantity(group, f"{quantity}{owner}", names))
        quantities |= dict.fromkeys(by_quantity)
    text = "Quantities that the method computes while it trains, averaged over the steps of an "
    text += "epoch. "
    nothing = f"Nothing is logged by {', '.join(silent)}." if silent else None
    return section(
        "Inside the method",
        note(text if charts else None, nothing),
        definitions(quantities),
        grid(*charts),
        anchor="method",
    )


def speed(groups: Sequence[Group]) -> Markup:
    """Draws samples per second, seconds per epoch, and the share of them spent on waiting."""
    return section(
        "Throughput",
        note(
            "Training only; evaluation and scoring passes are not counted. Processor, memory and "
            "reading are those of the first rank."
        ),
        legend(_names(groups)),
        grid(
            _by_group(
                "samples per second", groups, lambda epoch: epoch.samples_per_s, from_zero=True
            ),
            _by_group("seconds per epoch", groups, lambda epoch: epoch.seconds, from_zero=True),
            _by_group(
                "waiting for data (% of the time)", groups, _waiting, _PERCENT, from_zero=True
            ),
            *_system(groups),
        ),
        anchor="speed",
    )


def _system(groups: Sequence[Group]) -> list[Markup | None]:
    """Draws what the first rank used of its machine, where the runs have noted it."""

    def picker(name: str, scale: float) -> Pick:
        def pick(epoch: Epoch) -> float | None:
            value = epoch.system.get(name)
            return None if value is None else scale * value

        return pick

    used = [e.system.get("gpu_memory_mb", 0.0) for g in groups for r in g.runs for e in r.epochs]
    titles = {
        "cpu": ("processor (% of the cores)", 100.0),
        "memory_mb": ("main memory (GB)", 1e-3),
        **({"gpu_memory_mb": ("GPU memory, peak (GB)", 1e-3)} if any(used) else {}),
        "read_mb_per_s": ("read (MB/s)", 1.0),
    }
    return [
        _by_group(title, groups, picker(name, scale), from_zero=True)
        for name, (title, scale) in titles.items()
    ]


def _train_losses(groups: Sequence[Group]) -> list[Markup | None]:
    """Draws one chart a method: a sum of three losses must not lie on the axis of a single one."""
    by_method = _methods(groups)
    return [
        _by_group(
            f"loss, train, {method}" if len(by_method) > 1 else "loss, train",
            same,
            lambda epoch: epoch.train_loss,
            _ANY,
        )
        for method, same in by_method.items()
    ]


def _limits(measure: str) -> tuple[float, float]:
    """Values that a measure cannot pass, as it is drawn."""
    return _PERCENT if MEASURES[measure].percent else _ANY


def _loss(names: Sequence[str]) -> str:
    return "mean absolute error" if "mae" in names else "cross-entropy"


def _methods(groups: Sequence[Group]) -> dict[str, list[Group]]:
    by_method: dict[str, list[Group]] = {}
    for group in groups:
        by_method.setdefault(group.first.config.method, []).append(group)
    return by_method


def _val_loss(epoch: Epoch) -> float | None:
    return None if epoch.val is None else epoch.val.fused.loss


def _waiting(epoch: Epoch) -> float:
    return 100 * epoch.data_wait


def _by_group(
    title: str,
    groups: Sequence[Group],
    pick: Pick,
    limits: tuple[float, float] = _POSITIVE,
    *,
    from_zero: bool = False,
) -> Markup | None:
    """Draws one line a group.

    Args:
        title: Title of the chart.
        groups: Groups to draw.
        pick: Value of an epoch.
        limits: Values that the quantity cannot pass.
        from_zero: Whether the vertical axis begins at 0, for quantities that are read as lengths.
    """
    series = [over_epochs(group, pick, group.label, group.style, limits) for group in groups]
    return lines(title, series, y_span=(0.0, 0.0) if from_zero else None, limits=limits)


def _by_head(
    title: str, groups: Sequence[Group], measure: str, heads: Sequence[str]
) -> list[Markup | None]:
    """Draws a chart for fused predictions and for each modality, on axes that are equal."""
    limits = _limits(measure)
    by_head = {
        head: [over_epochs(g, _measured(measure, head), g.label, g.style, limits) for g in groups]
        for head in heads
    }
    every = np.concatenate(
        [edge for series in by_head.values() for line in series for edge in edges(line)]
    )
    every = every[np.isfinite(every)]
    if not len(every):
        return []
    span = (float(every.min()), float(every.max()))
    return [
        lines(f"{title}, {_head_name(head)}", series, y_span=span, limits=limits)
        for head, series in by_head.items()
    ]


def _quantity(group: Group, title: str, names: Sequence[str]) -> Markup | None:
    def pick(name: str) -> Pick:
        return lambda epoch: epoch.logged.get(name)

    logged = [epoch.logged for run in group.runs for epoch in run.epochs]
    values = [value for each in logged for name, value in each.items() if name in names]
    # A norm or a probability is never negative, and its band must not suggest that it could be.
    limits = _POSITIVE if all(value >= 0 for value in values) else _ANY
    series = [
        over_epochs(group, pick(name), name.partition(".")[2] or name, i, limits)
        for i, name in enumerate(names)
    ]
    return lines(title, series, keyed=len(names) > 1 or "." in names[0], limits=limits)


def _measured(measure: str, head: str) -> Pick:
    """Returns the function that reads a measure of val, as it is drawn, from an epoch."""

    def pick(epoch: Epoch) -> float | None:
        measures = None if epoch.val is None else epoch.val.head(head)
        return None if measures is None else MEASURES[measure].scale * measures.value(measure)

    return pick


def _head_name(head: str) -> str:
    return head if head == FUSED else f"own logits of {head}"


def _names(groups: Sequence[Group]) -> list[tuple[str, int]]:
    return [(group.label, group.style) for group in groups]
