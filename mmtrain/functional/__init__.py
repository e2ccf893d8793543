"""Equations that more than one method needs: tensors in, tensors out."""

from mmtrain.functional.alignment import infonce
from mmtrain.functional.scores import confidence, discrepancy, entropy
from mmtrain.functional.similarity import agreement, cosine, unit

__all__ = ["agreement", "confidence", "cosine", "discrepancy", "entropy", "infonce", "unit"]
