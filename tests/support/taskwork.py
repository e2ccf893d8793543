"""Small finished runs of every task."""

from mmtrain.config.run import OptimizerConfig, TrainConfig, ViewConfig


def tiny(shards, **changes):
    """A run of two short epochs on tiny shards, which have 12 samples to train on."""
    given = {
        "encoder": "small-cnn",
        "modalities": ("audio", "flow"),
        "epochs": 2,
        "batch_size": 4,
        "device": "cpu",
        "workers": 1,
        "view": ViewConfig(frames=1, size=32),
        "optimizer": OptimizerConfig(lr=0.01),
        "settings": {"encoder": {"width": 64}},
    }
    return TrainConfig(data=str(shards), **{**given, **changes})
