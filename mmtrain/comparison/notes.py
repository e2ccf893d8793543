"""What stands below a comparison's table: what is measured, how, and what is not in it."""

from collections.abc import Mapping
from typing import Any

from mmtrain.comparison.table import (
    all_measures,
    cell,
    compared_with,
    grid_lines,
    measured,
    probed,
)
from mmtrain.comparison.tuning import tuning_lines
from mmtrain.tasks.measures import MEASURES


def explanation(table: Mapping[str, Any]) -> str:
    """Returns sentences that explain the numbers of a table."""
    rows = table["rows"]
    splits = ", ".join(dict.fromkeys(row["split"] for row in rows if row["split"])) or "nothing"
    seeds = ", ".join(map(str, table["seeds"]))
    plain = [MEASURES[name].title for name in measured(table) if not MEASURES[name].percent]
    unit = f"Percent, but for {' and '.join(plain)}," if plain else "Percent"
    text = (
        f"{unit} on {splits} of {table['data']}, mean ± sample standard deviation over the seeds "
        f"{seeds}, of the epoch that was best on val. Below a modality: "
        f"{MEASURES[all_measures(table)[0]].title} of the method's own logits of it."
    )
    if probed(table):
        text += " Probe: accuracy of a new linear head on the frozen encoder."
    if compared_with(table):
        text += (
            " Differences are of single samples, paired by sample and seed, with an interval of "
            "95 % over seeds and samples; better and worse are said at an error rate of 5 % for "
            "all rows together (Holm)."
        )
    return " ".join([text, *table.get("notes", ())])


def facts_text(table: Mapping[str, Any]) -> str:
    """Sentence about the origin of the numbers, as far as `explanation` does not have it."""
    facts = {name: text for name, text in table["facts"].items() if name not in ("data", "seeds")}
    text = "; ".join(f"{name}: {value}" for name, value in facts.items())
    return f"{text[:1].upper()}{text[1:]}."


def notes_markdown(table: Mapping[str, Any]) -> list[str]:
    """Lines in Markdown below the table."""
    rows = table["rows"]
    lines = [*_shares(table), *_grid(table), explanation(table)]
    lines += ["", facts_text(table)]
    if table["earlier"]:
        lines += ["", f"From earlier commands in this folder: {', '.join(table['earlier'])}."]
    if chosen := [f"- {row['label']}: {row['setting']}" for row in rows if row["setting"]]:
        lines += ["", f"Settings chosen on val with seed {table['seeds'][0]}:", "", *chosen]
    if table["failed"]:
        failed = [f"- {each['run']}: {each['error']}" for each in table["failed"]]
        lines += ["", "Failed, and missing from the table or from its columns:", "", *failed]
    if left := [each for each in table.get("figures", ()) if each["left_out"]]:
        lines += ["", "Figures left out:", ""]
        lines += [f"- {each['name']}: {each['left_out']}" for each in left]
    return lines


def _grid(table: Mapping[str, Any]) -> list[str]:
    grid = tuning_lines(table)
    if grid is None:
        return []
    sentence, titles, lines = grid
    return [*grid_lines(titles, lines), "", f"{sentence}.", ""]


def _shares(table: Mapping[str, Any]) -> list[str]:
    """Tabulates how much each modality adds to the accuracy, and the calibration."""
    rows = [row for row in table["rows"] if len(row.get("shares", ())) > 1]
    if not rows:
        return []
    modalities = list(dict.fromkeys(m for row in rows for m in row["shares"]))
    titles = ["method", *(f"share of {m}" for m in modalities), "calibration error"]
    lines = []
    for row in rows:
        count = len(row["seeds"])
        values = [row["shares"].get(m) for m in modalities]
        lines.append([row["label"], *(cell(v, count, 100) for v in (*values, row["calibration"]))])
    explained = (
        "Share of a modality: points that it adds to the accuracy over chance, averaged over the "
        "orders in which modalities may join (Shapley). Calibration error: mean gap between "
        "confidence and accuracy, in points (15 bins)."
    )
    return [*grid_lines(titles, lines), "", explained, ""]
