"""DIR/study.html: the table, the figures and their facts on one page that loads nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mmprep.html.markup import (
    Child,
    Markup,
    data_url,
    document,
    el,
    join,
    note,
    section,
    tiles,
)
from mmprep.html.markup import (
    table as html_table,
)
from mmtrain.comparison.notes import explanation
from mmtrain.comparison.table import cells, heads
from mmtrain.comparison.tuning import tuning_lines

# Width of a figure on the page, by that in print.
_PIXELS: Final = {"column": 560, "page": 1100}
_UNITS: Final = ((3600, "h"), (60, "min"), (1, "s"))


def study_page(
    table: Mapping[str, Any], manifest: Mapping[str, Any], figures: Path, *, has_report: bool
) -> str:
    """The page of a comparison.

    Args:
        table: The content of table.json.
        manifest: The content of manifest.json.
        figures: Folder of the figures.
        has_report: Whether report.html lies beside the page.
    """
    title = table["title"] or "Comparison"
    return document(
        title,
        _header(title, table, manifest, has_report=has_report),
        section("Table", _table(table), note(explanation(table)), _failed(table)),
        _grid(table),
        _figures(table, figures),
        _manifest(manifest),
    )


def _header(
    title: str, table: Mapping[str, Any], manifest: Mapping[str, Any], *, has_report: bool
) -> Markup:
    follows = f"Follows {table['source']}." if table["source"] else None
    joules = manifest["joules"]
    numbers: dict[str, Child] = {
        "rows": str(len(table["rows"])),
        "runs": str(len(manifest["runs"])),
        "training time": _duration(manifest["seconds"]),
    }
    if joules is not None:
        numbers["energy"] = f"{joules / 3.6e6:.3g} kWh"
    pages = [("report.html", "curves of all runs")] if has_report else []
    pages += [(name, name) for name in ("table.csv", "table.tex", "table.json", "manifest.json")]
    return el(
        "header",
        el("h1", title),
        el("p", " ".join(filter(None, (follows, table["differs"]))), class_="lead"),
        tiles(numbers.items()),
        el("nav", *(el("a", text, href=address) for address, text in pages)),
    )


def _table(table: Mapping[str, Any]) -> Markup:
    rows = [cells(table, row) for row in table["rows"]]
    return html_table(heads(table), rows)


def _failed(table: Mapping[str, Any]) -> Markup | None:
    if not table["failed"]:
        return None
    lines = (el("li", f"{each['run']}: {each['error']}") for each in table["failed"])
    return join(el("h3", "Failed, and not in the table"), el("ul", *lines))


def _grid(table: Mapping[str, Any]) -> Markup | None:
    grid = tuning_lines(table)
    if grid is None:
        return None
    sentence, titles, lines = grid
    return section("Tuning", note(f"{sentence}."), html_table(titles, lines))


def _figures(table: Mapping[str, Any], folder: Path) -> Markup | None:
    if not table["figures"]:
        return None
    return section("Figures", *(_figure(figure, folder) for figure in table["figures"]))


def _figure(figure: Mapping[str, Any], folder: Path) -> Markup:
    if figure["left_out"]:
        return note(f"{figure['name']} is left out: {figure['left_out']}")
    picture = (folder / f"{figure['name']}.svg").read_bytes()
    address, width = data_url("svg+xml", picture), _PIXELS[figure["width"]]
    links = (el("a", name, href=f"{folder.name}/{name}") for name in figure["files"])
    spaced: list[Child] = []
    for link in links:
        spaced += [" "] if spaced else []
        spaced.append(link)
    return join(
        el("h3", figure["name"]),
        el("img", src=address, alt=figure["caption"], width=width, style="max-width: 100%"),
        note(figure["caption"]),
        note(*spaced),
    )


def _manifest(manifest: Mapping[str, Any]) -> Markup:
    last = manifest["commands"][-1]
    hardware = last["hardware"]
    gpus = ", ".join(hardware["gpus"]) or "no GPU"
    versions = ", ".join(f"{name} {version}" for name, version in last["versions"].items())
    rows = [
        ("data", f"{manifest['data']['place']}, root {manifest['data']['root']}"),
        ("last command", " ".join(last["argv"])),
        ("versions", versions),
        ("commit", last["commit"] or "-"),
        ("machine", f"{hardware['cpu']}, {hardware['cores']} cores, {gpus}"),
    ]
    return section("Made with", html_table(("", ""), rows, numbers=()))


def _duration(seconds: float) -> str:
    for length, unit in _UNITS:
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"
