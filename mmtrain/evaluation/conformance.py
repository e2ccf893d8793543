"""Checks that every method passes, on tiny data, with two and with three modalities.

``mmtrain methods --check file.py:Class`` runs them on a method of the user's own, the test suite on
every line of the catalog. A check returns nothing, or raises `Nonconforming` with the reason.
"""

import importlib
import json
import math
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

import torch

from mmtrain import plugins
from mmtrain.config.overrides import resolved
from mmtrain.config.request import Request
from mmtrain.config.run import OptimizerConfig, TrainConfig, ViewConfig
from mmtrain.curricula.catalog import CURRICULA
from mmtrain.errors import Interrupted, MmtrainError
from mmtrain.evaluation.same_runs import checkpoint_difference, difference
from mmtrain.evaluation.tiny_shards import CLASSES, write_tiny_shards
from mmtrain.methods.base import Method
from mmtrain.methods.catalog import METHODS
from mmtrain.tasks.catalog import CLASSIFICATION
from mmtrain.training import checkpoint
from mmtrain.training.assemble import assemble
from mmtrain.training.checkpoint import BEST, CHECKPOINT
from mmtrain.training.parts import CONFIG, fitted, shards_of
from mmtrain.training.run import METRICS, Run
from mmtrain.training.train import RESULT, train
from mmtrain.training.watch import Quiet
from mmtrain.types import Outputs

Modalities: TypeAlias = tuple[str, ...]

MODALITIES: Final[tuple[Modalities, ...]] = (("audio", "visual"), ("audio", "visual", "text"))
_STOP: Final = 5  # Steps before a run is interrupted; an epoch has 3.
# Where twelve samples in so few epochs are too few for all to take their turn, or to gain anything.
_SMALLER: Final[Mapping[str, Sequence[str]]] = {
    "bss-h": ("curriculum.start=0.9",),
    "di-mml": ("method.start=0", "method.fusion_epochs=1"),
    "domfn": ("method.pretrain=1",),
    "g-blend": ("method.interval=1",),
    "g-blend-offline": ("method.interval=1",),
    "lfm-lb": ("method.held=3",),
    "reconboost": ("method.alone=1", "method.together=1", "method.pretrained=true"),
    "reconboost-released": ("method.alone=1", "method.together=1", "method.pretrained=true"),
    "relearning": ("method.interval=1",),
    "remix": ("curriculum.warm_up=1",),
    "smv": ("curriculum.warm_up=1",),
}
# Methods that may have teachers, and train more without.
_SELF_TAUGHT: Final = ("ume",)
# Method to the only fusion on which it acts.
FUSIONS_OF: Final[Mapping[str, str]] = {"greedy": "mmtm"}
# Fusions that act between stages, of which the encoder of texts by default has one only.
_STAGED: Final = ("mmtm",)


class Nonconforming(MmtrainError):
    """A method does not do what every method must."""


class Trials:
    """Tiny runs for the checks; what several checks look at is trained once.

    Args:
        folder: Folder for shards and runs.
        settings: Texts of ``--set`` for all runs.
        task: Task that the shards are made for.
    """

    def __init__(
        self, folder: Path, settings: Sequence[str] = (), task: str = CLASSIFICATION
    ) -> None:
        self._folder, self._settings, self._count = folder, tuple(settings), 0
        self._shards = write_tiny_shards(folder / "shards", task=task)
        self._straight: dict[tuple[str, Modalities], Path] = {}

    def config(self, method: str, modalities: Modalities, **changes: Any) -> TrainConfig:
        """Config of a run in which every modality can have its turn."""
        texts = (*_SMALLER.get(method, ()), *self._taught(method, modalities), *self._settings)
        options = {"method": method, "modalities": modalities, **changes}
        if method in FUSIONS_OF:
            options["fusion"] = FUSIONS_OF[method]
        if options.get("fusion") in _STAGED and "text" in modalities:
            options.setdefault("encoders", {"text": "transformer"})
        return self._config(options, texts)

    def _config(self, options: Mapping[str, Any], texts: Sequence[str] = ()) -> TrainConfig:
        base = TrainConfig(
            data=str(self._shards),
            encoder="small-cnn",
            epochs=max(2, len(options["modalities"])),
            batch_size=4,
            device="cpu",
            workers=1,
            view=ViewConfig(frames=1, size=32, length=12),
            optimizer=OptimizerConfig(lr=0.01),
            settings={"encoder": {"width": 64}},
        )
        return Request(options=options, settings=texts).config(base)

    def _taught(self, method: str, modalities: Modalities) -> tuple[str, ...]:
        """Setting of the teachers of a method that has any: a run of each modality alone."""
        names = {parameter.name for parameter in METHODS.explain(method).parameters}
        if "teachers" not in names or method in _SELF_TAUGHT:
            return ()
        runs = [str(self._teacher(modality)) for modality in modalities]
        return (f"method.teachers={','.join(runs)}",)

    def _teacher(self, modality: str) -> Path:
        """Folder of a run of joint training on one modality, whatever the settings are."""
        key = "joint", (modality,)
        if key not in self._straight:
            folder = self.folder()
            train(self._config({"method": "joint", "modalities": (modality,)}), folder)
            self._straight[key] = folder
        return self._straight[key]

    def folder(self) -> Path:
        """A new folder for a run."""
        self._count += 1
        return self._folder / f"run-{self._count}"

    def straight(self, method: str, modalities: Modalities) -> Path:
        """Folder of the undisturbed run of a method, which is trained at the first call."""
        key = method, modalities
        if key not in self._straight:
            folder = self.folder()
            train(self.config(method, modalities), folder)
            self._straight[key] = folder
        return self._straight[key]


Check: TypeAlias = Callable[[Trials, str, Modalities], None]


def trains_and_stays_finite(trials: Trials, method: str, modalities: Modalities) -> None:
    """It trains, and weights, losses and logged values stay finite."""
    folder = trials.straight(method, modalities)
    for name, value in checkpoint.load(folder / CHECKPOINT)["model"].items():
        _require(bool(value.isfinite().all()), f"after training {name} is not finite")
    for line in _lines(folder):
        for name, value in {**line["logged"], "train_loss": line["train_loss"]}.items():
            _require(math.isfinite(value), f"{name} is {value} in epoch {line['epoch']}")
    result = json.loads((folder / RESULT).read_text("utf-8"))
    measured = tuple(result["test"]["modalities"])
    _require(set(measured) == set(modalities), f"result.json measures {measured}")


def resumes_to_the_same(trials: Trials, method: str, modalities: Modalities) -> None:
    """A run that was interrupted and resumed is bit for bit the run that was not."""
    config, folder = trials.config(method, modalities), trials.folder()
    folder.mkdir()
    stop = _Stop()
    with shards_of(config) as dataset:
        config = fitted(config, dataset)
        (folder / CONFIG).write_text(config.to_json(), "utf-8")
        with assemble(config, dataset, folder, watch=stop) as run:
            stop.run = run
            try:
                run.method.fit(run)
            except Interrupted:
                pass
            else:
                raise Nonconforming(f"the run had {run.steps} steps, and none at which to stop")
    train(config, folder, resume=True)
    if found := difference(trials.straight(method, modalities), folder):
        raise Nonconforming(
            f"{found}. What a method remembers is a field made by `state(...)`, random draws come "
            "from run.generator or run.draws"
        )


def moves_every_parameter(trials: Trials, method: str, modalities: Modalities) -> None:
    """Every trainable parameter is in the optimizer, no other is, and each moves."""
    config, straight = trials.config(method, modalities), trials.straight(method, modalities)
    fresh = trials.folder()
    fresh.mkdir()
    with shards_of(config) as dataset:
        config = fitted(config, dataset)
        with assemble(config, dataset, fresh) as run:
            before = {n: p.detach() for n, p in run.model.named_parameters() if p.requires_grad}
        with assemble(config, dataset, straight) as run:
            after = dict(run.model.named_parameters())
            updated = set(run.rates())
    still = [n for n, value in before.items() if torch.equal(value, after[n])]
    _require(not still, f"training does not change {', '.join(still)}")
    trainable = {name for name, parameter in after.items() if parameter.requires_grad}
    lost = sorted(trainable.symmetric_difference(updated))
    _require(not lost, f"either trainable or in the optimizer, not both: {', '.join(lost)}")


def is_unchanged_by_trials(trials: Trials, method: str, modalities: Modalities) -> None:
    """Epochs that are tried and undone leave the run bit for bit as it was."""
    config, folder = trials.config(method, modalities), trials.folder()
    folder.mkdir()
    with shards_of(config) as dataset, assemble(fitted(config, dataset), dataset, folder) as run:
        train_epoch = run.train_epoch

        def tried(method: Method) -> None:
            if run._trial is None:  # One of the method's own cannot hold another.
                with run.trial():
                    train_epoch(method)
            train_epoch(method)

        run.train_epoch = tried  # type: ignore[method-assign]  # Before each epoch, a trial of it.
        run.method.fit(run)
    straight = trials.straight(method, modalities) / CHECKPOINT
    if found := checkpoint_difference(straight, folder / CHECKPOINT, "lines", "tried"):
        raise Nonconforming(f"after trials {found}")


def is_restored_from_snapshots(trials: Trials, method: str, modalities: Modalities) -> None:
    """A snapshot of model and optimizer restores whatever the method builds."""
    config, straight = trials.config(method, modalities), trials.straight(method, modalities)
    with shards_of(config) as dataset, assemble(fitted(config, dataset), dataset, straight) as run:
        saved = checkpoint.load(straight / CHECKPOINT)
        before = run.snapshot()
        with torch.no_grad():
            for value in run.model.state_dict().values():
                value.mul_(2)
        run.renew_optimizer()
        run.restore(before)
        state = run.model.state_dict()
        lost = [n for n, value in saved["model"].items() if not torch.equal(state[n], value)]
        _require(not lost, f"a snapshot does not restore {', '.join(lost)}")
        moments = run.optimizer_state()
        lost = [
            name
            for name, own in saved["optimizer"].items()
            if not all(torch.equal(moments[name][key], value) for key, value in own.items())
        ]
        _require(not lost, f"a snapshot does not restore the momentum of {', '.join(lost)}")


def predicts_by_modality(trials: Trials, method: str, modalities: Modalities) -> None:
    """It predicts finite logits, fused and of each modality, also where one is hidden."""
    config, folder = trials.config(method, modalities), trials.straight(method, modalities)
    with shards_of(config) as dataset:
        run = assemble(fitted(config, dataset), dataset, folder, file=BEST)
        run.model.eval()
        batch = next(run.batches("val"))
        shown = {modalities[0]: torch.zeros(len(batch), dtype=torch.bool)}
        with torch.no_grad():
            for each in (batch, replace(batch, shown=shown)):
                _require_outputs(run.method.predict(run.model, each), modalities, len(batch))


def trains_in_half_precision(trials: Trials, method: str, modalities: Modalities) -> None:
    """It trains in bf16, and with a curriculum that scores the samples."""
    curriculum = METHODS.entry(method).curriculum or "bss-l"
    changes = {"precision": "bf16", "curriculum": curriculum, "epochs": 2}
    folder = trials.folder()
    train(trials.config(method, modalities, **changes), folder)
    for line in _lines(folder):
        _require(math.isfinite(line["train_loss"]), f"the loss is {line['train_loss']}")
    _require((folder / "scores.h5").exists(), "no scores.h5: the curriculum scored nothing")


def keeps_its_parameters(trials: Trials, method: str, modalities: Modalities) -> None:
    """Its hyper-parameters are the same after a way through config.json."""
    config = resolved(trials.config(method, modalities))
    again = TrainConfig.from_json(config.to_json(), CONFIG)
    _require(not (changed := config.differences(again)), f"config.json changes {changed}")
    made = METHODS.load(method)(**again.settings["method"])
    for name, value in again.settings["method"].items():
        _require(getattr(made, name) == value, f"{name} is {getattr(made, name)!r}, not {value!r}")


def is_documented(trials: Trials, method: str, modalities: Modalities) -> None:
    """Its docstring has an equation and describes every parameter; its module names its paper."""
    explanation = METHODS.explain(method)
    bare = [p.name for p in explanation.parameters if not p.help]
    _require(not bare, f"the docstring has no description of {', '.join(bare)}")
    _require("``" in explanation.text, "the docstring has no equation in ``double quotes``")
    entry = explanation.entry
    if entry.paper == "-":
        return
    target = CURRICULA.target(entry.curriculum) if entry.curriculum else METHODS.target(method)
    text = importlib.import_module(target.__module__).__doc__ or ""
    author, year = entry.paper.partition(" ")[0], entry.paper[-4:]
    named = author in text and year in text
    _require(named, f"the docstring of {target.__module__} does not name {entry.paper}")


CHECKS: Final[tuple[Check, ...]] = (
    is_documented,
    keeps_its_parameters,
    trains_and_stays_finite,
    predicts_by_modality,
    moves_every_parameter,
    is_restored_from_snapshots,
    resumes_to_the_same,
    is_unchanged_by_trials,
    trains_in_half_precision,
)
# They look at no data, so that one number of modalities is enough.
_ONCE: Final = (is_documented, keeps_its_parameters)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Outcome of a check.

    Attributes:
        check: Sentence that the check is about.
        modalities: Modalities of its runs.
        error: Reason why the method fails it; None if it passes.
    """

    check: str
    modalities: Modalities
    error: str | None

    def __str__(self) -> str:
        mark = "ok    " if self.error is None else "FAILED"
        line = f"{mark}  {len(self.modalities)} modalities: {self.check}"
        return line if self.error is None else f"{line}\n        {self.error}"


def check_method(name: str, settings: Sequence[str] = ()) -> Iterator[Outcome]:
    """Runs every check on a method.

    Args:
        name: Name in METHODS, or a plug-in.
        settings: Texts of ``--set`` for the runs.

    Raises:
        ConfigError: There is no such method, or it cannot be imported.
    """
    name = plugins.absolute(name)
    METHODS.explain(name)
    with tempfile.TemporaryDirectory() as folder:
        trials = Trials(Path(folder), settings)
        for modalities in MODALITIES:
            for check in CHECKS:
                if check not in _ONCE or modalities == MODALITIES[0]:
                    yield _outcome(check, trials, name, modalities)


def _outcome(check: Check, trials: Trials, name: str, modalities: Modalities) -> Outcome:
    error = None
    try:
        check(trials, name, modalities)
    except MmtrainError as raised:
        error = str(raised)
    except Exception as raised:  # Whatever a method of somebody's own may raise is a result.
        frame = traceback.extract_tb(raised.__traceback__)[-1]
        error = f"{type(raised).__name__}: {raised} ({frame.filename}, line {frame.lineno})"
    sentence = (check.__doc__ or "").partition("\n")[0]
    return Outcome(check=sentence, modalities=modalities, error=error)


class _Stop(Quiet):
    """Asks a run to stop after some steps."""

    run: Run | None = None

    def step(self, epoch: int, step: int, steps: int, *rest: Any) -> None:
        if self.run is not None and self.run.steps + 1 >= _STOP:
            self.run.stopping = True


def _require_outputs(out: Outputs, modalities: Modalities, samples: int) -> None:
    _require(tuple(out.logits) == modalities, f"logits are of {tuple(out.logits)}")
    for name, logits in {"fused": out.fused, **out.logits}.items():
        shape = tuple(logits.shape)
        _require(shape == (samples, len(CLASSES)), f"{name} logits have the shape {shape}")
        _require(bool(logits.isfinite().all()), f"{name} logits are not finite")


def _lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / METRICS).read_text("utf-8").splitlines()]


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise Nonconforming(message)
