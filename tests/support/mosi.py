"""Files of CMU-MOSI in their official layouts, with a few made-up utterances."""

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

# Features of a step of speech, face and words.
WIDTHS = {"audio": 5, "vision": 20, "text": 300}


def write_pickle(
    path: Path,
    scores: Mapping[str, Sequence[float]],
    *,
    steps: int = 4,
    protocol: int = 2,
    **change: Any,
) -> Path:
    """Writes a pickle of MulT's layout; ``change`` replaces entries of every split.

    Args:
        path: File to write.
        scores: Name of a split, ``train``, ``valid`` or ``test``, to the score of each utterance.
        steps: Steps of every sequence.
        protocol: Protocol of the pickle.
        change: Entries that all splits have in place of their own.
    """
    draw = np.random.default_rng(0)
    content = {}
    for split, values in scores.items():
        count = len(values)
        arrays = {
            name: draw.normal(size=(count, steps, width)) + np.reshape(values, (-1, 1, 1))
            for name, width in WIDTHS.items()
        }
        arrays["audio"][:, 0, 0] = -np.inf  # As COVAREP has for silence.
        names = [
            (f"-{split[:2]}_{row // 2:07d}", f"{row}.5", f"{row + 1}.25") for row in range(count)
        ]
        content[split] = {
            **arrays,
            "labels": np.reshape(np.asarray(values, np.float32), (-1, 1, 1)),
            "id": np.array(names, dtype="S"),
            **change,
        }
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


def write_csd(
    path: Path, videos: Mapping[str, tuple[Any, Any]], name: str = "Opinion Segment Labels"
) -> Path:
    """Writes a computational sequence; ``videos`` has features and intervals of each video."""
    with h5py.File(path, "w") as file:
        data = file.create_group(name).create_group("data")
        file[name].create_group("metadata")
        for video, (features, intervals) in videos.items():
            group = data.create_group(video)
            group.create_dataset("features", data=np.asarray(features, np.float32))
            group.create_dataset("intervals", data=np.asarray(intervals, np.float64))
    return path
