"""Multitask: uniform unimodal losses beside the fused one (Wei & Hu, ICML 2024, their baseline).

The control of every method that adds heads. Same heads, no surgery on gradients.
The fused logits do not go through the heads, so `unimodal=0` is joint training.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from mmtrain.methods.base import Method, Run
from mmtrain.types import Outputs


@dataclass(kw_only=True, eq=False)
class Multitask(Method):
    """A cross-entropy of the fused logits and one of each modality's own head.

    ``L = w_f CE(f, y) + w_u sum_m CE(u^m, y)``. BSS's authors take 0.1 and 0.9 on CREMA-D, 1 and 1
    elsewhere. Prediction uses ``f``.

    Args:
        fused: ``w_f``, the weight of the fused loss.
        unimodal: ``w_u``, the weight of each modality's loss.
    """

    fused: float = 1.0
    unimodal: float = 1.0

    def setup(self, run: Run) -> None:
        run.adopt(run.model.add_heads())

    def losses(self, out: Outputs, target: Tensor) -> Tensor:
        own = torch.stack(
            [F.cross_entropy(logits, target, reduction="none") for logits in out.logits.values()]
        )
        fused = F.cross_entropy(out.fused, target, reduction="none")
        return self.fused * fused + self.unimodal * own.sum(0)
