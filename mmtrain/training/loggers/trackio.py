"""Trackio: a local dashboard, ``trackio show``; or a Space of Hugging Face by TRACKIO_SPACE_ID."""

import os
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from typing import Any, Final

from mmtrain.training.loggers.base import Subject

_PROJECT: Final = "mmtrain"


class Trackio:
    """Sends figures to a run of Trackio.

    Args:
        run: Run, as ``trackio.init`` gives it.
        id: Name of the run there.
    """

    def __init__(self, run: Any, id: str) -> None:
        self._run, self.id = run, id

    def log(self, values: Mapping[str, float], epoch: int) -> None:
        """Takes figures of an epoch, counted from 1."""
        self._run.log(dict(values), step=epoch)

    def close(self, outcome: str) -> None:
        """Ends the run."""
        with redirect_stdout(sys.stderr):
            self._run.finish()


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
