"""The measure where modalities are missing from shares of the samples, or are noisy."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from mmtrain.comparison.figures.drawing import Drawing
from mmtrain.comparison.figures.lines import AxisNames, Panel, chosen_lines, draw_panels
from mmtrain.comparison.figures.request import FigureRequest
from mmtrain.comparison.figures.study_data import (
    Curve,
    NothingToDraw,
    RowData,
    StudyData,
    evaluation_of,
)
from mmtrain.tasks.measures import MEASURES

# Modality to its rate or level.
Amounts = frozenset[tuple[str, float]]
Points = Mapping[Amounts, Sequence[float]]


class Change(NamedTuple):
    """One way to make samples worse.

    Attributes:
        key: Key of its settings in RUN/eval-SPLIT.json.
        amounts: Key of the amounts of a setting.
        option: Option of `mmtrain eval`, with an example.
        unit: Unit of the amounts on an axis.
        scale: Factor on the amounts there.
        word: Participle of a modality so changed.
    """

    key: str
    amounts: str
    option: str
    unit: str
    scale: float
    word: str


MISSING: Final = Change(
    "missing", "rates", "--missing audio=0.3", "samples without it (%)", 100, "missing"
)
NOISE: Final = Change("noise", "levels", "--noise audio=0.3", "level of noise", 1, "noisy")


def draw_missing(study: StudyData, request: FigureRequest) -> Drawing:
    """Draws the measure by the share of samples that lack a modality."""
    return _draw(study, request, MISSING)


def draw_noise(study: StudyData, request: FigureRequest) -> Drawing:
    """Draws the measure by the level of noise."""
    return _draw(study, request, NOISE)


class Axis(NamedTuple):
    """Settings that lie on one horizontal axis.

    Attributes:
        varied: Modalities whose amount, the same for all, is on the axis.
        fixed: Amounts of the other modalities.
        settings: Amount on the axis to its setting.
    """

    varied: tuple[str, ...]
    fixed: Amounts
    settings: dict[float, Amounts]


def axes_of(settings: Sequence[Amounts]) -> list[Axis]:
    """Axes on which all settings lie that share one with another, the longest first.

    A setting of mixed amounts may lie on several, of which it is put on the longest: of rates
    (.1, .1), (.1, .2), (.1, .3), those of the second modality beside .1 of the first.
    """
    left = dict.fromkeys(settings)
    axes = []
    while left:
        candidates = sorted(_candidates([*left]), key=lambda a: -len(a.settings))
        whole = [axis for axis in candidates if len(axis.settings) + (not axis.fixed) > 1]
        if not whole:
            break
        axes.append(whole[0])
        for setting in whole[0].settings.values():
            del left[setting]
    return axes


def _candidates(settings: Sequence[Amounts]) -> Iterator[Axis]:
    modalities = list(dict.fromkeys(m for setting in settings for m, _ in sorted(setting)))
    for modality in modalities:
        by_fixed: dict[Amounts, dict[float, Amounts]] = {}
        for setting in settings:
            amount = dict(setting).get(modality)
            if amount is not None:
                fixed = setting - {(modality, amount)}
                by_fixed.setdefault(fixed, {})[amount] = setting
        for fixed, line in by_fixed.items():
            yield Axis((modality,), fixed, line)
    by_set: dict[tuple[str, ...], dict[float, Amounts]] = {}
    for setting in settings:
        amounts = dict(setting)
        if len(amounts) > 1 and len(set(amounts.values())) == 1:
            by_set.setdefault(tuple(sorted(amounts)), {})[next(iter(amounts.values()))] = setting
    for varied, line in by_set.items():
        yield Axis(varied, frozenset(), line)


def _draw(study: StudyData, request: FigureRequest, change: Change) -> Drawing:
    name = study.measure(request)
    split = str(request.options.get("split", "test"))
    every = study.with_runs(request)
    measured = {row.label: _points(row, split, name, change) for row in every}
    rows, left = chosen_lines(study, request, [label for label, each in measured.items() if each])
    settings = list(dict.fromkeys(s for points in measured.values() for s in points if s))
    if not settings:
        raise NothingToDraw(
            f"no run was evaluated on {split} with {change.key} modalities: "
            f"`mmtrain eval RUN {change.option}`, or {change.key} = [...] in the study"
        )
    axes = axes_of(settings)
    if not axes:
        raise NothingToDraw(
            f"no two of the settings lie on one axis; evaluate with several amounts of one "
            f"modality: `mmtrain eval RUN {change.option} ...`"
        )
    panels = [
        Panel(
            _title(axis, change),
            {
                row.label: curve
                for row in rows
                if (curve := _curve(axis, measured[row.label], name, change)) is not None
            },
        )
        for axis in axes
    ]
    measure = MEASURES[name]
    width = str(request.options.get("width", "column"))
    names = AxisNames(x=change.unit, y=f"{measure.title} on {split}{measure.unit}", whole=False)
    how = {
        "missing": "Test-time shares of the samples lose a modality, drawn at random (Wei et al., "
        "TPAMI 2024, Sec. 4.4.3).",
        "noise": "Noise is added to a modality at test time.",
    }[change.key]
    return Drawing(
        draw_panels(panels, rows, study, width, names),
        f"{how} Lines: mean over draws and seeds; bands, where there are few lines: standard "
        f"deviation over seeds.{left}",
    )


def _points(row: RowData, split: str, name: str, change: Change) -> dict[Amounts, list[float]]:
    """Setting to the measure of each run, that of nothing changed included."""
    points: dict[Amounts, list[float]] = {}
    for run in row.runs.values():
        report = evaluation_of(run, split)
        settings = report.get(change.key, []) if report else []
        if report and settings and report.get(name) is not None:
            points.setdefault(frozenset(), []).append(float(report[name]))
        for setting in settings:
            amounts = frozenset((m, float(a)) for m, a in setting[change.amounts].items() if a)
            if amounts and (value := setting.get(name)):
                points.setdefault(amounts, []).append(float(value["mean"]))
    return points


def _curve(axis: Axis, points: Points, name: str, change: Change) -> Curve | None:
    scale = MEASURES[name].scale
    values = {
        change.scale * amount: [scale * v for v in points[setting]]
        for amount, setting in axis.settings.items()
        if setting in points
    }
    if values and (whole := points.get(axis.fixed)):
        values[0.0] = [scale * v for v in whole]
    return Curve.of(values) if values else None


def _title(axis: Axis, change: Change) -> str:
    varied = " and ".join(axis.varied)
    if not axis.fixed:
        return f"{varied} {change.word}"
    fixed = ", ".join(
        f"{change.scale * a:g}{' %' * (change.scale == 100)} of {m}"
        if change.scale == 100
        else f"{m} at {a:g}"
        for m, a in sorted(axis.fixed)
    )
    return f"{varied} {change.word}, beside {fixed}"
