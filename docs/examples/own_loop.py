"""A training loop of one's own over a stream: python own_loop.py SHARDS EPOCHS [STATE.pt]

With a STATE it saves there every 50 steps, and goes on from there when it is started again.
"""

import sys
from functools import partial
from pathlib import Path

import torch
from torch.nn import functional as F

from mmtrain.curricula.uniform import Uniform
from mmtrain.data import OrderedStream, View, open_dataset
from mmtrain.models.catalog import ENCODERS, FUSIONS
from mmtrain.models.multimodal import MultimodalModel, channels_of

MODALITIES, BATCH_SIZE, SEED, SAVE_EVERY = ("audio", "visual"), 16, 0, 50


def main(shards: str, epochs: int = 1, state: Path | None = None) -> list[float]:
    """Trains on the split `train`; returns the loss of each step taken."""
    data = open_dataset(shards)
    ids, curriculum = data.ids("train"), Uniform()
    stream = OrderedStream(data, MODALITIES, BATCH_SIZE, View(frames=1, size=64))
    stream.begin(curriculum.visits(ids, SEED, 0), seed=SEED, epoch=0)
    fusion = partial(FUSIONS.load("concat"), classes=len(data.classes))
    inputs = next(iter(stream)).inputs  # to see how many channels each modality has
    encoders = dict.fromkeys(MODALITIES, ENCODERS.load("small-cnn"))
    model = MultimodalModel.build(channels_of(inputs), encoders, fusion, seed=SEED)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    saved = torch.load(state) if state is not None and state.exists() else None
    if saved is not None:
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])

    losses: list[float] = []
    for epoch in range(saved["stream"]["epoch"] if saved else 0, epochs):
        stream.begin(curriculum.visits(ids, SEED, epoch), seed=SEED, epoch=epoch)
        if saved is not None:
            stream.load_state_dict(saved["stream"])
            saved = None
        for batch in stream:
            real = ~batch.filler  # the last batch is filled up with samples that must not count
            loss = F.cross_entropy(model(batch).fused[real], batch.target[real])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if state is not None and len(losses) % SAVE_EVERY == 0:
                parts = {"model": model, "optimizer": optimizer, "stream": stream}
                torch.save({name: part.state_dict() for name, part in parts.items()}, state)
    return losses


if __name__ == "__main__":
    shards, epochs, *rest = sys.argv[1:]
    print(main(shards, int(epochs), *map(Path, rest)))  # noqa: T201  # the result of the example
