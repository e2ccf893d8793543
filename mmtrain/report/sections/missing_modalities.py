"""The first measure where some samples lack modalities, as `mmtrain eval --missing` measures it."""

from collections.abc import Mapping, Sequence

import numpy as np

from mmprep.html.charts import Line, edges, grid, lines
from mmprep.html.markup import Markup, el, folded, join, note, table
from mmtrain.report.runs.groups import Group, Spread
from mmtrain.report.runs.records import Evaluation, MissingSetting
from mmtrain.tasks.measures import MEASURES, shown

Evaluated = Sequence[tuple[Group, Sequence[Evaluation]]]


def missing_modalities(evaluated: Evaluated) -> Markup:
    """Draws a chart for each set of modalities that is removed at one rate; lists all settings.

    Args:
        evaluated: Groups, each with the evaluations of its runs.
    """
    by_measure: dict[str, list[tuple[Group, Sequence[Evaluation]]]] = {}
    for group, each in evaluated:
        by_measure.setdefault(measure_of(each), []).append((group, each))
    # Runs of different tasks have different measures, which share no axis.
    return join(*(_of_measure(name, same) for name, same in by_measure.items()))


def _of_measure(name: str, evaluated: Evaluated) -> Markup:
    if not any(one.missing for _, each in evaluated for one in each):
        modality = evaluated[0][0].modalities[0]
        command = el("code", f"mmtrain eval RUN --missing {modality}=0.3")
        title = capitalised(MEASURES[name].title)
        return note(f"{title} with missing modalities was not measured; to measure it: ", command)
    by_set: dict[str, list[Line]] = {}
    for group, each in evaluated:
        for removed, line in _lines(group, each, name).items():
            by_set.setdefault(removed, []).append(line)
    every = [edge for series in by_set.values() for line in series for edge in edges(line)]
    # One vertical axis for all charts, so that they can be compared.
    span = (
        (min(float(e.min()) for e in every), max(float(e.max()) for e in every)) if every else None
    )
    charts = [
        lines(
            f"{MEASURES[name].title} without {removed}{MEASURES[name].unit}",
            series,
            x_name="% missing",
            keyed=True,
            y_span=span,
            limits=(0.0, 100.0) if MEASURES[name].percent else (-np.inf, np.inf),
        )
        for removed, series in by_set.items()
    ]
    text = (
        "Missing modalities: a share of the samples, drawn at random, loses them. Bands are one "
        "standard deviation over draws."
    )
    numbers = _numbers(evaluated, name)
    return join(note(text), grid(*charts), folded("All settings in numbers", numbers))


def measure_of(each: Sequence[Evaluation]) -> str:
    """The first measure of a task, which its settings with missing modalities have."""
    return shown(name for one in each for name in one.measures.fused.values)[0]


def capitalised(title: str) -> str:
    """A title at the beginning of a sentence."""
    return title[0].upper() + title[1:]


def _lines(group: Group, each: Sequence[Evaluation], measure: str) -> dict[str, Line]:
    """The measure by rate in percent, from nothing missing on, for each set of modalities."""
    scale = MEASURES[measure].scale
    ends = (0.0, 1.0) if MEASURES[measure].percent else (-np.inf, np.inf)
    whole = Spread.of(one.measures.fused.value(measure) for one in each).mean
    by_set: dict[str, dict[float, list[MissingSetting]]] = {}
    for setting in (setting for one in each for setting in one.missing):
        removed = {m: p for m, p in setting.rates.items() if p > 0}
        # A setting with two different rates has no one place on the axis of rates.
        if len(set(removed.values())) == 1:
            rate = next(iter(removed.values()))
            by_set.setdefault(" and ".join(removed), {}).setdefault(rate, []).append(setting)
    series = {}
    for name, by_rate in by_set.items():
        rates = sorted(by_rate)
        mean = np.array([whole, *(np.mean([s.mean for s in by_rate[rate]]) for rate in rates)])
        std = np.array([0.0, *(np.mean([s.std for s in by_rate[rate]]) for rate in rates)])
        series[name] = Line(
            name=group.label,
            style=group.style,
            x=100 * np.array([0.0, *rates]),
            y=scale * mean,
            bands=((scale * np.clip(mean - std, *ends), scale * np.clip(mean + std, *ends)),),
        )
    return series


def _numbers(evaluated: Evaluated, measure: str) -> Markup:
    decimals, scale = MEASURES[measure].decimals, MEASURES[measure].scale
    settings = dict.fromkeys(
        _rates_text(s.rates) for _, each in evaluated for one in each for s in one.missing
    )
    rows = [
        (text, *(_spread(each, text).text(decimals, scale) for _, each in evaluated))
        for text in settings
    ]
    return table(("missing", *(group.label for group, _ in evaluated)), rows)


def _spread(each: Sequence[Evaluation], rates_text: str) -> Spread:
    """Spread over runs of the measure in one setting; a run's value is a mean over draws."""
    return Spread.of(
        s.mean for one in each for s in one.missing if _rates_text(s.rates) == rates_text
    )


def _rates_text(rates: Mapping[str, float]) -> str:
    return ", ".join(f"{100 * p:g} % of {m}" for m, p in rates.items())
