"""Encoders: the input of one modality to one vector a sample."""

from mmtrain.models.encoders.base import Encoder, InputSize

__all__ = ["Encoder", "InputSize"]
