"""Remix: the loss of data remixing (Ma et al., ICML 2025), for `mmtrain.curricula.remix`.

What a sample shows is trained: the fused logits, with features of 0 for what it hides, and the own
logits of what it shows. Any number of modalities.

Differences from the authors' code: its weights, 0.5 in the warm-up and 1 later, are those of a mean
over what a sample shows. A modality that a whole batch hides does not run and does not move; theirs
runs, so that batch normalisation counts it, and moves by weight decay and the moments of Adam. In
a batch that hides it in part, at the border of two blocks, its encoder sees inputs of 0 there.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mmtrain.errors import ConfigError
from mmtrain.methods.base import Method, Run
from mmtrain.models.multimodal import MultimodalModel
from mmtrain.tasks.task import Task
from mmtrain.types import Batch, Outputs


def objective(
    fused: Float[Tensor, " batch"],
    own: Mapping[str, Float[Tensor, " batch"]],
    shown: Mapping[str, Bool[Tensor, " batch"]],
) -> Float[Tensor, " batch"]:
    """``CE(f_i) + (1 / |S_i|) sum_{m in S_i} CE(u_i^m)`` with ``S_i`` the modalities shown.

    Args:
        fused: Losses of the fused logits.
        own: Modality to losses of its own logits.
        shown: Modality to which samples show it; absent means all.
    """
    losses = torch.stack([*own.values()])
    mask = torch.stack([shown[m].float() if m in shown else torch.ones_like(fused) for m in own])
    return fused + (mask * losses).sum(0) / mask.sum(0).clamp(min=1)


@dataclass(kw_only=True, eq=False)
class Remix(Method):
    """A cross-entropy of the fused logits and the mean one of the modalities that a sample shows.

    ``L_i = CE(f_i, y_i) + (1 / |S_i|) sum_{m in S_i} CE(u_i^m, y_i)``, ``S_i`` the modalities shown
    and ``f`` with the features of the others at 0. With its curriculum: both modalities with 1/2
    each in the warm-up, then one with 1.

    Cost: that of `joint`, and a linear layer a modality; after the warm-up one encoder runs instead
    of M. A wait for the device in each step whose batch may hide a modality.

    Remembers: nothing; the curriculum does.
    """

    def setup(self, run: Run) -> None:
        if run.model.fusion.joint:
            raise ConfigError("remix trains encoders alone; choose a fusion without exchange")
        run.adopt(run.model.add_heads())

    def step(self, run: Run, batch: Batch) -> None:
        active = _appearing(run, batch)
        out = run.model.classify(_features(run.model, active, batch))
        run.observe(out, batch)
        own = {m: run.task.losses(out.logits[m], batch.target) for m in active}
        fused = run.task.losses(out.fused, batch.target)
        run.minimise(objective(fused, own, batch.shown).mean())

    def sample_losses(self, task: Task, out: Outputs, target: Tensor) -> Float[Tensor, " batch"]:
        own = {m: task.losses(z, target) for m, z in out.logits.items()}
        return objective(task.losses(out.fused, target), own, {})


def _appearing(run: Run, batch: Batch) -> list[str]:
    """Modalities that a sample of the step shows; alike on all ranks, which run the same."""
    modalities = run.model.modalities
    hideable = [m for m in modalities if m in batch.shown]
    if not hideable:
        return [*modalities]
    # Looked at together: each look waits for the device.
    counts = run.sum(torch.stack([batch.shown[m].sum() for m in hideable]).float()).tolist()
    absent = [m for m, count in zip(hideable, counts, strict=True) if not count]
    return [m for m in modalities if m not in absent]


def _features(
    model: MultimodalModel, active: Collection[str], batch: Batch
) -> dict[str, Float[Tensor, "batch _"]]:
    """Features by modality, 0 where a sample hides it; encoders that are not active do not run."""
    features = {}
    for modality, width in model.feature_widths.items():
        if modality not in active:
            features[modality] = torch.zeros(len(batch), width, device=batch.ids.device)
            continue
        feature, shown = model.feature(modality, batch), batch.shown.get(modality)
        features[modality] = feature if shown is None else feature * shown[:, None]
    return features
