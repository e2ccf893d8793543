"""SAM: sharpness-aware minimisation (Foret et al., ICLR 2021, Alg. 1), on joint training.

The gradient is taken where the loss is worst within a small ball around the weights, so that
training ends in a flat minimum. The companion of IGM, which uses it on one modality at a time.

Differs from the authors' code: the ball is found from the gradient over all ranks, not from each
device's own (their m-sharpness); the second pass leaves the statistics of batch normalisation as
they were.
"""

from dataclasses import dataclass

import torch

from mmtrain.errors import ConfigError
from mmtrain.functional import perturb
from mmtrain.methods.base import Method, Run
from mmtrain.models.layers import frozen_batch_norm
from mmtrain.types import Batch


@dataclass(kw_only=True, eq=False)
class SAM(Method):
    """Joint training by the gradient at the worst point near the weights.

    ``g = grad L(w)``, ``eps = rho g / ||g||_2``, and the update by ``grad L(w + eps)``, where ``L``
    is the cross-entropy of the fused logits and the norm is over all parameters together. The
    reported training loss is that at ``w + eps``; ``sharpness = L(w + eps) - L(w)`` is logged.

    Cost: 2x `joint`; two forward and two backward passes a step.

    Remembers: nothing.

    Args:
        radius: ``rho``, the length of ``eps``, above 0. The authors take 0.05 on CIFAR-10 and
            ImageNet.
    """

    radius: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.radius <= 0:
            raise ConfigError(f"sam's radius is above 0; got {self.radius}. Without it: joint")

    def step(self, run: Run, batch: Batch) -> None:
        out = run.model(batch)
        run.observe(out, batch)
        loss = self.loss(run, out, batch)
        gradients = run.gradients(loss, run.model)
        run.average(gradients)
        loss_at_weights = loss.detach()
        del out, loss  # The graph, before there is another.
        parameters = [p for p in run.model.parameters() if p.requires_grad]
        weights = perturb(parameters, gradients, self.radius)
        with frozen_batch_norm(run.model):
            out = run.model(batch)
        loss = self.loss(run, out, batch)
        with run.update(loss):
            torch._foreach_copy_([*parameters], weights)
        run.log(sharpness=run.mean(loss.detach() - loss_at_weights))
