"""Equations that more than one method needs: tensors in, tensors out."""

from mmtrain.functional.alignment import infonce
from mmtrain.functional.flatness import ascent, climb, flat_projection, second_moment
from mmtrain.functional.sampling import inclusion, successive, systematic
from mmtrain.functional.scores import confidence, discrepancy, entropy
from mmtrain.functional.similarity import agreement, cosine, unit

__all__ = [
    "agreement",
    "ascent",
    "climb",
    "confidence",
    "cosine",
    "discrepancy",
    "entropy",
    "flat_projection",
    "inclusion",
    "infonce",
    "second_moment",
    "successive",
    "systematic",
    "unit",
]
