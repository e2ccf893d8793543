"""IGM: alternating unimodal training with flat gradient modification (Jiang et al., IJCAI 2025).

The modalities are trained in turn, each alone with its own head. While one is trained, the gradient
of its head keeps to directions in which the head of the one before it is flat, and is taken at the
worst point near the weights (SAM). Probabilities are averaged at the end.

Differs from the paper as the authors' code does: probabilities are averaged, where the text weighs
them as MLA does; every linear layer of the head is projected, where it has one.

Differs from the authors' code:
- SAM as in the paper: two passes, one ball over encoder and head, weights restored. Theirs keeps
  the perturbation, evaluates the head only, on the old features, and normalises each tensor by
  itself; their radius of 1e-10 or 1e-15 changes next to no float32 weight. Ours is 0.05.
- No mixup of the inputs (Beta(1, 1) in the code, absent from the paper), and so no
  ``0.7 L_mix + 0.3 L`` of mixed and plain loss.
- A stage goes on from the weights as they are, not from those that were best on the test split.
- The learning rate is the run's schedule over all epochs; theirs starts anew in each stage (and is
  divided by 10 after 40 epochs of it). Momentum does start anew.
- Second moments come from the view of evaluation, in an order drawn anew; theirs from augmented
  samples. The convolutions' moments, which they compute and never apply, are used with ``scope``
  alone: those of the mean patch that a convolution sees of a sample.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from mmtrain.errors import ConfigError, UnknownName
from mmtrain.fields import at_least, between
from mmtrain.functional import flat_projection, perturb, second_moment
from mmtrain.methods.base import Method, Run, state
from mmtrain.methods.shared.decisions import Decisions, rows_of_task
from mmtrain.methods.shared.scope import Layer, layers_in_scope, recorded_inputs
from mmtrain.methods.shared.turns import Turn, stages, turn
from mmtrain.models.heads import layer_inputs, linear_layers, mlp
from mmtrain.models.layers import frozen_batch_norm
from mmtrain.models.multimodal import MultimodalModel
from mmtrain.tasks.needs import PROBABILITY, Needs
from mmtrain.types import Batch, Outputs

_LAYERS: Final = 3  # of the heads


def mixture(
    logits: Mapping[str, Float[Tensor, "batch classes"]],
) -> Float[Tensor, "batch classes"]:
    """``ln (1/M sum_m softmax(u^m))``: logits whose softmax is the mean of the modalities'."""
    log_probs = torch.stack([z.log_softmax(-1) for z in logits.values()])
    return log_probs.logsumexp(0) - math.log(len(log_probs))


@dataclass(kw_only=True, eq=False)
class IGM(Method):
    """Trains one modality at a time, along directions that are flat for the one before it.

    Stages of the modalities follow each other in a circle. In a stage only the modality's encoder
    and head (``width -> 256 -> 64 -> classes``) run and move, by its own cross-entropy; the others
    stay bit for bit. With ``k`` the modality of the stage before::

        eps = rho g / ||g||_2                        SAM: g of encoder and head together
        grad_W <- (grad_W L(w + eps)) T^k            for each layer W in the scope
        T^k = V diag(exp(-tau (lam - lam_min) / (lam_max - lam_min))) V^T
        V diag(lam) V^T = sum_b a_b a_b^T            a_b: mean input of the layer in batch b

    ``T`` is made at the end of a stage, by one pass over the training split, and is the identity in
    the first stage and where inputs of a layer differ in width. The optimizer starts anew in each
    stage; the learning rate is the run's schedule. The prediction is the mean of the modalities'
    probabilities; those of a modality that had no turn yet are next to uniform. The fusion takes no
    part and stays as it starts.

    Logged: ``kept.<modality>``, the share ``||grad T|| / ||grad||`` of the projected gradient that
    remains, and ``sharpness.<modality>``, ``L(w + eps) - L(w)``. The training loss is that at
    ``w + eps``, of one modality.

    A step sees one modality, so a curriculum that scores while training gets no outputs from it;
    take one that scores between epochs.

    Cost: 2x a step of `joint` on that modality alone, so with two alike about a step of `joint`;
    and a forward pass of that modality over the training split at the end of a stage. With a
    ``scope`` that pass holds 4 bytes a sample for each input of a layer, 124 KB for ResNet-18, and
    finds the eigenvectors of matrices of up to 4,608 rows.

    Remembers: ``T`` of each layer in the scope, 4 bytes times the square of its inputs (1.3 MB for
    heads on ResNet-18; with ``scope=1`` 370 MB); made anew at the end of each stage, and saved.

    Args:
        stage_epochs: Epochs of a stage, or those of each modality in turn, such as 25,50 as the
            authors on CREMA-D. Empty gives every modality four turns in the run, or fewer where it
            has not the epochs.
        radius: ``rho``, the length of ``eps``; 0 is without SAM. The authors give 1e-10, which
            float32 hardly sees.
        tau: Strength of the damping: ``exp(-tau)`` along the strongest direction.
        projected: Modalities whose gradient is projected in their stages, such as audio; or the
            number of linear layers of the head that are, counted from the classifier: 3 as in the
            authors' code, 1 the classifier only, 0 none. None is all modalities and 3 layers.
        scope: Share of the weights of encoder and head, in [0, 1], that are projected, from the
            classifier backwards and convolutions included: 0.013 is the head on ResNet-18, 1 all, 0
            none. None leaves it to ``projected``.
        group: Samples in a batch ``b`` of the pass. With 1, T is made from the full second moment
            of the inputs instead of that of their means.
    """

    stage_epochs: str = ""
    radius: float = at_least(0, default=0.05)
    tau: float = at_least(0, default=0.4)
    projected: int | str | tuple[str, ...] | None = None
    scope: float | None = between(0, 1, default=None)
    group: int = at_least(1, default=12)
    projections: list[Tensor] = state(default_factory=list)
    rows: Decisions = rows_of_task()

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.projected, int) and not 0 <= self.projected <= _LAYERS:
            raise ConfigError(
                f"projected is at least 0, and igm's heads have {_LAYERS} layers; got "
                f"{self.projected}"
            )

    @property
    def needs(self) -> Needs:
        return {PROBABILITY: "the mean of the modalities' predictions"}

    def setup(self, run: Run) -> None:
        self.rows = run.task.decisions
        modalities = run.model.modalities
        if len(modalities) < 2:
            raise ConfigError(
                f"igm alternates between modalities and needs two or more; got "
                f"{', '.join(modalities)}"
            )
        for name in set(self._projected(modalities)) - set(modalities):
            raise UnknownName("modality for igm.projected", name, modalities)
        self._turn(run)
        run.model.fusion.requires_grad_(False)
        heads = run.model.add_heads(mlp)
        run.adopt(heads)
        last = linear_layers(heads[modalities[-1]])
        # Layers of the encoders have none before the first stage is over.
        self.projections = [torch.eye(n.in_features, device=run.device) for n in last]

    def fit(self, run: Run) -> None:
        modalities = run.model.modalities
        for _ in run.epochs():
            now = self._turn(run)
            if now.first and not run.position:
                run.renew_optimizer()
            run.train_epoch(self)
            following = modalities[(now.place + 1) % len(modalities)]
            if now.last and self._layers(run, following):
                self.projections = self._flat_projections(run, modalities[now.place])

    def step(self, run: Run, batch: Batch) -> None:
        modality = run.model.modalities[self._turn(run).place]
        encoder, head = run.model.encoders[modality], run.model.heads[modality]
        loss = self._loss(run, modality, batch)
        if not self.radius:
            with run.update(loss):
                self._project(run, modality)
            return
        gradients = run.gradients(loss, encoder, head)
        run.average(gradients)
        loss_at_weights = loss.detach()
        del loss  # The graph, before there is another.
        parameters = [p for p in (*encoder.parameters(), *head.parameters()) if p.requires_grad]
        weights = perturb(parameters, gradients, self.radius)
        with frozen_batch_norm(encoder):
            loss = self._loss(run, modality, batch)
        with run.update(loss):
            torch._foreach_copy_([*parameters], weights)
            self._project(run, modality)
        run.log(**{f"sharpness.{modality}": run.mean(loss.detach() - loss_at_weights)})

    def predict(self, model: MultimodalModel, batch: Batch) -> Outputs:
        out = model(batch)
        mixed = mixture({m: self.rows(z) for m, z in out.logits.items()})
        return replace(out, fused=mixed.view_as(out.fused))

    def _turn(self, run: Run) -> Turn:
        lengths = stages(self.stage_epochs, len(run.model.modalities), run.planned)
        return turn(run.epoch, lengths)

    def _loss(self, run: Run, modality: str, batch: Batch) -> Tensor:
        feature = run.model.feature(modality, batch)
        with torch.autocast(run.device.type, enabled=False):
            return run.task.losses(run.model.heads[modality](feature), batch.target).mean()

    def _projected(self, modalities: tuple[str, ...]) -> tuple[str, ...]:
        """Modalities whose gradient is projected."""
        if self.projected is None or isinstance(self.projected, int):
            return modalities
        names = self.projected.split(",") if isinstance(self.projected, str) else self.projected
        return tuple(name.strip() for name in names)

    def _layers(self, run: Run, modality: str) -> Sequence[Layer]:
        """Layers of a modality whose gradient is projected, in order."""
        if modality not in self._projected(run.model.modalities):
            return []
        encoder, head = run.model.encoders[modality], run.model.heads[modality]
        if self.scope is not None:
            return layers_in_scope(encoder, head, scope=self.scope)
        count = self.projected if isinstance(self.projected, int) else _LAYERS
        return linear_layers(head)[_LAYERS - count :]

    def _project(self, run: Run, modality: str) -> None:
        """Keeps the gradient to directions that are flat for the modality before."""
        run.average_gradients()
        layers = self._layers(run, modality)
        count = min(len(layers), len(self.projections))
        if not count:
            return
        gradients, projected = [], []
        with torch.autocast(run.device.type, enabled=False):
            # From the classifier backwards, since encoders may differ in their number of layers.
            for layer, flat in zip(layers[-count:], self.projections[-count:], strict=True):
                if (gradient := layer.weight.grad) is not None:
                    rows = gradient.flatten(1)
                    # Widths may differ between modalities.
                    rows = rows @ flat if rows.shape[1] == len(flat) else rows
                    gradients.append(gradient)
                    projected.append(rows.view_as(gradient))
        before, after = map(torch.nn.utils.get_total_norm, (gradients, projected))
        torch._foreach_copy_(gradients, projected)
        tiny = torch.finfo(before.dtype).tiny
        run.log(**{f"kept.{modality}": after / before.clamp(min=tiny)})

    def _flat_projections(self, run: Run, modality: str) -> list[Tensor]:
        """``T`` of the layers in the scope and of the head, in order and equal on all ranks."""
        encoder, head = run.model.encoders[modality], run.model.heads[modality]
        layers: list[Layer] = []
        if self.scope is not None:
            inside = {*encoder.modules()}
            layers = [n for n in layers_in_scope(encoder, head, scope=self.scope) if n in inside]

        def mean_inputs(batch: Batch) -> dict[str, Tensor]:
            with recorded_inputs(layers, len(batch)) as inputs:
                feature = run.model.feature(modality, batch)
            return {"feature": feature, **inputs}

        inputs = run.score(mean_inputs)
        features = inputs.pop("feature")
        seen = ~features.isnan().any(-1)  # Damaged samples were skipped.
        order = torch.randperm(int(seen.sum()), generator=run.generator)
        with torch.no_grad():
            of_encoder = [inputs[str(number)][seen][order] for number in range(len(layers))]
            of_head = layer_inputs(head, features[seen][order])
            moments = (second_moment(rows, self.group) for rows in (*of_encoder, *of_head))
            # The mean, for ranks on unlike devices may round differently.
            return [run.mean(flat_projection(moment, self.tau)) for moment in moments]
