"""The commands that list and explain a catalog, and `mmtrain methods --check`."""

import json
import logging
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import click

from mmprep.cli.group import Command
from mmtrain.catalog import Catalog, Entry, Explanation
from mmtrain.cli.options import as_json
from mmtrain.names import canonical


def listing(catalog: Catalog[object]) -> click.Command:
    """Makes the command that lists ``catalog``, or explains one of its entries."""
    plural, first = catalog.plural, catalog.names[0]
    text = (
        f"List the {plural}, or explain one: its paper, equation and parameters. NAME may also be "
        "FILE.py:CLASS or package.module:CLASS; installed packages add names by entry points of "
        f"the group mmtrain.{plural}.\n\nNames: {', '.join(catalog.names)}."
    )
    examples = [f"mmtrain {plural}", f"mmtrain {plural} {first}"]
    if plural == "methods":
        text += (
            "\n\nWith --check, trains NAME on tiny data made for it and prints which of the checks "
            "that every method passes it fails. Exit code 1 if it fails one. Writes nothing."
        )
        examples.append("mmtrain methods --check my_method.py:MyMethod")

    @click.command(plural, cls=Command, help=text, epilog="\b\nExamples:\n" + _indented(examples))
    @click.argument("name", required=False)
    @as_json
    @click.pass_context
    def command(
        ctx: click.Context,
        name: str | None,
        as_json: bool,
        check: bool = False,
        settings: tuple[str, ...] = (),
    ) -> None:
        name = name and canonical(name, catalog.names)
        if check:
            ctx.exit(_check(name, settings, as_json))
        elif name is not None:
            explanation = catalog.explain(name)
            _print(catalog, [_plain(explanation)], as_json, _as_text(explanation))
        else:
            entries = (*catalog.entries, *catalog.installed())
            width = max(len(entry.name) for entry in entries)
            lines = [f"{e.name:{width}}  {e.summary}{_takes(e)} [{e.paper}]" for e in entries]
            _print(catalog, map(_line, entries), as_json, "\n".join(lines))

    return _with_check(command) if plural == "methods" else command


def _with_check(command: click.Command) -> click.Command:
    command.params += [
        click.Option(["--check"], is_flag=True, help="Check that NAME does what methods must."),
        click.Option(
            ["--set", "settings"],
            multiple=True,
            metavar="KEY=VALUE",
            help="Parameter of the checked runs, such as method.alpha=0.3; repeatable.",
        ),
    ]
    return command


def _check(name: str | None, settings: tuple[str, ...], as_json: bool) -> int:
    """Checks a method, prints the outcome of each check, and returns the exit code."""
    if name is None:
        raise click.UsageError("--check needs NAME: a method, or FILE.py:CLASS")
    from mmtrain.evaluation.conformance import check_method

    outcomes = []
    log = logging.getLogger("mmtrain")
    level = log.level
    log.setLevel(logging.WARNING)  # A dozen tiny runs would each report their inputs.
    try:
        for outcome in check_method(name, settings):
            outcomes.append(outcome)
            if not as_json:
                click.echo(outcome)
    finally:
        log.setLevel(level)
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    if as_json:
        checks = [asdict(outcome) for outcome in outcomes]
        click.echo(json.dumps({"method": name, "ok": not failed, "checks": checks}))
    return 1 if failed else 0


def _print(
    catalog: Catalog[object], rows: Iterable[dict[str, Any]], as_json: bool, text: str
) -> None:
    click.echo(json.dumps({catalog.plural: list(rows)}, default=str) if as_json else text)


def _line(entry: Entry) -> dict[str, Any]:
    line: dict[str, Any] = {"name": entry.name, "paper": entry.paper, "summary": entry.summary}
    if entry.takes:
        line["takes"] = [*entry.takes]
    return line if entry.origin is None else {**line, "origin": entry.origin}


def _takes(entry: Entry) -> str:
    """Sentence about the kinds of input of an encoder; empty for anything else."""
    return f" Takes {' and '.join(entry.takes)}." if entry.takes else ""


def _plain(explanation: Explanation) -> dict[str, Any]:
    return {
        **_line(explanation.entry),
        "text": explanation.text,
        "parameters": [parameter._asdict() for parameter in explanation.parameters],
    }


def _as_text(explanation: Explanation) -> str:
    entry = explanation.entry
    lines = [f"{entry.name} [{entry.paper}]", "", explanation.text]
    if takes := _takes(entry).strip():
        lines += ["", takes]
    if explanation.parameters:
        lines += ["", "Parameters:"]
        lines += [f"  {p.name} = {p.default}\n      {p.help}" for p in explanation.parameters]
    return "\n".join(lines)


def _indented(lines: list[str]) -> str:
    return "\n".join(f"  {line}" for line in lines)
