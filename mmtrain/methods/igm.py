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
  samples. The convolutions' moments, which they compute and never apply, are left out.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Final, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmtrain.errors import ConfigError
from mmtrain.functional import climb, flat_projection, second_moment
from mmtrain.methods.base import Method, Run, state
from mmtrain.models.layers import frozen_batch_norm, linear
from mmtrain.models.multimodal import MultimodalModel
from mmtrain.types import Batch, Outputs

_TURNS: Final = 4  # Of each modality in a run, unless lengths are given.
_WIDTHS: Final = (256, 64)  # Of the authors' heads.
_LAYERS: Final = len(_WIDTHS) + 1


class Turn(NamedTuple):
    """Whose turn it is in an epoch.

    Attributes:
        place: Of the modality among all.
        first: Whether its stage starts with the epoch.
        last: Whether it ends with it.
    """

    place: int
    first: bool
    last: bool


def stages(text: str, modalities: int, planned: int) -> list[int]:
    """Epochs of each modality's stages.

    Args:
        text: One number, or one for each modality with commas between; empty gives every modality
            four turns.
        modalities: How many there are.
        planned: Epochs of the run.

    Raises:
        ConfigError: No such numbers, or as many as fit neither.
    """
    if not text:
        return [max(1, planned // (_TURNS * modalities))] * modalities
    parts = text.split(",")
    given = [int(part) for part in parts if part.strip().isdecimal() and int(part) > 0]
    if len(given) != len(parts) or len(given) not in (1, modalities):
        raise ConfigError(
            f"igm's stage_epochs is a number of epochs, such as 5, or {modalities} with commas "
            f"between, one for each modality; got {text!r}"
        )
    return given * (modalities // len(given))


def turn(epoch: int, lengths: Sequence[int]) -> Turn:
    """Modalities take turns in stages of ``lengths`` epochs, over and over."""
    at = epoch % sum(lengths)
    ends = [*accumulate(lengths)]
    place = next(i for i, end in enumerate(ends) if at < end)
    return Turn(place, at == ends[place] - lengths[place], at == ends[place] - 1)


def mixture(
    logits: Mapping[str, Float[Tensor, "batch classes"]],
) -> Float[Tensor, "batch classes"]:
    """``ln (1/M sum_m softmax(u^m))``: logits whose softmax is the mean of the modalities'."""
    each = torch.stack([own.log_softmax(-1) for own in logits.values()])
    return each.logsumexp(0) - math.log(len(each))


def mlp(width: int, classes: int) -> nn.Sequential:
    """The authors' head: ``width -> 256, ReLU, 256 -> 64, 64 -> classes``."""
    wide, narrow = _WIDTHS
    return nn.Sequential(
        linear(width, wide), nn.ReLU(), linear(wide, narrow), linear(narrow, classes)
    )


def linears(head: nn.Module) -> list[nn.Linear]:
    """The linear layers of an `mlp`, in order."""
    return [layer for layer in head.children() if isinstance(layer, nn.Linear)]


def inputs_of(head: nn.Module, features: Tensor) -> list[Tensor]:
    """What each linear layer of an `mlp` sees of ``features``."""
    found = []
    for layer in head.children():
        if isinstance(layer, nn.Linear):
            found.append(features)
        features = layer(features)
    return found


@dataclass(kw_only=True, eq=False)
class IGM(Method):
    """Trains one modality at a time, along directions that are flat for the one before it.

    Stages of the modalities follow each other in a circle. In a stage only the modality's encoder
    and head (``width -> 256 -> 64 -> classes``) run and move, by its own cross-entropy; the others
    stay bit for bit. With ``k`` the modality of the stage before::

        eps = rho g / ||g||_2                        SAM: g of encoder and head together
        grad_W <- (grad_W L(w + eps)) T^k            for each linear layer W of the head
        T^k = V diag(exp(-tau (lam - lam_min) / (lam_max - lam_min))) V^T
        V diag(lam) V^T = sum_b a_b a_b^T            a_b: mean input of the layer in batch b

    ``T`` is made at the end of a stage, by one pass over the training split, and is the identity in
    the first stage. The optimizer starts anew in each stage; the learning rate is the run's
    schedule. The prediction is the mean of the modalities' probabilities; those that had no turn
    yet say next to nothing. The fusion takes no part and stays as it starts.

    Logged: ``kept.<modality>``, the share ``||grad T|| / ||grad||`` of the head's gradient that is
    left, and ``sharpness.<modality>``, ``L(w + eps) - L(w)``. The training loss is that at
    ``w + eps``, of one modality.

    A step sees one modality, so a curriculum that scores on the way hears nothing from it; take one
    that scores between epochs.

    Cost: 2x a step of `joint` on that modality alone, so with two alike about a step of `joint`;
    and a forward pass of that modality over the training split at the end of a stage.

    Args:
        stage_epochs: Epochs of a stage, or those of each modality in turn, such as 25,50 as the
            authors on CREMA-D. Empty gives every modality four turns in the run, or fewer where it
            has not the epochs.
        radius: ``rho``, the length of ``eps``; 0 is without SAM. The authors give 1e-10, which
            float32 hardly sees.
        tau: How much the strongest direction is damped: by ``exp(-tau)``.
        projected: Linear layers of the head that are projected, counted from the classifier: 3 as
            in the authors' code, 1 the classifier only, 0 none.
        group: Samples in a batch ``b`` of the pass. With 1, T is made from the full second moment
            of the inputs instead of that of their means.
    """

    stage_epochs: str = ""
    radius: float = 0.05
    tau: float = 0.4
    projected: int = _LAYERS
    group: int = 12
    projections: list[Tensor] = state(default_factory=list)

    def __post_init__(self) -> None:
        for name, least in (("radius", 0), ("tau", 0), ("group", 1), ("projected", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"igm's {name} is at least {least}; got {getattr(self, name)}")
        if self.projected > _LAYERS:
            raise ConfigError(f"igm's heads have {_LAYERS} layers; projected is {self.projected}")

    def setup(self, run: Run) -> None:
        modalities = run.model.modalities
        if len(modalities) < 2:
            raise ConfigError(
                f"igm alternates between modalities and needs two or more; got "
                f"{', '.join(modalities)}"
            )
        self._turn(run)
        run.model.fusion.requires_grad_(False)
        heads = run.model.add_heads(mlp)
        run.adopt(heads)
        last = linears(heads[modalities[-1]])
        self.projections = [torch.eye(n.in_features, device=run.device) for n in last]

    def fit(self, run: Run) -> None:
        for _ in run.epochs():
            now = self._turn(run)
            if now.first and not run.position:
                run.renew_optimizer()
            run.train_epoch(self)
            if now.last and self.projected:
                self.projections = self._flat(run, run.model.modalities[now.place])

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
        here = loss.detach()
        del loss  # The graph, before there is another.
        parameters = [p for p in (*encoder.parameters(), *head.parameters()) if p.requires_grad]
        before = climb(parameters, gradients, self.radius)
        with frozen_batch_norm(encoder):
            loss = self._loss(run, modality, batch)
        with run.update(loss):
            torch._foreach_copy_([*parameters], before)
            self._project(run, modality)
        run.log(**{f"sharpness.{modality}": run.mean(loss.detach() - here)})

    def predict(self, model: MultimodalModel, batch: Batch) -> Outputs:
        out = model(batch)
        return replace(out, fused=mixture(out.logits))

    def _turn(self, run: Run) -> Turn:
        lengths = stages(self.stage_epochs, len(run.model.modalities), run.planned)
        return turn(run.epoch, lengths)

    def _loss(self, run: Run, modality: str, batch: Batch) -> Tensor:
        feature = run.model.feature(modality, batch)
        with torch.autocast(run.device.type, enabled=False):
            return run.task.losses(run.model.heads[modality](feature), batch.target).mean()

    def _project(self, run: Run, modality: str) -> None:
        """Keeps the head's gradient to directions that are flat for the modality before."""
        run.average_gradients()
        if not self.projected:
            return
        layers = linears(run.model.heads[modality])[-self.projected :]
        gradients = [layer.weight.grad for layer in layers if layer.weight.grad is not None]
        with torch.autocast(run.device.type, enabled=False):
            turned = [
                # Widths of features may differ between modalities.
                gradient @ flat if gradient.shape[1] == len(flat) else gradient
                for gradient, flat in zip(
                    gradients, self.projections[-self.projected :], strict=True
                )
            ]
        whole, left = map(torch.nn.utils.get_total_norm, (gradients, turned))
        torch._foreach_copy_(gradients, turned)
        run.log(**{f"kept.{modality}": left / whole.clamp(min=torch.finfo(whole.dtype).tiny)})

    def _flat(self, run: Run, modality: str) -> list[Tensor]:
        """``T`` of each linear layer of the modality's head, equal on all ranks."""
        features = run.score(lambda batch: run.model.feature(modality, batch))
        features = features[~features.isnan().any(-1)]  # Damaged samples were skipped.
        order = torch.randperm(len(features), generator=run.generator)
        with torch.no_grad():
            seen = inputs_of(run.model.heads[modality], features[order])
            moments = [second_moment(inputs, self.group) for inputs in seen]
            # The mean, for ranks on unlike devices may round differently.
            return [run.mean(flat_projection(moment, self.tau)) for moment in moments]
