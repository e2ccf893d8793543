"""Records of a run on disk: the ledger of its visits, and its lines of metrics."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mmtrain.training.ledger import Ledger, rewind
from mmtrain.training.metrics_log import MetricsFile
from mmtrain.training.ranks import Ranks

_TRIALS: Final = "trial"  # Folder within the ledger, so that no audit takes trials for epochs.


class Journal:
    """Writes the ledger on every rank, and the metrics on the first.

    Args:
        ledger: Folder of the ledger.
        metrics: File of the metrics.
        ranks: Processes that train together.

    Attributes:
        lines: Number of lines of metrics so far.
        tried: Number of epochs of trials so far; it names their files in the ledger.
    """

    def __init__(self, ledger: Path, metrics: Path, ranks: Ranks) -> None:
        self._folder, self._ranks = ledger, ranks
        self._file = MetricsFile(metrics)
        self._ledger = self._epochs = Ledger(ledger, ranks.rank)
        self.lines = self.tried = 0

    def resume(self, saved: Mapping[str, Any] | None) -> None:
        """Drops the lines behind the checkpoint ``saved``; all, without one."""
        if saved is not None:
            # Runs of before there were trials have a line an epoch.
            self.lines = saved.get("lines", saved["epoch"])
            self.tried = saved.get("tried", 0)
        if self._ranks.first:
            self._file.keep(self.lines)

    def begin(self, epoch: int, counts: Sequence[int] = ()) -> None:
        """Starts the ledger of ``epoch``, or goes on behind the first ``counts`` of each rank."""
        self._begin(self._folder, epoch, counts)

    def begin_trial(self) -> None:
        """Starts the ledger of the next epoch of a trial; `end_trials` goes back to the epoch."""
        self._ledger = Ledger(self._folder / _TRIALS, self._ranks.rank)
        self._begin(self._folder / _TRIALS, self.tried, ())
        self.tried += 1

    def end_trials(self) -> None:
        """Goes on with the ledger of the epoch that trials interrupted."""
        if self._ledger is not self._epochs:
            self._ledger.close()
        self._ledger = self._epochs

    def record(self, ids: NDArray[np.int64]) -> None:
        """Notes visits of this rank."""
        self._ledger.record(ids)

    def counts(self) -> list[int]:
        """Visits of each rank in the epoch so far, all of which are on disk."""
        self._ledger.flush()
        return self._ranks.counts(self._ledger.count)

    def append(self, line: Mapping[str, Any]) -> None:
        """Writes a line of metrics."""
        if self._ranks.first:
            self._file.append(line)
        self.lines += 1

    def close(self) -> None:
        """Brings the visits of this rank to the disk."""
        self._ledger.close()

    def _begin(self, folder: Path, number: int, counts: Sequence[int]) -> None:
        if self._ranks.first:
            rewind(folder, number, counts)
        # No rank may open its file while the first one still cuts it.
        self._ranks.wait()
        own = counts[self._ranks.rank] if self._ranks.rank < len(counts) else 0
        self._ledger.begin(number, own)
