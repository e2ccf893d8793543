"""Evidence of each modality, combined (TMC, Han et al., ICLR 2021)."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mmtrain.models.fusions.base import Features, Fusion
from mmtrain.models.layers import linear


def combine_evidence(
    evidence: Sequence[Float[Tensor, "batch classes"]],
) -> Float[Tensor, "batch classes"]:
    """Evidence of the combination of opinions, by the reduced rule of Dempster.

    An opinion has the belief ``b = e / S`` and the uncertainty ``u = C / S``, ``S = C + sum e``; of
    two, ``b = (b^1 b^2 + b^1 u^2 + b^2 u^1) / (1 - K)``, ``u = u^1 u^2 / (1 - K)``. The conflict
    ``K`` cancels out in ``e = C b / u``: ``1 + e / C = (1 + e^1 / C) (1 + e^2 / C)``. So no order
    of the opinions differs from another, full conflict is no exception, and no evidence is neutral.

    Args:
        evidence: ``e`` of each opinion, at least 0.
    """
    classes = evidence[0].shape[-1]
    product = torch.ones_like(evidence[0])
    for each in evidence:
        product = product * (1 + each / classes)
    return classes * (product - 1)


class Evidential(Fusion):
    """Linear layers whose softplus is the evidence for each class, combined over modalities.

    ``e^m = softplus(phi^m (V^m)^T + c^m)``, ``alpha^m = 1 + e^m``; ``alpha`` of all by
    `combine_evidence`. Logits are ``ln alpha``, whose softmax is ``alpha / S``, the expected
    probability.

    Share, not exact: ``u^m = ln alpha^m``.

    Args:
        widths: Modality to the width of its encoder.
        classes: Number of classes.
        joint_view: Whether a layer on all features side by side gives one more opinion.
    """

    additive = False

    def __init__(
        self, widths: Mapping[str, int], classes: int, *, joint_view: bool = False
    ) -> None:
        super().__init__(widths, classes)
        self.heads = nn.ModuleDict({m: linear(width, classes) for m, width in widths.items()})
        self.view = linear(sum(widths.values()), classes) if joint_view else None

    def opinions(self, features: Features) -> list[Tensor]:
        """Evidence of each modality, and then that of the joint view if there is one."""
        logits = [head(features[m]) for m, head in self.heads.items()]
        if self.view is not None:
            logits.append(self.view(torch.cat([features[m] for m in self.heads], dim=-1)))
        return [F.softplus(each) for each in logits]

    def forward(self, features: Features) -> Tensor:
        """``ln alpha`` of all opinions."""
        return combine_evidence(self.opinions(features)).log1p()

    def split(self, features: Features) -> dict[str, Tensor]:
        """``ln alpha^m`` of each modality."""
        return {m: F.softplus(head(features[m])).log1p() for m, head in self.heads.items()}
