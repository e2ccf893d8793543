"""The run: it owns model, optimizer, device, precision, ranks, checkpoints and metrics.

It carries out `mmtrain.methods.base.Run`, where what a method may call is documented.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mmtrain.config.run import TrainConfig
from mmtrain.curricula.base import Curriculum
from mmtrain.curricula.memory import Judged, Memory
from mmtrain.errors import DataError, Interrupted, RunError
from mmtrain.methods.base import Method
from mmtrain.models.multimodal import MultimodalModel
from mmtrain.tasks.classification import Classification
from mmtrain.tasks.task import Task
from mmtrain.training import checkpoint, scores
from mmtrain.training.device import _on, device_of, local_device
from mmtrain.training.feed import Feed
from mmtrain.training.ledger import Ledger, rewind
from mmtrain.training.metrics_log import Meter, MetricsFile
from mmtrain.training.optimizer import Optimizer
from mmtrain.training.passes import Judging, autocast
from mmtrain.training.ranks import ALONE, Ranks
from mmtrain.training.schedule import Schedule
from mmtrain.training.step import Stepping
from mmtrain.training.watch import Quiet, Watch
from mmtrain.types import Batch, Outputs

CHECKPOINT: Final = "checkpoint.pt"
BEST: Final = "best.pt"
METRICS: Final = "metrics.jsonl"
LEDGER: Final = "ledger"
_KEYS_SHOWN: Final = 8


class Run(Stepping):
    """One run, in its folder; goes on from a file of the folder if it is there.

    A context, which closes the ledger.

    Args:
        config: What to do.
        model: On the CPU.
        method: Carries out the steps.
        feed: What is read, and by which curriculum.
        folder: RUN; exists.
        watch: Is told how far it is.
        file: ``CHECKPOINT`` to train, ``BEST`` to look at the weights that were best on val.
        ranks: The processes that train together.

    Attributes:
        method: The method.
        curriculum: The order of the samples.
        folder: RUN.
        best: Epoch and measures on val of the best epoch so far; empty before the first.
    """

    def __init__(
        self,
        config: TrainConfig,
        model: MultimodalModel,
        method: Method,
        feed: Feed,
        folder: Path,
        watch: Watch | None = None,
        file: str = CHECKPOINT,
        ranks: Ranks = ALONE,
    ) -> None:
        device = local_device(device_of(config.device))
        model = ranks.synchronised(model.to(device))
        super().__init__(model, device, config.seed, config.batch_size, ranks)
        self.config, self.method, self.feed, self.folder = config, method, feed, folder
        self.curriculum: Curriculum = feed.curriculum
        self._watch, self.seed = watch or Quiet(), config.seed
        self.classes = feed.dataset.classes
        self.task: Task = Classification(len(self.classes))
        self.epoch, self.planned = 0, config.epochs
        self.best: dict[str, Any] = {}
        self._saved: dict[str, Any] | None = None
        self._meter, self._passed = Meter(), False
        self._observed: list[tuple[Tensor, Tensor]] = []
        self._ledger = Ledger(folder / LEDGER, ranks.rank)
        self._metrics = MetricsFile(folder / METRICS)
        self._judging = Judging(method, self.task, model, feed, ranks, device, config.precision)
        self._schedule = Schedule(config.schedule, config.epochs)
        checkpoint.seed_all(config.seed + ranks.rank)
        path = folder / file
        saved = checkpoint.load(path) if path.exists() else None
        if saved is not None and saved["data"] != feed.dataset.description.root:
            raise DataError(f"{folder}: was trained on other data than {config.data}")
        self._build(saved)
        if file == CHECKPOINT:
            self._go_on(saved)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ledger.close()

    # What a method calls.

    @property
    def position(self) -> int:
        return self.feed.position

    def epochs(self) -> Iterator[int]:
        while self.epoch < self.config.epochs:
            self._begin_epoch()
            yield self.epoch
            self._end_epoch()

    def train_epoch(self, method: Method) -> None:
        if self._passed:
            raise RuntimeError("train_epoch was called twice in one body of epochs()")
        self._passed = True
        self.model.train()
        before = time.monotonic()
        for batch in self.feed:
            arrived = time.monotonic()
            self._meter.waited += arrived - before
            self._batch = batch
            with autocast(self.device, self.config.precision):
                method.step(self, batch.to(self.device))
            real = batch.ids[~batch.filler]
            self._ledger.record(real.numpy())
            self._meter.visits += len(real)
            self.steps += 1
            now = time.monotonic()
            self._meter.seconds += now - before
            before = now
            self._after_step()
        self.log(**self.feed.account())
        self._settle()
        self._batch = None
        self._meter.seconds += time.monotonic() - before

    def score(self, fn: Callable[[Batch], Tensor], split: str = "train") -> Tensor:
        return self._judging.scored(fn, self.feed.dataset.ids(split)).to(self.device)

    def batches(self, split: str) -> Iterator[Batch]:
        for batch in self.feed.over(self.feed.dataset.ids(split)):
            if not bool(batch.filler.all()):
                yield batch.to(self.device)

    def held_out(self) -> Batch:
        return self.feed.held_out(self.generator).to(self.device)

    def observe(self, out: Outputs, batch: Batch) -> None:
        if self._memory is not None and self._memory.observes and self._weight:
            self._observed.append((batch.ids, self._judging.said(out, batch)))

    # What a curriculum calls.

    @property
    def ids(self) -> NDArray[np.int64]:
        return self.feed.ids

    def judge(self) -> Judged:
        before = time.monotonic()
        found = self._judging.judged(self.ids)
        self._meter.scoring += time.monotonic() - before
        return found

    # What the engine does by itself.

    def evaluate(self, split: str) -> dict[str, Any]:
        """`mmtrain.metrics.of_outputs` of what the method predicts on ``split``.

        Raises:
            RunError: A prediction is not finite.
        """

        def refused(batch: Batch) -> RunError:
            keys = self._keys(batch.ids)
            return RunError(f"{keys}: the model gives no number. {self._back()}")

        return self._judging.measured(split, refused)

    def save(self) -> None:
        """Writes the checkpoint: the run goes on from here, to the same weights."""
        self._settle()
        self._ledger.flush()
        observed = self._all_observed()
        counts = self._ranks.gather(torch.tensor([self._ledger.count], device=self.device))
        meter = self._meter.shared(self._ranks)
        if not self._ranks.first:
            return
        state = {
            "data": self.feed.dataset.description.root,
            "epoch": self.epoch,
            "steps": self.steps,
            "stream": dict(self.feed.state()) if self._passed else None,
            "visits": counts.tolist() if self._passed else [],
            "model": self.model.state_dict(),
            "method": self.method.state_dict(),
            "scores": self._memory.state_dict() if self._memory else {},
            "observed": [tensor.cpu() for tensor in observed],
            "optimizer": self._made().state_dict(),
            "schedule": dict(self._schedule.state_dict()),
            "generators": checkpoint.generators(self.generator),
            "meter": asdict(meter),
            "best": self.best,
        }
        checkpoint.save(self.folder / CHECKPOINT, state)

    def _build(self, saved: dict[str, Any] | None) -> None:
        """Lets the method set up the model; both then hold what was saved."""
        if saved is not None:
            # Before, for what is built may depend on it; after, for building may reset it.
            self.method.load_state_dict(_on(self.device, saved["method"]))
        self.method.setup(self)
        if saved is not None:
            self.method.load_state_dict(_on(self.device, saved["method"]))
            self.model.load_state_dict(saved["model"])
            self.best = saved["best"]

    def _go_on(self, saved: dict[str, Any] | None) -> None:
        """Makes the optimizer, and puts back where training stood."""
        self._optimizer = Optimizer(self.model, self.config.optimizer)
        if self._ranks.first:
            self._metrics.keep(saved["epoch"] if saved else 0)
        if saved is None:
            return
        self._optimizer.load_state_dict(saved["optimizer"])
        self._schedule.load_state_dict(saved["schedule"])
        if self._memory is not None:
            self._memory.load_state_dict(saved["scores"])
        checkpoint.restore_generators(saved["generators"], self.generator)
        if self._ranks.first:
            self._observed = [tuple(t.to(self.device) for t in saved["observed"])]
        else:
            checkpoint.seed_all(self.seed + self._ranks.rank + saved["steps"])
        self.epoch, self.steps, self._saved = saved["epoch"], saved["steps"], saved
        if saved["stream"] is None and self.best["epoch"] == self.epoch - 1:
            # The kill may have come between the checkpoint and the best weights, which are its own.
            self._save_best()

    def _begin_epoch(self) -> None:
        saved, self._saved = self._saved, None
        inside = saved is not None and saved["stream"] is not None
        self._meter, self._passed = Meter(), False
        counts: list[int] = []
        if saved and inside:
            counts = saved["visits"]
            self._meter = Meter(**saved["meter"]).part(self._ranks)
            order = self.curriculum.visits(self.ids, self.seed, self.epoch)
        else:
            order = self.curriculum.order(self)
            if self._memory is not None and self._ranks.first:
                row, dataset = self._memory.row(), self.feed.dataset
                scores.write(self.folder, self.epoch, dataset, self.ids, row, order)
        self.feed.begin(order, self.epoch, saved["stream"] if saved and inside else None)
        if self._ranks.first:
            rewind(self.folder / LEDGER, self.epoch, counts)
        self._ranks.wait()
        own = counts[self._ranks.rank] if self._ranks.rank < len(counts) else 0
        self._ledger.begin(self.epoch, own)
        rate = self.config.optimizer.lr * self._schedule.factor(self.epoch)
        self._made().set_rate(rate)

    def _end_epoch(self) -> None:
        self._settle()
        self._share_statistics()
        self._take_observed()
        self._ledger.close()
        meter = self._meter.shared(self._ranks)
        val = self.evaluate("val") if self.feed.dataset.splits.get("val") else None
        line = {"epoch": self.epoch, "lr": self._made().rate, **meter.line(), "val": val}
        self._schedule.observe(val["loss"] if val else line["train_loss"])
        if self._ranks.first:
            self._metrics.append(line)
        better = val is None or not self.best or self._rank(val) > self._rank(self.best["val"])
        if better:
            self.best = {"epoch": self.epoch, "val": val}
        self.epoch, self._passed = self.epoch + 1, False
        self.save()
        if better:
            self._save_best()
        self._watch.epoch(line)

    def _rank(self, val: dict[str, Any]) -> tuple[float, float]:
        """What is best is largest; where the measure is the same, the loss decides."""
        return val[self.config.select], -val["loss"]

    def _save_best(self) -> None:
        if not self._ranks.first:
            return
        state = {
            "data": self.feed.dataset.description.root,
            "best": self.best,
            "model": self.model.state_dict(),
            "method": self.method.state_dict(),
        }
        checkpoint.save(self.folder / BEST, state)

    def _after_step(self) -> None:
        # It may be set at any moment, and ranks must stop after the same step.
        stopping = self.stopping if self._ranks.alone else self._all_stop
        if stopping or self.steps % self.config.save_every_steps == 0:
            self.save()
        done = -(-self.feed.position // self.config.batch_size)
        self._watch.step(self.epoch, done, self.feed.steps, self._meter.line())
        if stopping:
            raise Interrupted(
                f"Stopped at epoch {self.epoch + 1}, step {done} of {self.feed.steps}. "
                "The same command with --resume goes on from here"
            )

    def _settle(self) -> None:
        """Counts the losses of the last updates, and what was logged.

        Raises:
            RunError: A loss is not finite.
        """
        for value, step, ids in self._losses.settle(self._meter):
            samples = "" if ids is None else f", samples {self._keys(ids)}"
            raise RunError(
                f"the loss is {value} at step {step + 1} (epoch {self.epoch + 1}){samples}. "
                f"{self._back()}"
            )

    @property
    def _memory(self) -> Memory | None:
        return self.curriculum.memory

    def _all_observed(self) -> tuple[Tensor, Tensor]:
        """What training has said in this epoch, on all ranks: (k,) ids ascending, and (k, 2)."""
        none = torch.empty(0, dtype=torch.int64, device=self.device)
        ids = torch.cat([none, *(i for i, _ in self._observed)])
        said = torch.cat([none.new_empty(0, 2).float(), *(j for _, j in self._observed)])
        found, order = self._ranks.gather(ids).sort(stable=True)
        return found, self._ranks.gather(said)[order]

    def _take_observed(self) -> None:
        if self._memory is not None and self._memory.observes:
            ids, said = self._all_observed()
            places = np.searchsorted(self.ids, ids.cpu().numpy())
            self._memory.observe(places, Judged(*said.T.cpu().numpy()), self.epoch)
            self._observed = []

    def _share_statistics(self) -> None:
        """Where each rank has made its own statistics of batch normalisation, all take the mean."""
        layers = [m for m in self.model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        own = [m for m in layers if not isinstance(m, nn.SyncBatchNorm)]
        found = [b for m in own for b in (m.running_mean, m.running_var) if b is not None]
        if found:
            self._ranks.average(found, 1)

    def _keys(self, ids: Tensor) -> str:
        keys = [self.feed.dataset.key(i) for i in ids.tolist()]
        more = f" and {len(keys) - _KEYS_SHOWN} more" if len(keys) > _KEYS_SHOWN else ""
        return ", ".join(keys[:_KEYS_SHOWN]) + more

    def _back(self) -> str:
        path = self.folder / CHECKPOINT
        if not path.exists():
            return "There is no checkpoint yet; lower lr, or set clip"
        return f"The last good checkpoint is {path}; lower lr, or set clip, in a new run"
