"""A study once more, from what its folder keeps of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmprep.storage.redact import redacted
from mmtrain.comparison import manifest
from mmtrain.comparison.compare import STUDY
from mmtrain.comparison.evaluations import Evaluations
from mmtrain.comparison.study import Study, read, text
from mmtrain.config.run import TrainConfig
from mmtrain.errors import ConfigError
from mmtrain.training.history import recipe_record
from mmtrain.training.parts import shards_of


@dataclass(frozen=True, kw_only=True)
class RecordedStudy:
    """A study as it was run.

    Attributes:
        study: The study.
        text: Text of its file.
        options: Options of a run that the command line gave.
        recipe: Name or file of the recipe that it gave; None for none.
        seeds: Seeds that it gave; none where the study's own were taken.
        settings: Texts of ``--set`` that it gave.
        root: Root hash of the data.
    """

    study: Study
    text: str
    options: Mapping[str, Any]
    recipe: str | None
    seeds: Sequence[int]
    settings: Sequence[str]
    root: str


def recorded_study(folder: Path) -> RecordedStudy:
    """Reads the study that is in a folder.

    Raises:
        ConfigError: The folder holds no finished study, or the recipe has changed since.
        DataError: The manifest is damaged.
    """
    plain = manifest.require(folder)
    file = folder / STUDY
    if not file.exists():
        command = " ".join(plain["commands"][-1]["argv"])
        raise ConfigError(f"{folder} was made without a study; repeat its command: {command}")
    request = plain["request"]
    recipe = request["recipe"]
    if recipe is not None and recipe_record(recipe["name"]) != recipe:
        raise ConfigError(
            f"the recipe {recipe['name']} has changed since {folder} was made with it; find the "
            f"version with the SHA-256 {recipe['sha256']}"
        )
    return RecordedStudy(
        study=replace(read(str(file)), evaluations=Evaluations.requested(request["evaluations"])),
        text=text(str(file)),
        options={k: tuple(v) if isinstance(v, list) else v for k, v in request["options"].items()},
        recipe=None if recipe is None else recipe["name"],
        seeds=request["seeds"],
        settings=request["settings"],
        root=plain["data"]["root"],
    )


def require_same_data(recorded: RecordedStudy, config: TrainConfig, folder: Path) -> None:
    """Refuses other data than those of the study that is repeated.

    Raises:
        ConfigError: The data have another root.
    """
    with shards_of(config) as dataset:
        root = dataset.description.root
    if root != recorded.root:
        raise ConfigError(
            f"{folder} is a study of data with the root {recorded.root}, and "
            f"{redacted(config.data)} has the root {root}; give --data the place of the former"
        )
