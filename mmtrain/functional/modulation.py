"""How far a modality is ahead, and the pace that follows: on-the-fly modulation (OPM, OGM).

Equations of Wei et al., "On-the-fly Modulation for Balanced Multimodal Learning", TPAMI 2024, which
both of its methods need; their differences from the authors' code stand with the methods.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

# Discrepancy to its value where modalities are level.
_LEVEL: Final = {"ratio": 1.0, "difference": 0.0}
_REACHES: Final = ("tanh", "sigmoid")


class Lead(NamedTuple):
    """How the modalities do, in the order of the model.

    Attributes:
        scores: ``S^m / n``, mean confidence over the samples of all ranks.
        rho: How far each is ahead of the others.
    """

    scores: Float[Tensor, " modalities"]
    rho: Float[Tensor, " modalities"]


def difference(scores: Float[Tensor, " modalities"]) -> Float[Tensor, " modalities"]:
    """Above 0 ahead of the others on average, 0 level; a modality alone is level.

    ``rho^m = 1 / (M - 1) * sum_{j != m} (S^m - S^j)`` (TPAMI 2024, Sec. 4.5.1, Table 15). Unlike
    the ratio it grows with the number of samples over which ``S`` sums.
    """
    count = len(scores)
    return (count * scores - scores.sum()) / max(count - 1, 1)


def reach(rho: Float[Tensor, " modalities"], kind: str) -> Float[Tensor, " modalities"]:
    """``z``, in [0, 1): ``tanh(x - 1)``, which is 0 up to 1, or ``sigmoid(x)`` (Table 15)."""
    return rho.sigmoid() if kind == "sigmoid" else (rho - 1).tanh().clamp(min=0)


def slowed(
    rho: Float[Tensor, " modalities"], alpha: float, kind: str = "tanh", gate: float = 1.0
) -> Float[Tensor, " modalities"]:
    """Factors on the gradients of the encoders, in [0, 1].

    ``k^m = 1 - alpha * z(rho^m)`` where ``rho^m`` is above ``gate``, else 1; not below 0 (Eq. 11).
    """
    return torch.where(rho > gate, (1 - alpha * reach(rho, kind)).clamp(min=0), 1.0)


def told(modalities: Sequence[str], **quantities: Tensor) -> dict[str, Tensor]:
    """``quantity.modality`` to its scalar, as it is logged."""
    return {
        f"{name}.{m}": value
        for name, values in quantities.items()
        for m, value in zip(modalities, values, strict=True)
    }
