"""The first measure with missing and with noisy modalities, as `mmtrain eval` measures it."""

from collections.abc import Mapping, Sequence, Sized
from typing import Final, NamedTuple

import numpy as np

from mmprep.html.charts import Line, edges, grid, lines
from mmprep.html.markup import Markup, el, folded, join, note, table
from mmtrain.report.runs.groups import Group, Spread
from mmtrain.report.runs.records import CurveSetting, Evaluation
from mmtrain.tasks.measures import MEASURES, shown

Evaluated = Sequence[tuple[Group, Sequence[Evaluation]]]


class Kind(NamedTuple):
    """One way in which inputs get worse.

    Attributes:
        option: Option of ``mmtrain eval``, and attribute of an `Evaluation`.
        adjective: Word for a modality that is so.
        title: Title of a chart, before the modalities.
        axis: Name of the horizontal axis.
        scale: Factor on values of that axis.
        meaning: Explanation below the heading.
    """

    option: str
    adjective: str
    title: str
    axis: str
    scale: float
    meaning: str


KINDS: Final = (
    Kind(
        option="missing",
        adjective="missing",
        title="without",
        axis="% missing",
        scale=100.0,
        meaning="Missing modalities: a share of the samples, drawn at random, loses them. Bands "
        "are one standard deviation over draws.",
    ),
    Kind(
        option="noise",
        adjective="noisy",
        title="with noise on",
        axis="level of noise",
        scale=1.0,
        meaning="Noise: Gaussian, of so many times the standard deviation of the sample's "
        "normalised input; of a text, the share of tokens that are replaced. Bands are one "
        "standard deviation over draws.",
    ),
)


def robustness(evaluated: Evaluated) -> Markup:
    """Draws curves with missing modalities and with noise, and lists all settings.

    Args:
        evaluated: Groups, each with the evaluations of its runs.
    """
    by_measure: dict[str, list[tuple[Group, Sequence[Evaluation]]]] = {}
    for group, each in evaluated:
        by_measure.setdefault(measure_of(each), []).append((group, each))
    # Runs of different tasks have different measures, which share no axis.
    return join(
        *(_of_measure(kind, name, same) for kind in KINDS for name, same in by_measure.items())
    )


def _of_measure(kind: Kind, name: str, evaluated: Evaluated) -> Markup:
    if not any(_settings(kind, one) for _, each in evaluated for one in each):
        modality = evaluated[0][0].modalities[0]
        command = el("code", f"mmtrain eval RUN --{kind.option} {modality}=0:1:0.1")
        title = capitalised(MEASURES[name].title)
        text = f"{title} with {kind.adjective} modalities was not measured; to measure it: "
        return note(text, command)
    by_title: dict[str, list[Line]] = {}
    for group, each in evaluated:
        for title, line in _lines(kind, group, each, name).items():
            by_title.setdefault(title, []).append(line)
    every = [edge for series in by_title.values() for line in series for edge in edges(line)]
    # One vertical axis for all charts, so that they can be compared.
    span = (
        (min(float(e.min()) for e in every), max(float(e.max()) for e in every)) if every else None
    )
    charts = [
        lines(
            f"{MEASURES[name].title} {kind.title} {title}{MEASURES[name].unit}",
            series,
            x_name=kind.axis,
            keyed=True,
            y_span=span,
            limits=(0.0, 100.0) if MEASURES[name].percent else (-np.inf, np.inf),
        )
        for title, series in by_title.items()
    ]
    numbers = _numbers(kind, evaluated, name)
    return join(note(kind.meaning), grid(*charts), folded("All settings in numbers", numbers))


def measure_of(each: Sequence[Evaluation]) -> str:
    """The first measure of a task, which its settings with missing modalities have."""
    return shown(name for one in each for name in one.measures.fused.values)[0]


def capitalised(title: str) -> str:
    """A title at the beginning of a sentence."""
    return title[0].upper() + title[1:]


def _settings(kind: Kind, evaluation: Evaluation) -> Sequence[CurveSetting]:
    settings: Sequence[CurveSetting] = getattr(evaluation, kind.option)
    return settings


def _lines(kind: Kind, group: Group, each: Sequence[Evaluation], measure: str) -> dict[str, Line]:
    """Title of each chart to the group's line in it."""
    whole = Spread.of(one.measures.fused.value(measure) for one in each).mean
    settings = [setting for one in each for setting in _settings(kind, one)]
    mixed = _mixed(kind, settings)
    series: dict[str, Line] = {}
    drawn = [id(s) for by_value in mixed.values() for same in by_value.values() for s in same]
    for title, by_value in _together(settings).items():
        # A single point of a grid, which has its place in another chart, makes no line of its own.
        if len(by_value) > 1 or any(id(s) not in drawn for same in by_value.values() for s in same):
            series[title] = _line(kind, group, by_value, measure, whole)
    return series | {title: _line(kind, group, same, measure) for title, same in mixed.items()}


def _together(settings: Sequence[CurveSetting]) -> dict[str, dict[float, list[CurveSetting]]]:
    """Settings of one value for all their modalities: these to the values to settings."""
    charts: dict[str, dict[float, list[CurveSetting]]] = {}
    for setting in settings:
        acting = {m: value for m, value in setting.values.items() if value > 0}
        if len(set(acting.values())) == 1:
            value = next(iter(acting.values()))
            charts.setdefault(" and ".join(acting), {}).setdefault(value, []).append(setting)
    return charts


def _mixed(
    kind: Kind, settings: Sequence[CurveSetting]
) -> dict[str, dict[float, list[CurveSetting]]]:
    """Settings by what varies while the others stay: title of the chart to values to settings.

    These are the panels of Fig. 6 of OGM and OPM (TPAMI 2024): one modality lost by a fixed share
    of the samples, the other by more and more.
    """
    several = [s for s in settings if len(s.values) > 1]
    charts: dict[str, dict[float, list[CurveSetting]]] = {}
    for names in dict.fromkeys(tuple(sorted(s.values)) for s in several):
        same = [s for s in several if tuple(sorted(s.values)) == names]
        by_modality = {m: _varying(kind, same, m) for m in same[0].values}
        # Of a whole grid one direction is enough: that of longer lines, or of the last modality.
        longest = max(reversed(by_modality.values()), key=_most_points)
        charts |= longest
    return {title: by_value for title, by_value in charts.items() if len(by_value) > 1}


def _most_points(charts: Mapping[str, Sized]) -> int:
    """Number of points of the longest line."""
    return max(map(len, charts.values()), default=0)


def _varying(
    kind: Kind, settings: Sequence[CurveSetting], varied: str
) -> dict[str, dict[float, list[CurveSetting]]]:
    """The charts of `_mixed` in which the modality ``varied`` does."""
    charts: dict[str, dict[float, list[CurveSetting]]] = {}
    for setting in settings:
        others = {m: value for m, value in setting.values.items() if m != varied and value > 0}
        if others:
            title = f"{varied}, {_beside(kind, others)}"
            charts.setdefault(title, {}).setdefault(setting.values[varied], []).append(setting)
    return charts


def _line(
    kind: Kind,
    group: Group,
    by_value: Mapping[float, Sequence[CurveSetting]],
    measure: str,
    whole: float | None = None,
) -> Line:
    """The measure by value, with a band of the deviation over draws; from ``whole`` at 0 on."""
    scale = MEASURES[measure].scale
    ends = (0.0, 1.0) if MEASURES[measure].percent else (-np.inf, np.inf)
    points = {
        v: (np.mean([s.mean for s in e]), np.mean([s.std for s in e])) for v, e in by_value.items()
    }
    if whole is not None:
        points = {0.0: (np.float64(whole), np.float64(0)), **points}
    values = sorted(points)
    mean = np.array([points[value][0] for value in values], float)
    std = np.array([points[value][1] for value in values], float)
    return Line(
        name=group.label,
        style=group.style,
        x=kind.scale * np.array(values),
        y=scale * mean,
        bands=((scale * np.clip(mean - std, *ends), scale * np.clip(mean + std, *ends)),),
    )


def _numbers(kind: Kind, evaluated: Evaluated, measure: str) -> Markup:
    decimals, scale = MEASURES[measure].decimals, MEASURES[measure].scale
    texts = dict.fromkeys(
        _text(kind, s.values) for _, each in evaluated for one in each for s in _settings(kind, one)
    )
    rows = [
        (text, *(_spread(kind, each, text).text(decimals, scale) for _, each in evaluated))
        for text in texts
    ]
    return table((kind.option, *(group.label for group, _ in evaluated)), rows)


def _spread(kind: Kind, each: Sequence[Evaluation], text: str) -> Spread:
    """Spread over runs of the measure in one setting; a run's value is a mean over draws."""
    return Spread.of(
        s.mean for one in each for s in _settings(kind, one) if _text(kind, s.values) == text
    )


def _text(kind: Kind, values: Mapping[str, float]) -> str:
    if kind.option == "missing":
        return ", ".join(f"{100 * value:g} % of {m}" for m, value in values.items())
    return ", ".join(f"{m} {value:g}" for m, value in values.items())


def _beside(kind: Kind, values: Mapping[str, float]) -> str:
    """Returns the part of a title that names the modalities which stay the same."""
    if kind.option == "missing":
        return " and ".join(f"where {100 * value:g} % lack {m}" for m, value in values.items())
    return " and ".join(f"and {value:g} on {m}" for m, value in values.items())
