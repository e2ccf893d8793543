"""Weights of encoders from local files: reading them, and fitting them to a network.

Nothing is downloaded, and nothing is left out in silence: a missing tensor is an error, and
surplus tensors of a file are listed.
"""

import logging
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from mmtrain.errors import ConfigError

log = logging.getLogger(__name__)

# Names under which training scripts of torchvision and timm put the state dict of a checkpoint.
_NESTED: Final = ("state_dict_ema", "model_ema", "state_dict", "model")
_NAMED: Final = 3  # in a message; the rest is counted


class Source(NamedTuple):
    """A file of weights and what it should hold.

    Attributes:
        path: Local file, ``.safetensors`` or one that ``torch.save`` wrote.
        kind: Name of what is expected, for messages.
        hint: Advice that ends a message.
    """

    path: Path
    kind: str
    hint: str

    def wrong(self, why: str) -> ConfigError:
        """The error for a file that does not fit."""
        return ConfigError(f"{self.path} is no {self.kind}: {why}; {self.hint}")


def load_weights(
    net: nn.Module,
    source: Source,
    *,
    stem: str | None,
    channels: int,
    classifiers: tuple[str, ...] = (),
    exact: bool = True,
) -> None:
    """Fills ``net`` from a file, with the first convolution fitted to ``channels``.

    Args:
        net: Network without its classifier.
        source: File and what it should hold.
        stem: Name of the weight of the first convolution, which the file has for 3 channels; None
            takes it as it is.
        channels: Number of channels of the input.
        classifiers: Prefixes of names that are left out without a word.
        exact: Whether tensors beyond those of the network are an error too, not just logged.

    Raises:
        ConfigError: The file cannot be read, or a tensor is missing or has another shape.
    """
    state = {k: v for k, v in read_state(source).items() if not k.startswith(classifiers)}
    if stem is not None:
        filters, _, *kernel = net.get_parameter(stem).shape
        first, wanted = state.get(stem), (filters, 3, *kernel)
        if first is None or tuple(first.shape) != wanted:
            shape = "absent" if first is None else tuple(first.shape)
            raise source.wrong(f"{stem} is {shape}, not {wanted}")
        state[stem] = adapted(first, channels)
    try:
        result = net.load_state_dict(state, strict=False)
    except RuntimeError as error:
        lines = str(error).splitlines()[1:2] or [str(error)]
        raise source.wrong(lines[0].strip()[:200]) from error
    missing, beyond = result.missing_keys, result.unexpected_keys
    if missing or (beyond and exact):
        wrong = [f"missing {_few(missing)}"] if missing else []
        raise source.wrong(
            " and ".join([*wrong, *([f"unexpected {_few(beyond)}"] if beyond else [])])
        )
    if beyond:
        log.warning("%s: not used: %s", source.path, _few(beyond))


def adapted(stem: Tensor, channels: int) -> Tensor:
    """``stem`` (filters, 3, h, w) for ``channels`` inputs: unchanged for 3, else the mean repeated.

    The mean over its three channels, not rescaled (TSN, Wang et al., ECCV 2016, cross-modality
    initialisation).
    """
    return stem if channels == 3 else stem.mean(1, keepdim=True).repeat(1, channels, 1, 1)


def read_state(source: Source) -> dict[str, Tensor]:
    """Name to tensor of a file; the state dict is taken out of a checkpoint.

    Raises:
        ConfigError: There is no such file, or it holds anything but tensors.
    """
    try:
        loaded = _safetensors(source) if source.path.suffix == ".safetensors" else _torch(source)
    except OSError as error:
        raise ConfigError(f"cannot read weights {source.path}: {error.strerror}") from error
    while isinstance(loaded, Mapping) and (key := next((k for k in _NESTED if k in loaded), None)):
        loaded = loaded[key]
    if not isinstance(loaded, Mapping) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise source.wrong("it holds no mapping of names to tensors")
    # Written by DistributedDataParallel.
    return {str(name).removeprefix("module."): value for name, value in loaded.items()}


def _torch(source: Source) -> object:
    try:
        return torch.load(source.path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise source.wrong("PyTorch cannot read it as plain tensors") from error


def _safetensors(source: Source) -> object:
    try:
        return load(source.path.read_bytes())
    except SafetensorError as error:
        raise source.wrong("safetensors cannot read it") from error


def _few(names: Sequence[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
