"""`run.json`: how a run came about, command by command, and what repeating it needs.

The config holds what is computed; here stand the versions, the device and the data it was computed
with. Nothing in the file names the machine or holds a password.
"""

import hashlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import torch

from mmprep.format.damage import naming_damage
from mmprep.format.fields import parse_json
from mmprep.storage.redact import redacted
from mmprep.version import VERSION
from mmtrain import files
from mmtrain.config import recipes
from mmtrain.config.run import TrainConfig
from mmtrain.errors import ConfigError, Interrupted, MmtrainError
from mmtrain.names import canonical
from mmtrain.training.device import device_name
from mmtrain.training.ranks import Ranks

log = logging.getLogger(__name__)

RUN: Final = "run.json"
_FORMAT: Final = 1
_REMEDY: Final = "remove it, and the history begins anew"
# Libraries on which the results depend, or the bytes that are read.
_LIBRARIES: Final = (
    *("numpy", "torchvision", "h5py", "simplejpeg", "opencv-contrib-python-headless", "obstore"),
    *("webdataset", "scikit-learn", "timm", "transformers"),
)
_CHECKOUT: Final = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where the config of a run came from, as far as it does not say so itself.

    Attributes:
        recipe: Name and SHA-256 of the recipe, see `recipe_record`; None without one.
        repeats: The config.json of the run that is started again; None for a new run.
        root: Root hash of the data of that run; None where it is not known.
    """

    recipe: Mapping[str, str] | None = None
    repeats: str | None = None
    root: str | None = None

    def require_data(self, root: str, place: str) -> None:
        """Refuses other data than those of the run that is started again.

        Raises:
            ConfigError: The data in ``place`` have another root than it was trained on.
        """
        if self.root not in (None, root):
            raise ConfigError(
                f"{self.repeats} is of a run on data with the root {self.root}, and "
                f"{redacted(place)} has the root {root}; give --data the place of the former, or "
                "train on the latter without --config"
            )


def recipe_record(name: str) -> dict[str, str]:
    """Name of a recipe, and the SHA-256 of its text.

    Raises:
        UnknownName: There is no such recipe.
        ConfigError: Its file cannot be read.
    """
    known = canonical(name, recipes.names())
    return {"name": known, "sha256": hashlib.sha256(recipes.text(known).encode()).hexdigest()}


def origin_of(config: Path) -> Origin:
    """Origin of the run that repeats the one whose config.json is ``config``.

    Raises:
        DataError: The run.json beside it is damaged.
    """
    history = read(config.parent)
    if not history:
        log.warning("%s has no %s beside it: the data cannot be compared", config, RUN)
        return Origin(repeats=str(config))
    return Origin(recipe=history["recipe"], repeats=str(config), root=history["root"])


def read(folder: Path) -> dict[str, Any]:
    """Content of run.json in ``folder``; empty where there is none, as earlier versions left it.

    Raises:
        DataError: The file is damaged.
    """
    path = folder / RUN
    if not path.exists():
        return {}
    with naming_damage(str(path), _REMEDY):
        plain = {**parse_json(path.read_bytes())}
        recipe, commands = plain["recipe"], plain["commands"]
        wrong = not isinstance(plain["root"], str) or not isinstance(commands, list)
        if wrong or not isinstance(recipe, dict | None) or plain["format"] != _FORMAT:
            raise ValueError("fields of other types")
    return plain


@contextmanager
def recorded(
    folder: Path, config: TrainConfig, root: str, origin: Origin, ranks: Ranks
) -> Iterator[None]:
    """Adds this command to run.json of ``folder``, and at its end how it ended.

    Args:
        folder: Folder of the run.
        config: Config of the run.
        root: Root hash of its data.
        origin: Origin of the config, for the first command.
        ranks: Processes that train together, of which the first writes.
    """
    if not ranks.first:
        yield
        return
    history = read(folder) or {
        "format": _FORMAT, "root": root, "recipe": origin.recipe, "commands": []
    }  # fmt: skip
    command = _command(config, ranks) | {"resumed": bool(history["commands"])}
    history["commands"].append(command)
    _write(folder, history)
    try:
        yield
    except BaseException as error:
        stopped = isinstance(error, (Interrupted, KeyboardInterrupt))
        command |= {"ended": now(), "outcome": "stopped" if stopped else "failed"}
        # The disk that refuses this file has mostly refused another, whose error goes on.
        with suppress(MmtrainError):
            _write(folder, history)
        raise
    command |= {"ended": now(), "outcome": "finished"}
    _write(folder, history)


def _command(config: TrainConfig, ranks: Ranks) -> dict[str, Any]:
    return {
        "argv": command_line(),
        "data": redacted(config.data),
        "started": now(),
        "ended": None,
        "outcome": None,
        "device": device_name(config.device),
        # The CPU's sums depend on how many threads share them.
        "threads": torch.get_num_threads(),
        "ranks": ranks.world,
        "versions": versions(),
        "commit": commit(),
    }


def command_line() -> list[str]:
    """Command of this process, with the name of its program and without passwords."""
    program = Path(sys.argv[0])
    name = program.parent.name if program.name == "__main__.py" else program.name
    return [redacted(each) for each in (name, *sys.argv[1:])]


def versions() -> dict[str, str]:
    """Versions of the packages, of Python, and of libraries on which results depend."""
    known = {
        "mmprep": VERSION,
        "mmtrain": VERSION,
        "python": ".".join(map(str, sys.version_info[:3])),
        "torch": str(torch.__version__),  # With the kind of build, unlike the metadata.
    }
    for name in _LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            known[name] = metadata.version(name)
    return known


def commit() -> str | None:
    """Commit of the packages' checkout, with ``-dirty`` behind it; None where they are installed.

    A package that is installed into the folder of another project must not name its commit.
    """
    if not (_CHECKOUT / ".git").exists():
        return None
    command = ("git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    # In a hook of git, its variables name another checkout.
    environment = {name: v for name, v in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            command, cwd=_CHECKOUT, env=environment, capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def now() -> str:
    """Time of day in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _write(folder: Path, history: Mapping[str, Any]) -> None:
    text = json.dumps(history, indent=1, ensure_ascii=False) + "\n"
    files.replace(folder / RUN, lambda file: file.write(text.encode(errors="replace")))
