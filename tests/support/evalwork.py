"""Small data sets and contests, and one whose process kills itself."""

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


def compare_until(moment, shards, out, methods):
    """Compares until this process dies: before its ``moment``-th call of `os.fsync`."""
    die_before(moment)
    compare(contest(shards, *methods), out)
