"""Methods that balance the modalities: one file each, see `mmtrain.methods.base`."""

from mmtrain.methods.base import Method, Run, state

__all__ = ["Method", "Run", "state"]
