"""IPRM: instantaneous probe and rebalance (Yang et al., IJCAI 2025, Sec. 4).

Fuses two modalities at a point of the arc between their directions. Each step first probes, at the
point learnt so far, which modality the fused prediction follows; then it moves the point towards
that modality, and learns there. The encoders run once.

The modality that is closer to the fused prediction gets the larger weight: the one that is ahead,
not the one that is behind (Sec. 4.2 says so). Watch ``omega``, which may drift to 0 or 1.

Differs from the paper:
- Prediction adds up all logits, as the authors' code does; the paper leaves it open.
  ``inference="fused"`` takes those of the fusion alone.
- Eq. 4 keeps lambda at 0.5 after the first step too; here the average begins with its omega.
- alpha is 0.8 for any number of modalities, as in the code; the paper has 0.7 for three.

Differs from the authors' code:
- Their second head sees the third modality, so that the third head is never trained. Here each
  modality has its own.
- They add 1e-8 to sin(theta), by which equal directions fuse to 0. Here the cosine is kept 1e-6 off
  1 and -1, which also bounds the gradient of its arc.
- The point of the last step enters the average before prediction; theirs is one step behind.
- The divergences are those of the samples of all ranks.

No source covers more than three modalities; there are pairs as for three.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from mmtrain.errors import ConfigError
from mmtrain.fields import between, one_of
from mmtrain.methods.base import Method, Run, state
from mmtrain.models.fusions.arcs import Arcs
from mmtrain.models.layers import seeded
from mmtrain.models.multimodal import MultimodalModel
from mmtrain.tasks.needs import PROBABILITY, Needs
from mmtrain.tasks.task import Task
from mmtrain.types import Batch, Outputs


def divergence(
    logits: Float[Tensor, "*batch classes"], fused: Float[Tensor, "*batch classes"]
) -> Float[Tensor, "*batch"]:
    """``KL(softmax(logits) || softmax(fused))`` of each sample in nats, at least 0."""
    log_p, log_q = logits.log_softmax(-1), fused.log_softmax(-1)
    return (log_p.exp() * (log_p - log_q)).sum(-1).clamp(min=0)


def rebalance(
    first: Float[Tensor, "*pairs"], second: Float[Tensor, "*pairs"]
) -> Float[Tensor, "*pairs"]:
    """``omega^a = D^v / (D^a + D^v)``, Eq. 2: the weight of the first; a half where both are 0.

    Args:
        first: ``D^a``, the divergence of the first modality from the fused prediction.
        second: ``D^v``, that of the second.
    """
    total = first + second
    return torch.where(total > 0, second / total, 0.5)


@dataclass(kw_only=True, eq=False)
class IPRM(Method):
    """Fuses on the arc between modalities, at a point that each step first probes, then learns at.

    ``z(lambda) = sin(lambda theta) / sin(theta) z^a + sin((1 - lambda) theta) / sin(theta) z^v``
    for directions ``z`` and their angle ``theta``. Probe, without gradient: ``D^m = sum_i KL(p^m_i
    || p_i)`` of the modality's own head against the fused prediction at ``lambda_t``;
    ``omega^a = D^v / (D^a + D^v)``. Learn: ``L = CE(h(z(omega)), y) + sum_m CE(u^m, y)``. Then
    ``lambda_{t+1} = alpha lambda_t + (1 - alpha) omega``, from 0.5. Prediction is at ``lambda``.
    More than two modalities are fused in pairs, each with its ``lambda`` and its cross-entropy.

    It brings its own fusion; the one that the run chooses is not used. Features must be equally
    wide.

    Cost: as `joint` with heads; each pair's fusion and head twice.

    Remembers: ``lambda``, a number a pair of modalities; never reset, and saved.

    Args:
        alpha: Share of the past in ``lambda``, in [0, 1); 0 is the ablation without average. The
            paper has 0.7 for three modalities.
        mixup: ``geodesic``, or the ablation ``linear``.
        passes: 2, or the ablation 1, which learns at ``lambda_t`` and uses ``omega`` afterwards.
        classifiers: With three or more modalities: ``pairs``, a fused head for each; or ``single``,
            one for all, and each step one pair, drawn at random.
        inference: ``sum`` adds up the fused logits (the mean over pairs) and those of all
            modalities; ``fused`` takes the former alone.
    """

    alpha: float = between(0, 1, default=0.8, ends="[)")
    mixup: str = one_of("geodesic", "linear", kind="mixup of iprm")
    passes: int = 2
    classifiers: str = one_of("pairs", "single", kind="classifiers of iprm")
    inference: str = one_of("sum", "fused", kind="inference of iprm")
    weights: Tensor = state()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.passes not in (1, 2):
            raise ConfigError(f"passes is 1 or 2; got {self.passes}")

    @property
    def needs(self) -> Needs:
        return {PROBABILITY: "the divergence of each modality from the fused prediction"}

    def setup(self, run: Run) -> None:
        widths, classes = run.model.fusion.widths, run.model.fusion.classes
        if len(widths) < 2:
            raise ConfigError(f"iprm fuses pairs of modalities; {next(iter(widths))} is alone")
        if len(set(widths.values())) > 1:
            raise ConfigError(
                "iprm fuses on the arc between two vectors, so features must be equally wide; got "
                f"{', '.join(f'{m} {width}' for m, width in widths.items())}"
            )
        with seeded(run.seed, "fusion"):
            arcs = Arcs(widths, classes, single=self.classifiers == "single", mixup=self.mixup)
        run.model.fusion = arcs
        run.adopt(arcs)
        run.adopt(run.model.add_heads())
        self.weights = torch.full((len(arcs.pairs),), 0.5, device=run.device)

    def step(self, run: Run, batch: Batch) -> None:
        arcs, chosen = cast("Arcs", run.model.fusion), self._step_pairs(run)
        features = run.model.encode(batch)
        before = self.weights[chosen]
        with torch.autocast(run.device.type, enabled=False):
            logits = head_logits(run.model, features)
            ends = arcs.ends(features, chosen)
            with torch.set_grad_enabled(self.passes == 1):
                fused = arcs.logits_at(ends, before, chosen)
            omega = probe(run, arcs.pairs[chosen], logits, fused.detach())
            if self.passes == 2:
                fused = arcs.logits_at(ends, omega, chosen)
            losses = [run.task.losses(z, batch.target).mean() for z in (*fused, *logits.values())]
        run.observe(Outputs(fused=fused.mean(0), logits=logits, features=features), batch)
        run.minimise(torch.stack(losses).sum())
        after = self.weights.clone()
        after[chosen] = self.alpha * before + (1 - self.alpha) * omega
        self.weights = after
        run.log(**logged_weights("omega", arcs.pairs[chosen], omega))

    def sample_losses(self, task: Task, out: Outputs, target: Tensor) -> Tensor:
        # Outputs hold only the mean of the logits of several pairs.
        logits = (out.fused, *out.logits.values())
        return torch.stack([task.losses(z, target) for z in logits]).sum(0)

    def predict(self, model: MultimodalModel, batch: Batch) -> Outputs:
        out = self.predict_trained(model, batch)
        if self.inference == "fused":
            return out
        return replace(out, fused=out.fused + torch.stack([*out.logits.values()]).sum(0))

    def predict_trained(self, model: MultimodalModel, batch: Batch) -> Outputs:
        arcs = cast("Arcs", model.fusion)
        features = model.encode(batch)
        with torch.autocast(self.weights.device.type, enabled=False):
            fused = arcs.logits_at(arcs.ends(features), self.weights)
            return Outputs(
                fused=fused.mean(0), logits=head_logits(model, features), features=features
            )

    def _step_pairs(self, run: Run) -> slice:
        """The pairs of this step."""
        if self.classifiers == "pairs":
            return slice(None)
        # A pair has one order only: the weight of its second is the rest.
        pair = int(torch.randint(len(self.weights), (), generator=run.generator))
        return slice(pair, pair + 1)


def head_logits(model: MultimodalModel, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Logits of each modality's head."""
    return {m: head(features[m]) for m, head in model.heads.items()}


def probe(
    run: Run,
    pairs: Iterable[tuple[str, str]],
    logits: Mapping[str, Tensor],
    fused: Float[Tensor, "pairs batch classes"],
) -> Float[Tensor, " pairs"]:
    """``omega`` of the first of each pair, Eq. 2, over the samples of all ranks."""
    with torch.no_grad():
        rows = run.task.decisions
        sides = [torch.stack([rows(logits[m]) for m in side]) for side in zip(*pairs, strict=True)]
        ends, between = torch.stack(sides), torch.stack([rows(each) for each in fused])
        return rebalance(*run.sum(divergence(ends, between.expand_as(ends)).sum(-1)))


def logged_weights(
    name: str, pairs: Iterable[tuple[str, str]], weights: Float[Tensor, " pairs"]
) -> dict[str, Tensor]:
    """``name.modality`` to its mean weight in its pairs."""
    by_modality: dict[str, list[Tensor]] = {}
    for (first, second), weight in zip(pairs, weights.unbind(), strict=True):
        by_modality.setdefault(first, []).append(weight)
        by_modality.setdefault(second, []).append(1 - weight)
    return {f"{name}.{m}": torch.stack(values).mean() for m, values in by_modality.items()}
