"""How far a modality is ahead, and the pace that follows: on-the-fly modulation (OPM, OGM).

Equations of Wei et al., "On-the-fly Modulation for Balanced Multimodal Learning", TPAMI 2024, which
both of its methods need; their differences from the authors' code stand with the methods.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

# Kind of discrepancy to its value where modalities are level.
LEVEL: Final = {"ratio": 1.0, "difference": 0.0}


class Lead(NamedTuple):
    """Standing of the modalities, in the order of the model.

    Attributes:
        scores: ``S^m / n``, mean confidence over the samples of all ranks.
        rho: Discrepancy, how far each is ahead of the others.
    """

    scores: Float[Tensor, " modalities"]
    rho: Float[Tensor, " modalities"]


def difference(scores: Float[Tensor, " modalities"]) -> Float[Tensor, " modalities"]:
    """Discrepancy as a difference: above 0 ahead of the others on average, 0 level or alone.

    ``rho^m = 1 / (M - 1) * sum_{j != m} (S^m - S^j)`` (TPAMI 2024, Sec. 4.5.1, Table 15). Unlike
    the ratio it grows with the number of samples over which ``S`` sums.
    """
    count = len(scores)
    return (count * scores - scores.sum()) / max(count - 1, 1)


def squash(rho: Float[Tensor, " modalities"], kind: str) -> Float[Tensor, " modalities"]:
    """Maps ``rho`` to ``z``, in [0, 1) (Table 15).

    ``tanh`` is ``tanh(x - 1)``, which is 0 up to 1; ``sigmoid`` is ``sigmoid(x)``.
    """
    return rho.sigmoid() if kind == "sigmoid" else (rho - 1).tanh().clamp(min=0)


def ogm_factor(
    rho: Float[Tensor, " modalities"], alpha: float, kind: str = "tanh", gate: float = 1.0
) -> Float[Tensor, " modalities"]:
    """Factors on the gradients of the encoders, in [0, 1].

    ``k^m = 1 - alpha * z(rho^m)`` where ``rho^m`` is above ``gate``, else 1; not below 0 (Eq. 11).
    See `squash` for ``z``.
    """
    return torch.where(rho > gate, (1 - alpha * squash(rho, kind)).clamp(min=0), 1.0)


def logged_by_modality(modalities: Sequence[str], **quantities: Tensor) -> dict[str, Tensor]:
    """Names ``quantity.modality`` with their scalars, for `Run.log`."""
    return {
        f"{name}.{m}": value
        for name, values in quantities.items()
        for m, value in zip(modalities, values, strict=True)
    }
