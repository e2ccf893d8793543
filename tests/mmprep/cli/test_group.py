"""Commands of both packages refuse an option that is given twice, and take lists in two forms."""

import errno
import json
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from mmprep.cli.group import Command, Group, counted, listed
from mmprep.cli.main import main as mmprep_main
from mmprep.errors import MmprepError, UnknownName
from mmtrain.cli.main import main as mmtrain_main
from mmtrain.errors import UnknownName as TrainingUnknownName


def single_options() -> Iterator[tuple[click.Group, str, click.Option]]:
    for group in (mmprep_main, mmtrain_main):
        for name, command in group.commands.items():
            for option in command.params:
                if isinstance(option, click.Option) and not option.multiple:
                    yield group, name, option


@pytest.mark.parametrize(
    ("group", "name", "option"),
    [pytest.param(*each, id=f"{each[1]} {each[2].opts[0]}") for each in single_options()],
)
def test_an_option_given_twice_is_a_wrong_request(
    group: click.Group, name: str, option: click.Option
) -> None:
    once = [option.opts[0]] if option.is_flag else [option.opts[0], "1"]
    done = CliRunner().invoke(group, [name, *once, *once])
    assert done.exit_code == 2
    assert f"Error: {option.opts[0]} is given 2 times, and takes one value" in done.stderr


def test_every_command_of_both_packages_is_of_the_shared_class() -> None:
    for group in (mmprep_main, mmtrain_main):
        assert all(isinstance(command, Command) for command in group.commands.values())


@pytest.mark.parametrize(
    "flags", [("--seed", "1", "--seed=2"), ("--alone", "--no-alone"), ("--json", "--json")]
)
def test_other_spellings_of_an_option_count(flags: tuple[str, ...]) -> None:
    @click.command(cls=Command)
    @click.option("--seed", type=int)
    @click.option("--alone/--no-alone")
    @click.option("--json", is_flag=True)
    def command(**_: object) -> None:
        raise AssertionError

    assert CliRunner().invoke(command, flags).exit_code == 2


def test_lists_take_commas_and_repetition() -> None:
    @click.command(cls=Command)
    @click.option("--names", multiple=True, callback=listed)
    def command(names: tuple[str, ...] | None) -> None:
        click.echo(json.dumps(names))

    def parsed(*arguments: str) -> object:
        return json.loads(CliRunner().invoke(command, arguments).stdout)

    assert parsed("--names", "a,b", "--names", " c ,") == ["a", "b", "c"]
    assert parsed() is None


@pytest.mark.parametrize(
    ("option", "group", "name"),
    [
        ("--parts", mmprep_main, "build"),
        ("--methods", mmtrain_main, "compare"),
        ("--seeds", mmtrain_main, "compare"),
        ("--curriculum", mmtrain_main, "compare"),
        ("--modalities", mmtrain_main, "compare"),
        ("--modalities", mmtrain_main, "train"),
    ],
)
def test_lists_are_repeatable(option: str, group: click.Group, name: str) -> None:
    (found,) = (each for each in group.commands[name].params if option in each.opts)
    assert isinstance(found, click.Option)
    assert found.multiple


def test_a_number_has_its_noun() -> None:
    assert counted(1, "clip") == "1 clip"
    assert counted(0, "clip") == "0 clips"
    assert counted(2000, "class") == "2,000 classes"


def test_unknown_names_offer_the_nearest_or_some() -> None:
    assert str(UnknownName("method", "JIONT", ["joint", "ogm"])).endswith("did you mean joint?")
    assert str(UnknownName("part", "zzz", ["", "b", "a"])).endswith("'zzz'; there are: a, b")
    many = str(UnknownName("key", "zzz", [f"name{i:02}" for i in range(14)]))
    assert many.endswith("name08, name09 and 4 more")
    assert str(UnknownName("split", "zzz", [])).endswith("there are none")


def test_both_packages_have_one_class_of_unknown_names() -> None:
    assert TrainingUnknownName is UnknownName
    assert issubclass(UnknownName, MmprepError)


def test_names_are_taken_in_any_case() -> None:
    done = CliRunner().invoke(mmprep_main, ["build", "--dataset", "AVE", "--out", "x"])
    assert "--raw names the folder" in done.stderr


def failing(error: Exception) -> click.Group:
    group = Group("tool")

    @group.command("act")
    def act() -> None:
        raise error

    return group


def test_a_refusal_of_the_disk_is_a_line_with_what_to_do() -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "runs/a/metrics.jsonl")
    done = CliRunner().invoke(failing(full), ["act"])
    assert done.exit_code == 1
    assert done.stderr == (
        "Error: runs/a/metrics.jsonl: the disk is full; free some space and run the same command "
        "again\n"
    )
    read_only = OSError(errno.EROFS, "Read-only file system")
    done = CliRunner().invoke(failing(read_only), ["act"])
    assert done.stderr == "Error: the file system is read-only; choose another place\n"


def test_passwords_in_addresses_reach_no_message() -> None:
    error = MmprepError("cannot read https://ann:s3cret@host/data/index.h5: timeout")
    done = CliRunner().invoke(failing(error), ["act"])
    assert done.stderr == "Error: cannot read https://host/data/index.h5: timeout\n"
