"""Encoders, fusions, and the model that joins them."""

from mmtrain.models.layers import linear, seeded
from mmtrain.models.multimodal import MultimodalModel, channels_of

__all__ = ["MultimodalModel", "channels_of", "linear", "seeded"]
