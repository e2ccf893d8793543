"""Encoders: pictures of one modality to one vector a sample."""

from mmtrain.models.encoders.base import Encoder

__all__ = ["Encoder"]
