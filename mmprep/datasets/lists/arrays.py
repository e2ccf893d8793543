"""One pickle with all splits: arrays of features, scores and names (CMU-MOSI after MulT).

``train``, ``valid`` and ``test`` hold an array for each modality, ``labels`` and ``id``, all with a
row a sample. The file is list and media at once: a source is ``FILE#train/audio/17``. No code of it
is executed, see `mmprep.clips.decode.pickled`.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from mmprep.clips.decode import pickled
from mmprep.datasets.lists.listed import Lists, files, option
from mmprep.datasets.spec import Spec
from mmprep.errors import DataError
from mmprep.format.damage import naming_damage
from mmprep.manifest import Listed, safe_key

_NAMES: Final = {"train": "train", "val": "valid", "test": "test"}


def read(lists: Lists, spec: Spec) -> list[Listed]:
    """Reads the rows of the file; ``lists.arrays`` has the array of each kind of source.

    Raises:
        ConfigError: The file is missing.
        DataError: The file is no pickle of arrays, or has other arrays.
    """
    # The features lie in --raw, whatever else --annotations has.
    place = Lists(None, lists.raw) if lists.raw else lists
    path = place.need(files(spec, "all"), spec)
    content = pickled.load(path)
    return [
        clip for split, name in _NAMES.items() for clip in _clips(content, name, split, path, spec)
    ]


def _clips(content: Any, name: str, split: str, path: Path, spec: Spec) -> Iterator[Listed]:
    arrays = option(spec, "arrays", {})
    wanted = f"{name} lacks {', '.join(arrays.values())}, labels and id as arrays"
    with naming_damage(str(path), fault=wanted):
        part = content[name]
        labels = np.asarray(part["labels"], dtype=float)
        scores = labels.reshape(len(labels), math.prod(labels.shape[1:]))
        lengths = {array: len(part[array]) for array in arrays.values()}
        names = _sample_names(part, name, len(scores))
    if scores.shape[1] != 1 or {*lengths.values(), len(names)} - {len(scores)}:
        raise DataError(
            f"{path}: {name} has {len(scores)} labels of {scores.shape[1]} numbers, {len(names)} "
            f"names and {lengths}; one number and one row a sample are expected"
        )
    for row, (video, sample) in enumerate(names):
        score = float(scores[row, 0])
        yield Listed(
            key=safe_key(sample),
            label=score_label(score, spec),
            split=split,
            names={kind: (f"{path.stem}#{name}/{array}/{row}",) for kind, array in arrays.items()},
            extra={"video_id": video},
            target=(score,),
        )


def score_label(score: float, spec: Spec) -> str:
    """Class of a score: the nearest whole number, of two equally near ones the even one.

    Raises:
        DataError: The class is none of the data set's.
    """
    label = str(round(score)) if math.isfinite(score) else str(score)
    if label not in spec.classes:
        raise DataError(
            f"{spec.name}: a score of {score}, and classes are {spec.classes[0]} to "
            f"{spec.classes[-1]}; is this the file of another data set?"
        )
    return label


def _sample_names(part: Mapping[str, Any], split: str, count: int) -> list[tuple[str, str]]:
    """Video and name of each sample: of its ``id``, or of its row where the file has none.

    An id is a text, such as ``03bSnISJMiM[4]``, or the video and the segment's times.
    """
    if "id" not in part:
        return [("", f"{split}-{row:05d}") for row in range(count)]
    names = []
    seen = Counter[str]()
    for row in part["id"]:
        pieces = [_text(piece) for piece in np.asarray(row).reshape(-1)]
        video, *more = re.split(r"\$_\$|\[", pieces[0].rstrip("]"))
        name = "_".join((video, *more, *pieces[1:]))
        seen[name] += 1
        names.append((video, name if seen[name] == 1 else f"{name}_{seen[name]}"))
    return names


def _text(piece: Any) -> str:
    return piece.decode() if isinstance(piece, bytes) else str(piece)
