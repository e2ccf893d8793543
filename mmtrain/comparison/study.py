"""Studies: a table of a paper as a file, which says what it crosses, tunes and shows.

A study file reads like the table that it makes::

    title = "Cross-modal fusions with and without modulation"
    source = "Wei et al., TPAMI 2024, Table 3"
    differs = "The epoch is chosen on val; all rows have the same budget."
    baseline = "joint"          # or another row, by its label
    seeds = 5                   # 0 to 4
    controls = ["chance", "alone", "ensemble"]
    show = ["accuracy", "map"]  # measures in the table; all without it

    [rows]                      # crossed: every fusion with every method
    fusion = ["centralnet", "attention", "mmtm"]
    method = ["joint", "opm", "ogm"]

    [[row]]                     # and rows of their own
    label = "ogm, alpha .1"
    method = "ogm"
    "method.alpha" = 0.1

    [set]                       # for all rows
    epochs = 30

    [tune]                      # on val, the same grid for every row
    lr = [0.001, 0.01]

    [[figures]]                 # DIR/figures/discrepancy.png, .pdf and .svg
    kind = "discrepancy"        # rho by epoch, a line a row

and, above the first table, what is measured of every run besides its result::

    probe = true
    missing = ["audio=0:1:0.1", "audio=0.1,visual=0:0.3:0.1"]
    noise = ["audio=0:1:0.25"]

A key of a row is an option of a run (`method`, `curriculum`, `fusion`, `encoder`, `modalities`) or
whatever ``--set`` takes.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Final

from mmprep.storage.redact import redacted
from mmtrain.comparison.entrants import OPTIONS, Contest, setting_text
from mmtrain.comparison.evaluations import Evaluations
from mmtrain.comparison.figures.needs import require_drawable
from mmtrain.comparison.figures.request import FigureRequest, figure_requests
from mmtrain.comparison.presentation import ALONE, CHANCE, CONTROLS, ENSEMBLE, Presentation
from mmtrain.config.run import TrainConfig
from mmtrain.config.shelf import Shelf
from mmtrain.errors import ConfigError, UnknownName
from mmtrain.tasks.measures import MEASURES
from mmtrain.training.history import recipe_record

_KEYS: Final = (
    *("title", "source", "differs", "needs", "baseline", "seeds", "controls", "recipe", "budget"),
    *("rows", "row", "set", "tune", "show", "figures", "probe", "missing", "noise"),
)
# Names for readers of rows whose labels are short.
_TITLES: Final = {ENSEMBLE: "ensemble (mean of unimodal probabilities)"}
_LABEL: Final = re.compile(r"[^\w.,=+@-]+")


@dataclass(frozen=True, kw_only=True)
class Study:
    """One study.

    Attributes:
        title: Title of its table.
        source: Place of the table that it follows.
        differs: Differences from the protocol of that source.
        needs: Data that it is meant for, in words.
        rows: Label of each row to its options and settings.
        baseline: Label of the row that others are compared with; or a method, and then a row is
            compared with the one that has this method and else the same.
        seeds: Seeds with which every row runs.
        controls: Those of CONTROLS that are rows too.
        recipe: Name of a recipe; None where the command line says it.
        budget: One of `mmtrain.config.recipes.BUDGETS`.
        common: Settings of all rows.
        tune: Setting to the values that are tried for every row.
        show: Measures in its table; empty for all of the task.
        figures: Figures that are drawn.
        evaluations: Measurements of every run besides its result.
    """

    title: str
    source: str
    rows: Mapping[str, Mapping[str, Any]]
    differs: str = ""
    needs: str = ""
    baseline: str = "joint"
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    controls: tuple[str, ...] = ()
    recipe: str | None = None
    budget: str = "equal"
    common: Mapping[str, Any] = field(default_factory=dict)
    tune: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    show: tuple[str, ...] = ()
    figures: tuple[FigureRequest, ...] = ()
    evaluations: Evaluations = field(default_factory=Evaluations)

    @property
    def baselines(self) -> dict[str, str]:
        """Label of each row to that of the row with which it is compared; not of all rows."""
        if self.baseline in self.rows:
            return dict.fromkeys(self.rows, self.baseline)
        keys = {label: _but_method(row) for label, row in self.rows.items()}
        base = {keys[label]: label for label in self.rows if self._has_baseline(label)}
        return {label: base[key] for label, key in keys.items() if key in base}

    def _has_baseline(self, label: str) -> bool:
        return self.rows[label].get("method") == self.baseline


def _but_method(row: Mapping[str, Any]) -> str:
    """All of a row but its method and what is of the method alone."""
    same = {k: v for k, v in row.items() if k != "method" and not k.startswith("method.")}
    return repr(sorted(same.items()))


_SHELF: Final = Shelf(kind="study", package=f"{__package__}.studies")
names = _SHELF.names
text = _SHELF.text


def read(name: str) -> Study:
    """Reads a study.

    Args:
        name: Name of a study, or a file that ends in ``.toml``.

    Raises:
        UnknownName: There is no such study.
        ConfigError: The file is wrong; the message names it and what to change.
    """
    written = text(name)
    try:
        return _study(tomllib.loads(written))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"study {name}: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"study {name}: {error}") from error


def _study(plain: Mapping[str, Any]) -> Study:
    for key in plain:
        if key not in _KEYS:
            raise UnknownName("key of a study", key, _KEYS)
    for key in ("title", "source"):
        if not isinstance(plain.get(key), str):
            raise ConfigError(f"{key} is missing: a sentence at the top of the file")
    rows = {**_crossed(_table(plain, "rows")), **_own(plain.get("row", []))}
    if not rows:
        raise ConfigError("no rows: add [rows], whose lists are crossed, or tables [[row]]")
    controls = tuple(plain.get("controls", ()))
    for control in controls:
        if control not in CONTROLS:
            raise UnknownName("control", control, CONTROLS)
    texts = {key: plain[key] for key in _KEYS[:5] if key in plain}
    texts |= {key: plain[key] for key in ("recipe", "budget") if key in plain}
    tune = {key: _values(f"tune.{key}", each) for key, each in _table(plain, "tune").items()}
    figures = figure_requests(plain.get("figures", []))
    ensemble = (ENSEMBLE,) if ENSEMBLE in controls else ()
    require_drawable(figures, rows, ensemble, tune)
    return Study(
        **texts,
        rows=rows,
        seeds=_seeds(plain.get("seeds", 5)),
        controls=controls,
        common=_table(plain, "set"),
        tune=tune,
        show=_shown(plain.get("show", [])),
        figures=figures,
        evaluations=_evaluations(plain),
    )


def _shown(given: Any) -> tuple[str, ...]:
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise ConfigError(f'show is a list of measures, such as ["accuracy", "map"]; got {given!r}')
    for name in given:
        if name not in MEASURES:
            raise UnknownName("measure for show", name, MEASURES)
    return tuple(given)


def _evaluations(plain: Mapping[str, Any]) -> Evaluations:
    probe = plain.get("probe", False)
    if not isinstance(probe, bool):
        raise ConfigError(f"probe is true or false; got {probe!r}")
    curves = []
    for name in ("missing", "noise"):
        texts = _values(name, plain[name]) if name in plain else []
        if not all(isinstance(text, str) for text in texts):
            raise ConfigError(f'{name} is a list of texts such as "audio=0.3"; got {texts!r}')
        curves.append(texts)
    return Evaluations.of(probe, *curves)


def _table(plain: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = plain.get(name, {})
    if not isinstance(table, Mapping):
        raise ConfigError(f"{name} is a table: [{name}]")
    return table


def _values(name: str, values: Any) -> Sequence[Any]:
    if not isinstance(values, list) or not values:
        raise ConfigError(f"{name} is a list of values; got {values!r}")
    return values


def _crossed(axes: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Label to the values of each row of the product of ``axes``.

    A label has the values that differ between rows: names as they are, numbers with their key.
    """
    if not axes:
        return {}
    lists = {key: _values(f"rows.{key}", values) for key, values in axes.items()}
    told_apart = [key for key, values in lists.items() if len(values) > 1] or [*lists][-1:]
    rows = {}
    for values in product(*lists.values()):
        row = dict(zip(lists, values, strict=True))
        rows[_label("+".join(_part(key, row[key]) for key in told_apart))] = row
    return rows


def _part(key: str, value: Any) -> str:
    shown = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return shown if key in OPTIONS else f"{key.rpartition('.')[2]}={shown}"


def _own(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    named = {}
    for row in rows:
        values = {**row}
        label = values.pop("label", None) or "+".join(_part(k, v) for k, v in values.items())
        named[_label(label)] = values
    if len(named) < len(rows):
        raise ConfigError("two tables [[row]] have the same label")
    return named


def _label(text: str) -> str:
    """The text as the name of a folder."""
    return _LABEL.sub("-", text).strip("-")


def _seeds(given: Any) -> tuple[int, ...]:
    if isinstance(given, int) and given >= 1:
        return tuple(range(given))
    if isinstance(given, list) and given and all(isinstance(seed, int) for seed in given):
        return tuple(given)
    raise ConfigError(f"seeds is a number of seeds, or a list of them; got {given!r}")


def contest_of(
    study: Study,
    base: TrainConfig,
    *,
    text: str = "",
    given: Mapping[str, Any],
    recipe: str | None = None,
    seeds: Sequence[int] = (),
    settings: Sequence[str] = (),
) -> Contest:
    """The comparison that makes the table of ``study``.

    Args:
        study: The study.
        base: Config that all rows share.
        text: Text of the study's file, which is kept beside its results.
        given: Options of the command line, which go before the recipe.
        recipe: Recipe of the command line, in the place of the study's.
        seeds: Seeds in the place of the study's.
        settings: Texts of ``--set``, which go before the study's own settings.
    """
    used = recipe or study.recipe
    rows = dict(study.rows)
    if ENSEMBLE in study.controls:
        rows[ENSEMBLE] = {"method": "ume"}
    shown = Presentation(
        title=study.title,
        source=study.source,
        differs=study.differs,
        show=study.show,
        figures=study.figures,
        chance=CHANCE in study.controls,
        titles=_TITLES,
        values=study.rows,
        request={
            "options": {k: redacted(v) if isinstance(v, str) else v for k, v in given.items()},
            "recipe": used and recipe_record(used),
            "seeds": list(seeds),
            "settings": list(settings),
            "evaluations": study.evaluations.request,
        },
    )
    return Contest(
        base=base,
        variants=rows,
        seeds=tuple(seeds) or study.seeds,
        alone=ALONE in study.controls,
        settings=(*(setting_text(k, v) for k, v in study.common.items()), *settings),
        tune=tuple(setting_text(k, [*v]) for k, v in study.tune.items()),
        baseline=study.baseline,
        baselines=study.baselines,
        recipe=used,
        budget=study.budget,
        given=given,
        study=text,
        shown=shown,
        evaluations=study.evaluations,
    )
