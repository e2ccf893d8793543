"""Processes that train and are killed, really, at given moments.

What is to be done is a list of plans: RUN, the config's JSON, and for each process the call of
`os.fsync` before which it kills itself (0: none). Checkpoints, metrics and ledger are all brought
to the disk by it, so moments before, inside and behind a checkpoint can be chosen.
"""

import os
import signal
import sys
from pathlib import Path

from mmtrain.config.run import TrainConfig
from mmtrain.training.train import train
from tests.support import forked
from tests.support.enginework import die_before


def kill_at(plans):
    """Trains as planned, in children of a process of its own; raises if one ends otherwise."""
    forked.call(carry_out_all, plans)


def carry_out_all(plans):
    for plan in plans:
        carry_out(*plan)


def carry_out(folder, text, moments):
    config = TrainConfig.from_json(text, "argument")
    for moment in moments:
        child = os.fork()
        if not child:
            if moment:
                die_before(moment)
            train(config, Path(folder), resume=True)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        if killed != bool(moment) or not (killed or os.waitstatus_to_exitcode(status) == 0):
            sys.exit(f"the child of moment {moment} ended with status {status}")
