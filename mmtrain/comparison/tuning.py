"""The whole grid of tuning: what every point of it reached on val."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from mmtrain.comparison.table import measure_cell
from mmtrain.tasks.measures import shown
from mmtrain.training.parts import CONFIG, read_config
from mmtrain.training.train import RESULT, result_of

TUNE: Final = "tune"
_NUMBER: Final = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)


def tuned_points(home: Path, chosen: str | None) -> list[dict[str, Any]]:
    """Points of the grid in the folder of a row, in the order of their runs' names.

    Args:
        home: Folder of the row.
        chosen: The setting that was taken, as text.

    Returns:
        ``setting``, its ``values`` by parameter, ``seed``, ``val`` with the measures at the best
        epoch (None for a run that failed or is not finished), and whether it was ``chosen``.

    Raises:
        DataError: A file of a run is damaged.
    """
    points = []
    for path in sorted(home.glob(f"{TUNE}/*")):
        if not (path / CONFIG).exists():
            continue
        setting = unquote(path.name)
        val = result_of(path)["val"] if (path / RESULT).exists() else None
        points.append(
            {
                "setting": setting,
                "values": values_of(setting),
                "seed": read_config(path / CONFIG).seed,
                "val": val and {name: val[name] for name in (*shown(val), "loss")},
                "chosen": setting == chosen,
            }
        )
    return points


def values_of(setting: str) -> dict[str, Any]:
    """Parameters of a setting ``KEY=VALUE,...``, numbers as such.

    Example:
        >>> values_of("lr=0.01,schedule=cosine")
        {'lr': 0.01, 'schedule': 'cosine'}
    """
    pairs = (text.partition("=")[::2] for text in setting.split(","))
    return {key: _value(text) for key, text in pairs}


def _value(text: str) -> float | int | str:
    if not _NUMBER.fullmatch(text):
        return text
    return int(text) if text.lstrip("+-").isdecimal() else float(text)


def tuning_lines(table: Mapping[str, Any]) -> tuple[str, list[str], list[list[str]]] | None:
    """Sentence, titles and lines of the grid as a table, rows by settings or the other way round.

    None where nothing was tuned.
    """
    rows = [row for row in table["rows"] if row.get("tuned")]
    if not rows:
        return None
    name = table["measures"][0] if table["measures"] else "accuracy"
    cells = {
        (row["label"], each["setting"]): _cell(name, each) for row in rows for each in row["tuned"]
    }
    titles = {row["label"]: row.get("title", row["label"]) for row in rows}
    settings = list(dict.fromkeys(each["setting"] for row in rows for each in row["tuned"]))
    sentence = tuned_sentence(rows, name)
    if len(settings) <= len(titles):
        lines = [[titles[r], *(cells.get((r, s), "-") for s in settings)] for r in titles]
        return sentence, ["method", *settings], lines
    lines = [[s, *(cells.get((r, s), "-") for r in titles)] for s in settings]
    return sentence, ["setting", *titles.values()], lines


def tuned_sentence(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    """Title of the grid: the measure, the split and the seed."""
    seeds = ", ".join(map(str, dict.fromkeys(each["seed"] for r in rows for each in r["tuned"])))
    title = measure_cell(name, None)[0]
    return f"The grid: {title} tuned on val, seed {seeds}; an asterisk marks what was taken"


def _cell(name: str, point: Mapping[str, Any]) -> str:
    value = (point["val"] or {}).get(name)
    text = measure_cell(name, value)[1]
    return f"{text}*" if point["chosen"] else text
