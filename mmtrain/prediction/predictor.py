"""The trained model with its method's prediction, as a module that takes plain tensors."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from mmtrain.config.run import TrainConfig
from mmtrain.errors import ConfigError, UnknownName
from mmtrain.methods.base import Method
from mmtrain.modalities import PICTURES, SEQUENCE, SPECTROGRAM, TOKENS, modality
from mmtrain.models.multimodal import MultimodalModel
from mmtrain.prediction.opening import Trained, open_trained
from mmtrain.prediction.rebuild import ReadConfig, rebuild
from mmtrain.tasks.needs import PROBABILITY
from mmtrain.tasks.task import Task
from mmtrain.training.checkpoint import BEST, naming_misfits
from mmtrain.training.data_facts import DataFacts
from mmtrain.training.device import autocast, copy_batch, set_up
from mmtrain.types import Batch, Outputs

# Type of the tensor of each kind of input, see `mmtrain.types.Batch`.
_TYPES = {
    PICTURES: torch.uint8,
    SPECTROGRAM: torch.float16,
    TOKENS: torch.int64,
    SEQUENCE: torch.float32,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """Predictions for a batch, on the CPU.

    Probabilities are (B, C), or (B, S, C) where each of S segments has a class; scores of a
    regression are (B, 1).

    Attributes:
        fused: Probabilities or scores by all modalities together.
        by_modality: Modality to those by its own logits.
        shown: Modality to (B,) True for samples that have it.
        without: Modality to the fused ones without it, where a score has no probability; empty
            elsewhere.
        logits: Fused logits (B, outputs).
    """

    fused: Tensor
    by_modality: dict[str, Tensor]
    shown: dict[str, Tensor]
    without: dict[str, Tensor]
    logits: Tensor

    @property
    def decided(self) -> list[str]:
        """Modality of each sample that decided, among those that the sample has.

        That is the one whose own probability of the fused winner is largest, averaged over
        segments. Of a score, the one without which the score changes most.
        """
        if self.without:
            weights = {
                m: (z - self.fused).abs().flatten(1).mean(1) for m, z in self.without.items()
            }
        else:
            winner = self.fused.argmax(-1, keepdim=True)
            weights = {
                m: p.gather(-1, winner).flatten(1).mean(1) for m, p in self.by_modality.items()
            }
        names = [*weights]
        rows = torch.stack([weights[m].masked_fill(~self.shown[m], -torch.inf) for m in names], 1)
        return [names[i] for i in rows.argmax(1).tolist()]


class Predictor(nn.Module):
    """A trained model that predicts as its method does; made by `load`.

    Args:
        model: Model, set up by the method, with the trained weights.
        method: Method that predicts with it.
        task: Task that it learnt.
        config: Config of the run.
        facts: Facts about its data.

    Attributes:
        model: Model, as given.
        classes: Class names in the order of their ids.
        task: Task, as given.
        config: Config, as given.
        facts: Facts, as given; they hold the shapes of inputs.
        modalities: Names of the modalities.
    """

    def __init__(
        self,
        model: MultimodalModel,
        method: Method,
        task: Task,
        config: TrainConfig,
        facts: DataFacts,
    ) -> None:
        super().__init__()
        self.model, self.method, self.task = model, method, task
        self.config, self.facts = config, facts
        self.classes = task.classes(facts.annotations)
        self.modalities = model.modalities

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return next(self.model.parameters()).device

    def forward(
        self, inputs: Mapping[str, Tensor], shown: Mapping[str, Tensor] | None = None
    ) -> Outputs:
        """Logits, fused and by modality.

        Args:
            inputs: Modality to its tensor, see `mmtrain.types.Batch`; all modalities.
            shown: Modality to (B,) True for samples that have it; all by default.
        """
        return self.method.predict(self.model, Batch.unlabelled(dict(inputs), dict(shown or {})))

    @torch.no_grad()
    def predict(
        self, batch: Batch | Mapping[str, Tensor], shown: Mapping[str, Tensor] | None = None
    ) -> Prediction:
        """Predicts a batch, on the device of the model.

        Args:
            batch: Batch of a stream, or modality to its tensor. Modalities that are not there count
                as missing.
            shown: Modality to (B,) True for samples that have it, of plain tensors; all by default.

        Raises:
            UnknownName: A modality that the model does not have.
            ConfigError: No modality, or a tensor of another shape or type than in training.
        """
        if not isinstance(batch, Batch):
            batch = self._batch(batch, shown or {})
        batch = self._completed(batch)
        here = copy_batch(batch, self.device)
        with autocast(self.device, self.config.precision):
            out = self.method.predict(self.model, here)
            without = {} if PROBABILITY in self.task.gives else self._without(here)
        every = torch.ones(len(batch), dtype=torch.bool)
        return Prediction(
            fused=self._values(out.fused),
            by_modality={m: self._values(out.logits[m]) for m in self.modalities},
            shown={m: batch.shown.get(m, every).cpu() for m in self.modalities},
            without={m: self._values(z) for m, z in without.items()},
            logits=out.fused.float().cpu(),
        )

    def blank(self, name: str, count: int) -> Tensor:
        """Input of ``count`` samples that lack the modality ``name``."""
        kind = _TYPES[modality(name).kind]
        return torch.zeros((count, *self.facts.inputs[name].shape), dtype=kind)

    def _without(self, batch: Batch) -> dict[str, Tensor]:
        everywhere = torch.ones_like(batch.filler)
        return {
            m: self.method.predict(self.model, batch.hiding(**{m: everywhere})).fused
            for m in self.modalities
        }

    def _values(self, logits: Tensor) -> Tensor:
        """Probabilities, or scores, of logits (B, outputs)."""
        if PROBABILITY not in self.task.gives:
            return logits.float().cpu()
        rows = self.task.decisions(logits.double().cpu()).softmax(-1)
        return rows if len(rows) == len(logits) else rows.view(len(logits), -1, rows.shape[-1])

    def _batch(self, inputs: Mapping[str, Tensor], shown: Mapping[str, Tensor]) -> Batch:
        for name in (*inputs, *shown):
            if name not in self.modalities:
                raise UnknownName("modality of this model", name, self.modalities)
        if not inputs:
            raise ConfigError(f"no modality is given; the model has {', '.join(self.modalities)}")
        count = len(next(iter(inputs.values())))
        for name, tensor in inputs.items():
            self._check(name, tensor, count)
        return Batch.unlabelled(inputs, shown)

    def _completed(self, batch: Batch) -> Batch:
        """The batch with the modalities that it lacks, hidden."""
        absent = [m for m in self.modalities if m not in batch.inputs]
        like = next(iter(batch.inputs.values())).device
        blanks = {m: self.blank(m, len(batch)).to(like) for m in absent}
        nowhere = {m: torch.zeros(len(batch), dtype=torch.bool, device=like) for m in absent}
        inputs = {m: {**batch.inputs, **blanks}[m] for m in self.modalities}
        return replace(batch, inputs=inputs, shown={**batch.shown, **nowhere})

    def _check(self, name: str, tensor: Tensor, count: int) -> None:
        shape, kind = self.facts.inputs[name].shape, _TYPES[modality(name).kind]
        if len(tensor) != count or tensor.shape[1:] != shape or tensor.dtype != kind:
            raise ConfigError(
                f"{name} has shape {tuple(tensor.shape)} and type {tensor.dtype}; the model takes "
                f"({count}, {', '.join(map(str, shape))}) of {kind}"
            )


def load(folder: str | Path, *, device: str = "cpu", data: str | None = None) -> Predictor:
    """Loads what was trained, from the folder of a run or of an export, in eval mode.

    Example:
        >>> model = mmtrain.load("exports/joint")                       # doctest: +SKIP
        >>> prediction = model.predict({"audio": spectrograms})         # doctest: +SKIP
        >>> model.classes[int(prediction.fused[0].argmax())]            # doctest: +SKIP

    Args:
        folder: Folder of the run or the export.
        device: Device to compute on: ``auto``, ``cpu`` or ``cuda``.
        data: Place of the shards, of which a run of an older version needs to look at one sample.

    Raises:
        ConfigError: There is neither, or it names a plug-in without consent, see
            `mmtrain.plugins.allowing`.
        DataError: A file is damaged.
    """
    return predictor_of(open_trained(Path(folder), data), device)


def predictor_of(trained: Trained, device: str, read: ReadConfig | None = None) -> Predictor:
    """Makes the module of what was opened.

    Args:
        trained: Content of a run or an export.
        device: Device to compute on.
        read: Reader of the configs of teachers, if not that of ``trained``.

    Raises:
        ConfigError: The method needs data in its ``setup``.
        DataError: The weights do not fit the config.
    """
    place = set_up(device)
    with naming_misfits(trained.folder / BEST):
        run = rebuild(
            trained.config, trained.facts, trained.saved, place, read or trained.config_of
        )
    return Predictor(run.model, run.method, run.task, trained.config, trained.facts).eval()
