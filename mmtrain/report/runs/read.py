"""Reading and checking the files of runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from numpy.typing import NDArray

from mmprep.format.damage import naming_damage
from mmprep.format.fields import parse_json
from mmtrain.config.run import TrainConfig
from mmtrain.errors import ConfigError, DataError
from mmtrain.names import short_names
from mmtrain.report.runs.records import Epoch, EpochProbes, Evaluation, Probe, Result, SplitMeasures
from mmtrain.tasks.measures import rank, shown
from mmtrain.training import history, scores
from mmtrain.training.parts import CONFIG, read_config
from mmtrain.training.probes import PROBES, read_probes
from mmtrain.training.run import METRICS
from mmtrain.training.train import RESULT

Read = TypeVar("Read")

# `mmtrain compare` writes it beside the folders of its rows.
TABLE: Final = "table.json"
_REMEDY: Final = "take it from a copy of the run, or measure again"


@dataclass(frozen=True, kw_only=True, eq=False)
class RunRecord:
    """The content of a run's folder.

    Attributes:
        name: Shortest end of its path that distinguishes it from the other runs.
        folder: Folder of the run.
        config: Settings of the run.
        epochs: Metrics of each finished epoch.
        result: Measures at the best epoch; None while the run is in progress.
        evaluations: Split to the output of ``mmtrain eval``.
        probes: Split to modality to the output of ``mmtrain probe``.
        probes_by_epoch: Probes during training, where the run has ``probe_every``.
        history: Content of run.json; empty for a run of an earlier version.
    """

    name: str
    folder: Path
    config: TrainConfig
    epochs: tuple[Epoch, ...]
    result: Result | None
    evaluations: Mapping[str, Evaluation]
    probes: Mapping[str, Mapping[str, Probe]]
    probes_by_epoch: tuple[EpochProbes, ...] = ()
    history: Mapping[str, Any] = field(default_factory=dict)

    @property
    def root(self) -> str:
        """Root hash of its data; empty where it is not known."""
        return str(self.history.get("root", ""))

    @property
    def recipe(self) -> str:
        """Name of its recipe and the hash of that; empty without one."""
        recipe = self.history.get("recipe")
        return f"{recipe['name']} (SHA-256 {recipe['sha256']})" if recipe else ""

    @property
    def commands(self) -> Sequence[Mapping[str, Any]]:
        """Commands that have trained it, with versions and device of each."""
        return [{**command} for command in self.history.get("commands", ())]

    @property
    def entrant(self) -> str | None:
        """Name of its row in a comparison; None for a run outside of a comparison's folder."""
        entrant = self.folder.resolve().parent
        seed = self.folder.resolve().name == f"seed-{self.config.seed}"
        return entrant.name if seed and (entrant.parent / TABLE).exists() else None

    @property
    def best(self) -> int | None:
        """Number of the best epoch on val so far; None before there is one."""
        if self.result is not None:
            return self.result.best_epoch
        # The earlier of two equal epochs, as in training.
        ranks = [(self._rank(line.val), -line.epoch) for line in self.epochs if line.val]
        return -max(ranks)[1] if ranks else None

    @property
    def val(self) -> SplitMeasures | None:
        """Measures on val at the epoch `best`."""
        if self.result is not None:
            return self.result.val
        return next((line.val for line in self.epochs if line.epoch == self.best), None)

    @property
    def test(self) -> SplitMeasures | None:
        """Measures on test at the epoch `best`; None while the run is in progress."""
        return None if self.result is None else self.result.test

    @property
    def measures(self) -> tuple[str, ...]:
        """Names of the measures that the run has, the one that stands for it first."""
        found = [self.val, self.test, *(line.val for line in self.epochs)]
        return shown(name for each in found if each is not None for name in each.fused.values)

    def scores(self) -> dict[str, NDArray[Any]]:
        """Reads scores.h5 (`mmtrain.training.scores.read`); empty for a run without one.

        Raises:
            DataError: The file is damaged.
        """
        path = self.folder / scores.SCORES
        if not path.exists():
            return {}
        columns = scores.read(path)
        if not len(columns["visits"]):
            raise DataError(f"{path}: holds no epoch; it was damaged")
        return columns

    def _rank(self, val: SplitMeasures) -> tuple[float, float]:
        select = self.config.select
        return rank(select, val.fused.value(select)), -val.fused.loss


def read_runs(folders: Sequence[Path]) -> list[RunRecord]:
    """Reads all that each of the runs has written so far.

    Raises:
        ConfigError: There is no folder, or one holds no run.
        DataError: A file is damaged; the message names it.
    """
    distinct = list({folder.resolve(): folder for folder in folders}.values())
    if not distinct:
        raise ConfigError("no run to report on; name one folder or more")
    return [_record(f, name) for f, name in zip(distinct, short_names(distinct), strict=True)]


def _record(folder: Path, name: str) -> RunRecord:
    def by_split(what: str, make: Callable[[Any], Read]) -> dict[str, Read]:
        paths = sorted(folder.glob(f"{what}-*.json"))
        return {path.stem.removeprefix(f"{what}-"): _json(path, make) for path in paths}

    config = read_config(folder / CONFIG)
    result = folder / RESULT
    return RunRecord(
        name=name,
        folder=folder,
        config=config,
        epochs=_epochs(folder / METRICS),
        result=_json(result, Result.of) if result.exists() else None,
        evaluations=by_split("eval", Evaluation.of),
        probes=by_split("probe", _probes),
        probes_by_epoch=tuple(
            EpochProbes(line["epoch"], line["accuracy"]) for line in read_probes(folder / PROBES)
        ),
        history=history.read(folder),
    )


def _epochs(path: Path) -> tuple[Epoch, ...]:
    """Reads metrics.jsonl up to its last line break; a run in progress may be writing a line."""
    if not path.exists():
        return ()
    epochs = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        with naming_damage(f"{path}, line {number}", _REMEDY):
            plain = {**parse_json(line)}
            if "trial" not in plain:
                epochs.append(Epoch.of(plain))
    return tuple(epochs)


def _json(path: Path, make: Callable[[Any], Read]) -> Read:
    with naming_damage(str(path), _REMEDY):
        return make(parse_json(path.read_bytes()))


def _probes(plain: Mapping[str, Any]) -> dict[str, Probe]:
    return {m: Probe.of(values) for m, values in dict(plain["modalities"]).items()}
