"""`--init`: a new run starts from the weights of another run, or of an export.

Weights are taken part by part: the encoder of a modality, the fusion, the head of a modality. A
part is taken whole, or not at all: its tensors have the same names and shapes on both sides.
Encoders need nothing else; the other parts hold classes, and are taken where these are the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

import torch
from torch import Tensor, nn

from mmprep.format.agreement import file_digest
from mmprep.format.damage import naming_damage
from mmtrain.config.run import TrainConfig
from mmtrain.errors import ConfigError
from mmtrain.tasks.catalog import TASKS
from mmtrain.training import checkpoint
from mmtrain.training.checkpoint import BEST
from mmtrain.training.data_facts import PREPARATION, read_facts

# Weights of an export, see `mmtrain.prediction.export`.
WEIGHTS: Final = "model.safetensors"
# Name of a task, and its class names.
Answers: TypeAlias = tuple[str, tuple[str, ...]]
_ENCODERS: Final = "encoders"
# Modules that hold one part a modality.
_BY_MODALITY: Final = (_ENCODERS, "heads")


@dataclass(frozen=True, kw_only=True, eq=False)
class Start:
    """Weights to start from.

    Attributes:
        folder: Folder of the run or the export that they are of.
        weights: Name to tensor.
        answers: Task and class names of that run; None where it does not name them.
        root: Root hash of the data that it was trained on; None where it is not known.
    """

    folder: Path
    weights: Mapping[str, Tensor]
    answers: Answers | None
    root: str | None

    def fill_encoders(self, model: nn.Module) -> dict[str, str]:
        """Fills the encoders of ``model`` before a method sets it up.

        Returns:
            Part to the reason for which it was not taken, ``""`` for one that was.
        """
        theirs = {p: t for p, t in _parts(self.weights).items() if p.startswith(_ENCODERS)}
        return _fill(model, theirs)

    def fill_rest(self, model: nn.Module, answers: Answers, root: str) -> dict[str, str]:
        """Fills the fusion, heads and other parts of ``model``, which a method has set up.

        Args:
            model: The model.
            answers: Task and class names of the new run.
            root: Root hash of its data.

        Returns:
            Part to the reason for which it was not taken, ``""`` for one that was.
        """
        alike = answers == self.answers if self.answers else root == self.root
        theirs = {p: t for p, t in _parts(self.weights).items() if not p.startswith(_ENCODERS)}
        if not alike:
            return dict.fromkeys(theirs, "it is of other classes")
        return _fill(model, theirs)

    def summary(self, reasons: Mapping[str, str], model: nn.Module) -> list[str]:
        """Lines that name the parts that were taken, those that were not, and those that are new.

        Raises:
            ConfigError: None was taken.
        """
        theirs, own = _parts(self.weights), _parts(model.state_dict())
        taken = [f"{p} ({len(theirs[p])} tensors)" for p, reason in reasons.items() if not reason]
        left = [f"{part} ({reason})" for part, reason in reasons.items() if reason]
        new = [part for part in own if reasons.get(part, "new")]
        if not taken:
            raise ConfigError(
                f"--init {self.folder}: nothing of it fits this run: {'; '.join(left)}. Give both "
                "the same modalities and encoders, or leave --init out"
            )
        lists = {"taken": taken, "not taken": left, "from the seed": new}
        return [f"--init {self.folder}: {n}: {', '.join(v)}" for n, v in lists.items() if v]


def with_digest(config: TrainConfig) -> TrainConfig:
    """The config with the whole path of ``init``, and the digest of its weights.

    Raises:
        ConfigError: There are no weights; a run that has begun does not look at them.
    """
    if config.init is None:
        return config
    folder = Path(config.init).resolve()
    digest = config.init_sha256 or file_digest(weights_file(folder))
    return replace(config, init=str(folder), init_sha256=digest)


def weights_file(folder: Path) -> Path:
    """File of the weights of a run or an export.

    Raises:
        ConfigError: There is none.
    """
    for name in (WEIGHTS, BEST):
        if (folder / name).is_file():
            return folder / name
    raise ConfigError(
        f"{folder} has no weights to start from: neither {WEIGHTS}, as an export has, nor {BEST}, "
        "which the first epoch of a run writes"
    )


def start_of(config: TrainConfig) -> Start | None:
    """Reads the weights that a new run of a `fitted` config starts from; None without ``init``.

    Raises:
        ConfigError: They are not there, or have changed since the config was made.
        DataError: They are damaged.
    """
    if config.init is None:
        return None
    folder = Path(config.init)
    path = weights_file(folder)
    if (digest := file_digest(path)) != config.init_sha256:
        raise ConfigError(
            f"{path} has changed since the config was made, from SHA-256 {config.init_sha256} to "
            f"{digest}; put the former back, or start a run with --init {folder}"
        )
    if path.name == WEIGHTS:
        weights, root = read_weights(path), None
    else:
        saved = checkpoint.load(path)
        weights, root = saved["model"], saved.get("data")
    return Start(folder=folder, weights=weights, answers=_answers(folder), root=root)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Name to tensor of a safetensors file.

    Raises:
        DataError: It is damaged.
    """
    from safetensors.torch import load

    with naming_damage(str(path), "export the run again"):
        weights: dict[str, Tensor] = load(path.read_bytes())
    return weights


def _answers(folder: Path) -> Answers | None:
    """Task and class names of a run or an export, if it has them."""
    if not (folder / PREPARATION).exists():
        return None
    facts = read_facts(folder)
    task = TASKS.target(facts.task).of(facts.annotations)
    return task.name, task.classes(facts.annotations)


def _parts(state: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Part to its tensors by name."""
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        first, *rest = name.split(".")
        part = f"{first}.{rest[0]}" if first in _BY_MODALITY and rest else first
        parts.setdefault(part, {})[name] = tensor
    return parts


@torch.no_grad()
def _fill(model: nn.Module, theirs: Mapping[str, Mapping[str, Tensor]]) -> dict[str, str]:
    own = _parts(model.state_dict())
    reasons = {part: _misfit(own.get(part, {}), tensors) for part, tensors in theirs.items()}
    for part in (part for part, reason in reasons.items() if not reason):
        for name, tensor in theirs[part].items():
            own[part][name].copy_(tensor)
    return reasons


def _misfit(own: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> str:
    """Reason for which a part does not fit; empty if it does."""
    if not own:
        return "this run has none"
    if strange := sorted(theirs.keys() ^ own.keys()):
        side = "this run" if strange[0] in own else "it"
        return f"only {side} has {strange[0]}"
    for name, tensor in theirs.items():
        if tensor.shape != own[name].shape:
            return f"{name} is {tuple(tensor.shape)} there and {tuple(own[name].shape)} here"
    return ""
