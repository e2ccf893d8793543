"""Small data sets and contests, in this process or in one that kills itself."""

import json
import sys
from pathlib import Path

import torch

from mmtrain.comparison.compare import compare
from mmtrain.comparison.entrants import Contest
from tests.support.enginework import die_before, small
from tests.support.shardmaker import Recipe

THREE = ("audio", "visual", "flow")


class NoVal(Recipe):
    def split(self, i):
        return ("train", "train", "train", "test")[i % 4]


def contest(shards, *methods, **changes):
    base = small(shards, epochs=1, modalities=("audio", "visual"))
    return Contest(**{"base": base, "methods": methods, **changes})


if __name__ == "__main__":
    torch.set_num_threads(1)
    shards, out, methods, moment = json.loads(sys.argv[1])
    die_before(moment)
    compare(contest(shards, *methods), Path(out))
