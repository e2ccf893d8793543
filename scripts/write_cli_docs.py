"""Writes docs/cli.md, the help of every command, and the catalogs' tables in README.md.

The command line and the README say the same, because both are the catalog.
"""

import importlib
from pathlib import Path

import click

from mmtrain.config.choices import CATALOGS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs" / "cli.md"
README = ROOT / "README.md"


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
    return "\n".join([head, *pages("mmprep"), *pages("mmtrain")])


def readme(page: str) -> str:
    """README.md with the tables of the catalogs between their marks."""
    for catalog in CATALOGS[:2]:
        begin, end = f"<!-- {catalog.plural} -->\n", f"<!-- end of {catalog.plural} -->"
        head, _, rest = page.partition(begin)
        _, _, tail = rest.partition(end)
        page = f"{head}{begin}{catalog.markdown()}\n{end}{tail}"
    return page


if __name__ == "__main__":
    DOCS.parent.mkdir(exist_ok=True)
    DOCS.write_text(text(), encoding="utf-8")
    README.write_text(readme(README.read_text(encoding="utf-8")), encoding="utf-8")
