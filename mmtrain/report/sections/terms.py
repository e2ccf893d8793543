"""One line of meaning for each quantity that methods log and that curricula keep."""

from collections.abc import Iterable, Mapping
from typing import Final

from mmprep.html.markup import Markup, el

_TERMS: Final[Mapping[str, str]] = {
    "alignment": "loss that pulls the modalities' features together",
    "alpha": "weight of the alignment loss; the fitting loss has weight 1 - alpha",
    "behind": "weight of the loss that draws a modality to prototypes; 0 unless it is behind",
    "classifiers": "number of classifiers that a modality has so far",
    "cosine": "cosine of an encoder's gradients of the fused and its own loss; below 0 in conflict",
    "dropped": "samples of a batch from which the modality was dropped",
    "fitting": "cross-entropy of the predictions, without the alignment loss",
    "fused_weight": "weight of the fused loss's gradient in the mixture; 0.5 without conflict",
    "gradient": "norm of the encoder's gradient before the method changes it",
    "hypergradient": "gradient of the loss on held-out samples with respect to alpha",
    "k": (
        "factor on the gradient of a modality's encoder; below 1 slows the encoder down. Of OGM, "
        "k = 1 - alpha tanh(rho - 1) where rho > 1, else 1"
    ),
    "kappa": (
        "factor on the gradient of a modality's share of the logits; below 1 slows it down. Of "
        "AGM, kappa = exp(alpha min(r* - r, cap)) with r the ratio and r* its mean so far"
    ),
    "kept": "share of the gradient's norm that is left after projection",
    "loss": "loss of the modality's own classifiers",
    "measured": "epoch in which a sample was last scored",
    "modulated": "norm of the encoder's gradient after the method has changed it",
    "omega": "weight of the first modality of a pair in the fused prediction, in [0, 1]",
    "prototype_loss": "cross-entropy of the softmax over distances to the prototypes",
    "q": "probability with which the features of a modality are dropped",
    "ratio": "how far a modality's share of the logits is ahead of the others; 1 if they are level",
    "read_bytes": "bytes that were read from the bucket",
    "rho": (
        "how far a modality is ahead, 1 if it is level with the others: rho = mean of s_m / s_j "
        "over the others j, with the scores s (with amss: the share of its units that are updated)"
    ),
    "scale": "norm of an encoder's new gradient over that of the sum of its gradients",
    "score": (
        "s_m = sum over the batch of softmax(z_m)_y: confidence of the modality's own logits z_m "
        "in the true class y"
    ),
    "share_loss": "cross-entropy of a modality's share of the logits",
    "sharpness": "rise of the loss from the weights to their worst neighbour",
    "skipped": "damaged samples that were left out so far",
}
_OF_SAMPLES: Final[Mapping[str, str]] = {
    "certainty": "how far a modality's prediction is from uniform, in bits",
    "loss": "cross-entropy of a sample under the model",
    "score": (
        "the value by which the curriculum orders samples; with bss, similarity minus loss, each "
        "scaled to [0, 1] over the training set, so that easy and balanced samples have high "
        "scores; with smv, the number of copies; with remix, how far the most certain modality is "
        "ahead of the least, in bits"
    ),
    "similarity": "how much the modalities' predictions agree, in [-1, 1]",
    "value": "what a modality adds to right predictions of a sample; 1 if all do alike",
}


def definitions(names: Iterable[str]) -> Markup | None:
    """Lists the meanings of quantities that methods log; None where none is known."""
    return _listed(names, _TERMS)


def score_definitions(names: Iterable[str]) -> Markup | None:
    """Lists the meanings of the columns of scores.h5; None where none is known."""
    # A column may be of one modality, as value.audio is.
    return _listed(dict.fromkeys(name.partition(".")[0] for name in names), _OF_SAMPLES)


def _listed(names: Iterable[str], terms: Mapping[str, str]) -> Markup | None:
    known = [name for name in names if name in terms]
    lines = (el("li", el("b", name), f": {terms[name]}") for name in known)
    return el("ul", *lines, class_="terms") if known else None
