"""Writes docs/cli.md, the help of every command, and the lists and tables of methods and curricula.

README.md, docs/ and the command line agree, because all of them are the catalogs.
"""

import importlib
import textwrap
from collections.abc import Iterator
from pathlib import Path

import click

from mmtrain.catalog import Catalog
from mmtrain.curricula.catalog import CURRICULA
from mmtrain.methods.catalog import METHODS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs" / "cli.md"
PACKAGES = ("mmprep", "mmtrain")


def pages(package: str) -> list[str]:
    """One section for each command of ``package``."""
    main = importlib.import_module(f"{package}.cli.main").main
    names = [(), *((name,) for name in sorted(main.commands))]
    return [section(package, main, path) for path in names]


def section(package: str, main: click.Group, path: tuple[str, ...]) -> str:
    """Heading and help of one command."""
    command: click.Command = main.commands[path[0]] if path else main
    context = click.Context(command, info_name=" ".join((package, *path)), max_content_width=90)
    context.help_option_names = ["-h", "--help"]
    title = " ".join((package, *path))
    return f"## {title}\n\n```\n{command.get_help(context)}\n```\n"


def text() -> str:
    """The whole page."""
    head = "# Commands\n\nMade by `scripts/write_cli_docs.py` from the commands' own help.\n"
    return "\n".join([head, *(section for package in PACKAGES for section in pages(package))])


def command_table() -> str:
    """Table of the commands of both packages, with the first sentence of each one's help."""
    rows = ["| command | what it does |", "|---|---|"]
    for package in PACKAGES:
        commands = importlib.import_module(f"{package}.cli.main").main.commands
        for name, command in sorted(commands.items()):
            rows.append(f"| `{package} {name}` | {command.get_short_help_str(limit=300)} |")
    return "\n".join(rows)


def filled(page: str, mark: str, content: str) -> str:
    """``page`` with ``content`` between the comments ``mark`` and ``end of mark``."""
    begin, end = f"<!-- {mark} -->\n", f"<!-- end of {mark} -->"
    head, _, rest = page.partition(begin)
    _, _, tail = rest.partition(end)
    return f"{head}{begin}{content}\n{end}{tail}"


def names(catalog: Catalog[object]) -> str:
    """The names of a catalog as a paragraph."""
    return (
        textwrap.fill(", ".join(f"`{name}`" for name in catalog.names), 104, break_on_hyphens=False)
        + "."
    )


def filled_pages() -> Iterator[tuple[Path, str]]:
    """Yields path and text of each page that shows a catalog or the example."""
    example = (ROOT / "docs" / "examples" / "own_method.py").read_text(encoding="utf-8")
    contents = (
        ("README.md", "methods", names(METHODS)),
        ("README.md", "commands", command_table()),
        ("docs/methods/index.md", "methods", METHODS.markdown()),
        ("docs/guides/curricula.md", "curricula", CURRICULA.markdown()),
        ("docs/guides/own-methods.md", "example", f"```python\n{example}```"),
    )
    filled_so_far: dict[Path, str] = {}
    for name, mark, content in contents:
        path = ROOT / name
        page = filled_so_far.get(path) or path.read_text(encoding="utf-8")
        filled_so_far[path] = filled(page, mark, content)
    yield from filled_so_far.items()


if __name__ == "__main__":
    DOCS.write_text(text(), encoding="utf-8")
    for path, page in filled_pages():
        path.write_text(page, encoding="utf-8")
