"""The work of `train` and `compare`: makes the config, trains; progress and logs go to stderr."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.filesize import decimal

from mmprep.cli.group import counted
from mmtrain import plugins
from mmtrain.cli.engines import Where
from mmtrain.cli.following import duration
from mmtrain.cli.measured import main_measure, other_measures
from mmtrain.cli.progress import watching
from mmtrain.comparison.entrants import Contest, seeds_of
from mmtrain.comparison.evaluations import Evaluations
from mmtrain.comparison.study import Study, contest_of
from mmtrain.config.overrides import require_consent
from mmtrain.config.request import Request
from mmtrain.config.run import FREE, TrainConfig
from mmtrain.errors import ConfigError, Interrupted
from mmtrain.training.history import Origin, origin_of, recipe_record
from mmtrain.training.launch import launch_of
from mmtrain.training.parts import CONFIG, config_of, read_config
from mmtrain.training.train import train


def run_train(
    given: Mapping[str, Any], settings: Sequence[str], out: Path, resume: bool
) -> dict[str, Any]:
    """Trains a run, and returns the content of its result.json.

    Args:
        given: Options that were given; a resumed run keeps its values of the others.
        settings: Texts of ``--set``.
        out: Folder of the run.
        resume: Whether to go on with a run that is there.
    """
    request = _request(given, settings)
    with plugins.allowing() if given.get("allow_changed") else nullcontext():
        # Whoever names a plug-in here wants its code to run, also for a config that names it.
        request.load_plugins()
        base = config_of(out) if resume and (out / CONFIG).exists() else None
        config = request.config(base)
        recipe = None if request.recipe is None else recipe_record(request.recipe)
        return _train(config, out, resume, Origin(recipe=recipe))


def run_dry(path: Path | None, given: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """Returns the cost of a run, see `mmtrain.training.planning.planned`.

    Args:
        path: The config.json of the run; None describes it by options alone.
        given: Options that were given.
        settings: Texts of ``--set``.
    """
    from mmtrain.training.planning import planned

    request = _request(given, settings)
    with plugins.allowing() if given.get("allow_changed") else nullcontext():
        request.load_plugins()
        base = None if path is None else read_config(path)
        if base is not None:
            require_consent(base, str(path))
        return planned(request.config(base))


def run_again(
    path: Path, given: Mapping[str, Any], settings: Sequence[str], out: Path | None
) -> dict[str, Any]:
    """Starts the run of a config.json once more, and returns the content of its result.json.

    Args:
        path: The config.json.
        given: Options that were given, which may not change what the run computes.
        settings: Texts of ``--set``, likewise.
        out: Folder of the new run; None chooses one beside the old.
    """
    if given.get("recipe") is not None:
        raise ConfigError("--config holds every value of a run: leave --recipe out")
    request = _request(given, settings)
    with plugins.allowing() if given.get("allow_changed") else nullcontext():
        request.load_plugins()
        base = read_config(path)
        require_consent(base, str(path))
        config = request.config(base)
        if changed := base.differences(config):
            raise ConfigError(
                f"--config starts the same run again, and {'; '.join(changed)} would make it "
                "another; leave that out, or train without --config"
            )
        origin = origin_of(path)
        return _train(config, out or _free_name(path), False, origin)


def _free_name(path: Path) -> Path:
    """Folder beside that of a config.json which is not there: RUN-2, or the next number."""
    if path.name != CONFIG or launch_of().world > 1:
        raise ConfigError("--out is needed: the folder of the new run")
    return free_name(path.parent)


def free_name(folder: Path) -> Path:
    """Folder beside another that is not there: FOLDER-2, or the next number."""
    whole = folder.resolve()
    names = (whole.with_name(f"{whole.name}-{number}") for number in count(2))
    return next(name for name in names if not name.exists())


def _train(config: TrainConfig, out: Path, resume: bool, origin: Origin) -> dict[str, Any]:
    try:
        with watching(Console(stderr=True), config.epochs) as watch:
            return train(config, out, resume=resume, watch=watch, origin=origin)
    except KeyboardInterrupt as error:
        raise Interrupted("Stopped. The same command with --resume goes on from here") from error


def run_compare(
    given: Mapping[str, Any], entrants: Mapping[str, Any], out: Path, where: Where
) -> dict[str, Any]:
    """Trains the runs of a comparison, and returns the content of its table.json.

    A dry run returns what they take.

    Args:
        given: Options of a run that were given.
        entrants: Other fields of a `mmtrain.comparison.entrants.Contest`, with ``seeds`` as texts,
            and ``probe``, ``missing`` and ``noise`` of its evaluations.
        out: Folder of the comparison.
        where: Place and number of the runs at once.
    """
    request = _request(given, ())
    request.load_plugins()
    common = {"base": Request(options=request.options).config(), "recipe": request.recipe}
    seeds = seeds_of(entrants["seeds"])
    own = {**entrants, **common, "seeds": seeds, "given": request.options}
    asked = Evaluations.of(*(own.pop(name) for name in ("probe", "missing", "noise")))
    return _carried_out(Contest(**own, evaluations=asked), out, where)


def run_study(
    given: Mapping[str, Any],
    study: Study,
    text: str,
    seeds: Sequence[str],
    settings: Sequence[str],
    out: Path,
    where: Where,
) -> dict[str, Any]:
    """Trains the runs of a study, and returns the content of its table.json.

    A dry run returns what they take.

    Args:
        given: Options of a run that were given.
        study: The study.
        text: Text of its file.
        seeds: Seeds as texts, in the place of the study's; none for these.
        settings: Texts of ``--set``.
        out: Folder of the study.
        where: Place and number of the runs at once.
    """
    request = _request(given, ())
    contest = contest_of(
        study,
        Request(options=request.options).config(),
        text=text,
        given=request.options,
        recipe=request.recipe,
        seeds=seeds_of(seeds),
        settings=settings,
    )
    return _carried_out(contest, out, where)


def _carried_out(contest: Contest, out: Path, where: Where) -> dict[str, Any]:
    # Its charts take a second to load, which `train` would wait for in vain.
    from mmtrain.comparison.compare import compare
    from mmtrain.comparison.dry_run import dry_run

    engine = where.make()
    if where.dry_run:
        return dry_run(contest, out)
    return compare(contest, out, partial(watching, Console(stderr=True)), where.jobs, engine)


def repeat_study(
    folder: Path, given: Mapping[str, Any], out: Path, where: Where, evaluations: Evaluations
) -> dict[str, Any]:
    """Trains the runs of a study once more, and returns the content of the new table.json.

    Args:
        folder: Folder of the study.
        given: Options of a run that were given, which may not change what is computed.
        out: Folder of the new study.
        where: Place and number of the runs at once.
        evaluations: Those of the command line; there must be none.
    """
    from mmtrain.comparison.again import recorded_study, require_same_data

    if evaluations != Evaluations():
        raise ConfigError("--again measures what was measured; leave out --probe and the like")
    recorded = recorded_study(folder)
    if changing := [name for name in given if name not in FREE]:
        # Texts of --set are its settings.
        shown = ", ".join(f"--{name.replace('tings', '').replace('_', '-')}" for name in changing)
        raise ConfigError(
            f"--again repeats a study as it was, and {shown} would make it another; leave that "
            "out, or start it from its study.toml"
        )
    options: dict[str, Any] = {**recorded.options, **given}
    require_same_data(recorded, Request(options=options).config(), folder)
    if recorded.recipe is not None:
        options["recipe"] = recorded.recipe
    seeds = [str(seed) for seed in recorded.seeds]
    return run_study(options, recorded.study, recorded.text, seeds, recorded.settings, out, where)


def _request(given: Mapping[str, Any], settings: Sequence[str]) -> Request:
    options = {**given}  # A recipe is no field of a config.
    return Request(recipe=options.pop("recipe", None), options=options, settings=settings)


def summary(result: Mapping[str, Any]) -> str:
    """The result of a run in two lines."""
    epochs = counted(result["epochs"], "epoch")
    lines = [f"{result['run']}: {epochs} in {result['train_seconds']:.1f} s"]
    measured = result["test"] or result["val"]
    if measured is not None:
        split = "test" if result["test"] else "val"
        texts = ", ".join([main_measure(measured), *other_measures(measured)])
        lines.append(f"{split}, best epoch {result['best_epoch'] + 1}: {texts}")
    return "\n".join(lines)


def plan_text(plan: Mapping[str, Any]) -> str:
    """Returns lines that show the cost of a run."""
    own = {name: count for name, count in plan["parameters"].items() if name != "all"}
    parts = ", ".join(f"{name} {count:,}" for name, count in own.items())
    seconds = plan["seconds_an_epoch"]
    epochs = counted(plan["epochs"], "epoch")
    return "\n".join(
        [
            f"parameters: {plan['parameters']['all']:,} ({parts})",
            f"steps: {plan['steps_an_epoch']:,} an epoch of {plan['step_size']} samples a step, "
            f"{plan['steps']:,} in {epochs}",
            f"time: about {duration(seconds)} an epoch, {duration(plan['seconds'])} in all",
            f"memory: {decimal(plan['memory_bytes'])}",
            f"read: {decimal(plan['bytes_an_epoch'])} an epoch",
            "measured by a few steps on this machine; nothing was written",
        ]
    )
