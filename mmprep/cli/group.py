"""The group and the commands of both packages: errors become exit codes, options are given once."""

import errno
from collections import Counter
from typing import Any, NoReturn

import click

from mmprep.errors import MmprepError
from mmprep.printable import counted, printable
from mmprep.storage.refusals import disk_refusal

__all__ = ["Command", "Group", "counted", "listed"]


class Command(click.Command):
    """A command that refuses an option given twice, unless the option is repeatable.

    Click alone would take the last value and drop the others without a word.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parses ``args``; a usage error, which is exit code 2, names an option given twice."""
        if not ctx.resilient_parsing:
            # The parser consumes its list, and Click's own pass below needs a whole one.
            _, _, order = self.make_parser(ctx).parse_args(list(args))
            for parameter, times in Counter(order).items():
                if isinstance(parameter, click.Option) and times > 1 and not parameter.multiple:
                    _refuse(parameter, times, ctx)
        return super().parse_args(ctx, args)


class Group(click.Group):
    """A group that turns our errors into a message and an exit code, and Ctrl-C into one line."""

    command_class = Command

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command that was asked for."""
        try:
            return super().invoke(ctx)
        except MmprepError as error:
            click.echo(printable(f"{error.prefix}{error}"), err=True)
            ctx.exit(error.exit_code)
        except OSError as error:
            # A pipe that its reader closed is no failure, and Click's to handle.
            if error.errno in (None, errno.EPIPE):
                raise
            place = f"{error.filename}: " if error.filename else ""
            click.echo(printable(f"Error: {place}{disk_refusal(error)}"), err=True)
            ctx.exit(1)
        except KeyboardInterrupt:
            click.echo("Stopped. The same command goes on from here.", err=True)
            ctx.exit(1)


def listed(
    ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]
) -> tuple[str, ...] | None:
    """Names of a repeatable option, each text split at its commas; None if it was not given.

    The callback of options such as ``--methods``: ``a,b`` and ``--methods a --methods b`` are one.
    """
    if not texts:
        return None
    return tuple(name.strip() for text in texts for name in text.split(",") if name.strip())


def _refuse(option: click.Option, times: int, ctx: click.Context) -> NoReturn:
    name = option.opts[0]
    raise click.UsageError(f"{name} is given {times} times, and takes one value; give it once", ctx)
