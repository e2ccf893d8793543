"""An index is opened only if it is the one that `dataset.json` describes."""

import hashlib
from pathlib import Path

from mmprep.errors import DataError
from mmprep.format.columns import ADDED
from mmprep.format.dataset import DATASET, INDEX, Dataset
from mmprep.format.index import Index
from mmprep.format.index_checks import REMEDY
from mmprep.format.parts import RECORD
from mmprep.format.placed import open_placed


def open_index(path: Path, dataset: Dataset, place: str) -> Index:
    """Maps the index at ``path`` after comparing its SHA-256 with the one in `dataset.json`.

    The digest is computed first: a damaged label or split is as readable as a right one. Data sets
    without the digest, as early versions wrote them, are compared in names and counts alone.

    Args:
        path: Place of the index, or of a local copy of it.
        dataset: Description of the data set.
        place: Address of the data set, for messages.

    Raises:
        DataError: The index is damaged, or belongs to another data set.
    """
    expected = dataset.files.get(INDEX)
    if expected is not None and file_digest(path) != expected:
        raise DataError(f"{place}/{INDEX}: does not fit {DATASET}; {REMEDY}")
    index = open_placed(path)
    listed = {
        "shards": [shard.name for shard in dataset.shards],
        "classes": list(dataset.classes),
        "splits": list(dataset.splits),
        "parts": [RECORD, *dataset.parts.get("names", index.parts[1:])],
        "additions": [name for name in dataset.additions if name in ADDED],
    }
    for name, values in listed.items():
        if list(getattr(index, name)) != values:
            raise DataError(f"{place}/{INDEX}: names other {name} than {DATASET}; {REMEDY}")
    if len(index) != dataset.samples:
        raise DataError(
            f"{place}: {INDEX} has {len(index)} samples and {DATASET} {dataset.samples}; {REMEDY}"
        )
    return index


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal.

    Raises:
        DataError: It is no file.
    """
    if not path.is_file():
        raise DataError(f"{path}: not a file; {REMEDY}")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
