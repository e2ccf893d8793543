"""Our stream, which reads single members of the shards by their places in the index."""

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from mmtrain.curricula.uniform import Uniform
from mmtrain.data import OrderedStream, SampleOrder, StreamOptions, open_dataset
from rivals.base import VIEW, Batch, Rival, visits

_BOTH, _SOUND = ("audio", "visual"), ("audio",)


class Ours(Rival):
    """`OrderedStream` over the shards as they are."""

    packages = ("mmprep",)
    remarks: ClassVar = {"default": "the random order"}

    def prepare(self) -> None:
        """Opens the shards; they need no conversion."""
        data = open_dataset(self.setting.shards)
        options = StreamOptions(workers=self.setting.workers)
        self._streams = {
            names: OrderedStream(data, names, self.setting.batch_size, VIEW, options=options)
            for names in (_BOTH, _SOUND)
        }

    def epoch(self, order: str, epoch: int) -> Iterator[Batch]:
        """Yields the batches of the stream."""
        stream = self._streams[_SOUND if order == "audio" else _BOTH]
        stream.begin(self._order(order, epoch), seed=0, epoch=epoch)
        for batch in stream:
            inputs = batch.inputs
            yield Batch(inputs.get("visual"), inputs["audio"], batch.ids[~batch.filler])

    def _order(self, order: str, epoch: int) -> SampleOrder:
        if order == "scored":
            return SampleOrder(np.array(visits(order, self.setting.samples, epoch)))
        return Uniform().visits(np.arange(self.setting.samples), seed=0, epoch=epoch)
