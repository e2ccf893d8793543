"""CML: calibrating multimodal learning (Ma et al., ICML 2023).

A prediction may not become surer when a modality is taken away: where it does, the difference is a
penalty. Differences from the authors' code, and from BalanceBenchmark's:

- The penalty is by sample, with the authors' exclusion of samples; BalanceBenchmark's is the hinge
  of the sum over a batch, in which samples cancel each other, and leaves the exclusion out.
- It is a mean over samples, as the cross-entropy is, and no sum: at BalanceBenchmark's batches of
  64 its ``lambda = 0.1`` is one of 6.4 here. The authors divide theirs by 100.
- Less modalities are the fusion's logits with the others' features at 0, so that any fusion will
  do, and the bias is whole; with concatenation it is theirs.
- One order of removals is drawn for each step, the same for all samples.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mmtrain.errors import ConfigError
from mmtrain.fields import at_least
from mmtrain.functional import confidence
from mmtrain.functional.masking import zero_others
from mmtrain.methods.base import Method, Run
from mmtrain.tasks.needs import PROBABILITY, Needs
from mmtrain.types import Batch, Outputs


def overconfidence(
    whole: Float[Tensor, " batch"],
    less: Float[Tensor, " batch"],
    counted: Bool[Tensor, " batch"],
) -> Float[Tensor, " batch"]:
    """``a_i max(0, conf_i(S \\ m) - conf_i(S))``; gradients flow through both.

    Args:
        whole: ``conf(S)``, the highest probability that the modalities ``S`` give to a class.
        less: ``conf(S \\ m)``, the same without one of them.
        counted: ``a``; False where the prediction without the modality is right, and that with it
            is wrong.
    """
    return (less - whole).clamp(min=0) * counted


@dataclass(kw_only=True, eq=False)
class CML(Method):
    """Penalises predictions that are surer without a modality than with it.

    ``L = 1/M sum_k CE(f_k, y) + lambda sum_k mean_i a_ik max(0, conf_i(f_{k-1}) - conf_i(f_k))``
    for the logits ``f_M = f, ..., f_1`` of a random chain in which one modality after the other is
    removed, ``conf = max_c softmax(f)_c``, and ``a_ik = 0`` where ``f_{k-1}`` is right and ``f_k``
    wrong, else 1. Prediction: ``f``.

    Cost: that of `joint`; M - 1 classifications of the features more.

    Remembers: nothing.

    Logs ``penalty``, the sum over the chain of the mean differences, and ``surer``, the share of
    the removals by which a sample's prediction became surer and that count.

    Args:
        strength: ``lambda``, at least 0.
    """

    strength: float = at_least(0, default=0.1)

    @property
    def needs(self) -> Needs:
        return {PROBABILITY: "how sure a prediction is with a modality and without"}

    def setup(self, run: Run) -> None:
        if len(run.model.modalities) < 2:
            raise ConfigError(
                f"cml takes modalities away from each other; {run.model.modalities[0]} is alone"
            )

    def loss(self, run: Run, out: Outputs, batch: Batch) -> Tensor:
        chain = self._chain(run, out)
        fitting = torch.stack([run.task.losses(f, batch.target) for f in chain]).mean()
        rows = [run.task.decisions(f) for f in chain]
        classes = [z.argmax(-1) for z in rows]
        sure = [confidence(z, c) for z, c in zip(rows, classes, strict=True)]
        right = [c == run.task.decided(batch.target) for c in classes]
        penalties = torch.stack(
            [
                overconfidence(sure[k], sure[k + 1], right[k] | ~right[k + 1])
                for k in range(len(chain) - 1)
            ]
        )
        penalty = penalties.sum(0).mean()
        run.log(penalty=penalty, surer=(penalties > 0).float().mean())
        return fitting + self.strength * penalty

    def _chain(self, run: Run, out: Outputs) -> list[Tensor]:
        """``f_M, ..., f_1``."""
        modalities = run.model.modalities
        order = torch.randperm(len(modalities), generator=run.generator).tolist()
        left = [[modalities[i] for i in order[:k]] for k in range(len(order) - 1, 0, -1)]
        return [out.fused, *(run.model.classify(zero_others(out.features, s)).fused for s in left)]
