"""Pages of what can be chosen by name: one for each method, one for each other catalog."""

import inspect
import re
import tomllib
from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from functools import cache
from importlib import import_module
from pathlib import Path

from prose import line, markdown

from mmtrain.catalog import Catalog, Entry, Parameter
from mmtrain.config.choices import CATALOGS
from mmtrain.curricula.catalog import CURRICULA
from mmtrain.methods.catalog import METHODS
from mmtrain.tasks.catalog import TASKS

ROOT = Path(__file__).parents[2]
_ALIKE = 0.85
_FACTS = {"Cost": "Cost", "Remembers": "Remembers", "In memory": "Remembers", "Logged": "Logs"}
_INTRODUCTIONS = {
    "curriculum": "A curriculum decides which samples an epoch visits and in which order. Any "
    "method can be combined with any of them: `--curriculum NAME`. "
    "[The guide](guides/curricula.md) shows how.",
    "encoder": "An encoder turns the input of one modality into features: `--encoder NAME`, or one "
    "for each modality, as `--encoder audio=resnet18,visual=small-cnn`.",
    "fusion": "A fusion turns the features of all modalities into logits, and gives each modality "
    "its share of them: `--fusion NAME`.",
    "task": "The task decides losses and measures. A data set has one; `--set task=NAME` chooses "
    "another where the data allow it.",
}


def page_of(method: str) -> str:
    """File name of a method's page."""
    return method.replace("+", "-plus") + ".md"


@cache
def equations(docs: Path) -> Mapping[str, Mapping[str, str]]:
    """Catalog to name to LaTeX of the main equation."""
    text = (docs / "methods" / "equations.toml").read_text(encoding="utf-8")
    tables: dict[str, dict[str, str]] = tomllib.loads(text)
    return tables


def method_pages(docs: Path | None = None) -> list[tuple[str, str, str]]:
    """Name, path and Markdown of each method's page; without ``docs`` no Markdown."""
    return [
        (entry.name, f"methods/{page_of(entry.name)}", _method_page(entry, docs) if docs else "")
        for entry in METHODS.entries
    ]


def catalog_pages(docs: Path) -> Iterator[tuple[str, str]]:
    """Yields path and Markdown of the page of each catalog but the methods."""
    for catalog in CATALOGS:
        if catalog is not METHODS:
            yield f"{catalog.plural}.md", _catalog_page(catalog, docs)


def linked(page: str) -> str:
    """The page of the list of methods, with a link from each name in its table."""
    return re.sub(
        r"^\| `([^`]+)` \|", lambda row: f"| [`{row[1]}`]({page_of(row[1])}) |", page, flags=re.M
    )


def _method_page(entry: Entry, docs: Path) -> str:
    links = {name: page_of(name) for name in METHODS.names}
    explanation = METHODS.explain(entry.name)
    text, facts = _facts(explanation.text)
    module = inspect.getmodule(METHODS.target(entry.name))
    blocks = [
        f"# {entry.name}\n\n{line(entry.summary, links)}",
        _equation("methods", entry, docs),
        markdown(_without_summary(text, entry.summary), links),
        _overview(entry, facts, links),
    ]
    if entry.curriculum:
        blocks += [
            f"## Curriculum\n\nThe method brings the curriculum "
            f"[`{entry.curriculum}`](../curricula.md#{entry.curriculum}).",
            _equation("curricula", CURRICULA.entry(entry.curriculum), docs),
        ]
    blocks += [_parameters("method", explanation.parameters, links), _example(entry)]
    if module is not None and entry.target != "base:Method":
        title = "## Paper, readings and differences from the released code"
        blocks += [title, markdown(inspect.getdoc(module) or "", links)]
    return "\n\n".join(filter(None, blocks)) + "\n"


def _without_summary(text: str, summary: str) -> str:
    """A docstring without its first line, where the summary above has the same words."""
    first, _, rest = text.partition("\n\n")
    return rest if SequenceMatcher(None, first, summary).ratio() > _ALIKE else text


def _overview(entry: Entry, facts: Mapping[str, str], links: Mapping[str, str]) -> str:
    source = Path(inspect.getsourcefile(METHODS.target(entry.name)) or "")
    cost = f"{entry.cost} (1 is a step of [`joint`](joint.md)). "
    return _described(
        {
            "Paper": "none: the baseline" if entry.paper == "-" else line(entry.paper, links),
            "Modalities": "any number" if entry.modalities == "any" else entry.modalities,
            "Tasks": ", ".join(f"[`{task}`](../tasks.md#{task})" for task in _tasks(entry)),
            "Cost": cost + _sentence(facts.get("Cost", ""), links),
            "Remembers": _sentence(facts.get("Remembers", "nothing."), links),
            "Logs": _sentence(facts.get("Logs", "nothing of its own."), links),
            "Source": f"`{source.relative_to(ROOT).as_posix()}`",
        }
    )


def _described(rows: Mapping[str, str]) -> str:
    """List of facts, each with its name."""
    listed = "\n\n".join(f"{name}\n:   {value}" for name, value in rows.items())
    return f'<div class="facts" markdown>\n\n{listed}\n\n</div>' if rows else ""


def _sentence(text: str, links: Mapping[str, str]) -> str:
    return line(text[:1].upper() + text[1:], links)


def _tasks(entry: Entry) -> list[str]:
    """Tasks that have what the method's equations need."""
    needs = set(METHODS.load(entry.name)().needs)
    return [name for name in TASKS.names if needs <= TASKS.target(name).gives]


def _facts(text: str) -> tuple[str, dict[str, str]]:
    """A docstring without the paragraphs on cost, memory and logs; and those, by name."""
    rest, facts = [], {}
    for block in text.split("\n\n"):
        head, colon, value = block.partition(": ")
        if colon and head in _FACTS:
            facts[_FACTS[head]] = value
        elif block.startswith("Logs "):
            facts["Logs"] = block.removeprefix("Logs ")
        else:
            rest.append(block)
    return "\n\n".join(rest), facts


def _equation(catalog: str, entry: Entry, docs: Path) -> str:
    latex = equations(docs).get(catalog, {}).get(entry.name)
    return f"$$\n{latex.strip()}\n$$" if latex else ""


def _parameters(
    choice: str, parameters: tuple[Parameter, ...], links: Mapping[str, str], level: str = "##"
) -> str:
    if not parameters:
        return f"{level} Parameters\n\nNone."
    rows = [
        f"`{choice}.{p.name}` = `{default(p.default)}`\n:   {line(p.help, links)}"
        for p in parameters
    ]
    return "\n\n".join([f"{level} Parameters\n\nSet by `--set {choice}.NAME=VALUE`.", *rows])


def default(value: object) -> str:
    """Text of a default value, as ``--set`` takes it."""
    if value is None or value == "":
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _example(entry: Entry) -> str:
    return (
        "## Try it\n\n```\nmmtrain train --data out/keypad --recipe keypad "
        f"--method {entry.name} --out runs/{entry.name}\n```"
    )


def _catalog_page(catalog: Catalog[object], docs: Path) -> str:
    links = {name: f"methods/{page_of(name)}" for name in METHODS.names}
    links |= {name: f"#{name}" for name in catalog.names}
    head = f"# {catalog.plural.capitalize()}\n\n{_INTRODUCTIONS[catalog.kind]}"
    return "\n\n".join([head, *(_entry(catalog, e, docs, links) for e in catalog.entries)]) + "\n"


def _entry(catalog: Catalog[object], entry: Entry, docs: Path, links: Mapping[str, str]) -> str:
    explanation = catalog.explain(entry.name)
    text, facts = _facts(explanation.text)
    rows = {} if entry.paper == "-" else {"Paper": line(entry.paper, links)}
    rows |= {"Takes": " and ".join(entry.takes)} if entry.takes else {}
    rows |= {name: _sentence(value, links) for name, value in facts.items()}
    module = inspect.getdoc(import_module(catalog.target(entry.name).__module__)) or ""
    blocks = [
        f"## {entry.name} {{ #{entry.name} }}",
        line(entry.summary, links),
        _equation(catalog.plural, entry, docs),
        markdown(_without_summary(text, entry.summary), links),
        _described(rows),
    ]
    if catalog.kind != "task" and explanation.parameters:
        blocks.append(_parameters(catalog.kind, explanation.parameters, links, "###"))
    if catalog.kind in ("curriculum", "fusion") and "\n" in module:
        blocks += ["### Paper and readings", markdown(module, links)]
    return "\n\n".join(filter(None, blocks))
