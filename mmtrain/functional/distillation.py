"""How far a student is from its teachers, in features and in logits."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def feature_distance(
    features: Mapping[str, Float[Tensor, "batch _"]],
    taught: Mapping[str, Float[Tensor, "batch _"]],
) -> Float[Tensor, ""]:
    """``sum_m MSE(phi^m, phi_teacher^m)``, each a mean over samples and width; float32.

    Args:
        features: Modality to the student's features.
        taught: Modality to the teacher's features, of the same widths.
    """
    distances = [F.mse_loss(features[m].float(), taught[m].float()) for m in features]
    return torch.stack(distances).sum()


def divergences(
    logits: Float[Tensor, "batch classes"], taught: Float[Tensor, "batch classes"]
) -> Float[Tensor, " batch"]:
    """``KL(p_teacher || p_student)`` of each sample, in nats, at least 0; float32.

    Args:
        logits: Logits of the student.
        taught: Logits of the teacher.
    """
    student, teacher = logits.float().log_softmax(-1), taught.float().log_softmax(-1)
    return F.kl_div(student, teacher, reduction="none", log_target=True).sum(-1)
