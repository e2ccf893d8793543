"""The optimizer: state and rates are saved by parameter name, because models may grow.

It calls torch's functions `sgd` and `adamw`. Their classes import torch's compiler, which takes a
second at the start of every process that trains, and wrap each step for profilers.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from mmtrain.config.run import OptimizerConfig
from mmtrain.errors import DataError

Group = dict[str, Any]  # Parameters with one factor, and their rate.
State = dict[str, Tensor]  # Of one parameter: momentum, or moments and their steps.


class Optimizer:
    """Updates the trainable parameters of a model; others may join while it trains.

    Args:
        model: Model whose parameters of this moment take part.
        config: Kind, weight decay and clipping. Rates are set by `set_rate`.
        factors: Parameter to its factor on the rate, where that is not 1.

    Attributes:
        rate: Learning rate in force, of parameters whose factor is 1.
    """

    def __init__(
        self,
        model: nn.Module,
        config: OptimizerConfig,
        factors: Mapping[nn.Parameter, float] | None = None,
    ) -> None:
        self._model, self._config = model, config
        trained = [p for p in model.parameters() if p.requires_grad]
        # None leaves the choice to torch, which never fuses by itself.
        self._fused = True if trained and all(p.is_cuda for p in trained) else None
        self._groups: list[Group] = [{"params": trained, "factor": 1.0}]
        self._state: dict[nn.Parameter, State] = {}
        self._by_name: list[nn.Parameter] | None = None
        self.set_rate(config.lr)
        for parameter, factor in (factors or {}).items():
            self.set_factor(factor, [parameter])

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Parameters that it updates, each once."""
        return [p for group in self._groups for p in group["params"]]

    def set_rate(self, rate: float) -> None:
        """Sets the learning rate, which each parameter's factor multiplies."""
        self.rate = rate
        for group in self._groups:
            group["lr"] = rate * group["factor"]

    def set_factor(self, factor: float, parameters: Iterable[nn.Parameter]) -> None:
        """Sets the factor on the rate of ``parameters``; those that it does not update are passed.

        Raises:
            ValueError: Not a finite number of at least 0.
        """
        if not 0 <= factor < float("inf"):
            raise ValueError(f"a factor on the learning rate is at least 0; got {factor}")
        wanted = {*parameters}
        for group in [*self._groups]:
            inside = [p for p in group["params"] if p in wanted]
            if not inside:
                continue
            if len(inside) < len(group["params"]):
                # Groups only ever split: where the same modules are set in each step, which is the
                # usual case, their groups are there from the first step on.
                group["params"] = [p for p in group["params"] if p not in wanted]
                group = {**group, "params": inside}
                self._groups.append(group)
            group["factor"], group["lr"] = factor, self.rate * factor

    def adopt(self, parameters: Iterable[nn.Parameter], factor: float = 1.0) -> None:
        """Lets new ones join with ``factor`` on the rate; those that are there already stay."""
        known = {*self.parameters}
        new = [p for p in parameters if p.requires_grad and p not in known]
        self._groups[0]["params"].extend(new)
        self._by_name = None
        self.set_factor(factor, new)

    def renew(self, parameters: Iterable[nn.Parameter]) -> None:
        """Forgets momentum and moments of ``parameters``."""
        for parameter in parameters:
            self._state.pop(parameter, None)

    def clear(self) -> None:
        """Drops all gradients."""
        for group in self._groups:
            for parameter in group["params"]:
                parameter.grad = None

    def gradients(self) -> list[Tensor]:
        """Gradients of the parameters that have one, in the order of the parameters' names.

        That order, unlike the one in which parameters joined, outlives a resumed run.
        """
        if self._by_name is None:
            own = {*self.parameters}
            named = sorted(self._model.named_parameters())
            self._by_name = [parameter for _, parameter in named if parameter in own]
        return [p.grad for p in self._by_name if p.grad is not None]

    def step(self) -> None:
        """Clips, then updates the parameters that have a gradient."""
        if (clip := self._config.clip) is not None:
            gradients = self.gradients()
            norm = torch.nn.utils.get_total_norm(gradients)
            torch._foreach_mul_(gradients, (clip / (norm + 1e-6)).clamp(max=1.0))
        update = self._update_adamw if self._config.name == "adamw" else self._update_sgd
        with torch.no_grad():
            for group in self._groups:
                parameters = [p for p in group["params"] if p.grad is not None]
                update(parameters, [p.grad for p in parameters], group["lr"])

    def _update_sgd(
        self, parameters: list[nn.Parameter], gradients: list[Tensor], rate: float
    ) -> None:
        momentum = self._config.momentum
        states = [self._state.setdefault(p, {}) for p in parameters] if momentum else []
        buffers: list[Any] = [state.get("momentum_buffer") for state in states]
        sgd(
            [*parameters],
            gradients,
            buffers,
            fused=self._fused,
            weight_decay=self._config.weight_decay,
            momentum=momentum,
            lr=rate,
            dampening=0,
            nesterov=False,
            maximize=False,
        )
        for state, buffer in zip(states, buffers, strict=True):
            state["momentum_buffer"] = buffer

    def _update_adamw(
        self, parameters: list[nn.Parameter], gradients: list[Tensor], rate: float
    ) -> None:
        for parameter in parameters:
            if parameter not in self._state:
                self._state[parameter] = {
                    "step": torch.zeros((), device=self._place_of_steps(parameter)),
                    "exp_avg": torch.zeros_like(parameter, requires_grad=False),
                    "exp_avg_sq": torch.zeros_like(parameter, requires_grad=False),
                }
        states = [self._state[p] for p in parameters]
        adamw(
            [*parameters],
            gradients,
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            fused=self._fused,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=rate,
            weight_decay=self._config.weight_decay,
            eps=1e-8,
            maximize=False,
        )

    def rates(self) -> dict[str, float]:
        """Parameter name to its learning rate, of all parameters that it updates."""
        names = self._names()
        return {names[p]: group["lr"] for group in self._groups for p in group["params"]}

    def factors(self) -> dict[str, float]:
        """Parameter name to its factor on the rate, of those where it is not 1."""
        names = self._names()
        return {
            names[p]: group["factor"]
            for group in self._groups
            for p in group["params"]
            if group["factor"] != 1
        }

    def load_factors(self, saved: Mapping[str, float]) -> None:
        """Sets the factors that `factors` gave; all others to 1."""
        self.set_factor(1.0, self.parameters)
        named = dict(self._model.named_parameters())
        for factor in {*saved.values()}:
            self.set_factor(factor, [named[name] for name, own in saved.items() if own == factor])

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """Parameter name to its state, of the parameters that were ever updated."""
        names = self._names()
        return {names[p]: dict(state) for p, state in self._state.items()}

    def load_state_dict(self, saved: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Sets the state of all parameters to a copy of what `state_dict` gave.

        Raises:
            DataError: The model has no parameter of a saved name.
        """
        named = dict(self._model.named_parameters())
        if strange := sorted(set(saved) - set(named)):
            raise DataError(f"the checkpoint has optimizer state of unknown {', '.join(strange)}")
        self._state.clear()
        for name, state in saved.items():
            parameter = named[name]
            self._state[parameter] = {
                key: self._placed(key, value, parameter) for key, value in state.items()
            }

    def _placed(self, key: str, value: Tensor, parameter: nn.Parameter) -> Tensor:
        """Copy of a saved state where the update wants it."""
        if value.shape == parameter.shape and key != "step":
            # Laid out as the parameter, which fused kernels insist on: a checkpoint of a CPU, where
            # weights are not channels-last, may go on on a GPU.
            return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
        return value.to(self._place_of_steps(parameter), copy=True)

    def _place_of_steps(self, parameter: nn.Parameter) -> torch.device:
        """Device of the count of steps: the CPU, unless one kernel does the whole update."""
        return parameter.device if self._fused else torch.device("cpu")

    def _names(self) -> dict[Tensor, str]:
        return {parameter: name for name, parameter in self._model.named_parameters()}
