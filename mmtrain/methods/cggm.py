"""CGGM: classifier-guided gradient modulation (Guo et al., NeurIPS 2024).

A classifier on each modality's features, of which the encoders learn nothing, shows by how much the
modality has got better since the last step. The gradient of an encoder is scaled by the share of
the others in that, and the fusion's weights are drawn to the directions of the classifiers.

Differences from the paper:

- Its ``cos^m`` is between gradients of the last step, so that ``L_gm`` is a number that no weight
  moves: here it is logged as ``cosine``. What is minimised has the authors' cosine, of weights.

Differences from the authors' code:

- ``B`` is kept in [0, 2]. Sums of the changes of batches' accuracies are often near 0, where theirs
  becomes negative, by which encoders climb, and as large as 1e7: ``bounded=false``.
- ``L_gm`` has the ``B`` of the last step, as theirs, and the weights of this one; theirs has those
  of the last. In both the fusion's weights learn by it, and the classifiers' do not.
- Both weights compared are theirs of a last layer behind others; here ``W^m`` are the fusion's
  columns of a modality, and ``V^m`` is one linear layer.
- Clipping, where the run clips, sees the classifiers' gradients too.
- Accuracies are of the samples of all ranks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from mmtrain.errors import ConfigError
from mmtrain.fields import above, at_least
from mmtrain.functional.gradient_edit import scale_gradients
from mmtrain.functional.modulation import logged_by_modality
from mmtrain.methods.base import Method, Run, state
from mmtrain.tasks.needs import ACCURACY, Needs
from mmtrain.types import Batch, Outputs


def balances(gains: Float[Tensor, " modalities"]) -> Float[Tensor, " modalities"]:
    """``B^m = (D - Delta^m) / D`` with ``D = sum_j Delta^j + 1e-8``; unbounded.

    They sum to M - 1, the more ``m`` has gained the less is its own; all are 1 where no modality
    has changed.

    Args:
        gains: ``Delta``, accuracy less that of the step before.
    """
    total = gains.sum() + 1e-8
    return (total - gains) / total


def direction_loss(
    balance: Float[Tensor, " modalities"], cosines: Float[Tensor, " modalities"]
) -> Float[Tensor, ""]:
    """``L_gm = 1/M sum_m (|B^m| - B^m cos^m)``, at least 0."""
    return (balance.abs() - balance * cosines).mean()


@dataclass(kw_only=True, eq=False)
class CGGM(Method):
    """Scales the gradients of encoders by how much the other modalities have got better.

    ``L = CE(f, y) + sum_m CE(V^m sg(phi^m), y) + lambda L_gm`` where ``sg`` stops gradients, and
    ``L_gm = 1/M sum_m (|B^m| - B^m cos(V^m, W^m))`` with ``W^m`` the fusion's matrix and ``B`` of
    the last step. Gradients of encoders are multiplied by ``rho B^m``,
    ``B^m = (sum_j Delta^j - Delta^m) / sum_j Delta^j``, ``Delta^m`` the change of the accuracy of
    ``V^m`` from batch to batch. Classification only.

    A batch's accuracy has steps of one sample: ``B`` is very noisy.

    Cost: that of `joint`; a linear layer a modality, and one pass over the encoders' gradients.

    Remembers: the accuracies of the last step, 0 before the first, and ``B``: two numbers for each
    modality, replaced in each step, never reset; saved.

    Logs ``accuracy``, ``balance`` (``B``) and ``cosine`` (of the gradients of ``V^m`` and ``W^m``,
    where the fusion has such) by modality.

    Args:
        rho: Factor ``rho`` on the encoders' gradients, above 0.
        lam: Weight ``lambda`` of ``L_gm``, at least 0; above 0 the fusion must have a matrix for
            each modality, as concat and sum.
        bounded: Whether ``B`` is kept in [0, 2].
        rate: Factor on the learning rate of the classifiers, above 0.
    """

    rho: float = above(0, default=1.3)
    lam: float = at_least(0, default=0.2)
    bounded: bool = True
    rate: float = above(0, default=0.5)
    accuracies: Tensor = state(default_factory=partial(torch.zeros, 0))
    balance: Tensor = state(default_factory=partial(torch.zeros, 0))

    @property
    def needs(self) -> Needs:
        return {ACCURACY: "how fast each modality gains accuracy"}

    def setup(self, run: Run) -> None:
        modalities = run.model.modalities
        if len(modalities) < 2:
            raise ConfigError(
                f"cggm compares the accuracies of two modalities or more; got "
                f"{', '.join(modalities)}"
            )
        if self.lam and any(run.model.fusion.matrix(m) is None for m in modalities):
            raise ConfigError(
                "cggm's directions need a fusion with a matrix for each modality, such as concat "
                "or sum; choose one, or set lam=0"
            )
        run.adopt(run.model.add_heads(), rate=self.rate)
        self.accuracies = torch.zeros(len(modalities), dtype=torch.float64, device=run.device)
        self.balance = torch.zeros(len(modalities), device=run.device)

    def loss(self, run: Run, out: Outputs, batch: Batch) -> Tensor:
        losses = [run.task.losses(out.fused, batch.target)]
        with torch.autocast(run.device.type, enabled=False):
            for modality, head in run.model.heads.items():
                logits = head(out.features[modality].detach())
                losses.append(run.task.losses(logits, batch.target))
            loss = torch.stack(losses).sum(0).mean()
            if self.lam:
                cosines = _cosines([(v.detach(), w) for v, w in _matrices(run)])
                loss = loss + self.lam * direction_loss(self.balance, cosines)
        return loss

    def modulate(self, run: Run, out: Outputs, batch: Batch) -> None:
        modalities = run.model.modalities
        run.average_gradients()
        if pairs := _matrices(run, gradients=True):
            run.log(**logged_by_modality(modalities, cosine=_cosines(pairs)))
        target = run.task.decided(batch.target)
        guesses = [run.task.decisions(u).argmax(-1) for u in out.logits.values()]
        hits = torch.stack([(guess == target).sum() for guess in guesses])
        # Counts, so that equal accuracies are equal however many ranks there are.
        total = run.sum(torch.full_like(hits, len(target)).double())
        accuracies = run.sum(hits.double()) / total
        run.log(**logged_by_modality(modalities, accuracy=accuracies.float()))
        balance = balances(accuracies - self.accuracies)
        self.balance = (balance.clamp(0, 2) if self.bounded else balance).float()
        self.accuracies = accuracies
        run.log(**logged_by_modality(modalities, balance=self.balance))
        scale_gradients({m: [*run.model.gradients(m)] for m in modalities}, self.rho * self.balance)


def _matrices(run: Run, *, gradients: bool = False) -> list[tuple[Tensor, Tensor]]:
    """``V^m`` and ``W^m`` of each modality, or their gradients; none where a matrix is missing."""
    pairs: list[tuple[Tensor, Tensor]] = []
    for modality, head in run.model.heads.items():
        matrix = run.model.fusion.matrix(modality)
        if matrix is None:
            return []
        own, (whole, columns) = head.get_parameter("weight"), matrix
        if not gradients:
            pairs.append((own, whole[:, columns]))
        elif own.grad is not None and whole.grad is not None:
            pairs.append((own.grad, whole.grad[:, columns]))
    return pairs


def _cosines(pairs: Sequence[tuple[Tensor, Tensor]]) -> Float[Tensor, " modalities"]:
    return torch.stack([F.cosine_similarity(v.flatten(), w.flatten(), dim=0) for v, w in pairs])
