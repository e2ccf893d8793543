"""The device of this process."""

import os
from typing import Any

import torch
from torch import Tensor


def local_device(device: torch.device) -> torch.device:
    """The GPU of this rank, of as many as there are here."""
    if device.type != "cuda" or device.index is not None:
        return device
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def device_of(name: str) -> torch.device:
    """``auto`` is a GPU where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def _on(device: torch.device, value: Any) -> Any:
    """A copy of ``value`` with its tensors on ``device``."""
    if isinstance(value, Tensor):
        return value.to(device, copy=True)
    if isinstance(value, dict):
        return {key: _on(device, each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_on(device, each) for each in value)
    return value
