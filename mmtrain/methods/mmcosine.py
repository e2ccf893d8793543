"""MMCosine: cosine logits for each modality (Xu et al., ICASSP 2023, arXiv 2303.05338).

Features and class weights are scaled to length 1, so that no modality dominates the fused logits,
and with them the gradients, by the mere size of its features or weights.

Differences from the authors' code:

- Validation takes the cosine logits too; theirs counts on CREMA-D the hits of the linear layer,
  which is not what was trained.
- Any number of modalities; theirs has two. With FiLM and gated fusion theirs makes two streams of
  features and a linear layer behind them; here cosines are of the encoders' own features only.
- The contrastive loss of their supplement, whose weight is 0 by default, is left out.
- Their script for CREMA-D fails as it is published, so that nothing was compared with its figures.
"""

from dataclasses import dataclass

from mmtrain.fields import above
from mmtrain.methods.base import Method, Run
from mmtrain.models.fusions.cosine import Cosine
from mmtrain.models.layers import seeded


@dataclass(kw_only=True, eq=False)
class MMCosine(Method):
    """Classifies by the cosines between features and class weights, summed over modalities.

    ``L = CE(f, y)``, ``f_c = s sum_m cos(phi^m, W_c^m)``, in training and prediction.

    It brings its own classifier; the fusion that the run chooses is not used. As ``|f| <= s M``,
    the loss has a floor: with ``C`` classes it is at least ``ln(1 + (C - 1) exp(-2 s M))``.

    Cost: that of `joint`.

    Remembers: nothing.

    Args:
        scale: ``s``, above 0: 10 in the authors' code, 15 in BalanceBenchmark.
    """

    scale: float = above(0, default=10.0)

    def setup(self, run: Run) -> None:
        fusion = run.model.fusion
        with seeded(run.seed, "fusion"):
            cosine = Cosine(fusion.widths, fusion.classes, scale=self.scale)
        run.model.fusion = cosine
        run.adopt(cosine)
