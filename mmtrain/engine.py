"""The run: it owns model, optimizer, device, precision, ranks, checkpoints and metrics.

It carries out `mmtrain.methods.base.Run`, where what a method may call is documented.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Self

import torch
from torch import Tensor, nn

from mmtrain import checkpoint
from mmtrain.config import TrainConfig
from mmtrain.distributed import Ranks
from mmtrain.errors import DataError, Interrupted, RunError
from mmtrain.feed import Feed
from mmtrain.ledger import Ledger
from mmtrain.log import Meter, MetricsFile, Quiet, Watch
from mmtrain.methods import Method
from mmtrain.metrics import judged
from mmtrain.models import MultimodalModel
from mmtrain.optim import Optimizer, Schedule
from mmtrain.types import Batch

CHECKPOINT: Final = "checkpoint.pt"
BEST: Final = "best.pt"
METRICS: Final = "metrics.jsonl"
LEDGER: Final = "ledger"
# Losses are looked at together so that a GPU need not wait for each.
_UNSETTLED: Final = {"cpu": 1, "cuda": 16}
_KEYS_SHOWN: Final = 8


class Run:
    """One run, in its folder; goes on from a file of the folder if it is there.

    A context, which closes the ledger.

    Args:
        config: What to do.
        model: On the CPU.
        method: Carries out the steps.
        feed: What is read.
        folder: RUN; exists.
        watch: Is told how far it is.
        file: ``CHECKPOINT`` to train, ``BEST`` to look at the weights that were best on val.

    Attributes:
        method: The method.
        folder: RUN.
        steps: Steps since the first epoch.
        stopping: Set it to save and raise `Interrupted` after the step in progress.
        best: Epoch and measures on val of the best epoch so far; empty before the first.
    """

    _ranks = Ranks()

    def __init__(
        self,
        config: TrainConfig,
        model: MultimodalModel,
        method: Method,
        feed: Feed,
        folder: Path,
        watch: Watch | None = None,
        file: str = CHECKPOINT,
    ) -> None:
        self.config, self.method, self.feed, self.folder = config, method, feed, folder
        self._watch = watch or Quiet()
        self.device, self.seed = device_of(config.device), config.seed
        self.classes = feed.dataset.classes
        self.generator = torch.Generator().manual_seed(config.seed)
        self.epoch = self.steps = 0
        self.stopping = False
        self.best: dict[str, Any] = {}
        self._saved: dict[str, Any] | None = None
        self._meter, self._passed = Meter(), False
        self._batch: Batch | None = None
        self._unsettled: list[tuple[Tensor, Batch | None, int]] = []
        self._told: list[tuple[str, float | Tensor]] = []
        self._ledger = Ledger(folder / LEDGER, self._ranks.rank)
        self._metrics = MetricsFile(folder / METRICS)
        self.model = model.to(self.device)
        self._optimizer: Optimizer | None = None
        self._schedule = Schedule(config.schedule, config.epochs)
        checkpoint.seed_all(config.seed)
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
            with self._autocast():
                method.step(self, batch.to(self.device))
            self._ledger.record(batch.ids.numpy())
            self._meter.visits += len(batch)
            self.steps += 1
            now = time.monotonic()
            self._meter.seconds += now - before
            before = now
            self._after_step()
        self.log(**self.feed.traffic())
        self._settle()
        self._batch = None
        self._meter.seconds += time.monotonic() - before

    @contextmanager
    def update(self, loss: Tensor) -> Iterator[None]:
        optimizer = self._made()
        self._unsettled.append((loss.detach(), self._batch, self.steps))
        if len(self._unsettled) >= _UNSETTLED[self.device.type]:
            self._settle()
        optimizer.clear()
        # Backward takes the precision that forward had; autocast itself is not for it.
        with torch.autocast(self.device.type, enabled=False):
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        with torch.no_grad():
            yield
            if not self._ranks.alone:
                samples = 0 if self._batch is None else len(self._batch)
                self._ranks.average(optimizer.gradients(), samples)
            optimizer.step()

    def minimise(self, loss: Tensor) -> None:
        with self.update(loss):
            pass

    def gradients(self, loss: Tensor, *modules: nn.Module) -> list[Tensor]:
        parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
        with torch.autocast(self.device.type, enabled=False):
            found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        return [
            torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)
        ]

    def score(self, fn: Callable[[Batch], Tensor], split: str = "train") -> Tensor:
        with self._judging():
            return torch.cat([fn(batch).float() for batch in self.batches(split)])

    def batches(self, split: str) -> Iterator[Batch]:
        for batch in self.feed.batches(split):
            yield batch.to(self.device)

    def adopt(self, module: nn.Module) -> None:
        module.to(self.device)
        own = {*self.model.parameters()}
        if not all(parameter in own for parameter in module.parameters()):
            raise ValueError(
                "a module that joins must be part of run.model, or no checkpoint would hold it; "
                "assign it to the model first"
            )
        if self._optimizer is not None:
            self._optimizer.adopt(module.parameters())

    def renew_optimizer(self, *modules: nn.Module) -> None:
        for module in modules or (self.model,):
            self._made().renew(module.parameters())

    def mean(self, value: Tensor) -> Tensor:
        return self._ranks.mean(value)

    def sum(self, value: Tensor) -> Tensor:
        return self._ranks.sum(value)

    def log(self, **scalars: float | Tensor) -> None:
        for name, value in scalars.items():
            self._told.append((name, value.detach() if isinstance(value, Tensor) else value))

    # What the engine does by itself.

    def evaluate(self, split: str) -> dict[str, Any]:
        """`mmtrain.metrics.judged` of what the method predicts on ``split``.

        Raises:
            RunError: A prediction is not finite.
        """
        fused, own, target = [], {m: list[Tensor]() for m in self.model.modalities}, []
        with self._judging():
            for batch in self.batches(split):
                out = self.method.predict(self.model, batch.inputs)
                if not bool(out.fused.isfinite().all()):
                    raise RunError(
                        f"{self._keys(batch)}: the model gives no number. {self._back()}"
                    )
                fused.append(out.fused.float().cpu())
                target.append(batch.target.cpu())
                for m, logits in out.logits.items():
                    own[m].append(logits.float().cpu())
        return judged(
            torch.cat(fused), {m: torch.cat(logits) for m, logits in own.items()}, torch.cat(target)
        )

    def save(self) -> None:
        """Writes the checkpoint: the run goes on from here, to the same weights."""
        self._settle()
        self._ledger.flush()
        state = {
            "data": self.feed.dataset.description.root,
            "epoch": self.epoch,
            "steps": self.steps,
            "stream": dict(self.feed.state()) if self._passed else None,
            "visits": self._ledger.count if self._passed else 0,
            "model": self.model.state_dict(),
            "method": self.method.state_dict(),
            "optimizer": self._made().state_dict(),
            "schedule": dict(self._schedule.state_dict()),
            "generators": checkpoint.generators(self.generator),
            "meter": asdict(self._meter),
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
        self._metrics.keep(saved["epoch"] if saved else 0)
        if saved is None:
            return
        self._optimizer.load_state_dict(saved["optimizer"])
        self._schedule.load_state_dict(saved["schedule"])
        checkpoint.restore_generators(saved["generators"], self.generator)
        self.epoch, self.steps, self._saved = saved["epoch"], saved["steps"], saved
        if saved["stream"] is None and self.best["epoch"] == self.epoch - 1:
            # The kill may have come between the checkpoint and the best weights, which are its own.
            self._save_best()

    def _begin_epoch(self) -> None:
        saved, self._saved = self._saved, None
        inside = saved is not None and saved["stream"] is not None
        self._meter, self._passed = Meter(), False
        self.feed.begin(self.epoch, saved["stream"] if saved and inside else None)
        self._ledger.begin(self.epoch, saved["visits"] if saved and inside else 0)
        if saved and inside:
            self._meter = Meter(**saved["meter"])
        rate = self.config.optimizer.lr * self._schedule.factor(self.epoch)
        self._made().set_rate(rate)

    def _end_epoch(self) -> None:
        self._settle()
        self._ledger.close()
        val = self.evaluate("val") if self.feed.dataset.splits.get("val") else None
        line = {"epoch": self.epoch, "lr": self._made().rate, **self._meter.line(), "val": val}
        self._schedule.observe(val["loss"] if val else line["train_loss"])
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
        state = {
            "data": self.feed.dataset.description.root,
            "best": self.best,
            "model": self.model.state_dict(),
            "method": self.method.state_dict(),
        }
        checkpoint.save(self.folder / BEST, state)

    def _after_step(self) -> None:
        stopping = self.stopping  # It may be set at any moment.
        if stopping or self.steps % self.config.save_every_steps == 0:
            self.save()
        done = -(-self.feed.position // self.config.batch_size)
        self._watch.step(self.epoch, done, self.feed.steps, self._meter.line())
        if stopping:
            raise Interrupted(
                f"stopped at epoch {self.epoch + 1}, step {done} of {self.feed.steps}. "
                "The same command with --resume goes on from here"
            )

    def _settle(self) -> None:
        """Counts the losses of the last updates, and what was logged.

        Raises:
            RunError: A loss is not finite.
        """
        self._meter.log((name, float(value)) for name, value in self._told)
        self._told.clear()
        waiting, self._unsettled = self._unsettled, []
        values = torch.stack([loss for loss, _, _ in waiting]).tolist() if waiting else []
        for value, (_, batch, step) in zip(values, waiting, strict=True):
            if not math.isfinite(value):
                samples = "" if batch is None else f", samples {self._keys(batch)}"
                raise RunError(
                    f"the loss is {value} at step {step + 1} (epoch {self.epoch + 1}){samples}. "
                    f"{self._back()}"
                )
            if batch is not None:
                self._meter.add_loss(value, len(batch))

    def _keys(self, batch: Batch) -> str:
        keys = [self.feed.dataset.key(i) for i in batch.ids.tolist()]
        more = f" and {len(keys) - _KEYS_SHOWN} more" if len(keys) > _KEYS_SHOWN else ""
        return ", ".join(keys[:_KEYS_SHOWN]) + more

    def _back(self) -> str:
        path = self.folder / CHECKPOINT
        if not path.exists():
            return "There is no checkpoint yet; lower lr, or set clip"
        return f"The last good checkpoint is {path}; lower lr, or set clip, in a new run"

    def _made(self) -> Optimizer:
        if self._optimizer is None:
            raise RuntimeError("the optimizer does not exist before setup() is done")
        return self._optimizer

    def _autocast(self) -> torch.autocast:
        # Without the cache, which would serve stale weights after an update inside a step.
        enabled = self.config.precision == "bf16"
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=enabled, cache_enabled=False
        )

    @contextmanager
    def _judging(self) -> Iterator[None]:
        training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad(), self._autocast():
                yield
        finally:
            self.model.train(training)


def device_of(name: str) -> torch.device:
    """``auto`` is a GPU where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def _on(device: torch.device, value: Any) -> Any:
    """A copy of ``value`` with its tensors on ``device``."""
    if isinstance(value, Tensor):
        return value.to(device, copy=True)
    if isinstance(value, dict):
        return {key: _on(device, each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_on(device, each) for each in value)
    return value
