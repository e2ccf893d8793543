"""The optimizer, saved by parameter name because models may grow, and the schedule of its rate."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from mmtrain.config.run import OptimizerConfig
from mmtrain.errors import DataError


class Optimizer:
    """Updates the trainable parameters of a model; others may join while it trains.

    Args:
        model: Its parameters that are there now take part.
        config: Kind, weight decay, clipping. Rates are set by `set_rate`.

    Attributes:
        rate: The learning rate in force.
    """

    def __init__(self, model: nn.Module, config: OptimizerConfig) -> None:
        self._model, self._clip = model, config.clip
        parameters = [p for p in model.parameters() if p.requires_grad]
        self._inner = _make(parameters, config)
        self.set_rate(config.lr)

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Those that it updates, each once."""
        group: list[nn.Parameter] = self._inner.param_groups[0]["params"]
        return group

    def set_rate(self, rate: float) -> None:
        """Sets the learning rate of all parameters."""
        self.rate = rate
        self._inner.param_groups[0]["lr"] = rate

    def adopt(self, parameters: Iterable[nn.Parameter]) -> None:
        """Lets new ones join at the current rate; those that are there already stay."""
        known = {*self.parameters}
        self.parameters.extend(p for p in parameters if p.requires_grad and p not in known)

    def renew(self, parameters: Iterable[nn.Parameter]) -> None:
        """Forgets momentum and moments of ``parameters``."""
        for parameter in parameters:
            self._inner.state.pop(parameter, None)

    def clear(self) -> None:
        """Drops all gradients."""
        self._inner.zero_grad(set_to_none=True)

    def gradients(self) -> list[Tensor]:
        """All gradients that there are, in the order of the parameters' names.

        That order, unlike the one in which parameters joined, outlives a resumed run.
        """
        named = sorted(self._model.named_parameters())
        return [p.grad for _, p in named if p.grad is not None]

    def step(self) -> None:
        """Clips, then updates."""
        if self._clip is not None:
            gradients = self.gradients()
            norm = torch.nn.utils.get_total_norm(gradients)
            torch._foreach_mul_(gradients, (self._clip / (norm + 1e-6)).clamp(max=1.0))
        self._inner.step()

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """Parameter name to its state; of those that were ever updated."""
        names: dict[Tensor, str] = {p: name for name, p in self._model.named_parameters()}
        return {names[p]: dict(state) for p, state in self._inner.state.items()}

    def load_state_dict(self, saved: dict[str, dict[str, Tensor]]) -> None:
        """Takes up what `state_dict` gave.

        Raises:
            DataError: The model has no parameter of a saved name.
        """
        named = dict(self._model.named_parameters())
        if strange := sorted(set(saved) - set(named)):
            raise DataError(f"the checkpoint has optimizer state of unknown {', '.join(strange)}")
        self._inner.state.clear()
        for name, state in saved.items():
            # AdamW's count of steps stays on the CPU, whatever the device.
            self._inner.state[named[name]] = {
                key: value.to("cpu" if key == "step" else named[name].device, copy=True)
                for key, value in state.items()
            }


def _make(parameters: list[nn.Parameter], config: OptimizerConfig) -> torch.optim.Optimizer:
    if config.name == "adamw":
        return torch.optim.AdamW(parameters, lr=config.lr, weight_decay=config.weight_decay)
    return torch.optim.SGD(
        parameters, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay
    )
