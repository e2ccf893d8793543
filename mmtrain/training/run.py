"""The run: it owns model, optimizer, device, precision, ranks, checkpoints and metrics.

It implements `mmtrain.methods.base.Run`, where the part that a method may call is documented.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from torch import nn

from mmtrain.config.run import TrainConfig
from mmtrain.curricula.base import Curriculum
from mmtrain.data.order import SampleOrder
from mmtrain.errors import DataError
from mmtrain.methods.base import IDs, Method
from mmtrain.models.multimodal import MultimodalModel
from mmtrain.tasks.task import Task
from mmtrain.training import checkpoint, saved_state, scores
from mmtrain.training.batch_norm import average_statistics, preserve_statistics
from mmtrain.training.best import is_better, watched_loss
from mmtrain.training.checkpoint import BEST, CHECKPOINT
from mmtrain.training.device import autocast, compile_encoders, place, set_up
from mmtrain.training.failures import Failures, interruption
from mmtrain.training.feed import Feed
from mmtrain.training.journal import Journal
from mmtrain.training.metrics_log import Meter
from mmtrain.training.observations import Observations
from mmtrain.training.parts import task_for
from mmtrain.training.passes import EvaluationPass, Scored
from mmtrain.training.prefetch import prefetcher
from mmtrain.training.probes import PROBES, Probes
from mmtrain.training.ranks import ALONE, Ranks
from mmtrain.training.saved_state import TrainingState
from mmtrain.training.schedule import Schedule
from mmtrain.training.step import Stepping
from mmtrain.training.system import Gauge
from mmtrain.training.teacher import Teacher, load_teacher
from mmtrain.training.trial import Trial
from mmtrain.training.watch import Quiet, Watch
from mmtrain.types import Batch, Outputs

METRICS: Final = "metrics.jsonl"
LEDGER: Final = "ledger"


class Run(Stepping):
    """One run, in its folder; goes on from a file of the folder if it is there.

    A context, which closes the ledger.

    Args:
        config: Config of the run.
        model: Untrained model, on the CPU.
        method: Method that carries out the steps.
        feed: Source of the batches, and the curriculum that orders them.
        folder: Folder of the run; exists.
        watch: Receiver of the progress.
        file: ``CHECKPOINT`` to train, ``BEST`` to look at the weights that were best on val.
        ranks: Processes that train together.

    Attributes:
        method: Method, as given.
        curriculum: Order of the samples.
        folder: Folder of the run.
        evaluation: Passes of the model over samples.
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
        device = set_up(config.device)
        model = ranks.synchronise_batch_norm(place(model, device))
        failures = Failures(dataset=feed.dataset, checkpoint=folder / CHECKPOINT)
        super().__init__(model, device, config.seed, config.step_size, ranks, failures)
        self.prefetcher = prefetcher(device)
        self.config, self.method, self.feed, self.folder = config, method, feed, folder
        self.curriculum: Curriculum = feed.curriculum
        self._watch, self.seed = watch or Quiet(), config.seed
        self.task: Task = task_for(config, feed.dataset, method, feed.curriculum)
        self.classes = self.task.classes(feed.dataset.annotations)
        self.planned = config.epochs
        self._measured: dict[str, Any] = {}
        self._saved: dict[str, Any] | None = None
        self._order: SampleOrder | None = None
        self._trial: Trial | None = None
        self._scoring_s, self._trained = 0.0, False
        self._journal = Journal(folder / LEDGER, folder / METRICS, ranks)
        self.evaluation = EvaluationPass(
            method=method,
            task=self.task,
            model=model,
            feed=feed,
            ranks=ranks,
            device=device,
            precision=config.precision,
        )
        self._observations = Observations(self.curriculum, self.evaluation)
        self._probes = Probes(folder / PROBES, config.probe_every, ranks.first)
        checkpoint.seed_all(config.seed + ranks.rank)
        saved = checkpoint.load(folder / file) if (folder / file).exists() else None
        if saved is not None and saved.get("data") != feed.dataset.description.root:
            raise DataError(f"{folder}: was trained on other data than {config.data}")
        with checkpoint.naming_misfits(folder / file) if saved else nullcontext():
            saved_state.setup(self, method, saved)
            compile_encoders(model, config.compile)
            self.best: dict[str, Any] = dict(saved["best"]) if saved else {}
            if file == CHECKPOINT:
                self._go_on(saved)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._journal.close()

    @property
    def splits(self) -> Mapping[str, int]:
        return {split: count for split, count in self.feed.dataset.splits.items() if count}

    @property
    def position(self) -> int:
        return self.feed.position

    def epochs(self) -> Iterator[int]:
        self._refuse_in_trial("epochs()")
        while self.epoch < self.config.epochs:
            self._begin_epoch()
            yield self.epoch
            self._end_epoch()

    def train_epoch(self, method: Method) -> None:
        if self._trial is not None:
            self._try_epoch(method, self._trial)
            return
        if self._trained:
            raise RuntimeError("train_epoch was called twice in one body of epochs()")
        self._trained = True
        self._train(method)

    @contextmanager
    def trial(self) -> Iterator[Trial]:
        self._refuse_in_trial("trial()")
        if self._batch is not None:
            raise RuntimeError("a trial belongs between epochs, not within a step")
        self._settle()
        before = self._state.copy()
        place = self.epoch, self.steps, self._meter, self._trained, self._measured, self._order
        stream = self.feed.state() if self._order is not None else None
        self._meter, self._measured, self._trial = Meter(), dict(self._measured), Trial()
        try:
            yield self._trial
            self._settle()
        finally:
            for _ in self._losses.settle(Meter()):
                pass  # After an error there may be some, which count nowhere.
            self._trial = None
            self._release()
            self._journal.end_trials()
            self.epoch, self.steps, self._meter, self._trained, self._measured, self._order = place
            self._state.put_back(before)
            if self._order is not None:
                self.feed.begin(self._order, self.epoch, stream)
            self._set_rate()

    def measured(self, split: str = "val") -> dict[str, Any] | None:
        measures: dict[str, Any] | None = self._measured.get(split)
        return measures

    def adopt(self, part: nn.Module | nn.Parameter, rate: float = 1.0) -> None:
        self._refuse_in_trial("adopt()")
        super().adopt(part, rate)

    def restart_schedule(self, epochs: int | None = None) -> None:
        self._state.schedule.restart(self.epoch, epochs)
        self._set_rate()

    def score(
        self, fn: Callable[[Batch], Scored], split: str = "train", ids: IDs | None = None
    ) -> Any:
        before = time.monotonic()
        values = self.evaluation.score(fn, self.feed.dataset.ids(split) if ids is None else ids)
        self._scoring_s += time.monotonic() - before
        return values

    def batches(self, split: str) -> Iterator[Batch]:
        for batch in self.feed.over(self.feed.dataset.ids(split)):
            if not bool(batch.filler.all()):
                yield batch.to(self.device)

    def held_out(self) -> Batch:
        return self.feed.held_out(self.generator).to(self.device)

    def teacher(self, folder: str | Path, *modalities: str) -> Teacher:
        dataset, generator = self.feed.dataset, self.generator
        return load_teacher(
            Path(folder), modalities, self.config, dataset, generator, make_run=type(self)
        )

    def observe(self, out: Outputs, batch: Batch) -> None:
        # Outputs of a trial are of weights that will never have been.
        if self._trial is None and self._weight and self._observations.wanted:
            self._observations.add(out, batch)

    # For curricula, see `mmtrain.curricula.base.Scorer`.

    @property
    def ids(self) -> NDArray[np.int64]:
        return self.feed.ids

    # For the engine itself.

    def evaluate(self, split: str) -> dict[str, Any]:
        """Measures of what the method predicts on ``split``, and ``rho.<modality>``.

        Raises:
            RunError: A prediction is not finite.
        """
        self._measured[split] = self.evaluation.measure(split, self._failures.prediction)
        return dict(self._measured[split])

    def save(self) -> None:
        """Writes the checkpoint: the run goes on from here, to the same weights."""
        self._refuse_in_trial("save()")
        self._settle()
        counts = self._journal.counts()
        observed = self._observations.tensors()
        meter = self._meter.shared(self._ranks)
        if not self._ranks.first:
            return
        state = {
            "data": self.feed.dataset.description.root,
            "epoch": self.epoch,
            "steps": self.steps,
            "stream": dict(self.feed.state()) if self._trained else None,
            "visits": counts if self._trained else [],
            "observed": [tensor.cpu() for tensor in observed],
            "meter": asdict(meter),
            "best": self.best,
            "measured": self._measured,
            "lines": self._journal.lines,
            "tried": self._journal.tried,
            **self._state.state_dict(),
        }
        checkpoint.save(self.folder / CHECKPOINT, state)

    def _go_on(self, saved: dict[str, Any] | None) -> None:
        """Makes the optimizer, and puts back where training stood."""
        self._optimizer = self._make_optimizer(self.config.optimizer)
        schedule = Schedule(self.config.schedule, self.config.epochs)
        self._state = TrainingState(
            self.model, self.method, self._optimizer, schedule, self.curriculum, self.generator
        )
        self._journal.resume(saved)
        self._probes.resume(saved["epoch"] if saved else 0)
        if saved is None:
            return
        self._state.load_state_dict(saved)
        self._measured = saved.get("measured", {})
        if self._ranks.first:
            self._observations.load(saved["observed"])
        else:
            # Checkpoints hold the generators of the first rank; the others' only must differ.
            checkpoint.seed_all(self.seed + self._ranks.rank + saved["steps"])
        self.epoch, self.steps, self._saved = saved["epoch"], saved["steps"], saved
        if saved["stream"] is None and self.best["epoch"] == self.epoch - 1:
            # The kill may have come between the checkpoint and the best weights, which are its own.
            self._save_best()

    def _begin_epoch(self) -> None:
        saved, self._saved = self._saved, None
        self._meter, self._trained = Meter(), False
        if saved is None or saved["stream"] is None:
            stream, counts = None, []
            before, self._order = self._scoring_s, self.curriculum.order(self)
            self._meter.scoring = self._scoring_s - before
            memory, data = self.curriculum.memory, self.feed.dataset
            if memory is not None and self._ranks.first:
                scores.write(self.folder, self.epoch, data, self.ids, memory.row(), self._order)
        else:
            stream, counts = saved["stream"], saved["visits"]
            self._meter = Meter(**saved["meter"]).part(self._ranks)
            self._order = self.curriculum.visits(self.ids, self.seed, self.epoch)
        self.feed.begin(self._order, self.epoch, stream)
        self._journal.begin(self.epoch, counts)
        self._set_rate()

    def _set_rate(self) -> None:
        self._made().set_rate(self.config.optimizer.lr * self._state.schedule.factor(self.epoch))

    def _train(self, method: Method) -> None:
        """Trains on what is left of the epoch that was begun."""
        self.model.train()
        self._gauge = Gauge(self.device, lambda: self.feed.read_bytes)
        before = time.monotonic()
        for reading, here in self.prefetcher.over(self.feed):
            self._meter.waited += self.prefetcher.waited()
            self.feed.position, ids = reading.position, self._hold(reading.batch)
            # Where every sample of the step is damaged, on all ranks, there is nothing to learn.
            if not self.feed.skips_damaged or self._ranks.total(self._weight):
                with (
                    autocast(self.device, self.config.precision),
                    preserve_statistics(self.model, not self._weight),
                ):
                    method.step(self, here)
                self.steps += 1
            # Damaged samples that were left out are no visits: an audit has to name them.
            self._journal.record(ids.numpy())
            self._meter.visits += self._weight
            now = time.monotonic()
            self._meter.seconds += now - before
            before = now
            self._after_step()
        self.log(**self.feed.account())
        self._settle()
        self._release()
        self._meter.waited += self.prefetcher.waited()
        self._meter.seconds += time.monotonic() - before
        self._gauge.add_to(self._meter)

    def _try_epoch(self, method: Method, trial: Trial) -> None:
        """Trains the next epoch of a trial, by the curriculum's present scores."""
        self._meter = Meter()
        self._order = self.curriculum.visits(self.ids, self.seed, self.epoch)
        self.feed.begin(self._order, self.epoch)
        self._journal.begin_trial()
        self._set_rate()
        self._train(method)
        line = self._closed_line() | {"trial": self._journal.tried}
        self._journal.append(line)
        self._state.schedule.observe(watched_loss(line))
        trial.lines.append(line)
        self.epoch += 1

    def _closed_line(self) -> dict[str, Any]:
        """Ends the epoch's training, and evaluates: its line of the metrics."""
        self._settle()
        average_statistics(self.model, self._ranks)
        self._journal.close()
        meter = self._meter.shared(self._ranks)
        val = self.evaluate("val") if self.feed.dataset.splits.get("val") else None
        return {"epoch": self.epoch, "lr": self._made().rate, **meter.line(), "val": val}

    def _end_epoch(self) -> None:
        line = self._closed_line()
        self._observations.hand_over(self.ids, self.epoch)
        self._state.schedule.observe(watched_loss(line))
        self._journal.append(line)
        better = is_better(line["val"], self.best, self.config.select)
        if better:
            self.best = {"epoch": self.epoch, "val": line["val"]}
        self.epoch, self._trained, self._order = self.epoch + 1, False, None
        # Before the checkpoint: a run that is killed between the two drops the line and writes it
        # again.
        self._probes.probe_after(self.epoch, self.evaluation, len(self.classes), self.generator)
        self.save()
        if better:
            self._save_best()
        self._watch.epoch(line)

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
        # A signal may come at any moment to any rank, and all must stop after the same step.
        stopping = self._ranks.any(self.stopping)
        due = stopping or self.steps % self.config.save_every_steps == 0
        if due and self._trial is None:
            self._gauge.add_to(self._meter)
            self.save()
        done = -(-self.feed.position // self.config.step_size)
        self._watch.step(self.epoch, done, self.feed.steps, self._meter.line())
        if stopping:
            raise interruption(self.epoch, done, self.feed.steps, self._trial is not None)

    def _refuse_in_trial(self, call: str) -> None:
        if self._trial is not None:
            raise RuntimeError(f"{call} was called within a trial, whose changes are undone")
