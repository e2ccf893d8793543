"""Probes during training: RUN/probes.jsonl, how well the encoders could be read after some epochs.

Nothing of the training changes: features are taken in evaluation mode, and every generator of
random numbers is put back.
"""

import json
from pathlib import Path
from typing import Any, Final

import torch

from mmprep.format.damage import naming_damage
from mmprep.format.fields import parse_json
from mmtrain import files
from mmtrain.training import checkpoint
from mmtrain.training.linear_probe import accuracy_by_modality
from mmtrain.training.metrics_log import append_line
from mmtrain.training.passes import EvaluationPass

PROBES: Final = "probes.jsonl"
# The split of the measures: val, so that test has no part in anything before the run is finished.
SPLIT: Final = "val"


class Probes:
    """Probes every so many epochs, and writes a line for each.

    Args:
        path: File of the lines.
        every: Number of epochs between two probes; 0 for none.
        writes: Whether this process writes the file; all ranks take part in the passes.
    """

    def __init__(self, path: Path, every: int, writes: bool) -> None:
        self._path, self._every, self._writes = path, every, writes

    def resume(self, epochs: int) -> None:
        """Drops the lines behind the first ``epochs`` epochs, which are trained again."""
        if not self._writes or not self._path.exists():
            return
        lines = read_probes(self._path)
        kept = [line for line in lines if line["epoch"] <= epochs]
        text = "".join(f"{json.dumps(line)}\n" for line in kept).encode()
        if text != self._path.read_bytes():
            files.replace(self._path, lambda file: file.write(text))

    def probe_after(
        self, epochs: int, evaluation: EvaluationPass, classes: int, generator: torch.Generator
    ) -> None:
        """Probes if it is time.

        Args:
            epochs: Number of epochs that are done.
            evaluation: Passes of the model.
            classes: Number of classes.
            generator: The run's own generator, which is put back like those of the process.
        """
        if not self._every or epochs % self._every:
            return
        before = checkpoint.generators(generator)
        accuracy = accuracy_by_modality(evaluation, SPLIT, classes)
        checkpoint.restore_generators(before, generator)
        if self._writes:
            append_line(self._path, {"epoch": epochs, "split": SPLIT, "accuracy": accuracy})


def read_probes(path: Path) -> list[dict[str, Any]]:
    """The lines of a file of probes, without one that was half written; none without a file.

    Raises:
        DataError: A line is damaged.
    """
    if not path.exists():
        return []
    lines = []
    for number, text in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        with naming_damage(f"{path}, line {number}", "remove the line"):
            line = {**parse_json(text)}
            values = {str(m): float(value) for m, value in dict(line["accuracy"]).items()}
            plain = {"epoch": int(line["epoch"]), "split": str(line["split"]), "accuracy": values}
            lines.append(plain)
    return lines
