"""A process whose children train and are killed, really, at moments that are told to it.

Children are forked, so that torch is imported once. The argument is JSON, a list of plans: RUN, the
config's JSON, and for each child the call of `os.fsync` before which it kills itself (0: none).
Checkpoints, metrics and ledger are all brought to the disk by it, so moments before, inside and
behind a checkpoint can be chosen.
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch

from mmtrain.config.run import TrainConfig
from mmtrain.training.train import train
from tests.support.enginework import die_before


def main(folder, text, moments):
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


if __name__ == "__main__":
    torch.set_num_threads(1)
    for plan in json.loads(sys.argv[1]):
        main(*plan)
