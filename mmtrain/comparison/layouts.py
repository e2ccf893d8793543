"""The table of a comparison for other programs: CSV and LaTeX."""

import csv
import io
from collections.abc import Mapping
from typing import Any, Final

from mmtrain.comparison.table import cells, heads

_LATEX: Final = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "±": r"$\pm$",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    }
)


def as_csv(table: Mapping[str, Any]) -> str:
    """One line a row: its settings, and each number under the path that it has in table.json."""
    rows = [_flat(row) for row in table["rows"]]
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    lines = csv.DictWriter(text, names, restval="", lineterminator="\n")
    lines.writeheader()
    lines.writerows(rows)
    return text.getvalue()


def as_latex(table: Mapping[str, Any]) -> str:
    """A ``tabular`` for the package booktabs, with the columns of table.md."""
    titles = heads(table)
    lines = [[title.translate(_LATEX) for title in titles]]
    lines += [[text.translate(_LATEX) for text in cells(table, row)] for row in table["rows"]]
    head, *rows = [" & ".join(line) + r" \\" for line in lines]
    seeds = ", ".join(map(str, table["seeds"]))
    source = f"% {table['data']}, seeds {seeds}".replace("\n", " ")
    return "\n".join(
        [
            source,
            r"\begin{tabular}{l" + "r" * (len(titles) - 1) + "}",
            r"\toprule",
            head,
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Values by their path, names joined by dots; of lists one text, of curves nothing."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{before}{name}.")
        elif isinstance(value, list):
            if any(isinstance(each, Mapping) for each in value):
                continue  # A curve, which is no cell; table.json has it.
            flat[f"{before}{name}"] = " ".join(map(str, value))
        else:
            flat[f"{before}{name}"] = value
    return flat
