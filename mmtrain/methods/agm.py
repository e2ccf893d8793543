"""AGM: adaptive gradient modulation (Li et al., ICCV 2023, Sec. 3).

The logits are taken apart into a share of each modality, by Shapley values of the model with some
inputs at 0. What is different from the average so far decides how much of the gradient each share
gets; the logits themselves stay as they are. Works with any fusion.

The text of the paper was not at hand; this follows the authors' code, and differs from it:

- More than two modalities by one formula, which is theirs for two and for three. The empty set is
  left out, as there: it counts as 0, and the shares sum to the logits.
- A pass with all inputs at 0, which is made there and not used, is not made.
- Scores are means over all ranks. In the first step, which has nothing to compare with, an average
  of level scores stands for it, as the zeros of their code do.
- The window of epochs of the code, and its clipping of the norm where the fusion's gradient has an
  entry above 1, are left out: see ``clip`` of the optimizer.

Passes with hidden inputs are in eval mode, as theirs: their batch normalisation has other
statistics than the pass over all inputs, which counts in the first epochs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from mmtrain.errors import ConfigError
from mmtrain.fields import above, at_least
from mmtrain.functional.gradient_edit import weight_gradients
from mmtrain.functional.shapley import shapley, subsets
from mmtrain.methods.base import Method, Run, state
from mmtrain.methods.shared.modes import ignores_mode
from mmtrain.models.multimodal import MultimodalModel
from mmtrain.tasks.needs import PROBABILITY, Needs
from mmtrain.types import Batch, Outputs

# Below it a probability counts as this much, so that a score is at most 18.4.
_FLOOR: Final = 1e-8
_CAPS: Final = {2: 10.0}
_CAP: Final = 7.0  # Of the authors' code for three modalities.


def ratios(scores: Float[Tensor, " modalities"]) -> Float[Tensor, " modalities"]:
    """``r^m = exp(M / (M - 1) (mean_j s^j - s^m))``, above 1 where a modality is ahead.

    With two modalities ``exp(s^v - s^a)`` and its inverse.

    Args:
        scores: ``s``, mean losses by modality: the lower, the better.
    """
    count = len(scores)
    return (count / (count - 1) * (scores.mean() - scores)).exp()


def factors(
    scores: Float[Tensor, " modalities"],
    average: Float[Tensor, " modalities"],
    alpha: float,
    cap: float,
) -> Float[Tensor, " modalities"]:
    """``kappa^m = exp(alpha min(r*^m - r^m, cap))``: below 1 where it is ahead more than usual.

    Args:
        scores: ``s`` of the batch, see `ratios`.
        average: Mean of the scores before, of which ``r*`` are the ratios.
        alpha: Strength.
        cap: Largest difference of the ratios that counts.
    """
    return (alpha * (ratios(average) - ratios(scores)).clamp(max=cap)).exp()


@dataclass(kw_only=True, eq=False)
class AGM(Method):
    """Scales the gradient of each modality's share of the logits.

    ``psi^m``: Shapley value of ``m`` where a set is worth its logits, other inputs being 0; for
    two ``psi^a = (f(a, v) - f(0, v) + f(a, 0)) / 2``. ``L = CE(sum_m psi^m, y) = CE(f, y)``, whose
    gradient by ``psi^m`` is multiplied by ``kappa^m = exp(alpha min(r*^m - r^m, cap))`` with
    ``r^m = exp(M / (M - 1) (mean_j s^j - s^m))``, ``s^m = mean_i -ln softmax(psi_i^m)[y_i]``, and
    ``r*`` the same of the mean of ``s`` over all steps before.

    Cost: a step of `joint` and one sample more where encoders compute the same in eval mode, as
    `small-cnn` does; with batch normalisation or dropout twice a step of `joint`, in time and in
    memory. The ``2^M - 1`` passes, 3 with two modalities and 7 with three, share the features of
    the encoders, and all samples one feature of a hidden modality; only the fusion runs for each.
    Where encoders exchange (`mmtm`) there is nothing to share: ``2^M - 1`` times `joint`.

    Remembers: the mean score of each modality (M numbers) and the number of steps that it is of,
    from the first step on; never reset, and saved.

    Logs ``share_loss``, which is ``s``, ``ratio`` and ``kappa`` by modality.

    Args:
        alpha: Strength, at least 0; 0 is joint training, at this cost.
        cap: Largest difference of ratios that counts, above 0; None is 10 with two modalities and 7
            with more, as in the authors' code.
    """

    alpha: float = at_least(0, default=1.0)
    cap: float | None = above(0, default=None)
    average: Tensor = state(default_factory=partial(torch.zeros, 0))
    steps: int = state(0)

    @property
    def needs(self) -> Needs:
        return {PROBABILITY: "the loss of each modality's share of the logits"}

    def setup(self, run: Run) -> None:
        modalities = run.model.modalities
        if len(modalities) < 2:
            raise ConfigError(
                f"agm compares modalities and needs two or more; got {', '.join(modalities)}"
            )
        self.average = torch.zeros(len(modalities), device=run.device)

    def step(self, run: Run, batch: Batch) -> None:
        out = run.model(batch)
        run.observe(out, batch)
        shares = self._shares(run, batch, out)
        scores = torch.stack(
            [
                run.mean(
                    -run.task.confidence(own.detach(), batch.target).clamp(min=_FLOOR).log().mean()
                )
                for own in shares.values()
            ]
        )
        cap = _CAPS.get(len(shares), _CAP) if self.cap is None else self.cap
        kappa = factors(scores, self.average, self.alpha, cap)
        self.steps += 1
        self.average = self.average + (scores - self.average) / self.steps
        for (modality, own), k, score, ratio in zip(
            shares.items(), kappa, scores, ratios(scores), strict=True
        ):
            weight_gradients(own, k.expand(len(own)))
            run.log(**{f"share_loss.{modality}": score, f"ratio.{modality}": ratio})
            run.log(**{f"kappa.{modality}": k})
        whole = replace(out, fused=reduce(torch.add, shares.values()))
        run.minimise(self.loss(run, whole, batch))

    def _shares(self, run: Run, batch: Batch, out: Outputs) -> Mapping[str, Tensor]:
        """``psi`` by modality; gradients flow through all passes."""
        model = run.model
        *parts, everything = subsets(model.modalities)
        features = out.features if ignores_mode(model.encoders) else None
        with run.evaluating():
            if model.fusion.joint:
                logits = {chosen: model(batch.only(*chosen)).fused for chosen in parts}
            else:
                seen = model.encode(batch) if features is None else features
                logits = _fused_of_parts(model, parts, seen, model.encode(batch.rows(0, 1).only()))
        return shapley({**logits, everything: out.fused}, model.modalities)


def _fused_of_parts(
    model: MultimodalModel,
    parts: Sequence[tuple[str, ...]],
    seen: Mapping[str, Tensor],
    hidden: Mapping[str, Tensor],
) -> dict[tuple[str, ...], Tensor]:
    """Fused logits of each set of modalities, all others being hidden.

    Args:
        model: Model whose encoders do not exchange, in eval mode.
        parts: Sets of modalities.
        seen: Modality to its features (B, width).
        hidden: Modality to its feature (1, width) where it is hidden, the same for every sample.
    """
    with torch.autocast(next(iter(seen.values())).device.type, enabled=False):
        return {
            chosen: model.fusion(
                {m: x if m in chosen else hidden[m].expand_as(x) for m, x in seen.items()}
            )
            for chosen in parts
        }
