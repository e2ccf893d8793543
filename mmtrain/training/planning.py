"""What a run would take: parameters by part, and the measured estimate of time and memory."""

import tempfile
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmtrain.config.run import TrainConfig
from mmtrain.models.multimodal import MultimodalModel
from mmtrain.training.assemble import assemble
from mmtrain.training.estimate import estimate
from mmtrain.training.parts import fitted, shards_of


def planned(config: TrainConfig) -> dict[str, Any]:
    """Parameters, steps, seconds, bytes and memory of a run; nothing is left behind.

    Returns:
        Plain values: ``parameters`` by part with their sum, and what `estimate.Estimate` has, with
        ``seconds`` and ``steps`` of the whole run.

    Raises:
        ConfigError: The request does not fit the data.
        RunError: Memory is short.
    """
    with shards_of(config) as dataset, tempfile.TemporaryDirectory() as aside:
        fit = fitted(config, dataset)
        with assemble(fit, dataset, Path(aside)) as run:
            parts = parameters_by_part(run.model)
    likely = asdict(estimate(config))
    total = likely.pop("parameters")
    return {
        "epochs": config.epochs,
        "step_size": config.step_size,
        "parameters": {**parts, "all": total},
        "steps": likely["steps_an_epoch"] * config.epochs,
        "seconds": round(likely["seconds_an_epoch"] * config.epochs, 1),
        **{name: round(value, 3) for name, value in likely.items()},
    }


def parameters_by_part(model: MultimodalModel) -> dict[str, int]:
    """Part to its number of parameters: each encoder, ``fusion``, ``heads``, and ``other``.

    A method may add modules of its own, which are ``other``.
    """
    counts: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        top, _, rest = name.partition(".")
        if top == "encoders":
            counts[f"encoder.{rest.partition('.')[0]}"] += parameter.numel()
        else:
            counts[top if top in ("fusion", "heads") else "other"] += parameter.numel()
    return dict(counts)
