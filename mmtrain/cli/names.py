"""Names on the command line, in our own spelling: ``BSS-L`` is bss-l, ``video`` is visual."""

from collections.abc import Callable, Iterable
from importlib.util import find_spec
from typing import Final, TypeAlias

import click

from mmprep.cli.group import listed
from mmtrain.config.choices import BY_CHOICE
from mmtrain.config.run import LOGGERS
from mmtrain.names import MODALITY_ALIASES, canonical

Callback: TypeAlias = Callable[[click.Context, click.Parameter, str | None], str | None]

CATALOGS: Final = BY_CHOICE


def name_in(known: Iterable[str]) -> Callback:
    """The callback of an option that takes one of ``known``; other names pass through."""
    names = tuple(known)

    def spelled(ctx: click.Context, param: click.Parameter, name: str | None) -> str | None:
        return None if name is None else canonical(name, names)

    return spelled


def names_in(
    known: Iterable[str],
) -> Callable[[click.Context, click.Parameter, tuple[str, ...]], tuple[str, ...] | None]:
    """The callback of a repeatable option that takes some of ``known``, split at commas."""
    names = tuple(known)

    def spelled(
        ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]
    ) -> tuple[str, ...] | None:
        given = listed(ctx, param, texts)
        return None if given is None else tuple(canonical(name, names) for name in given)

    return spelled


def modalities(
    ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]
) -> tuple[str, ...] | None:
    """The callback of ``--modalities``."""
    given = listed(ctx, param, texts)
    if given is None:
        return None
    return tuple(canonical(name, MODALITY_ALIASES.values(), MODALITY_ALIASES) for name in given)


def given_texts(
    ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]
) -> tuple[str, ...] | None:
    """The callback of a repeatable option whose texts are read later; None if it was not given."""
    return texts or None


def loggers(
    ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]
) -> tuple[str, ...] | None:
    """The callback of ``--log``: names of loggers whose packages are here."""
    given = names_in(LOGGERS)(ctx, param, texts)
    for name in given or ():
        if name in LOGGERS and find_spec(name) is None:
            raise click.UsageError(
                f"--log {name} needs the package {name}: pip install 'mmprep[{name}]', or "
                f"uv sync --extra {name} in a checkout"
            )
    return None if given is None else tuple(dict.fromkeys(given))
