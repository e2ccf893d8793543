"""The documentation is true: every command and option is in it."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest

from mmprep.cli.main import main as mmprep_main
from mmtrain.cli.main import main as mmtrain_main

ROOT = Path(__file__).parents[1]


def commands() -> Iterator[tuple[str, click.Command]]:
    for group in (mmprep_main, mmtrain_main):
        package = group.callback.__module__.partition(".")[0]
        for name, command in group.commands.items():
            yield f"{package} {name}", command


@pytest.mark.parametrize(("name", "command"), list(commands()), ids=str)
def test_every_command_and_option_is_documented(name: str, command: click.Command) -> None:
    assert command.help, f"{name} has no help"
    assert command.epilog, f"{name} has no example"
    assert name in command.epilog, f"the example of {name} shows another command"
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.opts[0]} has no help"


def test_the_same_option_means_the_same_everywhere() -> None:
    said: dict[str, set[tuple[str, str]]] = {}
    for name, command in commands():
        for parameter in command.params:
            if isinstance(parameter, click.Option) and parameter.opts[0] in SHARED:
                kind = (type(parameter.type).__name__, parameter.help or "")
                said.setdefault(parameter.opts[0], set()).add(kind)
        assert name
    assert {option: len(kinds) for option, kinds in said.items()} == dict.fromkeys(said, 1)


SHARED = ("--json", "--endpoint", "--workers", "--clip-timeout", "--dataset", "--annotations")


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    path = ROOT / "scripts" / "write_cli_docs.py"
    spec = importlib.util.spec_from_file_location("write_cli_docs", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_commands_is_what_the_commands_say(writer: ModuleType) -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert page == writer.text(), "run `.venv/bin/python scripts/write_cli_docs.py`"


def test_pages_show_the_catalogs_and_the_example_as_they_are(writer: ModuleType) -> None:
    for path, page in writer.filled_pages():
        assert path.read_text(encoding="utf-8") == page, "run `scripts/write_cli_docs.py`"


def test_readme_names_every_command_and_only_those() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name, _ in commands():
        assert name in readme, f"README.md does not mention {name}"
