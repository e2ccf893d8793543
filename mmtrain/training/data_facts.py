"""`preparation.json`: facts about the data of a run, with which it predicts when they are gone.

The config names the shards; this file holds what prediction needs of them: classes, the shapes of
inputs, and the parameters by which raw clips became samples.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np

from mmtrain import files
from mmtrain.data import ShardedDataset
from mmtrain.modalities import modality
from mmtrain.models.encoders import InputSize
from mmtrain.tasks.annotations import Annotations
from mmtrain.training.versioned import read_versioned

PREPARATION: Final = "preparation.json"
_FORMAT: Final = 1
_REMEDY: Final = "take it from a copy of the run"


@dataclass(frozen=True, kw_only=True)
class InputFacts:
    """Input of one modality.

    Attributes:
        size: Size of the encoder's input, see `mmtrain.models.encoders.base.InputSize`.
        shape: Shape of one sample in a batch.
    """

    size: int
    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """Facts about the data that a run was trained on.

    Attributes:
        name: Name of the data set.
        title: One-line title for people.
        root: Root hash of the data set.
        licence: Terms of the source data; empty where they are not known.
        task: Name of the task that was learnt.
        classes: Class names of the data set in the order of their ids.
        inputs: Modality to its input.
        parts: Parts and their parameters, as `dataset.json` has them.
        made_by: Versions of the libraries that made the shards.
        values: Number of values beside the class of a sample; None where there are none.
        groups: Names of the groups of samples.
    """

    name: str
    title: str
    root: str
    licence: str
    task: str
    classes: tuple[str, ...]
    inputs: Mapping[str, InputFacts]
    parts: Mapping[str, Any]
    made_by: Mapping[str, str]
    values: int | None = None
    groups: tuple[str, ...] = ()

    @classmethod
    def of(cls, dataset: ShardedDataset, task: str, sizes: Mapping[str, InputSize]) -> Self:
        """Facts about a data set that is open.

        Args:
            dataset: The data set.
            task: Name of the task of the run.
            sizes: Modality to the size of its encoder's input.
        """
        description, values = dataset.description, dataset.target
        return cls(
            name=description.name,
            title=description.title,
            root=description.root,
            licence=description.licence,
            task=task,
            classes=tuple(dataset.classes),
            inputs={m: InputFacts(size=int(s), shape=s.shape) for m, s in sizes.items()},
            parts=dict(description.parts),
            made_by=dict(description.made_by),
            values=None if values is None else int(values.shape[1]),
            groups=tuple(dataset.groups),
        )

    @property
    def sizes(self) -> dict[str, InputSize]:
        """Modality to the size of its encoder's input."""
        return {
            m: InputSize(each.size, modality(m).kind, each.shape) for m, each in self.inputs.items()
        }

    @property
    def annotations(self) -> Annotations:
        """Annotations of one sample that is of no interest, from which a task is made."""
        zeros = np.zeros(1, np.int64)
        return Annotations(
            place=self.name,
            classes=self.classes,
            label=zeros,
            values=None if self.values is None else np.zeros((1, self.values), np.float32),
            groups=self.groups,
            group=zeros if self.groups else None,
        )

    def write(self, folder: Path) -> None:
        """Writes the file into ``folder``, whole or not at all."""
        text = json.dumps({"format": _FORMAT, **asdict(self)}, indent=1, ensure_ascii=False)
        files.replace(folder / PREPARATION, lambda file: file.write(f"{text}\n".encode()))


def read_facts(folder: Path) -> DataFacts:
    """Reads the file in ``folder``.

    Raises:
        ConfigError: A newer version wrote it.
        DataError: It is damaged.
    """
    return read_versioned(folder / PREPARATION, DataFacts, _FORMAT, _REMEDY)
