"""Greedy: conditional learning speed and guided training (Wu et al., ICML 2022, Sec. 4 and 5).

A multimodal network learns greedily from the modality that is learnt fastest. How fast the gates
between the streams learn, beside the streams themselves, shows which stream leans on the others;
for some steps that stream is cut off from them. Acts inside `mmtm`, and on no other fusion.

Differs from the authors' code:

- Each stream has the running average of its own gates; theirs gives the second that of the first.
- Averages go on in normal steps only, and not in evaluation; theirs in each forward pass.
- The layer of gates that are replaced is not updated; there momentum and weight decay move it.
- Speeds are of the gradients of all ranks.
- Of more than two modalities, which the paper has not, the one of the highest ratio is cut off, if
  it is ahead of the mean of the others. With two this is theirs.

BalanceBenchmark's version empties its averages in each forward pass, and cannot run.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Final, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmtrain.errors import ConfigError
from mmtrain.fields import at_least
from mmtrain.methods.base import Method, Run, state
from mmtrain.models.fusions.mmtm import MMTM, Exchange
from mmtrain.tasks.task import Task
from mmtrain.types import Batch, Outputs

_TINY: Final = 1e-30  # Where nothing is learnt.


def speed(gradients: Sequence[Tensor], weights: Sequence[Tensor]) -> Float[Tensor, ""]:
    """``||g||^2 / ||w||^2`` of all tensors together: a step's part of a learning speed."""
    squares = [
        torch.stack([t.float().square().sum() for t in tensors]).sum()
        for tensors in (gradients, weights)
    ]
    return squares[0] / squares[1].clamp(min=_TINY)


def ratio(bypass: float, main: float) -> float:
    """``BDR = log10(mu_bypass / mu_main)``, how fast the gates learn beside the stream.

    Args:
        bypass: ``mu`` of the gates, the sum of `speed` over steps.
        main: That of the stream.
    """
    return math.log10(max(bypass, _TINY) / max(main, _TINY))


def leaning(ratios: Mapping[str, float], tolerance: float) -> str | None:
    """The modality of the highest ratio, if it is ahead of the others' mean by more than that."""
    highest = max(ratios, key=ratios.__getitem__)
    others = [value for modality, value in ratios.items() if modality != highest]
    return highest if ratios[highest] - sum(others) / len(others) > tolerance else None


@contextmanager
def gates_of(
    exchanges: Sequence[nn.Module], replaced: Mapping[str, Sequence[Tensor]]
) -> Iterator[list[dict[str, Tensor]]]:
    """Collects the gates that a forward pass inside computes, level by level, as they are used.

    Args:
        exchanges: An `Exchange` for each level.
        replaced: Modality to gates (channels,) of each level, which take the place of its own.
    """
    gates: list[dict[str, Tensor]] = []

    def hook(module: nn.Module, inputs: Any, computed: dict[str, Tensor]) -> dict[str, Tensor]:
        fixed = {m: own[len(gates)].to(computed[m].dtype) for m, own in replaced.items()}
        used = {m: fixed[m].expand_as(gate) if m in fixed else gate for m, gate in computed.items()}
        gates.append(used)
        return used

    handles = [exchange.register_forward_hook(hook) for exchange in exchanges]
    try:
        yield gates
    finally:
        for handle in handles:
            handle.remove()


@dataclass(kw_only=True, eq=False)
class Greedy(Method):
    """Cuts the stream off from the others whose gates learn too fast, for some steps.

    ``L = sum_m CE(u^m, y)`` of each stream's own logits, in which all streams take part through
    `mmtm`'s gates. ``mu_b^m = sum_t ||g_b||^2 / ||w_b||^2`` of the gates' layers of modality ``m``,
    the shared ones included, and ``mu^m`` likewise of its encoder and head;
    ``BDR^m = log10(mu_b^m / mu^m)``. Where the highest is ahead of the mean of the others by more
    than ``eps``, that modality's gates are, for the next ``w`` steps, the average of all of its
    gates so far, which know nothing of the sample. The prediction is the mean of the streams.

    Cost: that of `joint` with `mmtm`, and the norms of weights and gradients.

    Remembers: ``mu`` and ``mu_b``, two numbers a modality, over the whole run; the average gates,
    a number for each gated channel; who is cut off, and for how long; saved.

    Logs ``bdr`` by modality, and ``curated``, the share of steps in which it is cut off.

    Args:
        tolerance: ``eps``, at least 0.
        window: ``w``, number of steps.
        start: First epoch in which anyone is cut off, from 0; the authors' second.
    """

    whole_batches: ClassVar[str] = "it averages the gates of each step, which pieces would hide"

    tolerance: float = at_least(0, default=0.01)
    window: int = at_least(1, default=5)
    start: int = at_least(0, default=1)
    bypass: dict[str, float] = state(default_factory=dict)
    main: dict[str, float] = state(default_factory=dict)
    averages: dict[str, list[Tensor]] = state(default_factory=dict)
    averaged: int = state(0)
    curated: str = state("")
    left: int = state(0)

    def setup(self, run: Run) -> None:
        fusion = run.model.fusion
        if not isinstance(fusion, MMTM):
            raise ConfigError(
                f"greedy acts on the gates of mmtm, and {type(fusion).__name__.lower()} has none; "
                "choose --fusion mmtm"
            )
        self.bypass = dict.fromkeys(fusion.modalities, 0.0)
        self.main = dict.fromkeys(fusion.modalities, 0.0)

    def step(self, run: Run, batch: Batch) -> None:
        cut_off = self.curated if self.left else ""
        exchanges = [*cast("MMTM", run.model.fusion).exchanges]
        replaced = {cut_off: self.averages[cut_off]} if cut_off else {}
        with gates_of(exchanges, replaced) as gates:
            out = run.model(batch)
        run.observe(out, batch)
        with run.update(self.loss(run, out, batch)):
            if not cut_off:
                run.average_gradients()
                self.measure(run.model.encoders, cast("MMTM", run.model.fusion))
        if cut_off:
            self.left -= 1
        else:
            self.average(run, gates)
            self.decide(run.epoch)
        run.log(**{f"bdr.{m}": value for m, value in self.ratios().items()})
        run.log(**{f"curated.{m}": float(m == cut_off) for m in self.main})

    def measure(self, encoders: nn.ModuleDict, fusion: MMTM) -> None:
        """Adds the step's gradients to the speeds of streams and gates."""
        exchanges = [cast("Exchange", exchange) for exchange in fusion.exchanges]
        speeds = []
        for m in self.main:
            gates = [part for e in exchanges for part in (e.squeeze, e.gates[m])]
            speeds += [speed_of(gates), speed_of([encoders[m], fusion.heads[m]])]
        numbers = iter(torch.stack(speeds).tolist())
        for m in self.main:
            self.bypass[m] += next(numbers)
            self.main[m] += next(numbers)

    def average(self, run: Run, gates: Sequence[Mapping[str, Tensor]]) -> None:
        """Takes the gates of a step, their means over the samples of all ranks."""
        means = {m: [level[m].detach().float().mean(0) for level in gates] for m in self.main}
        run.average([mean for own in means.values() for mean in own])
        for m, own in means.items():
            before = self.averages.get(m, own)
            pairs = zip(before, own, strict=True)
            self.averages[m] = [old + (new - old) / (self.averaged + 1) for old, new in pairs]
        self.averaged += 1

    def decide(self, epoch: int) -> None:
        """Chooses who is cut off in the next steps, if anyone."""
        modality = leaning(self.ratios(), self.tolerance) if epoch >= self.start else None
        if modality is not None:
            self.curated, self.left = modality, self.window

    def ratios(self) -> dict[str, float]:
        """Modality to its ``BDR``."""
        return {m: ratio(self.bypass[m], self.main[m]) for m in self.main}

    def sample_losses(self, task: Task, out: Outputs, target: Tensor) -> Tensor:
        # Shares of the mean are divided by the number of streams.
        logits = [z * len(out.logits) for z in out.logits.values()]
        return torch.stack([task.losses(z, target) for z in logits]).sum(0)


def speed_of(parts: Sequence[nn.Module]) -> Tensor:
    """`speed` of all trainable parameters of ``parts``."""
    weights = [p for part in parts for p in part.parameters() if p.requires_grad]
    return speed([torch.zeros_like(p) if p.grad is None else p.grad for p in weights], weights)
