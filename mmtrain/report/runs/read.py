"""The files of runs, read and checked; nothing is drawn here."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from numpy.typing import NDArray

from mmtrain.config.run import TrainConfig
from mmtrain.errors import ConfigError, DataError
from mmtrain.report.runs.records import Epoch, Evaluation, Judged, Probe, Result
from mmtrain.training import scores
from mmtrain.training.assemble import config_of
from mmtrain.training.run import METRICS
from mmtrain.training.train import RESULT

Read = TypeVar("Read")


@dataclass(frozen=True, kw_only=True, eq=False)
class RunRecord:
    """One run, as its folder tells it.

    Attributes:
        name: End of its path, as long as it must be to tell it from the others.
        folder: RUN.
        config: What it was asked to do.
        epochs: Those that are done.
        result: None while it is in progress.
        evaluations: Split to what ``mmtrain eval`` has found.
        probes: Split to modality to what ``mmtrain probe`` has found.
    """

    name: str
    folder: Path
    config: TrainConfig
    epochs: tuple[Epoch, ...]
    result: Result | None
    evaluations: Mapping[str, Evaluation]
    probes: Mapping[str, Mapping[str, Probe]]

    @property
    def best(self) -> int | None:
        """The epoch that is best on val, so far; None before there is one."""
        if self.result is not None:
            return self.result.best_epoch
        judged = [(self._rank(line.val), -line.epoch) for line in self.epochs if line.val]
        return -max(judged)[1] if judged else None

    @property
    def val(self) -> Judged | None:
        """On val at `best`."""
        if self.result is not None:
            return self.result.val
        return next((line.val for line in self.epochs if line.epoch == self.best), None)

    @property
    def test(self) -> Judged | None:
        """On test at `best`; None while it is in progress."""
        return None if self.result is None else self.result.test

    def scores(self) -> dict[str, NDArray[Any]]:
        """`mmtrain.training.scores.read` of the run; empty where its curriculum keeps none.

        Raises:
            DataError: Not such a file.
        """
        path = self.folder / scores.SCORES
        if not path.exists():
            return {}
        found = scores.read(path)
        shape = found["visits"].shape
        alike = all(values.shape == shape for name, values in found.items() if name != "key")
        if not (alike and len(shape) == 2 and shape[0] and shape[1:] == found["key"].shape):
            raise DataError(f"{path}: its columns are not of one shape; it was damaged")
        return found

    def _rank(self, val: Judged) -> tuple[float, float]:
        return getattr(val.fused, self.config.select), -val.fused.loss


def gather(folders: Sequence[Path]) -> list[RunRecord]:
    """Reads what each of the runs has written so far.

    Raises:
        ConfigError: No folder, or one that holds no run.
        DataError: A file that is damaged; names it.
    """
    distinct = list({folder.resolve(): folder for folder in folders}.values())
    if not distinct:
        raise ConfigError("no run to report on; name one folder or more")
    return [_record(f, name) for f, name in zip(distinct, names(distinct), strict=True)]


def names(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of paths that tell them apart."""
    whole = [folder.resolve().parts for folder in folders]
    longest = max(map(len, whole))
    for length in range(1, longest + 1):
        short = ["/".join(parts[-length:]) for parts in whole]
        if len(set(short)) == len(short):
            break
    return short


def _record(folder: Path, name: str) -> RunRecord:
    def of_splits(what: str, make: Callable[[Any], Read]) -> dict[str, Read]:
        paths = sorted(folder.glob(f"{what}-*.json"))
        return {path.stem.removeprefix(f"{what}-"): _json(path, make) for path in paths}

    config = config_of(folder)
    done = folder / RESULT
    return RunRecord(
        name=name,
        folder=folder,
        config=config,
        epochs=_epochs(folder / METRICS),
        result=_json(done, Result.of) if done.exists() else None,
        evaluations=of_splits("eval", Evaluation.of),
        probes=of_splits("probe", _probes),
    )


def _epochs(path: Path) -> tuple[Epoch, ...]:
    """Lines of metrics.jsonl; the last may be half written, for the run may be in progress."""
    if not path.exists():
        return ()
    epochs = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        with _naming(f"{path}, line {number}"):
            plain = json.loads(line)
            if "trial" not in plain:
                epochs.append(Epoch.of(plain))
    return tuple(epochs)


def _json(path: Path, make: Callable[[Any], Read]) -> Read:
    with _naming(str(path)):
        return make(json.loads(path.read_text("utf-8")))


def _probes(plain: Mapping[str, Any]) -> dict[str, Probe]:
    return {m: Probe.of(said) for m, said in dict(plain["modalities"]).items()}


@contextmanager
def _naming(place: str) -> Iterator[None]:
    """Whatever is wrong with what is read names its place."""
    try:
        yield
    except KeyError as error:
        raise DataError(f"{place}: lacks {error}; damaged, or of another version") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{place}: damaged, or of another version ({error})") from error
