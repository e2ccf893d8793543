"""A run that was trained, to look at: its best weights on its data."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmtrain import files
from mmtrain.errors import ConfigError
from mmtrain.training.assemble import assemble, config_of, fitted, shards_of
from mmtrain.training.run import BEST, Run


@contextmanager
def opened(folder: Path, data: str | None = None, device: str | None = None) -> Iterator[Run]:
    """The run in ``folder`` with the weights that were best on val; nothing of it is changed.

    Args:
        folder: RUN.
        data: Where the shards are, if they have moved.
        device: Where to compute, if not where it was trained.

    Raises:
        ConfigError: No run there, or none with best weights yet.
        DataError: The weights are damaged, or of other data.
    """
    config = config_of(folder)
    if not (folder / BEST).exists():
        raise ConfigError(
            f"{folder} has no {BEST} yet, which the first epoch writes; go on with "
            f"`mmtrain train --out {folder} --resume`"
        )
    config = replace(config, data=data or config.data, device=device or config.device)
    with shards_of(config) as dataset:
        config = fitted(config, dataset)
        with assemble(config, dataset, folder, file=BEST) as run:
            yield run


def require(run: Run, split: str) -> None:
    """Refuses a split that the data lack.

    Raises:
        UnknownName: No such split.
        ConfigError: It has no sample.
    """
    dataset = run.feed.dataset
    if not len(dataset.ids(split)):
        raise ConfigError(f"{dataset.store.url}: the split {split} has no sample")


def write_json(path: Path, found: Mapping[str, Any]) -> None:
    """Writes one object: there is the old file or the new one, never a half."""
    text = json.dumps(found)
    files.replace(path, lambda file: file.write(f"{text}\n".encode()))
