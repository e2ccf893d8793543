"""Weights & Biases: to its server where an API key is there, else in files below RUN/wandb."""

import logging
import os
import secrets
from typing import Any

from mmtrain.training.loggers.base import StepLogger, Subject

log = logging.getLogger(__name__)

_PROJECT = "mmtrain"


class WandB(StepLogger):
    """Sends figures to a run of wandb."""

    def close(self, outcome: str) -> None:
        """Ends the run."""
        self.run.finish(exit_code=int(outcome == "failed"))


def start(subject: Subject) -> WandB:
    """Starts or continues a run; WANDB_PROJECT, WANDB_MODE and WANDB_DIR hold as ever."""
    import wandb

    # Console and code of the user are nobody's business who asked for metrics.
    quiet = wandb.Settings(console="off", silent=True, disable_git=True, save_code=False)
    name = subject.id or secrets.token_hex(4)
    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", _PROJECT),
        name=subject.name,
        id=name,
        resume="allow",
        config=dict(subject.config),
        dir=os.environ.get("WANDB_DIR") or str(subject.folder),
        mode=_mode(wandb),
        settings=quiet,
        reinit="create_new",
    )
    return WandB(run, name)


def _mode(wandb: Any) -> Any:
    """Mode of WANDB_MODE; offline where nobody is logged in, for a question would stop the run."""
    if "WANDB_MODE" in os.environ:
        return None
    if wandb.login(prompt=False):
        return None
    log.warning(
        "wandb: nobody is logged in, so the run is kept in files; `wandb login` and `wandb sync` "
        "send them"
    )
    return "offline"
