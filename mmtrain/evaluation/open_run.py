"""Opening a trained run: its best weights on its data, to measure but not to change."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmtrain import files
from mmtrain.errors import ConfigError
from mmtrain.training.assemble import assemble
from mmtrain.training.checkpoint import BEST
from mmtrain.training.parts import config_of, fitted, shards_of
from mmtrain.training.run import Run


@contextmanager
def open_run(folder: Path, data: str | None = None, device: str | None = None) -> Iterator[Run]:
    """Opens the run in ``folder`` with the weights that were best on val; changes nothing of it.

    Args:
        folder: Folder of the run.
        data: Place of the shards, if they have moved.
        device: Device to compute on, if not the one of training.

    Raises:
        ConfigError: The folder holds no run, or the run has no best weights yet.
        DataError: The weights are damaged, or were trained on other data.
    """
    config = config_of(folder)
    if not (folder / BEST).exists():
        raise ConfigError(
            f"{folder} has no {BEST} yet, which the first epoch writes; go on with "
            f"`mmtrain train --out {folder} --resume`"
        )
    # A changed plug-in is warned of: its weights, if they fit, can be looked at.
    config = replace(
        config, data=data or config.data, device=device or config.device, allow_changed=True
    )
    with shards_of(config) as dataset:
        config = fitted(config, dataset)
        with assemble(config, dataset, folder, file=BEST) as run:
            yield run


def require_split(run: Run, split: str) -> None:
    """Refuses a split that has no samples.

    Raises:
        UnknownName: The data set has no such split.
        ConfigError: The split is empty.
    """
    dataset = run.feed.dataset
    if not len(dataset.ids(split)):
        raise ConfigError(f"{dataset.store.url}: the split {split} has no sample")


def write_json(path: Path, plain: Mapping[str, Any]) -> None:
    """Writes one JSON object; a reader finds the old file or the new one, never a half."""
    text = json.dumps(plain)
    files.replace(path, lambda file: file.write(f"{text}\n".encode()))
