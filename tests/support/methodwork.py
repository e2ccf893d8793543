"""Methods, fitted for a moment or on other encoders."""

from torch import nn

from mmtrain.training import checkpoint
from mmtrain.training.checkpoint import CHECKPOINT
from tests.support.enginework import running, small


def fitted(shards, folder, method, **changes):
    """The weights that an epoch of training comes to."""
    with running(small(shards, **{"epochs": 1, **changes}), folder, method) as run:
        method.fit(run)
    return checkpoint.load(folder / CHECKPOINT)["model"]


def trained_losses(run):
    """The method's loss of each training sample, as curricula see it."""

    def losses(batch):
        out = run.method.predict_trained(run.model, batch)
        return run.method.sample_losses(run.task, out, batch.target)

    return run.score(losses)


def batch_normalised(method):
    """The method, on encoders that normalise by batch."""
    setup = method.setup

    def normalising(run):
        for encoder in run.model.encoders.values():
            for block in encoder.body:
                block[1] = nn.BatchNorm2d(block[1].num_channels)
        setup(run)

    method.setup = normalising
    return method
