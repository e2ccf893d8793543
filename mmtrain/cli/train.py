"""What each command of mmtrain does; progress and logs go to stderr."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from mmtrain.cli.progress import watching
from mmtrain.comparison.entrants import Contest
from mmtrain.config.overrides import changes, names_of, paired
from mmtrain.config.recipes import applied
from mmtrain.config.run import TrainConfig, parse
from mmtrain.errors import ConfigError, Interrupted
from mmtrain.training.assemble import CONFIG, config_of
from mmtrain.training.train import train


def run_train(
    given: Mapping[str, Any], settings: Sequence[str], out: Path, resume: bool
) -> dict[str, Any]:
    """Trains as asked.

    Args:
        given: The options that were given; in a resumed run, the others are as they were.
        settings: Texts of ``--set``.
        out: RUN.
        resume: Go on with the run that is there.
    """
    if resume and (out / CONFIG).exists():
        base = config_of(out)
    elif "data" not in given:
        raise ConfigError("--data is needed: the folder or address of the shards")
    else:
        base = TrainConfig(data=given["data"])
    options = _split(given)
    recipe = options.pop("recipe", None)
    if recipe is not None:
        base = applied(recipe, paired(base.changed(options)))
    asked = paired(base.changed(options))
    config = asked.changed(changes(settings, names_of(asked)))
    try:
        with watching(Console(stderr=True), config.epochs) as watch:
            return train(config, out, resume=resume, watch=watch)
    except KeyboardInterrupt as error:
        raise Interrupted("stopped. The same command with --resume goes on from here") from error


def run_compare(given: Mapping[str, Any], who: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Compares as asked.

    Args:
        given: The options of a run that were given.
        who: The other fields of a `mmtrain.comparison.entrants.Contest`; ``seeds`` as texts.
        out: DIR.
    """
    # Its charts take a second to load, which a run of one method need not wait for.
    from mmtrain.comparison.compare import compare

    if "data" not in given:
        raise ConfigError("--data is needed: the folder or address of the shards")
    options = _split(given)
    recipe = options.pop("recipe", None)
    seeds = [parse("--seeds", text, int) for text in who["seeds"]]
    base = TrainConfig(data=given["data"]).changed(options)
    contest = Contest(**{**who, "base": base, "seeds": seeds, "recipe": recipe, "given": options})
    return compare(contest, out, partial(watching, Console(stderr=True)))


def _split(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options with the list of modalities taken apart."""
    names = given.get("modalities")
    return {**given, "modalities": parse("modalities", names, tuple)} if names else {**given}


def told(result: Mapping[str, Any]) -> str:
    """The result of a run in two lines."""
    lines = [f"{result['run']}: {result['epochs']} epochs in {result['train_seconds']:.1f} s"]
    found = result["test"] or result["val"]
    if found is not None:
        split = "test" if result["test"] else "val"
        own = ", ".join(f"{m} {said['accuracy']:.3f}" for m, said in found["modalities"].items())
        lines.append(
            f"{split}, best epoch {result['best_epoch'] + 1}: accuracy {found['accuracy']:.3f} "
            f"({own}), mAP {found['map']:.3f}, macro-F1 {found['macro_f1']:.3f}"
        )
    return "\n".join(lines)
