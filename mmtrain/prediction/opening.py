"""Opens what was trained: the folder of a run, or of an export."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from mmprep.format.agreement import file_digest
from mmtrain.config.overrides import require_consent
from mmtrain.config.run import BYTES, TrainConfig
from mmtrain.data import ShardedDataset
from mmtrain.errors import ConfigError, DataError, MmtrainError
from mmtrain.training import checkpoint
from mmtrain.training.checkpoint import BEST
from mmtrain.training.data_facts import PREPARATION, DataFacts, read_facts
from mmtrain.training.parts import CONFIG, config_of, facts_of, shards_of
from mmtrain.training.start import WEIGHTS, read_weights
from mmtrain.training.versioned import read_versioned

EXPORT: Final = "export.json"
METHOD: Final = "method.pt"
TOKENIZER: Final = "tokenizer.json"
FORMAT: Final = 1
_REMEDY: Final = "export the run again"


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """Content of a run's folder, or of an export, with which one predicts.

    Attributes:
        folder: The folder.
        config: Config of the run.
        facts: Facts about its data.
        saved: ``model`` and ``method``, as `mmtrain.training.run.Run` saves them, and ``best``.
        teachers: Folder of each run that it learnt from to its config, in an export.
    """

    folder: Path
    config: TrainConfig
    facts: DataFacts
    saved: dict[str, Any]
    teachers: dict[str, TrainConfig]

    def config_of(self, folder: Path) -> TrainConfig:
        """Config of the run in ``folder`` that this one learnt from."""
        return self.teachers.get(str(folder)) or config_of(folder)


@dataclass(frozen=True, kw_only=True)
class ExportFacts:
    """Content of `export.json`, which is written last.

    Attributes:
        best: Epoch of the weights, and its measures on val.
        digests: File to its SHA-256.
        teachers: Folder of each run that it learnt from to the text of its config.
        versions: Versions of the libraries that wrote it.
        refused: File that was asked for and not written to the reason.
    """

    best: dict[str, Any]
    digests: dict[str, str]
    teachers: dict[str, str]
    versions: dict[str, str]
    refused: dict[str, str]


def open_trained(folder: Path, data: str | None = None) -> Trained:
    """Opens a run or an export; the shards are not needed.

    Args:
        folder: Folder of the run, or of the export.
        data: Place of the shards, of which a run of an older version needs to look at one sample.

    Raises:
        ConfigError: It is neither, or the run has no best weights yet.
        DataError: A file is damaged.
    """
    if (folder / EXPORT).exists():
        return _open_export(folder)
    config = config_of(folder)
    if not (folder / BEST).exists():
        raise ConfigError(
            f"{folder} has no {BEST} yet, which the first epoch writes; go on with "
            f"`mmtrain train --out {folder} --resume`"
        )
    saved = checkpoint.load(folder / BEST)
    facts = _facts(folder, config, data)
    if saved.get("data") != facts.root:
        raise DataError(f"{folder}: was trained on other data than {facts.name} has")
    return Trained(folder=folder, config=config, facts=facts, saved=saved, teachers={})


def read_export(folder: Path) -> ExportFacts:
    """Reads `export.json`.

    Raises:
        ConfigError: A newer version wrote it.
        DataError: It is damaged.
    """
    return read_versioned(folder / EXPORT, ExportFacts, FORMAT, _REMEDY)


def _open_export(folder: Path) -> Trained:
    export = read_export(folder)
    for name in (WEIGHTS, METHOD, CONFIG, PREPARATION):
        if file_digest(folder / name) != export.digests.get(name):
            raise DataError(f"{folder / name}: was changed or damaged; {_REMEDY}")
    config = config_of(folder)
    if config.view.tokenizer != BYTES:
        tokenizer = str((folder / TOKENIZER).resolve())
        config = replace(config, view=replace(config.view, tokenizer=tokenizer))
    teachers = {
        place: TrainConfig.from_json(text, f"{folder / EXPORT}: {place}")
        for place, text in export.teachers.items()
    }
    for place, each in teachers.items():
        require_consent(each, f"{folder / EXPORT}: {place}")
    return Trained(
        folder=folder,
        config=config,
        facts=read_facts(folder),
        saved={
            **checkpoint.load(folder / METHOD),
            "model": read_weights(folder / WEIGHTS),
            "best": export.best,
        },
        teachers=teachers,
    )


def _facts(folder: Path, config: TrainConfig, data: str | None) -> DataFacts:
    """Facts about the data of a run; of one of an older version, from the data."""
    if (folder / PREPARATION).exists():
        return read_facts(folder)
    try:
        with _shards(config, data) as dataset:
            return facts_of(config, dataset)
    except MmtrainError as error:
        raise ConfigError(
            f"{folder} has no {PREPARATION}, which earlier versions did not write, so its data "
            f"are needed, and cannot be read ({error}); give their place by --data"
        ) from error


def _shards(config: TrainConfig, data: str | None) -> ShardedDataset:
    return shards_of(replace(config, data=data or config.data))
