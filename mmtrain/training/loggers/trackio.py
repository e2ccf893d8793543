"""Trackio: a local dashboard, ``trackio show``; or a Space of Hugging Face by TRACKIO_SPACE_ID."""

import os
import sys
from contextlib import redirect_stdout
from typing import Final

from mmtrain.training.loggers.base import StepLogger, Subject

_PROJECT: Final = "mmtrain"


class Trackio(StepLogger):
    """Sends figures to a run of Trackio."""

    def close(self, outcome: str) -> None:
        """Ends the run."""
        with redirect_stdout(sys.stderr):
            self.run.finish()


def start(subject: Subject) -> Trackio:
    """Starts or continues a run of the project TRACKIO_PROJECT."""
    import trackio

    name = subject.id or subject.name
    # It prints, and stdout is for the result of the command.
    with redirect_stdout(sys.stderr):
        run = trackio.init(
            project=os.environ.get("TRACKIO_PROJECT", _PROJECT),
            name=name,
            config=dict(subject.config),
            resume="allow" if subject.id else "never",
            embed=False,
        )
    return Trackio(run, name)
