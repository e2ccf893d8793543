"""Fusions: the modalities' features to logits, and each modality's share of them."""

from mmtrain.models.fusions.base import Fusion

__all__ = ["Fusion"]
