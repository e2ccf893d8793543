"""Options of `compare` and `study` that say where runs are carried out."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import click

from mmprep.cli.group import counted
from mmtrain.comparison.engines import ENGINES, Engine, engine_named
from mmtrain.errors import ConfigError

Command = TypeVar("Command", bound=Callable[..., Any])
_NAMES: Final = ("engine", "jobs", "ray_address", "ray", "slurm", "dry_run")
# Option to the engine that it belongs to, and its keyword argument there.
_OWN: Final = {
    "--ray-address": ("ray", "address"),
    "--ray": ("ray", "resources"),
    "--slurm": ("slurm", "parameters"),
}


@dataclass(frozen=True, kw_only=True)
class Where:
    """Place and number of the runs at once.

    Attributes:
        engine: Name in ENGINES.
        jobs: Number of runs at once; None is the engine's own.
        options: Keyword arguments of the engine alone.
        dry_run: Whether nothing is carried out.
    """

    engine: str
    jobs: int | None
    options: Mapping[str, object]
    dry_run: bool

    def make(self) -> Engine | None:
        """Makes the engine; None where one run after the other is trained in this process.

        Raises:
            ConfigError: It needs a package that is not installed.
        """
        if self.engine == "local" and (self.jobs or 1) == 1:
            return None
        return engine_named(self.engine, self.options)


def engine_options(command: Command) -> Command:
    """Adds the options to a command, which takes them out of its own by `where_of`."""
    options = (
        click.option(
            "--engine",
            type=click.Choice([*ENGINES]),
            default="local",
            show_default=True,
            help="Engine that carries out the runs: processes here, tasks of a Ray cluster, or an "
            "array of Slurm. Any goes on with the runs of another.",
        ),
        click.option(
            "--jobs",
            type=click.IntRange(1),
            metavar="N",
            help="Number of runs at once; here they share cores and GPUs. [default: 1 with local, "
            "one for each GPU or else core with ray, no limit with slurm]",
        ),
        click.option(
            "--ray-address",
            metavar="HOST:PORT",
            help="Address of the cluster for --engine ray. [default: RAY_ADDRESS, or that of this "
            "node]",
        ),
        click.option(
            "--ray",
            multiple=True,
            metavar="KEY=VALUE",
            help="Resource of a run of --engine ray, num_cpus or num_gpus, such as num_gpus=0.5; "
            "repeatable.",
        ),
        click.option(
            "--slurm",
            multiple=True,
            metavar="KEY=VALUE",
            help="Parameter of the jobs of --engine slurm, such as partition=gpu, gpus_per_node=1 "
            "or timeout_min=60; repeatable.",
        ),
        click.option(
            "--dry-run",
            is_flag=True,
            help="Print the runs, and the hours and bytes of those that are left, from a few "
            "measured steps of each kind; write nothing.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def where_of(options: dict[str, Any]) -> Where:
    """Takes the options of `engine_options` out of ``options``.

    Raises:
        ConfigError: One of them belongs to another engine.
    """
    given = {name: options.pop(name) for name in _NAMES}
    own = {
        "--ray-address": given["ray_address"],
        "--ray": dict(_pair("--ray", text) for text in given["ray"]),
        "--slurm": dict(_pair("--slurm", text) for text in given["slurm"]),
    }
    for option, value in own.items():
        if value and given["engine"] != _OWN[option][0]:
            raise ConfigError(
                f"{option} goes with --engine {_OWN[option][0]}, not {given['engine']}"
            )
    return Where(
        engine=given["engine"],
        jobs=given["jobs"],
        options={_OWN[option][1]: value for option, value in own.items() if value},
        dry_run=given["dry_run"],
    )


def _pair(option: str, text: str) -> tuple[str, str]:
    key, equals_sign, value = text.partition("=")
    if not equals_sign or not key.strip():
        raise ConfigError(f"{option} takes KEY=VALUE; got {text!r}")
    return key.strip(), value.strip()


def print_dry_run(plan: Mapping[str, Any], where: Where, as_json: bool) -> None:
    """Prints the runs of a comparison, and what they take."""
    hours = plan["seconds"] / 3600
    if as_json:
        click.echo(json.dumps({**plan, "hours": hours}))
        return
    width = max(len("row"), *(len(row["label"]) for row in plan["rows"]))
    heads = ("runs", "done", "epochs left", "s an epoch", "hours", "GB read", "parameters")
    click.echo(f"{'row':{width}}  " + "  ".join(f"{head:>11}" for head in heads))
    for row in plan["rows"]:
        click.echo(f"{row['label']:{width}}  " + "  ".join(f"{c:>11}" for c in _cells(row)))
    for row in plan["rows"]:
        if "error" in row:
            click.echo(f"{row['label']} would fail: {row['error']}")
    tuning = f" ({plan['tuning']} of tuning)" if plan["tuning"] else ""
    click.echo(
        f"{counted(plan['runs'], 'run')}{tuning}, {plan['finished']} finished; the rest takes "
        f"about {hours:.2g} h, one after the other on this machine{_at_once(plan, where, hours)}, "
        f"and reads {plan['bytes'] / 1e9:.3g} GB; nothing was written"
    )


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    counts = (str(row["runs"]), str(row["finished"]))
    if "error" in row:
        return (*counts, *("-",) * 5)
    measured = "seconds_an_epoch" in row
    return (
        *counts,
        str(row["epochs"]),
        f"{row['seconds_an_epoch']:.3g}" if measured else "-",
        f"{row['seconds'] / 3600:.2g}",
        f"{row['bytes'] / 1e9:.3g}",
        f"{row['parameters']:,}" if measured else "-",
    )


def _at_once(plan: Mapping[str, Any], where: Where, hours: float) -> str:
    """Hours of several machines; on one, runs at once share what there is."""
    left = plan["runs"] - plan["finished"]
    if where.engine == "local" or where.jobs is None or left < 2:
        return ""
    count = min(where.jobs, left)
    return f", {hours / count:.2g} h on {count} machines like it"
