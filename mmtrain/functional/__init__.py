"""Equations that more than one method needs: tensors in, tensors out."""

from mmtrain.functional.sampling import inclusion, successive, systematic
from mmtrain.functional.scores import confidence, discrepancy, entropy
from mmtrain.functional.similarity import agreement, cosine

__all__ = [
    "agreement",
    "confidence",
    "cosine",
    "discrepancy",
    "entropy",
    "inclusion",
    "successive",
    "systematic",
]
