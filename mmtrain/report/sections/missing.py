"""What is left of the accuracy where modalities are missing."""

from collections.abc import Mapping, Sequence

import numpy as np

from mmtrain.report.charts.lines import Line, edges, grid, lines
from mmtrain.report.markup import Markup, el, folded, join, note, table
from mmtrain.report.runs.groups import Group, Spread
from mmtrain.report.runs.records import Evaluation, Missing


def missing(found: Sequence[tuple[Group, Sequence[Evaluation]]]) -> Markup:
    """A chart for each set of modalities that was taken away at one rate, and all in numbers."""
    if not any(one.missing for _, each in found for one in each):
        modality = found[0][0].modalities[0]
        command = el("code", f"mmtrain eval RUN --missing {modality}=0.3")
        return note("What is left where modalities are missing was not measured: ", command, ".")
    by_set: dict[str, list[Line]] = {}
    for group, each in found:
        for name, line in _lines(group, each).items():
            by_set.setdefault(name, []).append(line)
    every = [edge for series in by_set.values() for line in series for edge in edges(line)]
    span = (
        (min(float(e.min()) for e in every), max(float(e.max()) for e in every)) if every else None
    )
    charts = [
        lines(f"accuracy without {name} (%)", series, x_name="% missing", keyed=True, y_span=span)
        for name, series in by_set.items()
    ]
    said = "Missing modalities: a share of the samples loses them. Bands are over draws of which."
    return join(note(said), grid(*charts), folded("All settings in numbers", _numbers(found)))


def _lines(group: Group, each: Sequence[Evaluation]) -> dict[str, Line]:
    """Modalities taken away to accuracy by rate, in percent; it starts with nothing missing."""
    whole = Spread.of(one.judged.fused.accuracy for one in each).mean
    by_set: dict[str, dict[float, list[Missing]]] = {}
    for setting in (setting for one in each for setting in one.missing):
        gone = {m: p for m, p in setting.rates.items() if p > 0}
        # Of different rates at once there is no one place on the axis.
        if len(set(gone.values())) == 1:
            rate = next(iter(gone.values()))
            by_set.setdefault(" and ".join(gone), {}).setdefault(rate, []).append(setting)
    series = {}
    for name, by_rate in by_set.items():
        rates = sorted(by_rate)
        mean = np.array([whole, *(np.mean([s.mean for s in by_rate[rate]]) for rate in rates)])
        std = np.array([0.0, *(np.mean([s.std for s in by_rate[rate]]) for rate in rates)])
        series[name] = Line(
            name=group.label,
            style=group.style,
            x=100 * np.array([0.0, *rates]),
            y=100 * mean,
            bands=((100 * (mean - std), 100 * (mean + std)),),
        )
    return series


def _numbers(found: Sequence[tuple[Group, Sequence[Evaluation]]]) -> Markup:
    settings = dict.fromkeys(
        _told(s.rates) for _, each in found for one in each for s in one.missing
    )
    rows = [
        (told, *(_accuracy(each, told).told(scale=100) for _, each in found)) for told in settings
    ]
    return table(("missing", *(group.label for group, _ in found)), rows)


def _accuracy(each: Sequence[Evaluation], told: str) -> Spread:
    """Over the runs; each run's value is a mean over draws."""
    return Spread.of(s.mean for one in each for s in one.missing if _told(s.rates) == told)


def _told(rates: Mapping[str, float]) -> str:
    return ", ".join(f"{100 * p:g} % of {m}" for m, p in rates.items())
