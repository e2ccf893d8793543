"""The table of a comparison as a file: Markdown for readers, CSV and LaTeX for programs."""

import csv
import io
from collections.abc import Mapping
from typing import Any, Final

from mmtrain.comparison.notes import explanation, facts_text, notes_markdown
from mmtrain.comparison.table import cells, grid_lines, heads

_LATEX: Final = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "±": r"$\pm$",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    }
)


def as_markdown(table: Mapping[str, Any]) -> str:
    """The table for readers, with shares in percent and notes below it."""
    lines = grid_lines(heads(table), [cells(table, row) for row in table["rows"]])
    return "\n".join([*lines, "", *notes_markdown(table)]) + "\n"


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
    """A ``table`` for the package booktabs, with the columns and the facts of table.md.

    Nothing is bold or underlined: a row is better or worse where the column of differences has
    the word.
    """
    titles = heads(table)
    lines = [[_escaped(title) for title in titles]]
    lines += [[_escaped(text) for text in cells(table, row)] for row in table["rows"]]
    head, *rows = [" & ".join(line) + r" \\" for line in lines]
    title = (table.get("title") or "Comparison").rstrip(".")
    caption = f"{title}. {explanation(table)} {facts_text(table)}"
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_escaped(' '.join(caption.split()))}}}",
            r"\begin{tabular}{l" + "r" * (len(titles) - 1) + "}",
            r"\toprule",
            head,
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _escaped(text: str) -> str:
    return text.translate(_LATEX)


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
