"""Networks that compute the same in training mode and in eval mode."""

from typing import Final

from torch import nn

# Layers of torch that never look at their mode.
_LAYERS: Final = (
    *(nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Embedding),
    *(nn.GroupNorm, nn.LayerNorm, nn.ReLU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh),
    *(nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Flatten, nn.Identity),
    *(nn.Sequential, nn.ModuleList, nn.ModuleDict),
)


def ignores_mode(network: nn.Module) -> bool:
    """Whether ``network`` is known to compute the same in training mode and in eval mode.

    Batch normalisation and dropout do not. Layers of others may look at their mode anywhere, so
    that they count as doing so; those of `mmtrain.models` do it in layers of torch only.

    Example:
        >>> ignores_mode(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.0)))
        True
        >>> ignores_mode(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
        False
    """
    return all(_ignores_mode(module) for module in network.modules())


def _ignores_mode(module: nn.Module) -> bool:
    if isinstance(module, nn.Dropout):
        return module.p == 0
    return type(module) in _LAYERS or type(module).__module__.startswith("mmtrain.models.")
