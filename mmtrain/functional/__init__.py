"""Equations that two or more methods use: tensors in, tensors out."""

from mmtrain.functional.alignment import infonce
from mmtrain.functional.flatness import ascent, flat_projection, perturb, second_moment
from mmtrain.functional.sampling import draw_successive, draw_systematic, inclusion_probabilities
from mmtrain.functional.scores import confidence, discrepancy, entropy
from mmtrain.functional.similarity import agreement, cosine, unit

__all__ = [
    "agreement",
    "ascent",
    "confidence",
    "cosine",
    "discrepancy",
    "draw_successive",
    "draw_systematic",
    "entropy",
    "flat_projection",
    "inclusion_probabilities",
    "infonce",
    "perturb",
    "second_moment",
    "unit",
]
